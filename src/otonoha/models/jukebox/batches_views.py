"""What of a song a prior writes: the codes of one level, or the codes of all levels side by side. Torch-free.

Axes: T codes (or steps) of a window, U codes of the next coarser level, K streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from otonoha.models.jukebox import delays
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.codes_store import Layout
from otonoha.models.jukebox.delays import Delays
from otonoha.models.jukebox.windows import Shape


class Cut(NamedTuple):
    """A window of a song: `codes` and `mask` (bool: there is a code) (T,) or (T, K), `upper` (U,)."""

    codes: np.ndarray
    mask: np.ndarray
    upper: np.ndarray | None


class View(Protocol):
    """What windows are cut from."""

    @property
    def shape(self) -> Shape:
        """Lengths: codes of a window, samples of a code, and the places where windows may begin."""

    @property
    def per_code(self) -> int:
        """How many numbers are written for a code: streams."""

    def many(self, song: Song) -> int:
        """How many codes the song has."""

    def cut(self, song: Song, start: int) -> Cut:
        """The window that begins at code `start`; where the song has no more codes, the mask is False."""


@dataclass(frozen=True)
class LevelView:
    """One level, and the next coarser one as its condition. Behind the end of a song stand zeros, and the last upper
    code again.
    """

    level: int
    shape: Shape
    per_code: int = 1
    every: bool = False
    """Show the codes of all coarser levels, (U, L), the next one first (design modern)."""

    @classmethod
    def of(cls, layout: Layout, level: int, n_ctx: int) -> LevelView:
        """A level of a codec."""
        if not 0 <= level < len(layout.hops):
            raise ValueError(f"level must be within 0 … {len(layout.hops) - 1}, got {level}")
        return cls(level, Shape(n_ctx, layout.hops[level], layout.ratio(level)))

    def many(self, song: Song) -> int:
        """How many codes of the level."""
        return len(song.levels[self.level])

    def cut(self, song: Song, start: int) -> Cut:
        """See View."""
        n_ctx, ratio = self.shape.n_ctx, self.shape.ratio
        found = song.levels[self.level][start : start + n_ctx]
        codes, mask = np.zeros(n_ctx, np.int64), np.zeros(n_ctx, bool)
        codes[: len(found)], mask[: len(found)] = found, True
        if not ratio:
            return Cut(codes, mask, None)
        first, many = start // ratio, n_ctx // ratio
        if not self.every:
            above = song.levels[self.level + 1][first : first + many].astype(np.int64)
            return Cut(codes, mask, np.pad(above, (0, many - len(above)), mode="edge"))
        return Cut(codes, mask, over(song.levels[self.level + 1 :], first, many))


def over(levels: Sequence[np.ndarray], first: int, many: int) -> np.ndarray:
    """(many, L): the codes of coarser levels (T,), the next one first, over its codes first … first + many - 1.

    Where these end, the last ones again.
    """
    places = np.minimum(np.arange(first, first + many), len(levels[0]) - 1)
    return np.stack([z[places // (len(levels[0]) // len(z))].astype(np.int64) for z in levels], axis=1)


@dataclass(frozen=True)
class DelayView:
    """All levels by a delay pattern: a code of it is a step of K streams; `delays.pad` where a stream has no code."""

    delays: Delays
    shape: Shape

    @classmethod
    def of(cls, layout: Layout, n_ctx: int, steps: tuple[int, ...] = ()) -> DelayView:
        """All levels of a codec; `steps` are the delays, if not 0, 1, 2 …"""
        return cls(Delays(layout.widths, layout.sizes, steps), Shape(n_ctx, layout.top))

    @property
    def per_code(self) -> int:
        """Streams."""
        return self.delays.streams

    def many(self, song: Song) -> int:
        """Steps that all codes of the song need."""
        return len(song.levels[-1]) + self.delays.longest

    def cut(self, song: Song, start: int) -> Cut:
        """See View. Only the positions that the window looks at are read."""
        n_ctx, pattern = self.shape.n_ctx, self.delays
        first = max(0, start - pattern.longest)
        some = [
            codes[first * width : (start + n_ctx) * width]
            for codes, width in zip(song.levels, pattern.widths)
        ]
        side = pattern.side_by_side(some).astype(np.int64)
        codes = delays.window(side, pattern.steps, pattern.pad, start - first, start - first + n_ctx)
        return Cut(codes, codes != pattern.pad, None)
