"""A knob turned step by step: a row for each setting, the notes that changed against another row in full colour.

Notes that are as they were are pale; those that changed are dark, with the hollow outlines of notes that they
replaced. At the right stands, for each track, the share of its notes that changed. So a glance shows what a knob
does: the groove of the bass the bass alone, chords everything.

A note is the same where track, onset, pitch and length are the same. The x axis is in quarter notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from symusic import Score

from otonoha.music.score import Notes, bar_table
from otonoha.music.suggest import one_of
from otonoha.plots.band import Ladder, Part, figure_of, lighter, parts, rows
from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, axes, nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Against = Literal["first", "previous"]
MOST_ROWS = 24
LEFT, RIGHT, TOP, BOTTOM, BETWEEN = 0.5, 1.75, 0.8, 0.3, 0.3
"""Margins and the white between rows, where the settings' names stand, in inches."""
SEMITONE = 0.033
"""Inches."""


@dataclass(frozen=True, eq=False)
class Change:
    """What became of one track: its notes (onsets and lengths in quarters), which of them are new, which are gone."""

    part: Part
    new: np.ndarray
    gone: Notes

    @property
    def share(self) -> float:
        """Share of the notes of both sides that have no partner on the other: 0 the same, 1 nothing in common."""
        kept = int((~self.new).sum())
        total = 2 * kept + int(self.new.sum()) + len(self.gone)
        return 1 - 2 * kept / total if total else 0.0


def sweep(settings: Sequence[tuple[str, Any]], *, against: Against = "first", title: str = "") -> Figure:
    """Draw (label, Score) settings, one below the other; changes are those against the "first" or "previous" row.

    Raises ValueError where the settings differ in their tracks, or are more than 24.
    """
    one_of(against, ("first", "previous"), "against")
    if len(settings) > MOST_ROWS:
        raise ValueError(f"{len(settings)} settings are too many for one picture; choose at most {MOST_ROWS}")
    scores = [getattr(music, "music", music) for _, music in settings]
    table = changes(scores, against=against)
    everything = [change.part for row in table for change in row]
    if not any(len(part.notes) for part in everything):
        figure, ax = axes(None, 6, 2)
        nothing(ax, "no notes")
        return figure
    ladder = Ladder.of(everything)
    lines = bar_lines(scores)
    row_height = max(ladder.height * SEMITONE, 0.9)
    width = float(np.clip(1.25 * (len(lines) - 1), 5.0, 13.0)) + LEFT + RIGHT
    height = TOP + BOTTOM + len(scores) * (row_height + BETWEEN) - BETWEEN
    figure = figure_of(width, height)
    _heading(figure, title, against, len(scores))
    for i, ((label, _), found) in enumerate(zip(settings, table)):
        y = height - TOP - (i + 1) * row_height - i * BETWEEN
        box = (LEFT / width, y / height, (width - LEFT - RIGHT) / width, row_height / height)
        ax = figure.add_axes(box)
        compared = i > 0
        _row(
            ax,
            found,
            ladder,
            lines,
            compared=compared,
            numbers=i == len(scores) - 1,
            inches=width - LEFT - RIGHT,
        )
        _side(ax, label, found, compared=compared)
    return figure


def changes(scores: Sequence[Score], *, against: Against = "first") -> list[list[Change]]:
    """For every score and track what changed against the first score or the one before; in the first all is old."""
    bands = [[_in_quarters(part, score.tpq) for part in parts(score)] for score in scores]
    for band in bands[1:]:
        names, first = [p.name for p in band], [p.name for p in bands[0]]
        if names != first:
            raise ValueError(
                f"settings must have the same tracks: {', '.join(first)}, not {', '.join(names)}"
            )
    found = []
    for i, band in enumerate(bands):
        other = bands[0] if against == "first" or not i else bands[i - 1]
        found.append([_change(part, before) for part, before in zip(band, other)])
    return found


def _in_quarters(part: Part, tpq: int) -> Part:
    found = part.notes
    return replace(part, notes=replace(found, onset=found.onset / tpq, duration=found.duration / tpq))


def _change(part: Part, before: Part) -> Change:
    now, then = _identities(part.notes), _identities(before.notes)
    new = np.array([note not in then for note in now], dtype=bool)
    gone = np.array([note not in now for note in then], dtype=bool)
    old = before.notes
    lost = Notes(old.onset[gone], old.duration[gone], old.pitch[gone], old.velocity[gone])
    return Change(part, new, lost)


def _identities(found: Notes) -> dict[tuple[float, float, int], None]:
    """(onset, length, pitch) of each note, in their order."""
    columns = zip(found.onset.round(6).tolist(), found.duration.round(6).tolist(), found.pitch.tolist())
    return dict.fromkeys(columns)


