"""The notes that a system is asked to play: a score as text, which a request can hold, and back. Torch-free.

A note is "begin end pitch", in seconds and as MIDI has it, with commas between notes: "0 0.5 60, 0.5 1 64".
Axis: N notes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from symusic import Score

from otonoha.models.jukebox.modern_score import PITCHES, notes_of
from otonoha.music.piece import Piece
from otonoha.sample.tasks import Take

LATEST = 86_400.0
"""Seconds: no song is longer than a day."""


def notes_text(music: Any) -> str:
    """A Score (also a Piece's or a Take's) as text; every number comes back as it was. Text stays as it is."""
    if isinstance(music, str):
        return music
    score = music.score() if isinstance(music, Piece) else music.music if isinstance(music, Take) else music
    if not isinstance(score, Score):
        raise ValueError(f"notes must be a score, or text, got a {type(score).__name__}")
    notes = notes_of(score)
    if not len(notes):
        raise ValueError("notes has no effect: the score has no notes, or percussion only")
    return ", ".join(f"{begin!r} {end!r} {int(pitch)}" for begin, end, pitch in notes.tolist())


def notes_read(text: str) -> np.ndarray:
    """(N, 3) seconds of the beginning, of the end, and pitch, in the order of time. ValueError for anything else."""
    found = [_note(part) for part in text.split(",")]
    notes = np.array(found, np.float64).reshape(-1, 3)
    return notes[np.argsort(notes[:, 0], kind="stable")]


def _note(text: str) -> tuple[float, float, float]:
    try:
        begin, end, pitch = (float(word) for word in text.split())
    except ValueError:
        raise ValueError(
            f"cannot read {text.strip()[:40]!r} in notes; give a score, or begin, end (seconds) and pitch of every "
            'note, as in "0 0.5 60, 0.5 1 64"'
        ) from None
    if not 0 <= begin < end <= LATEST or pitch != int(pitch) or not 0 <= pitch < PITCHES:
        raise ValueError(
            f"the note {text.strip()!r} must end after it begins, within 0 … {LATEST:g} s, and its pitch must be "
            f"within 0 … {PITCHES - 1}"
        )
    return begin, end, pitch
