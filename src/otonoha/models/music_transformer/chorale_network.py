"""The chorale network: one causal pass over frames, then voice by voice, every pitch scored relative to the others.

Frame t enters the backbone only through frames < t. Within a frame each voice knows the voices that are decided before
it (any order of the voices; soprano, alto, tenor, bass by default). A candidate pitch is scored by its distance to
every voice (the one now, or before where it is not decided yet), by its degree above the piece's reference, by its
height, and by what the motif memory, or copying heads (chorale_copy.py), say of the step that leads to it.
Axes: B crops, T frames, V = 4 voices, W the other voice, D width, C memory channels, P classes (rest, low … high).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_copy import FLOOR, Copying, Echoes
from otonoha.models.music_transformer.frames import APART, CLASSES, HOLDS, UNKNOWN, VOICES

REACH = 48
SPAN = 2 * REACH + 1
"""Distances -48 … 48 between voices."""


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """What the network reads, int64 unless said.

    `pitch` (B, T, 4) MIDI, -1 rests, of the frames to predict; `before` (B, T, 4) of the frames before them; `motion`,
    `degree`, `held` (B, T, 4; held in buckets), `spacing` (B, T, 3) of the frames before; `moved` (B, T, 4) the motion
    into the frames to predict; `reference`, `time` (B, T); `shares` (B, T, 4, 9, 26), `strength` (B, T, 4, 9, 2) float.
    """

    pitch: Tensor
    before: Tensor
    moved: Tensor
    motion: Tensor
    degree: Tensor
    held: Tensor
    spacing: Tensor
    reference: Tensor
    time: Tensor
    shares: Tensor
    strength: Tensor


class Bag(nn.Module):
    """The sum of embeddings from several tables, looked up in one go. Index -1 adds nothing."""

    starts: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        starts = torch.tensor([1, *sizes[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.table = nn.EmbeddingBag(1 + sum(sizes), width, mode="sum", padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, indices: Tensor) -> Tensor:
        """(…, tables) -> (…, D)."""
        rows = torch.where(indices < 0, 0, indices + self.starts)
        return self.table(rows.flatten(0, -2)).unflatten(0, rows.shape[:-1])


class SwiGLU(nn.Module):
    """Gated feed-forward block, before it a norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        gate, value = self.up(self.norm(x)).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class WindowAttention(nn.Module):
    """Causal attention over the last `window` frames with rotary positions, before it a norm."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, start: int = 0, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, D) of the frames from `start` on; `past` (2, B, H, S, D/H) are the S frames before.

        Returns the output and the keys and values that the next call wants.
        """
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, C) each
        q, k = rotated(q, start), rotated(k, start)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        y = within(q, k, v, self.window) if past is None else behind(q, k, v, self.window)
        kept = torch.stack([k, v])[:, :, :, max(0, k.shape[2] - self.window + 1) :]
        return self.out(y.transpose(1, 2).flatten(2)), kept


