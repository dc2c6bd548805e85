"""The design `binary`: BinaryMuseGAN (Dong and Yang 2018, ISMIR; arXiv 1804.09399), whose notes are on or off.

    generator   one noise (128) -> bars, beats, thirds of the pitches … shared by all tracks; then for each track
                pitch before time beside time before pitch, joined -> p(note)
    refiner     for each track two residual units on the generator's answer, then binary neurons
    critic      each track both ways, all tracks together; beside them a stream of onsets and one of chroma

Rolls are in [-1, 1] as everywhere in this room; 2p - 1 while the generator is trained alone. The refiner works on what
goes into the sigmoid and starts as the identity. There is no private noise. The one noise of the original is our
chords and style side by side: where a piece has several phrases, style stays.

Axes: B batch, M tracks, N bars, S steps, P pitches, A = 4 beats of a bar; G members of a bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.book import Layer, reading
from otonoha.models.musegan.layers import (
    BARS,
    INIT,
    PITCHES,
    STEPS,
    Block,
    Cell,
    Chain,
    Grow,
    Shrink,
    fold,
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

BEATS = 4
SLOPE = 0.2
"""Of the critic's LeakyReLU."""
SLOPE_FACTOR = 1.1
"""By which the slope of the binary neurons grows with every pass over the data."""
STEEPEST = 20
"""Passes after which it stays: as many as the paper trains."""


def binary(x: Tensor, slope: Tensor | float = 1.0, *, threshold: Tensor | float = 0.5) -> Tensor:
    """Binary neurons: 1 where σ(x) > v, else 0; the threshold v is 1/2, or uniform on [0, 1] (stochastic).

    Backward: the sigmoid-adjusted straight-through estimator, d/dx σ(slope · x).
    """
    soft = torch.sigmoid(slope * x)
    return (x.sigmoid() > threshold).to(x) + (soft - soft.detach())


def chance(z: Tensor, size: Sequence[int]) -> Tensor:
    """Uniform numbers (B, *size) that follow from the noises (B, Z): the same noises round to the same notes."""
    rows = []
    for noise in z.detach().cpu().contiguous():
        key = int.from_bytes(blake2b(noise.numpy().tobytes(), digest_size=8).digest())
        rows.append(torch.rand(*size, generator=torch.Generator().manual_seed(key)))
    return torch.stack(rows).to(z)


