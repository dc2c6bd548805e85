"""How well do four voices lead each other? The faults that textbooks of harmony count.

Axes: T frames of a fixed grid, 4 voices from the highest to the lowest; MIDI pitches, negative for rests. The grid does
not tell a repeated note from a held one, so a voice *moves* where its pitch changes.

    parallel fifths, parallel octaves    two voices move in the same direction from one perfect fifth (octave or
                                         unison, compound ones too) into the next
    crossings                            frames in which a voice sounds above its upper neighbour
    overlaps                             a voice steps beyond the note that its neighbour has just left
    wide spacing                         frames with more than an octave between soprano and alto or alto and tenor
    out of range                         notes outside the range of their voice
    out of key                           notes outside the key that fits the piece best (minor: raised degrees too)
    no chord                             beats whose pitch classes fit into no triad and no seventh chord
    wide leaps                           steps of more than an octave

Counts of events are given for 100 quarter notes, all others as shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from otonoha.music.theory import estimate_key, in_key_share

RANGES = ((60, 81), (53, 74), (48, 69), (36, 64))
"""C4-A5, F3-D5, C3-A4, C2-E4: soprano, alto, tenor, bass of Bach's chorales, generously."""
PERFECT = {"parallel fifths": 7, "parallel octaves": 0}
CHORDS = (
    (0, 4, 7),
    (0, 3, 7),
    (0, 3, 6),
    (0, 4, 8),
    *(
        (0, *rest)
        for rest in (
            (4, 7, 10),
            (4, 7, 11),
            (3, 7, 10),
            (3, 6, 10),
            (3, 6, 9),
        )
    ),
)
"""Triads, and seventh chords: dominant, major, minor, half and fully diminished."""


def voice_leading(pieces: Sequence[np.ndarray], quarter: int = 4) -> dict[str, float]:
    """All figures over pieces (T, 4) with `quarter` frames a quarter note; every piece in proportion to its length."""
    if wrong := [np.shape(p) for p in pieces if np.ndim(p) != 2 or np.shape(p)[1] != len(RANGES)]:
        raise ValueError(f"voice leading wants pieces of shape (frames, {len(RANGES)}), got {wrong[0]}")
    events: dict[str, int] = {}
    found = [np.asarray(p, np.int64) for p in pieces]
    for piece in found:
        for name, count in _events(piece).items():
            events[name] = events.get(name, 0) + count
    beats = sum(map(len, found)) / quarter
    figures = {name: 100 * count / max(beats, 1e-9) for name, count in events.items()}
    return figures | _shares(found, quarter)


def _events(p: np.ndarray) -> dict[str, int]:
    """Faults of motion in one piece."""
    before, now = p[:-1], p[1:]
    sounds = (before >= 0) & (now >= 0)
    step = np.where(sounds, now - before, 0)
    events = dict.fromkeys((*PERFECT, "overlaps", "wide leaps"), 0)
    for a, b in combinations(range(p.shape[1]), 2):
        together = step[:, a] * step[:, b] > 0
        for name, interval in PERFECT.items():
            perfect = ((before[:, a] - before[:, b]) % 12 == interval) & (
                (now[:, a] - now[:, b]) % 12 == interval
            )
            events[name] += int((perfect & together).sum())
    upper, lower = slice(None, -1), slice(1, None)
    beside = sounds[:, upper] & sounds[:, lower]
    fell = (now[:, upper] < before[:, lower]) & (step[:, upper] < 0)
    rose = (now[:, lower] > before[:, upper]) & (step[:, lower] > 0)
    events["overlaps"] = int((fell & beside).sum() + (rose & beside).sum())
    events["wide leaps"] = int((np.abs(step) > 12).sum())
    return events


def _shares(pieces: Sequence[np.ndarray], quarter: int) -> dict[str, float]:
    """Faults of sound over all pieces."""
    every = np.concatenate(pieces) if pieces else np.empty((0, len(RANGES)), np.int64)
    sounds = every >= 0
    gaps, both = every[:, :-1] - every[:, 1:], sounds[:, :-1] & sounds[:, 1:]
    low, high = np.array(RANGES).T
    outside = ((every < low) | (every > high)) & sounds
    notes = [p[p >= 0] for p in pieces]
    strange = [len(n) * (1 - in_key_share(n, estimate_key(_classes(n)))) for n in notes if len(n)]
    beats = [_is_chord(frame) for p in pieces for frame in p[::quarter] if (frame >= 0).any()]
    return {
        "crossings": float(((gaps < 0) & both).any(axis=1).sum() / max(len(every), 1)),
        "wide spacing": float(((gaps > 12) & both)[:, :-1].any(axis=1).sum() / max(len(every), 1)),
        "out of range": float(outside.sum() / max(sounds.sum(), 1)),
        "out of key": float(sum(strange) / max(sounds.sum(), 1)),
        "no chord": 1 - float(np.mean(beats)) if beats else 0.0,
    }


def _classes(notes: np.ndarray) -> np.ndarray:
    return np.bincount(notes % 12, minlength=12)


def _is_chord(frame: np.ndarray) -> bool:
    """Do the pitch classes fit into a chord of CHORDS?"""
    classes = frozenset((frame[frame >= 0] % 12).tolist())
    return any(classes <= chord for chord in _EVERY)


_EVERY = frozenset(frozenset((root + tone) % 12 for tone in chord) for chord in CHORDS for root in range(12))
