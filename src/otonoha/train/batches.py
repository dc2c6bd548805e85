"""Batches of token sequences. Axes: B sequences, T positions.

A batch is a pure function of (seed, update number): training can stop anywhere and go on with exactly the
data it would have seen, and several processes can share one batch without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otonoha.tokens.base import Tokens


@dataclass(frozen=True, eq=False)
class Batch:
    """`streams` name -> (B, T) int64, `mask` (B, T) bool: true where a position exists.

    `first` (B,) bool: does the row begin where its piece begins? `targets` counts what the loss
    averages over.
    """

    streams: dict[str, Tensor]
    mask: Tensor
    first: Tensor

    @property
    def targets(self) -> float:
        """Positions that count."""
        return float(self.mask.sum())

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, index: slice) -> Batch:
        """Some of the sequences."""
        return Batch({n: s[index] for n, s in self.streams.items()}, self.mask[index], self.first[index])

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            {n: s.to(device) for n, s in self.streams.items()}, self.mask.to(device), self.first.to(device)
        )


def collate(sequences: Sequence[Tokens], first: Sequence[bool] | None = None) -> Batch:
    """Pad sequences to the longest with zeros."""
    longest = max(len(s) for s in sequences)
    mask = np.zeros((len(sequences), longest), bool)
    streams = {n: np.zeros((len(sequences), longest), np.int64) for n in sequences[0].streams}
    for row, tokens in enumerate(sequences):
        mask[row, : len(tokens)] = True
        for name, values in tokens.streams.items():
            streams[name][row, : len(tokens)] = values
    begins = np.ones(len(sequences), bool) if first is None else np.asarray(first)
    return Batch(
        {n: torch.from_numpy(s) for n, s in streams.items()}, torch.from_numpy(mask), torch.from_numpy(begins)
    )


Change = Callable[[Tokens, np.random.Generator], Tokens]


class Windows:
    """Endless shuffled batches of windows of at most `length` positions.

    Every pass visits each position once; pieces are cut at a new random place each time, and windows of like
    length share a batch, so that little is padding. A batch is always full: where a pass ends in the middle
    of one, the next pass begins there. `change` alters each window on the way (transposition, dropped hints)
    with a random generator of its update.
    """

    def __init__(
        self,
        sequences: Sequence[Tokens],
        *,
        batch: int,
        length: int,
        seed: int = 0,
        change: Change | None = None,
    ) -> None:
        self.sequences = [s for s in sequences if len(s)]
        if not self.sequences:
            raise ValueError("there is nothing to learn from: no piece holds any token")
        self.batch, self.length, self.seed, self.change = batch, length, seed, change
        self._epoch, self._plan = 0, self._plan_of(0)
        self.per_pass = len(self._plan)
        """Windows of a pass; the same number in every pass."""

    def __call__(self, update: int) -> Batch:
        """The batch of this update."""
        rows = self._rows(update * self.batch, (update + 1) * self.batch)
        windows = [self.sequences[p].slice(a, b) for p, a, b in rows]
        if self.change is not None:
            rng = np.random.default_rng([self.seed, 1, update])
            windows = [self.change(w, rng) for w in windows]
        return collate(windows, rows[:, 1] == 0)

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3): piece, start, stop of windows, counted through all passes."""
        parts = []
        while start < stop:
            epoch, at = divmod(start, self.per_pass)
            if epoch != self._epoch:
                self._epoch, self._plan = epoch, self._plan_of(epoch)
            parts.append(self._plan[at : at + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def _plan_of(self, epoch: int) -> np.ndarray:
        """(windows, 3) of a pass: first what fills up the last batch of the pass before, then whole batches
        of windows of like length, then the rest.
        """
        rng = np.random.default_rng([self.seed, 0, epoch])
        rows = np.concatenate([self._cuts(i, len(s), rng) for i, s in enumerate(self.sequences)])
        rows = rows[rng.permutation(len(rows))]
        head, body = np.split(rows, [min(len(rows), -epoch * len(rows) % self.batch)])
        chunk = 16 * self.batch
        for at in range(0, len(body), chunk):
            part = body[at : at + chunk]
            body[at : at + chunk] = part[np.argsort(part[:, 2] - part[:, 1], kind="stable")]
        whole = len(body) // self.batch
        groups, rest = np.split(body, [whole * self.batch])
        groups = groups.reshape(whole, self.batch, 3)[rng.permutation(whole)]
        return np.concatenate([head, groups.reshape(-1, 3), rest])

    def _cuts(self, piece: int, total: int, rng: np.random.Generator) -> np.ndarray:
        """Windows of a piece: the first cut is random, within bounds that keep their number the same."""
        if total <= self.length:
            return np.array([[piece, 0, total]])
        half = max(1, self.length // 2)
        spare = total % self.length or self.length
        if spare > max(half, 3 * self.length // 4):
            lead = int(rng.integers(half, spare))
        else:
            lead = int(rng.integers(max(spare, half), self.length + 1))
        starts = np.concatenate([[0], np.arange(lead, total, self.length)])
        stops = np.append(starts[1:], total)
        return np.stack([np.full_like(starts, piece), starts, stops], axis=1)


def in_order(sequences: Sequence[Tokens], batch: int) -> list[Batch]:
    """Every sequence once and whole, short ones first: for evaluation."""
    ordered = sorted((s for s in sequences if len(s)), key=len)
    return [collate(ordered[at : at + batch]) for at in range(0, len(ordered), batch)]
