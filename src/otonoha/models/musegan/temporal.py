"""Temporal networks: from one noise vector a code for every bar.

    z (B, Z) -> bars 2, width 1024, BN, ReLU -> bars N, width Z, BN, ReLU -> (B, N, Z)

The book's temporal network is the phrase generator of the MuseGAN paper's code: two transposed convolutions over
bars, of kernels 2 and N - 1. Only chords and melody have one, each track its own for melody. As it ends in ReLU,
about half of each code is zero. Axes as in shape.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from otonoha.models.musegan.layers import BARS, Block, Grow, relu, scaled
from otonoha.models.musegan.shape import Noise, Shape, Widths


class Temporal(nn.Module):
    """A bank of temporal networks: (B, G, Z) -> (B, G, N, Z)."""

    def __init__(self, bank: int, bars: int, noise: int, *, width: float = 1.0, plain: bool = False) -> None:
        super().__init__()
        if bars < 1:
            raise ValueError(f"a phrase has at least one bar, not {bars}")
        self.bank, self.plain = bank, plain
        (hidden,) = scaled(width, 1024)
        first = min(2, bars)
        self.first = Block(Grow(bank, noise, hidden, BARS, first, axes=(BARS,)), relu, norm=True)
        second = Grow(bank, hidden, noise, BARS, bars - first + 1, stride=1, size=first, axes=(BARS,))
        self.second = Block(second, relu, norm=True)

    def forward(self, z: Tensor) -> Tensor:
        """Codes of all bars."""
        if self.plain:
            rows = [
                self.second.plain(self.first.plain(z[:, g, :, None], g), g).transpose(1, 2)
                for g in range(self.bank)
            ]
            return torch.stack(rows, 1)
        x = self.second(self.first(z.permute(1, 2, 0).contiguous()))
        return x.unflatten(2, (-1, len(z))).permute(3, 0, 2, 1)


class FourNoises(nn.Module):
    """What generators share: temporal networks for chords and melody, then bars from the codes.

    `played` are the tracks that are written; the codes of a given track stay zero.
    """

    def __init__(
        self, shape: Shape, widths: Widths, played: Sequence[int], *, width: float = 1.0, plain: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.widths, self.played = shape, widths, list(played)

        def temporal(bank: int, noise: int) -> Temporal | None:
            return Temporal(bank, shape.bars, noise, width=width, plain=plain) if noise else None

        self.chords = temporal(1, widths.chords)
        self.melody = temporal(len(self.played), widths.melody)

    def vectors(self, bars: int) -> int:
        """Temporal noise vectors for a phrase: one, whatever the number of bars."""
        return 1

    def codes(self, noise: Noise) -> Noise:
        """Noise with K = 1 -> codes with K = N."""
        B, N, M = len(noise), self.shape.bars, self.shape.tracks
        chords, melody = noise.chords.expand(B, N, -1), noise.melody.expand(B, M, N, -1)
        if self.chords is not None:
            chords = self.chords(noise.chords)[:, 0]
        if self.melody is not None:
            played = self.melody(noise.melody[:, self.played, 0])
            silent = played.new_zeros(B, N, self.widths.melody)
            tracks = dict(zip(self.played, played.unbind(1), strict=True))
            melody = torch.stack([tracks.get(m, silent) for m in range(M)], 1)
        return Noise(chords, noise.style, melody, noise.groove)

    def bars(self, codes: Noise, given: Tensor | None = None) -> Tensor:
        """Codes (and the given track, where the design listens) -> rolls (B, M, N, S, P) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, noise: Noise, given: Tensor | None = None) -> Tensor:
        """Noise (and the given track) -> rolls (B, M, N, S, P) in [-1, 1]."""
        return self.bars(self.codes(noise), given)
