"""Convolutions as matrix products are the convolutions of torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from otonoha.models.musegan.layers import (
    BAR,
    BARS,
    PHRASE,
    PITCHES,
    STEPS,
    Block,
    Cell,
    Grow,
    Norm,
    Shrink,
    fold,
    growths,
    leaky,
    linear,
    octaves,
    scaled,
    unfold,
)

torch.set_num_threads(1)


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_folding_and_unfolding_are_inverse_and_the_finest_cell_is_outermost():
    cells = [Cell(PITCHES, 3), Cell(STEPS, 2), Cell(PITCHES, 5), Cell(BARS, 4), Cell(STEPS, 7)]
    x = maps(2, 1, 6, 4, 14, 15)
    folded = fold(x, cells)
    assert folded.shape == (1, 6, 4 * 14 * 15 * 2)
    assert torch.equal(unfold(folded, cells), x)
    # pitch 7 is fine cell 1 of coarse cell 2; step 9 is fine cell 1 of coarse cell 4; bar 3; batch 1
    index = (((1 * 2 + 1) * 5 + 2) * 4 + 3) * 7 + 4
    assert folded[0, 5, index * 2 + 1] == x[1, 0, 5, 3, 9, 7]


@pytest.mark.parametrize("axis", PHRASE)
def test_growing_is_a_transposed_convolution(axis):
    layer = Grow(2, 5, 4, axis, 3).double()
    with torch.no_grad():
        layer.bias.normal_()
    cells = [Cell(axis, 1), Cell(BARS, 2), Cell(STEPS, 3), Cell(PITCHES, 2)]
    x = maps(6, 2, 5, 2, 3, 2)
    grown = unfold(layer(fold(x, cells)), [Cell(axis, 3), *cells[1:]])
    kernel = [3 if a == axis else 1 for a in PHRASE]
    for g in range(2):
        torchs = nn.ConvTranspose3d(5, 4, tuple(kernel), tuple(kernel)).double()
        torchs.load_state_dict({"weight": layer.kernels(g), "bias": layer.bias[g]})
        torch.testing.assert_close(grown[:, g], torchs(x[:, g]))


@pytest.mark.parametrize("axis", BAR)
def test_shrinking_is_a_convolution(axis):
    layer = Shrink(2, 5, 4, axis, 3, axes=BAR).double()
    with torch.no_grad():
        layer.bias.normal_()
    cells = [Cell(axis, 3), Cell(STEPS, 2), Cell(PITCHES, 4)]
    x = maps(6, 2, 5, *[3 * n if a == axis else n for a, n in zip(BAR, (2, 4))])
    shrunk = unfold(layer(fold(x, cells, BAR)), cells[1:], BAR)
    kernel = [3 if a == axis else 1 for a in BAR]
    for g in range(2):
        torchs = nn.Conv2d(5, 4, tuple(kernel), tuple(kernel)).double()
        torchs.load_state_dict({"weight": layer.kernels(g), "bias": layer.bias[g]})
        torch.testing.assert_close(shrunk[:, g], torchs(x[:, g]))


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(4, 4, 2), (2, 3, 2), (5, 3, 2), (6, 4, 1), (3, 2, 2)]
)
def test_same_padding_is_that_of_keras(size, kernel, stride):
    layer = Shrink(1, 3, 2, STEPS, kernel, stride=stride, size=size, same=True, axes=(STEPS,)).double()
    x = maps(5, 1, 3, size)
    out = layer(fold(x, [Cell(STEPS, size)], (STEPS,)))
    length = -(-size // stride)
    assert out.shape == (1, 2, length * 5)
    # the padding of Keras: as little as is needed, the odd zero behind
    zeros = max((length - 1) * stride + kernel - size, 0)
    padded = F.pad(x[:, 0], (zeros // 2, zeros - zeros // 2))
    expected = F.conv1d(padded, layer.weight[0], layer.bias[0], stride)
    torch.testing.assert_close(unfold(out, [Cell(STEPS, length)], (STEPS,))[:, 0], expected)
    torch.testing.assert_close(layer.plain(x[:, 0], 0), expected)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(3, 3, 2), (2, 3, 1), (4, 2, 1), (3, 1, 1), (3, 2, 3)]
)
def test_growing_with_overlap_or_gaps(size, kernel, stride):
    layer = Grow(2, 3, 2, PITCHES, kernel, stride=stride, size=size, axes=(PITCHES,)).double()
    x = maps(5, 2, 3, size)
    out = layer(fold(x, [Cell(PITCHES, size)], (PITCHES,)))
    length = (size - 1) * stride + kernel
    for g in range(2):
        expected = F.conv_transpose1d(x[:, g], layer.weight[g], layer.bias[g], stride)
        torch.testing.assert_close(unfold(out, [Cell(PITCHES, length)], (PITCHES,))[:, g], expected)


def test_normalisation_is_that_of_keras():
    x = 3 * maps(2, 4, 50) + 1
    norm = Norm(2, 4, linear).double()
    out = norm(x)
    mean, var = x.mean(2), x.var(2, correction=0)
    torch.testing.assert_close(out, (x - mean[..., None]) / (var[..., None] + 1e-3).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)  # Keras: momentum 0.9
    norm.eval()
    assert not torch.allclose(norm(x), out)


def test_fresh_weights():
    torch.manual_seed(0)
    block = Block(Grow(4, 64, 64, STEPS, 8), linear, norm=True)
    assert block.layer.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert block.layer.weight.mean().abs() < 1e-3
    assert not block.layer.bias.any()


@pytest.mark.parametrize("plain", [False, True])
def test_a_penalty_sends_nothing_back_through_the_slopes_of_leaky_relu(plain):
    x, weight = maps(6, 4).requires_grad_(True), maps(5, 6).requires_grad_(True)
    bias = torch.zeros(5, 1, dtype=torch.float64, requires_grad=True)
    out = leaky(0.3, plain=plain)(weight @ x + bias)
    torch.testing.assert_close(out, F.leaky_relu(weight @ x, 0.3))
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    slope.square().sum().backward()
    steep = 0.3 + 0.7 * (out > 0).double()
    torch.testing.assert_close(weight.grad, 2 * steep @ (weight.T @ steep).T)
    assert (bias.grad is None) == (not plain)  # torch's LeakyReLU sends zeros all the way


def test_how_steps_grow():
    assert growths(16, 3) == [2, 2, 2, 2]
    assert growths(96, 4) == [2, 2, 2, 2, 2, 3]
    assert growths(12, 3) == [2, 2, 3]
    assert growths(20, 3) == [5, 2, 2]
    assert growths(64, 3) == [8, 2, 2, 2]


@pytest.mark.parametrize("steps", [0, 2, 14, 15])
def test_steps_that_cannot_grow_are_refused(steps):
    with pytest.raises(ValueError, match=f"a multiple of 4 steps.*not {steps}"):
        growths(steps, 3)


def test_pitches_come_in_octaves():
    assert octaves(84) == 7
    with pytest.raises(ValueError, match=r"36 or 48 pitches .* not 46"):
        octaves(46)
    with pytest.raises(ValueError, match=r"12 pitches .* not 5"):
        octaves(5)


def test_widths_scale_and_stay_positive():
    assert scaled(0.5, 1024, 3) == [512, 2]
    assert scaled(0.001, 64) == [1]
    with pytest.raises(ValueError, match="more than 0; got 0"):
        scaled(0, 64)
