"""ConvNeXt blocks: the same as written down plainly, and no further in sight than they say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.nn.convnext import Block, Depthwise, Down, Stack, Up


def plain_depthwise(layer: Depthwise, x: torch.Tensor) -> torch.Tensor:
    """The slow twin: a sum over the kernel, position by position."""
    B, N, C = x.shape
    kernel = layer.weight.shape[-1]
    y = layer.bias.expand(B, N, C).clone()
    for n in range(N):
        for k in range(kernel):
            at = n + k - kernel // 2
            if 0 <= at < N:
                y[:, n] += layer.weight[:, 0, 0, k] * x[:, at]
    return y


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.sampled_from([1, 3, 7]))
def test_depthwise_is_its_slow_twin(B, N, C, kernel):
    layer = Depthwise(C, kernel)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(B, N, C)
    torch.testing.assert_close(layer(x), plain_depthwise(layer, x))


def test_depthwise_wants_an_odd_kernel():
    with pytest.raises(ValueError, match="odd"):
        Depthwise(4, 4)


def test_block_is_its_formula():
    block, x = Block(6, 12, 3, scale=0.7), torch.randn(2, 5, 6)
    y = F.layer_norm(plain_depthwise(block.along, x), (6,), block.norm.weight, block.norm.bias)
    y = F.gelu(y @ block.into.weight.t() + block.into.bias) @ block.back.weight.t() + block.back.bias
    torch.testing.assert_close(block(x), x + 0.7 * y)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_stack_sees_as_far_as_it_says(depth):
    stack, n = Stack(4, 8, depth, kernel=5, scale=1.0), 20
    x = torch.randn(1, 41, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(stack(x)[0, n].sum(), x)
    seen = gradient[0].abs().sum(1).nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (n - stack.reach, n + stack.reach)


def test_steps_between_rates_look_at_their_own_rows_only():
    down, up, x = Down(4, 3), Up(4, 3), torch.randn(2, 12, 4)
    rows, back = down(x), up(down(x))
    assert rows.shape == (2, 4, 4)
    assert back.shape == (2, 12, 4)
    torch.testing.assert_close(rows[:, 1:2], down(x[:, 3:6]))
    torch.testing.assert_close(back[:, 3:6], up(rows[:, 1:2]))