def bar_lines(scores: Sequence[Score]) -> np.ndarray:
    """Bar lines of the longest score, in quarters, with the end of the last bar."""
    lines = [bar_table(score).start / score.tpq for score in scores]
    return max(lines, key=lambda at: at[-1])


# -- drawing -------------------------------------------------------------------------------------------


def _row(
    ax: Axes,
    found: Sequence[Change],
    ladder: Ladder,
    lines: np.ndarray,
    *,
    compared: bool,
    numbers: bool,
    inches: float,
) -> None:
    """The notes of one setting; the row is so many inches wide."""
    end = float(lines[-1])
    rows(ax, ladder, [(0, end)])
    ax.vlines(lines, 0, 1, transform=ax.get_xaxis_transform(), color="#b4b9c1", linewidth=0.8, zorder=1)
    edge = 0.022 * end / inches
    for change in sorted(found, key=lambda c: -c.part.notes.duration.mean() if len(c.part.notes) else 0.0):
        _notes(
            ax, change, ladder, edge, compared=compared
        )  # short notes over the long ones they coincide with
    ax.set_xlim(0, end)
    ax.set_ylim(ladder.foot, ladder.foot + ladder.height)
    ax.set_yticks(*ladder.names(each_drum=False))
    ax.tick_params(axis="y", length=0, labelsize=SMALL - 2, labelcolor=FAINT, pad=2)
    ax.tick_params(axis="x", length=0, labelsize=SMALL, labelcolor=INK, pad=2)
    every = -(-(len(lines) - 1) // 24)
    shown = range(0, len(lines) - 1, every) if numbers else []
    ax.set_xticks([(lines[i] + lines[i + 1]) / 2 for i in shown], [str(i + 1) for i in shown])
    for side in ax.spines.values():
        side.set_color(GRID)


def _notes(ax: Axes, change: Change, ladder: Ladder, edge: float, *, compared: bool) -> None:
    """One track: pale where nothing changed, dark where something did, hollow where notes are gone."""
    part, found = change.part, change.part.notes
    height = ladder.places(part)
    length = np.full(len(found), 4 * edge) if part.drums else found.duration
    gone = replace(part, notes=change.gone)
    away = np.full(len(change.gone), 4 * edge) if part.drums else change.gone.duration
    _boxes(ax, change.gone.onset, away, ladder.places(gone), face="none", line=lighter(part.colour, 0.35))
    pale = lighter(part.colour, 0.72 if compared else 0.3)
    for which, colour, z in ((~change.new, pale, 3), (change.new, part.colour, 4)):
        _boxes(ax, found.onset[which], length[which] - edge, height[which], face=colour, z=z)


def _boxes(
    ax: Axes,
    begin: np.ndarray,
    length: np.ndarray,
    y: np.ndarray,
    *,
    face: Any,
    line: Any = "none",
    z: int = 2,
) -> None:
    from matplotlib.collections import PolyCollection

    end, half = begin + length, 0.46
    corners = np.stack([begin, y - half, begin, y + half, end, y + half, end, y - half], axis=1)
    ax.add_collection(
        PolyCollection(
            list(corners.reshape(-1, 4, 2)), facecolors=face, edgecolors=line, linewidths=0.6, zorder=z
        )
    )


def _side(ax: Axes, label: str, found: Sequence[Change], *, compared: bool) -> None:
    """The setting's name above; at the right the tracks with the share of notes that changed."""
    ax.annotate(
        label,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=SMALL + 1,
        color=INK,
        fontweight="bold",
    )
    step = min(0.22, 1 / len(found))
    for i, change in enumerate(found):
        y = 0.5 + (len(found) - 1) / 2 * step - i * step
        told = "" if not compared else "same" if not change.share else f"{max(change.share, 0.01):.0%}"
        loud = not compared or change.share > 0
        style: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "va": "center",
            "fontsize": SMALL,
            "color": change.part.colour if loud else FAINT,
        }
        ax.annotate(change.part.name, (1, y), xytext=(8, 0), ha="left", **style)
        ax.annotate(told, (1, y), xytext=(110, 0), ha="right", **style)


def _heading(figure: Figure, title: str, against: Against, count: int) -> None:
    width, height = figure.get_size_inches()
    figure.text(LEFT / width, 1 - 0.12 / height, title, va="top", fontsize=11, color=INK, fontweight="bold")
    other = "the first row" if against == "first" else "the row above"
    said = f"dark: changed against {other} · pale: as it was · hollow: gone"
    if count > 1:
        figure.text(LEFT / width, 1 - 0.36 / height, said, va="top", fontsize=SMALL, color=FAINT)
        right = 1 - (RIGHT - 0.11) / width
        figure.text(right, 1 - 0.36 / height, "notes that changed", va="top", fontsize=SMALL, color=FAINT)
