"""Tracks of a symusic.Score and their notes as arrays (n notes, int64, ticks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Note, Score, TextMeta, Track

from otonoha.music.markers import marker

MAX_TICK, MAX_TPQ = 2**31 - 1, 0x7FFF
"""The latest tick, and the finest ticks to a quarter note, that files can say."""


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes as int64 arrays (n,) in ticks, sorted by (onset, pitch)."""

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def end(self) -> np.ndarray:
        """The tick at which each note ends."""
        return self.onset + self.duration


def notes(track: Track) -> Notes:
    """The notes of a track as arrays, sorted by (onset, pitch)."""
    if not len(track.notes):
        nothing = np.zeros(0, np.int64)
        return Notes(nothing, nothing, nothing, nothing)
    columns = track.notes.numpy()
    order = np.lexsort((columns["pitch"], columns["time"]))
    return Notes(*(columns[c][order].astype(np.int64) for c in ("time", "duration", "pitch", "velocity")))


def track_of(
    onset: np.ndarray,
    duration: np.ndarray,
    pitch: np.ndarray,
    velocity: np.ndarray | int = 80,
    *,
    name: str = "",
    program: int = 0,
    is_drum: bool = False,
) -> Track:
    """A track of notes given as arrays (n,) in ticks; pitches and velocities are 0-127.

    Raises ValueError for values that MIDI cannot hold (symusic would wrap them silently).
    """
    onset, duration, pitch = (np.asarray(a, np.int64) for a in (onset, duration, pitch))
    velocity = np.broadcast_to(np.asarray(velocity, np.int64), onset.shape)
    for values, what, top in (
        (onset, "onsets", MAX_TICK),
        (duration, "durations", MAX_TICK),
        (pitch, "pitches", 127),
        (velocity, "velocities", 127),
    ):
        if values.shape != onset.shape:
            raise ValueError(f"{what} have shape {values.shape}, onsets {onset.shape}")
        if len(values) and not (values.min() >= 0 and values.max() <= top):
            raise ValueError(f"{what} must lie in 0-{top}, got {values.min()} to {values.max()}")
    track = Track(name, int(program), bool(is_drum))
    if len(onset):
        track.notes = Note.from_numpy(
            onset.astype(np.int32), duration.astype(np.int32), pitch.astype(np.int8), velocity.astype(np.int8)
        )
    return track


def with_notes(track: Track, found: Notes) -> Track:
    """A copy of a track with its notes replaced; name, program, lyrics and controls stay."""
    result = track.copy()
    result.notes = track_of(found.onset, found.duration, found.pitch, found.velocity).notes
    return result


def select_tracks(score: Score, indices: Sequence[int]) -> Score:
    """Some tracks of a score, in the order given; fermata markers follow their tracks."""
    place = {int(old): new for new, old in enumerate(indices)}
    result = score.copy()
    result.tracks = [score.tracks[i].copy() for i in place]
    kept = [m for m in score.markers if not m.text.startswith("fermata:")]
    for tick, value in marker(score, "fermata"):
        if value.isdigit() and int(value) in place:
            kept.append(TextMeta(tick, f"fermata:{place[int(value)]}"))
    result.markers = sorted(kept, key=lambda m: m.time)
    return result
