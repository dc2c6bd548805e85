"""Phrases to learn from: every window of N whole bars of every piece, in twelve keys.

Axes: B phrases, M tracks, N bars, S steps of a bar, P pitches. Rolls hold 0 silent, 1 onset, 2 hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otonoha.tokens.base import Tokens
from otonoha.tokens.roll import Roll

KEYS = range(-6, 6)
"""The twelve keys around the written one."""


@dataclass(frozen=True, eq=False)
class Phrases:
    """A batch: `rolls` (B, M, N, S, P) uint8 states."""

    rolls: Tensor

    @property
    def targets(self) -> float:
        """Phrases that the loss averages over."""
        return float(len(self.rolls))

    def __len__(self) -> int:
        return len(self.rolls)

    def rows(self, index: slice) -> Phrases:
        """Some of the phrases."""
        return Phrases(self.rolls[index])

    def to(self, device: torch.device) -> Phrases:
        """The same batch on a device."""
        return Phrases(self.rolls.to(device))


class Windows:
    """Endless shuffled batches of phrases; a pure function of (seed, update).

    A pass visits every window once, each in a random one of the keys (within six semitones of the written
    one) that the rolls have room for. Windows without a note are left out; `first_only` keeps one window of
    each piece, as the book does.
    """

    def __init__(
        self,
        sequences: Sequence[Tokens],
        codec: Roll,
        *,
        bars: int,
        batch: int,
        seed: int = 0,
        transpose: bool = True,
        first_only: bool = False,
    ) -> None:
        self.codec, self.bars, self.batch, self.seed = codec, bars, batch, seed
        self.pieces = [codec.array(t) for t in sequences]
        self.shifts = [_shifts(codec, t) if transpose else range(1) for t in sequences]
        starts = [codec.phrases(t, bars)[: 1 if first_only else None] for t in sequences]
        self.places = np.array([(i, bar) for i, found in enumerate(starts) for bar in found]).reshape(-1, 2)
        if not len(self.places):
            raise ValueError(
                f"there is nothing to learn from: none of {len(self.pieces)} pieces "
                f"has a phrase of {bars} bars with a note"
            )

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, update: int) -> Phrases:
        """The batch of this update."""
        at = np.arange(update * self.batch, (update + 1) * self.batch)
        epochs, places = np.divmod(at, len(self))
        orders = {
            e: np.random.default_rng([self.seed, 0, int(e)]).permutation(len(self)) for e in set(epochs)
        }
        rng = np.random.default_rng([self.seed, 1, update])
        return self._phrases([orders[e][k] for e, k in zip(epochs, places)], rng)

    def some(self, count: int, seed: int = 0) -> Tensor:
        """(B, M, N, S, P): so many phrases in their own keys, drawn without repetition where there are enough."""
        rng = np.random.default_rng([self.seed, 2, seed])
        chosen = rng.permutation(len(self))[:count]
        return self._phrases(list(chosen), None).rolls

    def _phrases(self, chosen: Sequence[int], rng: np.random.Generator | None) -> Phrases:
        rolls = []
        for piece, bar in self.places[chosen]:
            window = self.pieces[piece][bar : bar + self.bars]
            shifts = self.shifts[piece]
            shift = 0 if rng is None else int(rng.integers(shifts.start, shifts.stop))
            rolls.append(self.codec.shifted(window, shift) if shift else window)
        return Phrases(torch.from_numpy(np.stack(rolls).swapaxes(1, 2)))


def _shifts(codec: Roll, tokens: Tokens) -> range:
    can = codec.transpositions(tokens)
    return range(max(can.start, KEYS.start), min(can.stop, KEYS.stop))
