"""Which pitches does a melody use?

Conventions: MIDI pitches, intervals in semitones, the melody of a score (`metrics.line`). Histograms are
shares that sum to 1. Of a score without notes every number is 0 and every histogram all zeros; what needs
two notes is 0 for one note.
Measure: the functions below. Report: `metrics.compare`.
"""

from __future__ import annotations

import numpy as np
from symusic import Score

from otonoha.metrics.line import Line, line
from otonoha.metrics.shares import entropy, mean, shares
from otonoha.music.ngrams import intervals
from otonoha.music.theory import Key, estimate_key, in_key_share

WIDEST = 12
"""Intervals beyond an octave count as an octave in the histogram."""


def pitch_classes(music: Score | Line, *, key: Key | None = None, by_duration: bool = False) -> np.ndarray:
    """(12,) shares of the pitch classes, C first; with a key, of its degrees: tonic first."""
    tune = line(music)
    weights = tune.duration if by_duration else np.ones(len(tune))
    tonic = key.tonic if key else 0
    return shares(np.bincount((tune.pitch - tonic) % 12, weights, minlength=12))


def pitch_range(music: Score | Line) -> int:
    """Semitones from the lowest to the highest note."""
    tune = line(music)
    return int(np.ptp(tune.pitch)) if len(tune) else 0


def interval_distribution(music: Score | Line) -> np.ndarray:
    """(25,) shares of the melodic intervals -12 … +12; index 12 is the repeated note."""
    steps = np.clip(intervals(line(music).pitch), -WIDEST, WIDEST)
    return shares(np.bincount(steps + WIDEST, minlength=2 * WIDEST + 1))


def mean_leap(music: Score | Line) -> float:
    """Mean size of a melodic interval in semitones, repeated notes included."""
    return mean(np.abs(intervals(line(music).pitch)))


def repeated_note_rate(music: Score | Line) -> float:
    """Share of the intervals that are 0."""
    return mean(intervals(line(music).pitch) == 0)


def key_of(music: Score | Line) -> Key:
    """The key that the score states, else the estimated one."""
    tune = line(music)
    return tune.key or estimate_key(pitch_classes(tune, by_duration=True))


def in_key(music: Score | Line, key: Key | None = None) -> float:
    """Share of the notes in the key's scale: the given key, else the stated one, else the estimated one. In
    minor the raised sixth and seventh count too.
    """
    tune = line(music)
    return in_key_share(tune.pitch, key or key_of(tune)) if len(tune) else 0.0


def pitch_class_entropy(music: Score | Line) -> float:
    """Entropy of the pitch classes in bits: 0 for one, 3.58 for all twelve alike."""
    return entropy(pitch_classes(music))
