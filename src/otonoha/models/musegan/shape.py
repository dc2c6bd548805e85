"""What the networks of this room speak of: the shape of a phrase and the four noises.

Axes: B batch, M tracks, N bars, S steps of a bar, P pitches (or classes), Z width of a noise, K temporal noise
vectors from which the temporal networks make N codes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

KNOBS = ("chords", "style", "melody", "groove")
PRIVATE = ("melody", "groove")
"""Knobs of which every track has its own."""
TEMPORAL = ("chords", "melody")
"""Knobs that change from bar to bar."""


@dataclass(frozen=True)
class Shape:
    """Of a phrase: tracks M, bars N, steps of a bar S, pitches P."""

    tracks: int = 4
    bars: int = 2
    steps: int = 16
    pitches: int = 84


@dataclass(frozen=True)
class Widths:
    """Z of each noise; 0 where a design has none (the composer has no private noise, the jammers no common)."""

    chords: int = 32
    style: int = 32
    melody: int = 32
    groove: int = 32
    coded: int | None = None
    """How many of the numbers of chords and style become codes, where all others are draws: chances, not codes."""

    def cut(self, knob: str) -> int:
        """How many numbers of a noise truncation is for: all, or those that become codes."""
        return getattr(self, knob) if self.coded is None else 0 if knob in PRIVATE else self.coded

    @property
    def total(self) -> int:
        """Width of what a bar generator receives."""
        return self.chords + self.style + self.melody + self.groove


@dataclass(frozen=True, eq=False)
class Noise:
    """The four noises, or (K = N) the codes that the temporal networks make of them.

    chords (B, K, Z), style (B, Z), melody (B, M, K, Z), groove (B, M, Z). A noise that a design lacks has Z = 0.
    In a medley style and groove move too: their codes are then (B, N, Z) and (B, M, N, Z).
    """

    chords: Tensor
    style: Tensor
    melody: Tensor
    groove: Tensor

    def __len__(self) -> int:
        return len(self.style)

    def to(self, device: torch.device) -> Noise:
        """The same on a device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def rows(self, index: slice) -> Noise:
        """Some of the batch."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


def draw(
    batch: int, tracks: int, vectors: int, widths: Widths, generator: torch.Generator | None = None
) -> Noise:
    """Standard normal noise for training; `vectors` is K."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return Noise(
        normal(batch, vectors, widths.chords),
        normal(batch, widths.style),
        normal(batch, tracks, vectors, widths.melody),
        normal(batch, tracks, widths.groove),
    )


def per_bar(codes: Noise) -> Tensor:
    """The input of the bar generators: codes side by side, (B, M, N, Z of all four)."""
    B, M, N, _ = codes.melody.shape
    style = codes.style if codes.style.ndim == 3 else codes.style[:, None].expand(B, N, -1)
    groove = codes.groove if codes.groove.ndim == 4 else codes.groove[:, :, None].expand(B, M, N, -1)
    each = [codes.chords[:, None].expand(B, M, N, -1), style[:, None].expand(B, M, N, -1)]
    return torch.cat([*each, codes.melody, groove], dim=-1)
