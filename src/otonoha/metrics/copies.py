"""Are the phrases of a band different from each other, and from those that a model learnt from?

Axes: B phrases; state rolls and notes as in `played.py`.
Report: `metrics.band_report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from otonoha.metrics.played import Played, played
from otonoha.music.ngrams import fold

KEYS = range(-5, 7)
"""Shifts that undo those of training (-6 … +5): with them a copy is found in any of its twelve keys."""
_ROWS = 64  # phrases compared at a time: bounds the memory


def unique_share(rolls: np.ndarray | Played) -> float:
    """Different phrases / phrases: 1 when no two are equal note by note; 1/B when a model has collapsed."""
    band = played(rolls)
    n = band.notes
    codes = fold(n.track, n.start, n.pitch - band.low, n.length, n.tied).astype(np.uint64)
    sums = np.zeros(band.phrases, np.uint64)
    np.add.at(sums, n.phrase, codes)  # equal for equal sets of notes, elsewhere with one chance in 2^64
    return len(np.unique(sums)) / band.phrases


def nearest_distance(
    rolls: np.ndarray, learnt: np.ndarray, *, shifts: Iterable[int] = (0,), struck: Sequence[int] = ()
) -> np.ndarray:
    """(B,) distance of each phrase to the nearest of those learnt from, state rolls of the same shape:
    1 - 2 · (cells that sound in both) / (cells that sound in either). 0 is a copy, 1 has nothing in common.

    shifts: semitones by which the phrases are transposed before they are compared, the nearest counts; KEYS
    finds copies in other keys. struck: the tracks that stay as they are, drums.
    Silent phrases are at distance 0 from silent ones, 1 from others.
    """
    if rolls.ndim != 5 or rolls.shape[1:] != learnt.shape[1:]:
        raise ValueError(f"phrases of shapes {rolls.shape[1:]} and {learnt.shape[1:]} cannot be compared")
    there = _cells(learnt)
    size_there = np.asarray(there.sum(axis=1)).ravel()
    best = np.ones(len(rolls))
    for shift in shifts:
        here = _cells(_shifted(rolls, shift, struck))
        for first in range(0, len(rolls), _ROWS):
            some = here[first : first + _ROWS]
            common = (some @ there.T).toarray()
            both = np.asarray(some.sum(axis=1)).ravel()[:, None] + size_there
            alike = np.where(both > 0, 2 * common / np.maximum(both, 1), 1.0).max(axis=1)
            best[first : first + _ROWS] = np.minimum(best[first : first + _ROWS], 1.0 - alike)
    return best


def _shifted(rolls: np.ndarray, semitones: int, struck: Sequence[int]) -> np.ndarray:
    """Transposed, but for the tracks `struck`; what leaves the roll is cut off."""
    moved = np.zeros_like(rolls)
    P = rolls.shape[-1]
    up, down = max(semitones, 0), max(-semitones, 0)
    moved[..., up : P - down] = rolls[..., down : P - up]
    moved[:, struck] = rolls[:, struck]
    return moved


def _cells(rolls: np.ndarray) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.reshape(rolls, (len(rolls), -1)) > 0).astype(np.float32))
