"""Marks of sound: other formats, rates, levels and excerpts are known again, other music is not."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from otonoha.io.audio_marks import Marks
from otonoha.music.audio import Audio
from otonoha.music.resample import resample


def music(seed: int, seconds: float = 20.0, rate: int = 22050) -> np.ndarray:
    """Notes at random, plucked, (T, 1)."""
    rng, out = np.random.default_rng(seed), np.zeros(int(rate * seconds), np.float32)
    t = np.arange(rate) / rate
    for at in rng.uniform(0, seconds - 1.1, int(4 * seconds)):
        pitch = 220 * 2 ** (rng.integers(0, 25) / 12)
        wave = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 6)) * np.exp(-4 * t)
        out[int(at * rate) : int(at * rate) + rate] += 0.1 * wave.astype(np.float32)
    return out[:, None]


def words(samples: np.ndarray, rate: int = 22050, block: int = 1 << 20) -> np.ndarray:
    marks = Marks()
    for at in range(0, len(samples), block):
        marks.feed(samples[at : at + block], rate)
    return marks.words()


def shared(a: np.ndarray, b: np.ndarray) -> float:
    return len(np.intersect1d(a, b)) / max(1, min(len(a), len(b)))


def test_versions_are_known_again_and_other_music_is_not(tmp_path):
    original = music(0)
    mine = words(original)
    assert len(mine) > 100
    soundfile.write(tmp_path / "a.mp3", original, 22050, format="MP3")
    decoded, rate = soundfile.read(tmp_path / "a.mp3", dtype="float32", always_2d=True)
    faster = resample(Audio(0.3 * original.T, 22050), 48000).samples.T
    assert shared(words(decoded, rate), mine) > 0.3
    assert shared(words(faster, 48000), mine) > 0.5
    assert shared(words(np.repeat(original[70_001:250_000], 2, axis=1)), mine) > 0.1
    assert shared(words(music(1)), mine) < 0.03


def test_blocks_make_no_difference():
    sound = music(2, seconds=6)
    assert words(sound).tolist() == words(sound, block=4321).tolist()


@pytest.mark.parametrize("samples", [np.zeros((50_000, 2)), np.zeros((10, 1)), 0.1 * music(3, seconds=1.2)])
def test_too_little_says_nothing(samples):
    assert words(samples.astype(np.float32)).size == 0
    assert words(samples.astype(np.float32), rate=2000).size == 0
