"""Another rate: whole sounds, and slices that equal the slices of the whole.

soxr (HQ) is a linear filter without delay: its sample k lies at k / rate, and it forgets what is further away
than `HALO` samples of the lower rate. Rates a -> b reduce to M : L; a slice is therefore resampled from a
frame that is a multiple of M (where both grids meet) at least the halo before it, to the halo behind it. The
result equals the slice of the whole to 1e-5 of full scale (measured: 6e-7 for usual rates, 5e-6 for 44099 Hz).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, gcd

import numpy as np

from otonoha.music.audio import Audio

HALO = 256
RATES = (1, 768_000)


def check_rate(rate: int) -> int:
    """The rate, if it can be resampled to; else ValueError."""
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate must lie in {RATES[0]}-{RATES[1]} Hz, got {rate}")
    return int(rate)


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate in Hz (soxr, high quality)."""
    if check_rate(rate) == audio.rate:
        return audio
    return Audio(_soxr(audio.samples, audio.rate, rate), rate)


def frames_at(frames: int, old: int, new: int) -> int:
    """How many frames a sound of `frames` has after resampling."""
    return (2 * frames * new + old) // (2 * old)


def resampled_slice(
    read: Callable[[int, int], np.ndarray], frames: int, old: int, new: int, start: int, stop: int
) -> np.ndarray:
    """Frames `start` … `stop` of the resampled whole, as (channels, n); no more than these are resampled.

    `read(a, b)` gives frames a … b of the `frames` at the old rate. `start` and `stop` lie in the whole.
    """
    if old == new or stop <= start:
        return read(start, max(start, stop))
    shared = gcd(old, new)
    up, down = new // shared, old // shared
    halo = HALO * max(1.0, old / new)
    block = max(0, int((start * old / new - halo) // down))
    last = min(frames, ceil(stop * old / new + halo) + 1)
    found = _soxr(read(block * down, last), old, new)
    return found[:, start - block * up : stop - block * up]


def _soxr(samples: np.ndarray, old: int, new: int) -> np.ndarray:
    import soxr

    return np.ascontiguousarray(soxr.resample(samples.T, old, new, quality="HQ").T)
