"""Sounds for tests: a tone with noise in any format, and ways to damage a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def sound(seconds: float = 1.0, *, rate: int = 22050, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(T, channels) float32: a gliding tone and noise, another in each channel."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    tones = [0.3 * np.sin(2 * np.pi * (200 + 40 * c + 60 * t + 10 * seed) * t) for c in range(channels)]
    return (np.stack(tones, 1) + 0.03 * rng.standard_normal((len(t), channels))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = 22050, *, subtype: str | None = None) -> Path:
    """Write samples (T, channels) in the format of the suffix."""
    kind, usual = FORMATS[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        path, "w", rate, samples.shape[1], format=kind, subtype=subtype or usual
    ) as file:
        for at in range(0, len(samples), 1 << 16):
            file.write(samples[at : at + (1 << 16)])
    return path


def whole(path: Path) -> np.ndarray:
    """(channels, T): everything, by soundfile alone."""
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T
