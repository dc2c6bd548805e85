"""Stacks of convolutions: the fast form equals PyTorch's own, and `needs` is the exact reach of an output."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from otonoha.nn.conv_stack import Residual, ResidualStack, down, needs, run, up

torch.set_num_threads(1)
QUICK = settings(max_examples=20, deadline=None, derandomize=True)


def tower(inside, width, outside, stride, depth, growth, hidden, scale):
    """Down, along and up again, with every kind of layer."""
    stack = {"growth": growth, "hidden": hidden, "scale": scale}
    modules = [
        nn.Sequential(down(inside, width, stride), ResidualStack(width, depth, **stack)),
        nn.Conv1d(width, width + 1, 3, padding=1),
        ResidualStack(width + 1, depth, cycle=2, reverse=True, **stack),
        nn.Sequential(up(width + 1, width, stride), nn.Conv1d(width, outside, 3, padding=1)),
    ]
    return nn.ModuleList(modules).double()


@QUICK
@given(
    inside=st.integers(1, 2),
    width=st.integers(2, 7),
    outside=st.integers(1, 6),
    stride=st.sampled_from([2, 4]),
    depth=st.integers(1, 3),
    growth=st.integers(1, 5),
    hidden=st.sampled_from([0.5, 1.0, 2.0]),
    scale=st.sampled_from([1.0, 0.3]),
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
)
def test_the_fast_form_equals_the_plain_one(
    inside, width, outside, stride, depth, growth, hidden, scale, batch, length
):
    """Values and all gradients, also where a dilation is longer than the signal."""
    torch.manual_seed(length)
    net = tower(inside, width, outside, stride, depth, growth, hidden, scale)
    x = torch.randn(batch, inside, stride * length, dtype=torch.double, requires_grad=True)
    found = []
    for plain in (True, False):
        y = run(list(net), x, plain=plain)
        g = torch.linspace(-1, 1, y.numel(), dtype=torch.double).view_as(y)
        found.append([y, *torch.autograd.grad(y, [x, *net.parameters()], g)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_nothing_is_kept_without_gradients():
    net = tower(1, 4, 1, 2, 2, 3, 1.0, 1.0).float()
    with torch.inference_mode():
        x = torch.randn(1, 1, 32)
        torch.testing.assert_close(run(list(net), x), run(list(net), x, plain=True), rtol=1e-5, atol=1e-6)


def test_dilations_grow_begin_again_and_are_reversed():
    def dilations(**how):
        stack = ResidualStack(2, 5, growth=3, **how)
        return [unit.model[1].dilation[0] for unit in stack.model]

    assert dilations() == [1, 3, 9, 27, 81]
    assert dilations(cycle=2) == [1, 3, 1, 3, 1]
    assert dilations(reverse=True) == [81, 27, 9, 3, 1]
    assert Residual(4, 2, 1).model[1].out_channels == 2


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("part", ["down", "up", "both"])
def test_needs_is_the_exact_reach(stride, part):
    """An independent twin: which inputs does the gradient of an output reach?"""
    torch.manual_seed(stride)
    below = [down(1, 3, stride), ResidualStack(3, 2, growth=3), nn.Conv1d(3, 3, 3, padding=1)]
    above = [nn.Conv1d(3, 3, 3, padding=1), ResidualStack(3, 2, growth=2), up(3, 1, stride)]
    modules = {"down": below, "up": above, "both": [*below, *above]}[part]
    for p in nn.ModuleList(modules).parameters():
        nn.init.uniform_(p, 0.1, 1.0)  # all positive: nothing cancels, no ReLU closes
    x = torch.ones(1, 3 if part == "up" else 1, 64 * stride, requires_grad=True)
    y = run(modules, x)[0].sum(0)
    middle = len(y) // 2
    for first, last in ((middle, middle), (middle, middle + 3), (middle + 1, middle + 6)):
        (g,) = torch.autograd.grad(y[first : last + 1].sum(), x, retain_graph=True)
        reached = g[0].sum(0).nonzero()[:, 0]
        assert needs(modules, first, last) == (int(reached[0]), int(reached[-1]))
