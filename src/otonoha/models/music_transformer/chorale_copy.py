"""Copying heads: attention over the whole past of a piece, relative in time and pitch, that points at what comes next.

At frame t every voice looks at the earlier frames u of the same place in the quarter note, u = t - 4, t - 8, …
A head scores u by how alike the histories that end before t and before u are, and by how well frame u agrees with the
voices that are decided in frame t already. The likeness of two histories is the likeness of their last frames plus a
part, learnt, of the likeness of the histories before them: S[t, u] = fade S[t - 1, u - 1] + alike(t - 1, u - 1). How
alike two frames are is a learnt sum over relations between them: the same pitch in a voice, a near one, both held,
both moved, the same step, the same interval between voices. The softmax over u (a pointer: Vinyals, Fortunato and
Jaitly 2015; relative in pitch and time as in Huang et al. 2018) is read twice: as the step to the pitch at u, and as
the step that was made at u. Both distributions over steps enter the network, and its logits through learned gates.
No relation names a key, a height or a place in the piece. Axes: J = 4 voices x H heads, T frames, B crops, L lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.music_transformer.frames import CLASSES, UNKNOWN, VOICES

STRIDE = 4
"""Frames between two candidates: a quarter note."""
RELATIONS = 26
"""Between two frames: `related`."""
SAME, NEAR, HELD, MOVED, STEP, APART = (slice(4 * i, 4 * i + 4 + (i == 5)) for i in range(6))
HELD_STEP = 12
"""The motion class of a held note."""
FLOOR = 0.01
"""Added to the shares before the logarithm."""
_BLOCK = 16
_NEVER = -1e4


@dataclass
class Echoes:
    """What is known before T frames about the frames they may copy from.

    `likeness` (J, T, B, L) of the histories; `pitch`, `moved` (4, T, B, L) of the candidates; `there` (T, L) bool.
    """

    likeness: Tensor
    pitch: Tensor
    moved: Tensor
    there: Tensor


@dataclass
class Story:
    """Frames so far, one by one: `pitch`, `moved` (B, T, 4), and the likeness (J, B, L) of where the next may go on."""

    pitch: Tensor
    moved: Tensor
    likeness: Tensor

    def chosen(self, rows: Tensor) -> Story:
        """Some of the pieces, also several times."""
        return Story(self.pitch[rows], self.moved[rows], self.likeness[:, rows])


def step_class(before: Tensor, now: Tensor) -> Tensor:
    """`frames.motion_class` of tensors."""
    step = (now - before).clamp(-12, 12) + 12
    return torch.where((before < 0) | (now < 0), UNKNOWN, step)


def related(pitch: Tensor, moved: Tensor, then: Tensor, then_moved: Tensor) -> Tensor:
    """(26, …, L) float: 1 where a relation holds between frames (4, …) and frames (4, …, L)."""

    def apart(x: Tensor) -> Tensor:
        return torch.cat([x[:-1] - x[1:], x[:1] - x[2:]])

    found = torch.empty(RELATIONS, *then.shape[1:], device=then.device)
    between, pitch, moved = apart(pitch), pitch[..., None], moved[..., None]
    held, then_held = moved == HELD_STEP, then_moved == HELD_STEP
    found[SAME], found[NEAR] = pitch == then, (pitch - then).abs() <= 2
    found[HELD], found[MOVED] = held & then_held, ~(held | then_held)
    found[STEP] = (moved == then_moved) & ~held
    found[APART] = between[..., None] == apart(then)
    found[-1] = 1
    return found


def lagged(frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(T, L) number of every candidate, at least 0, and whether there is one."""
    lags = STRIDE * torch.arange(1, max(1, (frames - 1) // STRIDE) + 1, device=device)
    at = torch.arange(frames, device=device)[:, None] - lags
    return at.clamp(min=0), at >= 0


class Copying(nn.Module):
    """The copying heads of the four voices; see the top of the file. While training, a crop does without some of the
    candidates, and without some of the heads.
    """

    def __init__(self, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        J, C = VOICES * heads, 2 * heads
        self.alike = nn.Parameter(torch.zeros(RELATIONS, VOICES, heads))
        self.fade = nn.Parameter(torch.zeros(J))
        self.agree = nn.Parameter(torch.zeros(2, VOICES, VOICES, heads))
        self.bar = nn.Parameter(torch.zeros(J, 4))
        self.far = nn.Parameter(torch.zeros(J, 1))
        self.recall, self.trust = nn.Linear(C * CLASSES, width, bias=False), nn.Linear(3 * heads, width)
        self.gate = nn.Linear(width, C)
        self.sure = nn.Parameter(torch.zeros(VOICES, 3 * heads, C))
        self._begin()

    def _begin(self) -> None:
        """The heads begin as different tastes, and learn from there."""
        nn.init.normal_(self.recall.weight, std=0.02)
        nn.init.normal_(self.trust.weight, std=0.02)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 0.1)
        with torch.no_grad():
            fade = self.fade.view(VOICES, self.heads)
            for head in range(self.heads):
                taste = TASTES[min(head, len(TASTES) - 1)]
                fade[:, head] = torch.tensor(taste.fade).logit()
                self.agree[0, :, :, head], self.agree[1, :, :, head] = taste.same, taste.step
                for relation, weight in taste.all:
                    self.alike[relation, :, head] = weight
                for voice in range(VOICES):
                    for relation, weight in taste.own:
                        self.alike[relation.start + voice, voice, head] += weight
                self.alike[-1, :, head] = taste.bias

    # -- how alike histories are -----------------------------------------------------------------------

    def echoes(self, pitch: Tensor, moved: Tensor) -> Echoes:
        """What is known before each of the frames (B, T, 4), in one pass."""
        now, step = (x.permute(2, 1, 0).to(torch.int16) for x in (pitch, moved))
        at, there = lagged(pitch.shape[1], pitch.device)
        then, then_step = (x[:, at].transpose(2, 3).contiguous() for x in (now, step))
        found = related(now, step, then, then_step) * there[:, None].float()
        each = (self.alike.flatten(1).t() @ found.flatten(1)).view(-1, *then.shape[1:])
        likeness = F.pad(self._faded(each.flatten(2))[:, :-1], (0, 0, 1, 0))
        return Echoes(likeness.view_as(each), then, then_step, there)

    def _faded(self, each: Tensor) -> Tensor:
        """(J, T, N): S[t] = fade S[t - 1] + each[t], block by block; `tell` is its slow twin."""
        T, fade = each.shape[1], self.fade.sigmoid()[:, None, None]
        steps = torch.arange(_BLOCK, device=each.device)
        gap = steps[:, None] - steps
        within = torch.where(gap >= 0, fade ** gap.clamp(min=0), 0.0)
        since, before, done = fade ** (steps[:, None] + 1), each.new_zeros(1), []
        for block in F.pad(each, (0, 0, 0, -T % _BLOCK)).split(_BLOCK, dim=1):
            done.append(torch.baddbmm(since * before, within, block))
            before = done[-1][:, -1:]
        return torch.cat(done, dim=1)[:, :T]

    def begin(self, batch: int) -> Story:
        """No frame yet."""
        none = torch.empty(batch, 0, VOICES, dtype=torch.int64, device=self.fade.device)
        return Story(none, none, self.fade.new_zeros(len(self.fade), batch, 0))

    def tell(self, story: Story, pitch: Tensor, moved: Tensor) -> Story:
        """The story with one more frame (B, 4)."""
        found = related(pitch.t(), moved.t(), _earlier(story.pitch), _earlier(story.moved))
        each = torch.einsum("fj,fbl->jbl", self.alike.flatten(1), found)
        likeness = self.fade.sigmoid()[:, None, None] * story.likeness + each
        pitches = torch.cat([story.pitch, pitch[:, None]], dim=1)
        room = pitches.shape[1] // STRIDE - likeness.shape[-1]
        return Story(pitches, torch.cat([story.moved, moved[:, None]], dim=1), F.pad(likeness, (0, room)))

    def coming(self, story: Story) -> Echoes:
        """What is known before the coming frame."""
        L = story.likeness.shape[-1]
        empty = (0, int(L == 0))  # one candidate that is not there, where there is none
        likeness, then, then_moved = (
            F.pad(x[:, None], empty) for x in (story.likeness, _earlier(story.pitch), _earlier(story.moved))
        )
        return Echoes(likeness, then, then_moved, (torch.arange(max(L, 1), device=then.device) < L)[None])

    # -- pointing --------------------------------------------------------------------------------------

    def shares(
        self, echoes: Echoes, pitch: Tensor, before: Tensor, moved: Tensor, decided: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of frames (B, T, 4): shares (B, T, 4, C, 26) of the steps, and how sure each head is (B, T, 4, 3 H).

        `decided` (B, T or 1, 4, 4) bool: which voices of a frame does a voice know?
        """
        scores = self._scores(echoes, pitch, moved, decided)  # (4, H, T, B, L)
        best = scores.amax(-1, keepdim=True)
        any_at_all = (best > _NEVER / 2).float()
        weights = scores.softmax(-1) * any_at_all
        many = -torch.log(weights.detach().amax(-1, keepdim=True).clamp(min=1e-6))
        sure = torch.stack([any_at_all, (best / 8).clamp(-1, 4) * any_at_all, many * any_at_all], dim=1)
        literal = step_class(before.permute(2, 1, 0)[..., None], echoes.pitch.long())
        room = weights.new_zeros(*weights.shape[:-1], CLASSES)
        found = torch.stack(
            [
                room.scatter_add(-1, steps[:, None].expand_as(weights), weights)
                for steps in (literal, echoes.moved.long())
            ],
            dim=1,
        )
        if self.training and self.dropout:
            speak = torch.rand(self.heads, 1, pitch.shape[0], 1, device=pitch.device) >= self.dropout
            found, sure = found * speak, sure * speak
        return found.flatten(1, 2).permute(3, 2, 0, 1, 4), sure.flatten(1, 2)[..., 0].permute(3, 2, 0, 1)

    def _scores(self, echoes: Echoes, pitch: Tensor, moved: Tensor, decided: Tensor) -> Tensor:
        """(4, H, T, B, L) of every candidate, very low where there is none."""
        now, step = (x.permute(2, 1, 0)[..., None] for x in (pitch, moved))
        agree = torch.stack([now == echoes.pitch, step == echoes.moved]).float()  # (2, W, T, B, L)
        known = decided.permute(2, 3, 1, 0)[..., None].float()  # (V, W, T or 1, B or 1, 1)
        said = [
            torch.tensordot(self.agree[:, :, voice], agree * known[voice], dims=([0, 1], [0, 1]))
            for voice in range(VOICES)
        ]
        T, B, L = echoes.pitch.shape[1:]
        lags = torch.arange(1, L + 1, device=pitch.device)
        place = self.bar[:, lags % 4] + torch.log2(lags.float()) * self.far
        rest = echoes.likeness + place[:, None, None]
        scores = torch.stack(said) + rest.view(VOICES, self.heads, T, B, L)
        gone = ~echoes.there[:, None]
        if self.training and self.dropout:
            gone = gone | (torch.rand(1, self.heads, 1, B, L, device=pitch.device) < self.dropout)
        return scores.masked_fill(gone, _NEVER)

    # -- what the network makes of it ------------------------------------------------------------------

    def told(self, shares: Tensor, sure: Tensor) -> Tensor:
        """(B, T, 4, D) for the hidden state."""
        return self.recall(shares.flatten(3)) + self.trust(sure)

    def said(self, hidden: Tensor, shares: Tensor, sure: Tensor) -> Tensor:
        """(B, T, 4, 26) for the logits of the steps: log shares through gates."""
        gates = self.gate(hidden).float() + torch.einsum("btvs,vsc->btvc", sure, self.sure).float()
        return (gates[..., None] * torch.log(shares + FLOOR)).sum(-2)


def _earlier(frames: Tensor) -> Tensor:
    """(B, T, 4) -> (4, B, L): the frames that the one after them may copy from, the nearest first."""
    return frames.flip(1)[:, STRIDE - 1 :: STRIDE].permute(2, 0, 1)


@dataclass(frozen=True)
class Taste:
    """What a head begins with: weights of relations, in all voices or its own; how slowly it forgets; what it thinks of
    a decided voice that has the `same` pitch or makes the same `step`; `bias` keeps strangers low.
    """

    all: tuple[tuple[slice, float], ...] = ()
    own: tuple[tuple[slice, float], ...] = ()
    fade: float = 0.8
    same: float = 0.0
    step: float = 0.0
    bias: float = -0.5


SOPRANO_STEP, SOPRANO_HELD = slice(16, 17), slice(8, 9)
TASTES = (
    Taste(all=((SAME, 0.5),), fade=0.94, same=2.0, bias=-0.8),  # all voices literally
    Taste(own=((SAME, 2.0),), fade=0.85, same=0.7, bias=-1.0),  # the own voice literally
    Taste(all=((STEP, 0.5), (HELD, 0.25), (APART, 0.2)), fade=0.94, step=2.0, bias=-0.8),  # in any key
    Taste(
        all=((SOPRANO_STEP, 1.2), (SOPRANO_HELD, 0.4)),
        own=((STEP, 0.8), (HELD, 0.3)),
        fade=0.9,
        step=2.0,
        bias=-0.7,
    ),  # the tune
    Taste(all=((APART, 0.6), (STEP, 0.4)), fade=0.6, step=2.0, bias=-0.6),  # the last chords
    Taste(all=((slice(0, 20), 0.1),), same=1.0, step=1.0),  # nothing yet
)
