"""Sound as overlapping frames of complex spectra and back, and the head that lets a network write sound in this way.

Frame n of N = T / hop stands around sample n · hop + hop / 2; what lies outside of the sound is 0. Both directions use
the square root of a Hann window, so that joined frames that nobody changed are the sound itself, to its very ends:

    split   s[n] = rfft(w · x[n hop - p … n hop - p + size - 1]) / √(size / 2)         p = (size - hop) / 2
    join    x = overlap-add of w · irfft(s[n]) √(size / 2), divided by the overlap-add of w²

So noise of variance 1 has coefficients of about that size, whatever the size. Siuzdak 2023 (Vocos, arXiv 2306.00814).
Axes: B batch, C channels, T samples, N frames, F bins (size / 2 + 1), D width.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOUDEST = 4.0
"""Largest logarithm of a magnitude: a sine of ten times full scale."""
FAINTEST = 1e-4
"""Magnitude that counts as silence when levels are measured."""
HISS_FRAMES = 1024
"""Frames of noise that are drawn once; after these they begin again."""
BANDS = 48
"""Bands of noise, at most: as far apart as on the mel scale, with straight lines between them."""
CORNER = 16.0
"""The bin at which bands begin to grow wider: about 700 Hz, as on the mel scale."""
Kind = Literal["polar", "cartesian", "noise"]


class Frames(nn.Module):
    """The two directions."""

    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        if hop < 1 or size % hop or (size - hop) % 2 or size // hop < 2:
            raise ValueError(f"the size of a frame must be 2, 3, 4 … times the hop {hop}, got {size}")
        self.size, self.hop, self.bins = size, hop, size // 2 + 1
        self.pad = (size - hop) // 2
        hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(size, dtype=torch.float64) / size)
        self.register_buffer("window", hann.sqrt().float(), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """(…, T) -> (…, N, F) complex."""
        frames = F.pad(x.float(), (self.pad, self.pad)).unfold(-1, self.size, self.hop)
        return torch.fft.rfft(frames * self.window) / math.sqrt(self.size / 2)

    def join(self, spectra: Tensor) -> Tensor:
        """(…, N, F) complex -> (…, T)."""
        frames = torch.fft.irfft(spectra * math.sqrt(self.size / 2), n=self.size) * self.window
        weights = self._overlapped((self.window**2).expand(frames.shape[-2], -1))
        return self._overlapped(frames) / weights

    def _overlapped(self, frames: Tensor) -> Tensor:
        """(…, N, size) -> (…, N · hop): the sum of frames a hop apart, without what stands out at the ends."""
        times, N = self.size // self.hop, frames.shape[-2]
        parts = frames.unflatten(-1, (times, self.hop)).unbind(-2)
        rows = [F.pad(part, (0, 0, at, times - 1 - at)) for at, part in enumerate(parts)]
        return torch.stack(rows).sum(0).flatten(-2)[..., self.pad : self.pad + N * self.hop]

    def heard(self, first: int, last: int) -> tuple[int, int]:
        """The samples that the frames first … last depend on."""
        return first * self.hop - self.pad, last * self.hop + self.hop + self.pad - 1

    def read(self, first: int, last: int) -> tuple[int, int]:
        """The frames that the samples first … last depend on."""
        return -((self.size - 1 - self.pad - first) // self.hop), (last + self.pad) // self.hop


class Head(nn.Module):
    """Rows -> sound.

    polar      logarithm of the magnitude and angle
    noise      the same, and the logarithm of how much noise is added to each of a few bands: what cannot be foreseen
               gets its level without an angle. An angle that is a guess stays the same from frame to frame, and what
               is written so sounds at multiples of rate / hop: a buzz. It takes a loss that asks of the first part
               only what can be foreseen. Bands, since losses that look at bands leave a level for each bin unsettled,
               and what it comes to sounds like metal
    cartesian  real and imaginary part, times a factor for each bin that is learnt

    The noise belongs to places in time (see `forward`), so that sound decoded in pieces is the whole.
    """

    hiss: Tensor
    lines: Tensor

    def __init__(self, width: int, frames: Frames, channels: int, kind: Kind = "noise") -> None:
        super().__init__()
        self.frames, self.channels, self.kind = frames, channels, kind
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, channels * 2 * frames.bins)
        if kind == "cartesian":
            self.scale = nn.Parameter(torch.zeros(frames.bins))
        if kind == "noise":
            self.register_buffer("hiss", _hiss(channels, frames.bins), persistent=False)
            self.register_buffer("lines", lines(min(BANDS, frames.bins), frames.bins), persistent=False)
            self.loud = nn.Linear(width, channels * len(self.lines))

    @torch.no_grad()
    def start(self, spectra: Tensor) -> None:
        """Frames (…, N, F) of the training sound: the head begins with their mean level in every bin."""
        levels = torch.log(spectra.abs() + FAINTEST).flatten(0, -2).mean(0)
        if self.kind == "cartesian":
            self.scale.copy_(levels)
            return
        self.out.bias.view(self.channels, 2, -1)[:, 0] = levels
        if self.kind == "noise":
            self.loud.bias.view(self.channels, -1)[:] = banded(levels, self.lines) - 1

    def forward(self, x: Tensor, at: int | Tensor = 0) -> tuple[Tensor, Tensor | None]:
        """(B, N, D) -> (B, C, T) twice: what can be foreseen, and the noise to be added, if there is any.

        `at`: place in time of the first frame, counted in frames, one or (B,).
        """
        x = self.norm(x)
        one, other = (
            self.out(x).float().unflatten(2, (self.channels, 2, -1)).movedim(1, 2).unbind(3)
        )  # (B, C, N, F)
        if self.kind == "cartesian":
            return self.frames.join(torch.complex(one, other) * self.scale.exp()), None
        foreseen = self.frames.join(torch.polar(one.clamp(max=LOUDEST).exp(), other))
        if self.kind == "polar":
            return foreseen, None
        levels = self.loud(x).float().unflatten(2, (self.channels, -1)).movedim(1, 2) @ self.lines
        return foreseen, self.frames.join(levels.clamp(max=LOUDEST).exp() * self._noise(x, at))

    def _noise(self, x: Tensor, at: int | Tensor) -> Tensor:
        """(B, C, N, F) complex, of variance 1."""
        places = torch.arange(x.shape[1], device=x.device) + torch.as_tensor(at, device=x.device).view(-1, 1)
        return torch.view_as_complex(self.hiss)[:, places % HISS_FRAMES].movedim(0, 1)


def _hiss(channels: int, bins: int) -> Tensor:
    """(C, HISS_FRAMES, F, 2): always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(channels, HISS_FRAMES, bins, 2, generator=generator) * math.sqrt(0.5)


def lines(bands: int, bins: int) -> Tensor:
    """(bands, F): how much of each band's level a bin takes; 1 in the middle of a band, straight lines between. The
    middles are as far apart as on the mel scale, though a bin at least.
    """
    mel = np.linspace(0, np.log1p((bins - 1) / CORNER), bands)
    middles = np.expm1(mel) * CORNER
    middles = np.maximum(middles, np.arange(bands)) * (bins - 1) / max(middles[-1], bands - 1)
    each = [np.interp(np.arange(bins), middles, np.eye(bands)[band]) for band in range(bands)]
    return torch.tensor(np.stack(each), dtype=torch.float32)


def banded(levels: Tensor, lines: Tensor) -> Tensor:
    """(…, F) levels of bins -> (…, bands) their means around the middles of bands."""
    return levels @ (lines / lines.sum(1, keepdim=True)).T
