"""The design `book`: MuseGAN as in "Generative Deep Learning", chapter 7.

Axes: B batch, M tracks, N bars, S steps of a bar, P pitches; G members of a bank. Every track has a bar generator,
the same for all bars: the four codes side by side -> 2 steps x 512 -> doublings to S steps -> 7 octaves -> 12 pitches
each -> tanh. The critic looks at all tracks and bars at once, then at pitch, then at time. No rests: the
original takes the loudest pitch of every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from otonoha.models.musegan.layers import (
    BAR,
    BARS,
    PITCHES,
    STEPS,
    Block,
    Cell,
    Chain,
    Grow,
    Shrink,
    fold,
    growths,
    leaky,
    linear,
    octaves,
    quarters,
    relu,
    scaled,
    time_cells,
    unfold,
)
from otonoha.models.musegan.shape import Noise, Shape, Widths, per_bar
from otonoha.models.musegan.temporal import FourNoises

Layer = tuple[int, str, int, dict]
"""A convolution of a critic: channels out, axis, kernel, options of `Shrink`."""
CHANNELS = (512, 512, 256, 256, 256)
"""Of the start of time and its growths; the last one is for bars that the book does not have."""
SLOPE = 0.3
"""Of the critic's LeakyReLU; the default of Keras."""


class BarGenerators(nn.Module):
    """A bank of bar generators: (R, G, Z) rows -> (R, G, outputs, S, P) in [-1, 1].

    `growth` is the start and the factors of time, `channels` the widths of the start, of every factor and of the
    octaves. `skip` channels of a given track are joined to the input of every layer (`Encoder` in paper.py).
    """

    def __init__(
        self,
        bank: int,
        noise: int,
        growth: Sequence[int],
        channels: Sequence[int],
        pitches: int,
        *,
        outputs: int = 1,
        skip: int = 0,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.plain = plain
        start, *factors = growth
        grown = [Cell(STEPS, f) for f in factors] + [Cell(PITCHES, octaves(pitches)), Cell(PITCHES, 12)]
        self.cells = [*reversed(grown), Cell(STEPS, start)]
        first = Shrink(bank, noise, start * channels[0], STEPS, 1, axes=BAR)
        self.first = Block(first, relu, norm=True)
        self.start = start
        self.layers = Chain()
        for cell, (c, d) in zip(grown, pairwise([*channels, outputs]), strict=True):
            layer = Grow(bank, c + skip, d, cell.axis, cell.size, axes=BAR)
            last = cell is grown[-1]
            self.layers.append(Block(layer, torch.tanh if last else relu, norm=not last))

    def forward(self, rows: Tensor, skips: Sequence[Tensor] = ()) -> Tensor:
        """Write bars; `skips` are features of the given track, coarse first, in the layout of the form."""
        if self.plain:
            return torch.stack([self._member(rows[:, g], g, skips) for g in range(rows.shape[1])], 1)
        x = self.first(rows.permute(1, 2, 0).contiguous())
        x = x.view(len(x), -1, self.start * len(rows))
        for i, layer in enumerate(self.layers):
            if skips:
                x = torch.cat([x, skips[i].expand(len(x), -1, -1)], 1)
            x = layer(x)
        return unfold(x, self.cells, BAR)

    def _member(self, rows: Tensor, g: int, skips: Sequence[Tensor]) -> Tensor:
        x = self.first.plain(rows[:, :, None, None], g)
        x = x.view(len(x), -1, self.start, 1)
        for i, layer in enumerate(self.layers):
            if skips:
                x = torch.cat([x, skips[i]], 1)
            x = layer.plain(x, g)
        return x


class BookGenerator(FourNoises):
    """Noise (K = 1) -> (B, M, N, S, P) in [-1, 1]."""

    def __init__(self, shape: Shape, widths: Widths, *, width: float = 1.0, plain: bool = False) -> None:
        super().__init__(shape, widths, range(shape.tracks), width=width, plain=plain)
        growth = growths(shape.steps, 3)
        channels = scaled(width, *CHANNELS[: len(growth)], 256)
        self.writers = BarGenerators(shape.tracks, widths.total, growth, channels, shape.pitches, plain=plain)

    def bars(self, codes: Noise, given: Tensor | None = None) -> Tensor:
        """Codes -> rolls (B, M, N, S, P)."""
        rows = per_bar(codes).transpose(1, 2).flatten(0, 1)
        return self.writers(rows)[:, :, 0].unflatten(0, (len(codes), -1)).transpose(1, 2)


class BookCritic(nn.Module):
    """(B, M, N, S, P) -> (B,): the higher, the more real. Tracks are channels."""

    def __init__(self, shape: Shape, *, width: float = 1.0, plain: bool = False) -> None:
        super().__init__()
        N, P = shape.bars, octaves(shape.pitches)
        a, b, c, d = scaled(width, 128, 256, 512, 1024)
        both, left = min(2, N), quarters(shape.steps)
        layers: list[Layer] = [
            (a, BARS, both, {"stride": 1, "size": N}),
            (a, BARS, N - both + 1, {}),
            (a, PITCHES, 12, {}),
            (a, PITCHES, P, {}),
            (a, STEPS, 2, {}),
            (a, STEPS, 2, {}),
            *narrowing(left, b, c, d),
        ]
        self.blocks = reading(1, shape.tracks, layers, SLOPE, plain=plain)
        self.blocks.append(Block(Shrink(1, d, 1, STEPS, 1), linear))
        self.cells = [Cell(BARS, N), Cell(PITCHES, 12), Cell(PITCHES, P), *time_cells(2, 2, left)]
        self.plain = plain

    def forward(self, rolls: Tensor) -> Tensor:
        """Score phrases."""
        x = self.blocks.plain(rolls, 0) if self.plain else self.blocks(fold(rolls[:, None], self.cells))
        return x.flatten()


def reading(bank: int, inputs: int, layers: Sequence[Layer], slope: float, *, plain: bool) -> Chain:
    """A critic's convolutions, each with LeakyReLU."""
    widths = pairwise([inputs, *[layer[0] for layer in layers]])
    return Chain(
        Block(Shrink(bank, c, d, axis, kernel, **options), leaky(slope, plain=plain))
        for (c, d), (_, axis, kernel, options) in zip(widths, layers, strict=True)
    )


def narrowing(steps: int, *widths: int) -> list[Layer]:
    """How critics read the last quarter of time: kernels 4 and 3 at stride 2, then all that is left."""
    half = -(-steps // 2)
    b, c, d = widths
    return [
        (b, STEPS, 4, {"stride": 2, "size": steps, "same": True}),
        (c, STEPS, 3, {"stride": 2, "size": half, "same": True}),
        (d, STEPS, -(-half // 2), {}),
    ]
