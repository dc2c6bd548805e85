"""The piano-roll: time to the right in bars, pitch upwards, one colour per track."""

from __future__ import annotations

from collections.abc import Sequence
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
MOST_NAMED_TRACKS, LONGEST_NAME = 18, 28
"""What fits beside the picture."""
THICK = 0.8
"""Height of a note, in semitones."""


def roll(score: Score, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw all tracks of a score, with bar lines, beats, key names and, where they fit, note names. Where tracks
    sound in unison, each has a lane of its own.

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
    lanes = _lanes([found for _, found in tracks])
    for number, ((track, found), (low_edge, thick)) in enumerate(zip(tracks, lanes, strict=True)):
        colour = FAINT if track.is_drum else TRACKS[number % len(TRACKS)]
        _notes(ax, found, low_edge, thick, colour, label=track.name or f"track {number + 1}")
        if len(pitches) <= MOST_NAMED_NOTES and not track.is_drum:
            top = np.isclose(low_edge + thick, THICK / 2)  # of a unison, the first
            _names(ax, found, top, int(bars.start[-1]), figure.get_size_inches()[0])
    if len(tracks) > 1:
        _legend(ax)
    return figure


def _legend(ax: Axes) -> None:
    """The names of the tracks beside the picture; of many, the first and how many more there are."""
    from matplotlib.patches import Patch

    handles, names = ax.get_legend_handles_labels()
    if len(names) > MOST_NAMED_TRACKS:
        more = len(names) - MOST_NAMED_TRACKS + 1
        handles = [*handles[: MOST_NAMED_TRACKS - 1], Patch(alpha=0)]
        names = [*names[: MOST_NAMED_TRACKS - 1], f"and {more} more"]
    ax.legend(
        handles,
        [n if len(n) <= LONGEST_NAME else n[: LONGEST_NAME - 1] + "…" for n in names],
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=SMALL,
        frameon=False,
        handlelength=1,
        labelcolor=INK,
    )


def _lanes(tracks: Sequence[Notes]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(lower edges above the pitch, heights) of the notes of each track: notes of several tracks that overlap at one
    pitch share its height.
    """
    track = np.repeat(np.arange(len(tracks)), [len(found.pitch) for found in tracks])
    pitch, onset = (np.concatenate([getattr(t, name) for t in tracks]) for name in ("pitch", "onset"))
    end = np.concatenate([t.end for t in tracks])
    order = np.lexsort((onset, pitch))
    above = pitch[order].astype(np.int64) * (int(end.max()) + 1)  # each pitch on a stretch of time of its own
    until = np.maximum.accumulate(above + end[order])
    cluster = np.cumsum(np.append(False, (above + onset[order])[1:] >= until[:-1]))
    pairs, pair = np.unique(np.stack([cluster, track[order]]), axis=1, return_inverse=True)
    many = np.bincount(pairs[0])
    rank = np.arange(pairs.shape[1]) - np.append(0, np.cumsum(many)[:-1])[pairs[0]]
    thick, lane = np.empty(len(track)), np.empty(len(track))
    thick[order] = (THICK / many[pairs[0]])[pair.ravel()]
    lane[order] = rank[pair.ravel()]
    low = THICK / 2 - (lane + 1) * thick  # the first track on top
    return [(low[track == i], thick[track == i]) for i in range(len(tracks))]


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


def _notes(ax: Axes, found: Notes, low: np.ndarray, thick: np.ndarray, colour: str, *, label: str) -> None:
    from matplotlib.collections import PolyCollection

    onset, pitch = found.onset.astype(float), found.pitch
    end = onset + np.maximum(found.duration, 1) * 0.97
    low = pitch + low
    high = low + thick
    corners = np.stack([onset, low, onset, high, end, high, end, low], axis=1)
    ax.add_collection(
        PolyCollection(
            list(corners.reshape(-1, 4, 2)),
            facecolors=colour,
            edgecolors="white",
            linewidths=np.where(thick < THICK, 0.0, 0.4),
            label=label,
            zorder=3,
        )
    )


def _names(ax: Axes, found: Notes, top: np.ndarray, width: int, inches: float) -> None:
    """Name the notes on `top` whose bar is wide enough for it."""
    wide = found.duration / max(width, 1) * inches * 0.9 > 0.2
    for i in np.flatnonzero(wide & top):
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