def slope_at(step: int, per_pass: int) -> float:
    """The slope after so many updates: 1, and 1.1 times as much after each of the first passes over the data."""
    return SLOPE_FACTOR ** min(step // per_pass, STEEPEST)


class Plan(NamedTuple):
    """How the axes grow: steps = BEATS · parts · ticks, pitches = octaves · 12, octaves from `thirds` by `kernel`."""

    parts: int
    ticks: int
    octaves: int
    thirds: int
    kernel: int
    stride: int

    @classmethod
    def of(cls, shape: Shape) -> Plan:
        """For a shape; 96 steps are 4 · 4 · 6, 7 octaves grow from 3 by kernel 3 at stride 2."""
        beat, octs = quarters(shape.steps), octaves(shape.pitches)
        parts = next(n for n in (4, 2, 1) if beat % n == 0)
        kernel, stride = (1, 1) if octs == 1 else (2 + octs % 2, 2)
        return cls(parts, beat // parts, octs, (octs - kernel) // stride + 1, kernel, stride)

    @property
    def octave_cells(self) -> list[Cell]:
        """As they lie after the layer that makes them."""
        meets = self.kernel == self.stride
        return [Cell(PITCHES, n) for n in ((self.kernel, self.thirds) if meets else (self.octaves,))]


class Refiner(nn.Module):
    """Of one track, (R, 1, S, P) before the sigmoid -> the same, by two residual units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(_residual(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Refine."""
        for unit in self.units:
            x = x + unit(x)
        return x


def _residual(channels: int) -> nn.Sequential:
    """BN, ReLU, convolution of 3 steps by an octave; twice. It begins as zero, so that the refiner changes nothing."""
    first, second = nn.Conv2d(1, channels, (3, 12)), nn.Conv2d(channels, 1, (3, 12))
    nn.init.normal_(first.weight, std=INIT)
    nn.init.zeros_(second.weight)
    for convolution in (first, second):
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    same = (5, 6, 1, 1)
    parts = [nn.BatchNorm2d(1), nn.ReLU(), nn.ZeroPad2d(same), first]
    return nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.ReLU(), nn.ZeroPad2d(same), second)


class BinaryGenerator(FourNoises):
    """Noise -> (B, M, N, S, P): notes 1 or -1 when `rounds`, else 2p - 1.

    `rounds` and `slope` are state, to be set by the training: in two stages, `rounds` is False in the first, and
    the second trains `refiners` alone. Without refiners the neurons act on the generator's own answer.
    """

    slope: Tensor

    def __init__(
        self,
        shape: Shape,
        widths: Widths,
        *,
        refiner: bool = True,
        stochastic: bool = False,
        width: float = 1.0,
        plain: bool = False,
    ) -> None:
        super().__init__(shape, widths, range(shape.tracks), width=width, plain=plain)
        self.chords = None  # its bars grow together, from one noise
        self.stochastic, self.rounds = stochastic, True
        self.writer = Writer(shape, widths.total, width=width, plain=plain)
        channels = scaled(width, 64)[0]
        self.refiners = nn.ModuleList(Refiner(channels) for _ in range(shape.tracks if refiner else 0))
        self.register_buffer("slope", torch.ones(()))

    def forward(self, noise: Noise, given: Tensor | None = None) -> Tensor:
        """Noise (K = 1) -> phrases."""
        return self._phrases(torch.cat([noise.chords[:, 0], noise.style], 1))

    def bars(self, codes: Noise, given: Tensor | None = None) -> Tensor:
        """Codes of any number of bars -> rolls; bar n is bar n mod N of the phrase that its own codes make."""
        z = per_bar(codes)[:, 0]
        different, phrase = torch.unique_consecutive(z.flatten(0, 1), dim=0, return_inverse=True)
        bar = torch.arange(z.shape[1], device=z.device) % self.shape.bars
        return self._phrases(different)[phrase.view(z.shape[:2]), :, bar].transpose(1, 2)

    def _phrases(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, M, N, S, P)."""
        x = self.writer(z)
        if not self.rounds:
            return 2 * x.sigmoid() - 1
        if self.refiners:
            tracks = [r(x[:, m].flatten(0, 1)[:, None]) for m, r in enumerate(self.refiners)]
            x = torch.cat(tracks, 1).unflatten(0, x.shape[::2][:2]).transpose(1, 2)
        return 2 * binary(x, self.slope, threshold=self._threshold(x, z)) - 1

    def _threshold(self, x: Tensor, z: Tensor) -> Tensor | float:
        """What the neurons compare with: drawn anew while learning, drawn from the noises afterwards."""
        if not self.stochastic:
            return 0.5
        return torch.rand_like(x) if self.training else chance(z, x.shape[1:])


class Writer(nn.Module):
    """Noise (B, Z) -> (B, M, N, S, P), what goes into the sigmoid."""

    def __init__(self, shape: Shape, noise: int, *, width: float, plain: bool) -> None:
        super().__init__()
        plan, M, N = Plan.of(shape), shape.tracks, shape.bars
        self.plain, self.M = plain, M
        self.both = min(2, N)
        self.early = N - self.both + 1
        a, b, c, d, e, f = scaled(width, 512, 256, 128, 128, 64, 64)
        (g,) = scaled(width, 32)
        self.first = Block(Shrink(1, noise, self.early * a, BARS, 1), relu, norm=True)
        octave = {"stride": plan.stride, "size": plan.thirds}
        self.shared = Chain(
            Block(layer, relu, norm=True)
            for layer in (
                Grow(1, a, b, BARS, self.both, stride=1, size=self.early),
                Grow(1, b, c, STEPS, BEATS),
                Grow(1, c, d, STEPS, plan.parts),
                Grow(1, d, e, PITCHES, plan.thirds),
                Grow(1, e, f, PITCHES, plan.kernel, **octave),
            )
        )
        ticks, notes = Cell(STEPS, plan.ticks), Cell(PITCHES, 12)
        rest = [*plan.octave_cells, *time_cells(plan.parts, BEATS), Cell(BARS, N)]

        def way(*cells: Cell) -> Chain:
            first, second = (
                Block(Grow(M, f, out, cell.axis, cell.size), relu, norm=True)
                for cell, out in zip(cells, (f, g), strict=True)
            )
            # half of the 1 x 1 x 1 convolution that joins the ways: their sum is the whole
            half = Block(Shrink(M, g, 1, STEPS, 1), linear)
            return Chain([first, second, half])

        self.pitch_first, self.time_first = way(notes, ticks), way(ticks, notes)
        self.pitch_first_cells, self.time_first_cells = [ticks, notes, *rest], [notes, ticks, *rest]

    def forward(self, z: Tensor) -> Tensor:
        """Write a phrase."""
        if self.plain:
            return self._plain(z)
        x = self.first(z.T[None].contiguous())
        x = self.shared(x.view(1, -1, self.early * len(z))).expand(self.M, -1, -1)
        pitch_first = unfold(self.pitch_first(x), self.pitch_first_cells)
        return (pitch_first + unfold(self.time_first(x), self.time_first_cells))[:, :, 0]

    def _plain(self, z: Tensor) -> Tensor:
        x = self.first.plain(z[:, :, None, None, None], 0).view(len(z), -1, self.early, 1, 1)
        x = self.shared.plain(x, 0)
        tracks = [self.pitch_first.plain(x, m) + self.time_first.plain(x, m) for m in range(self.M)]
        return torch.cat(tracks, 1)


class Patch(nn.Module):
    """A critic's convolution over steps (kernel = stride) and octaves at once, one member.

    Folded (1, C, octaves, steps, L) -> (1, D, octaves', L); plain (B, C, N, S, octaves) -> (B, D, N, S', octaves').
    """

    def __init__(
        self, inputs: int, outputs: int, steps: int, octaves: tuple[int, int, int], *, plain: bool
    ) -> None:
        super().__init__()
        self.steps, (self.size, self.kernel, self.stride) = steps, octaves
        self.weight = nn.Parameter(torch.randn(outputs, inputs, self.kernel, steps) * INIT)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.activation = leaky(SLOPE, plain=plain)

    def forward(self, x: Tensor) -> Tensor:
        """Folded form."""
        x = x.view(*x.shape[:2], self.size, self.steps, -1).unfold(2, self.kernel, self.stride)
        x = x.permute(0, 1, 5, 3, 2, 4).flatten(1, 3).flatten(2)
        x = torch.addmm(self.bias[:, None], self.weight.flatten(1), x[0])
        return self.activation(x)[None]

    def plain(self, x: Tensor) -> Tensor:
        """Plain form."""
        weight = self.weight.transpose(2, 3)[:, :, None]
        return self.activation(F.conv3d(x, weight, self.bias, (1, self.steps, self.stride)))


class BinaryCritic(nn.Module):
    """(B, M, N, S, P) in [-1, 1] -> (B,). `low` is the MIDI number of the lowest pitch, for the chroma."""

    def __init__(self, shape: Shape, low: int, *, width: float = 1.0, plain: bool = False) -> None:
        super().__init__()
        plan, M, N = Plan.of(shape), shape.tracks, shape.bars
        self.low, self.plain = low, plain
        a, b, c, d, e = scaled(width, 32, 64, 128, 256, 512)
        ticks, notes = (STEPS, plan.ticks), (PITCHES, 12)
        rest = [Cell(PITCHES, plan.octaves), *time_cells(plan.parts, BEATS), Cell(BARS, N)]
        self.pitch_first = reading(M, 1, [(a, *notes, {}), (b, *ticks, {})], SLOPE, plain=plain)
        self.time_first = reading(M, 1, [(a, *ticks, {}), (b, *notes, {})], SLOPE, plain=plain)
        self.pitch_first_cells = [Cell(*notes), Cell(*ticks), *rest]
        self.time_first_cells = [Cell(*ticks), Cell(*notes), *rest]
        self.merge = Block(Shrink(M, 2 * b, b, STEPS, 1), leaky(SLOPE, plain=plain))
        self.parts = Patch(M * b, c, plan.parts, (plan.octaves, plan.kernel, plan.stride), plain=plain)
        self.beats = Patch(c, d, BEATS, (plan.thirds, plan.thirds, plan.thirds), plain=plain)
        self.times = [*time_cells(plan.ticks, plan.parts, BEATS), Cell(BARS, N)]
        stages: list[Layer] = [(w, STEPS, cell.size, {}) for w, cell in zip((a, b, c), self.times)]
        self.onsets = reading(1, M, stages, SLOPE, plain=plain)
        self.chords = [Cell(*notes), Cell(STEPS, BEATS), Cell(BARS, N)]
        self.chroma = reading(1, M, [(b, *notes, {}), (c, STEPS, BEATS, {})], SLOPE, plain=plain)
        both = min(2, N)
        last = reading(1, d + c + c, [(e, BARS, both, {"stride": 1, "size": N})], SLOPE, plain=plain)
        self.last = Chain([*last, Block(Shrink(1, e, 1, BARS, N - both + 1), linear)])

    def forward(self, rolls: Tensor) -> Tensor:
        """Score phrases."""
        notes = (rolls + 1) / 2
        onsets, chords = onset_counts(notes)[..., None], beat_chroma(notes, self.low)
        if self.plain:
            streams = (self._plain(rolls), self.onsets.plain(onsets, 0), self.chroma.plain(chords, 0))
            return self.last.plain(torch.cat(streams, 1), 0).flatten()
        beside = [
            read(fold(x[:, None], cells))
            for read, x, cells in (
                (self.onsets, onsets, self.times),
                (self.chroma, chords, self.chords),
            )
        ]
        return self.last(torch.cat([self._folded(rolls), *beside], 1)).flatten()

    def _folded(self, rolls: Tensor) -> Tensor:
        x = rolls[:, :, None]
        pitch_first = self.pitch_first(fold(x, self.pitch_first_cells))
        x = self.merge(torch.cat([pitch_first, self.time_first(fold(x, self.time_first_cells))], 1))
        return self.beats(self.parts(x.view(1, -1, x.shape[2])))

    def _plain(self, rolls: Tensor) -> Tensor:
        tracks = []
        for m in range(rolls.shape[1]):
            x = rolls[:, m, None]
            both = torch.cat([self.pitch_first.plain(x, m), self.time_first.plain(x, m)], 1)
            tracks.append(self.merge.plain(both, m))
        return self.beats.plain(self.parts.plain(torch.cat(tracks, 1)))


def onset_counts(notes: Tensor) -> Tensor:
    """(B, M, N, S, P) in [0, 1] -> (B, M, N, S): how much more sounds than a step before, summed over pitches."""
    sounding = notes.sum(-1)
    steps = sounding.flatten(2)
    return torch.diff(steps, dim=2, prepend=torch.zeros_like(steps[:, :, :1])).view_as(sounding)


def beat_chroma(notes: Tensor, low: int) -> Tensor:
    """(B, M, N, S, P) in [0, 1] -> (B, M, N, A, 12): how much each pitch class (0 is C) sounds in each beat."""
    beats = notes.unflatten(3, (BEATS, -1)).sum(4)
    return beats.unflatten(4, (-1, 12)).sum(4).roll(low % 12, -1)
