"""The built-in synthesiser: in tune, clean, never clipped, deterministic, each family with its own voice."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from symusic import ControlChange, Pedal, PitchBend, Score, Tempo, Track
from symusic import Note as ScoreNote

from otonoha.io.drums import drum
from otonoha.io.programs import FAMILIES, timbre
from otonoha.io.render import choose, events, render
from otonoha.io.synth import (
    Note,
    Synth,
    block_tone,
    direct_tone,
    log_envelope,
    loudness_weight,
    partials,
    warped_time,
)

RATE = 44100


@cache
def synth(rate: int = RATE) -> Synth:
    return Synth(rate)


def score_of(*notes: tuple, program: int = 0, drums: bool = False, qpm: float = 120, tpq: int = 480) -> Score:
    """Notes are (onset, duration, pitch, velocity) in ticks."""
    score = Score(tpq)
    score.tempos.append(Tempo(0, qpm=qpm))
    track = Track("", program, drums)
    for note in notes:
        track.notes.append(ScoreNote(*note))
    score.tracks.append(track)
    return score


def sound(program: int, pitch: int = 60, velocity: int = 100, held: float = 1.0) -> np.ndarray:
    return synth().wave(timbre(program), Note(pitch, velocity, held)).mean(axis=0)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


# -- pitch --


def cents_off(samples: np.ndarray, hertz: float, rate: int = RATE) -> float:
    """How far the energy around a frequency lies from it (vibrato and unison voices average out)."""
    size = 1 << 18
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) ** 2
    at = np.fft.rfftfreq(size, 1 / rate)
    near = np.abs(1200 * np.log2(np.maximum(at, 1) / hertz)) < 70
    return float(1200 * np.log2(np.average(at[near], weights=power[near]) / hertz))


def section_cents_off(program: int, pitch: int, seed: int = 0) -> float:
    """The mean of the players' tuning, each heard alone.

    In their sum, players a few cents apart beat: over some seconds its energy wanders by several cents to
    either side, as the phases have it, which says nothing of the tuning.
    """
    sort, found = timbre(program), []
    hertz = 440 * 2 ** ((pitch - 69) / 12 + sort.octave)
    for cents, amplitude, decay, _ in sort.voices:
        alone = replace(sort, voices=((cents, 1.0, decay, 0.0),))
        tail = Synth(RATE, seed).wave(alone, Note(pitch, 100, 2.5))[0, int(0.3 * RATE) : int(2.5 * RATE)]
        if tail.any():  # some are over by then
            found.append((cents_off(tail, hertz), amplitude**2))
    offsets, weights = zip(*found) if found else ((0.0,), (1.0,))
    return float(np.average(offsets, weights=weights))


@pytest.mark.parametrize("family", range(15), ids=FAMILIES[:15])
def test_every_program_is_in_tune_across_the_range(family):
    for program in range(8 * family, min(119, 8 * family + 8)):
        for pitch in (36, 69, 84) if program % 8 else (36, 48, 60, 69, 84, 96):
            assert abs(section_cents_off(program, pitch)) < 3, (program, pitch)


def test_bend_and_pedal_and_controls_are_heard():
    plain = score_of((0, 480, 69, 90), program=73)
    bent, soft, held = plain.copy(), plain.copy(), plain.copy()
    bent.tracks[0].pitch_bends.append(PitchBend(0, 8191))
    soft.tracks[0].controls.append(ControlChange(0, 7, 40))
    held.tracks[0].pedals.append(Pedal(10, 960))
    (note,) = events(bent)
    wave = synth().wave(note.timbre, replace(note.note, held=1.5)).mean(axis=0)
    assert abs(cents_off(wave, 440 * 2 ** (2 / 12))) < 4
    (before,), (after,) = events(plain), events(soft)
    assert after.gain < 0.5 * before.gain
    (after,) = events(held)
    assert after.note.held == pytest.approx(970 / 960)


# -- cleanliness --


@pytest.mark.parametrize("rate", [16000, 44100])
def test_nothing_sounds_above_the_band_limit_or_between_the_partials(rate):
    for program in [0, 6, 11, 16, 25, 30, 33, 40, 48, 52, 56, 61, 65, 71, 73, 80, 81, 88, 98, 104, 114]:
        clean = replace(timbre(program), noises=(), vibrato=0, tremolo=0, drift=0, glide=0)
        note = Note(96 if rate > 20000 else 84, 127, 1.0)
        samples = synth(rate).wave(clean, note).mean(axis=0)[int(0.2 * rate) : int(0.9 * rate)]
        power = np.abs(np.fft.rfft(samples * np.blackman(len(samples)) ** 2)) ** 2
        at = np.fft.rfftfreq(len(samples), 1 / rate)
        stray = at > 0.23 * rate
        for hertz in partials(clean, note, rate, np.random.default_rng(0)).frequency:
            stray &= np.abs(at - hertz) > 25
        assert power[stray].sum() < 1e-6 * power.sum(), program


def test_the_fast_bank_equals_one_sine_per_partial():
    for program in (0, 14, 40, 52, 56, 73, 88, 104):
        sort, note = timbre(program), Note(57, 90, 0.5)
        bank = partials(sort, note, RATE, np.random.default_rng(0))
        edges = np.arange(200) * (32 / RATE)
        curves = log_envelope(sort, note, edges), warped_time(sort, note, edges)
        fast, slow = (make(bank, *curves, edges, 32, RATE, sort.drift) for make in (block_tone, direct_tone))
        assert rms(fast - slow) < 2e-3 * rms(slow), program


def test_notes_begin_and_end_without_a_click():
    for program in range(112):
        samples = sound(program, 57, held=0.4)
        top = np.abs(samples).max()
        assert np.abs(samples[:2]).max() < 0.2 * top, program
        assert np.abs(samples[-64:]).max() < 0.01 * top, program


def test_no_clipping_with_64_loud_notes():
    loud = render(score_of(*[(0, 960, 36 + i, 127) for i in range(64)], program=30))
    assert 0.1 < loud.peak <= 0.98
    drums = render(score_of(*[(i * 30, 30, 35 + i % 47, 127) for i in range(64)], drums=True))
    assert 0.1 < drums.peak <= 0.98
    assert not np.any(np.abs(drums.samples) == 1)


# -- determinism, level --


def test_equal_arguments_give_equal_samples_and_the_seed_matters():
    score = score_of((0, 480, 60, 80), (480, 480, 64, 80), program=73)
    first, again, other = render(score), render(score), render(score, seed=1)
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_the_mix_has_a_common_loudness():
    for program in (0, 19, 40, 52, 73, 81):
        notes = [(480 * i, 480, 60 + i % 7, 60) for i in range(8)]
        audio = render(score_of(*notes, program=program))
        level = 20 * np.log10(rms(audio.samples[:, : 4 * RATE]))
        assert -21 < level < -15, program


def test_velocity_raises_loudness_and_brightness():
    for program in [8 * family for family in range(15) if family != 2] + [52]:
        low, high = (event_wave(program, velocity) for velocity in (30, 120))
        assert rms(high) > 2 * rms(low), program
        assert centroid(high) > 1.02 * centroid(low), program


def event_wave(program: int, velocity: int) -> np.ndarray:
    (event,) = events(score_of((0, 960, 60, velocity), program=program))
    clean = replace(event.timbre, noises=(), drift=0, tremolo=0)
    return synth().wave(clean, event.note).mean(axis=0)[: int(0.3 * RATE)] * event.gain


def centroid(samples: np.ndarray, rate: int = RATE) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(np.average(np.fft.rfftfreq(len(samples), 1 / rate), weights=power))


# -- time --


def test_note_off_releases_within_the_familys_time():
    for program in range(0, 112, 4):
        samples, sort = sound(program, 60, held=1.0), timbre(program)
        off = RATE
        before = rms(samples[off - 4410 : off])
        gone = rms(samples[off + int((sort.release + 0.02) * RATE) :][:4410])
        assert gone <= 0.05 * before, program
    assert len(sound(94, 60, held=1.0)) > len(sound(56, 60, held=1.0)) > RATE


def test_tempo_changes_move_the_onsets():
    score = score_of((0, 240, 60, 90), (960, 240, 60, 90), (1920, 240, 60, 90), qpm=120)
    score.tempos.append(Tempo(960, qpm=60))
    assert [event.start for event in events(score)] == pytest.approx([0, 1.0, 3.0])


def test_odd_notes():
    cases = {
        "no length": [(0, 0, 60, 90)],
        "extremes": [(0, 480, 0, 1), (0, 480, 127, 127)],
        "equal and overlapping": [(0, 480, 60, 90), (0, 480, 60, 90), (240, 480, 60, 90)],
    }
    for name, notes in cases.items():
        for program in (0, 40, 73, 122):
            audio = render(score_of(*notes, program=program))
            assert np.isfinite(audio.samples).all(), name
            assert audio.peak > 0.05, name


def test_very_long_notes_are_bounded():
    audio = render(score_of((0, 480 * 240, 60, 90), program=73), rate=8000)
    assert 120 < audio.seconds < 123
    assert rms(audio.samples[:, 100 * 8000 : 110 * 8000]) > 0.05
    with pytest.raises(ValueError, match="at most 3,600 s"):
        render(score_of((2_000_000_000, 480, 60, 90)))


def test_silence_stays_silence():
    for empty in (Score(480), score_of(), score_of((0, 480, 60, 0))):
        audio = render(empty)
        assert audio.peak == 0
        assert 0.1 < audio.seconds < 1
        assert audio.channels == 2


@pytest.mark.parametrize("rate", [8000, 22050, 96000, 192000])
def test_rates(rate):
    audio = render(score_of((0, 480, 69, 90), program=73), rate=rate)
    assert audio.rate == rate
    assert abs(cents_off(audio.samples.mean(axis=0)[: rate // 2], 440, rate)) < 3


@pytest.mark.parametrize("rate", [0, -1, 4000, 400000])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(ValueError, match=f"8000 to 192000 Hz, got {rate}"):
        render(Score(480), rate=rate)


def test_the_choice_is_told_in_words():
    assert choose() == "the built-in synthesiser"
    assert choose("fonts/Some Font.sf2") == "FluidSynth with Some Font.sf2"


# -- voices of their own --


def features(samples: np.ndarray) -> np.ndarray:
    """What an ear goes by: the spectrum (24 bands) in four stretches of time, the envelope, the noise."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, 2 * RATE)), 2048)[
        : int(1.2 * RATE) : 1024
    ]
    power = np.abs(np.fft.rfft(frames * np.hanning(2048).astype(np.float32))) ** 2
    bands = power @ band_matrix() + 1e-7 * power.max()
    energy = power.sum(axis=1) / power.sum(axis=1).max()
    spectra = [10 * np.log10(bands[part].mean(axis=0)) for part in map(slice, (0, 2, 8, 20), (2, 8, 20, 36))]
    spectra = [spectrum - spectra[1].mean() for spectrum in spectra]
    envelope = 10 * np.log10(energy[[0, 1, 2, 3, 5, 8, 12, 20, 28, 31, 32, 34, 37, 41]] + 1e-6)
    middle = power[2:20, 4:].mean(axis=0) + 1e-9 * power.max()
    fine = np.abs(np.diff(np.log(middle))).reshape(-1, 10).mean(axis=1)[:40:4]
    flutter = np.log(bands[6:28] + 1e-9).std(axis=0)[::3]
    return np.concatenate([*spectra, envelope, 10 * fine, 10 * flutter])


