"""The line that metrics look at: the melody of a score as arrays, in quarter notes, with its place in the
bars.

Axes: N notes. Scores without pitched notes give a line of length 0; every metric says what it makes of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from symusic import Score

from otonoha.music.score import bar_table, key_at, marker, melody, notes
from otonoha.music.theory import Key


@dataclass(frozen=True, eq=False)
class Line:
    """A monophonic melody. All arrays are (N,); times are quarter notes (float64)."""

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    bar: np.ndarray
    """Index of the bar in which the note begins; a pick-up is bar 0."""
    place: np.ndarray
    """Quarter notes since the bar line (in a pick-up: since where a full bar would have begun)."""
    bar_length: np.ndarray
    """Quarter notes of a full bar of the metre in force."""
    beat: np.ndarray
    """Quarter notes of a beat: 1 / denominator of the metre, dotted in compound metres (6/8, 9/8, 12/8)."""
    fermata: np.ndarray
    """Whether the note carries a fermata."""
    key: Key | None
    """The key stated at the beginning."""

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def gap(self) -> np.ndarray:
        """(N - 1,) quarter notes from each onset to the next."""
        return np.diff(self.onset)

    @property
    def bar_time(self) -> np.ndarray:
        """Onsets counted in bars, with fractions."""
        return self.bar + self.place / self.bar_length


def line(music: Score | Line) -> Line:
    """The melody of a score (`otonoha.music.score.melody`); a Line is returned as it is."""
    if isinstance(music, Line):
        return music
    if not any(len(track.notes) and not track.is_drum for track in music.tracks):
        return _nothing()
    tune = melody(music)
    found = notes(tune.tracks[0])
    table, tpq = bar_table(music), music.tpq
    bar = table.bar_at(found.onset)
    bar_length = 4.0 * table.numerator[bar] / table.denominator[bar]
    place = (found.onset - table.start[bar]) / tpq
    if table.first_is_pickup:
        missing = bar_length[0] - (table.start[1] - table.start[0]) / tpq
        place = place + np.where(bar == 0, missing, 0.0)
    compound = (table.numerator[bar] % 3 == 0) & (table.numerator[bar] > 3) & (table.denominator[bar] >= 8)
    held = [tick for tick, _ in marker(music, "fermata")]
    return Line(
        onset=found.onset / tpq,
        duration=found.duration / tpq,
        pitch=found.pitch,
        bar=bar,
        place=place,
        bar_length=bar_length,
        beat=4.0 / table.denominator[bar] * np.where(compound, 3, 1),
        fermata=np.isin(found.onset, held),
        key=key_at(music),
    )


def _nothing() -> Line:
    none = np.zeros(0)
    whole = np.zeros(0, np.int64)
    return Line(none, none, whole, whole, none, none, none, np.zeros(0, bool), None)
