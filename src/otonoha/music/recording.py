"""A Recording: sound that is read by slices. What it lies in (memory, a file, a cache) is its own affair.

Frames count at the recording's own rate. `at` gives the same recording at another rate and with other channels,
still read lazily; `ready` the same for training, where the same slices are wanted many times.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from otonoha.music.audio import Audio, first_bad, to_channels
from otonoha.music.resample import check_rate, frames_at, resample, resampled_slice

BLOCK = 1 << 20
"""Frames of a block, unless others are asked for."""


class Recording(ABC):
    """Sound of `frames` frames, `channels` channels and `rate` Hz."""

    rate: int
    channels: int
    frames: int

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `start` … `stop` as (channels, n) float32. Both lie in 0 … frames."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate

    def slice(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames `start` … `stop` (the end when unset); what lies outside of the recording is left out."""
        last = self.frames if stop is None else min(stop, self.frames)
        first = min(max(start, 0), self.frames)
        return self.read(first, max(first, last))

    def audio(self, start: float = 0.0, stop: float | None = None) -> Audio:
        """From `start` to `stop` in seconds, as Audio."""
        last = None if stop is None else round(stop * self.rate)
        return Audio(self.slice(round(start * self.rate), last), self.rate)

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """All of it, in blocks of at most `size` frames."""
        for start in range(0, self.frames, size):
            yield self.read(start, min(start + size, self.frames))

    def first_bad(self) -> float | None:
        """The second in which the first sample lies that is no number; None where all are. All is read up to there."""
        start = 0
        for block in self.blocks():
            if (bad := first_bad(block)) is not None:
                return (start + bad) / self.rate
            start += block.shape[1]
        return None

    def signature(self) -> str:
        """Equal for equal samples at an equal rate. All of it is read, unless somebody has done so before."""
        digest = hashlib.sha256(f"{self.rate} {self.channels} {self.frames} ".encode())
        for block in self.blocks():
            digest.update(np.ascontiguousarray(block.T, np.float32).tobytes())
        return digest.hexdigest()[:32]

    def at(self, rate: int | None = None, channels: int | None = None) -> Recording:
        """The same at another rate and with one or two channels (see `to_channels`)."""
        rate, channels = self.rate if rate is None else rate, channels or self.channels
        return self if (rate, channels) == (self.rate, self.channels) else View(self, rate, channels)

    def ready(self, rate: int, channels: int) -> Recording:
        """The same at a rate and with channels, made so that slices of it are cheap."""
        return Held(Audio(self.at(rate, channels).slice(), rate))


class Held(Recording):
    """A recording in memory."""

    def __init__(self, audio: Audio) -> None:
        self.samples, self.rate = audio.samples, audio.rate
        self.channels, self.frames = audio.samples.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        """A view of the samples."""
        return self.samples[:, start:stop]

    def at(self, rate: int | None = None, channels: int | None = None) -> Recording:
        """Made at once."""
        samples = to_channels(self.samples, channels or self.channels)
        return Held(resample(Audio(samples, self.rate), self.rate if rate is None else rate))

    def ready(self, rate: int, channels: int) -> Recording:
        """As `at`."""
        return self.at(rate, channels)


@dataclass(frozen=True, eq=False)
class View(Recording):
    """Another recording at another rate, with other channels: every slice is resampled when it is read."""

    base: Recording
    rate: int
    channels: int

    def __post_init__(self) -> None:
        check_rate(self.rate)
        to_channels(np.zeros((self.base.channels, 1), np.float32), self.channels)  # refuses what cannot be

    @property
    def frames(self) -> int:  # type: ignore[override]
        """Its length at its own rate."""
        return frames_at(self.base.frames, self.base.rate, self.rate)

    def read(self, start: int, stop: int) -> np.ndarray:
        """What is needed of the base, mixed and resampled."""
        return resampled_slice(self._mixed, self.base.frames, self.base.rate, self.rate, start, stop)

    def _mixed(self, start: int, stop: int) -> np.ndarray:
        return to_channels(self.base.read(start, stop), self.channels)

    def at(self, rate: int | None = None, channels: int | None = None) -> Recording:
        """A view of the base, never a view of a view (but for channels that this one has given up)."""
        rate, channels = self.rate if rate is None else rate, channels or self.channels
        if channels > self.channels:
            return super().at(rate, channels)
        return self.base.at(rate, channels)
