"""Notes as a prior of the design `modern` is told them: a row of numbers for every code. Torch-free.

Axes: N notes, T codes. A row: 0 … 127 the pitches that begin within the code's time, 128 … 255 those that sound in it,
256 always 1 (that notes are told at all; a prior that is told none sees zeros).
"""

from __future__ import annotations

import numpy as np
from symusic import Score

from otonoha.models.jukebox.batches_lyrics import SLACK
from otonoha.models.jukebox.modern_config import SCORE
from otonoha.music.piece import Piece
from otonoha.music.time import seconds

PITCHES = 128
LONGEST = 30.0
"""Seconds that a note may have begun before a window and still be heard in it."""


def notes_of(score: Score) -> np.ndarray:
    """(N, 3) seconds of the beginning, of the end, and pitch, in the order of time; percussion is left out."""
    parts = [
        np.array([(n.time, n.time + n.duration, n.pitch) for n in track.notes], np.int64).reshape(-1, 3)
        for track in score.tracks
        if not track.is_drum
    ]
    found = np.concatenate([np.zeros((0, 3), np.int64), *parts])
    times = [seconds(score, found[:, i]) for i in (0, 1)]
    notes = np.stack([*times, found[:, 2]], axis=1).astype(np.float64)
    return notes[np.argsort(notes[:, 0], kind="stable")]


def roll(notes: np.ndarray, start: float, frame: float, many: int) -> np.ndarray:
    """(many, SCORE) uint8: the rows of codes of `frame` seconds each, from `start` seconds on."""
    rows = np.zeros((many, SCORE), np.uint8)
    rows[:, -1] = 1
    first, last = np.searchsorted(notes[:, 0], [start - LONGEST, start + many * frame])
    near = notes[first:last]
    begins = np.floor((near[:, 0] - start) / frame + 1e-6).astype(np.int64)
    ends = np.maximum(begins + 1, np.ceil((near[:, 1] - start) / frame - 1e-6).astype(np.int64))
    for begin, end, pitch in zip(begins.tolist(), ends.tolist(), near[:, 2].astype(int).tolist()):
        if 0 <= begin < many:
            rows[begin, pitch] = 1
        if end > 0:
            rows[max(begin, 0) : end, PITCHES + pitch] = 1
    return rows


def notes_in(piece: Piece) -> np.ndarray | None:
    """The notes of a recording (see notes_of), where a score is known that lasts as long as it does; else None."""
    if piece.load_score is None:
        return None
    notes, length = notes_of(piece.score()), piece.sound().seconds
    if not len(notes) or notes[:, 1].max() > length + SLACK[0] + SLACK[1] * length:
        return None
    return notes