@cache
def band_matrix() -> np.ndarray:
    at = np.fft.rfftfreq(2048, 1 / RATE)
    centres = 700 * (10 ** (np.linspace(150, 3700, 26) / 2595) - 1)
    up = (at[:, None] - centres[:-2]) / np.diff(centres)[:-1]
    down = (centres[2:] - at[:, None]) / np.diff(centres)[1:]
    return np.clip(np.minimum(up, down), 0, None).astype(np.float32)


def tell_apart(programs: list[int], seen: list, unseen: list) -> np.ndarray:
    """Share of unseen notes whose family (16: drums) a linear discriminant names, for each family."""

    def collect(notes, keys):
        rows = [(p, features(sound(p, pitch, velocity, 0.7))) for p in programs for pitch, velocity in notes]
        rows += [
            (128 + (key - 35) // 6, features(synth().wave(drum(key), Note(60, 100, 1.0)).mean(axis=0)))
            for key in keys
        ]
        labels, values = zip(*rows)
        return np.array(labels), np.stack(values)

    label, value = collect(seen, range(35, 82, 2))
    asked, question = collect(unseen, range(36, 82, 2))
    names = np.unique(label)
    means = np.stack([value[label == name].mean(axis=0) for name in names])
    inner = value - means[np.searchsorted(names, label)]
    spread = inner.T @ inner / len(value)
    inverse = np.linalg.inv(spread + 0.02 * np.trace(spread) / len(spread) * np.eye(len(spread)))
    away = question[:, None] - means
    said = names[np.einsum("qnf,fg,qng->qn", away, inverse, away).argmin(axis=1)]
    return np.array([np.mean(said[asked // 8 == family] // 8 == family) for family in range(17)])


def test_the_families_and_the_drums_are_told_apart():
    notes = [(pitch, velocity) for pitch in (45, 52, 60, 67, 74) for velocity in (50, 110)]
    others = [(pitch, 85) for pitch in (48, 56, 64, 71)]
    right = tell_apart([8 * family + k for family in range(16) for k in (0, 1)], notes, others)
    assert right.mean() > 0.9, dict(zip([*FAMILIES, "drums"], right.round(2)))


@pytest.mark.slow
def test_all_programs_are_told_apart_by_family():
    notes = [(pitch, velocity) for pitch in (45, 52, 60, 67, 74) for velocity in (50, 110)]
    others = [(pitch, 85) for pitch in (48, 56, 64, 71)]
    right = tell_apart(list(range(128)), notes, others)
    assert right.mean() > 0.9, dict(zip([*FAMILIES, "drums"], right.round(2)))


def test_loudness_weight_is_largest_where_the_ear_is_keenest():
    assert loudness_weight(np.array([50.0, 2500.0, 15000.0])).argmax() == 1
