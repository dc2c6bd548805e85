"""Residual units and convolutions over rows in C (conv_rows.c), with gradients: on a CPU, where there is a C compiler.

Axes: B clips, T time, C channels outside, H channels inside of a unit; float32. Every thread of torch's number takes a
share of the rows of all clips; what they add up they add up by themselves, and these sums are summed at the end.
`nn.conv_stack` has the same unit as products of torch, which is taken elsewhere: the twin.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from otonoha.nn.compiled import NotCompiledError, library

SOURCE = Path(__file__).with_name("conv_rows.c")
SHARE = 512
"""Rows of all clips that are worth a thread of their own."""
_INT, _FLOAT, _AT = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


def can(x: Tensor, *channels: int) -> bool:
    """Whether rows x (B, T, C) are for the C file, where the results have so many channels."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or not x.numel():
        return False
    wide = lanes()
    return wide > 0 and all(n % wide == 0 for n in channels)


@cache
def lanes() -> int:
    """Channels must be multiples of it; 0 where there is no library, or it errs."""
    try:
        return int(_library().conv_lanes()) if right() else 0
    except NotCompiledError:
        return 0


def right() -> bool:
    """Whether a small unit gives what torch gives."""
    with torch.inference_mode(False), torch.enable_grad():
        numbers = torch.sin(torch.arange(6000.0)).split([70 * 16, 32 * 16 * 3, 32, 16 * 32, 16, 2784])[:5]
        shapes = ((1, 70, 16), (32, 16, 3), (32,), (16, 32, 1), (16,))
        given = [n.view(shape).requires_grad_() for n, shape in zip(numbers, shapes)]
        x, w1, b1, w2, b2 = given
        inner = F.conv1d(x.transpose(1, 2).relu(), w1, b1, padding=5, dilation=5).relu()
        exact = x + 0.5 * F.conv1d(inner, w2, b2).transpose(1, 2)
        found = Unit.apply(*given, 5, 0.5)
        sides = [(y.detach(), *torch.autograd.grad(y, given, y.detach().sin())) for y in (exact, found)]
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max())) for a, b in zip(*sides))


@cache
def _library() -> ctypes.CDLL:
    """The compiled C file with the types of its functions."""
    found = library(SOURCE)
    if isinstance(found, NotCompiledError):
        raise found
    return typed(found)


def typed(found: ctypes.CDLL) -> ctypes.CDLL:
    """With the types of its functions."""
    found.conv_lanes.restype = found.conv_room.restype = _INT
    found.conv_room.argtypes = (_INT,) * 2
    for name, types in {
        "unit_forward": (*(_AT,) * 5, _FLOAT, *(_INT,) * 7, *(_AT,) * 3),
        "unit_backward_inner": (*(_AT,) * 3, *(_INT,) * 6, _AT),
        "unit_backward": (*(_AT,) * 5, *(_INT,) * 7, *(_AT,) * 6),
        "taps_forward": (*(_AT,) * 3, *(_INT,) * 10, _AT, _INT, _AT),
        "taps_backward": (*(_AT,) * 2, *(_INT,) * 10, *(_AT,) * 3),
    }.items():
        function = getattr(found, name)
        function.restype, function.argtypes = None, types
    return found


class Unit(torch.autograd.Function):
    """x + scale (W2 relu(W1 relu(x) + b1) + b2) of rows (B, T, C); w1 (H, C, 3), w2 (C, H, 1)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilation: int, scale: float
    ) -> Tensor:
        """As the class says."""
        v = x.new_empty(*x.shape[:2], len(w1))
        ctx.save_for_backward(x, v, w1, w2)
        ctx.dilation, ctx.scale = dilation, scale
        return _unit(x, w1, b1, w2, b2, dilation, scale, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tensors."""
        x, v, w1, w2 = ctx.saved_tensors
        (B, T, C), H, c_file, g = x.shape, len(w1), _library(), g.contiguous()
        turned = w1.permute(2, 0, 1).flip(0).contiguous()
        scaled, gv, gx = w2[..., 0] * ctx.scale, torch.empty_like(v), torch.empty_like(x)
        before, given = _at(g, v, scaled), _at(x, v, g, gv, turned)

        def inner(first: int, last: int, room: Tensor) -> None:
            c_file.unit_backward_inner(*before, B, T, C, H, first, last, gv.data_ptr())

        def share(first: int, last: int, room: Tensor) -> list[Tensor]:
            sums = [x.new_zeros(shape) for shape in ((3, C, H), (H,), (H, C), (C,))]
            c_file.unit_backward(*given, B, T, C, H, ctx.dilation, first, last, *_at(gx, *sums, room))
            return sums

        _shared(inner, B, T, 1, 1)  # a row of gx depends on rows of gv of another share
        gw1, gb1, gw2, gb2 = _summed(_shared(share, B, T, 3, max(C, H)))
        gw2 = gw2.t().mul_(ctx.scale)[..., None]
        return gx, gw1.permute(2, 1, 0), gb1, gw2, gb2.mul_(ctx.scale), None, None


def unit(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilation: int, scale: float) -> Tensor:
    """The same, which keeps nothing where no gradient will be asked for."""
    if torch.is_grad_enabled():
        return Unit.apply(x, w1, b1, w2, b2, dilation, scale)
    return _unit(x, w1, b1, w2, b2, dilation, scale, None)


