"""Audio: samples and a rate. Axes: channels x frames, float32, full scale = 1.0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

    def slice(self, start: float, stop: float | None = None) -> Audio:
        """From `start` to `stop`, in seconds."""
        end = None if stop is None else round(stop * self.rate)
        return Audio(self.samples[:, round(start * self.rate) : end], self.rate)
