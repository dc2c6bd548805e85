"""Notes of a score exchanged for new ones: those that are kept stay as they are, to the tick.

Axes: N notes of a track.
"""

from __future__ import annotations

import numpy as np
from symusic import Score, Track

from otonoha.music.tracks import Notes, track_of

NOTHING = np.zeros(0, np.int64)
EMPTY = Notes(NOTHING, NOTHING, NOTHING, NOTHING)


def columns_of(track: Track) -> Notes:
    """The notes of a track in its own order."""
    if not len(track.notes):
        return EMPTY
    columns = track.notes.numpy()
    return Notes(*(columns[c].astype(np.int64) for c in ("time", "duration", "pitch", "velocity")))


def some(found: Notes, index: np.ndarray) -> Notes:
    """Some of the notes."""
    return Notes(*(c[index] for c in (found.onset, found.duration, found.pitch, found.velocity)))


def exchanged(track: Track, keep: np.ndarray, come: Notes) -> Track:
    """The track with the notes that `keep` (N,) bool names, and those of `come`, as far as they do not sound together
    with a kept one of their pitch: on an instrument, and in a MIDI file, the one would end the other.
    """
    kept = some(columns_of(track), keep)
    come = _beside(come, kept, drums=track.is_drum)
    joined = [
        np.append(a, b)
        for a, b in zip(
            (kept.onset, kept.duration, kept.pitch, kept.velocity),
            (come.onset, come.duration, come.pitch, come.velocity),
        )
    ]
    order = np.lexsort((joined[2], joined[0]))
    result = track.copy()
    result.notes = track_of(*(c[order] for c in joined)).notes
    return result


def _beside(come: Notes, kept: Notes, *, drums: bool) -> Notes:
    """New notes, later or shorter where one of their pitch sounds already; left out where nothing remains of them."""
    begin, end = come.onset.copy(), come.end
    for pitch in np.unique(come.pitch).tolist():
        there = np.sort(kept.onset[kept.pitch == pitch])
        until = _ends(kept, pitch, there)
        free = 0
        mine = np.flatnonzero(come.pitch == pitch)
        for i in mine[np.argsort(begin[mine], kind="stable")].tolist():
            at = int(np.searchsorted(there, begin[i], side="right"))
            if at and drums:  # the length of a stroke means nothing
                free = max(free, int(there[at - 1]) + 1)
            elif at:
                free = max(free, int(until[at - 1]))
            begin[i] = max(int(begin[i]), free)
            at = int(np.searchsorted(there, begin[i], side="left"))
            end[i] = min(int(end[i]), int(there[at])) if at < len(there) else end[i]
            free = max(free, int(end[i]))
    sounds = end > begin
    return some(Notes(begin, end - begin, come.pitch, come.velocity), sounds)


def _ends(kept: Notes, pitch: int, onset: np.ndarray) -> np.ndarray:
    """Where each note of a pitch ends, at the next one at the latest."""
    mine = np.flatnonzero(kept.pitch == pitch)
    ends = kept.end[mine[np.argsort(kept.onset[mine], kind="stable")]]
    return np.minimum(ends, np.append(onset[1:], ends[-1:]))


def repitched(score: Score, pitches: dict[int, np.ndarray]) -> Score:
    """The score with other pitches (N,) in some tracks, by number; nothing else changes, not even the order."""
    result = score.copy()
    for number, pitch in pitches.items():
        track, found = result.tracks[number].copy(), columns_of(result.tracks[number])
        track.notes = track_of(found.onset, found.duration, pitch, found.velocity).notes
        result.tracks[number] = track
    return result
