"""Sound while codes are still being written: piece by piece, exactly as if all were decoded at the end.

A sample depends on codes so far away and no further; it is decoded as soon as all of them are there, together with as
many codes before them as it needs. Axes: B pieces, C channels, T samples; a *position* is one code of the coarsest
level, a finer level has several side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from otonoha.models.jukebox.codes import UNKNOWN, Codes, reach

Hear = Callable[[int, np.ndarray], None]
"""Called with the first sample and the sound (B, C, n) from there on."""


class Decoder(Protocol):
    """What a codec of sound must tell for that (the `design` of a VQ-VAE does)."""

    def sound(self, codes: Sequence[Tensor], level: int, first: int = 0) -> Tensor:
        """Codes (B, T / hop) of every level -> (B, C, T), from a level (and what it builds upon); `first`: the place of
        their first position.
        """

    def read(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The positions that the samples first … last depend on."""


class Live:
    """Decodes a level while it is written, from the sample `start` on, at least `chunk` samples at a time."""

    def __init__(
        self,
        decoder: Decoder,
        level: int,
        hops: Sequence[int],
        hear: Hear,
        *,
        start: int = 0,
        chunk: int = 1 << 16,
        device: str | torch.device = "cpu",
    ) -> None:
        self.decoder, self.level, self.hops, self.hear = decoder, level, tuple(hops), hear
        self.device, self.positions = device, max(1, chunk // hops[-1])
        self.begin = self.told = start // hops[-1]

    def push(self, codes: Codes, upto: int) -> None:
        """Codes of the level are written up to a place; decode what is certain by now, if it is enough."""
        times = self.hops[-1] // self.hops[self.level]
        if upto // times - self.told >= self.positions:
            there = min(upto, reach(codes.written(self.level), self.begin * times)) // times
            sure = self._sure(there)
            if sure - self.told >= self.positions:
                self._tell(codes, sure, there)

    def finish(self, codes: Codes) -> None:
        """No more codes will come: decode the rest of what is written without a gap."""
        written = codes.written(self.level)
        times = self.hops[-1] // self.hops[self.level]
        there = reach(written, self.begin * times) // times
        while self.told < there:
            upto = min(self.told + self.positions, there)
            self._tell(codes, upto, there)

    def _sure(self, there: int) -> int:
        """The positions whose samples need nothing behind the first `there` positions."""
        low, high = self.told, there
        while low < high:
            middle = (low + high + 1) // 2
            if self.decoder.read(self.level, 0, middle * self.hops[-1] - 1)[1] < there:
                low = middle
            else:
                high = middle - 1
        return low

    def _tell(self, codes: Codes, upto: int, there: int) -> None:
        """Decode the positions from the last told one up to `upto`; the first `there` are written."""
        hop = self.hops[-1]
        first, last = self.told * hop, upto * hop
        low, high = self.decoder.read(self.level, first, last - 1)
        start, stop = max(self.begin, low), min(there, high + 1)
        z = []
        for levels, own in zip(codes.levels, self.hops):
            part = levels[:, start * hop // own : stop * hop // own]
            z.append(torch.from_numpy(np.where(part == UNKNOWN, 0, part)).to(self.device))
        with torch.inference_mode():
            y = self.decoder.sound(z, self.level, start)[:, :, first - start * hop : last - start * hop]
        self.hear(first, y.float().cpu().numpy())
        self.told = upto
