import contextlib
import os
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score

from otonoha.io import read, write
from otonoha.io.audio_files import FORMATS, read_audio, resample, write_audio, write_blocks
from otonoha.io.audio_scan import scan
from otonoha.io.audio_slices import Place, open_sound, read_slice
from otonoha.music.audio import Audio
from otonoha.music.score import track_of


def tone(*, rate=22050, seconds=1.0, channels=2, peak=0.5):
    t = np.arange(round(rate * seconds)) / rate
    return Audio(np.stack([peak * np.sin(2 * np.pi * 440 * (c + 1) * t) for c in range(channels)]), rate)


@pytest.mark.parametrize(
    ("suffix", "error"), [(".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.08), (".mp3", 0.1)]
)
def test_sound_survives(tmp_path, suffix, error):
    before = tone()
    after = read(write(before, tmp_path / f"tone{suffix}"))
    assert after.rate == before.rate
    assert after.channels == 2
    assert after.seconds == pytest.approx(before.seconds, abs=0.06)
    n = min(after.samples.shape[1], before.samples.shape[1])
    if suffix != ".mp3":  # its coder may shift the sound by a frame
        assert np.abs(after.samples[:, 2000 : n - 2000] - before.samples[:, 2000 : n - 2000]).max() < error
    assert np.sqrt((after.samples**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_part_of_a_file(tmp_path):
    before = tone()
    path = write_audio(before, tmp_path / "tone.wav")
    part = read_audio(path, start=0.25, stop=0.5)
    assert part.samples == pytest.approx(before.slice(0.25, 0.5).samples, abs=1e-4)
    with pytest.raises(ValueError, match="holds no sound there"):
        read_audio(path, start=9.0)


def test_loud_sound_is_scaled_and_said(tmp_path):
    with pytest.warns(UserWarning, match=r"peak 2.00 scaled down to 0.99"):
        path = write_audio(tone(peak=2.0), tmp_path / "loud.wav")
    assert read_audio(path).peak == pytest.approx(0.99, abs=1e-3)


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    broken = tone()
    broken.samples[0, 5] = np.nan
    with pytest.raises(ValueError, match="no numbers"):
        write(broken, tmp_path / "nan.wav")
    assert not list(tmp_path.iterdir())


def test_the_first_sample_that_is_no_number_is_named_in_seconds(tmp_path):
    broken = np.zeros((3000, 2), np.float32)
    broken[500:, 1] = np.inf
    broken[2000] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken, 1000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"nan.wav: damaged, .*, the first at 0\.500 s"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(ValueError, match=r"the first at 2\.000 s"):
        read_audio(tmp_path / "nan.wav", start=2.0, stop=2.5)
    with pytest.raises(ValueError, match=r"^damaged: some .*, the first at 0\.500 s"):
        scan(Place(tmp_path / "nan.wav"))


def test_a_cut_mp3_is_read_without_chatter(tmp_path, capfd):
    path = write(tone(), tmp_path / "tone.mp3")
    path.write_bytes(path.read_bytes()[:5000])
    with contextlib.suppress(ValueError):
        read_slice(Place(path), 0, 22_050)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"tone.mp3: no readable sound file \(damaged, or too short"):
        open_sound(Place(path))
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_rate_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="cannot be written as MP3"):
        write(tone(rate=7000), tmp_path / "odd.mp3")
    assert not list(tmp_path.iterdir())


def test_file_shorter_than_its_header_says(tmp_path):
    path = write_audio(tone(), tmp_path / "tone.flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"tone.flac"):
        read(path)


def test_resample_keeps_pitch_and_length():
    there = resample(tone(rate=22050), 44100)
    assert there.rate == 44100
    assert there.seconds == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.fft.rfft(there.samples[0])).argmax() == pytest.approx(440, abs=1)
    assert resample(there, 44100) is there
    with pytest.raises(ValueError, match="rate must lie in"):
        resample(there, 0)


# -- sound that comes in blocks ---------------------------------------------------------------------------


def blocks_of(audio, size):
    return (audio.samples[:, at : at + size] for at in range(0, audio.samples.shape[1], size))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    size=st.integers(1, 9000),
    channels=st.integers(1, 2),
    peak=st.sampled_from([0.3, 1.0, 1.7]),
)
@pytest.mark.filterwarnings("ignore:.*scaled down")
def test_blocks_make_the_same_file_as_the_whole(tmp_path_factory, suffix, size, channels, peak):
    folder = tmp_path_factory.mktemp("blocks")
    sound = tone(rate=24_000, seconds=0.3, channels=channels, peak=peak)
    whole = write_audio(sound, folder / f"whole{suffix}")
    size = max(size, 50)  # a block of one sample is right, and slow
    parts = write_blocks(blocks_of(sound, size), folder / f"parts{suffix}", sound.rate, channels)
    if suffix not in (".ogg", ".opus"):  # their streams are numbered at random
        assert parts.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(read_audio(parts).samples, read_audio(whole).samples)
    assert sorted(p.name for p in folder.iterdir()) == [f"parts{suffix}", f"whole{suffix}"]


def test_a_peak_in_the_last_block_turns_down_the_first(tmp_path):
    blocks = [np.full((1, 1000), 0.5, np.float32), np.full((1, 10), -2.0, np.float32)]
    with pytest.warns(UserWarning, match=r"late.wav: peak 2.00 scaled down to 0.99"):
        found = read_audio(write_blocks(blocks, tmp_path / "late.wav", 8000, 1)).samples[0]
    np.testing.assert_allclose(found[:1000], 0.2475, atol=1e-4)
    np.testing.assert_allclose(found[1000:], -0.99, atol=1e-4)


def test_no_blocks_make_an_empty_file(tmp_path):
    path = write_blocks(iter([]), tmp_path / "none.wav", 8000, 2)
    with soundfile.SoundFile(path) as file:
        assert (file.frames, file.channels, file.samplerate) == (0, 2, 8000)


@pytest.mark.parametrize("trouble", ["interrupt", "nan", "disk"])
def test_half_a_stream_is_no_file_and_keeps_the_old_one(tmp_path, trouble):
    old = write(tone(), tmp_path / "new" / "tone.wav").read_bytes()
    kind, said = {
        "interrupt": (KeyboardInterrupt, None),
        "nan": (ValueError, r"tone.wav not written: some samples are no numbers"),
        "disk": (OSError, r"tone.wav cannot be written: No space left on device"),
    }[trouble]

    def blocks():
        yield np.zeros((2, 100_000), np.float32)
        seen.extend(tmp_path.glob("new/*.wav"))
        if trouble == "interrupt":
            raise KeyboardInterrupt
        if trouble == "disk":
            raise OSError(28, "No space left on device")
        yield np.full((2, 5), np.nan, np.float32)

    seen: list = []
    with pytest.raises(kind, match=said):
        write_blocks(blocks(), tmp_path / "new" / "tone.wav", 22_050, 2)
    assert (tmp_path / "new" / "tone.wav") in seen
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["tone.wav"]
    assert (tmp_path / "new" / "tone.wav").read_bytes() == old


def test_a_format_that_cannot_be_is_refused_before_the_first_block(tmp_path):
    def blocks():
        raise AssertionError("nobody should ask")
        yield

    for name, rate, said in (
        ("a.mp3", 7000, "cannot be written as MP3"),
        ("a.opus", 44_100, "Opus has no rate of 44100 Hz"),
        ("a.wave", 8000, "did you mean '.wav'"),
    ):
        with pytest.raises(ValueError, match=said):
            write_blocks(blocks(), tmp_path / name, rate, 1)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_blocks(tmp_path):
    def peak(many):
        block = np.zeros((2, 1 << 15), np.float32)
        tracemalloc.start()
        try:
            write_blocks((block for _ in range(many)), tmp_path / f"{many}.wav", 8000, 2)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(64) <= peak(4) * 1.05 < 3 * 2**20  # 64 blocks are 16 MiB


class Take:
    """Anything with music in it."""

    def __init__(self, music):
        self.music = music


def test_write_unwraps_a_take_and_makes_folders(tmp_path):
    path = write(Take(tone()), tmp_path / "a" / "b" / "tone.wav")
    assert read(path).rate == 22050


def test_write_says_what_does_not_fit(tmp_path):
    score = Score(4)
    score.tracks = [track_of([0], [4], [60])]
    for music, name, reason in (
        (tone(), "a.mid", "sound cannot be written as .mid"),
        (score, "a.wav", "render it first"),
        (score, "a.mxll", "did you mean '.mxl'"),
        (tone(), "a.wave", "did you mean '.wav'"),
        ("tune", "a.mid", "cannot write a str"),
        (Score(4), "a.mxl", "no notes"),
    ):
        with pytest.raises(ValueError, match=reason):
            write(music, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_trouble_with_the_disk_is_one_line_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = write(tone(), tmp_path / "tone.wav")
    before = path.read_bytes()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        write(tone(), tmp_path / "file" / "tone.wav")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match=r"tone\.wav cannot be written: No space left on device"):
        write(tone(peak=0.1), path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "tone.wav"]


def test_importing_io_is_cheap():
    import subprocess

    heavy = ("symusic", "soundfile", "music21", "numpy")
    code = f"import sys, otonoha.io; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