def within(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention of frames (B, H, T, C) over themselves and the window - 1 before, block by block of a window.

    A block sees itself and the block before it: the cost is linear in T. `behind` is its slow twin.
    """
    T = q.shape[2]
    q, k, v = (F.pad(x, (0, 0, 0, -T % window)).unflatten(2, (-1, window)) for x in (q, k, v))
    k, v = (torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x], dim=3) for x in (k, v))
    gap = torch.arange(window, 2 * window, device=q.device)[:, None] - torch.arange(
        2 * window, device=q.device
    )
    seen = ((gap >= 0) & (gap < window)).repeat(q.shape[2], 1, 1)
    seen[0, :, :window] = False
    return _attended(q, k, v, seen).flatten(2, 3)[:, :, :T]


def behind(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention of the last T of S frames: q (B, H, T, C), k and v (B, H, S, C)."""
    T, S = q.shape[2], k.shape[2]
    gap = torch.arange(S - T, S, device=q.device)[:, None] - torch.arange(S, device=q.device)
    return _attended(q, k, v, (gap >= 0) & (gap < window))


def _attended(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Written out: with a mask, on CPU, torch's own is up to five times slower in the backward pass."""
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    return scores.masked_fill(~seen, -math.inf).softmax(-1).to(v.dtype) @ v


class Drop(nn.Module):
    """Dropout in chances of 1/256: on CPU random bytes are three times cheaper than uniform numbers."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.bar = round(share * 256)

    def forward(self, x: Tensor) -> Tensor:
        """The same with some of it silenced, while training."""
        if not (self.training and self.bar):
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        chance = words.random_(-(2**63), 2**63 - 1).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * ((chance >= self.bar) * (256 / (256 - self.bar))).to(x.dtype)


def rotated(x: Tensor, start: int) -> Tensor:
    """Rotary positions (Su et al. 2021): x (B, H, T, C) turned by the number of each frame."""
    C = x.shape[-1]
    rates = 10000.0 ** (-torch.arange(0, C, 2, device=x.device) / C)
    angle = torch.arange(start, start + x.shape[2], device=x.device)[:, None] * rates
    sin, cos = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class ChoraleNetwork(nn.Module):
    """Logits of every voice of every frame; see the top of the file."""

    def __init__(self, config: ChoraleConfig, low: int, high: int) -> None:
        super().__init__()
        self.config, self.low, self.pitches = config, low, high - low + 1
        self.lowest, self.classes = low - config.margin, self.pitches + 2 * config.margin + 1
        D, C, P = config.width, len(config.channels), self.classes
        tables = [P, CLASSES, 13, HOLDS]
        self.frame = Bag(tables * VOICES + [SPAN + 1] * 3 + [4, 16, 5, 1], D)
        self.attention = nn.ModuleList(
            WindowAttention(D, config.heads, config.window) for _ in range(config.layers)
        )
        self.mix = nn.ModuleList(SwiGLU(D, config.hidden) for _ in range(config.layers))
        self.norm, self.into = nn.RMSNorm(D), nn.Linear(D, D)
        self.own = Bag([VOICES, HOLDS, P, 13] + [CLASSES, P, 13] * VOICES + [VOICES * SPAN] * VOICES, D)
        self.mind = nn.ModuleList(SwiGLU(D, config.voice_hidden) for _ in range(config.voice_layers))
        self.end = nn.RMSNorm(D)
        self.drop, self.drop_in = Drop(config.dropout), Drop(config.input_dropout)
        self.head = nn.Linear(D, (VOICES + 1) * SPAN + 12 + 1 + C)
        self.height = nn.Parameter(torch.zeros(VOICES, D, P - 1))
        self.range = nn.Parameter(torch.zeros(VOICES, P - 1))
        if C:
            self.recall, self.trust = nn.Linear(C * CLASSES, D, bias=False), nn.Linear(C * 4, D)
            self.sure = nn.Parameter(torch.zeros(VOICES, C * 4, C))
        self.copying = Copying(config.copies, D, config.copy_dropout) if config.copies else None
        pieces, frames = config.remembered
        self.register_buffer("lengths", torch.zeros(pieces, dtype=torch.int32))
        self.register_buffer("remembered", torch.zeros(frames, VOICES, dtype=torch.int8))
        self._begin()

    # -- the pieces it remembers -----------------------------------------------------------------------

    def remember(self, pieces: Sequence[np.ndarray]) -> None:
        """Keep (T, 4) pitches for the motif memory; they are saved with the weights."""
        self.lengths = torch.tensor([len(p) for p in pieces], dtype=torch.int32)
        together = np.concatenate(pieces) if pieces else np.empty((0, VOICES))
        self.remembered = torch.from_numpy(together.astype(np.int8))

    def memory(self) -> list[np.ndarray]:
        """The pieces it remembers."""
        ends = self.lengths.cumsum(0).tolist()
        return np.split(self.remembered.cpu().numpy().astype(np.int16), ends[:-1]) if ends else []

    def _begin(self) -> None:
        """What starts at zero stays silent until it has learnt something: all but own step and rest; gates at .1."""
        with torch.no_grad():
            self.head.weight[SPAN : -1 - len(self.config.channels)] = 0
            self.head.weight[self.head.out_features - len(self.config.channels) :] = 0
            self.head.bias[:] = 0
            self.head.bias[self.head.out_features - len(self.config.channels) :] = 0.1

    # -- the backbone ----------------------------------------------------------------------------------

    def class_of(self, pitch: Tensor) -> Tensor:
        """MIDI pitches -> classes: 0 rest, then the pitches from the lowest on, margin included."""
        return torch.where(pitch < 0, 0, pitch - self.lowest + 1)

    def symbols(self, logits: Tensor) -> Tensor:
        """Logits of the codec's own symbols, low … high: without the margin."""
        inner = logits[..., 1 + self.config.margin : 1 + self.config.margin + self.pitches]
        return torch.cat([logits[..., :1], inner], dim=-1)

    def frame_inputs(self, x: FrameInputs) -> Tensor:
        """(B, T, D) of the frames before, and of the place in the bar."""
        pitch = self.class_of(x.before) if self.config.absolute else torch.full_like(x.before, -1)
        voices = torch.stack([pitch, x.motion, x.degree, x.held], dim=-1).flatten(2)
        spacing = torch.where(x.spacing == APART, SPAN, x.spacing.clamp(-REACH, REACH) + REACH)
        time = x.time[..., None]
        told = torch.where(time == 0, -1, torch.cat([voices, spacing], dim=-1))
        begins = torch.where(time == 0, 0, -1)
        place = torch.cat([time % 4, time % 16, (time // 4).clamp(max=4), begins], dim=-1)
        return self.drop_in(self.frame(torch.cat([told, place], dim=-1)))

    def backbone(
        self, x: FrameInputs, start: int = 0, past: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, T, D) what is known before each frame, and the caches to go on with."""
        h, kept = self.frame_inputs(x), []
        for i, (attention, mix) in enumerate(zip(self.attention, self.mix, strict=True)):
            y, cache = attention(h, start, None if past is None else past[i])
            h = h + self.drop(y)
            h = h + self.drop(mix(h))
            kept.append(cache)
        return self.into(self.norm(h)), kept

    # -- voice by voice --------------------------------------------------------------------------------

    def forward(self, x: FrameInputs, decided: Tensor, channels: Tensor | None = None) -> Tensor:
        """Logits (B, T, 4, P). `decided` (B, T or 1, 4, 4) bool: does voice v know voice w? `channels` (B, 9) bool:
        those of the memory that may speak.
        """
        return self.voices(self.backbone(x)[0], x, decided, channels)

    def voices(
        self,
        h: Tensor,
        x: FrameInputs,
        decided: Tensor,
        channels: Tensor | None = None,
        echoes: Echoes | None = None,
    ) -> Tensor:
        """Logits (B, T, 4, P) from the backbone's output (B, T, D); with `echoes` where x is not the whole past."""
        y = h[:, :, None] + self.own(self._own_indices(x, decided))
        memory = self._memory(x, channels) if self.config.channels else None
        if memory is not None:
            shares, sure = memory
            y = y + self.recall(shares.flatten(3)) + self.trust(sure)
        copied = None
        if self.copying is not None:
            copied = self._copied(self.copying, x, decided, echoes)
            y = y + self.copying.told(*copied)
        y = self.drop_in(y)
        for mind in self.mind:
            y = y + self.drop(mind(y))
        y = self.end(y)
        height = torch.einsum("btvd,vdp->btvp", y, self.height) + self.range
        logits = self._score(self.head(y).float(), height.float(), x, decided, memory)
        if self.copying is None or copied is None:
            return logits
        return logits + self._of_steps(self.copying.said(y, *copied), x)

    @staticmethod
    def _copied(
        copying: Copying, x: FrameInputs, decided: Tensor, echoes: Echoes | None
    ) -> tuple[Tensor, Tensor]:
        """What the copying heads say; likenesses are long sums, so they are kept in full precision."""
        with torch.autocast(x.pitch.device.type, enabled=False):
            echoes = copying.echoes(x.pitch, x.moved) if echoes is None else echoes
            return copying.shares(echoes, x.pitch, x.before, x.moved, decided)

    def _own_indices(self, x: FrameInputs, decided: Tensor) -> Tensor:
        """(B, T, 4, tables) of the voice itself and of the voices that it knows."""
        voice = torch.arange(VOICES, device=x.pitch.device).expand_as(x.before)
        own = [voice, x.held, self.class_of(x.before), x.degree]
        known = decided.expand(*x.pitch.shape, VOICES)
        first = x.time[..., None] == 0
        own[1:] = [torch.where(first, -1, o) for o in own[1:]]
        if not self.config.absolute:
            own[2] = torch.full_like(own[2], -1)
        reference = x.reference[..., None]
        degree = torch.where((x.pitch < 0) | (reference > 11), 12, (x.pitch - reference) % 12)
        now = torch.stack([x.moved, self.class_of(x.pitch), degree], dim=-1)  # (B, T, W, 3)
        if not self.config.absolute:
            now[..., 1] = -1
        others = torch.where(known[..., None], now[:, :, None], -1).flatten(3)
        gap = (x.pitch[:, :, None] - x.before[..., None]).clamp(-REACH, REACH) + REACH  # (B, T, V, W)
        heard = known & (x.pitch >= 0)[:, :, None] & (x.before >= 0)[..., None]
        gap = torch.where(heard, voice[..., None] * SPAN + gap, -1)
        return torch.cat([torch.stack(own, dim=-1), others, gap], dim=-1)

    def _memory(self, x: FrameInputs, channels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Shares (B, T, 4, C, 26) and how sure each is (B, T, 4, 4 C)."""
        use = list(self.config.channels)
        shares, strength = x.shares[:, :, :, use].float(), x.strength[:, :, :, use].float()
        best, total = strength.unbind(-1)
        sure = torch.stack(
            [torch.log1p(best), (best > 0).float(), best.clamp(max=64) / 32, torch.log1p(total)], dim=-1
        )
        if channels is not None:
            speak = channels[:, None, None, use, None].float()
            shares, sure = shares * speak, sure * speak
        return shares, sure.flatten(3)

    def _score(
        self,
        heads: Tensor,
        score: Tensor,
        x: FrameInputs,
        decided: Tensor,
        memory: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Put the heads' opinions of every class together; `score` (B, T, 4, P - 1) is that of the height."""
        C = len(self.config.channels)
        relative, degree, rest, gates = heads.split([(VOICES + 1) * SPAN, 12, 1, C], dim=-1)
        own, others = relative.split([SPAN, VOICES * SPAN], dim=-1)
        pitch = torch.arange(self.lowest, self.lowest + self.classes - 1, device=heads.device)
        known = decided.expand(*x.pitch.shape, VOICES)
        points = torch.where(known, x.pitch[:, :, None], x.before[:, :, None])  # (B, T, V, W)
        itself = torch.eye(VOICES, dtype=torch.bool, device=heads.device)
        heard = (points >= 0)[..., None] & ~itself[..., None]
        score = score + (_at(others.unflatten(-1, (VOICES, SPAN)), pitch, points) * heard).sum(-2)
        score = score + _at(own, pitch, x.before) * (x.before >= 0)[..., None]
        reference = x.reference[..., None]
        at = ((pitch - reference) % 12)[:, :, None].expand_as(score)
        score = score + degree.gather(-1, at) * (reference < 12)[:, :, None]
        logits = torch.cat([rest, score], dim=-1)
        if memory is None:
            return logits
        shares, sure = memory
        gates = gates + torch.einsum("btvs,vsc->btvc", sure, self.sure).float()
        return logits + self._of_steps((gates[..., None] * torch.log(shares + FLOOR)).sum(-2), x)

    def _of_steps(self, said: Tensor, x: FrameInputs) -> Tensor:
        """What is said of the steps (B, T, 4, 26), for every class (B, T, 4, P)."""
        pitch = torch.arange(self.lowest, self.lowest + self.classes - 1, device=said.device)
        step = (pitch - x.before[..., None]).clamp(-12, 12) + 12
        step = torch.where(x.before[..., None] < 0, UNKNOWN, step)
        step = F.pad(step, (1, 0), value=UNKNOWN)
        return said.gather(-1, step)


def _at(opinion: Tensor, pitch: Tensor, point: Tensor) -> Tensor:
    """Opinions (…, 97) on distances, read at the distances of the pitches (P,) from a point (…): (…, P)."""
    return opinion.gather(-1, (pitch - point[..., None] + REACH).clamp(0, SPAN - 1))
