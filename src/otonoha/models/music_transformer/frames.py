"""A chorale as frames: what is known of each voice at each step of the grid, before and relative to the others.

    pitch      (T, 4)  MIDI, -1 for a rest; soprano, alto, tenor, bass
    motion     (T, 4)  class of the step from the frame before: clip(semitones, +-12) + 12; 25 where a rest is involved
                       and in the first frame
    spacing    (T, 3)  semitones between neighbours S-A, A-T, T-B; `APART` where one of them rests
    below      (T, 3)  semitones from the soprano down to A, T, B; likewise
    degree     (T, 4)  pitch class above the piece's reference, 12 for a rest or before there is a reference
    held       (T, 4)  frames for which the voice has had its pitch, this one included
    reference  (T,)    pitch class of the reference as known before the frame, 12 as long as there is none

The reference is the lowest voice of the first frame that sounds: a causal stand-in for the key, equal in all
transpositions. Nothing in frame t looks beyond frame t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VOICES = 4
REST = -1
CLASSES = 26
"""Motion classes."""
UNKNOWN = 25
"""The motion class of what is no step between two notes."""
NO_DEGREE = 12
APART = 100
HOLDS = 24
"""Buckets of `hold_bucket`."""


@dataclass(frozen=True, eq=False)
class Frames:
    """The tables of a piece; see the top of the file."""

    pitch: np.ndarray
    motion: np.ndarray
    spacing: np.ndarray
    below: np.ndarray
    degree: np.ndarray
    held: np.ndarray
    reference: np.ndarray

    def __len__(self) -> int:
        return len(self.pitch)

    def rows(self) -> np.ndarray:
        """(T, 14) int8: steps, spacings, distances to the soprano, degrees; what the memory compares."""
        return np.concatenate([self.motion, self.spacing, self.below, self.degree], axis=1)


def frame_row(before: np.ndarray, now: np.ndarray, reference: int) -> np.ndarray:
    """The row (14,) of one frame (4,), whose reference was `reference` before it."""
    known = lowest(now) if reference == NO_DEGREE else reference
    parts = [motion_class(before, now), gap(now[:-1], now[1:]), gap(now[:1], now[1:])]
    return np.concatenate([*parts, degrees(now, np.array(known))])


def frames(pitch: np.ndarray, reference: int | None = None) -> Frames:
    """The tables of (T, 4) MIDI pitches, -1 for rests. Where the key is known, `reference` is its pitch class."""
    pitch = np.asarray(pitch, np.int16)
    if pitch.ndim != 2 or pitch.shape[1] != VOICES:
        raise ValueError(f"a chorale has frames of {VOICES} voices, got an array of shape {pitch.shape}")
    before = np.concatenate([np.full((1, VOICES), REST, np.int16), pitch[:-1]])[: len(pitch)]
    known = references(pitch) if reference is None else np.full(len(pitch), reference % 12, np.int16)
    now = np.append(known[1:], known[-1:])
    if len(pitch) and known[-1] == NO_DEGREE:
        now[-1] = lowest(pitch[-1])
    return Frames(
        pitch,
        motion_class(before, pitch),
        gap(pitch[:, :-1], pitch[:, 1:]),
        gap(pitch[:, :1], pitch[:, 1:]),
        degrees(pitch, now[:, None]),
        held(pitch),
        known,
    )


def motion_class(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Class of the step between two arrays of pitches."""
    step = np.clip(now.astype(np.int16) - before, -12, 12) + 12
    return np.where((before < 0) | (now < 0), UNKNOWN, step).astype(np.int8)


def gap(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Semitones between voices, `APART` where one rests."""
    return np.where((upper < 0) | (lower < 0), APART, upper - lower).astype(np.int8)


def degrees(pitch: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Pitch classes above the reference."""
    return np.where((pitch < 0) | (reference >= 12), NO_DEGREE, (pitch - reference) % 12).astype(np.int8)


def references(pitch: np.ndarray) -> np.ndarray:
    """(T,) the reference as known before each frame."""
    sounding = (pitch >= 0).any(axis=1)
    known = np.full(len(pitch), NO_DEGREE, np.int16)
    if sounding.any():
        first = int(sounding.argmax())
        known[first + 1 :] = lowest(pitch[first])
    return known


def lowest(frame: np.ndarray) -> int:
    """Pitch class of the lowest voice that sounds in a frame, 12 for silence."""
    sounding = frame[frame >= 0]  # the voices stand from top to bottom
    return int(sounding[-1]) % 12 if len(sounding) else NO_DEGREE


def held(pitch: np.ndarray) -> np.ndarray:
    """(T, V) for how many frames each voice has had its pitch."""
    steps = np.arange(len(pitch))[:, None]
    changed = np.ones(pitch.shape, bool)
    changed[1:] = pitch[1:] != pitch[:-1]
    return (steps - np.maximum.accumulate(np.where(changed, steps, 0), axis=0) + 1).astype(np.int16)


def hold_bucket(held: np.ndarray) -> np.ndarray:
    """0 … 23: one bucket for each of 1 … 16 frames, then half octaves."""
    far = 16 + np.floor(2 * np.log2(np.maximum(held, 16) / 16))
    return np.minimum(np.where(held <= 16, held - 1, far), HOLDS - 1).astype(np.int64)
