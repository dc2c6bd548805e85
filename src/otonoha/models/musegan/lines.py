"""Codes of phrases for design `lines`: a posterior that sees all tracks, and flows that make codes of noise.

    chords, style ─▶ flows ─▶ codes of the bars ─▶ plan: for every step a harmony (12 pitch classes × Q) and a hint

Codes are the latents of a variational autoencoder (Kingma & Welling 2014) whose posterior sees all tracks: they come
to hold what the tracks have in common, harmony above all. The temporal networks, which make codes of noise, are flows
(rectified flow, Liu et al. 2023) learnt from the posterior: the style first, then bar after bar, each given the bar
before, so that a piece walks on for any number of bars. The decoder (decoder.py) makes lines of the plan.

Axes: B phrases, M lines, N bars, S steps of a bar, T = N S, Z width of codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.shape import Shape
from otonoha.tokens.roll import FIRST_PITCH

EULER = 12
"""Steps of the flows."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Means and log variances of the codes of given phrases: chords (B, N, Z), style (B, Z)."""

    chords: tuple[Tensor, Tensor]
    style: tuple[Tensor, Tensor]

    def drawn(self) -> tuple[Tensor, Tensor]:
        """One draw of each."""
        chords, style = (mean + torch.randn_like(mean) * (log / 2).exp() for mean, log in self._both())
        return chords, style

    def nats(self) -> tuple[Tensor, Tensor]:
        """(B,) KL divergences from the standard normal, of chords and of style."""
        chords, style = (
            (0.5 * (mean.square() + log.exp() - 1 - log)).flatten(1).sum(1) for mean, log in self._both()
        )
        return chords, style

    def _both(self) -> tuple[tuple[Tensor, Tensor], ...]:
        return self.chords, self.style


class Encoder(nn.Module):
    """Classes (B, M, T) -> Posterior. The code of a bar sees the bars beside it too, the style sees all bars."""

    def __init__(self, shape: Shape, noise: int, hidden: int) -> None:
        super().__init__()
        M, S, E, H = shape.tracks, shape.steps, 16, hidden
        self.shape = shape
        self.pitch = nn.Embedding(1 + shape.pitches, E)
        self.onset = nn.Parameter(torch.randn(E) * 0.1)
        self.voice = nn.Sequential(nn.Linear(S * E + M, H), nn.ReLU(), nn.Linear(H, H // 2))
        self.together = nn.Sequential(nn.Linear(M * (H // 2), H), nn.ReLU())
        self.chords = nn.Sequential(nn.Linear(3 * H, H), nn.ReLU(), nn.Linear(H, 2 * noise))
        self.style = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, 2 * noise))

    def forward(self, classes: Tensor, sounds: Tensor) -> Posterior:
        """The posterior of phrases."""
        B, M, T = classes.shape
        N = T // self.shape.steps
        x = self.pitch(sounds) + (classes >= FIRST_PITCH)[..., None] * self.onset
        who = torch.eye(M, device=x.device)[None, :, None].expand(B, M, N, M)
        voices = self.voice(torch.cat([x.reshape(B, M, N, -1), who], -1))
        bars = self.together(voices.transpose(1, 2).flatten(2))
        beyond = F.pad(bars, (0, 0, 1, 1))
        chords = self.chords(torch.cat([beyond[:, :-2], bars, beyond[:, 2:]], -1))
        return Posterior(_moments(chords), _moments(self.style(bars.mean(1))))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    mean, log = x.chunk(2, -1)
    return mean, log.clamp(-8, 4)


class Flow(nn.Module):
    """Standard normal x_0 (…, Z) -> x_1, given a condition (…, D): dx/dt = v(x, t, condition)."""

    def __init__(self, width: int, condition: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(width + condition + 16, hidden)
        self.inner = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
            )
            for _ in range(depth)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width))

    def velocity(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """v at time (…, 1) in [0, 1]."""
        turns = time * torch.exp(torch.linspace(0, 4, 8, device=x.device))
        h = F.silu(self.first(torch.cat([x, condition, turns.sin(), turns.cos()], -1)))
        for layer in self.inner:
            h = h + layer(h)
        return self.last(h)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """The way from noise to a code."""
        for i in range(EULER):
            time = torch.full_like(x[..., :1], (i + 0.5) / EULER)
            x = x + self.velocity(x, time, condition) / EULER
        return x

    def loss(self, code: Tensor, condition: Tensor) -> Tensor:
        """Squared error of the velocity on straight ways from noise to given codes, mean over codes."""
        noise, time = torch.randn_like(code), torch.rand_like(code[..., :1])
        wanted = code - noise
        found = self.velocity(noise + time * wanted, time, condition)
        return (found - wanted).square().sum(-1).mean()


class Flows(nn.Module):
    """Noise -> codes: a flow for the style, one for the bars, each given the style and the bar before."""

    def __init__(self, noise: int, hidden: int, heard: int = 0) -> None:
        super().__init__()
        self.style = Flow(noise, 0, hidden, 2)
        self.chords = Flow(noise, 2 * noise + 1 + heard, hidden, 2)

    def forward(self, chords: Tensor, style: Tensor, heard: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """chords (B, N, Z), style (B, Z) or (B, N, Z) -> codes of the same shapes."""
        style = self.style(style, style[..., :0])
        each = style if style.ndim == 3 else style[:, None].expand_as(chords)
        code, bars = torch.zeros_like(chords[:, 0]), []
        for n in range(chords.shape[1]):
            first = torch.full_like(code[:, :1], float(n == 0))
            parts = [each[:, n], code, first] + ([] if heard is None else [heard[:, n]])
            code = self.chords(chords[:, n], torch.cat(parts, -1))
            bars.append(code)
        return torch.stack(bars, 1), style

    def loss(self, chords: Tensor, style: Tensor, heard: Tensor | None = None) -> Tensor:
        """Of both flows, on codes drawn from the posterior."""
        before = F.pad(chords[:, :-1], (0, 0, 1, 0))
        first = torch.zeros_like(chords[..., :1])
        first[:, 0] = 1
        parts = [style[:, None].expand_as(chords), before, first] + ([] if heard is None else [heard])
        return self.chords.loss(chords, torch.cat(parts, -1)) + self.style.loss(style, style[..., :0])
