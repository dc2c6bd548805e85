"""What the pictures of a band share: its tracks with their colours, a ladder of pitches, and notes as bricks.

A brick has a dark edge where the note is struck; a piece of a note that goes on from the bar before has none, so
that holds and repeated notes can be told apart. Pitched notes stand at their MIDI pitch. Drums have no height:
each drum that is used has a rung of its own, with its MIDI number and name.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.music.score import Notes, notes
from otonoha.music.theory import pitch_name
from otonoha.plots.canvas import GRID, TRACKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK_KEYS = (1, 3, 6, 8, 10)
LEAST_RANGE = 14
"""Semitones that are shown at least, so that a line of few notes is not blown up."""
DRUMS = {
    35: "kick",
    36: "kick",
    37: "rim",
    38: "snare",
    39: "clap",
    40: "snare",
    41: "tom",
    42: "closed hat",
    43: "tom",
    44: "pedal hat",
    45: "tom",
    46: "open hat",
    47: "tom",
    48: "tom",
    49: "crash",
    50: "tom",
    51: "ride",
    52: "china",
    53: "bell",
    54: "tambourine",
    55: "splash",
    56: "cowbell",
    57: "crash",
    59: "ride",
    60: "bongo",
    61: "bongo",
    62: "conga",
    63: "conga",
    64: "conga",
    70: "maracas",
}
"""Short names of General MIDI's drums."""


@dataclass(frozen=True, eq=False)
class Part:
    """One track of a band: name, colour and notes."""

    name: str
    colour: str
    drums: bool
    notes: Notes


def parts(score: Score) -> list[Part]:
    """All tracks, also silent ones."""
    return [
        Part(track.name or f"track {i + 1}", TRACKS[i % len(TRACKS)], track.is_drum, notes(track))
        for i, track in enumerate(score.tracks)
    ]


@dataclass(frozen=True, eq=False)
class Ladder:
    """Where notes stand: pitches low … high as they are, and below them a rung for each of the `drums`."""

    low: int
    high: int
    drums: tuple[int, ...] = ()

    @classmethod
    def of(cls, band: Sequence[Part]) -> Ladder:
        """Room for all notes of some parts."""
        pitches = [p for part in band if not part.drums for p in part.notes.pitch.tolist()]
        drums = sorted({p for part in band if part.drums for p in part.notes.pitch.tolist()})
        if not pitches:
            return cls(0, -1, tuple(drums)) if drums else cls(60, 60 + LEAST_RANGE)
        low, high = min(pitches) - 1, max(pitches) + 1
        lacking = max(0, LEAST_RANGE - (high - low))
        return cls(low - lacking // 2, high + -(-lacking // 2), tuple(drums))

    @property
    def foot(self) -> float:
        """The lower edge."""
        return self._rung(0) - 1.5 if self.drums else self.low - 0.5

    @property
    def height(self) -> float:
        """In semitones; a drum takes two."""
        return self.high + 0.5 - self.foot

    def _rung(self, number: int) -> float:
        return self.low - 1.0 - 2.0 * (len(self.drums) - number)

    def places(self, part: Part) -> np.ndarray:
        """The height of each note of a part."""
        if not part.drums:
            return part.notes.pitch.astype(float)
        return np.array([self._rung(self.drums.index(p)) for p in part.notes.pitch.tolist()])

    def names(self, *, each_drum: bool = True) -> tuple[list[float], list[str]]:
        """Heights and names to write at the side: the Cs, and the drums one by one or as a whole."""
        shown = [p for p in range(max(self.low, 0), min(self.high, 127) + 1) if p % 12 == 0]
        if not shown and self.high >= self.low:
            shown = [p for p in (self.low + 1, self.high - 1) if 0 <= p <= 127]
        drums = [f"{DRUMS.get(p, 'drum')} {p}" for p in self.drums]
        heights = [self._rung(i) for i in range(len(drums))]
        if drums and not each_drum:
            drums, heights = ["drums"], [float(np.mean(heights))]
        return [*map(float, shown), *heights], [*map(pitch_name, shown), *drums]


def rows(ax: Axes, ladder: Ladder, spans: Sequence[tuple[float, float]]) -> None:
    """Shade the black keys (and every second drum) over stretches of the x axis, and underline the Cs."""
    shaded = [float(p) for p in range(ladder.low, ladder.high + 1) if p % 12 in BLACK_KEYS]
    octaves = [p - 0.5 for p in range(ladder.low + 1, ladder.high + 1) if p % 12 == 0]
    drums = [ladder._rung(i) for i in range(0, len(ladder.drums), 2)]
    for left, right in spans:
        for middle, half in [*((p, 0.5) for p in shaded), *((d, 1.0) for d in drums)]:
            ax.fill_between(
                [left, right], middle - half, middle + half, color="#f1f3f6", zorder=0, linewidth=0
            )
        ax.hlines(octaves, left, right, color=GRID, linewidth=0.7, zorder=1)


def bricks(
    ax: Axes,
    begin: np.ndarray,
    end: np.ndarray,
    height: np.ndarray,
    colour: str,
    *,
    struck: np.ndarray,
    edge: float,
    lightness: float = 0.45,
    label: str = "",
) -> None:
    """Notes from begin to end (n,) in units of the x axis; `struck` (n,) have a dark edge, `edge` wide."""
    from matplotlib.collections import PolyCollection

    def boxes(left: np.ndarray, right: np.ndarray, y: np.ndarray, half: float) -> list:
        corners = [left, y - half, left, y + half, right, y + half, right, y - half]
        return list(np.stack(corners, axis=1).reshape(-1, 4, 2))

    body = PolyCollection(
        boxes(begin, end, height, 0.42),
        facecolors=lighter(colour, lightness),
        linewidths=0,
        zorder=3,
        label=label,
    )
    stroke = np.minimum(begin + edge, end)[struck]
    head = PolyCollection(
        boxes(begin[struck], stroke, height[struck], 0.42), facecolors=colour, linewidths=0, zorder=4
    )
    ax.add_collection(body)
    ax.add_collection(head)


def strokes(ax: Axes, at: np.ndarray, height: np.ndarray, colour: str, *, size: float = 14.0) -> None:
    """Drum strokes: what matters is when they are struck."""
    ax.scatter(at, height, s=size, marker="D", color=colour, linewidths=0, zorder=6, clip_on=False)


def lighter(colour: str, share: float) -> tuple[float, float, float]:
    """The colour so far towards white."""
    from matplotlib.colors import to_rgb

    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    return colorsys.hls_to_rgb(hue, light + (1 - light) * share, saturation)


def figure_of(width: float, height: float) -> Figure:
    """A figure without axes, of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure
