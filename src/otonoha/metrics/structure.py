"""How does a melody hang together: which bars return, which passages repeat, how long are its phrases?

Conventions
- Two bars are as alike as their notes coincide: 2 · (notes with the same place and pitch) / (notes of both),
  from 0 to 1. `up_to_transposition`: the pitches may differ by one interval common to the bar. Bars without
  an onset are left out of means.
- A repeat is a run of (interval, time to the next onset) that has occurred before in the piece, complete; its
  length is in notes. Repeats are read from left to right without overlap.
- A phrase ends with a fermata where the score has any; else with a note that is followed by a rest of an
  eighth or more, or that lasts at least twice the median and longer than its neighbours. Its length is the
  distance in bars from its first note to the first note of the next phrase.
Of scores with too little to say (no notes, one bar, one phrase) numbers are 0 and histograms all zeros.
Measure: the functions below. Report: `metrics.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from symusic import Score

from otonoha.metrics.line import Line, line
from otonoha.metrics.shares import mean, shares
from otonoha.music.ngrams import fold, intervals, repeats

LAGS = (1, 2, 4, 8)
REPEAT_LENGTHS = (4, 6, 8, 12, 16, 24, 32, 48)
"""Lower edges, in notes, of the bins of `repeat_distribution`; the last one is open."""
PHRASE_LENGTHS = np.arange(1, 33) / 2
"""Bars at the centres of the bins of `phrase_distribution`: half bars up to sixteen."""
_SLOTS = 24  # slots per quarter note: a 32nd is 3, a triplet eighth 8


def bar_similarity(music: Score | Line, *, up_to_transposition: bool = False) -> np.ndarray:
    """(bars, bars): how alike each two bars are; bars without an onset are unlike all others."""
    grid = _bar_grid(line(music))
    alike = np.zeros((len(grid), len(grid)))
    for lag in range(len(grid)):
        values = _alike(grid, lag, up_to_transposition)
        rows = np.arange(len(values))
        alike[rows, rows + lag] = alike[rows + lag, rows] = values
    return alike


def lag_similarity(
    music: Score | Line, lags: Sequence[int] = LAGS, *, up_to_transposition: bool = False
) -> dict[int, float]:
    """Mean similarity of bars that lie `lag` bars apart; 0.0 where the piece has no such pair."""
    grid = _bar_grid(line(music))
    filled = np.asarray((grid >= 0).any(axis=1))
    found = {}
    for lag in lags:
        both = filled[lag:] & filled[: max(len(filled) - lag, 0)]
        found[lag] = mean(_alike(grid, lag, up_to_transposition)[both])
    return found


def _bar_grid(tune: Line) -> np.ndarray:
    """(bars, slots): the pitch that begins in each slot of each bar, -1 where none does."""
    if not len(tune):
        return np.zeros((0, 1), np.int16)
    slots = np.rint(tune.place * _SLOTS).astype(np.int64)
    grid = np.full((int(tune.bar[-1]) + 1, int(slots.max()) + 1), -1, np.int16)
    grid[tune.bar, slots] = tune.pitch
    return grid


def _alike(grid: np.ndarray, lag: int, up_to_transposition: bool) -> np.ndarray:
    """(bars - lag,): similarity of each bar to the one `lag` bars later."""
    earlier, later = grid[: max(len(grid) - lag, 0)], grid[lag:]
    both = (earlier >= 0) & (later >= 0)
    rows, slots = np.nonzero(both)
    shift = later[rows, slots].astype(np.int64) - earlier[rows, slots]
    if up_to_transposition:
        pairs, counts = np.unique(rows * 256 + shift + 127, return_counts=True)
        common = np.zeros(len(earlier), np.int64)
        np.maximum.at(common, pairs // 256, counts)
    else:
        common = np.bincount(rows[shift == 0], minlength=len(earlier))
    total = (earlier >= 0).sum(axis=1) + (later >= 0).sum(axis=1)
    return 2.0 * common / np.maximum(total, 1)


def melodic_symbols(music: Score | Line, *, rhythm: bool = True) -> np.ndarray:
    """(N - 1,) symbols that two melodies share where they are equal up to transposition (and in rhythm)."""
    tune = line(music)
    steps = intervals(tune.pitch)
    return fold(steps, np.rint(tune.gap * _SLOTS)) if rhythm else steps


def repeat_distribution(music: Score | Line) -> np.ndarray:
    """(8,) shares of the repeats by length in notes (bins: REPEAT_LENGTHS)."""
    lengths = [length + 1 for _, length in repeats(melodic_symbols(music), at_least=REPEAT_LENGTHS[0] - 1)]
    bins = np.searchsorted(REPEAT_LENGTHS, lengths, side="right") - 1
    return shares(np.bincount(bins.astype(np.int64), minlength=len(REPEAT_LENGTHS)))


def repeated_share(music: Score | Line, *, at_least: int = 8) -> float:
    """Share of the melody's steps that lie in repeats of at least so many notes."""
    symbols = melodic_symbols(music)
    covered = sum(length for _, length in repeats(symbols, at_least=max(at_least - 1, 1)))
    return covered / len(symbols) if len(symbols) else 0.0


def phrase_starts(music: Score | Line) -> np.ndarray:
    """Indices of the notes with which phrases begin; the first note always does."""
    tune = line(music)
    if len(tune) < 2:
        return np.arange(len(tune))
    ends = tune.fermata[:-1] if tune.fermata.any() else _breathes(tune)
    return np.concatenate([[0], np.flatnonzero(ends) + 1])


def _breathes(tune: Line) -> np.ndarray:
    """(N - 1,): after which notes one would take a breath."""
    gap = tune.gap
    rest = gap - tune.duration[:-1] >= 0.5 - 1e-6
    before, after = np.append(0.0, gap[:-1]), np.append(gap[1:], 0.0)
    return rest | ((gap >= 2 * np.median(gap)) & (gap > before) & (gap > after))


def phrase_lengths(music: Score | Line) -> np.ndarray:
    """Lengths in bars of all phrases but the last."""
    tune = line(music)
    return np.diff(tune.bar_time[phrase_starts(tune)]) if len(tune) else np.zeros(0)


def phrase_distribution(music: Score | Line) -> np.ndarray:
    """(32,) shares of the phrases by length, to the nearest half bar (bins: PHRASE_LENGTHS)."""
    halves = np.clip(np.rint(phrase_lengths(music) * 2).astype(np.int64), 1, len(PHRASE_LENGTHS))
    return shares(np.bincount(halves - 1, minlength=len(PHRASE_LENGTHS)))


def whole_bar_phrases(music: Score | Line) -> float:
    """Share of the phrases that last a whole number of bars (within a sixteenth of a bar)."""
    lengths = phrase_lengths(music)
    return mean(np.abs(lengths - np.maximum(np.rint(lengths), 1)) < 1 / 16)
