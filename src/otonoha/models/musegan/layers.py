"""Convolutions along one axis for a bank of networks, as matrix products or as plain convolutions.

Where a kernel is as long as its stride, a (transposed) convolution is a matrix product and a reshape. It costs
nothing but the product if the cells of a feature map lie in memory as the layers need them: finest first, the
batch last. So there are two layouts:

    map      (B, G, C, axes …)       as convolutions want it; axes such as (bars, steps, pitches)
    folded   (G, C, cells …, B)      an axis of 84 pitches grown by 7, then by 12, is two cells: 12, 7

G members of a bank (one network for each track; 1 for a critic), C channels, L = cells · B. `Grow` makes the
channels' products a new outermost cell, `Shrink` eats the outermost cell: (G, C, k, L) is (G, C·k, L). Weights
are those of torch's convolutions with a G in front, so both forms share them. They begin as N(0, 0.02).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BARS, STEPS, PITCHES = "bars", "steps", "pitches"
PHRASE = (BARS, STEPS, PITCHES)
"""Axes of a map of whole phrases."""
BAR = (STEPS, PITCHES)
"""Axes of a map of single bars."""
INIT = 0.02
"""Standard deviation of fresh weights."""
KERAS_EPSILON = 1e-3
KERAS_MOMENTUM = 0.1
"""Share of the new batch in the running statistics; what Keras calls momentum 0.9."""
Activation = Callable[[Tensor], Tensor]


class Cell(NamedTuple):
    """A part of an axis in the folded layout."""

    axis: str
    size: int


class Axial(nn.Module):
    """What `Grow` and `Shrink` share: G kernels along one of the axes, and their plain form.

    `axes` are those of the map in the plain form. `size` is the length of the axis; it is needed only where kernel
    and stride differ.
    """

    def __init__(
        self,
        bank: int,
        inner: tuple[int, int],
        axis: str,
        kernel: int,
        *,
        outputs: int,
        axes: Sequence[str] = PHRASE,
        stride: int | None = None,
        size: int = 0,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.axis, self.kernel, self.axes = axis, kernel, axes
        self.stride = kernel if stride is None else stride
        self.size, self.same = size, same
        self.weight = nn.Parameter(torch.randn(bank, *inner, kernel) * INIT)
        self.bias = nn.Parameter(torch.zeros(bank, outputs))

    @property
    def meets(self) -> bool:
        """Whether the kernels meet without overlap or gap."""
        return self.kernel == self.stride and not self.same

    def along(self, length: int) -> list[int]:
        """`length` on the axis of this layer, 1 on the others."""
        return [length if a == self.axis else 1 for a in self.axes]

    def kernels(self, member: int) -> Tensor:
        """The weight of one member, as torch's convolutions take it."""
        weight = self.weight[member]
        return weight.view(*weight.shape[:2], *self.along(self.kernel))


