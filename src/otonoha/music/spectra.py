"""Spectra: short-time Fourier transform, mel bands, pitch classes and the strength of onsets, in NumPy.

Axes: samples (…, T) float32 with full scale 1.0; spectra (…, bins, frames), bins = size / 2 + 1 from 0 Hz to
half the rate. Conventions (those of librosa, torch.stft and DAC; the torch twin is `nn/spectral.py`):

- Hann window, periodic: w[n] = 0.5 - 0.5 cos(2 pi n / window); shorter than the transform, it stands in its middle.
- Frames are centred: frame t is around sample t * hop, ends are reflected by size / 2, there are 1 + T // hop
  frames. A clip too short to be reflected once is reflected back and forth (torch refuses it).
- Nothing is normalised: a sine of amplitude a has magnitude a * sum(w) / 2 in its bin.
- Mel bands: Slaney's scale (linear to 1 kHz, logarithmic above), triangles of equal area 2 / (high - low in Hz),
  applied to magnitudes unless said otherwise.

The transform goes over a few frames at a time, so that a block stays in the cache: 10 s at 44.1 kHz take about
17 ms with size 2048 and hop 512 on one core, and only the result is ever held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from scipy.fft import rfft

BLOCK = 2**17
"""Most samples of windowed frames at a time."""
LOG_FLOOR = 1e-5
"""Magnitudes below it count as it in logarithms, as in DAC."""
ONSET_RATE = 100
"""Frames of `onset_strength` per second, about: the hop is a whole number of samples."""
ONSET_RANGE = 60.0
"""dB below the loudest point beneath which onsets are not looked for."""
_LINEAR = 200.0 / 3  # Hz per mel below 1 kHz
_KNEE = 1000.0 / _LINEAR  # mel at 1 kHz
_STEP = np.log(6.4) / 27.0  # natural logarithm of the ratio per mel above


def stft(
    samples: np.ndarray, size: int = 2048, hop: int | None = None, window: int | None = None
) -> np.ndarray:
    """(…, T) -> (…, size / 2 + 1, 1 + T // hop) complex64. `hop` is a quarter of `window`, `window` is `size`."""
    return _collect(samples, size, hop, window, lambda block: block, size // 2 + 1, np.complex64)


def magnitudes(
    samples: np.ndarray, size: int = 2048, hop: int | None = None, window: int | None = None
) -> np.ndarray:
    """|stft|: (…, bins, frames) float32."""
    return _collect(samples, size, hop, window, np.abs, size // 2 + 1)


def mel_magnitudes(
    samples: np.ndarray, rate: int, *, mels: int = 128, size: int = 2048, hop: int | None = None
) -> np.ndarray:
    """Magnitudes pooled into mel bands: (…, mels, frames) float32."""
    filters = mel_filters(rate, size, mels).T
    return _collect(samples, size, hop, None, lambda b: np.abs(b) @ filters, mels)


def log_mel(
    samples: np.ndarray,
    rate: int,
    *,
    mels: int = 128,
    size: int = 2048,
    hop: int | None = None,
    floor: float = LOG_FLOOR,
) -> np.ndarray:
    """log10 of mel magnitudes, not below `floor`: (…, mels, frames) float32. Times 20 it is in dB."""
    return np.log10(np.maximum(mel_magnitudes(samples, rate, mels=mels, size=size, hop=hop), floor))


def chroma(samples: np.ndarray, rate: int, *, size: int | None = None, hop: int | None = None) -> np.ndarray:
    """Power of the twelve pitch classes, C first: (…, 12, frames) float32. `size` is about 186 ms when unset."""
    size = size or _power_of_two(0.186 * rate)
    filters = chroma_filters(rate, size).T
    return _collect(samples, size, hop, None, lambda b: power(b) @ filters, 12)


def onset_strength(samples: np.ndarray, rate: int, *, loudest: float | None = None) -> np.ndarray:
    """(T,) -> (frames,): by how many dB the mel bands rise within 20 ms, on average; falls count as 0, and so
    do the first 30 ms and the last 10, where frames see the mirror.

    Levels are measured down to 60 dB below `loudest`, a mel magnitude (the clip's own loudest when unset): two
    clips are compared on the scale of one of them. Frames are `onset_hop(rate)` samples apart.
    """
    levels = onset_levels(samples, rate)
    loudest = float(levels.max(initial=0.0)) if loudest is None else loudest
    rise = np.zeros(levels.shape[-1], np.float32)
    edge = -(-_onset_size(rate) // (2 * onset_hop(rate)))
    first, last = 2 + edge, len(rise) - edge
    if loudest <= 0 or first >= last:
        return rise
    decibels = 20 * np.log10(np.maximum(levels / np.float32(loudest), np.float32(10 ** (-ONSET_RANGE / 20))))
    rises = np.maximum(decibels[:, 2:] - decibels[:, :-2], 0).mean(axis=0)
    rise[first:last] = rises[first - 2 : last - 2]
    return rise


def onset_levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """The mel magnitudes that `onset_strength` looks at: 64 bands, windows of about 23 ms, (64, frames)."""
    return mel_magnitudes(samples, rate, mels=64, size=_onset_size(rate), hop=onset_hop(rate))


def _onset_size(rate: int) -> int:
    return max(_power_of_two(0.023 * rate), 16)


def onset_hop(rate: int) -> int:
    """Samples between the frames of `onset_strength`: a hundredth of a second."""
    return max(round(rate / ONSET_RATE), 1)


def hann(length: int) -> np.ndarray:
    """(length,) float32, periodic."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def power(spectrum: np.ndarray) -> np.ndarray:
    """|spectrum|², without the square root on the way."""
    return spectrum.real**2 + spectrum.imag**2


def blocks(
    samples: np.ndarray, size: int, hop: int | None = None, window: int | None = None
) -> Iterator[np.ndarray]:
    """The transform of one channel (T,), some frames at a time: (frames, bins) complex64, in order.

    What is only summed over frames needs no more memory than one block: a file of any length.
    """
    hop, taper = _checked(samples, size, hop, window)
    padded = np.pad(samples.astype(np.float32, copy=False), size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    some = max(BLOCK // size, 1)
    for at in range(0, 1 + len(samples) // hop, some):
        yield rfft(frames[at : at + some] * taper, axis=-1)


def _checked(samples: np.ndarray, size: int, hop: int | None, window: int | None) -> tuple[int, np.ndarray]:
    """The hop, and the window in the middle of `size` zeros."""
    window = size if window is None else window
    hop = max(window // 4, 1) if hop is None else hop
    if size < 2 or size % 2:
        raise ValueError(f"the size of a transform must be even and at least 2, got {size}")
    if not 1 <= window <= size:
        raise ValueError(f"the window must have 1 to {size} samples (the transform's size), got {window}")
    if hop < 1:
        raise ValueError(f"the hop must be at least 1 sample, got {hop}")
    if not samples.shape[-1]:
        raise ValueError("a clip without samples has no spectrum")
    taper, left = np.zeros(size, np.float32), (size - window) // 2
    taper[left : left + window] = hann(window)
    return hop, taper


def _collect(
    samples: np.ndarray,
    size: int,
    hop: int | None,
    window: int | None,
    reduce: Callable[[np.ndarray], np.ndarray],
    rows: int,
    kind: type = np.float32,
) -> np.ndarray:
    """Every channel's blocks, reduced to (frames, rows) each, side by side: (…, rows, frames)."""
    samples = np.asarray(samples)
    step, _ = _checked(samples, size, hop, window)
    channels = samples.reshape(-1, samples.shape[-1])
    whole = np.empty((len(channels), 1 + samples.shape[-1] // step, rows), kind)
    for channel, out in zip(channels, whole):
        at = 0
        for block in blocks(channel, size, hop, window):
            out[at : at + len(block)] = reduce(block)
            at += len(block)
    return np.moveaxis(whole, -1, -2).reshape(*samples.shape[:-1], rows, -1)


def mel_of_hz(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel scale."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000, hz / _LINEAR, _KNEE + np.log(np.maximum(hz, 1e-9) / 1000) / _STEP)


def hz_of_mel(mel: np.ndarray | float) -> np.ndarray:
    """The inverse of `mel_of_hz`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < _KNEE, mel * _LINEAR, 1000 * np.exp((mel - _KNEE) * _STEP))


@lru_cache(maxsize=32)
def mel_filters(
    rate: int, size: int, mels: int, lowest: float = 0.0, highest: float | None = None
) -> np.ndarray:
    """(mels, size / 2 + 1) float32, read-only: triangles of equal area between `lowest` and `highest` Hz.

    With many bands and a small size the lowest triangles may fall between two bins and hold nothing: so they
    do in the original.
    """
    highest = rate / 2 if highest is None else highest
    if mels < 1:
        raise ValueError(f"there must be at least 1 mel band, got {mels}")
    if not 0 <= lowest < highest <= rate / 2:
        raise ValueError(f"mel bands must lie within 0-{rate / 2:g} Hz, got {lowest:g}-{highest:g}")
    bins = np.arange(size // 2 + 1) * (rate / size)
    corner = hz_of_mel(np.linspace(mel_of_hz(lowest), mel_of_hz(highest), mels + 2))
    low, middle, high = corner[:-2, None], corner[1:-1, None], corner[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    filters = (np.maximum(np.minimum(rising, falling), 0) * (2 / (high - low))).astype(np.float32)
    filters.setflags(write=False)
    return filters


@lru_cache(maxsize=8)
def chroma_filters(rate: int, size: int, lowest: float = 110.0, highest: float = 5000.0) -> np.ndarray:
    """(12, size / 2 + 1) float32, read-only: each bin shared between the two nearest pitch classes (a' = 440 Hz)."""
    hz = np.arange(size // 2 + 1) * (rate / size)
    heard = (hz >= lowest) & (hz <= highest)
    pitch = 69 + 12 * np.log2(np.where(heard, hz, 440.0) / 440)
    away = np.abs((pitch - np.arange(12)[:, None] + 6) % 12 - 6)
    filters = (np.maximum(1 - away, 0) * heard).astype(np.float32)
    filters.setflags(write=False)
    return filters


def _power_of_two(length: float) -> int:
    return max(1 << max(round(np.log2(length)), 1), 2) if length > 0 else 2
