"""The same four noises before a recurrent decoder for every track: the knobs keep their meaning, the music holds.

A GAN draws all notes of a phrase at once and learns slowly how notes follow each other. Here every track writes its
line note after note, and what the tracks have in common reaches them through the noises alone:

    chords, style ─▶ code of the bar ─▶ plan: for every step a harmony (12 pitch classes × Q) and a hint
    h_t = GRU(class before, pitch that sounds, plan of t)
    kind of step (rest, hold, onset) ~ p(· | h_t, plan)      drawn with the groove noise of the step in its bar
    pitch of an onset                ~ p(· | h_t, plan)      drawn with the melody noise of the step and bar

The tracks do not see each other: melody and groove of a track change that track only. Groove is constant over bars,
so rhythms come back; melody is not. Both noises are standard normal and become uniform through Φ, so they can be
turned along the sphere like any other.

Codes are the latents of a variational autoencoder (Kingma & Welling 2014) whose posterior sees all tracks: they are
the only way to agree, so they come to hold harmony. The temporal networks, which make codes of noise, are flows
(rectified flow, Liu et al. 2023) learnt from the posterior: the style first, then bar after bar, each given the bar
before, so that a piece walks on for any number of bars.

Axes: B phrases, M tracks, N bars, S steps of a bar, T = N S, Z width of codes, C classes, P pitches, Q channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.onehot import Listener, chroma_fold
from otonoha.models.musegan.shape import Noise, Shape, Widths
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS

ONSET = FIRST_PITCH
"""The third kind of step, after rest and hold: the classes from here on."""
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


def sounding_of(classes: Tensor) -> Tensor:
    """Classes (…, T) -> what sounds: 0 nothing, 1 + p the pitch p."""
    now = torch.zeros_like(classes[..., 0])
    steps = []
    for c in classes.unbind(-1):
        now = torch.where(c == HOLD_CLASS, now, (c - (FIRST_PITCH - 1)).clamp(min=0))
        steps.append(now)
    return torch.stack(steps, -1)


def noise_widths(shape: Shape, noise: int) -> Widths:
    """Private noises hold one number for each step of a bar."""
    return Widths(noise, noise, shape.steps, shape.steps)


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


class Decoder(nn.Module):
    """Codes -> lines."""

    fold: Tensor

    def __init__(
        self, shape: Shape, noise: int, *, low: int, hidden: int, channels: int = 3, given: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.channels, self.hint = shape, channels, 32
        M, S, P, H = shape.tracks, shape.steps, shape.pitches, hidden
        self.listen = Listener(shape, H // 2) if given else None
        common = 2 * noise + (H // 2 if given else 0)
        self.track = nn.Embedding(M, 32)
        self.harmony = nn.Sequential(nn.Linear(common, 2 * H), nn.ReLU(), nn.Linear(2 * H, S * 12 * channels))
        self.bar = nn.Sequential(nn.Linear(common + 32, 2 * H), nn.ReLU(), nn.Linear(2 * H, S * self.hint))
        self.chroma = nn.Linear(12 * channels, 12)
        self.before = nn.Embedding(FIRST_PITCH + P + 1, 32)
        self.sounds = nn.Embedding(1 + P, 32)
        planned = self.hint + 12 * channels
        self.gru = nn.GRU(64 + planned, H, batch_first=True)
        self.out = nn.Sequential(nn.Linear(H + planned, H), nn.ReLU(), nn.Linear(H, 3 + P + channels))
        self.register_buffer("fold", chroma_fold(P, low).T.contiguous(), persistent=False)

    def plan(self, chords: Tensor, style: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes (B, N, Z), (B, Z) or (B, N, Z) -> plan (B, M, T, D) for every track, harmony (B, T, 12 Q)."""
        B, N, _ = chords.shape
        parts = [chords, style if style.ndim == 3 else style[:, None].expand(B, N, -1)]
        if self.listen is not None:
            assert given is not None
            parts.append(self.listen(given))
        common = torch.cat(parts, -1)
        T, M = N * self.shape.steps, self.shape.tracks
        harmony = self.harmony(common).view(B, T, -1)
        who = self.track.weight[None, :, None].expand(B, M, N, -1)
        hints = self.bar(torch.cat([common[:, None].expand(B, M, N, -1), who], -1)).view(B, M, T, -1)
        return torch.cat([hints, harmony[:, None].expand(B, M, T, -1)], -1), harmony

    def logits(self, y: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """Output (…, H) and plan (…, D) -> logits of the kind (…, 3) and of the pitch (…, P).

        The harmony of the plan raises all pitches of a class at once; how much, the line decides.
        """
        out = self.out(torch.cat([y, plan], -1))
        kind, pitch, trust = out.split([3, self.shape.pitches, self.channels], -1)
        harmony = plan[..., self.hint :].unflatten(-1, (12, self.channels))
        return kind, pitch + (harmony * (1 + trust[..., None, :])).sum(-1) @ self.fold

    def forward(
        self, plan: Tensor, classes: Tensor, sounds: Tensor, drop: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Logits of every step of given lines (B, M, T), each given the steps before; some of them hidden."""
        B, M, T = classes.shape
        before = F.pad(classes[..., :-1] + 1, (1, 0))
        if drop:
            before = before.masked_fill(torch.rand(before.shape, device=before.device) < drop, 0)
        heard = torch.cat([self.before(before), self.sounds(F.pad(sounds[..., :-1], (1, 0))), plan], -1)
        y, _ = self.gru(heard.view(B * M, T, -1))
        return self.logits(y.view(B, M, T, -1), plan)

    def nats(self, plan: Tensor, classes: Tensor, sounds: Tensor, drop: float = 0.0) -> Tensor:
        """(B, M, T) nats of every step."""
        kinds, pitches = self(plan, classes, sounds, drop)
        kind, pitch = classes.clamp(max=ONSET), (classes - FIRST_PITCH).clamp(min=0)
        of_kind = F.cross_entropy(kinds.flatten(0, -2), kind.flatten(), reduction="none")
        of_pitch = F.cross_entropy(pitches.flatten(0, -2), pitch.flatten(), reduction="none")
        return (of_kind + of_pitch * (kind.flatten() == ONSET)).view_as(classes)

    @torch.no_grad()
    def write(
        self,
        codes: Noise,
        *,
        temperature: float = 1.0,
        consonance: float = 0.0,
        given: Tensor | None = None,
    ) -> Tensor:
        """Codes -> classes (B, M, T), step after step, all tracks at once.

        `consonance` times the log of the chance that a pitch class sounds at all, which the harmony says alike to
        every track, joins the logits of the pitches.
        """
        plan, harmony = self.plan(codes.chords, codes.style, given)
        sounding = consonance * F.logsigmoid(self.chroma(harmony)) @ self.fold
        B, M, T, _ = plan.shape
        groove = codes.groove if codes.groove.ndim == 4 else codes.groove[:, :, None].expand_as(codes.melody)
        chances = [uniform(noise).reshape(B * M, T) for noise in (groove, codes.melody)]
        plan = plan.reshape(B * M, T, -1)
        state = plan.new_zeros(1, B * M, self.gru.hidden_size)
        before, sounds = (torch.zeros(B * M, dtype=torch.long, device=plan.device) for _ in range(2))
        written = []
        for t in range(T):
            heard = torch.cat([self.before(before), self.sounds(sounds), plan[:, t]], -1)
            y, state = self.gru(heard[:, None], state)
            kinds, pitches = self.logits(y[:, 0], plan[:, t])
            kinds[:, HOLD_CLASS] = kinds[:, HOLD_CLASS].masked_fill(sounds == 0, -torch.inf)
            pitches = pitches + sounding[:, None, t].expand(B, M, -1).reshape(B * M, -1)
            kind = pick(kinds, chances[0][:, t], temperature)
            now = torch.where(kind == ONSET, FIRST_PITCH + pick(pitches, chances[1][:, t], temperature), kind)
            written.append(now)
            before = now + 1
            sounds = torch.where(now == HOLD_CLASS, sounds, (now - (FIRST_PITCH - 1)).clamp(min=0))
        return torch.stack(written, -1).view(B, M, T)


def uniform(normal: Tensor) -> Tensor:
    """Standard normal numbers -> uniform ones in [0, 1)."""
    return torch.special.ndtr(normal).clamp(0, 1 - 1e-6)


def pick(logits: Tensor, chance: Tensor, temperature: float) -> Tensor:
    """The class (B,) in whose share of [0, 1) the number `chance` (B,) falls; at temperature 0 the likeliest."""
    if temperature == 0:
        return logits.argmax(-1)
    up_to = (logits / temperature).softmax(-1).cumsum(-1)
    found = torch.searchsorted(up_to / up_to[:, -1:], chance[:, None].contiguous(), right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)
