"""The JSB benchmark: 382 four-part chorales on a grid of sixteenths (or quarters), split by its authors.

Axes: T steps, 4 voices (soprano, alto, tenor, bass); values are MIDI pitches, -1 is silence. The files do not
tell a held note from a repeated one: in a Score each run of equal steps is one note. The pickled variant of
the data is never opened.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from symusic import Score

from otonoha.data.homes import need_home
from otonoha.data.reading import Progress
from otonoha.data.recipes import VOICES
from otonoha.data.report import FolderReport
from otonoha.music.piece import SPLITS, Piece
from otonoha.music.tracks import track_of

STEPS_PER_QUARTER = 4
LABELS = {"style": "chorale", "composer": "Johann Sebastian Bach"}


def jsb_arrays() -> dict[str, list[np.ndarray]]:
    """Split -> (T, 4) int64 arrays of sixteenth steps, -1 for silence, in the order of the file."""
    pieces = _read("Jsb16thSeparated.json")
    return {
        split: [np.asarray(piece, np.int64).reshape(-1, 4) for piece in pieces[split]] for split in SPLITS
    }


def jsb_quarter_arrays() -> dict[str, list[list[np.ndarray]]]:
    """Split -> pieces -> the sorted pitches of each quarter step (the key-normalised benchmark)."""
    pieces = _read("jsb-chorales-quarter.json")
    return {
        split: [[np.unique(np.asarray(frame, np.int64)) for frame in piece] for piece in pieces[split]]
        for split in SPLITS
    }


def _read(file: str) -> dict:
    path: Path = need_home("jsb-chorales", "jsb-chorales") / file
    try:
        pieces = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(pieces, dict) or set(SPLITS) - set(pieces):
        raise ValueError(f"{path} does not hold the splits {', '.join(SPLITS)}")
    return pieces


def score_of(grid: np.ndarray) -> Score:
    """(T, 4) sixteenth steps -> a Score of four tracks with 4 ticks a quarter."""
    score = Score(STEPS_PER_QUARTER)
    for name, voice in zip(VOICES, np.asarray(grid).T):
        starts = np.flatnonzero(np.append(True, voice[1:] != voice[:-1])[: len(voice)])
        lengths = np.diff(np.append(starts, len(voice)))
        sounding = voice[starts] >= 0
        score.tracks.append(
            track_of(starts[sounding], lengths[sounding], voice[starts[sounding]], name=name.capitalize())
        )
    return score


def load(*, progress: Progress | None = None, workers: int | None = None) -> tuple[list[Piece], FolderReport]:
    """The pieces in the order of the file; ids are `jsb-<split>-<number>`."""
    pieces = [
        Piece(f"jsb-{split}-{i:03d}", split, load_score=partial(score_of, grid), labels=LABELS)
        for split, grids in jsb_arrays().items()
        for i, grid in enumerate(grids)
    ]
    return pieces, FolderReport(read=len(pieces))
