"""What a network remembers while it writes. Axes: B batch, H heads, S positions so far, C head width."""

from __future__ import annotations

from torch import Tensor


class KVCache:
    """Keys and values of the past in one preallocated buffer that doubles when it is full.

    >>> cache = KVCache()
    >>> keys, values = cache.append(k, v)     # k, v: (B, H, T, C) of the new positions; returns all so far
    """

    def __init__(self) -> None:
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new positions and return keys and values of all positions, (B, H, S, C) each."""
        end = self.length + k.shape[2]
        self.keys, self.values = self._room(self.keys, k, end), self._room(self.values, v, end)
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _room(self, buffer: Tensor | None, like: Tensor, end: int) -> Tensor:
        if buffer is not None and buffer.shape[2] >= end:
            return buffer
        B, H, _, C = like.shape
        larger = like.new_empty(B, H, max(64, 2 * end), C)
        if buffer is not None:
            larger[:, :, : self.length] = buffer[:, :, : self.length]
        return larger
