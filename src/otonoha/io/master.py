"""From a dry mix to a finished recording: reverberation, loudness, limiter. Mixes are (2, frames) float32."""

from __future__ import annotations

import numpy as np

LOUDNESS_DB = -18.0
PEAK = 0.98
MAX_GAIN_REDUCTION = (
    2.0  # the limiter takes at most 6 dB off a peak; a spiky mix stays below the loudness instead
)
REVERB_SECONDS = 1.3
REVERB_BANDS = (
    (250.0, 1.1),
    (2000.0, 1.2),
    (6000.0, 0.8),
    (np.inf, 0.4),
)  # up to Hz: seconds to fall by 60 dB
LOOK_AHEAD_SECONDS = 0.003
SLICE = 1 << 20


def add_reverb(mix: np.ndarray, send: np.ndarray, rate: int, *, amount: float = 0.16, seed: int = 0) -> None:
    """Add to `mix` (2, frames), in place, what a small hall makes of `send` (frames)."""
    response = room_response(rate, seed=seed) * np.float32(amount)
    size = 1 << int(np.ceil(np.log2(2.5 * response.shape[1])))
    hop = size - response.shape[1] + 1
    spectrum = np.fft.rfft(response, size)
    frames = mix.shape[1]
    for start in range(0, len(send), hop):
        wet = np.fft.irfft(np.fft.rfft(send[start : start + hop], size) * spectrum, size)
        stop = min(start + size, frames)
        mix[:, start:stop] += wet[:, : stop - start]


def room_response(rate: int, *, seed: int = 0) -> np.ndarray:
    """A hall's impulse response of unit energy: reflections, then noise, the higher the shorter."""
    frames = int(REVERB_SECONDS * rate)
    rng = np.random.default_rng([seed, 3])
    time = np.arange(frames) / rate
    hertz = np.fft.rfftfreq(frames, 1 / rate)
    spectrum = np.fft.rfft(rng.standard_normal((2, frames)))
    tail, lower = np.zeros((2, frames)), 120.0
    for upper, seconds in REVERB_BANDS:
        band = np.fft.irfft(spectrum * ((hertz >= lower) & (hertz < upper)), frames)
        tail += band * np.exp(-6.9 * time / seconds) * (2500 / max(2500, lower))
        lower = upper
    tail *= np.clip((time - 0.012) / 0.03, 0, 1) * np.clip((REVERB_SECONDS - time) / 0.1, 0, 1)
    tail /= np.sqrt(np.sum(tail**2, axis=1, keepdims=True))
    for side, delays in enumerate(((0.011, 0.019, 0.031), (0.014, 0.023, 0.037))):
        tail[side, np.round(np.array(delays) * rate).astype(int)] += (0.35, -0.28, 0.22)
    return tail.astype(np.float32)


def normalise(mix: np.ndarray, rate: int) -> np.ndarray:
    """Bring the mix, in place, to the common loudness without clipping; silence stays silence."""
    peak = max(float(mix.max(initial=0.0)), -float(mix.min(initial=0.0)))
    if peak < 1e-9:
        return mix
    gain = 10 ** (LOUDNESS_DB / 20) / max(loudness(mix, rate), 1e-12)
    mix *= np.float32(min(gain, PEAK * MAX_GAIN_REDUCTION / peak))
    return limit(mix, rate)


def loudness(mix: np.ndarray, rate: int) -> float:
    """RMS of the parts that sound: 0.4 s blocks no more than 20 dB below the mean of the audible ones."""
    hop = max(1, min(int(0.4 * rate), mix.shape[1]))
    blocks = mix[:, : mix.shape[1] // hop * hop].reshape(len(mix), -1, hop)
    power = np.einsum("cbf,cbf->b", blocks, blocks) / (len(mix) * hop)
    audible = power[power > power.max() * 1e-6]
    return float(np.sqrt(audible[audible >= audible.mean() * 0.01].mean()))


def limit(mix: np.ndarray, rate: int) -> np.ndarray:
    """Hold every peak below PEAK, in place, by a gain that moves slowly and looks ahead (no distortion)."""
    hop = max(1, int(LOOK_AHEAD_SECONDS * rate))
    starts = np.arange(0, mix.shape[1], hop)
    above, below = np.maximum.reduceat(mix, starts, axis=1), np.minimum.reduceat(mix, starts, axis=1)
    peaks = np.maximum(above, -below).max(axis=0)
    if peaks.max(initial=0.0) <= PEAK:
        return mix
    need = np.minimum(1, PEAK / np.maximum(peaks, 1e-9))
    reach = 5  # blocks to either side: the lowest need around, then its mean over as many
    padded = np.pad(need, 2 * reach, mode="edge")
    lowest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(axis=1)
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(lowest, window / window.sum(), mode="valid")
    centres = starts + hop / 2
    for start in range(0, mix.shape[1], SLICE):  # bounded memory
        part = mix[:, start : start + SLICE]
        part *= np.interp(np.arange(start, start + part.shape[1]), centres, smooth).astype(np.float32)
        np.clip(part, -PEAK, PEAK, out=part)
    return mix
