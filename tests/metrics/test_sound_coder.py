"""Figures of a codec: a coder whose answers are known beforehand."""

import numpy as np
import pytest

from otonoha.metrics.sound_coder import measure
from otonoha.metrics.sound_report import report
from otonoha.music.audio import Audio

RATE = 8000


class Tokens:
    def __init__(self, streams):
        self.streams = streams


class Rounding:
    """Level 1 rounds samples to 8 values, level 0 what is left of them to 8 finer ones."""

    levels = 2

    def encode(self, music):
        coarse = np.clip(np.round(music.samples[0] * 4) + 4, 0, 7).astype(int)
        fine = np.clip(np.round((music.samples[0] - (coarse - 4) / 4) * 32) + 4, 0, 7).astype(int)
        return Tokens({"level0": fine.reshape(-1, 2), "level1": coarse})

    def decode(self, tokens, *, level=0):
        y = (tokens.streams["level1"] - 4) / 4
        if level == 0:
            y = y + (tokens.streams["level0"].reshape(-1) - 4) / 32
        return Audio(y[None].astype(np.float32), RATE)

    def needed(self, level):
        return (0, 1) if level == 0 else (1,)


def tone(seconds, pitch):
    t = np.arange(round(seconds * RATE)) / RATE
    return Audio((0.7 * np.sin(2 * np.pi * pitch * t))[None].astype(np.float32), RATE)


def test_every_level_is_measured():
    sounds, seen = [tone(2, 220), tone(1, 440)], []
    coder = Rounding()
    fine, coarse = measure(coder, 8, iter(sounds), progress=seen.append)
    assert seen == [0, 1]
    assert fine["si_sdr"] > coarse["si_sdr"] + 10
    assert fine["clips"] == 2
    assert coarse["kbps"] == pytest.approx(3 * RATE / 1000)
    assert fine["kbps"] == pytest.approx(6 * RATE / 1000)
    assert coarse["coded_kbps"] < coarse["kbps"] / 2  # a tone can be foreseen
    assert fine["coded_kbps"] > coarse["coded_kbps"]
    assert 1 < coarse["perplexity"] <= 8
    assert coarse["use"] == 7 / 8  # round(-.7 · 4) = -3 … 3
    assert min(fine["encode_times"], fine["decode_times"]) > 0
    alone = report([(s, coder.decode(coder.encode(s), level=1)) for s in sounds])
    assert {name: coarse[name] for name in alone} == alone


def test_nothing_to_compare():
    for sounds in ([], [Audio(np.zeros((1, RATE), np.float32), RATE)]):
        with pytest.raises(ValueError, match="nothing to compare"):
            measure(Rounding(), 8, sounds)
