"""Distances between sounds: against their formulas written out, and at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.metrics import sound, sound_report
from otonoha.metrics.sound_events import chroma_similarity, match_f1, onset_f1, onsets
from otonoha.music.audio import Audio
from otonoha.music.spectra import magnitudes, mel_filters

RATE = 22_050
FIGURES = (
    sound.mel_distance,
    sound.stft_distance,
    sound.si_sdr,
    sound.spectral_convergence,
    sound.level_error,
    sound.width_error,
    sound.band_levels,
    sound.kept_bandwidth,
    onset_f1,
    chroma_similarity,
)


def audio(samples, rate=RATE):
    return Audio(np.atleast_2d(np.asarray(samples, np.float32)), rate)


def noise(seconds=1.0, seed=0, channels=1, level=0.1):
    rng = np.random.default_rng(seed)
    return audio(level * rng.standard_normal((channels, round(seconds * RATE))))


def clicks(times, seconds=3.0, level=0.3):
    """Short decaying bursts of noise."""
    x = np.zeros(round(seconds * RATE))
    burst = np.random.default_rng(5).standard_normal(2000) * np.exp(-np.arange(2000) / 300)
    for at in times:
        start = round(at * RATE)
        x[start : start + 2000] += level * burst[: len(x) - start]
    return audio(x)


def chord(pitches, seconds=2.0):
    t = np.arange(round(seconds * RATE)) / RATE
    return audio(0.1 * sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * t) for p in pitches))


def written_out(reference, estimate, *, mel):
    """The formula of the module's docstring, scale by scale."""
    total = 0.0
    for window, mels in ((2048, 150), (512, 80)):
        X, Y = (magnitudes(s.samples, window, window // 4).astype(np.float64) for s in (reference, estimate))
        if mel:
            X, Y = (mel_filters(RATE, window, mels).astype(np.float64) @ M for M in (X, Y))
        logs = [np.log10(np.maximum(M, 1e-5) ** 2) for M in (X, Y)]
        total += np.abs(logs[0] - logs[1]).mean() + np.abs(X - Y).mean()
    return total


@pytest.mark.parametrize("channels", [1, 2])
def test_mel_and_stft_distance_are_their_formula(channels):
    a, b = noise(channels=channels), noise(seed=1, channels=channels, level=0.2)
    assert math.isclose(sound.mel_distance(a, b), written_out(a, b, mel=True), rel_tol=1e-4)
    assert math.isclose(sound.stft_distance(a, b), written_out(a, b, mel=False), rel_tol=1e-4)
    assert sound.mel_and_stft(a, b) == (sound.mel_distance(a, b), sound.stft_distance(a, b))


@given(st.floats(0.01, 10.0), st.floats(-3.0, 0.0))
@settings(max_examples=20, deadline=None)
def test_si_sdr_knows_no_scale_and_no_offset(scale, decades):
    a, n = noise(0.2), noise(0.2, seed=1, level=0.1 * 10**decades)
    x, y = a.samples[0].astype(float), (a.samples + n.samples)[0].astype(float)
    x, y = x - x.mean(), y - y.mean()
    part = (x @ y) / (x @ x) * x
    wanted = 10 * math.log10((part @ part) / ((y - part) @ (y - part)))
    assert math.isclose(sound.si_sdr(a, audio(scale * (a.samples + n.samples) + 0.05)), wanted, abs_tol=0.02)


def test_equal_sounds():
    a = chord((60, 64, 67))
    assert sound.mel_and_stft(a, a) == (0.0, 0.0)
    assert sound.si_sdr(a, a) == sound.LIMIT
    assert sound.spectral_convergence(a, a) == -sound.LIMIT
    assert sound.level_error(a, a) == 0.0
    assert not sound.band_levels(a, a).any()
    assert sound.kept_bandwidth(a, a) == RATE / 2
    assert onset_f1(a, a) == 1.0
    assert math.isclose(chroma_similarity(a, a), 1.0, abs_tol=1e-5)


def test_more_noise_is_farther_on_every_scale():
    a = chord((57, 60, 64))
    near, far = (audio(a.samples + noise(2.0, level=level).samples) for level in (1e-4, 1e-2))
    for better, worse in ((near, far), (far, noise(2.0))):
        assert sound.mel_distance(a, better) < sound.mel_distance(a, worse)
        assert sound.stft_distance(a, better) < sound.stft_distance(a, worse)
        assert sound.si_sdr(a, better) > sound.si_sdr(a, worse)
        assert sound.spectral_convergence(a, better) < sound.spectral_convergence(a, worse)
        assert chroma_similarity(a, better) > chroma_similarity(a, worse)


def test_silence_has_defined_values():
    a, silent = noise(), audio(np.zeros(RATE))
    assert sound.si_sdr(a, silent) == -sound.LIMIT
    assert sound.si_sdr(silent, a) == -sound.LIMIT
    assert sound.si_sdr(silent, silent) == sound.LIMIT
    assert sound.si_sdr(audio(np.full(RATE, 0.1)), silent) == sound.LIMIT, "an offset is no sound"
    assert sound.spectral_convergence(a, silent) == 0.0
    assert sound.spectral_convergence(silent, a) == sound.LIMIT
    assert sound.level_error(a, silent) == -sound.LIMIT
    assert np.all(sound.band_levels(a, silent) == -sound.LIMIT)
    assert sound.kept_bandwidth(a, silent) == 0.0
    assert sound.kept_bandwidth(silent, silent) == RATE / 2
    assert onset_f1(silent, silent) == 1.0
    assert onset_f1(clicks([1.0]), audio(np.zeros(3 * RATE))) == 0.0
    assert onset_f1(audio(np.zeros(3 * RATE)), clicks([1.0])) == 0.0
    assert chroma_similarity(silent, silent) == 1.0
    assert chroma_similarity(silent, a) == chroma_similarity(a, silent) == 0.0


@pytest.mark.parametrize("length", [1, 2, 3, 100, 700])
def test_clips_shorter_than_a_window(length):
    rng = np.random.default_rng(length)
    a, b = (audio(0.1 * rng.standard_normal(length)) for _ in range(2))
    for figure in FIGURES:
        assert np.isfinite(figure(a, b)).all(), figure.__name__
    assert np.isfinite(list(sound_report.compare(a, b).values())).all()


@pytest.mark.parametrize("figure", FIGURES)
def test_what_cannot_be_compared_is_refused_in_one_line(figure):
    a = noise(0.5)
    broken = audio(np.where(np.arange(a.samples.size) == 7, np.nan, a.samples[0]))
    for wrong, words in (
        (broken, "NaN"),
        (audio(np.zeros((1, 0))), "holds no sound"),
        (audio(a.samples, 44_100), "rate"),
        (noise(0.5, channels=2), "channels"),
        (noise(0.7), "lasts"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            figure(a, wrong)
        assert "\n" not in str(error.value)


def test_a_codec_may_pad():
    a = noise(0.5)
    longer = audio(np.pad(a.samples, ((0, 0), (0, 1500))))
    assert sound.mel_and_stft(a, longer) == (0.0, 0.0)
    assert sound.si_sdr(longer, a) == sound.LIMIT


def test_bands_and_bandwidth_show_a_lowpass():
    a = noise(2.0)
    spectrum = np.fft.rfft(a.samples[0])
    hz = np.fft.rfftfreq(a.samples.size, 1 / RATE)
    low = audio(np.fft.irfft(spectrum * (hz < 4000), a.samples.size))
    louder = audio(a.samples * 10 ** (6 / 20))
    levels = sound.band_levels(a, low)
    assert np.abs(levels[:3]).max() < 0.2
    assert levels[3] < -15
    assert levels[4] < -40
    assert 3500 <= sound.kept_bandwidth(a, low) <= 5100
    assert np.allclose(sound.band_levels(a, louder), 6.0, atol=1e-3)
    assert math.isclose(sound.level_error(a, louder), 6.0, abs_tol=1e-3)
    with pytest.raises(ValueError, match="rise"):
        sound.band_levels(a, a, edges=(100.0, 50.0))


def test_width():
    a = noise(channels=2)
    middle = a.samples.mean(axis=0, keepdims=True)
    narrow = audio(middle + 0.5 * (a.samples - middle))
    assert math.isclose(sound.width_error(a, narrow), -20 * math.log10(2), abs_tol=1e-3)
    assert sound.width_error(a, audio(np.repeat(middle, 2, axis=0))) == -sound.LIMIT
    assert sound.width_error(noise(), noise(seed=1)) == 0.0


def test_onsets_are_found_where_they_are():
    times = [0.3, 0.55, 1.1, 1.9, 2.4]
    found = onsets(clicks(times).samples[0], RATE)
    assert len(found) == 5
    assert np.abs(found - times).max() < 0.03
    assert onset_f1(clicks(times), clicks([0.33, 0.55, 1.1, 1.9, 2.4])) == 1.0
    assert math.isclose(onset_f1(clicks(times), clicks(times[:3])), 2 * 3 / 8)
    assert onset_f1(clicks(times), clicks([t + 0.12 for t in times])) == 0.0


def most_pairs(a, b, tolerance):
    """Slow twin: every way to pair them."""
    if not len(a) or not len(b):
        return 0
    with_first = [
        1 + most_pairs(a[1:], np.delete(b, j), tolerance)
        for j in range(len(b))
        if abs(a[0] - b[j]) <= tolerance
    ]
    return max([most_pairs(a[1:], b, tolerance), *with_first])


@given(st.lists(st.integers(0, 20), max_size=4), st.lists(st.integers(0, 20), max_size=4))
@settings(max_examples=40, deadline=None)
def test_matching_finds_the_most_pairs(a, b):
    a, b = (np.sort(np.array(x, float)) for x in (a, b))
    wanted = 2 * most_pairs(a, b, 3.0) / (len(a) + len(b)) if len(a) + len(b) else 1.0
    assert match_f1(a, b, tolerance=3.0) == wanted


def test_chroma_similarity_hears_harmony_not_octaves():
    a = chord((60, 64, 67))
    assert chroma_similarity(a, chord((72, 76, 79))) > 0.95
    assert chroma_similarity(a, chord((60, 63, 67))) < 0.9
    assert chroma_similarity(a, chord((61, 66, 70))) < 0.5


def test_report_is_the_mean_over_sounding_clips():
    a, b = noise(2.5), noise(2.5, seed=1)
    quiet = audio(np.concatenate([a.samples[0], np.zeros(RATE)]))
    other = audio(np.concatenate([b.samples[0], np.zeros(RATE)]))
    assert [x.seconds for x, _ in sound_report.clips(quiet, other, seconds=1.0)] == [1.0, 1.0, 1.0]
    whole = sound_report.report([(quiet, other), (a, b)], seconds=1.0)
    assert whole["clips"] == 5
    parts = [sound_report.compare(x, y) for x, y in sound_report.clips(a, b, seconds=1.0)]
    assert len(parts) == 2, "half a second at the end is no clip"
    alone = sound_report.report([(a, b)], seconds=1.0)
    assert math.isclose(alone["mel"], np.mean([p["mel"] for p in parts]))
    with pytest.raises(ValueError, match="nothing to compare"):
        sound_report.report([(audio(np.zeros(RATE)), a.slice(0, 1))])


def test_a_short_recording_is_a_clip():
    assert len(list(sound_report.clips(noise(0.3), noise(0.3, seed=1)))) == 1


def test_tasks_take_turns():
    order = []
    best = sound_report.interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3
    )
    assert order == ["a", "b"] * 3
    assert set(best) == {"a", "b"}
    assert all(0 <= spent.core <= spent.wall + 0.01 < 5 for spent in best.values())
