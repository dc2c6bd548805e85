"""Magnitude spectrograms against a slow twin, and distances where nothing sounds."""

import numpy as np
import pytest
import torch

from otonoha.nn import spectral


def slow_magnitude(x, n_fft, hop, length):
    """One frame after the other with NumPy."""
    n = np.arange(length)
    window = np.zeros(n_fft)
    left = (n_fft - length) // 2
    window[left : left + length] = 0.5 - 0.5 * np.cos(2 * np.pi * n / length)
    padded = np.pad(x, n_fft // 2, mode="reflect")
    frames = [padded[a : a + n_fft] * window for a in range(0, len(x) + 1, hop)]
    return np.abs(np.fft.rfft(frames)).T


@pytest.mark.parametrize("resolution", [(64, 16, 64), (64, 15, 40), (32, 8, 20)])
def test_magnitudes(resolution):
    x = np.random.default_rng(0).standard_normal(200)
    found = spectral.magnitude(torch.from_numpy(x)[None], resolution)[0]
    np.testing.assert_allclose(found, slow_magnitude(x, *resolution), atol=1e-10)


def test_distances_are_those_of_frobenius():
    x, y = torch.randn(2, 2, 3000, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    each = []
    for r in spectral.MULTI:
        a, b = spectral.magnitude(x, r), spectral.magnitude(y, r)
        each.append(((a - b) ** 2).sum((1, 2)).sqrt())
        torch.testing.assert_close(spectral.distance(x, y, r), each[-1])
    torch.testing.assert_close(spectral.multi_distance(x, y), sum(each) / 3)
    a = spectral.magnitude(x, spectral.SINGLE)
    share = spectral.distance(x, y) / (a**2).sum((1, 2)).sqrt()
    torch.testing.assert_close(spectral.convergence(x, y), share)


def test_silence_has_finite_gradients_and_no_share():
    silent = torch.zeros(1, 2048)
    y = torch.zeros(1, 2048, requires_grad=True)
    assert float(spectral.convergence(silent, torch.ones(1, 2048))) == 0
    (spectral.multi_distance(silent, y) + spectral.distance(silent, y)).sum().backward()
    assert torch.isfinite(y.grad).all()
    assert spectral.shortest(spectral.MULTI) == 1025
