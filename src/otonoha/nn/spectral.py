"""Magnitude spectrograms and distances between them, with gradients. Axes: B batch, T samples, F bins, N frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Resolution = tuple[int, int, int]
"""n_fft, hop, window length, all in samples."""

SINGLE: Resolution = (2048, 256, 1536)
"""The resolution of single spectral distances (Dhariwal et al. 2020)."""
MULTI: tuple[Resolution, ...] = ((2048, 240, 1200), (1024, 120, 600), (512, 50, 240))
"""Those of the multi-resolution distance (Yamamoto et al. 2020, Dhariwal et al. 2020)."""
SILENT = 2e-3
"""A spectrogram with a smaller norm is silence: no ratio to it has a meaning."""


def shortest(resolutions: Sequence[Resolution]) -> int:
    """Samples that a signal needs at least, to be mirrored at its ends."""
    return max(n_fft for n_fft, _, _ in resolutions) // 2 + 1


def magnitude(x: Tensor, resolution: Resolution) -> Tensor:
    """(B, T) -> (B, F, N): Hann window, frames centred, the ends mirrored, no normalisation."""
    n_fft, hop, length = resolution
    window = torch.hann_window(length, dtype=x.dtype, device=x.device)
    return torch.stft(
        x, n_fft, hop, length, window, center=True, pad_mode="reflect", return_complex=True
    ).abs()


def norm(spectrum: Tensor) -> Tensor:
    """(B, F, N) -> (B,) Frobenius norm."""
    return torch.linalg.vector_norm(spectrum, dim=(1, 2))


def distance(x: Tensor, y: Tensor, resolution: Resolution = SINGLE) -> Tensor:
    """(B, T) twice -> (B,) Frobenius norm of the difference of their magnitudes."""
    return norm(magnitude(x, resolution) - magnitude(y, resolution))


def multi_distance(x: Tensor, y: Tensor, resolutions: Sequence[Resolution] = MULTI) -> Tensor:
    """(B,) mean of the distances at several resolutions."""
    return torch.stack([distance(x, y, r) for r in resolutions]).mean(0)


def convergence(x: Tensor, y: Tensor, resolution: Resolution = SINGLE) -> Tensor:
    """(B,) distance of y to x as a share of the norm of x; 0 where x is silent."""
    real = magnitude(x, resolution)
    size = norm(real)
    share = norm(real - magnitude(y, resolution)) / size.clamp(min=SILENT)
    return torch.where(size > SILENT, share, torch.zeros_like(share))
