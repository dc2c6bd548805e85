"""The better GAN for lines: notes chosen as classes (rest, hold, pitch), a critic that hears what musicians hear.

Two changes carry it. The generator chooses one class for each track and step; what the critic sees is the choice
itself, and gradients pass as if it were the probabilities (straight-through, Bengio et al. 2013): so both real and
generated phrases are one-hot, and a note can be held or a track can rest. And the critic receives, beside the
classes, what follows from them: the pitch that sounds, folded to its chroma; onsets; leaps; and for every pair of
tracks the interval between them (streams; after BinaryMuseGAN, Dong & Yang 2018, with a correct fold).

Axes: B phrases, M tracks, N bars, S steps of a bar, T = N S, C classes (rest, hold, P pitches), Z noise.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.shape import Noise, Shape, Widths, per_bar
from otonoha.tokens.roll import FIRST_PITCH, HOLD, HOLD_CLASS, REST_CLASS

KINDS = 3
"""Of steps: rest, hold, onset. A pitch is chosen apart from them: as classes of one choice, the many pitches of a
possible onset would have to beat the one hold each by itself, and short notes would not come about."""


def classes_of(rolls: Tensor) -> Tensor:
    """States (B, M, N, S, P) of lines -> classes (B, M, T), as `Roll.lines_of`: what holds nothing, as what is
    held over into the phrase, begins there; of several pitches the highest counts.
    """
    flat = rolls.flatten(2, 3)
    rows = torch.arange(1, flat.shape[-1] + 1, device=flat.device, dtype=flat.dtype)
    sounds = (flat.sign() * rows).amax(-1).long()  # 0 silence, 1 + row
    state = flat.gather(-1, (sounds - 1).clamp(min=0)[..., None])[..., 0]
    held = (state[..., 1:] == HOLD) & (sounds[..., 1:] == sounds[..., :-1])
    classes = torch.where(sounds > 0, sounds + (FIRST_PITCH - 1), REST_CLASS)
    classes[..., 1:].masked_fill_(held, HOLD_CLASS)
    return classes


def one_hot(classes: Tensor, pitches: int) -> Tensor:
    """Classes (B, M, T) -> (B, M, T, C) float."""
    return F.one_hot(classes, FIRST_PITCH + pitches).float()


def chroma_fold(pitches: int, low: int) -> Tensor:
    """(P, 12): the pitch class of every pitch from MIDI number `low` on."""
    return F.one_hot((torch.arange(pitches) + low) % 12, 12).float()


class Walk(nn.Module):
    """The temporal networks: neighbouring noise vectors k and k + 1 make the code of bar k.

    As it only looks at neighbours, it walks on for any number of bars; bars share a vector with the next, so
    that there is no seam. `tracks` networks of one form, distinguished by a learnt vector.
    """

    def __init__(self, width: int, hidden: int, tracks: int = 0) -> None:
        super().__init__()
        self.who = nn.Parameter(torch.randn(tracks, width) * 0.5) if tracks else None
        self.first = nn.Linear(width * (3 if tracks else 2), hidden)
        self.second = nn.Linear(hidden, width)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, [M,] K, Z) -> (B, [M,] K - 1, Z)."""
        pairs = [noise[..., :-1, :], noise[..., 1:, :]]
        if self.who is not None:
            pairs.append(self.who[None, :, None].expand_as(pairs[0]))
        return self.second(F.leaky_relu(self.first(torch.cat(pairs, -1)), 0.2))