class Shrink(Axial):
    """Convolution along one axis: folded (G, C, size·L) -> (G, D, out·L); plain (B, C, axes …) -> (B, D, axes …).

    `same` pads with zeros so that out = ceil(size / stride), the odd one behind.
    """

    def __init__(self, bank: int, inputs: int, outputs: int, axis: str, kernel: int, **options) -> None:
        super().__init__(bank, (outputs, inputs), axis, kernel, outputs=outputs, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Folded form."""
        weight = self.weight.flatten(2)
        if not self.meets:
            x = self._windows(x)
        return torch.baddbmm(self.bias[..., None], weight, x.reshape(len(x), weight.shape[2], -1))

    def _windows(self, x: Tensor) -> Tensor:
        """(G, C, kernel, out, L): what each place of the result looks at."""
        x = x.unflatten(2, (self.size, -1))
        if self.same:
            x = F.pad(x, (0, 0, *self._padding()))
        return x.unfold(2, self.kernel, self.stride).permute(0, 1, 4, 2, 3)

    def _padding(self) -> tuple[int, int]:
        total = max((-(-self.size // self.stride) - 1) * self.stride + self.kernel - self.size, 0)
        return total // 2, total - total // 2

    def plain(self, x: Tensor, member: int) -> Tensor:
        """Plain form, one member."""
        if self.same:
            before, behind = self._padding()
            pads = [(before, behind) if a == self.axis else (0, 0) for a in reversed(self.axes)]
            x = F.pad(x, [p for pair in pads for p in pair])
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.axes) - 1]
        return convolve(x, self.kernels(member), self.bias[member], self.along(self.stride))


class Grow(Axial):
    """Transposed convolution along one axis: folded (G, C, size·L) -> (G, D, out·L); plain as in `Shrink`."""

    def __init__(self, bank: int, inputs: int, outputs: int, axis: str, kernel: int, **options) -> None:
        super().__init__(bank, (inputs, outputs), axis, kernel, outputs=outputs, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Folded form."""
        G, C, D, k = self.weight.shape
        weight = self.weight.view(G, C, D * k).transpose(1, 2)
        if not self.meets:
            return self._overlaid((weight @ x).view(G, D, k, self.size, -1)) + self.bias[..., None]
        bias = self.bias[..., None].expand(G, D, k).reshape(G, D * k, 1)
        return torch.baddbmm(bias, weight, x).view(G, D, -1)

    def _overlaid(self, pieces: Tensor) -> Tensor:
        """(G, D, kernel, size, L) -> (G, D, out·L): the pieces at their places, summed where they overlap."""
        length = (self.size - 1) * self.stride + self.kernel
        begins = [i * self.stride for i in range(self.size)]
        placed = [
            F.pad(piece, (0, 0, begin, length - self.kernel - begin))
            for begin, piece in zip(begins, pieces.unbind(3), strict=True)
        ]
        return torch.stack(placed).sum(0).flatten(2)

    def plain(self, x: Tensor, member: int) -> Tensor:
        """Plain form, one member."""
        convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(self.axes) - 1]
        return convolve(x, self.kernels(member), self.bias[member], self.along(self.stride))