def _unit(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    dilation: int,
    scale: float,
    v: Tensor | None,
) -> Tensor:
    """The unit; its inner values go to v (B, T, H), if there is one."""
    (B, T, C), H, c_file = x.shape, len(w1), _library()
    taps, outer, y = w1.permute(2, 1, 0).contiguous(), w2[..., 0].t().contiguous(), torch.empty_like(x)
    given, made = _at(x, taps, b1, outer, b2), _at(v, y)

    def share(first: int, last: int, room: Tensor) -> None:
        c_file.unit_forward(*given, scale, B, T, C, H, dilation, first, last, *made, *_at(room))

    _shared(share, B, T, 3, max(C, H))
    return y


class Conv(torch.autograd.Function):
    """A convolution of rows (B, T, C) -> (B, T / stride, N); weight (N, C, K), where K is 3, or 2 stride."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        """As the class says."""
        ctx.save_for_backward(x, weight)
        ctx.how = (stride, padding)
        return _down(x, weight.permute(2, 1, 0), bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tensors."""
        (x, weight), (stride, padding), g = ctx.saved_tensors, ctx.how, g.contiguous()
        gx = None
        if ctx.needs_input_grad[0]:
            back = weight.permute(2, 0, 1)
            gx = _up(g, back, None, stride) if stride > 1 else _down(g, back.flip(0), None, 1, padding)
        gw, gb = _gradient(x, g, weight.shape[2], stride, padding)
        return gx, gw.permute(2, 1, 0), gb, None, None


class Up(torch.autograd.Function):
    """A transposed convolution of rows (B, T, C) -> (B, stride T, N); weight (C, N, 2 stride), padding stride / 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """As the class says."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _up(x, weight.permute(2, 0, 1), bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tensors."""
        (x, weight), s, g = ctx.saved_tensors, ctx.stride, g.contiguous()
        gx = _down(g, weight.permute(2, 1, 0), None, s, s // 2)
        gw, _ = _gradient(g, x, 2 * s, s, s // 2)
        return gx, gw.permute(2, 1, 0), _total(g), None


def _down(x: Tensor, taps: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """y[t] = b + Σ_k x[stride t + k - padding] taps[k]; taps (K, C, N)."""
    (B, T, C), (K, _, N), c_file = x.shape, taps.shape, _library()
    w, y, Q = taps.contiguous(), x.new_empty(B, T // stride, N), T // stride
    given, sizes = _at(x, w, bias), (B, T, C, Q, N, K, -padding, stride)

    def share(first: int, last: int, room: Tensor) -> None:
        c_file.taps_forward(*given, *sizes, first, last, y.data_ptr(), N, room.data_ptr())

    _shared(share, B, Q, K, C)
    return y


def _up(x: Tensor, taps: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Its transpose, phase by phase: y[s q + r] has two taps; taps (2 s, C, N)."""
    (B, T, C), N, s, c_file = x.shape, taps.shape[2], stride, _library()
    y = x.new_empty(B, T, s, N)
    pairs = [torch.cat([taps[r + s], taps[r]]) for r in ((phase + s // 2) % s for phase in range(s))]

    def share(first: int, last: int, room: Tensor) -> None:
        for phase, w in enumerate(pairs):
            sizes = (B, T, C, T, N, 2, (phase + s // 2) // s - 1, 1)
            to = (y[0, 0, phase].data_ptr(), s * N, room.data_ptr())
            c_file.taps_forward(*_at(x, w, bias), *sizes, first, last, *to)

    _shared(share, B, T, 2, C)
    return y.flatten(1, 2)


def _gradient(x: Tensor, g: Tensor, K: int, stride: int, padding: int) -> Sequence[Tensor]:
    """Gradients (K, C, N) of the taps of `_down`, and (N,) of its bias; g (B, Q, N)."""
    (B, T, C), (_, Q, N), c_file = x.shape, g.shape, _library()

    def share(first: int, last: int, room: Tensor) -> tuple[Tensor, Tensor]:
        gw, gb = x.new_zeros(K, C, N), x.new_zeros(N)
        sizes = (B, T, C, Q, N, K, -padding, stride)
        c_file.taps_backward(*_at(x, g), *sizes, first, last, *_at(gw, gb, room))
        return gw, gb

    return _summed(_shared(share, B, Q, K, C))


def _at(*tensors: Tensor | None) -> list[int | None]:
    """Where they are in memory; None for what is not there."""
    return [None if t is None else t.data_ptr() for t in tensors]


def _total(g: Tensor) -> Tensor:
    """(B, T, N) -> (N,) as a product, which is several times faster than a sum over the leading axes."""
    flat = g.flatten(0, 1)
    return torch.mv(flat.t(), flat.new_ones(len(flat)))


def _shared(work: Callable[[int, int, Tensor], Any], B: int, T: int, taps: int, C: int) -> list[Any]:
    """What work(first row, last row, room) gives for all shares of the rows."""
    n = max(1, min(torch.get_num_threads(), B * T // SHARE))
    size, edges = _library().conv_room(taps, C), [T * i // n for i in range(n + 1)]
    jobs = [(first, last, torch.empty(size)) for first, last in itertools.pairwise(edges)]
    if n == 1:
        return [work(*jobs[0])]
    return list(_threads(n).map(lambda job: work(*job), jobs))


def _summed(shares: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
    """The sums of what the shares give, one by one."""
    return shares[0] if len(shares) == 1 else [torch.stack(parts).sum(0) for parts in zip(*shares)]


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, "conv")
