"""The critic of the design `modern`: it learns to tell recordings from decoded sound by their complex spectra.

For every window size, convolutions over (frames, bins) of the spectrum, channels as real and imaginary parts, with the
magnitudes compressed so that quiet bins count. Défossez et al. 2022 (EnCodec, arXiv 2210.13438).

    critic       E[max(0, 1 - D(x))] + E[max(0, 1 + D(y))]                            hinge
    codec        E[-D(y)]  +  w5 · Σ over layers  mean |D_l(x) - D_l(y)| / mean |D_l(x)|

Axes: B clips, C channels, T samples, N frames, F bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SIZES = (2048, 1024, 512)
"""Windows; the hop is a quarter."""
QUIET = 1e-4
"""Power of a bin below which it is not raised any more."""
SLOPE = 0.2
"""Of the leaky rectifier."""


@dataclass(frozen=True)
class Opinion:
    """Of one window size: `score` (B, 1, N, F) local scores, `seen` what the layers before it saw."""

    score: Tensor
    seen: Sequence[Tensor]


class OneSize(nn.Module):
    """The critic at one window size."""

    window: Tensor

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        layers = [_layer(2 * channels, width, (3, 9), (1, 2), 1)]
        layers += [_layer(width, width, (3, 9), (1, 2), dilation) for dilation in (1, 2, 4)]
        layers += [_layer(width, width, (3, 3), (1, 1), 1)]
        self.layers = nn.ModuleList(layers)
        self.last = _layer(width, 1, (3, 3), (1, 1), 1)

    def forward(self, x: Tensor) -> Opinion:
        """(B, C, T) -> what it thinks."""
        h, seen = self._image(x), []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE)
            seen.append(h)
        return Opinion(self.last(h), seen)

    def _image(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2 C, N, F)."""
        with torch.autocast(x.device.type, enabled=False):
            clips = x.float().flatten(0, 1)
            spectra = torch.stft(clips, self.size, self.size // 4, window=self.window, return_complex=True)
            spectra = spectra / (self.size / 2) ** 0.5
            power = spectra.real.square() + spectra.imag.square()
            parts = torch.view_as_real(spectra) * (power + QUIET).pow(-0.35)[..., None]
            return parts.permute(0, 3, 2, 1).unflatten(0, x.shape[:2]).flatten(1, 2)


class Critic(nn.Module):
    """One for every window size."""

    def __init__(self, channels: int, width: int, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self.sizes = nn.ModuleList(OneSize(channels, width, size) for size in sizes)

    def forward(self, x: Tensor) -> list[Opinion]:
        """(B, C, T) -> an opinion of every size."""
        return [one(x) for one in self.sizes]


def _layer(
    inside: int, outside: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: int
) -> nn.Module:
    """A convolution over frames and bins; `dilation` is along the frames."""
    pad = (dilation * (kernel[0] // 2), kernel[1] // 2)
    return weight_norm(nn.Conv2d(inside, outside, kernel, stride, pad, (dilation, 1)))


def critic_loss(real: Sequence[Opinion], fake: Sequence[Opinion]) -> Tensor:
    """What the critic minimises."""
    each = [F.relu(1 - r.score).mean() + F.relu(1 + f.score).mean() for r, f in zip(real, fake)]
    return torch.stack(each).mean()


def codec_loss(real: Sequence[Opinion], fake: Sequence[Opinion]) -> dict[str, Tensor]:
    """What the codec minimises (`real` has no gradient): `critic`, the opinion; `features`, the distance inside."""
    opinion = torch.stack([-f.score.mean() for f in fake]).mean()
    gaps = [
        (a - b).abs().mean() / a.abs().mean().clamp(min=1e-3)
        for r, f in zip(real, fake)
        for a, b in zip(r.seen, f.seen)
    ]
    return {"critic": opinion, "features": torch.stack(gaps).mean()}


def cut(x: Tensor, length: int, generator: torch.Generator) -> tuple[int, int]:
    """A random part of `length` samples (or all there is): where it begins and ends."""
    many = min(length, x.shape[-1])
    first = int(torch.randint(x.shape[-1] - many + 1, (1,), generator=generator))
    return first, first + many
