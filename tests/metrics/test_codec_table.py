"""The coders of benchmarks/codec.py: Opus as it is counted, levels as they build upon each other."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import otonoha as oto
from otonoha.metrics.sound import si_sdr
from otonoha.music.audio import Audio
from otonoha.tokens.base import Stream, Tokens, Vocab

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import _codec_coders as coders
import codec

RATE = coders.RATE


def tones(seconds=1.0, rate=RATE):
    t = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(0)
    sound = sum(0.1 * np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 4000))
    return Audio((sound + 0.01 * rng.standard_normal(len(t)))[None], rate)


def pages(file):
    """Every page of an Ogg file: (granule position, bytes of its body), found by its marks."""
    starts = [i for i in range(len(file)) if file[i : i + 5] == b"OggS\0"]
    for start, stop in zip(starts, [*starts[1:], len(file)]):
        head = 27 + file[start + 26]
        yield int.from_bytes(file[start + 6 : start + 14], "little"), stop - start - head


def test_opus_is_counted_without_its_container():
    file = coders.opus_encode(tones(1.0, 48_000), 24)
    every = list(pages(file))
    assert every[0] == (0, 19), "the head of a mono file (RFC 7845)"
    assert coders.opus_bytes(file) == sum(body for granule, body in every if granule)
    assert coders.opus_bytes(file) < len(file) - 60
    with pytest.raises(ValueError, match="no Ogg page"):
        coders.opus_bytes(b"x" * 100)


def test_opus_spends_what_it_is_asked_for_and_is_better_for_it():
    sound = tones(3.0)
    heard = {}
    for kbps in (14, 64):
        coder = coders.opus(kbps)
        coder(sound)
        assert coder.kbps() == pytest.approx(kbps, rel=0.35)
        assert coder.coded_kbps() is None
        heard[kbps] = si_sdr(*coder.made.pairs[0])
    assert heard[64] > max(heard[14], 10)


def test_silence_costs_nothing():
    coder = coders.silence()
    coder(tones())
    assert coder.kbps() == 0
    assert not coder.made.pairs[0][1].samples.any()


@dataclass
class Rounding:
    """A codec of two levels: level 1 rounds every second sample to 16 steps; level 0 every sample, alone or on top."""

    residual: bool
    levels = 2
    config = SimpleNamespace(rate=22_050)
    capabilities = SimpleNamespace(codec=True)
    family = "rounding"
    vocab = Vocab((Stream("level1", 16), Stream("level0", 64, width=2), Stream("filled", 3, "context")))

    def encode(self, audio):
        from otonoha.music.resample import resample

        samples = resample(audio, 22_050).samples[0]
        samples = samples[: len(samples) // 2 * 2]
        coarse = np.clip(np.rint(samples[::2] * 8 + 8), 0, 15).astype(np.int32)
        rest = samples - (np.repeat((coarse - 8) / 8, 2) if self.residual else 0)
        fine = np.clip(np.rint(rest * 32 + 32), 0, 63).astype(np.int32).reshape(-1, 2)
        streams = {"level0": fine, "level1": coarse, "filled": np.full(len(coarse), 2)}
        return Tokens(streams, np.arange(len(coarse)) / 11_025, "rounding")

    def decode(self, tokens, *, level=0):
        coarse = np.repeat((tokens.streams["level1"] - 8) / 8, 2)
        fine = (tokens.streams["level0"].reshape(-1) - 32) / 32
        return Audio((coarse if level else fine + coarse * self.residual)[None], 22_050)


@pytest.mark.parametrize("residual", [False, True])
def test_a_level_costs_what_it_needs(residual, monkeypatch):
    monkeypatch.setattr(oto, "load", lambda name: Rounding(residual), raising=False)
    assert coders.levels_needed(Rounding(residual), 0) == ([0, 1] if residual else [0])
    assert coders.levels_needed(Rounding(residual), 1) == [1]
    fine, coarse = coders.of_model("r")
    assert fine.name == ("r, level 0 + 1" if residual else "r, level 0")
    for sound in (tones(1.0), tones(0.5)):
        for coder in (fine, coarse):
            coder(sound)
    assert coarse.kbps() == pytest.approx(11.025 * 4, rel=1e-3)
    assert fine.kbps() == pytest.approx(22.05 * 6 + (11.025 * 4 if residual else 0), rel=1e-3)
    assert 0 < coarse.coded_kbps() < coarse.kbps()
    assert coarse.made.pairs[0][1].samples.shape == (1, RATE)
    assert si_sdr(*fine.made.pairs[0]) > si_sdr(*coarse.made.pairs[0]) + 5
    rows = list(codec.codes(fine))
    assert [row["codebook"] for row in rows] == ([64, 16] if residual else [64])
    assert all(0 < row["use"] <= 1 and row["perplexity"] <= row["codebook"] for row in rows)


def test_what_is_no_codec_is_refused(monkeypatch):
    other = SimpleNamespace(capabilities=SimpleNamespace(codec=False), family="musegan")
    monkeypatch.setattr(oto, "load", lambda name: other, raising=False)
    with pytest.raises(SystemExit, match="no codec of sound"):
        coders.of_model("x")


def test_speed_has_a_row_for_each_coder():
    found = codec.speed([coders.silence(), coders.opus(24)], tones(0.5), 1)
    assert found["silence"]["decode ×"] is None
    assert found["Opus 24 kbps"]["decode ×"] > found["Opus 24 kbps"]["encode ×"] > 0
    assert found["Opus 24 kbps"]["decode ×, 2 threads"] is None


def test_recordings_are_chosen_from_the_table(tmp_path):
    lines = ["path\tseconds\tkind\tsplit", "a.ogg\t9.0\tmusic\ttest", "b.ogg\t1.0\tmusic\ttest"]
    lines += ["c.ogg\t9.0\tspeech\ttest", "d.ogg\t9.0\tloop\tvalid", "e.ogg\t9.0\tloop\ttest"]
    (tmp_path / "tracks.tsv").write_text("\n".join(lines), "utf-8")
    assert [r["path"] for r in codec.recordings(tmp_path, "test", codec.KINDS)] == ["a.ogg", "e.ogg"]
    with pytest.raises(SystemExit, match="OTONOHA_DATA"):
        list(codec.recordings(tmp_path / "none", "test", codec.KINDS))


def test_the_command_says_what_differs_from_the_defaults():
    plain = {"models": [], "split": "test", "kinds": list(codec.KINDS), "longest": None}
    assert codec.command_of(SimpleNamespace(**plain)) == "python benchmarks/codec.py"
    other = {"models": ["a", "b"], "split": "valid", "kinds": ["loop"], "longest": 7.5}
    wanted = "python benchmarks/codec.py --models a b --split valid --kinds loop --longest 7.5"
    assert codec.command_of(SimpleNamespace(**other)) == wanted


def test_the_whole_table_on_a_small_corpus(tmp_path, monkeypatch):
    from otonoha.io.audio_files import write_audio

    write_audio(tones(2.5), tmp_path / "a.wav")
    head = "path\tseconds\tkind\tsplit\tlicence\tauthor"
    (tmp_path / "tracks.tsv").write_text(f"{head}\na.wav\t2.5\tmusic\ttest\tCC0 1.0\tnobody", "utf-8")
    written = {}
    keep = lambda table, rows, command: written.__setitem__(table, (rows, command))  # noqa: E731
    monkeypatch.setattr(codec, "show", keep)
    monkeypatch.setattr(codec, "write_table", keep)
    monkeypatch.setattr(oto, "load", lambda name: Rounding(False), raising=False)
    monkeypatch.setattr(sys, "argv", ["codec.py", "--models", "r", "--data", str(tmp_path), "--rounds", "1"])
    codec.main()
    rows, command = written["codec"]
    assert command == "python benchmarks/codec.py --models r"
    assert [row["name"] for row in rows] == [
        *("silence", "Opus 8 kbps", "Opus 14 kbps", "Opus 24 kbps"),
        *("r, level 0", "r, level 1"),
    ]
    assert len({frozenset(row) for row in rows}) == 1
    assert rows[4]["decode ×, 2 threads"] > 0
    assert written["codec_recordings"][0][0]["licence"] == "CC0 1.0"
    assert [row["name"] for row in written["codec_codes"][0]] == ["r, level 0", "r, level 1"]
