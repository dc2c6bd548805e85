"""FluidSynth with a SoundFont: what is sent, what comes back, and one clear line for whatever is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from symusic import ControlChange, Note, Pedal, PitchBend, Score, Tempo, Track

from otonoha.io import fluid
from otonoha.io.render import render

PLACES = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/opt/homebrew/share/soundfonts")
FONTS = sorted(
    (font for place in PLACES for font in Path(place).glob("*.sf[23]")), key=lambda f: f.stat().st_size
)
needs_fluidsynth = pytest.mark.skipif(
    bool(fluid.missing()) or not FONTS, reason=fluid.missing() or f"no SoundFont in {', '.join(PLACES)}"
)


def duet() -> Score:
    score = Score(480)
    score.tempos.append(Tempo(0, qpm=120))
    for name, program, drums in (("lead", 73, False), ("kit", 0, True)):
        track = Track(name, program, drums)
        track.notes.append(Note(0, 480, 69, 90))
        track.notes.append(Note(480, 0, 69, 90))
        score.tracks.append(track)
    return score


@pytest.fixture
def font_file(tmp_path: Path) -> Path:
    path = tmp_path / "damaged.sf2"
    path.write_bytes(b"RIFF\x20\x00\x00\x00sfbk" + bytes(range(64)))
    return path


def test_messages_are_in_order_and_on_their_channels():
    score = duet()
    score.tracks[0].controls.append(ControlChange(0, 7, 64))
    score.tracks[0].pedals.append(Pedal(0, 240))
    score.tracks[0].pitch_bends.append(PitchBend(240, 1000))
    lines = fluid.messages(score)
    assert np.all(np.diff(lines[:, 0]) >= 0)
    assert set(lines[:, 2]) == {0, fluid.DRUM_CHANNEL}
    lead = lines[lines[:, 2] == 0]
    assert lead[0, 1] == fluid.CONTROL or lead[0, 1] == fluid.PROGRAM
    assert list(lead[lead[:, 1] == fluid.ON, 0]) == [0.0, 0.5]
    assert lead[lead[:, 1] == fluid.OFF, 0] == pytest.approx([0.5, 0.5 + fluid.SHORTEST_SECONDS])
    assert lead[lead[:, 1] == fluid.BEND].tolist() == [[0.25, fluid.BEND, 0, 1000, 0]]


def test_many_tracks_share_256_channels_and_leave_the_drums_alone():
    score = Score(480)
    for _ in range(300):
        track = Track("", 0, False)
        track.notes.append(Note(0, 480, 60, 60))
        score.tracks.append(track)
    channels = fluid.messages(score)[:, 2]
    assert channels.max() < fluid.CHANNELS
    assert not np.any(channels % 16 == fluid.DRUM_CHANNEL)


def test_a_missing_font_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.sf2 cannot be read: No such file") as error:
        render(duet(), soundfont=tmp_path / "nowhere.sf2")
    assert "\n" not in str(error.value)


def test_what_is_no_font_is_refused(tmp_path):
    path = tmp_path / "notes.sf2"
    path.write_text("these are no samples")
    with pytest.raises(ValueError, match="is no SoundFont"):
        render(duet(), soundfont=path)


def test_without_the_library_the_install_line_is_told(monkeypatch, font_file):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(ValueError, match="pip install pyfluidsynth, and apt install libfluidsynth3") as error:
        render(duet(), soundfont=font_file)
    assert "\n" not in str(error.value)


def test_a_hanging_font_is_stopped(monkeypatch, font_file):
    def hang(command, *, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(fluid, "missing", lambda: "")
    monkeypatch.setattr(fluid.subprocess, "run", hang)
    with pytest.raises(ValueError, match=r"damaged\.sf2 took longer than 61 s and was stopped"):
        render(duet(), soundfont=font_file)


@needs_fluidsynth
def test_a_damaged_font_is_one_clear_line(font_file):
    with pytest.raises(ValueError, match=r"FluidSynth could not render with damaged\.sf2") as error:
        render(duet(), soundfont=font_file)
    assert "\n" not in str(error.value)


@needs_fluidsynth
@pytest.mark.parametrize("rate", [22050, 44100, 192000])
def test_a_score_becomes_sound(rate):
    audio = render(duet(), rate=rate, soundfont=FONTS[0])
    assert audio.rate == rate
    assert audio.samples.shape[0] == 2
    assert 0.05 < audio.peak <= 0.98
    assert 2 < audio.seconds < 5
    second = audio.samples.mean(axis=0)[int(0.15 * rate) : int(0.5 * rate)]
    power = np.abs(np.fft.rfft(second * np.hanning(len(second)), 1 << 19))
    at = np.fft.rfftfreq(1 << 19, 1 / rate)
    near = (at > 420) & (at < 460)
    assert at[near][power[near].argmax()] == pytest.approx(440, rel=0.01)


@needs_fluidsynth
def test_silence_stays_silence_and_64_loud_notes_do_not_clip():
    assert render(Score(480), soundfont=FONTS[0]).peak == 0
    score = Score(480)
    track = Track("", 61, False)
    for pitch in range(36, 100):
        track.notes.append(Note(0, 960, pitch, 127))
    score.tracks.append(track)
    assert 0.1 < render(score, soundfont=FONTS[0]).peak <= 0.98
