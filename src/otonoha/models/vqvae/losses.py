"""What a reconstruction is judged by: samples and spectra. Axes: B clips, C channels, T samples.

    l1 = mean |x - y| / a         l2 = mean (x - y)² / v         linf = mean of the largest squared errors of a clip / v
    lmix = Σ weight · (l1, l2, linf)
    spectral = ‖|S x| - |S y|‖ / s, one resolution         multispectral = its mean over three resolutions

a, v, s are properties of the training sound: mean |x|, variance of x, mean norm of a clip's spectrogram. So a loss of 1
means as bad as silence, whatever the recordings' level. Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341), section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from otonoha.models.vqvae.config import Config
from otonoha.nn import spectral


@dataclass(frozen=True)
class Judge:
    """The losses of a config."""

    config: Config

    @property
    def _scale(self) -> tuple[float, float, float]:
        return self.config.normalisers or (1.0, 1.0, 1.0)

    def samples(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Every comparison of samples: l1, l2, linf, lmix."""
        mean, variance, _ = self._scale
        error = (x - y).flatten(1)
        squares = error**2
        found = {
            "l1": error.abs().mean() / mean,
            "l2": squares.mean() / variance,
            "linf": squares.topk(min(self.config.top, squares.shape[1]), dim=1).values.mean() / variance,
        }
        parts = zip(self.config.mix, tuple(found.values()), strict=True)
        return found | {"lmix": sum((w * part for w, part in parts if w), torch.zeros(()))}

    def reconstruction(self, x: Tensor, y: Tensor) -> Tensor:
        """The one that is minimised."""
        return self.samples(x, y)[self.config.loss]

    def spectral(self, x: Tensor, y: Tensor) -> Tensor:
        """One resolution."""
        if self.config.spectral_share:
            return spectral.convergence(_clips(x), _clips(y)).mean()
        return spectral.distance(_clips(x), _clips(y)).mean() / self._scale[2]

    def multispectral(self, x: Tensor, y: Tensor) -> Tensor:
        """Three resolutions."""
        return spectral.multi_distance(_clips(x), _clips(y)).mean() / self._scale[2]

    def convergence(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of the spectra as a share: a figure, not a loss of its own."""
        return spectral.convergence(_clips(x), _clips(y)).mean()


def _clips(x: Tensor) -> Tensor:
    """Every channel as a clip."""
    return x.flatten(0, 1)


def measured(batches: Iterable[Tensor]) -> tuple[float, float, float]:
    """The normalisers of training sound (B, C, T) …: mean |x|, variance of x, mean norm of a clip's spectrogram.

    Raises ValueError for silence.
    """
    count, absolute, total, squares, size, clips = 0, 0.0, 0.0, 0.0, 0.0, 0
    for x in batches:
        count += x.numel()
        absolute += float(x.abs().sum(dtype=torch.float64))
        total += float(x.sum(dtype=torch.float64))
        squares += float((x.double() ** 2).sum())
        norms = spectral.norm(spectral.magnitude(_clips(x), spectral.SINGLE))
        size, clips = size + float(norms.sum(dtype=torch.float64)), clips + len(norms)
    variance = squares / max(1, count) - (total / max(1, count)) ** 2
    if not variance > 1e-12:
        raise ValueError("the training sound is silent: there is nothing to learn from")
    return absolute / count, variance, size / clips
