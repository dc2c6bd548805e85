"""Chorales as training batches and as whole pieces. Axes: B crops, T frames, 4 voices, S symbols of the codec.

A crop takes its first "frame before" from the piece, and what the memory says from the whole past: nothing is lost
but the attention beyond the crop's edge. A batch is a pure function of (seed, update). Where a teacher's chances lie
beside the pieces, crops carry them along for distillation (Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from otonoha.models.music_transformer.chorale_network import FrameInputs
from otonoha.models.music_transformer.frames import NO_DEGREE, VOICES, Frames, frames, hold_bucket
from otonoha.models.music_transformer.memory import CHANNELS, CLASSES

Said = tuple[np.ndarray, np.ndarray]
"""Shares and strength along a piece, as `memory.remembered` gives them."""


@dataclass(frozen=True, eq=False)
class Song:
    """A piece, its tables, and one or more tellings of the memory (several: bags of the corpus)."""

    pitch: np.ndarray
    table: Frames
    said: tuple[Said, ...] = ()
    taught: np.ndarray | None = None
    """(T, 4, S) a teacher's chances of the codec's symbols, in the written key."""

    @classmethod
    def of(cls, pitch: np.ndarray, *said: Said, reference: int | None = None) -> Song:
        """The song of (T, 4) MIDI pitches."""
        return cls(pitch, frames(pitch, reference), said)

    def __len__(self) -> int:
        return len(self.pitch)


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Inputs, and `mask` (B, T) bool of the frames that exist.

    With a teacher: `taught` (B, T, 4, S) its chances in the written key, `shift` (B,) how much higher the crop is.
    """

    inputs: FrameInputs
    mask: Tensor
    taught: Tensor | None = None
    shift: Tensor | None = None

    @property
    def targets(self) -> float:
        """Notes to predict."""
        return float(self.mask.sum()) * VOICES

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, index: slice) -> FrameBatch:
        """Some of the crops."""
        return self._all(lambda x: x[index])

    def to(self, device: torch.device) -> FrameBatch:
        """The same on a device."""
        return self._all(lambda x: x.to(device))

    def _all(self, change: Callable[[Tensor], Tensor]) -> FrameBatch:
        inputs = FrameInputs(**{f.name: change(getattr(self.inputs, f.name)) for f in fields(self.inputs)})
        rest = (None if x is None else change(x) for x in (self.taught, self.shift))
        return FrameBatch(inputs, change(self.mask), *rest)


def crop(song: Song, start: int, stop: int, shift: int = 0, bag: int = 0) -> dict[str, np.ndarray]:
    """The inputs of frames start … stop - 1, `shift` semitones higher."""
    table, now = song.table, slice(start, stop)

    def before(values: np.ndarray, fill: int) -> np.ndarray:
        padded = np.concatenate([np.full((1, *values.shape[1:]), fill, values.dtype), values[:-1]])
        return padded[now]

    higher = np.where(song.pitch < 0, -1, song.pitch + shift)
    reference = np.where(table.reference < 12, (table.reference + shift) % 12, NO_DEGREE)
    found = {
        "pitch": higher[now],
        "before": before(higher, -1),
        "moved": table.motion[now],
        "motion": before(table.motion, 0),
        "degree": before(table.degree, NO_DEGREE),
        "held": before(hold_bucket(table.held), 0),
        "spacing": before(table.spacing, 0),
        "reference": reference[now],
        "time": np.arange(start, stop),
    }
    if song.taught is not None:
        found |= {"taught": song.taught[now], "shift": np.array(shift)}
    if song.said:
        shares, strength = song.said[bag]
        return found | {"shares": shares[now], "strength": strength[now]}
    shape = (stop - start, VOICES, CHANNELS)
    return found | {
        "shares": np.zeros((*shape, CLASSES), np.float16),
        "strength": np.zeros((*shape, 2), np.float32),
    }


def collate(crops: Sequence[dict[str, np.ndarray]]) -> FrameBatch:
    """Pad crops to the longest."""
    lengths = [len(c["time"]) for c in crops]
    longest = max(lengths)
    shift = torch.tensor([int(c["shift"]) for c in crops]) if "shift" in crops[0] else None
    tensors = {}
    for name, first in crops[0].items():
        if name == "shift":
            continue
        kind = first.dtype if first.dtype.kind == "f" else np.int64
        rows = np.full(
            (len(crops), longest, *first.shape[1:]), -1 if name in ("pitch", "before") else 0, kind
        )
        for row, c in zip(rows, crops, strict=True):
            row[: len(c[name])] = c[name]
        tensors[name] = torch.from_numpy(rows)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    taught = tensors.pop("taught", None)
    return FrameBatch(FrameInputs(**tensors), mask, taught, shift)


class Crops:
    """update number -> batch of crops: pieces drawn by their length, keys by chance, now and then a beginning."""

    def __init__(
        self,
        songs: Sequence[Song],
        shifts: Sequence[Sequence[int]],
        *,
        batch: int,
        length: int,
        seed: int,
        from_start: float,
    ) -> None:
        self.songs, self.shifts = songs, shifts
        self.batch, self.length, self.seed, self.from_start = batch, length, seed, from_start
        sizes = np.array([len(s) for s in songs], float)
        self.chance = sizes / sizes.sum()

    def __call__(self, update: int) -> FrameBatch:
        """The batch of this update."""
        rng = np.random.default_rng([self.seed, update])
        return collate([self._draw(rng) for _ in range(self.batch)])

    def _draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        number = int(rng.choice(len(self.songs), p=self.chance))
        song, start = self.songs[number], 0
        if rng.random() >= self.from_start:
            start = 4 * int(rng.integers(max(1, (len(song) - self.length) // 4 + 1)))
        shift = int(rng.choice(self.shifts[number]))
        bag = int(rng.integers(max(1, len(song.said))))
        return crop(song, start, min(len(song), start + self.length), shift, bag)


def whole(songs: Sequence[Song], batch: int = 8) -> list[FrameBatch]:
    """Every song once and whole, short ones first."""
    ordered = sorted(songs, key=len)
    return [
        collate([crop(s, 0, len(s)) for s in ordered[i : i + batch]]) for i in range(0, len(ordered), batch)
    ]


def with_said(song: Song, *said: Said) -> Song:
    """The song with other tellings of the memory."""
    return replace(song, said=said)
