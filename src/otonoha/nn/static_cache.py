"""Keys and values of the past in buffers that never move, so that a step writes and reads in place.

Axes: L layers, B rows, H key/value heads, S slots, C head width. Rows stand left aligned: row b has filled the
slots 0 … length[b]−1 and rows may differ. (`nn.cache.KVCache` is the growing one for networks of a single layer.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class StaticCache:
    """The memory of a decoder: `keys` and `values` (L, B, H, S, C), `length` (B,)."""

    keys: Tensor
    values: Tensor
    length: Tensor
    even: int | None = 0
    """The length that all rows share, or None where they differ; known here, so that no device is asked."""
    longest: int = 0

    @classmethod
    def empty(cls, layers: int, rows: int, heads: int, slots: int, width: int, like: Tensor) -> StaticCache:
        """Nothing written yet; zeros, because a masked slot still takes part in products."""
        keys = like.new_zeros(layers, rows, heads, slots, width)
        return cls(keys, torch.zeros_like(keys), torch.zeros(rows, dtype=torch.long, device=like.device))

    @property
    def slots(self) -> int:
        """How many positions a row has room for."""
        return self.values.shape[3]

    @property
    def full(self) -> bool:
        """Whether some row has no room for another position."""
        return self.longest >= self.slots

    def check(self, tokens: Tensor) -> None:
        """ValueError unless there is room for one token (B,) per row."""
        if len(tokens) != len(self.length):
            raise ValueError(f"{len(tokens)} tokens for a cache of {len(self.length)} rows")
        if self.full:
            raise ValueError(f"the cache of {self.slots} positions is full")

    def fill(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Keys and values (B, H, T, C) of the positions 0 … T−1, in one pass. Then call `filled` once."""
        self.keys[layer, :, :, : k.shape[2]] = k
        self.values[layer, :, :, : v.shape[2]] = v

    def filled(self, positions: int, lengths: Tensor | None = None) -> None:
        """All layers hold `positions`; of them count `lengths` (B,), or all."""
        if lengths is None:
            self.length.fill_(positions)
            self.even = self.longest = positions
        else:
            self.length.copy_(lengths)
            shortest, self.longest = (int(n) for n in lengths.aminmax())
            self.even = shortest if shortest == self.longest else None

    def put(self, layer: int, k: Tensor, v: Tensor, even: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Write one position (B, H, C) into each row's next slot: `even`, or where `length` says.

        Returns keys and values (B, H, S', C) to look at, and which slots count: (B, S'), or None for all. Call
        `advance` after the last layer.
        """
        keys, values = self.keys[layer], self.values[layer]
        if even is not None:
            keys[:, :, even], values[:, :, even] = k, v
            return keys[:, :, : even + 1], values[:, :, : even + 1], None
        place = self.length.view(-1, 1, 1, 1).expand(-1, k.shape[1], 1, k.shape[2])
        keys.scatter_(2, place, k[:, :, None])
        values.scatter_(2, place, v[:, :, None])
        return keys, values, torch.arange(self.slots, device=k.device) <= self.length[:, None]

    def advance(self) -> None:
        """One more position in every row."""
        self.length += 1
        self.longest += 1
        if self.even is not None:
            self.even += 1
