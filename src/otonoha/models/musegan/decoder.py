"""The decoder of design `lines`: plan and noises -> lines, each of which hears the others.

    h_t = GRU(class before, pitch that sounds, plan of t, what the heard lines do at t and, within the bar, at t + 1)
    kind of step (rest, hold, onset) ~ p(· | h_t, plan, heard)
    pitch of an onset                ~ p(· | h_t, plan, heard, intervals to what sounds in the heard lines)

Which lines are heard is drawn anew for every line of every phrase while learning, so one network knows the chances
of a line given any of the others: none, those before it, all (orderless autoregression, Uria et al. 2014; as in
Coconet, Huang et al. 2017). Two passes write a phrase:

    sketch     line after line, each hears those before it; drawn with common noises, of style and chords
    outcome    of every line some notes anew, hearing the *sketch* of all others; drawn with its own noises

So lines agree, and still a track's own noises change that track only.

Axes: B phrases, M tracks, L lines of a track, V = M L lines, N bars, S steps of a bar, T = N S, Z width of codes,
P pitches, Q channels, E width of what is heard, U lines that are written at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.onehot import Listener, chroma_fold
from otonoha.models.musegan.shape import Shape
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS, REST_CLASS

ONSET = FIRST_PITCH
"""The third kind of step, after rest and hold: the classes from here on."""
HEARD = 40
"""E."""


def sounding_of(classes: Tensor) -> Tensor:
    """Classes (…, T) -> what sounds: 0 nothing, 1 + p the pitch p."""
    now = torch.zeros_like(classes[..., 0])
    steps = []
    for c in classes.unbind(-1):
        now = torch.where(c == HOLD_CLASS, now, (c - (FIRST_PITCH - 1)).clamp(min=0))
        steps.append(now)
    return torch.stack(steps, -1)


@dataclass(frozen=True, eq=False)
class Around:
    """Where n pitches are chosen: by which `line` (n,), what all lines sound (n, V) and sounded a step `earlier`
    (n, V), 0 nothing, 1 + p the pitch p; the line's `own` earlier pitch (n,); `seen` (n, V), 0 or 1: who is heard.
    """

    line: Tensor
    sounds: Tensor
    earlier: Tensor
    own: Tensor
    seen: Tensor


class Ears(nn.Module):
    """What a line hears of others; `seen` (B, U, V), 0 or 1, says which of them."""

    def __init__(self, tracks: int, count: int, pitches: int, steps: int, pitched: Tensor) -> None:
        super().__init__()
        V = tracks * count
        self.pitches, self.steps = pitches, steps
        self.register_buffer("pitched", pitched, persistent=False)
        self.register_buffer("track", torch.arange(tracks).repeat_interleave(count), persistent=False)
        self.notes = nn.Parameter(torch.randn(V, 1 + pitches, 2 * HEARD) / math.sqrt(V))
        self.onset = nn.Parameter(torch.randn(V, 2 * HEARD) / math.sqrt(V))
        self.unheard = nn.Parameter(torch.zeros(V, 2 * HEARD))
        self.intervals = nn.Parameter(torch.zeros(tracks, tracks, 2 * pitches - 1))
        self.parallels = nn.Parameter(torch.zeros(tracks, tracks, 12))

    track: Tensor
    pitched: Tensor

    def forward(self, classes: Tensor, sounds: Tensor, seen: Tensor) -> Tensor:
        """(B, V, T) -> (B, U, T, 2E): what they do now, and at the next step of the bar.

        Nobody hears beyond the bar, so that a bar is the same whatever follows it.
        """
        V = len(self.unheard)
        does = self.notes[torch.arange(V, device=sounds.device)[:, None], sounds]
        does = does + (classes >= ONSET)[..., None] * self.onset[:, None] - self.unheard[:, None]
        found = torch.einsum("buv,bvx->bux", seen, does.flatten(2)).unflatten(-1, (-1, 2 * HEARD))
        now, after = (found + self.unheard.sum(0)).chunk(2, -1)
        after = F.pad(after.unflatten(2, (-1, self.steps))[:, :, :, 1:], (0, 0, 0, 1)).flatten(2, 3)
        return torch.cat([now, after], -1)

    def leaning(self, around: Around) -> Tensor:
        """(n, P) for and against pitches.

        Tables say for each pair of tracks how fitting every interval is, and, where the other moves, how fitting it is
        to move in parallel from every interval. Drums have none.
        """
        P, M = self.pitches, len(self.intervals)
        line, sounds, earlier = around.line, around.sounds, around.earlier
        seen = around.seen * self.pitched * self.pitched[line][:, None]
        own = around.own[:, None]
        rows = self.intervals.unfold(-1, P, 1).flip(2)  # (M, M, P, P): what sounds, pitch
        table = F.pad(rows, (0, 0, 1, 0)).reshape(-1, P)
        pair = self.track[line][:, None] * M + self.track
        fitting = F.embedding_bag(pair * (P + 1) + sounds, table, mode="sum", per_sample_weights=seen)
        parallel = own + sounds - earlier
        moves = (sounds > 0) & (earlier > 0) & (own > 0) & (sounds != earlier)
        moves = moves & (parallel >= 1) & (parallel <= P)
        together = self.parallels.flatten(0, 1)[pair, (own - earlier) % 12] * seen * moves
        return fitting.scatter_add(1, (parallel - 1).clamp(0, P - 1), together)


class Decoder(nn.Module):
    """Codes -> lines. `shape` counts the lines of all tracks as its tracks; `count` of them belong to each."""

    fold: Tensor
    pitched: Tensor

    def __init__(
        self,
        shape: Shape,
        noise: int,
        *,
        low: int,
        hidden: int,
        count: int = 1,
        struck: Tensor | None = None,
        given: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.shape, self.count, self.channels, self.hint = shape, count, channels, 32
        V, S, P, H = shape.tracks, shape.steps, shape.pitches, hidden
        self.listen = Listener(shape, H // 2) if given else None
        common = 2 * noise + (H // 2 if given else 0)
        self.track = nn.Embedding(V, 32)
        self.harmony = nn.Sequential(nn.Linear(common, 2 * H), nn.ReLU(), nn.Linear(2 * H, S * 12 * channels))
        self.bar = nn.Sequential(nn.Linear(common + 32, 2 * H), nn.ReLU(), nn.Linear(2 * H, S * self.hint))
        self.chroma = nn.Linear(12 * channels, 12)
        self.before = nn.Embedding(FIRST_PITCH + P + 1, 32)
        self.sounds = nn.Embedding(1 + P, 32)
        pitched = torch.ones(V) if struck is None else (~struck).float()
        self.ears = Ears(V // count, count, P, S, pitched)
        planned = self.hint + 12 * channels
        self.gru = nn.GRU(64 + planned + 2 * HEARD, H, batch_first=True)
        self.out = nn.Linear(H + planned + 2 * HEARD, H)
        self.kind, self.pitch = nn.Linear(H, 3), nn.Linear(H, P + channels)
        self.register_buffer("pitched", pitched, persistent=False)
        self.register_buffer("fold", chroma_fold(P, low).T.contiguous(), persistent=False)

    def plan(self, chords: Tensor, style: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes (B, N, Z), (B, Z) or (B, N, Z) -> plan (B, V, T, D) for every line, harmony (B, T, 12 Q).

        `given` (B, T) are the classes of the given track.
        """
        B, N, _ = chords.shape
        parts = [chords, style if style.ndim == 3 else style[:, None].expand(B, N, -1)]
        if self.listen is not None:
            assert given is not None
            parts.append(self.listen(given))
        common = torch.cat(parts, -1)
        T, V = N * self.shape.steps, self.shape.tracks
        harmony = self.harmony(common).view(B, T, -1)
        who = self.track.weight[None, :, None].expand(B, V, N, -1)
        hints = self.bar(torch.cat([common[:, None].expand(B, V, N, -1), who], -1)).view(B, V, T, -1)
        return torch.cat([hints, harmony[:, None].expand(B, V, T, -1)], -1), harmony

    # -- reading ---------------------------------------------------------------------------------------

    def forward(
        self, plan: Tensor, classes: Tensor, sounds: Tensor, seen: Tensor, drop: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Given lines (B, V, T), each given the steps before, some of them hidden, and the lines that it has `seen`
        (B, V, V) -> logits of kinds (B, V, T, 3), where onsets are (3, n), and logits of their pitches (n, P).
        """
        B, V, T = classes.shape
        before = F.pad(classes[..., :-1] + 1, (1, 0))
        if drop:
            before = before.masked_fill(torch.rand(before.shape, device=before.device) < drop, 0)
        context = torch.cat([plan, self.ears(classes, sounds, seen)], -1)
        told = torch.cat([self.before(before), self.sounds(F.pad(sounds[..., :-1], (1, 0))), context], -1)
        y, _ = self.gru(told.view(B * V, T, -1))
        z = F.relu(self.out(torch.cat([y.view(B, V, T, -1), context], -1)))
        onsets = (classes >= ONSET).nonzero().T  # only onsets choose a pitch
        b, v, t = onsets
        earlier = F.pad(sounds[..., :-1], (1, 0))
        around = Around(v, sounds[b, :, t], earlier[b, :, t], earlier[b, v, t], seen[b, v])
        return self.kind(z), onsets, self.pitches(z[b, v, t], plan[b, v, t], around)

    def nats(self, plan: Tensor, classes: Tensor, sounds: Tensor, seen: Tensor, drop: float = 0.0) -> Tensor:
        """(B, V, T) nats of every step of given lines; see `forward`."""
        kinds, (b, v, t), pitches = self(plan, classes, sounds, seen, drop)
        kind = classes.clamp(max=ONSET).flatten()
        of_kind = F.cross_entropy(kinds.flatten(0, -2), kind, reduction="none").view_as(classes)
        of_pitch = F.cross_entropy(pitches, classes[b, v, t] - FIRST_PITCH, reduction="none")
        return of_kind.index_put((b, v, t), of_pitch, accumulate=True)

    def pitches(self, z: Tensor, plan: Tensor, around: Around) -> Tensor:
        """Logits (n, P). The harmony of the plan raises all pitches of a class at once; how much, the line decides."""
        own, trust = self.pitch(z).split([self.shape.pitches, self.channels], -1)
        harmony = plan[..., self.hint :].unflatten(-1, (12, self.channels))
        classes = (harmony * (1 + trust[..., None, :])).sum(-1) * self.pitched[around.line][:, None]
        return own + classes @ self.fold + self.ears.leaning(around)

    # -- writing ---------------------------------------------------------------------------------------

    @torch.no_grad()
    def write(
        self,
        plan: Tensor,
        classes: Tensor,
        seen: Tensor,
        lines: list[int],
        chances: tuple[Tensor, Tensor],
        *,
        temperature: float = 1.0,
        anew: float = 1.0,
    ) -> Tensor:
        """Some lines anew, each hearing those of `classes` (B, V, T) that it has `seen` (U, V) -> (B, U, T).

        `chances` (B, U, T) in [0, 1) choose kinds and pitches; those above the share `anew` leave what is there.
        """
        B, _, T = classes.shape
        U = len(lines)
        sounding = sounding_of(classes)
        each = seen.expand(B, U, -1)
        context = torch.cat([plan[:, lines], self.ears(classes, sounding, each)], -1).reshape(B * U, T, -1)
        of_plan = plan[:, lines].reshape(B * U, T, -1)
        there = classes[:, lines].reshape(B * U, T)
        around = sounding[:, None].expand(B, U, -1, T).reshape(B * U, -1, T)
        each, line = each.reshape(B * U, -1), torch.tensor(lines, device=plan.device).repeat(B)
        (kind_new, kind_at), (pitch_new, pitch_at) = (parted(c.reshape(B * U, T), anew) for c in chances)
        state = plan.new_zeros(1, B * U, self.gru.hidden_size)
        before, sounds = (torch.zeros(B * U, dtype=torch.long, device=plan.device) for _ in range(2))
        earlier, struck = torch.zeros_like(around[..., 0]), self.pitched[line] == 0
        written = []
        for t in range(T):
            told = torch.cat([self.before(before), self.sounds(sounds), context[:, t]], -1)
            y, state = self.gru(told[:, None], state)
            z = F.relu(self.out(torch.cat([y[:, 0], context[:, t]], -1)))
            kinds = self.kind(z)
            kinds[:, HOLD_CLASS] = kinds[:, HOLD_CLASS].masked_fill((sounds == 0) | struck, -torch.inf)
            drawn = pick(kinds, kind_at[:, t], temperature)
            now = torch.where(kind_new[:, t], drawn, there[:, t].clamp(max=ONSET))
            now = torch.where((now == HOLD_CLASS) & (sounds == 0), REST_CLASS, now)
            keeps = (now == ONSET) & (there[:, t] >= ONSET) & ~pitch_new[:, t]
            begins = ((now == ONSET) & ~keeps).nonzero()[:, 0]
            now = torch.where(keeps, there[:, t], now)
            if len(begins):
                heard = around[begins, :, t], earlier[begins]
                place = Around(line[begins], *heard, sounds[begins], each[begins])
                pitches = self.pitches(z[begins], of_plan[begins, t], place)
                now[begins] = FIRST_PITCH + pick(pitches, pitch_at[begins, t], temperature)
            earlier = around[..., t]
            written.append(now)
            before = now + 1
            sounds = torch.where(now == HOLD_CLASS, sounds, (now - (FIRST_PITCH - 1)).clamp(min=0))
        return torch.stack(written, -1).view(B, U, T)


def uniform(normal: Tensor) -> Tensor:
    """Standard normal numbers -> uniform ones in [0, 1)."""
    return torch.special.ndtr(normal).clamp(0, 1 - 1e-6)


def parted(chance: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1) -> which are below `share`; and those below, as those above, stretched to [0, 1) again."""
    below = chance < share
    return below, torch.where(below, chance / max(share, 1e-9), (chance - share) / max(1 - share, 1e-9))


def pick(logits: Tensor, chance: Tensor, temperature: float) -> Tensor:
    """The class (B,) in whose share of [0, 1) the number `chance` (B,) falls; at temperature 0 the likeliest."""
    if temperature == 0:
        return logits.argmax(-1)
    up_to = (logits / temperature).softmax(-1).cumsum(-1)
    found = torch.searchsorted(up_to / up_to[:, -1:], chance[:, None].contiguous(), right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)
