"""The design `paper`: MuseGAN (Dong et al. 2018, AAAI; arXiv 1709.06298) as jamming, composer or hybrid.

    hybrid     a bar generator for every track, from common and private noise; one critic
    composer   one bar generator that writes all tracks, from common noise; one critic
    jamming    a bar generator for every track, from private noise alone; a critic for every track

Track-conditional: an encoder reads the given track, and every layer of the bar generators sees its features at its
own resolution (the released code of version 1 leaves them out where phrases have several bars, so that the given
track changes nothing). Axes: B batch, M tracks, N bars, S steps, P pitches; G members of a bank, R = B·N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from otonoha.models.musegan.book import BarGenerators, Layer, narrowing, reading
from otonoha.models.musegan.layers import (
    BAR,
    BARS,
    PITCHES,
    STEPS,
    Block,
    Cell,
    Chain,
    Shrink,
    fold,
    growths,
    leaky,
    linear,
    octaves,
    quarters,
    scaled,
    time_cells,
)
from otonoha.models.musegan.shape import Noise, Shape, Widths, per_bar
from otonoha.models.musegan.temporal import FourNoises

SLOPE = 0.2
"""Of LeakyReLU in critics and encoder."""
CHANNELS = (512, 512, 256, 256, 128, 128)
"""Of the start of time and its growths."""
FEATURES = 16
"""Channels of the encoder."""


class Encoder(nn.Module):
    """A given track -> its features at every resolution of a bar generator, the coarsest first.

    It undoes the generator's growth factor by factor, so its features lie as the generator's do.
    """

    def __init__(self, growth: Sequence[int], pitches: int, channels: int, *, plain: bool = False) -> None:
        super().__init__()
        start, *factors = growth
        fine_first = [Cell(PITCHES, 12), Cell(PITCHES, octaves(pitches)), *time_cells(*reversed(factors))]
        self.cells, self.plain = [*fine_first, Cell(STEPS, start)], plain
        self.blocks = Chain(
            Block(
                Shrink(1, channels if i else 1, channels, cell.axis, cell.size, axes=BAR),
                leaky(SLOPE, plain=plain),
                norm=True,
            )
            for i, cell in enumerate(fine_first)
        )

    def forward(self, given: Tensor) -> list[Tensor]:
        """(R, S, P) -> one tensor for every layer of the generator, in the layout of the form."""
        x = given[:, None] if self.plain else fold(given[:, None, None], self.cells, BAR)
        features: list[Tensor] = []
        for block in self.blocks:
            x = block.plain(x, 0) if self.plain else block(x)
            features.insert(0, x)
        return features


class PaperGenerator(FourNoises):
    """Noise (K = 1), and the roll (B, N, S, P) of track `given` if there is one -> (B, M, N, S, P) in [-1, 1]."""

    def __init__(
        self,
        shape: Shape,
        widths: Widths,
        players: str = "hybrid",
        *,
        given: int | None = None,
        order: str = "tripling last",
        width: float = 1.0,
        plain: bool = False,
    ) -> None:
        played = others(shape.tracks, given)
        super().__init__(shape, widths, played, width=width, plain=plain)
        self.given, self.composer = given, players == "composer"
        growth = ordered(growths(shape.steps, 4), order)
        *channels, features = scaled(width, *CHANNELS[: len(growth)], 64, FEATURES)
        self.writers = BarGenerators(
            1 if self.composer else len(played),
            widths.total,
            growth,
            channels,
            shape.pitches,
            outputs=len(played) if self.composer else 1,
            skip=0 if given is None else features,
            plain=plain,
        )
        self.encoder = None if given is None else Encoder(growth, shape.pitches, features, plain=plain)

    def bars(self, codes: Noise, given: Tensor | None = None) -> Tensor:
        """Codes and the given track -> rolls; the given track is in its place, unchanged."""
        rows = per_bar(codes)
        rows = rows[:, :1] if self.composer else rows[:, self.played]
        skips = self._features(codes, given)
        written = self.writers(rows.transpose(1, 2).flatten(0, 1), skips)
        tracks = list(written.flatten(1, 2).unflatten(0, (len(codes), -1)).unbind(2))
        if given is not None and self.given is not None:
            tracks.insert(self.given, given)
        return torch.stack(tracks, 1)

    def _features(self, codes: Noise, given: Tensor | None) -> Sequence[Tensor]:
        if self.encoder is None:
            if given is not None:
                raise ValueError("this network was made to write all tracks: it takes no given one")
            return ()
        expected = (*codes.melody.shape[::2], self.shape.steps, self.shape.pitches)
        if given is None or given.shape != expected:
            got = "none" if given is None else tuple(given.shape)
            raise ValueError(f"this network needs the given track as a roll of shape {expected}, got {got}")
        return self.encoder(given.flatten(0, 1))


class PaperCritic(nn.Module):
    """(B, M, N, S, P) -> (B,): what a critic of bars (their mean) and a critic of the phrase think of it.

    Jamming has such a pair for every track that is not given, and the result is their sum. A gradient penalty
    belongs to each pair alone: `apart` tells whether its norm is taken track by track.
    """

    def __init__(
        self,
        shape: Shape,
        players: str = "hybrid",
        *,
        given: int | None = None,
        width: float = 1.0,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.apart = players == "jamming"
        self.judged = others(shape.tracks, given)
        self.plain, self.N = plain, shape.bars
        N, P = shape.bars, octaves(shape.pitches)
        bank, inputs = (len(self.judged), 1) if self.apart else (1, shape.tracks)
        a, b, c, d = scaled(width, 128, 256, 512, 1024)
        left, both = quarters(shape.steps), min(2, N)
        bar: list[Layer] = [(a, PITCHES, 12, {}), (a, PITCHES, P, {}), (a, STEPS, 2, {}), (a, STEPS, 2, {})]
        phrase: list[Layer] = [
            (c, BARS, both, {"stride": 1, "size": N}),
            (a, BARS, N - both + 1, {}),
            (d, BARS, 1, {}),
        ]
        self.bar = reading(bank, inputs, [*bar, *narrowing(left, b, c, d)], SLOPE, plain=plain)
        self.phrase = reading(bank, d, phrase, SLOPE, plain=plain)
        self.bar_score = Block(Shrink(bank, d, 1, BARS, 1), linear)
        self.phrase_score = Block(Shrink(bank, d, 1, BARS, 1), linear)
        self.cells = [Cell(PITCHES, 12), Cell(PITCHES, P), *time_cells(2, 2, left), Cell(BARS, N)]

    def forward(self, rolls: Tensor) -> Tensor:
        """Score phrases."""
        return self.each(rolls).sum(1)

    def each(self, rolls: Tensor) -> Tensor:
        """(B, G): the scores of every critic."""
        x = rolls[:, self.judged, None] if self.apart else rolls[:, None]
        if self.plain:
            return torch.stack([self._member(x[:, g], g) for g in range(x.shape[1])], 1)
        features = self.bar(fold(x, self.cells))
        bars = self.bar_score(features).unflatten(2, (self.N, -1)).mean(2)
        return (bars + self.phrase_score(self.phrase(features)))[:, 0].T

    def _member(self, x: Tensor, g: int) -> Tensor:
        features = self.bar.plain(x, g)
        bars = self.bar_score.plain(features, g).flatten(1).mean(1)
        return bars + self.phrase_score.plain(self.phrase.plain(features, g), g).flatten()


def others(tracks: int, given: int | None) -> list[int]:
    """The tracks that are not given."""
    if given is not None and not 0 <= given < tracks:
        raise ValueError(f"the given track is one of 0 to {tracks - 1}, not {given}")
    if given is not None and tracks == 1:
        raise ValueError("with its only track given, a network has nothing to write")
    return [t for t in range(tracks) if t != given]


def widths_of(players: str, noise: int) -> Widths:
    """Whoever shares noise, the four together are 4 `noise` wide."""
    Z = noise
    return {
        "hybrid": Widths(Z, Z, Z, Z),
        "composer": Widths(2 * Z, 2 * Z, 0, 0),
        "jamming": Widths(0, 0, 2 * Z, 2 * Z),
    }[players]


def ordered(growth: list[int], order: str) -> list[int]:
    """The three orders of time in the bar generator."""
    start, *factors = growth
    if order == "tripling last":
        return growth
    if 3 not in factors or 2 not in factors:
        raise ValueError(f"order {order!r} needs a bar that is doubled and tripled, such as 96 steps")
    factors = [f for f in factors if f == 2]
    return [start, 3, *factors] if order == "tripling first" else [start, 6, *factors[1:]]
