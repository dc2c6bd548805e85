"""How does a melody move in time?

Conventions: quarter notes; the beat is that of the metre (a dotted quarter in 6/8). A note is *on* a grid if
it is within 1/96 of a quarter of it. Of a score without notes every number is 0, every histogram all zeros.
Measure: the functions below. Report: `metrics.compare`.
"""

from __future__ import annotations

import numpy as np
from symusic import Score

from otonoha.metrics.line import Line, line
from otonoha.metrics.shares import mean, shares

NOTE_VALUES = np.array([1 / 8, 1 / 6, 1 / 4, 1 / 3, 3 / 8, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4, 6, 8])
"""Quarter notes of the bins of `duration_distribution`, from a 32nd to a breve."""
_NEAR = 1 / 96


def duration_distribution(music: Score | Line) -> np.ndarray:
    """(15,) shares of the note values NOTE_VALUES; each duration counts for the nearest by ratio."""
    return shares(np.bincount(_nearest_value(line(music).duration), minlength=len(NOTE_VALUES)))


def _nearest_value(durations: np.ndarray) -> np.ndarray:
    distance = np.abs(np.log(np.maximum(durations, 1e-6))[:, None] - np.log(NOTE_VALUES))
    return distance.argmin(axis=1) if len(durations) else np.zeros(0, np.int64)


def note_density(music: Score | Line) -> float:
    """Notes per quarter note, from the first onset to the last note's end."""
    tune = line(music)
    span = _span(tune)
    return len(tune) / span if span else 0.0


def rest_share(music: Score | Line) -> float:
    """Share of the time between the first onset and the last note's end in which nothing sounds."""
    tune = line(music)
    span = _span(tune)
    if not span:
        return 0.0
    sounding = np.minimum(tune.duration, np.append(tune.gap, np.inf)).sum()
    return float(max(1.0 - sounding / span, 0.0))


def onset_shares(music: Score | Line) -> dict[str, float]:
    """Shares of the onsets on a beat, on the halves of beats between, on their quarters, elsewhere.

    In 6/8 the halves are the eighths of the dotted quarter and the quarters its sixteenths.
    """
    tune = line(music)
    unit = np.where(_is_dotted(tune), tune.beat / 3, tune.beat / 2)
    beat, half, quarter = (_on(tune.place, grid) for grid in (tune.beat, unit, unit / 2))
    half, quarter = half & ~beat, quarter & ~half & ~beat
    named = {"beat": beat, "half": half, "quarter": quarter, "other": ~(beat | half | quarter)}
    return {name: mean(where) for name, where in named.items()}


def syncopation(music: Score | Line) -> float:
    """Share of the notes that begin off the beat and still sound on the next one, after which no note begins
    there: the accent is anticipated.
    """
    tune = line(music)
    if not len(tune):
        return 0.0
    off = ~_on(tune.place, tune.beat)
    next_beat = tune.onset + tune.beat - np.mod(tune.place, tune.beat)
    end = np.minimum(tune.onset + tune.duration, np.append(tune.onset[1:], np.inf))
    return mean(off & (end > next_beat + _NEAR))


def _is_dotted(tune: Line) -> np.ndarray:
    return np.isclose(np.log2(np.maximum(tune.beat, 1e-6) / 1.5) % 1, 0)


def _on(place: np.ndarray, grid: np.ndarray) -> np.ndarray:
    away = np.mod(place, grid)
    return np.minimum(away, grid - away) <= _NEAR


def _span(tune: Line) -> float:
    return float((tune.onset + tune.duration).max() - tune.onset[0]) if len(tune) else 0.0
