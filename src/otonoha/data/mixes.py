"""How one score becomes many recordings: instruments, stage, tempo, key and touch, chosen by a seed.

A *mix* names the instruments by the register of a line (a track that sounds one note at a time) and those for chords;
`written` leaves them as the score has them. Every rendering also has its own places on the stage and levels of the
tracks (within 3 dB), a tempo within 8 % of the written one, a key within 3 semitones, and small differences of touch.
The score that is returned is what sounds: labels taken from it (notes, beats, chords) are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from symusic import ControlChange, Score, Tempo, Track

from otonoha.music.score import slice_bars, transpose
from otonoha.music.time import bar_table, last_tick, seconds
from otonoha.music.tracks import Notes, notes, with_notes
from otonoha.music.voices import is_monophonic

TEMPO = 0.08
KEYS = 3
LEVELS = (71, 100)
"""Values of controller 7: 3 dB apart, as loudness goes with their square."""
TOUCH = 8
VOLUME, PAN = 7, 10


@dataclass(frozen=True)
class Mix:
    """Programs (General MIDI, from 0): of lines by their lowest median pitch, highest first; of chords."""

    lines: tuple[tuple[int, int], ...]
    chords: tuple[int, ...]


MIXES: dict[str, Mix | None] = {
    "written": None,
    "piano": Mix(((0, 0),), (0,)),
    "strings": Mix(((67, 40), (58, 41), (48, 42), (0, 43)), (48,)),
    "winds": Mix(((70, 73), (65, 68), (55, 71), (0, 70)), (21, 19)),
    "brass": Mix(((64, 56), (52, 60), (45, 57), (0, 58)), (61,)),
    "voices": Mix(((60, 52), (0, 53)), (19, 52)),
    "organ": Mix(((0, 19),), (19, 16)),
    "plucked": Mix(((60, 24), (45, 25), (0, 32)), (46, 24, 6)),
    "mallets": Mix(((60, 11), (0, 12)), (11, 9)),
    "saxophones": Mix(((67, 64), (60, 65), (53, 66), (0, 67)), (4, 0)),
    "song": Mix(((60, 53), (0, 42)), (0, 24, 46)),
    "synthesiser": Mix(((55, 81), (0, 38)), (89, 88)),
}


@dataclass(frozen=True)
class Manner:
    """What was chosen for one rendering: `tempo` is a factor, `shift` semitones, `bars` first and last (behind)."""

    mix: str
    tempo: float
    shift: int
    bars: tuple[int, int]
    offset: float
    """Seconds of the piece (at its own tempo) before the excerpt."""
    total: float
    """Seconds of the whole piece."""


def arranged(score: Score, mix: str, rng: np.random.Generator, *, most: float) -> tuple[Score, Manner]:
    """The score as it is to sound: at most about `most` seconds of it, cut at bar lines. ValueError without notes."""
    table = bar_table(score)
    if not len(table):
        raise ValueError("no notes in it")
    times = seconds(score, table.start)
    total = float(seconds(score, np.array([last_tick(score)]))[0])
    first, last = 0, len(table)
    if total > most:
        first = int(rng.integers(max(1, int(np.searchsorted(times, total - most / 2)))))
        last = max(first + 1, int(np.searchsorted(times, times[first] + most, side="right")) - 1)
    factor, shift = float(rng.uniform(1 - TEMPO, 1 + TEMPO)), _shift(score, rng)
    result = transpose(slice_bars(score, first, min(last, len(table))), shift)
    result.tempos = [Tempo(t.time, t.qpm * factor) for t in result.tempos]
    result.tracks = [t for t in result.tracks if len(t.notes)]
    if not result.tracks:
        raise ValueError("no notes in this part of it")
    sides = rng.permutation(np.linspace(-0.7, 0.7, len(result.tracks))) if len(result.tracks) > 1 else [0.0]
    result.tracks = [_played(t, MIXES[mix], float(s), rng) for t, s in zip(result.tracks, sides)]
    return result, Manner(mix, factor, shift, (first, min(last, len(table))), float(times[first]), total)


def _shift(score: Score, rng: np.random.Generator) -> int:
    """Semitones that leave all notes where MIDI has pitches."""
    pitches = [t.notes.numpy()["pitch"] for t in score.tracks if len(t.notes) and not t.is_drum]
    if not pitches:
        return 0
    low, high = min(int(p.min()) for p in pitches), max(int(p.max()) for p in pitches)
    return int(np.clip(rng.integers(-KEYS, KEYS + 1), -low, 127 - high))


def _played(track: Track, mix: Mix | None, side: float, rng: np.random.Generator) -> Track:
    """The track by its instrument, in its place on the stage, with its own touch."""
    found = notes(track)
    velocity = np.clip(found.velocity + rng.integers(-TOUCH, TOUCH + 1, len(found.velocity)), 1, 127)
    result = with_notes(track, Notes(found.onset, found.duration, found.pitch, velocity))
    if mix is not None and not track.is_drum:
        result.program = _program(track, mix, rng)
    level = int(rng.integers(LEVELS[0], LEVELS[1] + 1))
    kept = [c for c in result.controls if c.number not in (VOLUME, PAN)]
    own = [ControlChange(0, VOLUME, level), ControlChange(0, PAN, round(64 + 63 * side))]
    result.controls = [*own, *kept]
    return result


def _program(track: Track, mix: Mix, rng: np.random.Generator) -> int:
    if not is_monophonic(track):
        return int(rng.choice(mix.chords))
    middle = float(np.median(track.notes.numpy()["pitch"]))
    return next(program for low, program in mix.lines if middle >= low)
