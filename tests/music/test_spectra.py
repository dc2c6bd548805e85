"""Spectra against sums written out by hand, SciPy and torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window
from scipy.signal import stft as scipy_stft

from otonoha.music import spectra
from otonoha.music.spectra import (
    blocks,
    chroma,
    hann,
    hz_of_mel,
    log_mel,
    magnitudes,
    mel_filters,
    mel_magnitudes,
    mel_of_hz,
    onset_hop,
    onset_strength,
    stft,
)

RATE = 16_000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sine(hz, seconds=1.0, rate=RATE):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def slow_stft(x, size, hop, window):
    """The definition, one number at a time; the ends are read as in a mirror, however often."""
    period = 2 * (len(x) - 1)
    result = np.zeros((size // 2 + 1, 1 + len(x) // hop), complex)
    left = (size - window) // 2
    for t in range(result.shape[1]):
        for n in range(window):
            at = t * hop - size // 2 + left + n
            at = at % period if period else 0
            at = min(at, period - at) if period else 0
            w = 0.5 - 0.5 * math.cos(2 * math.pi * n / window)
            turns = np.exp(-2j * np.pi * np.arange(size // 2 + 1) * (left + n) / size)
            result[:, t] += w * float(x[at]) * turns
    return result


@given(st.integers(1, 90), st.sampled_from([8, 16, 30]), st.integers(1, 20), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_stft_is_its_definition_for_any_length(length, size, hop, less):
    x = noise(length, seed=length)
    window = max(size - less, 1)
    assert np.allclose(stft(x, size, hop, window), slow_stft(x, size, hop, window), atol=1e-4)


def test_stft_equals_torch_and_scipy():
    x = noise(2, 3, 5000)
    for size, hop, window in ((512, 128, 512), (256, 50, 200), (2048, 256, 1536)):
        theirs = torch.stft(
            torch.from_numpy(x.reshape(6, -1)),
            size,
            hop,
            window,
            torch.hann_window(window),
            return_complex=True,
        ).numpy()
        ours = stft(x, size, hop, window)
        assert ours.dtype == np.complex64
        assert ours.shape == (2, 3, size // 2 + 1, 1 + 5000 // hop)
        assert np.allclose(ours.reshape(theirs.shape), theirs, atol=1e-4)
    window = get_window("hann", 512)
    _, _, theirs = scipy_stft(
        x[0, 0], window=window, nperseg=512, noverlap=384, boundary="even", padded=False
    )
    ours = stft(x[0, 0], 512, 128)
    inside = slice(2, 36)  # SciPy pads with another mirror (the edge twice)
    assert np.allclose(ours[:, inside], theirs[:, inside] * window.sum(), atol=1e-4)


def test_the_defaults_are_a_whole_window_and_a_quarter_of_it():
    x = noise(4000)
    assert np.array_equal(stft(x, 256), stft(x, 256, 64, 256))
    assert np.array_equal(stft(x, 256, window=200), stft(x, 256, 50, 200))
    assert np.allclose(magnitudes(x, 256), np.abs(stft(x, 256)), atol=1e-6)
    assert np.allclose(hann(64), torch.hann_window(64).numpy(), atol=1e-7)


def test_blocks_do_not_depend_on_their_size(monkeypatch):
    x = noise(30_000)
    whole = stft(x, 256, 64)
    monkeypatch.setattr(spectra, "BLOCK", 256 * 7)
    parts = list(blocks(x, 256, 64))
    assert {len(p) for p in parts[:-1]} == {7}
    assert np.allclose(np.concatenate(parts).T, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((7,), "even"), ((0,), "even"), ((8, 0), "hop"), ((8, 2, 9), "window"), ((8, 2, 0), "window")],
)
def test_impossible_transforms_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        stft(noise(100), *arguments)


def test_no_samples_no_spectrum():
    with pytest.raises(ValueError, match="without samples"):
        stft(noise(2, 0))


def slow_mel_filters(rate, size, mels):
    """Slaney's triangles, one number at a time."""

    def to_mel(f):
        return f * 3 / 200 if f < 1000 else 15 + 27 * math.log(f / 1000) / math.log(6.4)

    def to_hz(m):
        return m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27)

    corner = [to_hz(to_mel(rate / 2) * i / (mels + 1)) for i in range(mels + 2)]
    result = np.zeros((mels, size // 2 + 1))
    for m in range(mels):
        low, middle, high = corner[m : m + 3]
        for k in range(size // 2 + 1):
            f = k * rate / size
            up, down = (f - low) / (middle - low), (high - f) / (high - middle)
            result[m, k] = max(0.0, min(up, down)) * 2 / (high - low)
    return result


@pytest.mark.parametrize(
    ("rate", "size", "mels"), [(44_100, 2048, 150), (44_100, 512, 80), (16_000, 400, 40)]
)
def test_mel_filters_equal_the_slow_ones(rate, size, mels):
    assert np.allclose(mel_filters(rate, size, mels), slow_mel_filters(rate, size, mels), atol=1e-8)


def test_mel_scale_there_and_back():
    hz = np.linspace(0, 22_050, 500)
    assert np.allclose(hz_of_mel(mel_of_hz(hz)), hz)
    assert np.allclose(mel_of_hz([0, 1000, 6400]), [0, 15, 42])


def test_mel_filters_are_shared_and_cannot_be_changed():
    filters = mel_filters(RATE, 512, 40)
    assert filters is mel_filters(RATE, 512, 40)
    with pytest.raises(ValueError, match="read-only"):
        filters[0, 0] = 1
    for wrong in ({"mels": 0}, {"mels": 4, "lowest": 9000.0}, {"mels": 4, "highest": 9000.0}):
        with pytest.raises(ValueError, match="mel band"):
            mel_filters(RATE, 512, **wrong)


def test_log_mel_is_the_floor_where_nothing_sounds():
    x = np.concatenate([np.zeros(RATE, np.float32), sine(440)])
    found = log_mel(x, RATE, mels=40, size=512)
    assert found.shape == (40, 1 + len(x) // 128)
    assert np.allclose(found[:, :100], -5.0)
    loud = mel_magnitudes(x, RATE, mels=40, size=512)
    assert np.allclose(found, np.log10(np.maximum(loud, 1e-5)))
    centres = hz_of_mel(np.linspace(0, mel_of_hz(RATE / 2), 42))[1:-1]
    assert abs(centres[loud[:, -60].argmax()] - 440) < 60


@given(st.integers(57, 100))
@settings(max_examples=20, deadline=None)
def test_chroma_hears_the_pitch_class(pitch):
    found = chroma(sine(440 * 2 ** ((pitch - 69) / 12)), RATE)
    assert found.shape[0] == 12
    assert found[:, 3].argmax() == pitch % 12
    assert found[pitch % 12, 3] > 0.7 * found[:, 3].sum()


def test_onset_strength_rises_where_a_sound_begins():
    x = np.zeros(2 * RATE, np.float32)
    for at in (0.5, 1.2):
        x[int(at * RATE) :] += sine(700 * at, 2 - at)[: len(x) - int(at * RATE)]
    rise = onset_strength(x, RATE)
    peaks = np.sort(np.argsort(rise)[-2:]) * onset_hop(RATE) / RATE
    assert np.allclose(rise[: int(0.45 * 100)], 0)
    assert min(abs(peaks - 0.5)) < 0.03
    assert np.allclose(onset_strength(x * 0.01, RATE), rise, atol=1e-2), "the scale is relative"
    assert not onset_strength(np.zeros(RATE, np.float32), RATE).any()
    assert len(onset_strength(noise(3), RATE)) == 1


def test_the_torch_twin_is_equal():
    from otonoha.nn.spectral import MULTI, SINGLE, magnitude

    x = noise(2, 4000)
    for n_fft, hop, length in (SINGLE, *MULTI):
        theirs = magnitude(torch.from_numpy(x), (n_fft, hop, length)).numpy()
        assert np.allclose(magnitudes(x, n_fft, hop, length), theirs, atol=1e-3)