class Generator(nn.Module):
    """Noise -> classes. A bar is written by one perceptron for every track, all tracks at once.

    Chords and style also make a harmony, for every step a number for each pitch class, that raises the pitches of
    all tracks alike: without it, tracks that agree must be found by chance. And every track has a contour, a height
    for every step that raises the pitches near it, so that a line is a line from the beginning.
    """

    fold: Tensor

    def __init__(
        self, shape: Shape, widths: Widths, *, low: int, hidden: int = 384, given: int | None = None
    ) -> None:
        super().__init__()
        self.shape, self.given, M = shape, given, shape.tracks
        self.depth = max(8, hidden // 12)
        self.chords = Walk(widths.chords, hidden // 2)
        self.melody = Walk(widths.melody, hidden // 2, M)
        heard = 0 if given is None else hidden
        self.listen = None if given is None else Listener(shape, hidden)
        sizes = [widths.total + heard, hidden, hidden, shape.steps * self.depth]
        self.layers = nn.ModuleList(PerTrack(M, a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in sizes[1:])
        self.last = PerTrack(M, self.depth, KINDS + shape.pitches + 1)
        self.reach = nn.Parameter(torch.full((M, 1, 1), math.log(4.0)))
        common = widths.chords + widths.style
        self.harmony = nn.Sequential(
            nn.Linear(common, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, shape.steps * 12)
        )
        self.register_buffer("fold", chroma_fold(shape.pitches, low).T.contiguous(), persistent=False)

    def vectors(self, bars: int) -> int:
        """Temporal noise vectors for so many bars."""
        return bars + 1

    def codes(self, noise: Noise) -> Noise:
        """Noise of K = N + 1 vectors -> codes of N bars."""
        return Noise(self.chords(noise.chords), noise.style, self.melody(noise.melody), noise.groove)

    def logits(self, codes: Noise, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes -> logits of the kinds (B, M, T, 3) and of the pitches (B, M, T, P); `given` (B, T) classes."""
        x = per_bar(codes)
        B, M, N, _ = x.shape
        if self.listen is not None:
            assert given is not None
            x = torch.cat([x, self.listen(given)[:, None].expand(B, M, N, -1)], -1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), 0.2)
        P = self.shape.pitches
        kinds, pitches, height = self.last(x.reshape(B, M, N * self.shape.steps, self.depth)).split(
            [KINDS, P, 1], -1
        )
        rows = torch.arange(P, device=x.device) - P / 2
        near = -0.5 * ((rows - 6 * height) / self.reach.exp()).square()
        style = codes.style if codes.style.ndim == 3 else codes.style[:, None].expand(B, N, -1)
        harmony = self.harmony(torch.cat([codes.chords, style], -1))
        return kinds, pitches + near + harmony.view(B, 1, N * self.shape.steps, 12) @ self.fold

    def bars(self, codes: Noise, given: Tensor | None = None) -> Tensor:
        """Codes -> straight-through choices (B, M, T, C), the given track in its place."""
        kinds, pitches = (straight_through(x) for x in self.logits(codes, given))
        chosen = torch.cat([kinds[..., :FIRST_PITCH], kinds[..., FIRST_PITCH:] * pitches], -1)
        if self.given is None or given is None:
            return chosen
        return pasted(chosen, one_hot(given, self.shape.pitches), self.given)

    def forward(self, noise: Noise, given: Tensor | None = None) -> Tensor:
        """Noise -> straight-through choices (B, M, T, C)."""
        return self.bars(self.codes(noise), given)


def pasted(chosen: Tensor, given: Tensor, track: int) -> Tensor:
    """(B, M, T, C) with the given track (B, T, C) in its place."""
    return torch.cat([chosen[:, :track], given[:, None], chosen[:, track + 1 :]], 1)


class PerTrack(nn.Module):
    """A linear layer of its own for every track: (B, M, …, I) -> (B, M, …, O)."""

    def __init__(self, tracks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(tracks, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(tracks, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """One batched matrix product."""
        B, M, *between, width = x.shape
        rows = x.transpose(0, 1).reshape(M, -1, width)
        y = torch.baddbmm(self.bias, rows, self.weight)
        return y.view(M, B, *between, -1).transpose(0, 1)


def straight_through(logits: Tensor) -> Tensor:
    """The likeliest class, one-hot; its gradient is that of the probabilities."""
    chances = logits.softmax(-1)
    chosen = F.one_hot(logits.argmax(-1), logits.shape[-1]).to(chances)
    return chosen + chances - chances.detach()


class Listener(nn.Module):
    """What a given track does in a bar and in the bars beside it: (B, T) classes -> (B, N, H)."""

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        self.shape = shape
        self.bar = nn.Linear(shape.steps * (shape.pitches + 1), hidden)
        self.around = nn.Linear(3 * hidden, hidden)

    def forward(self, given: Tensor) -> Tensor:
        """Sounding pitches and onsets of each bar, then its neighbours."""
        heard = one_hot(given, self.shape.pitches)[:, None]
        sounds = sounding(heard)[:, 0]
        onsets = heard[:, 0, :, FIRST_PITCH:].sum(-1, keepdim=True)
        bars = torch.cat([sounds, onsets], -1).unflatten(1, (-1, self.shape.steps)).flatten(2)
        x = F.pad(F.leaky_relu(self.bar(bars), 0.2), (0, 0, 1, 1))
        return F.leaky_relu(self.around(torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], -1)), 0.2)


def sounding(x: Tensor) -> Tensor:
    """Choices (B, M, T, C) -> the pitch that sounds (B, M, T, P): a hold carries on what sounded before.

    Linear in every step, so a gradient reaches the onset of a held note.
    """
    now: Tensor | None = None
    steps = []
    for pitch, hold in zip(x[..., FIRST_PITCH:].unbind(2), x[..., HOLD_CLASS].unbind(2), strict=True):
        now = pitch if now is None else pitch + hold[..., None] * now
        steps.append(now)
    return torch.stack(steps, 2)


class Streams(nn.Module):
    """What the critic hears of choices (B, M, T, C): (B, T, features)."""

    fold: Tensor
    height: Tensor
    turned: Tensor

    def __init__(self, shape: Shape, low: int) -> None:
        super().__init__()
        M, P = shape.tracks, shape.pitches
        self.pairs = [(i, j) for i in range(M) for j in range(i + 1, M)]
        self.register_buffer("fold", chroma_fold(P, low), persistent=False)
        self.register_buffer("height", (torch.arange(P) - P / 2) / 12, persistent=False)
        # turned[c, d] = c + d mod 12: the pitch class d semitones above c
        self.register_buffer("turned", (torch.arange(12)[:, None] + torch.arange(12)) % 12, persistent=False)
        self.size = M * (FIRST_PITCH + P) + M * (12 + 3) + 12 * len(self.pairs) + (M - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Classes, chroma, onsets, heights, leaps; intervals and order of the tracks."""
        sounds = sounding(x)
        chroma = sounds @ self.fold
        height = sounds @ self.height
        onset = x[..., FIRST_PITCH:].sum(-1)
        leap = onset * (height - F.pad(height[..., :-1], (1, 0)))
        above = chroma[..., self.turned]  # (B, M, T, 12, 12): chance of the class d above c
        intervals = [(chroma[:, j, :, :, None] * above[:, i]).sum(-2) for i, j in self.pairs]
        order = [height[:, i] - height[:, i + 1] for i in range(x.shape[1] - 1)]
        each = torch.cat([x, chroma, onset[..., None], height[..., None], leap[..., None]], -1)
        parts = [each.transpose(1, 2).flatten(2), *intervals]
        if order:
            parts.append(torch.stack(order, -1))
        return torch.cat(parts, -1)


class Critic(nn.Module):
    """Choices (B, M, T, C) -> scores (B,): beats, then bars, then the phrase, and how varied the batch is.

    Outside of training a batch counts as varied as usual, so that a phrase has one score in any company.
    """

    usual: Tensor

    def __init__(self, shape: Shape, *, low: int, hidden: int = 256) -> None:
        super().__init__()
        self.beats = next(b for b in (4, 3, 2, 1) if shape.steps % b == 0)
        self.streams = Streams(shape, low)
        self.beat = nn.Linear(self.streams.size * shape.steps // self.beats, hidden)
        self.bar = nn.Linear(3 * hidden * self.beats, hidden)
        self.phrase = nn.Linear(hidden * shape.bars, hidden)
        self.score = nn.Linear(hidden + 1, 1)
        self.register_buffer("usual", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B,)."""
        heard = self.streams(x)
        B, T, _ = heard.shape
        length = self.beat.in_features // self.streams.size
        beats = F.leaky_relu(self.beat(heard.reshape(B, T // length, -1)), 0.2)
        around = F.pad(beats, (0, 0, 1, 1))
        beats = torch.cat([around[:, :-2], beats, around[:, 2:]], -1)
        bars = F.leaky_relu(self.bar(beats.reshape(B, -1, self.bar.in_features)), 0.2)
        y = F.leaky_relu(self.phrase(bars.flatten(1)), 0.2)
        varied = self.usual
        if self.training:
            varied = (y.var(0, unbiased=False) + 1e-6).sqrt().mean()
            self.usual.lerp_(varied.detach(), 0.01)
        return self.score(torch.cat([y, varied.expand(B, 1)], -1))[:, 0]