class Norm(nn.Module):
    """Batch normalisation of every channel of every member (momentum and epsilon of Keras) and an activation."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, bank: int, channels: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.ones(bank, channels))
        self.bias = nn.Parameter(torch.zeros(bank, channels))
        self.register_buffer("running_mean", torch.zeros(bank, channels))
        self.register_buffer("running_var", torch.ones(bank, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Folded (G, C, L), all members at once."""
        G, C, L = x.shape
        state = [t.view(G * C) for t in (self.running_mean, self.running_var, self.weight, self.bias)]
        return self._normalise(x.reshape(1, G * C, L), *state).view(G, C, L)

    def plain(self, x: Tensor, member: int) -> Tensor:
        """Plain (B, C, …), one member."""
        state = [t[member] for t in (self.running_mean, self.running_var, self.weight, self.bias)]
        return self._normalise(x, *state)

    def _normalise(self, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # the activation may act in place here, on what is no view: autograd copies when a view is changed
        return self.activation(
            F.batch_norm(x, mean, var, weight, bias, self.training, KERAS_MOMENTUM, KERAS_EPSILON)
        )


class Block(nn.Module):
    """A convolution, its normalisation if any, and its activation."""

    def __init__(self, layer: Shrink | Grow, activation: Activation, *, norm: bool = False) -> None:
        super().__init__()
        self.layer = layer
        bank, channels = layer.bias.shape
        self.norm = Norm(bank, channels, activation) if norm else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Folded form."""
        x = self.layer(x)
        return self.activation(x) if self.norm is None else self.norm(x)

    def plain(self, x: Tensor, member: int) -> Tensor:
        """Plain form, one member."""
        x = self.layer.plain(x, member)
        return self.activation(x) if self.norm is None else self.norm.plain(x, member)


class Chain(nn.ModuleList):
    """Blocks one after the other."""

    def __iter__(self) -> Iterator[Block]:
        return cast(Iterator[Block], super().__iter__())

    def forward(self, x: Tensor) -> Tensor:
        """Folded form."""
        for block in self:
            x = block(x)
        return x

    def plain(self, x: Tensor, member: int) -> Tensor:
        """Plain form, one member."""
        for block in self:
            x = block.plain(x, member)
        return x


def relu(x: Tensor) -> Tensor:
    """In place: the layer before keeps nothing of its result."""
    return F.relu_(x)


def linear(x: Tensor) -> Tensor:
    """No activation."""
    return x


class _Leaky(torch.autograd.Function):
    """LeakyReLU in place. Its slope does not depend on x, so a gradient penalty ends here.

    That of torch sends zeros on instead, through all layers before: a backward pass for nothing.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.mark_dirty(x)
        out = F.leaky_relu_(x, slope)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.leaky_relu_backward(gradient, out.detach(), ctx.slope, True), None


def leaky(slope: float, *, plain: bool = False) -> Activation:
    """LeakyReLU in place, of this slope below zero; `plain`: torch's."""

    def activation(x: Tensor) -> Tensor:
        return F.leaky_relu_(x, slope) if plain else cast(Tensor, _Leaky.apply(x, slope))

    return activation


def fold(x: Tensor, cells: Sequence[Cell], axes: Sequence[str] = PHRASE) -> Tensor:
    """Map (B, G, C, axes …) -> folded (G, C, L), the first cell outermost: the finest of its axis."""
    order = _coarse_first(cells, axes)
    split = x.reshape(*x.shape[:3], *[cells[i].size for i in order])
    return split.permute(1, 2, *[3 + order.index(i) for i in range(len(cells))], 0).flatten(2)


def unfold(x: Tensor, cells: Sequence[Cell], axes: Sequence[str] = PHRASE) -> Tensor:
    """Folded (G, C, L) -> map (B, G, C, axes …)."""
    order = _coarse_first(cells, axes)
    split = x.view(*x.shape[:2], *[c.size for c in cells], -1)
    shape = [prod(c.size for c in cells if c.axis == a) for a in axes]
    return split.permute(-1, 0, 1, *[2 + i for i in order]).reshape(-1, *x.shape[:2], *shape)


def _coarse_first(cells: Sequence[Cell], axes: Sequence[str]) -> list[int]:
    """The cells in the order of a map: axis by axis, coarse before fine."""
    return [i for a in axes for i in reversed(range(len(cells))) if cells[i].axis == a]


def time_cells(*sizes: int) -> list[Cell]:
    """Cells of the axis of steps, the finest first."""
    return [Cell(STEPS, size) for size in sizes]


def scaled(width: float, *channels: int) -> list[int]:
    """Channels at a share of their width."""
    if not width > 0:
        raise ValueError(f"width is a share of the original's, more than 0; got {width}")
    return [max(1, round(c * width)) for c in channels]


def quarters(steps: int) -> int:
    """Steps of a quarter of a bar, which must be whole."""
    if steps < 4 or steps % 4:
        raise ValueError(f"a bar of this network has a multiple of 4 steps (16, 12, 96 …), not {steps}")
    return steps // 4


def growths(steps: int, doublings: int) -> list[int]:
    """A bar's steps as a start of at least 2, at most so many doublings, and a tripling where steps allow it.

    16 -> [2, 2, 2, 2]; 96 with four doublings -> [2, 2, 2, 2, 2, 3]; 20 -> [5, 2, 2].
    """
    quarters(steps)
    last = [3] if steps % 3 == 0 else []
    factors: list[int] = []
    start = steps // prod(last)
    while start % 2 == 0 and start > 2 and len(factors) < doublings:
        start //= 2
        factors.append(2)
    return [start, *factors, *last]


def octaves(pitches: int) -> int:
    """Octaves of the pitches, which must be whole."""
    if pitches < 12 or pitches % 12:
        below, above = pitches // 12 * 12, -(-pitches // 12) * 12
        near = f"{below} or {above}" if below else "12"
        raise ValueError(f"this network needs whole octaves: {near} pitches (high - low + 1), not {pitches}")
    return pitches // 12
