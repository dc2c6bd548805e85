"""The piano-roll: time to the right in bars, pitch upwards, one colour per track."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.music.score import BarTable, Notes, bar_table, key_map, marker, notes
from otonoha.music.theory import pitch_name
from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, TRACKS, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK_KEYS = (1, 3, 6, 8, 10)
MOST_NAMED_NOTES = 100
"""Up to so many notes, notes that are long enough carry their names."""


def roll(score: Score, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw all tracks of a score, with bar lines, beats, key names and, where they fit, note names.

    The title is the score's own unless given. Drums are drawn at their MIDI numbers, in grey.
    """
    tracks = [(track, notes(track)) for track in score.tracks if len(track.notes)]
    bars = bar_table(score)
    figure, ax = axes(ax, float(np.clip(2.5 + 0.55 * len(bars), 6, 24)), 4.2)
    name = title if title is not None else next((text for _, text in marker(score, "title")), "")
    tidy(ax, title=name, x="bar")
    if not tracks:
        nothing(ax, "no notes")
        return figure
    pitches = np.concatenate([found.pitch for _, found in tracks])
    low, high = int(pitches.min()) - 2, int(pitches.max()) + 2
    if high - low < 14:
        middle = (high + low) // 2
        low, high = min(low, middle - 7), max(high, middle + 7)
    ax.set_xlim(0, int(bars.start[-1]))
    ax.set_ylim(low - 0.5, high + 0.5)
    _keyboard(ax, low, high)
    _bar_lines(ax, bars, score.tpq)
    _keys(ax, score, len(bars))
    for number, (track, found) in enumerate(tracks):
        colour = FAINT if track.is_drum else TRACKS[number % len(TRACKS)]
        _notes(ax, found, colour, label=track.name or f"track {number + 1}")
        if len(pitches) <= MOST_NAMED_NOTES and not track.is_drum:
            _names(ax, found, int(bars.start[-1]), figure.get_size_inches()[0])
    if len(tracks) > 1:
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            fontsize=SMALL,
            frameon=False,
            handlelength=1,
            labelcolor=INK,
        )
    return figure


def _keyboard(ax: Axes, low: int, high: int) -> None:
    """Shade the rows of the black keys, draw a line under each C, and name the Cs (all notes if few)."""
    for pitch in range(low, high + 1):
        if pitch % 12 in BLACK_KEYS:
            ax.axhspan(pitch - 0.5, pitch + 0.5, color="#f5f6f8", zorder=0, linewidth=0)
        if pitch % 12 == 0:
            ax.axhline(pitch - 0.5, color=GRID, linewidth=0.8, zorder=1)
    step = (0,) if high - low > 30 else (0, 4, 7)
    shown = [pitch for pitch in range(max(low, 0), min(high, 127) + 1) if pitch % 12 in step]
    ax.set_yticks(shown, [pitch_name(pitch) for pitch in shown])


def _bar_lines(ax: Axes, bars: BarTable, tpq: int) -> None:
    """Bar lines, thin lines at the beats, bar numbers (a pick-up is bar 0)."""
    offset = 0 if bars.first_is_pickup else 1
    every = 1
    while len(bars) / every > 24:
        every *= 2
    _verticals(ax, bars.start[:: every if len(bars) > 64 else 1], "#b4b9c1", 0.9)
    if len(bars) <= 40:
        beats = [
            np.arange(end - 4 * tpq / lower, start, -4 * tpq / lower)
            for start, end, lower in zip(bars.start[:-1], bars.start[1:], bars.denominator)
        ]
        _verticals(ax, np.concatenate(beats), GRID, 0.5)
    shown = [i for i in range(len(bars)) if (i + offset - 1) % every == 0]
    ax.set_xticks([bars.start[i] for i in shown], [str(i + offset) for i in shown])


def _verticals(ax: Axes, ticks: np.ndarray, colour: str, width: float) -> None:
    ax.vlines(
        ticks, 0, 1, transform=ax.get_xaxis_transform(), color=colour, linewidth=width, zorder=1, clip_on=True
    )


def _keys(ax: Axes, score: Score, bar_count: int) -> None:
    """Write where which key begins, above the roll."""
    last = None
    for tick, key in key_map(score):
        if key != last and tick < ax.get_xlim()[1]:
            ax.annotate(
                str(key),
                (tick, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize=SMALL,
                color=FAINT,
                style="italic",
                rotation=0 if bar_count < 60 else 30,
            )
            last = key
    if last is not None and ax.get_title(loc="left"):
        ax.set_title(ax.get_title(loc="left"), loc="left", pad=16, fontsize=11, color=INK, fontweight="bold")


def _notes(ax: Axes, found: Notes, colour: str, *, label: str) -> None:
    from matplotlib.collections import PolyCollection

    onset, pitch = found.onset.astype(float), found.pitch
    end = onset + np.maximum(found.duration, 1) * 0.97
    corners = np.stack([onset, pitch - 0.4, onset, pitch + 0.4, end, pitch + 0.4, end, pitch - 0.4], axis=1)
    ax.add_collection(
        PolyCollection(
            list(corners.reshape(-1, 4, 2)),
            facecolors=colour,
            edgecolors="white",
            linewidths=0.4,
            label=label,
            zorder=3,
        )
    )


def _names(ax: Axes, found: Notes, width: int, inches: float) -> None:
    """Name the notes whose bar is wide enough for it."""
    wide = found.duration / max(width, 1) * inches * 0.9 > 0.2
    for i in np.flatnonzero(wide):
        ax.text(
            found.onset[i] + found.duration[i] / 2,
            found.pitch[i] + 0.62,
            pitch_name(found.pitch[i])[:-1],
            ha="center",
            va="bottom",
            fontsize=6.5,
            color=FAINT,
            zorder=4,
        )
