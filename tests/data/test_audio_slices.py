"""Slices of sound: of files, of stretches of files, resampled, mixed; each against the slice of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import FORMATS, sound, whole, write

from otonoha.io.audio_slices import OPEN_FILES, Place, read_slice
from otonoha.music.audio import Audio, left_right, mid_side, to_channels
from otonoha.music.recording import Held, View
from otonoha.music.resample import frames_at, resample

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)


@pytest.mark.parametrize("suffix", FORMATS)
def test_slices_of_files_equal_those_of_the_whole(tmp_path, suffix):
    rate = 24000 if suffix == ".opus" else 22050
    path = write(tmp_path / f"a{suffix}", sound(6, rate=rate, channels=2), rate)
    everything = whole(path)
    length = everything.shape[1]
    rng = np.random.default_rng(0)
    starts = [
        0,
        *rng.integers(0, length - 1, 12 if suffix == ".opus" else 40).tolist(),
        length - 700,
        length - 1,
    ]
    for start in starts:
        stop = min(length, start + int(rng.integers(1, 9000)))
        assert np.abs(read_slice(Place(path), start, stop) - everything[:, start:stop]).max() < 1e-6, start


def test_reading_on_equals_one_read(tmp_path):
    path = write(tmp_path / "a.ogg", sound(3))
    everything = whole(path)
    parts = [
        read_slice(Place(path), a, min(a + 7001, everything.shape[1]))
        for a in range(0, everything.shape[1], 7001)
    ]
    assert (np.concatenate(parts, axis=1) == everything).all()


def test_real_low_rate_ogg_files_are_exact_up_to_their_ends(data_folder):
    """libsndfile alone goes astray in the last page of these."""
    path = data_folder / "audio/librosa-data/librispeech_198-209-0000.ogg"
    if not path.exists():
        pytest.skip("the provided recordings are not here")
    everything = whole(path)
    for back in (1, 300, 2000, 6000, 20000):
        start = everything.shape[1] - back
        assert (
            np.abs(read_slice(Place(path), start, everything.shape[1]) - everything[:, start:]).max() < 1e-6
        )


def test_a_stretch_of_a_larger_file_is_a_file(tmp_path):
    for suffix in (".flac", ".ogg", ".mp3"):
        inner = write(tmp_path / f"in{suffix}", sound(1))
        data = inner.read_bytes()
        outer = tmp_path / f"outer{suffix}.bin"
        outer.write_bytes(b"x" * 777 + data + b"RIFF" * 99)
        place = Place(outer, 777, len(data))
        assert (read_slice(place, 5000, 9000) == whole(inner)[:, 5000:9000]).all()


def test_many_files_stay_open_a_few_at_a_time(tmp_path):
    path = write(tmp_path / "0.wav", sound(0.1))
    for i in range(1, OPEN_FILES + 5):
        (tmp_path / f"{i}.wav").write_bytes(path.read_bytes())
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for _ in range(2):
        for i in range(OPEN_FILES + 5):
            read_slice(Place(tmp_path / f"{i}.wav"), 10, 20)
    after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
    assert after - before <= OPEN_FILES


def test_files_that_change_or_go_are_one_clear_line(tmp_path):
    path = write(tmp_path / "a.flac", sound(1))
    assert read_slice(Place(path), 0, 100).shape == (1, 100)
    write(path, sound(0.5, seed=1))
    assert (read_slice(Place(path), 0, 100) == whole(path)[:, :100]).all()
    with pytest.raises(ValueError, match=r"a\.flac: (damaged or changed|frames from)"):
        read_slice(Place(path), 9000, 20000)
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.flac: no such file"):
        read_slice(Place(path), 0, 100)
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"b\.wav: no readable sound file"):
        read_slice(Place(tmp_path / "b.wav"), 0, 100)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RATES), st.sampled_from((8000, 16000, 44100, 48000)), st.data())
def test_a_slice_of_the_resampled_whole_is_the_resampled_slice(old, new, data):
    frames = data.draw(st.integers(1, old // 2))
    samples = np.random.default_rng(frames).uniform(-0.5, 0.5, (1, frames)).astype(np.float32)
    view = View(Held(Audio(samples, old)), new, 1)
    everything = soxr.resample(samples.T, old, new, quality="HQ").T
    assert view.frames == everything.shape[1] == frames_at(frames, old, new)
    start = data.draw(st.integers(0, view.frames))
    stop = data.draw(st.integers(start, view.frames))
    found = view.slice(start, stop)
    assert found.shape == (1, stop - start)
    assert np.abs(found - everything[:, start:stop]).max(initial=0) < 1e-5


def test_odd_rates_keep_the_tolerance():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 130_000)).astype(np.float32)
    view = View(Held(Audio(samples, 44099)), 44100, 1)
    everything = resample(Audio(samples, 44099), 44100).samples
    assert np.abs(view.slice(100_000, 101_000) - everything[:, 100_000:101_000]).max() < 1e-5


def test_no_more_is_read_than_a_slice_needs():
    class Counting(Held):
        asked: int = 0

        def read(self, start, stop):
            self.asked += stop - start
            return super().read(start, stop)

    base = Counting(Audio(np.zeros((1, 480_000), np.float32), 48000))
    View(base, 44100, 1).slice(300_000, 310_000)
    assert base.asked < 10_000 * 48000 / 44100 + 3 * 256 + 160


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 8])
def test_channels(channels):
    samples = np.random.default_rng(0).standard_normal((channels, 50)).astype(np.float32)
    mono, stereo = to_channels(samples, 1), to_channels(samples, 2)
    assert mono == pytest.approx(samples.mean(axis=0, keepdims=True), abs=1e-6)
    assert stereo.shape == (2, 50)
    if channels == 1:
        assert (stereo == samples).all()
    if channels == 6:  # left, right, centre, low, left behind, right behind
        assert stereo[0] == pytest.approx((samples[0] + samples[2] + samples[4]) / 3, abs=1e-6)
        assert stereo[1] == pytest.approx((samples[1] + samples[2] + samples[5]) / 3, abs=1e-6)
    assert left_right(mid_side(stereo)) == pytest.approx(stereo, abs=1e-6)
    with pytest.raises(ValueError, match="channels must be 1, 2 or"):
        to_channels(samples, 7)


def test_a_view_of_a_view_is_a_view_of_the_base():
    base = Held(Audio(np.ones((6, 4800), np.float32), 48000))
    view = View(base, 44100, 2).at(8000)
    assert isinstance(view, Held)
    assert (view.rate, view.channels, view.frames) == (8000, 2, 800)
    with pytest.raises(ValueError, match="rate must lie in"):
        View(base, 0, 1)
