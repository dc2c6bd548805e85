"""Tracks divided into lines: chords become several lines of single notes, as a section of strings plays *divisi*.

    a track with chords   every note takes a free line when it begins, higher notes higher lines, and keeps it
    drums                 kick, snare, cymbals and the rest have a line each; a stroke has no length

Classes of a step of a line are those of `Roll.lines_of`: 0 rest, 1 hold, 2 + p an onset of pitch p. Of more notes
than there are lines the outer ones stay. Axes: B phrases, M tracks, L lines of a track, V = M L lines of all, N
bars, S steps of a bar, T = N S, P pitches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.models.musegan.onehot import classes_of
from otonoha.tokens.roll import DRUMS, FIRST_PITCH, HOLD, HOLD_CLASS, ONSET, Roll

KICK, SNARE, CYMBALS = (35, 36), (37, 38, 39, 40), (42, 44, 46, 49, 51, 52, 53, 55, 57, 59)
"""General MIDI strokes of the first three lines of the drums."""


@dataclass(frozen=True)
class Divisi:
    """How the tracks of a codec are divided into `count` lines each."""

    codec: Roll
    count: int

    @property
    def lines(self) -> int:
        """V."""
        return len(self.codec.tracks) * self.count

    def of_track(self, track: int) -> range:
        """The lines of a track."""
        return range(track * self.count, (track + 1) * self.count)

    def struck(self) -> Tensor:
        """(V,) bool: the lines of the drums."""
        return torch.tensor([name == DRUMS for name in self.codec.tracks for _ in range(self.count)])

    def classes(self, rolls: Tensor) -> Tensor:
        """States (B, M, N, S, P) -> classes (B, V, T)."""
        if self.codec.lines:
            return classes_of(rolls)
        flat = rolls.flatten(2, 3)
        parts = [
            self._strokes(flat[:, m]) if name == DRUMS else self._chords(flat[:, m])
            for m, name in enumerate(self.codec.tracks)
        ]
        return torch.cat(parts, 1)

    def rolls(self, classes: Tensor) -> Tensor:
        """Classes (B, V, T) -> states (B, M, N, S, P) uint8; a hold that holds nothing is a rest."""
        B, V, T = classes.shape
        if self.codec.lines:
            found = torch.from_numpy(self.codec.rolls_of(classes.cpu().numpy()))
            return found.to(classes.device)
        P, M = self.codec.pitches, len(self.codec.tracks)
        rolls = torch.zeros(B, V, T, P + 1, dtype=torch.uint8, device=classes.device)
        now = torch.zeros_like(classes[..., 0])
        struck = self.struck().to(classes.device)
        for t, step in enumerate(classes.unbind(-1)):
            begins = step >= FIRST_PITCH
            now = torch.where(begins, step - FIRST_PITCH + 1, torch.where(step == HOLD_CLASS, now, 0))
            now = torch.where(struck & ~begins, 0, now)
            state = torch.where(begins, ONSET, HOLD)
            rolls[:, :, t].scatter_(-1, now[..., None], state[..., None].to(torch.uint8))
        each = rolls[..., 1:].view(B, M, self.count, T, P)
        begun = (each == ONSET).any(2)
        states = torch.where(
            begun, ONSET, each.amax(2)
        )  # where two lines meet on a pitch, the one that begins counts
        return states.to(torch.uint8).view(B, M, -1, self.codec.steps_per_bar, P)

    def _strokes(self, track: Tensor) -> Tensor:
        """Drums (B, T, P) -> classes (B, L, T): the lowest stroke of each group of instruments."""
        P, L = track.shape[-1], self.count
        pitch = torch.arange(P) + self.codec.low
        groups = [torch.isin(pitch, torch.tensor(kind)) for kind in (KICK, SNARE, CYMBALS)][: L - 1]
        others = ~torch.stack(groups).any(0) if groups else torch.ones(P, dtype=torch.bool)
        rows = torch.arange(P, 0, -1, device=track.device)
        lines = []
        for group in [*groups, others, *[torch.zeros(P, dtype=torch.bool)] * (L - 1 - len(groups))]:
            heard = (track == ONSET) & group.to(track.device)
            row = P - (heard * rows).amax(-1)  # P where none
            lines.append(torch.where(row < P, row + FIRST_PITCH, 0))
        return torch.stack(lines, 1)

    def _chords(self, track: Tensor) -> Tensor:
        """A track (B, T, P) -> classes (B, L, T)."""
        B, T, P = track.shape
        L = self.count
        rows = torch.arange(1, P + 1, device=track.device)
        holds = torch.zeros(B, L, dtype=torch.long, device=track.device)  # 1 + row of what each line holds
        written = []
        for t in range(T):
            state = track[:, t]
            held = (state.gather(1, (holds - 1).clamp(min=0)) == HOLD) & (holds > 0)
            holds = torch.where(held, holds, 0)
            new = state == ONSET if t else state > 0
            free = ~held
            room = free.sum(1, keepdim=True)
            from_top = new.flip(1).cumsum(1).flip(1)
            kept = new & ((from_top <= room - room // 2) | (new.cumsum(1) <= room // 2))
            found = F.pad(
                (kept * rows).topk(min(L, P), dim=1).values, (0, max(0, L - P))
            )  # from the top, then zeros
            place = (free.cumsum(1) - 1).clamp(min=0)
            begun = torch.where(free, found.gather(1, place), 0)
            written.append(torch.where(begun > 0, begun + FIRST_PITCH - 1, torch.where(held, HOLD_CLASS, 0)))
            holds = torch.where(begun > 0, begun, holds)
        return torch.stack(written, -1)
