"""Audio: samples and a rate. Axes: channels x frames, float32, full scale = 1.0.

Channels are in the order of WAV files: left, right, centre, low frequencies, then pairs left, right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTRE, LOW = 2, 3  # where they are in recordings of five channels and more


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound. `samples` is (channels, frames) float32 with full scale 1.0; `rate` is in Hz."""

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise ValueError(f"samples must be (channels, frames), got shape {self.samples.shape}")
        if self.rate <= 0:
            raise ValueError(f"rate must be positive, got {self.rate}")
        object.__setattr__(self, "samples", np.ascontiguousarray(self.samples, dtype=np.float32))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    @property
    def peak(self) -> float:
        """Largest magnitude; 1.0 is full scale."""
        return float(np.abs(self.samples).max(initial=0.0))

    def mono(self) -> Audio:
        """The mean of all channels, as one channel."""
        return Audio(self.samples.mean(axis=0, keepdims=True), self.rate)

    def stereo(self) -> Audio:
        """Left and right; see `to_channels`."""
        return Audio(to_channels(self.samples, 2), self.rate)

    def slice(self, start: float, stop: float | None = None) -> Audio:
        """From `start` to `stop`, in seconds."""
        end = None if stop is None else round(stop * self.rate)
        return Audio(self.samples[:, round(start * self.rate) : end], self.rate)


def to_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """(C, T) -> (channels, T) float32: one channel is the mean of all, two are what is left and right.

    A single channel goes to both sides. Of more than two, those with even numbers are left and those with odd
    numbers right; from five channels on, the centre goes to both sides and the low frequencies' channel is left
    out. Raises ValueError for any other number, unless it is the number there is.
    """
    have = len(samples)
    if channels == have:
        return samples
    if channels == 1:
        return samples.mean(axis=0, dtype=np.float32, keepdims=True)
    if channels != 2:
        raise ValueError(f"channels must be 1, 2 or those of the recording ({have}), got {channels}")
    if have == 1:
        return np.repeat(samples, 2, axis=0)
    sides = []
    for side in (0, 1):
        those = [c for c in range(side, have, 2) if have < 5 or c not in (CENTRE, LOW)]
        those += [CENTRE] if have >= 5 else []
        sides.append(samples[those].mean(axis=0, dtype=np.float32))
    return np.stack(sides)


def first_bad(samples: np.ndarray) -> int | None:
    """The first frame of (channels, frames) that holds a NaN or an infinity; None where all are numbers."""
    wrong = ~np.isfinite(samples).all(axis=0)
    return int(wrong.argmax()) if wrong.any() else None


def mid_side(samples: np.ndarray) -> np.ndarray:
    """Left and right (…, 2, T) -> mid (their mean) and side (half their difference). See `left_right`."""
    left, right = samples[..., 0, :], samples[..., 1, :]
    return np.stack([(left + right) / 2, (left - right) / 2], axis=-2)


def left_right(samples: np.ndarray) -> np.ndarray:
    """Mid and side (…, 2, T) -> left and right: what `mid_side` undoes."""
    mid, side = samples[..., 0, :], samples[..., 1, :]
    return np.stack([mid + side, mid - side], axis=-2)
