import base64
import json
import re
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score

from otonoha.music.audio import Audio
from otonoha.music.score import track_of
from otonoha.plots import strips
from otonoha.plots.explorer import MOST_TEXT, Sample, explorer_page
from otonoha.plots.spectrogram import pooled_power
from otonoha.plots.strips import COLUMNS, HERTZ, ROWS, Strips, heard, packed, roll

HOSTILE = '</script><script>alert("x")</script><!-- & \u2028'


def sine(hertz, seconds=2.0, rate=22050):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def fed(samples, rate, *sizes):
    """Strips of a sound that comes in blocks of these sizes, then the rest."""
    made, at = Strips(len(samples), rate), 0
    for size in [*sizes, len(samples)]:
        if len(part := samples[at : at + size]):
            made.feed(part[:, None], rate)
        at += size
    return made


def data_of(text):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


@given(st.integers(30, 9000), st.integers(0, 99), st.lists(st.integers(1, 4000), max_size=5))
@settings(max_examples=30, deadline=None)
def test_blocks_make_no_difference(frames, seed, sizes):
    samples = np.random.default_rng(seed).normal(size=frames).astype(np.float32)
    whole, pieces = fed(samples, 8000), fed(samples, 8000, *sizes)
    assert np.array_equal(whole.waveform(), pieces.waveform())
    one, other = whole.spectrogram().astype(int), pieces.spectrogram().astype(int)
    assert np.abs(one - other).max() <= 1  # rounding
    assert one.max() == 15


@given(st.integers(COLUMNS, 5000), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_waveform_is_the_least_and_the_largest_of_each_column(frames, seed):
    samples = np.random.default_rng(seed).normal(size=frames).astype(np.float32)
    column = np.arange(frames) * COLUMNS // frames
    slow = [[f(samples[column == c]) for c in range(COLUMNS)] for f in (np.min, np.max)]
    wanted = np.rint(np.array(slow) * (127 / np.abs(samples).max()))
    assert np.abs(fed(samples, 8000).waveform() - wanted).max() <= 1


def test_a_tone_is_a_line_at_its_height():
    for hertz in (110, 440, 3000):
        picture = fed(sine(hertz), 22050).spectrogram()
        row = int(np.log(hertz / HERTZ[0]) / np.log(HERTZ[1] / HERTZ[0]) * ROWS)
        assert abs(int(picture[:, 90].argmax()) - (ROWS - 1 - row)) <= 1
        assert picture.shape == (ROWS, COLUMNS)
    high = fed(sine(440, rate=8000), 8000).spectrogram()
    assert not high[: int(ROWS * np.log(16000 / 4000) / np.log(16000 / 40)) - 1].any()  # beyond half the rate


def test_the_spectrogram_is_that_of_the_large_picture():
    """Where a column has one window only, levels are those of plots/spectrogram.py."""
    sound = np.concatenate([sine(200, 1), sine(900, 1)]) * np.linspace(1, 0.1, 44100, dtype=np.float32)
    made = fed(sound, 22050)
    power = pooled_power(Audio(sound[None], 22050), made.edges, 2.0)
    edges = np.arange(COLUMNS + 1) * power.shape[1] // COLUMNS
    slow = np.stack([power[:, a : max(b, a + 1)].max(axis=1) for a, b in pairwise(edges)], axis=1)[::-1]
    levels = np.clip(1 + 10 * np.log10(np.maximum(slow / slow.max(), 1e-12)) / 72, 0, 1) * 15
    inside = slice(4, -4)  # at its ends the large picture sees a mirror
    assert np.abs(made.spectrogram()[:, inside] - levels[:, inside]).mean() < 0.35


def test_a_file_that_is_cut_short_lacks_its_end():
    made = Strips(8000, 8000)
    made.feed(sine(440, 0.5, 8000)[:, None], 8000)
    assert made.waveform()[1, : COLUMNS // 2 - 1].all()
    assert not made.waveform()[:, COLUMNS // 2 + 1 :].any()
    picture = made.spectrogram()
    assert picture[:, : COLUMNS // 3].max() == 15
    assert not picture[:, 3 * COLUMNS // 4 :].any()


def test_heard_tells_facts_or_what_is_wrong(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([sine(440), sine(660)], 1), 22050)
    made, facts, wrong = heard(tmp_path / "two.wav")
    assert (facts.channels, facts.frames, wrong, made.at) == (2, 44100, "", 44100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    made, facts, wrong = heard(tmp_path / "silent.wav")
    assert facts is None
    assert wrong.startswith("silent")
    assert not made.waveform().any()
    assert not made.spectrogram().any()
    (tmp_path / "none.wav").write_bytes(b"RIFF1234")
    with pytest.raises(ValueError, match="no readable sound file"):
        heard(tmp_path / "none.wav")


def test_a_roll_shows_who_plays_what_when():
    score = Score(24)
    score.tracks.append(track_of([0, 48], [24, 48], [60, 72]))
    score.tracks.append(track_of([24], [24], [40], is_drum=True))
    cells = roll(score, 4.0)  # quarters of half a second
    assert set(np.unique(cells)) == {0, 1, strips.DRUMS}
    for at, pitch in ((0.25, 60), (1.2, 72)):
        rows = np.flatnonzero(cells[:, int(at / 4 * COLUMNS)] == 1)
        assert len(rows) >= 1
        assert (rows.mean() < ROWS / 2) == (pitch == 72 or pitch == 60)
    assert not cells[:, int(2.1 / 4 * COLUMNS) :].any()
    assert cells.any(axis=0)[: COLUMNS // 2 - 1].all()
    assert not roll(Score(24), 1.0).any()
    assert not roll(score, 0.0).any()


@pytest.mark.parametrize("seed", range(3))
def test_packed_strips_can_be_unpacked(seed):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 16, (ROWS, COLUMNS)).astype(np.uint8)
    raw = np.frombuffer(base64.b64decode(packed(cells)), np.uint8)
    assert np.array_equal(np.stack([raw >> 4, raw & 15], 1).reshape(ROWS, COLUMNS), cells)
    wave = rng.integers(-127, 128, (2, COLUMNS)).astype(np.int8)
    assert base64.b64decode(packed(wave)) == wave.tobytes()
    assert (len(packed(wave)), len(packed(cells))) == (512, 5120)


def test_the_page_leaves_out_what_is_missing():
    told = {"title": "a", "sound": "a.wav", "length": 1.23456}
    one = Sample(**told, labels={"seed": "7", "empty": ""}, links={"wav": "a.wav"})
    rows = data_of(explorer_page([one, Sample(title="b", fault="damaged")], title="T"))["samples"]
    assert rows[0] == {**told, "length": 1.235, "labels": [["seed", "7"]], "links": [["wav", "a.wav"]]}
    assert rows[1] == {"title": "b", "fault": "damaged"}
    long = data_of(explorer_page([Sample(title="c", labels={"lyrics": "x" * 99_999})]))["samples"][0]
    assert len(long["labels"][0][1]) == MOST_TEXT


def test_hostile_texts_stay_texts_and_nobody_is_asked():
    one = Sample(title=HOSTILE, place=HOSTILE, artists=(HOSTILE,), labels={HOSTILE: HOSTILE}, fault=HOSTILE)
    text = explorer_page([one], title=HOSTILE)
    assert text.count("<script") == text.count("</script>") == 2
    row = data_of(text)["samples"][0]
    assert row["title"] == row["place"] == row["fault"] == HOSTILE
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import|url\(|\bimport\s*\(|fetch\(|innerHTML", text)
    assert "default-src 'none'" in text
