"""What a prior learns from: windows of codes with exactly the conditions that belong to them.

As in Jukebox (Dhariwal et al. 2020): all songs, end to end, are cut into windows, and a pass visits each once, shifted
by up to half of its length to either side; it belongs to the song in which its middle lies, and is pushed inside of
it. Each pass cuts elsewhere, round the ring of all songs, so that no code is passed over. A window begins at a multiple
of `ratio`, together with an upper code. What is shorter than a window is filled up, and the mask says so. A batch is a
pure function of (seed, update).
Axes: B windows, T codes of a window, K streams of a delay pattern, U upper codes, S characters, G genres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import View
from otonoha.models.jukebox.labels import NONE
from otonoha.music.suggest import one_of

CONDITIONS = ("style", "timing", "lyrics", "score", "upper")
"""What a prior may be told. style: artist and genres; timing: length of the song, and place in it."""


@dataclass(frozen=True, eq=False)
class CodeBatch:
    """`codes` (B, T) or (B, T, K) int64, `mask` of the same shape: a code that counts. `upper` (B, U), `labels`
    (B, 4 + G) = [total, offset, length of the window (samples), artist, genres padded with −1] and `lyrics` (B, S) are
    int64, or None where nothing is told. The design modern: `upper` (B, U, L) of L coarser levels, `score` (B, T, 257).
    `sung` (B, S, 2): seconds from the beginning of the window to the words of the characters (guide.py); no condition,
    nobody is told.
    """

    codes: Tensor
    mask: Tensor
    upper: Tensor | None = None
    labels: Tensor | None = None
    lyrics: Tensor | None = None
    score: Tensor | None = None
    sung: Tensor | None = None

    @property
    def targets(self) -> float:
        """Codes that the loss averages over."""
        return float(self.mask.sum())

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def told(self) -> dict[str, Tensor | None]:
        """The conditions, as arguments of `logits` and `losses`."""
        found = {"labels": self.labels, "lyrics": self.lyrics, "upper": self.upper}
        return found if self.score is None else {**found, "score": self.score}

    def rows(self, index: slice) -> CodeBatch:
        """Some of the windows."""
        return self._all(lambda x: x[index])

    def to(self, device: torch.device) -> CodeBatch:
        """The same batch on a device."""
        return self._all(lambda x: x.to(device))

    def _all(self, change: Callable[[Tensor], Tensor]) -> CodeBatch:
        told = {name: None if x is None else change(x) for name, x in self.told.items()}
        sung = None if self.sung is None else change(self.sung)
        return CodeBatch(change(self.codes), change(self.mask), **told, sung=sung)


@dataclass(frozen=True)
class Telling:
    """What windows are told beside their upper codes. `lyrics`: characters that a window sees; 0: none. `score`: notes
    (design modern). `sung`: when characters are sung, for a loss; `astray`: see Lyrics.
    """

    labels: bool = True
    lyrics: int = 0
    score: bool = False
    sung: bool = False
    astray: int = 0

    @property
    def conditions(self) -> tuple[str, ...]:
        """Which of CONDITIONS, but for upper codes."""
        return ("style", "timing") * self.labels + ("lyrics",) * (self.lyrics > 0) + ("score",) * self.score


class Spot(NamedTuple):
    """A window: of which song, from which code on; codes before `fresh` do not count."""

    song: int
    start: int
    fresh: int = 0


Row = dict[str, np.ndarray]


def row_of(view: View, song: Song, spot: Spot, telling: Telling, astray: int = 0) -> Row:
    """One window with its conditions; `astray`: characters by which its lyrics are off."""
    cut, hop = view.cut(song, spot.start), view.shape.hop
    at, length = spot.start * hop, view.shape.n_ctx * hop
    cut.mask[: spot.fresh - spot.start] = False
    found = {"codes": cut.codes, "mask": cut.mask}
    if cut.upper is not None:
        found["upper"] = cut.upper
    if telling.labels:
        found["labels"] = song.label.row(at, length)
    if telling.lyrics:
        found["lyrics"] = song.characters(at, length, telling.lyrics, astray)
        if telling.sung:
            found["sung"] = song.sung(at, length, telling.lyrics, astray)
    if telling.score:
        found["score"] = song.roll(at, hop, view.shape.n_ctx)
    return found


def forgotten(row: Row, condition: str) -> None:
    """Take a condition away: names become the unknown one (id 0), lyrics and notes fall silent."""
    if condition in ("lyrics", "score"):
        row[condition] = np.zeros_like(row[condition])
    elif condition == "style":
        row["labels"][3:5] = 0
        row["labels"][5:] = NONE
    else:
        raise ValueError(f"{condition} cannot be taken away, only exchanged")


def exchanged(row: Row, other: Row, condition: str) -> None:
    """Tell a window what is true of another one."""
    if condition in ("lyrics", "score", "upper"):
        row[condition] = other[condition]
    else:
        columns = slice(3, None) if condition == "style" else slice(0, 2)
        row["labels"][columns] = other["labels"][columns]


def collate(rows: Sequence[Row]) -> CodeBatch:
    """Windows as a batch."""
    return CodeBatch(**{name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]})


class Windows:
    """Endless batches for training; `len` is the number of windows of a pass.

    `forget`: the share of windows that are not told who it is, and, drawn by itself, of those without lyrics; a prior
    that has seen such windows can also write without.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        view: View,
        telling: Telling,
        *,
        batch: int,
        seed: int = 0,
        forget: float = 0.0,
    ) -> None:
        if not songs:
            raise ValueError("there is nothing to learn from: no song has any codes")
        if batch < 1 or not 0 <= forget < 1:
            raise ValueError(f"batch must be at least 1 and forget within 0 … 1, got {batch} and {forget:g}")
        self.songs, self.view, self.telling = songs, view, telling
        self.batch, self.seed, self.forget = batch, seed, forget
        self.sizes = np.array([view.many(song) for song in songs], np.int64)
        self.edges = np.concatenate([[0], np.cumsum(self.sizes)])
        self.windows = max(1, int(self.edges[-1]) // view.shape.n_ctx)
        self._pass, self._order = -1, np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.windows

    @property
    def seconds(self) -> float:
        """How much sound there is."""
        return float(self.edges[-1]) * self.view.shape.hop / self.songs[0].rate

    def __call__(self, update: int) -> CodeBatch:
        """The batch of this update."""
        rng = np.random.default_rng([self.seed, 1, update])
        middles = self._middles(update * self.batch, (update + 1) * self.batch)
        return collate([self._row(int(middle), rng) for middle in middles])

    def place(self, middle: int) -> Spot:
        """The window around a code of the ring of all songs, pushed inside of the song that this belongs to."""
        shape, middle = self.view.shape, middle % int(self.edges[-1])
        song = int(np.searchsorted(self.edges, middle, side="right")) - 1
        begin, spare = middle - shape.n_ctx // 2 - int(self.edges[song]), int(self.sizes[song]) - shape.n_ctx
        return Spot(song, shape.down(max(0, min(begin, spare))))

    def _row(self, middle: int, rng: np.random.Generator) -> Row:
        spot = self.place(middle + self._shift(rng))
        most = self.telling.astray
        astray = int(rng.integers(-most, most + 1)) if most else 0
        row = row_of(self.view, self.songs[spot.song], spot, self.telling, astray)
        for condition in self._forgets(rng):
            forgotten(row, condition)
        return row

    def _shift(self, rng: np.random.Generator) -> int:
        half = self.view.shape.n_ctx // 2
        return int(rng.integers(-half, half + 1))

    def _forgets(self, rng: np.random.Generator) -> list[str]:
        chances = {name: rng.random() for name in ("style", "lyrics")}
        return [name for name in self.telling.conditions if chances.get(name, 1.0) < self.forget]

    def _middles(self, start: int, stop: int) -> np.ndarray:
        """The middles of the windows start … stop, counted through all passes."""
        n_ctx, parts = self.view.shape.n_ctx, []
        while start < stop:
            number, at = divmod(start, self.windows)
            if number != self._pass:
                rng = np.random.default_rng([self.seed, 0, number])
                turn = int(rng.integers(int(self.edges[-1])))
                self._pass, self._order = number, rng.permutation(self.windows) * n_ctx + n_ctx // 2 + turn
            parts.append(self._order[at : at + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)


class HeldOut:
    """Windows in which every code of every song counts once, in order.

    `hop`: codes from one window to the next, a whole window unless given; with less, codes know at least the rest of a
    window of their past. `most`: windows at most, evenly spread over all of them. To see what a condition is worth,
    `batches` may exchange it (each window is told what is true of a window of another song) or take it away.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        view: View,
        telling: Telling,
        *,
        hop: int | None = None,
        most: int | None = None,
    ) -> None:
        if not songs:
            raise ValueError("there is nothing to measure: no song has any codes")
        self.songs, self.view, self.telling = songs, view, telling
        hop = view.shape.down(hop or view.shape.n_ctx)
        if not 0 < hop <= view.shape.n_ctx:
            raise ValueError(f"windows hop by {view.shape.step} … {view.shape.n_ctx} codes, got {hop}")
        spots = [spot for i, song in enumerate(songs) for spot in self._cover(i, song, hop)]
        if most is not None and most < len(spots):
            spots = [spots[int(i)] for i in np.linspace(0, len(spots) - 1, max(1, most)).round()]
        self.spots = spots

    def __len__(self) -> int:
        return len(self.spots)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the windows are told, of CONDITIONS."""
        return self.telling.conditions + ("upper",) * (self.view.shape.ratio > 0)

    def batches(
        self, batch: int, *, exchange: Iterable[str] = (), without: Iterable[str] = (), seed: int = 0
    ) -> Iterator[CodeBatch]:
        """All windows, `batch` at a time."""
        for condition in (*exchange, *without):
            one_of(condition, self.conditions, "condition of these windows")
        exchange, without = tuple(exchange), tuple(without)
        partners = self._partners(seed) if exchange else []
        for at in range(0, len(self.spots), batch):
            rows = []
            for i in range(at, min(at + batch, len(self.spots))):
                row = self._row(self.spots[i])
                for condition in exchange:
                    exchanged(row, self._row(self.spots[partners[i]]), condition)
                for condition in without:
                    forgotten(row, condition)
                rows.append(row)
            yield collate(rows)

    def _row(self, spot: Spot) -> Row:
        return row_of(self.view, self.songs[spot.song], spot, self.telling)

    def _cover(self, number: int, song: Song, hop: int) -> list[Spot]:
        """Windows of a song; the last one is pulled back so as to end where the song does."""
        shape, many, fresh, found = self.view.shape, self.view.many(song), 0, []
        last = max(0, shape.up(many - shape.n_ctx))
        for start in [*range(0, last, hop), last]:
            found.append(Spot(number, start, fresh))
            fresh = start + shape.n_ctx
        return found

    def _partners(self, seed: int) -> list[int]:
        """For every window another one: of another song, if there is one."""
        rng, owners = np.random.default_rng([seed, 2]), np.array([spot.song for spot in self.spots])
        found = []
        for i, owner in enumerate(owners):
            others = np.flatnonzero(owners != owner)
            others = others if len(others) else np.flatnonzero(np.arange(len(owners)) != i)
            found.append(int(rng.choice(others)) if len(others) else i)
        return found
