"""Rows in C: equal to PyTorch's own convolutions, by every form of the loops, by one thread and by two."""

import ctypes

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from otonoha.nn import compiled, conv_native
from otonoha.nn.conv_stack import ResidualStack, down, run, up

pytestmark = pytest.mark.skipif(not conv_native.lanes(), reason="there is no C compiler")
torch.set_num_threads(1)
QUICK = settings(max_examples=10, deadline=None, derandomize=True)


def tower(width, wide, stride, growth, hidden, scale):
    """Down, along and up again; the first and the last layer have one channel outside."""
    stack = {"growth": growth, "hidden": hidden, "scale": scale}
    modules = [
        nn.Sequential(down(1, width, stride), ResidualStack(width, 3, **stack)),
        nn.Conv1d(width, wide, 3, padding=1),
        nn.Sequential(down(wide, width, stride), ResidualStack(width, 2, reverse=True, **stack)),
        nn.Sequential(up(width, wide, stride), nn.Conv1d(wide, wide, 3, padding=1)),
        nn.Sequential(up(wide, width, stride), nn.Conv1d(width, 1, 3, padding=1)),
    ]
    return nn.ModuleList(modules)


def agrees(net, x):
    """Values and all gradients are those of PyTorch's convolutions, within the rounding of float32."""
    found = []
    for plain in (True, False):
        y = run(list(net), x, plain=plain)
        found.append([y, *torch.autograd.grad(y, list(net.parameters()), torch.cos(y.detach()))])
    for plain, fast in zip(*found, strict=True):
        size = float(plain.detach().abs().max())
        torch.testing.assert_close(fast, plain, rtol=0, atol=2e-5 * size + 1e-7)


@QUICK
@given(
    vectors=st.integers(1, 5),
    wide=st.integers(1, 5),
    stride=st.sampled_from([2, 4]),
    growth=st.integers(1, 9),
    hidden=st.sampled_from([1.0, 2.0]),
    scale=st.sampled_from([1.0, 0.3]),
    clips=st.integers(1, 3),
    length=st.integers(1, 40),
)
def test_the_tower_equals_the_plain_one(vectors, wide, stride, growth, hidden, scale, clips, length):
    """Any number of vectors of channels, tiles that are full or not, dilations longer than the signal."""
    torch.manual_seed(length)
    lanes = conv_native.lanes()
    net = tower(vectors * lanes, wide * lanes, stride, growth, hidden, scale)
    agrees(net, torch.randn(clips, 1, stride * stride * length))


def test_two_threads_share_the_rows():
    torch.manual_seed(0)
    net, x = tower(32, 16, 2, 3, 1.0, 1.0), torch.randn(2, 1, 4800)
    try:
        torch.set_num_threads(2)
        agrees(net, x)
    finally:
        torch.set_num_threads(1)


def test_nothing_is_kept_without_gradients():
    net, x = tower(16, 32, 2, 3, 1.0, 1.0), torch.randn(1, 1, 400)
    with torch.inference_mode():
        torch.testing.assert_close(run(list(net), x), run(list(net), x, plain=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("special", ["-mavx2", ""])
def test_every_form_of_the_loops(special, monkeypatch, tmp_path):
    """As compiled for other processors."""
    if special.removeprefix("-m") not in ("", *compiled._processor().split()):
        pytest.skip(f"this processor does not know {special}")
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "FOR_THIS_PROCESSOR", ((special,),) if special else ((),))
    other = conv_native.typed(ctypes.CDLL(str(compiled._built(conv_native.SOURCE))))
    monkeypatch.setattr(conv_native, "_library", lambda: other)
    assert other.conv_lanes() == {"-mavx2": 8, "": 4}.get(special)
    torch.manual_seed(1)
    agrees(tower(32, 16, 2, 3, 1.0, 0.5), torch.randn(2, 1, 200))


def test_what_the_file_cannot_do_is_done_elsewhere(monkeypatch):
    rows = torch.zeros(1, 9, 16)
    assert conv_native.can(rows, 16)
    assert not conv_native.can(rows, 24 if conv_native.lanes() == 16 else 18)
    assert not conv_native.can(rows.double(), 16)
    assert not conv_native.can(rows[:, :0], 16)
    monkeypatch.setattr(conv_native, "lanes", lambda: 0)
    assert not conv_native.can(rows, 16)
    agrees(tower(16, 16, 2, 3, 1.0, 1.0), torch.randn(1, 1, 64))


def test_a_library_that_errs_is_not_used(monkeypatch):
    assert conv_native.right()
    monkeypatch.setattr(torch, "allclose", lambda *how, **more: False)
    assert not conv_native.right()


def test_without_a_compiler(monkeypatch):
    def none():
        raise compiled.NotCompiledError("no C compiler")

    monkeypatch.setattr(conv_native, "_library", none)
    assert conv_native.lanes.__wrapped__() == 0
