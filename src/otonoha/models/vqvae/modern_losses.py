"""What the design `modern` is judged by while it learns: mel bands, complex spectra and samples.

    mel      Σ over windows  mean |log10 M|X| - log10 M|Y||                      levels, at several resolutions
    complex  mean over windows  mean |c(X) - c(Y)| / mean |c(X)|, c(z) = z |z|^-1/2     phases, quiet bins as well
    time     mean over clips  log10 (‖x - y‖² / ‖x‖²)                                   phases, where the energy is

The terms do not depend on how loud a clip is (but for the floors). `time` and `complex` have to be strong from the
start: mel bands alone are learnt without any phase (reference: SI-SDR stays below -50 dB).

Where a decoder also writes noise, `complex` and `time` judge the rest of its sound, which so becomes what can be
foreseen and no louder; `mel` judges the whole, and teaches the noise alone: it fills up what is missing.
Axes: B clips, C channels, T samples, F bins, N frames, M mel bands.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from otonoha.music.spectra import LOG_FLOOR, mel_filters

SCALES = ((2048, 150), (512, 80), (128, 20))
"""(window, mel bands); the hop is a quarter of the window. The first two are those of DAC's distance."""
PHASED = (2048, 512)
"""Windows of the complex spectra."""
SILENT = 1e-7
"""Power of a sample that counts as silence (-70 dB)."""
QUIET = 1e-4
"""Power of a bin that counts as nothing: keeps the gradient of the root in bounds."""


def compared(x: Tensor, foreseen: Tensor, noise: Tensor | None, rate: int) -> dict[str, Tensor]:
    """The terms for sound x and what a decoder made of it, all (B, C, T); float32, whatever the precision around."""
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.float().flatten(0, 1), foreseen.float().flatten(0, 1)
        whole = y if noise is None else y.detach() + noise.float().flatten(0, 1)
        mels, waves = [], []
        for size, bands in SCALES:
            filters = _filters(rate, size, bands, x.device)
            X = _stft(x, size)
            mels.append((_levels(X, filters) - _levels(_stft(whole, size), filters)).abs().mean())
            if size in PHASED:
                X, Y = _rooted(X), _rooted(_stft(y, size))
                waves.append((X - Y).abs().mean() / X.abs().mean().clamp(min=1e-3))
        noise, power = (x - y).square().mean(1), x.square().mean(1)
        ratio = torch.log10((noise + SILENT) / (power + SILENT))
        return {"mel": torch.stack(mels).sum(), "complex": torch.stack(waves).mean(), "time": ratio.mean()}


def si_sdr(x: Tensor, y: Tensor) -> Tensor:
    """(B, C, T) twice -> (B,) scale-invariant signal-to-distortion ratio in dB, within ±100 (as `metrics.sound`)."""
    x, y = (z.double().flatten(0, 1) for z in (x, y))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    share = (x * y).sum(1) / x.square().sum(1).clamp(min=1e-20)
    wanted = share[:, None] * x
    ratio = wanted.square().sum(1).clamp(min=1e-20) / (y - wanted).square().sum(1).clamp(min=1e-20)
    return (10 * torch.log10(ratio)).clamp(-100, 100).float()


def _stft(x: Tensor, size: int) -> Tensor:
    """(B, T) -> (B, F, N) complex: as in `music.spectra`."""
    window = torch.hann_window(size, device=x.device)
    return torch.stft(x, size, size // 4, window=window, center=True, pad_mode="reflect", return_complex=True)


def _levels(spectrum: Tensor, filters: Tensor) -> Tensor:
    """(B, F, N) -> (B, M, N) logarithms of mel magnitudes."""
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.log10((filters @ (power + 1e-12).sqrt()).clamp(min=LOG_FLOOR))


def _rooted(spectrum: Tensor) -> Tensor:
    """(B, F, N) -> (B, F, N, 2): real and imaginary part, the magnitude replaced by its root."""
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.view_as_real(spectrum) * (power + QUIET).rsqrt().sqrt()[..., None]


@lru_cache(maxsize=16)
def _filters(rate: int, size: int, bands: int, device: torch.device) -> Tensor:
    return torch.tensor(mel_filters(rate, size, bands), device=device)
