"""The codes of a piece on all levels, some of them not yet written. Torch-free.

Axes: B pieces, T codes of a level. Level 0 is the finest; `hops` are the samples of a code of each level. A piece is a
whole number of codes of the coarsest level long, so every level covers the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otonoha.tokens.base import Tokens

UNKNOWN = -1
"""A code that is not written."""
FILLED = "filled"
"""The context stream of a codec of sound: samples that a position really holds."""


@dataclass(frozen=True, eq=False)
class Codes:
    """`levels`: (B, T) int64 of every level, the finest first; UNKNOWN where nothing is written."""

    levels: tuple[np.ndarray, ...]
    hops: tuple[int, ...]

    def __post_init__(self) -> None:
        rows = {(len(z), z.shape[1] * hop) for z, hop in zip(self.levels, self.hops, strict=True)}
        if len(rows) != 1 or any(a > b or b % a for a, b in zip(self.hops, self.hops[1:])):
            shapes = [z.shape for z in self.levels]
            raise ValueError(f"these levels are not of the same sound: {shapes} codes, hops {self.hops}")

    @property
    def batch(self) -> int:
        """How many pieces."""
        return len(self.levels[0])

    @property
    def samples(self) -> int:
        """The length of the piece."""
        return self.levels[0].shape[1] * self.hops[0]

    def written(self, level: int) -> np.ndarray:
        """(T,) bool: written in all pieces. ValueError where they differ."""
        there = self.levels[level] != UNKNOWN
        if (there != there[:1]).any():
            raise ValueError(
                f"the pieces of a batch must be written equally far; on level {level} they are not"
            )
        return there[0]

    def longer(self, samples: int) -> Codes:
        """The same with room for a piece of at least so many samples."""
        top = self.hops[-1]
        total = max(-(-samples // top) * top, self.samples)
        grown = (
            np.pad(z, ((0, 0), (0, total // hop - z.shape[1])), constant_values=UNKNOWN)
            for z, hop in zip(self.levels, self.hops)
        )
        return Codes(tuple(grown), self.hops)

    def cut(self, samples: int) -> Codes:
        """Only what lies before `samples`, in whole codes of the coarsest level."""
        if samples < 0:
            raise ValueError(f"a piece cannot be cut to {samples} samples")
        top = self.hops[-1]
        total = min(samples // top * top, self.samples)
        return Codes(tuple(z[:, : total // hop] for z, hop in zip(self.levels, self.hops)), self.hops)

    def row(self, piece: int) -> Codes:
        """One of the pieces."""
        return Codes(tuple(z[piece : piece + 1] for z in self.levels), self.hops)

    def repeated(self, many: int) -> Codes:
        """Every piece `many` times."""
        return Codes(tuple(z.repeat(many, axis=0) for z in self.levels), self.hops)


def empty(batch: int, samples: int, hops: Sequence[int]) -> Codes:
    """Nothing written, of pieces of at least so many samples."""
    if batch < 1 or samples < 1:
        raise ValueError(f"there must be pieces, with a length: got {batch} of {samples} samples")
    return Codes(tuple(np.zeros((batch, 0), np.int64) for _ in hops), tuple(hops)).longer(samples)


def from_tokens(
    pieces: Sequence[Tokens], hops: Sequence[int], codec: str, *, only: Sequence[int] | None = None
) -> Codes:
    """What a codec of sound made of recordings: the codes of all levels, of the positions that are full of sound.

    `only`: these levels; the others are then not written, nor are those that the tokens lack. Several pieces are cut
    to the shortest of them. ValueError for tokens of another codec.
    """
    top, found = hops[-1], []
    for tokens in pieces:
        if tokens.codec != codec:
            raise ValueError(
                f"these codes are of codec {tokens.codec!r}; this prior knows those of {codec!r}"
            )
        full = np.asarray(tokens.streams.get(FILLED, np.full(len(tokens), top))) == top
        found.append((tokens, len(full) if full.all() else int(full.argmin())))
    shortest = min((many for _, many in found), default=0)
    if not shortest:
        raise ValueError(f"a prompt must be at least one code of the coarsest level long ({top} samples)")
    levels = []
    for i, hop in enumerate(hops):
        if (only is not None and i not in only) or any(f"level{i}" not in t.streams for t, _ in found):
            levels.append(np.full((len(found), shortest * (top // hop)), UNKNOWN, np.int64))
            continue
        z = np.stack([t.streams[f"level{i}"][:shortest].reshape(-1).astype(np.int64) for t, _ in found])
        levels.append(z)
    return Codes(tuple(levels), tuple(hops))


def to_tokens(codes: Codes, piece: int, level: int, *, rate: int, codec: str) -> Tokens:
    """One piece for the codec, to be decoded from `level`; finer levels that are not written are told as 0.

    Only what is written from the beginning of the piece on. ValueError if that is nothing.
    """
    top, done = codes.hops[-1], codes.samples // codes.hops[-1]
    for i in range(level, len(codes.hops)):
        done = min(done, reach(codes.written(i), 0) * codes.hops[i] // top)
    if not done:
        raise ValueError(f"nothing is written yet on level {level}")
    streams: dict[str, np.ndarray] = {}
    for i, hop in enumerate(codes.hops):
        z = codes.levels[i][piece].reshape(-1, top // hop)[:done]
        streams[f"level{i}"] = np.maximum(z[:, 0] if hop == top else z, 0).astype(np.int32)
    streams[FILLED] = np.full(done, top, np.int32)
    return Tokens(streams, np.arange(done) * (top / rate), codec)


def runs(missing: np.ndarray) -> list[tuple[int, int]]:
    """(T,) bool -> where it is True: (first, one after the last) of every run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def lead(there: np.ndarray, first: int) -> int:
    """How many places right before `first` are True."""
    before = there[:first]
    return first if before.all() else int(before[::-1].argmin())


def reach(there: np.ndarray, first: int) -> int:
    """One after the last place of those that are True from `first` on."""
    after = there[first:]
    return len(there) if after.all() else first + int(after.argmin())


def joined(pieces: Sequence[Codes]) -> Codes:
    """Pieces of one length as one batch."""
    if len({(p.hops, p.samples) for p in pieces}) != 1:
        raise ValueError("only pieces of one length and of the same levels make a batch")
    levels = (np.concatenate([p.levels[i] for p in pieces]) for i, _ in enumerate(pieces[0].hops))
    return Codes(tuple(levels), pieces[0].hops)


def checked(codes: Codes, bins: Mapping[int, int]) -> None:
    """Refuse codes that a level does not have."""
    for level, many in bins.items():
        largest = int(codes.levels[level].max(initial=0))
        if largest >= many or int(codes.levels[level].min(initial=0)) < UNKNOWN:
            raise ValueError(
                f"level {level} has the codes 0 … {many - 1}; these hold {largest}: another codec's"
            )
