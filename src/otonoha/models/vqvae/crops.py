"""What a codec of sound learns from: clips of recordings. Axes: B clips, C channels, T frames.

As in Jukebox (Dhariwal et al. 2020): all recordings, end to end, are cut into clips of one length. A pass visits
every clip once, in random order, so that pieces are heard in proportion to their length. `shift` moves a clip by
up to half of its length to either side; it belongs to the piece in which its middle lies, and is pushed inside of
it. A piece shorter than a clip stands in silence. `blend` mixes the channels to one by random weights (of two:
m·left + (1 - m)·right, m uniform), `gain` is the range of a factor, never so large that a sample passes full scale.

A batch is a pure function of (seed, update). Sound is decoded and resampled once (`Recording.ready`), when a piece
is first heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otonoha.music.piece import Piece
from otonoha.music.recording import Recording
from otonoha.music.resample import check_rate, frames_at

MOST_BLENDED = 2
"""Channels of a recording from which a blend is made; one of more channels is brought to left and right before."""


@dataclass(frozen=True, eq=False)
class AudioBatch:
    """`audio` (B, C, T) float32."""

    audio: Tensor

    @property
    def targets(self) -> float:
        """Samples that the loss averages over."""
        return float(self.audio.numel())

    def __len__(self) -> int:
        return len(self.audio)

    def rows(self, index: slice) -> AudioBatch:
        """Some of the clips."""
        return AudioBatch(self.audio[index])

    def to(self, device: torch.device) -> AudioBatch:
        """The same batch on a device."""
        return AudioBatch(self.audio.to(device))


class Crops:
    """Endless batches; `len` is the number of clips of a pass."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        *,
        rate: int,
        channels: int,
        length: int,
        batch: int,
        seed: int = 0,
        shift: bool = True,
        gain: tuple[float, float] = (1.0, 1.0),
        blend: bool = False,
    ) -> None:
        if not pieces:
            raise ValueError("there is nothing to learn from: no piece has any sound")
        if length < 1 or batch < 1:
            raise ValueError(f"length and batch must be at least 1, got {length} and {batch}")
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {channels}")
        if blend and channels != 1:
            raise ValueError("blend mixes all channels to one: with 2 channels it would have no effect")
        if not 0 < gain[0] <= gain[1]:
            raise ValueError(f"gain is a range of factors above 0, lowest first, got {gain}")
        self.rate, self.channels, self.length, self.batch = check_rate(rate), channels, length, batch
        self.seed, self.shift, self.gain, self.blend = seed, shift, gain, blend
        self.sounds = [piece.sound() for piece in pieces]
        self.sizes = np.array([frames_at(s.frames, s.rate, rate) for s in self.sounds], np.int64)
        self.edges = np.concatenate([[0], np.cumsum(self.sizes)])
        self.clips = max(1, int(self.edges[-1]) // length)
        self._ready: dict[int, Recording] = {}
        self._pass, self._order = -1, np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.clips

    @property
    def seconds(self) -> float:
        """How much sound there is."""
        return float(self.edges[-1]) / self.rate

    def __call__(self, update: int) -> AudioBatch:
        """The batch of this update."""
        rng = np.random.default_rng([self.seed, 1, update])
        clips = self._clips(update * self.batch, (update + 1) * self.batch)
        audio = np.zeros((self.batch, self.channels, self.length), np.float32)
        for row, clip in enumerate(clips):
            self._fill(audio[row], int(clip), rng)
        return AudioBatch(torch.from_numpy(audio))

    def _clips(self, start: int, stop: int) -> np.ndarray:
        """The numbers of clips start … stop, counted through all passes."""
        parts = []
        while start < stop:
            number, at = divmod(start, self.clips)
            if number != self._pass:
                order = np.random.default_rng([self.seed, 0, number]).permutation(self.clips)
                self._pass, self._order = number, order
            parts.append(self._order[at : at + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def place(self, clip: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Piece, the frame of it at which the clip begins, and frames of silence before (of a short piece)."""
        moved = int(rng.integers(-(self.length // 2), self.length // 2 + 1)) if self.shift else 0
        begin = clip * self.length + moved
        middle = min(max(begin + self.length // 2, 0), int(self.edges[-1]) - 1)
        piece = int(np.searchsorted(self.edges, middle, side="right")) - 1
        spare = int(self.sizes[piece]) - self.length
        if spare >= 0:
            return piece, min(max(begin - int(self.edges[piece]), 0), spare), 0
        return piece, 0, int(rng.integers(-spare + 1)) if self.shift else 0

    def _fill(self, out: np.ndarray, clip: int, rng: np.random.Generator) -> None:
        """Write one clip into (C, T) zeros."""
        piece, start, lead = self.place(clip, rng)
        found = self._sound(piece).slice(start, start + self.length - lead)
        if self.blend:
            weights = rng.dirichlet(np.ones(len(found)))  # of two channels: m and 1 - m, m uniform
            found = np.einsum("c,ct->t", weights.astype(np.float32), found)[None]
        if self.gain != (1.0, 1.0):
            factor, peak = rng.uniform(*self.gain), float(np.abs(found).max(initial=0.0))
            if factor > 1:
                factor = min(factor, max(1.0, 1 / max(peak, 1e-9)))
            found = found * np.float32(factor)
        out[:, lead : lead + found.shape[1]] = found

    def _sound(self, piece: int) -> Recording:
        """The recording of a piece at our rate, with the channels that we mix from."""
        if piece not in self._ready:
            sound = self.sounds[piece]
            channels = min(sound.channels, MOST_BLENDED) if self.blend else self.channels
            self._ready[piece] = sound.ready(self.rate, channels)
        return self._ready[piece]
