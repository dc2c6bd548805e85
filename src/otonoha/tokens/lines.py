"""Monophonic lines as arrays: what the codecs of voices make of tracks before they write symbols.

Axes: N notes, L lines. All lines stand one after the other on one time axis, so that a whole batch of
tracks takes the same few NumPy calls as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Track


@dataclass(frozen=True, eq=False)
class Lines:
    """Notes without overlaps, in ticks of a codec: (N,) `onset`, `end`, `pitch` and the `line` of each note;
    (L,) `base`, the tick at which a line's own time begins, and `length`, its ticks. Between the end of a
    line and the base of the next one lies one tick.
    """

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    line: np.ndarray
    base: np.ndarray
    length: np.ndarray


def monophonic(tracks: Sequence[Track], tpq: Sequence[int], resolution: int) -> Lines:
    """The notes of tracks whose scores have `tpq` ticks a quarter note.

    Onsets and ends are rounded to the resolution. Of notes that begin together the highest is kept, others
    are cut at the next onset; notes without length are left out. A line may be empty.
    """
    columns = [track.notes.numpy() for track in tracks]
    size = np.array([len(column["time"]) for column in columns])
    start = np.concatenate([column["time"] for column in columns]).astype(np.int64)
    duration = np.concatenate([column["duration"] for column in columns])
    pitch = np.concatenate([column["pitch"] for column in columns]).astype(np.int64)
    line = np.repeat(np.arange(len(size)), size)
    scale = tpq[0] if len(set(tpq)) == 1 else np.repeat(np.array(tpq, np.int64), size)
    onset = rescale(start, scale, resolution)
    end = np.maximum(rescale(start + duration, scale, resolution), onset + 1)
    if not duration.all():
        onset, end, pitch, line = (column[duration > 0] for column in (onset, end, pitch, line))
    length = _last_end(end, line, len(size))
    base = np.cumsum(length + 1) - (length + 1)
    shift = base[line]
    onset, end = onset + shift, end + shift
    if (onset[1:] <= onset[:-1]).any():
        order = _highest_of_each_onset(onset, pitch)
        onset, end, pitch, line = onset[order], end[order], pitch[order], line[order]
    np.minimum(end[:-1], onset[1:], out=end[:-1])
    return Lines(onset, end, pitch, line, base, length)


def rescale(ticks: np.ndarray, tpq: int | np.ndarray, resolution: int) -> np.ndarray:
    """Ticks of a score -> nearest ticks of a codec."""
    if isinstance(tpq, int) and tpq == resolution:
        return ticks
    return (2 * resolution * ticks + tpq) // (2 * tpq)


def _last_end(end: np.ndarray, line: np.ndarray, lines: int) -> np.ndarray:
    """(L,) where the last note of each line ends; 0 for an empty one."""
    length = np.zeros(lines, np.int64)
    if len(line):
        first = np.flatnonzero(np.append(True, line[1:] != line[:-1]))
        length[line[first]] = np.maximum.reduceat(end, first)
    return length


def _highest_of_each_onset(onset: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Indices of the notes to keep, in the order of time."""
    rank = onset * 128 + pitch
    order = np.argsort(rank, kind="stable")  # fast on what is nearly sorted, as files are
    sorted_onset = onset[order]
    return order[np.append(sorted_onset[1:] > sorted_onset[:-1], True)]
