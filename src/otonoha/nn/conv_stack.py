"""Stacks of one-dimensional convolutions with dilated residual units, twice: as PyTorch has them, and fast.

The module trees below are plain (`nn.Sequential` of `nn.Conv1d` …; axes B batch, C channels, T time): what they compute
is what PyTorch computes. `run` carries out the same tree in time-major layout (B, T, C), where every convolution is a
few matrix products of whole rows:

    y[t] = W1 x[t] + W0 x[t-d] + W2 x[t+d]       kernel 3, dilation d: three products on shifted rows, nothing is copied
    y[t] = (W0 W1) q[t] + (W2 W3) q[t+1]         kernel 2s, stride s: q[t] are s neighbouring samples side by side
    y[s t …] = V0 x[t] + V1 x[t-1]               its transpose

A transposed convolution and the convolution to few channels after it, both linear, are carried out as one: the wide
signal at the full rate is never there.

Where there is a C compiler, and channels fill whole vectors, this is done tile by tile in C (conv_native.py): a tile
stays in a core's first cache from the first ReLU to the last sum, and its products run at the rate of the processor.
Elsewhere they are products of torch, in which tiles brought nothing. On other devices than the CPU, and under
autocast, the plain tree is taken.

`needs` says which inputs an output depends on, so that long signals can be cut without an error.
Residual units: van den Oord et al. 2016 (WaveNet), Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from otonoha.nn import conv_native as native

FEW = 4
"""Up to so many output channels, all taps of a kernel are one product whose columns are shifted afterwards."""


class Residual(nn.Module):
    """x + scale · (ReLU, kernel 3 with dilation, ReLU, kernel 1)(x)."""

    def __init__(self, width: int, hidden: int, dilation: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(hidden, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return x + self.scale * self.model(x)


class ResidualStack(nn.Module):
    """Residual units whose dilations grow, or shrink when `reverse`."""

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        growth: int,
        cycle: int | None = None,
        hidden: float = 1.0,
        scale: float = 1.0,
        reverse: bool = False,
    ) -> None:
        super().__init__()
        dilations = [growth ** (d % cycle if cycle else d) for d in range(depth)]
        units = [Residual(width, int(hidden * width), d, scale) for d in dilations]
        self.model = nn.Sequential(*(reversed(units) if reverse else units))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return self.model(x)


def down(inside: int, outside: int, stride: int) -> nn.Conv1d:
    """Kernel of two strides: T -> T / stride."""
    return nn.Conv1d(inside, outside, 2 * stride, stride, stride // 2)


def up(inside: int, outside: int, stride: int) -> nn.ConvTranspose1d:
    """Its transpose: T -> T · stride."""
    return nn.ConvTranspose1d(inside, outside, 2 * stride, stride, stride // 2)


def steps(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """The convolutions and residual units of module trees, in the order in which they act."""
    found: list[nn.Module] = []
    for module in modules:
        if isinstance(module, nn.Sequential):
            found += steps(list(module))
        elif isinstance(module, ResidualStack):
            found += list(module.model)
        else:
            found.append(module)
    return found


def run(modules: Sequence[nn.Module], x: Tensor, *, plain: bool = False) -> Tensor:
    """(B, C, T) through module trees, one after the other; `plain` forbids the fast form."""
    if plain or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        for module in modules:
            x = module(x)
        return x
    rows, todo = x.transpose(1, 2).contiguous(), steps(modules)
    while todo:
        step, *todo = todo
        if todo and isinstance(step, nn.ConvTranspose1d) and _is_few(todo[0]):
            last, *todo = todo
            rows = _up_few_rows(rows, step, last)
        else:
            rows = _by_rows(step, rows)
    return rows.transpose(1, 2)


def needs(modules: Sequence[nn.Module], first: int, last: int) -> tuple[int, int]:
    """The first and last input that the outputs first … last depend on (they may lie outside of the signal)."""
    for step in reversed(steps(modules)):
        conv: Any = step.model[1] if isinstance(step, Residual) else step
        kernel, stride, pad, dilation = (
            v[0] for v in (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        )
        if isinstance(conv, nn.ConvTranspose1d):
            first, last = -((kernel - 1 - pad - first) // stride), (last + pad) // stride
        else:
            first, last = first * stride - pad, last * stride - pad + (kernel - 1) * dilation
    return first, last


# -- the fast form: x is (B, T, C), contiguous ---------------------------------------------------------------


def _by_rows(step: Any, x: Tensor) -> Tensor:
    if isinstance(step, Residual):
        inner: Any = step.model[1]
        outer: Any = step.model[3]
        weights = (inner.weight, inner.bias, outer.weight, outer.bias)
        unit = native.unit if native.can(x, *inner.weight.shape[:2]) else _ResidualRows.apply
        return unit(x, *weights, inner.dilation[0], step.scale)
    fast = native.can(x, step.out_channels, *([step.in_channels] if x.requires_grad else []))
    if isinstance(step, nn.ConvTranspose1d):
        if fast:
            return native.Up.apply(x, step.weight, step.bias, step.stride[0])
        return _up_rows(x, step, step.weight, step.bias)
    assert isinstance(step, nn.Conv1d)
    if fast:
        return native.Conv.apply(x, step.weight, step.bias, step.stride[0], step.padding[0])
    if step.stride[0] > 1:
        return _down_rows(x, step)
    if _is_few(step):
        return _gathered(x @ _columns(step), step)
    return _ConvRows.apply(x, step.weight, step.bias)


def _taps(weight: Tensor) -> list[Tensor]:
    """(out, in, k) -> k matrices (in, out)."""
    return [w.contiguous() for w in weight.permute(2, 1, 0)]


def _shifted(x: Tensor, taps: Sequence[Tensor], dilation: int, bias: Tensor | None = None) -> Tensor:
    """A kernel of three taps over the rows of x: (B, T, in) -> (B, T, out)."""
    d, T = dilation, x.shape[1]
    found = x.new_empty(x.shape[0], T, taps[1].shape[1])
    for row, y in zip(x, found):
        if bias is None:
            torch.mm(row, taps[1], out=y)
        else:
            torch.addmm(bias, row, taps[1], out=y)
        if d < T:
            y[d:].addmm_(row[:-d], taps[0])
            y[:-d].addmm_(row[d:], taps[2])
    return found


def _tap_gradients(x: Tensor, g: Tensor, dilation: int) -> Tensor:
    """Gradient of the kernel (out, in, 3), where g is that of the output."""
    d, T = dilation, x.shape[1]
    found = x.new_zeros(3, g.shape[2], x.shape[2])
    for row, up in zip(x, g):
        found[1].addmm_(up.t(), row)
        if d < T:
            found[0].addmm_(up[d:].t(), row[:-d])
            found[2].addmm_(up[:-d].t(), row[d:])
    return found.permute(1, 2, 0)


def _turned(weight: Tensor) -> list[Tensor]:
    """The taps of the transposed convolution, for the gradient of the input."""
    return [w.contiguous() for w in weight.permute(2, 0, 1).flip(0)]


def _sum_of_rows(g: Tensor) -> Tensor:
    """(B, T, C) -> (C,) as a product, which is several times faster than a sum over the leading axes."""
    flat = g.flatten(0, 1)
    return torch.mv(flat.t(), flat.new_ones(len(flat)))


class _ConvRows(torch.autograd.Function):
    """Kernel 3 without dilation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _shifted(x, _taps(weight), 1, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        g = g.contiguous()
        back = _shifted(g, _turned(weight), 1) if ctx.needs_input_grad[0] else None
        return back, _tap_gradients(x, g, 1), _sum_of_rows(g)


class _ResidualRows(torch.autograd.Function):
    """A residual unit as one step: only two arrays are kept for its gradient, and most work is done in place."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilation: int, scale: float
    ) -> Tensor:
        a = x.relu()
        v = _shifted(a, _taps(w1), dilation, b1).relu_()
        y = torch.addmm(b2, v.flatten(0, 1), w2[..., 0].t()).view_as(x)
        ctx.save_for_backward(a, v, w1, w2)
        ctx.dilation, ctx.scale = dilation, scale
        return y.add_(x) if scale == 1.0 else torch.add(x, y, alpha=scale, out=y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (a, v, w1, w2), scale = ctx.saved_tensors, ctx.scale
        g = g.contiguous()
        flat, masked = g.flatten(0, 1), torch.ops.aten.threshold_backward.grad_input
        gw2 = torch.mm(flat.t(), v.flatten(0, 1)).mul_(scale)[..., None]
        gv = torch.mm(flat, w2[..., 0] * scale).view_as(v)
        masked(gv, v, 0, grad_input=gv)
        gw1 = _tap_gradients(a, gv, ctx.dilation)
        gx = _shifted(gv, _turned(w1), ctx.dilation)
        masked(gx, a, 0, grad_input=gx).add_(g)
        return gx, gw1, _sum_of_rows(gv), gw2, _sum_of_rows(g).mul_(scale), None, None


def _is_few(step: nn.Module) -> bool:
    """A convolution of kernel 3 to few channels."""
    return isinstance(step, nn.Conv1d) and step.stride[0] == 1 and step.out_channels <= FEW


def _columns(conv: Any) -> Tensor:
    """(in, 3 out): all taps of a kernel of 3 side by side."""
    return conv.weight.permute(1, 2, 0).flatten(1)


def _gathered(parts: Tensor, conv: Any) -> Tensor:
    """What all taps say, (B, T, 3 out), moved to where it belongs and added up: x is read once."""
    parts = parts.unflatten(-1, (3, -1))
    before = F.pad(parts[:, :-1, 0], (0, 0, 1, 0))
    after = F.pad(parts[:, 1:, 2], (0, 0, 0, 1))
    return parts[:, :, 1] + before + after + conv.bias


def _down_rows(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Kernel 2s, stride s, padding s/2."""
    s = conv.stride[0]
    q = F.pad(x, (0, 0, s // 2, s // 2)).unflatten(1, (-1, s)).flatten(2)  # (B, T / s + 1, s C)
    w = conv.weight.permute(2, 1, 0)  # (k, in, out)
    first, second = w[:s].flatten(0, 1), w[s:].flatten(0, 1)
    return _AddRows.apply(q, first, second, conv.bias)


class _AddRows(torch.autograd.Function):
    """y[t] = A q[t] + B q[t + 1] + b."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, first: Tensor, second: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(q, first, second)
        y = q.new_empty(q.shape[0], q.shape[1] - 1, first.shape[1])
        for row, to in zip(q, y):
            torch.addmm(bias, row[:-1], first, out=to)
            to.addmm_(row[1:], second)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, first, second = ctx.saved_tensors
        g = g.contiguous()
        gq = torch.zeros_like(q) if ctx.needs_input_grad[0] else None
        ga, gb = torch.zeros_like(first), torch.zeros_like(second)
        for at, (row, up) in enumerate(zip(q, g)):
            ga.addmm_(row[:-1].t(), up)
            gb.addmm_(row[1:].t(), up)
            if gq is not None:
                gq[at, :-1].addmm_(up, first.t())
                gq[at, 1:].addmm_(up, second.t())
        return gq, ga, gb, _sum_of_rows(g)


def _up_rows(x: Tensor, conv: Any, weight: Tensor, bias: Any) -> Tensor:
    """Kernel 2s, stride s, padding s/2, transposed; `weight` (in, out, 2s)."""
    s, p = conv.stride[0], conv.padding[0]
    w = weight.permute(0, 2, 1)  # (in, k, out)
    padded = F.pad(x, (0, 0, 1, 1))
    y = _AddRows.apply(padded, w[:, s:].flatten(1), w[:, :s].flatten(1), bias.repeat(s))
    return y.unflatten(2, (s, -1)).flatten(1, 2)[:, p:-p].contiguous()


def _up_few_rows(x: Tensor, upper: Any, conv: Any) -> Tensor:
    """A transposed convolution, then kernel 3 to few channels."""
    columns = _columns(conv)
    weight = torch.einsum("idk,dj->ijk", upper.weight, columns)
    return _gathered(_up_rows(x, upper, weight, upper.bias @ columns), conv)
