"""Frames of spectra: there and back is the same sound, and the span of every frame is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.nn.istft import Frames, Head, banded, lines


def plain_split(frames: Frames, x: np.ndarray) -> np.ndarray:
    """The slow twin: one frame after the other, by the formula of the file."""
    size, hop, pad = frames.size, frames.hop, (frames.size - frames.hop) // 2
    around = np.concatenate([np.zeros(pad), x, np.zeros(pad)])
    window = np.sin(np.pi * np.arange(size) / size)
    rows = [np.fft.rfft(window * around[n * hop : n * hop + size]) for n in range(len(x) // hop)]
    return np.array(rows) / math.sqrt(size / 2)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([(8, 4), (16, 4), (12, 4), (64, 16)]), st.integers(1, 9), st.integers(0, 999))
def test_split_is_its_slow_twin_and_join_its_inverse(shape, N, seed):
    frames = Frames(*shape)
    x = np.random.default_rng(seed).normal(size=(2, N * frames.hop))
    split = frames.split(torch.tensor(x, dtype=torch.float32))
    assert split.shape == (2, N, frames.bins)
    np.testing.assert_allclose(split[1].numpy(), plain_split(frames, x[1]), atol=1e-5)
    np.testing.assert_allclose(frames.join(split).numpy(), x, atol=1e-5)


@pytest.mark.parametrize(("size", "hop"), [(8, 4), (12, 4), (16, 4)])
def test_spans_are_exact(size, hop):
    frames, N = Frames(size, hop), 12
    x = torch.randn(N * hop, requires_grad=True)
    (gradient,) = torch.autograd.grad(frames.split(x)[6].abs().sum(), x)
    low, high = frames.heard(6, 6)
    seen = gradient.nonzero().flatten().tolist()
    assert low <= seen[0] <= low + 1
    assert seen[-1] == high
    spectra = torch.randn(N, frames.bins, dtype=torch.complex64, requires_grad=True)
    for sample in range(5 * hop, 6 * hop):
        (back,) = torch.autograd.grad(frames.join(spectra)[sample], spectra)
        touched = set(back.abs().sum(1).nonzero().flatten().tolist())
        first, last = frames.read(sample, sample)
        wanted = {
            n for n in range(N) if 0 < sample - (n * hop - frames.pad) < size
        }  # a window begins with a zero
        assert touched == wanted <= set(range(first, last + 1))
        assert last - first + 1 <= size // hop


@pytest.mark.parametrize(("size", "hop"), [(7, 4), (4, 4), (10, 4)])
def test_sizes_that_cannot_be_joined(size, hop):
    with pytest.raises(ValueError, match="times the hop"):
        Frames(size, hop)


@pytest.mark.parametrize("kind", ["noise", "polar", "cartesian"])
def test_a_head_writes_sound_and_learns(kind):
    head = Head(6, Frames(16, 8), 2, kind)
    x = torch.randn(3, 5, 6, requires_grad=True)
    foreseen, noise = head(x)
    assert (noise is None) == (kind != "noise")
    y = foreseen if noise is None else foreseen + noise
    assert y.shape == (3, 2, 40)
    assert torch.isfinite(y).all()
    y.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    assert float(x.grad.abs().sum()) > 0


def test_noise_belongs_to_its_place_in_time():
    head = Head(6, Frames(16, 8), 1)
    rows = torch.randn(2, 40, 6)
    with torch.no_grad():
        whole, part = head(rows, 5)[1], head(rows[:, 10:], 15)[1]
        each = head(rows, torch.tensor([5, 9]))[1]
    torch.testing.assert_close(part[..., 16:-16], whole[..., 10 * 8 + 16 : -16])
    torch.testing.assert_close(each[0], whole[0])
    assert not torch.allclose(each[1], whole[1])


@pytest.mark.parametrize(("bands", "bins"), [(48, 513), (48, 65), (9, 9), (5, 1025)])
def test_lines_share_every_bin_between_two_bands(bands, bins):
    found = lines(bands, bins)
    assert found.shape == (bands, bins)
    torch.testing.assert_close(found.sum(0), torch.ones(bins))
    assert (found > 0).sum(0).max() <= 2
    widths = (found > 0).sum(1)
    assert (widths[1:-1].diff() >= -1).all()  # wider and wider
    assert (found.argmax(1).diff() > 0).all()


def test_levels_of_bands_are_those_of_their_bins():
    found = lines(12, 65)
    torch.testing.assert_close(banded(torch.full((2, 65), -3.0), found), torch.full((2, 12), -3.0))
    ramp = torch.linspace(-1, 1, 65)
    back = banded(ramp, found) @ found
    assert (back - ramp)[2:-8].abs().max() < 0.1


def test_noise_begins_below_the_level_of_the_sound():
    frames = Frames(64, 32)
    head = Head(6, frames, 1)
    sound = torch.randn(1, 32 * 200) * 0.1
    head.start(frames.split(sound)[None])
    with torch.no_grad():
        head.loud.weight.zero_()
        noise = head(torch.randn(1, 200, 6))[1]
    level = float(noise.std() / sound.std())
    assert 0.1 < level < 0.4  # a factor e below the mean logarithm
