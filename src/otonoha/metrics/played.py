"""The notes of state rolls, as columns: what the metrics of bands (`band.py`, `together.py`) look at.

Axes: B phrases, M tracks, N bars, S steps of a bar, P pitches; T = N · S steps of a phrase; K notes, C sounding
cells. State rolls are (B, M, N, S, P) with 0 silent, 1 onset, 2 hold; row 0 is the MIDI pitch `low`.

A note begins with an onset, or with a hold that nothing precedes: at the first step of a phrase that is a note
tied over from before (`tied`; it has a length but no onset), elsewhere a slip that is heard as an onset. Notes
may cross the bar lines inside a phrase; its ends cut them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Notes:
    """Columns (K,) sorted by phrase, track, start, pitch."""

    phrase: np.ndarray
    track: np.ndarray
    start: np.ndarray
    """Step of the phrase, from 0."""
    pitch: np.ndarray
    """MIDI pitch."""
    length: np.ndarray
    """Steps."""
    tied: np.ndarray
    """Whether the note was begun before the phrase."""

    def __len__(self) -> int:
        return len(self.pitch)


@dataclass(frozen=True, eq=False)
class Played:
    """Phrases as notes, with what is needed to read them."""

    notes: Notes
    tracks: tuple[str, ...]
    drums: tuple[str, ...]
    """Tracks without pitch."""
    phrases: int
    bars: int
    steps: int
    beats: int
    """Beats of a bar."""
    low: int
    pitches: int

    @property
    def length(self) -> int:
        """T, steps of a phrase."""
        return self.bars * self.steps

    @property
    def pitched(self) -> tuple[int, ...]:
        """Indices of the tracks that have pitch."""
        return tuple(i for i, name in enumerate(self.tracks) if name not in self.drums)

    @cached_property
    def cells(self) -> Notes:
        """The sounding cells (C,): each note once for every step, with length 1."""
        n = self.notes
        which = np.repeat(np.arange(len(n)), n.length)
        inside = np.arange(len(which)) - np.repeat(np.cumsum(n.length) - n.length, n.length)
        ones = np.ones(len(which), np.int64)
        return Notes(
            n.phrase[which],
            n.track[which],
            n.start[which] + inside,
            n.pitch[which],
            ones,
            np.zeros(len(which), bool),
        )

    @cached_property
    def sounding(self) -> np.ndarray:
        """(B, M, T): how many notes sound."""
        return self._count(self.cells)

    @cached_property
    def onsets(self) -> np.ndarray:
        """(B, M, T): whether a note begins; tied ones do not."""
        n = self.notes
        begun = np.zeros((self.phrases, len(self.tracks), self.length), bool)
        begun[n.phrase[~n.tied], n.track[~n.tied], n.start[~n.tied]] = True
        return begun

    @cached_property
    def top(self) -> np.ndarray:
        """(B, M, T): the highest sounding MIDI pitch, -1 in silence."""
        c = self.cells
        highest = np.full((self.phrases, len(self.tracks), self.length), -1, np.int16)
        np.maximum.at(highest, (c.phrase, c.track, c.start), c.pitch.astype(np.int16))
        return highest

    def _count(self, cells: Notes) -> np.ndarray:
        shape = (self.phrases, len(self.tracks), self.length)
        at = (cells.phrase * shape[1] + cells.track) * shape[2] + cells.start
        return np.bincount(at, minlength=int(np.prod(shape))).reshape(shape)


def played(
    rolls: np.ndarray | Played,
    low: int = 0,
    tracks: Sequence[str] = (),
    *,
    beats: int = 4,
    drums: Sequence[str] = ("drums",),
) -> Played:
    """Read state rolls (B, M, N, S, P); Played is returned as it is.

    tracks: their names, "1", "2" … when not given. ValueError where shapes, states or names do not fit.
    """
    if isinstance(rolls, Played):
        return rolls
    rolls = np.asarray(rolls)
    names = tuple(tracks) or tuple(str(i + 1) for i in range(rolls.shape[1] if rolls.ndim == 5 else 0))
    _check(rolls, names, beats)
    phrases, _, bars, steps, pitches = rolls.shape
    return Played(
        _notes(rolls, low), names, tuple(drums), phrases, bars, steps, beats, low=low, pitches=pitches
    )


def _check(rolls: np.ndarray, names: tuple[str, ...], beats: int) -> None:
    if rolls.ndim != 5 or 0 in rolls.shape:
        raise ValueError(f"rolls must be (phrases, tracks, bars, steps, pitches), got shape {rolls.shape}")
    if len(set(names)) != rolls.shape[1]:
        raise ValueError(f"rolls have {rolls.shape[1]} tracks, but the names are {', '.join(names)}")
    if beats < 1 or rolls.shape[3] % beats:
        raise ValueError(f"a bar of {rolls.shape[3]} steps cannot be cut into {beats} beats")
    if rolls.min() < 0 or rolls.max() > 2:
        raise ValueError("states of a roll are 0 silent, 1 onset and 2 hold")


def _notes(rolls: np.ndarray, low: int) -> Notes:
    _, M, N, S, P = rolls.shape
    T = N * S
    at = np.flatnonzero(rolls)
    state = rolls.ravel()[at]
    line_step, row = np.divmod(at, P)
    line, step = np.divmod(line_step, T)
    key = (line * P + row) * T + step  # a note's cells follow one another
    order = np.argsort(key, kind="stable")
    key, state, step = key[order], state[order], step[order]
    joined = (state == 2) & (step > 0) & (np.diff(key, prepend=-2) == 1)
    first = np.flatnonzero(~joined)
    length = np.diff(np.append(first, len(key)))
    line, row, start = line[order][first], row[order][first], step[first]
    tied = (state[first] == 2) & (start == 0)
    sort = np.argsort((line * T + start) * P + row, kind="stable")
    phrase, track = np.divmod(line[sort], M)
    return Notes(phrase, track, start[sort], row[sort] + low, length[sort], tied[sort])


def scattered(band: Played, seed: int = 0) -> Played:
    """The same chords and notes of each track, step by step, in random order over all phrases: notes drawn
    independently, each lasting one step.
    """
    rng = np.random.default_rng(seed)
    c, T = band.cells, band.length
    places = np.stack([rng.permutation(band.phrases * T) for _ in band.tracks])
    phrase, start = np.divmod(places[c.track, c.phrase * T + c.start], T)
    order = np.lexsort((c.pitch, start, c.track, phrase))
    columns = (phrase, c.track, start, c.pitch, c.length, c.tied)
    return replace(band, notes=Notes(*(column[order] for column in columns)))
