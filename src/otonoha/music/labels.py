"""What a score says about its sound, in seconds: notes, beats, chords. Exact for a recording made from the score.

    notes (N, 5)   onset, end, pitch, velocity, track; drums have pitches from 128 on
    beats (M, 3)   time, bar (from 0), beat in the bar (from 0)
    chords         (from, to, name): the score's own chord symbols, else what the notes of each beat say

A chord of the notes is the template (triads, sevenths) that covers most of what sounds in the beat, by how long it
sounds, less what it leaves out; its root counts a little more in the bass. Beats that agree are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from symusic import Score

from otonoha.music.markers import marker
from otonoha.music.theory import SHARP_NAMES
from otonoha.music.time import bar_table, last_tick, seconds
from otonoha.music.tracks import notes

NO_CHORD = "N.C."
QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "dim7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
}
ABSENT = 0.08
"""What a tone of the template that does not sound costs, as a share of what sounds."""
BASS = 0.05
FAINT = 0.02
DRUM = 128


@dataclass(frozen=True, eq=False)
class Timed:
    """The labels of a piece, all times in seconds; see the head of the file."""

    notes: np.ndarray
    beats: np.ndarray
    chords: tuple[tuple[float, float, str], ...]
    seconds: float

    def between(self, start: float, stop: float) -> Timed:
        """What sounds or begins between two times, counted from the first of them."""
        played = self.notes[(self.notes[:, 1] > start) & (self.notes[:, 0] < stop)].copy()
        played[:, :2] = np.clip(played[:, :2], start, stop) - start
        beats = self.beats[(self.beats[:, 0] >= start) & (self.beats[:, 0] < stop)].copy()
        beats[:, 0] -= start
        chords = tuple(
            (max(a, start) - start, min(b, stop) - start, name)
            for a, b, name in self.chords
            if b > start and a < stop
        )
        return Timed(played, beats, chords, min(stop, self.seconds) - start)


def timed(score: Score) -> Timed:
    """The labels of a score."""
    rows = [np.zeros((0, 5))]
    for index, track in enumerate(score.tracks):
        found = notes(track)
        pitch = found.pitch + DRUM * bool(track.is_drum)
        times = [seconds(score, found.onset), seconds(score, found.end)]
        rows.append(np.stack([*times, pitch, found.velocity, np.full(len(found), index)], axis=1))
    played = np.concatenate(rows)
    played = played[np.lexsort((played[:, 2], played[:, 0]))]
    beats = _beats(score)
    end = float(seconds(score, np.array([last_tick(score)]))[0])
    return Timed(played, beats, _symbols(score, end) or _from_notes(played, beats[:, 0], end), end)


def _beats(score: Score) -> np.ndarray:
    """(M, 3) of all beats; in compound metres (6/8, 9/8 …) three eighths are a beat."""
    table, rows = bar_table(score), []
    for bar in range(len(table)):
        begin, end = int(table.start[bar]), int(table.start[bar + 1])
        numerator, denominator = int(table.numerator[bar]), int(table.denominator[bar])
        unit = (
            4
            * score.tpq
            / denominator
            * (3 if denominator >= 8 and numerator % 3 == 0 and numerator > 3 else 1)
        )
        places = begin + np.arange(max(1, int(np.ceil((end - begin) / unit - 1e-9)))) * unit
        rows += [(int(tick), bar, beat) for beat, tick in enumerate(places)]
    found = np.array(rows, np.float64).reshape(-1, 3)
    found = found[found[:, 0] < max(last_tick(score), 1)]
    found[:, 0] = seconds(score, found[:, 0])
    return found


def _symbols(score: Score, end: float) -> tuple[tuple[float, float, str], ...]:
    """The score's own chord symbols, each until the next."""
    written = marker(score, "chord")
    times = [*seconds(score, np.array([tick for tick, _ in written])), end] if written else []
    return tuple((float(a), float(b), name) for a, b, (_, name) in zip(times, times[1:], written) if b > a)


def _from_notes(played: np.ndarray, beats: np.ndarray, end: float) -> tuple[tuple[float, float, str], ...]:
    pitched = played[played[:, 2] < DRUM]
    edges = np.append(beats, end)
    found: list[tuple[float, float, str]] = []
    for start, stop in pairwise(edges.tolist()):
        here = pitched[(pitched[:, 1] > start) & (pitched[:, 0] < stop)]
        name = _chord(here, start, stop)
        if found and found[-1][2] == name:
            found[-1] = (found[-1][0], stop, name)
        elif stop > start:
            found.append((start, stop, name))
    return tuple(found)


def _chord(here: np.ndarray, start: float, stop: float) -> str:
    """The name of what sounds from start to stop."""
    if not len(here):
        return NO_CHORD
    weight = np.minimum(here[:, 1], stop) - np.maximum(here[:, 0], start)
    chroma = np.bincount(here[:, 2].astype(int) % 12, weight, 12) / max(float(weight.sum()), 1e-9)
    bass = int(here[here[:, 2].argmin(), 2]) % 12
    worth: dict[str, tuple[float, int]] = {}
    for root, name in enumerate(SHARP_NAMES):
        for quality, shape in QUALITIES.items():
            sounding = chroma[[(root + step) % 12 for step in shape]]
            absent = int((sounding < FAINT).sum())
            points = float(sounding.sum()) - ABSENT * absent + BASS * (root == bass)
            worth[name + quality] = (round(points, 9), -len(shape))
    return max(worth, key=lambda chord: worth[chord])
