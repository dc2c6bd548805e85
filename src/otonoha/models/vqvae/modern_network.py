"""The network of the design `modern`: a ladder of levels, each of which codes what the coarser ones have left open.

    h_0 = blocks(W c(S x)), h_{k+1} = blocks(down(h_k))               encoder, S frames, c(z) = z |z|^-0.4
    s_L = 0,  s_k = up(t_{k+1})                                       decoder, from the coarsest level
    u_k = A h_k - B norm(s_k),  q_k = the code nearest to u_k         what level k has to tell: the residual
    t_k = blocks(s_k + E q_k),  y = head(t_0)                         a level that is absent adds nothing

So every prefix of levels (from the coarsest on) is a whole description of the sound. Multi-rate residual codes: Siuzdak
et al. 2024 (SNAC, arXiv 2410.14411); spectra in and out: Siuzdak 2023 (Vocos, arXiv 2306.00814).
Axes: B clips, C channels (mid and side where there are two), T samples, N positions, F bins, D width of the codes'
vectors; level 0 is the finest. Nothing looks further than `heard` and `read` say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from otonoha.nn.convnext import Down, Stack, Up
from otonoha.nn.istft import Frames, Head
from otonoha.nn.quantise import CosineCodes, FiniteScalars, Quantised, Quantiser

if TYPE_CHECKING:
    from otonoha.models.vqvae.config import Config

POWER = 0.6
"""Magnitudes are raised to it before the encoder sees them: quiet bins count, and loud ones do not lose their lead."""
QUIET = 1e-6
"""Power of a bin below which it is not raised any more."""
Span = tuple[int, int]


class Network(nn.Module):
    """Encoder, codes and decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        hops, C = config.level_hops, config.width
        hidden = round(config.hidden * C)
        self.levels, self.channels = len(hops), config.channels
        self.ratios = [b // a for a, b in itertools.pairwise(hops)]
        self.frames = Frames(config.frame, hops[0])
        self.into = nn.Linear(config.channels * 2 * self.frames.bins, C)
        self.encoders = nn.ModuleList(Stack(C, hidden, b, config.kernel) for b in config.encoder_blocks)
        self.decoders = nn.ModuleList(Stack(C, hidden, b, config.kernel) for b in config.decoder_blocks)
        self.downs = nn.ModuleList(Down(C, r) if r > 1 else nn.Identity() for r in self.ratios)
        self.ups = nn.ModuleList(Up(C, r) if r > 1 else nn.Identity() for r in self.ratios)
        self.books = nn.ModuleList(_quantiser(config) for _ in hops)
        D = len(config.scalars) or config.embedding
        self.asked = nn.ModuleList(nn.Sequential(nn.LayerNorm(C), nn.Linear(C, D)) for _ in hops)
        self.known = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(C), nn.Linear(C, D, bias=False)) for _ in hops[1:]
        )
        self.told = nn.ModuleList(nn.Linear(D, C) for _ in hops)
        for known in self.known:
            nn.init.zeros_(known[1].weight)  # type: ignore[index]
        self.head = Head(C, self.frames, config.channels, config.decoder_head)

    # -- there and back --------------------------------------------------------------------------------

    def forward(
        self, x: Tensor, kept: Tensor | None = None, at: int | Tensor = 0
    ) -> tuple[Tensor, Tensor | None, list[Quantised]]:
        """(B, C, T) -> what can be foreseen of it from its codes, the noise beside that, and the codes of every level.

        `kept` (B,): levels of each clip that are decoded, counted from the coarsest (all when unset); `at`: the frame
        of its noise with which it begins.
        """
        found, state = self._descend(self.features(x), kept)
        return *self._written(state, at), found

    def start(self, x: Tensor) -> None:
        """Sound (B, C, T) to begin with: the head begins with its mean spectrum."""
        self.head.start(self.frames.split(mid_side(x)))

    def codes(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> (B, T / hop) of every level."""
        return [q.codes for q in self._descend(self.features(x), None)[0]]

    def sound(self, codes: Sequence[Tensor], level: int, first: int = 0, noise: float = 1.0) -> Tensor:
        """(B, T / hop) of the levels -> (B, C, T), from that level and the coarser ones; `first`: their position;
        `noise`: how much of it is added to what can be foreseen.
        """
        foreseen, unforeseen = self.parts(codes, level, first)
        return foreseen if unforeseen is None or not noise else foreseen + noise * unforeseen

    def parts(self, codes: Sequence[Tensor], level: int, first: int = 0) -> tuple[Tensor, Tensor | None]:
        """As `sound`: what can be foreseen, and the noise."""
        state: Any = None
        for at in reversed(range(self.levels)):
            state = self.ups[at](state) if state is not None else None
            if at >= level:
                told = self.told[at](self.books[at].vectors(codes[at]))  # type: ignore[operator]
                state = told if state is None else state + told
            if at:
                state = self.decoders[at](state)
        return self._written(state, first * math.prod(self.ratios))

    def _written(self, state: Tensor, at: int | Tensor) -> tuple[Tensor, Tensor | None]:
        foreseen, noise = self.head(self.decoders[0](state), at)
        return left_right(foreseen), None if noise is None else left_right(noise)

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> (B, N, width) of every level."""
        spectra = self.frames.split(mid_side(x))  # (B, C, N, F)
        power = spectra.real.square() + spectra.imag.square()
        parts = torch.view_as_real(spectra) * (power + QUIET).pow((POWER - 1) / 2)[..., None]
        h = self.encoders[0](self.into(parts.permute(0, 2, 1, 4, 3).flatten(2)))
        found = [h]
        for down, encoder in zip(self.downs, self.encoders[1:]):
            h = encoder(down(h))
            found.append(h)
        return found

    def _descend(self, features: Sequence[Tensor], kept: Tensor | None) -> tuple[list[Quantised], Tensor]:
        """The codes of every level and what the last blocks of the decoder are given."""
        found: list[Quantised] = []
        state = torch.zeros_like(features[-1])
        for at in reversed(range(self.levels)):
            u = self.asked[at](features[at])
            if at + 1 < self.levels:
                state = self.ups[at](self.decoders[at + 1](state))
                u = u - self.known[at](state)
            one = self.books[at](u)
            told = self.told[at](one.vectors)
            if kept is not None:
                told = told * (kept >= self.levels - at)[:, None, None]
            state = state + told
            found.append(one)
        return found[::-1], state

    # -- how far they look -----------------------------------------------------------------------------

    def heard(self, level: int, first: int, last: int) -> Span:
        """The samples that the codes first … last of a level depend on."""
        low, high = self._seen(level, first, last)
        if level + 1 < self.levels:
            ratio, reach = self.ratios[level], _reach(self.decoders[level + 1])
            above = self.heard(level + 1, first // ratio - reach, last // ratio + reach)
            low, high = min(low, above[0]), max(high, above[1])
        return low, high

    def _seen(self, level: int, first: int, last: int) -> Span:
        """The samples that the encoder's rows of a level depend on."""
        for at in reversed(range(level + 1)):
            reach = _reach(self.encoders[at])
            first, last = first - reach, last + reach
            if at:
                ratio = self.ratios[at - 1]
                first, last = first * ratio, last * ratio + ratio - 1
        return self.frames.heard(first, last)

    def read(self, first: int, last: int) -> Span:
        """The positions of the coarsest level that the samples first … last depend on."""
        first, last = self.frames.read(first, last)
        for at in range(self.levels):
            if at:
                first, last = first // self.ratios[at - 1], last // self.ratios[at - 1]
            reach = _reach(self.decoders[at])
            first, last = first - reach, last + reach
        return first, last


def _quantiser(config: Config) -> Quantiser:
    if config.quantiser == "fsq":
        return FiniteScalars(config.scalars, decay=config.codebook_decay)
    return CosineCodes(config.codes, config.embedding, decay=config.codebook_decay)


def _reach(stack: nn.Module) -> int:
    return int(stack.reach)  # type: ignore[arg-type]


def mid_side(x: Tensor) -> Tensor:
    """(B, 2, T) left and right -> their mean and half their difference; one channel stays as it is."""
    if x.shape[1] == 1:
        return x
    return torch.stack([(x[:, 0] + x[:, 1]) / 2, (x[:, 0] - x[:, 1]) / 2], 1)


def left_right(y: Tensor) -> Tensor:
    """The inverse of `mid_side`."""
    if y.shape[1] == 1:
        return y
    return torch.stack([y[:, 0] + y[:, 1], y[:, 0] - y[:, 1]], 1)
