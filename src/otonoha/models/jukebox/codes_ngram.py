"""The n-gram prior: counts of codes after the codes before them, the baseline of every network here.

Contexts are the `past` codes before and, for a level below another one, the upper code over it and its place within
that. Where both together were not seen the codes alone count, then the upper code alone, then the bare counts.
Axes: T codes of a song.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import LevelView
from otonoha.music.ngrams import BackOff


class CodeNgrams:
    """Codes of a level, given `past` codes before them."""

    def __init__(self, view: LevelView, size: int, *, past: int = 3) -> None:
        if past < 0:
            raise ValueError(f"an n-gram looks back at 0 codes or more, got {past}")
        self.view, self.past = view, past
        upper = [0, 1] if view.shape.ratio else []
        runs = [list(range(len(upper), len(upper) + n)) for n in range(past, 0, -1)]
        above = [[*upper, *run] for run in runs] + [upper] if upper else []
        self.model = BackOff(size, above[:-1] + runs + above[-1:])

    def fit(self, songs: Sequence[Song]) -> CodeNgrams:
        """Count."""
        parts = [self._seen(song) for song in songs]
        self.model.fit(np.concatenate([codes for codes, _ in parts]), np.concatenate([c for _, c in parts]))
        return self

    def bits(self, song: Song) -> np.ndarray:
        """(T,) bits of every code."""
        codes, contexts = self._seen(song)
        return self.model.nats(codes, contexts) / np.log(2)

    def bits_per_code(self, songs: Sequence[Song]) -> float:
        """The mean over all codes of all songs."""
        return float(np.concatenate([self.bits(song) for song in songs]).mean())

    def _seen(self, song: Song) -> tuple[np.ndarray, np.ndarray]:
        """Codes (T,), and what is known before each (T, columns); −1 where the song has not begun."""
        level, ratio = self.view.level, self.view.shape.ratio
        codes = song.levels[level].astype(np.int64)
        columns = []
        if ratio:
            columns = [
                np.repeat(song.levels[level + 1].astype(np.int64), ratio),
                np.arange(len(codes)) % ratio,
            ]
        columns += [np.concatenate([np.full(n, -1), codes])[: len(codes)] for n in range(1, self.past + 1)]
        return codes, np.stack([*columns, np.zeros(len(codes), np.int64)], axis=1)
