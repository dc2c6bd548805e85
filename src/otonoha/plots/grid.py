"""The grid of a band: a row for each track, a column for each bar, in every cell the notes of that track and bar.

The picture of "Generative Deep Learning" and of the MuseGAN paper, made readable: semitones are equally high in
all rows, a note shows where it is struck and where it only goes on, and long pieces go on in further systems.

Axes: M tracks (rows of a system), N bars (columns). Within a system the x axis counts bars: bar n lies in
n … n + 1 - GUTTER.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.music.score import BarTable, bar_table, marker
from otonoha.plots.band import Ladder, Part, bricks, figure_of, parts, rows, strokes
from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, axes, nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GUTTER = 0.06
"""White between two bars, as a share of a bar."""
MOST_BARS = 128
LEFT, DRUMS, RIGHT, TOP, TITLE, BOTTOM = 0.55, 0.4, 0.15, 0.3, 0.25, 0.2
"""Margins in inches; the names of the tracks stand at the left, those of drums need more room."""
BETWEEN, SYSTEMS = 0.12, 0.42
"""Inches between rows, and between systems."""
SEMITONE = 0.052
"""Inches."""


def grid(
    score: Score, *, bars: tuple[int, int] | None = None, columns: int = 8, title: str | None = None
) -> Figure:
    """Draw all tracks of a score (silent ones too), `columns` bars to a system.

    `bars` (first, last) are those to draw, counted from 1 (a pick-up is bar 0); all when unset. Raises ValueError
    for bars that do not exist, and for more than 128 of them.
    """
    table = bar_table(score)
    band = parts(score)
    name = title if title is not None else next((text for _, text in marker(score, "title")), "")
    if not any(len(part.notes) for part in band):
        figure, ax = axes(None, 6, 2)
        nothing(ax, "no notes")
        return figure
    first, stop = chosen_bars(table, bars)
    systems = [range(a, min(a + columns, stop)) for a in range(first, stop, columns)]
    ladders = [Ladder.of([part]) for part in band]
    heights = [max(ladder.height, 8) * SEMITONE for ladder in ladders]
    system = sum(heights) + BETWEEN * (len(band) - 1)
    wide = max(len(system) for system in systems)
    left = LEFT + DRUMS * any(ladder.drums for ladder in ladders)
    width = float(np.clip(1.75 * wide, 5.0, 13.0)) + left + RIGHT
    top = TOP + TITLE * bool(name)
    height = top + BOTTOM + system * len(systems) + SYSTEMS * (len(systems) - 1)
    figure = figure_of(width, height)
    if name:
        figure.text(
            left / width, 1 - 0.12 / height, name, va="top", fontsize=11, color=INK, fontweight="bold"
        )
    y = height - top
    for these in systems:
        for row, (part, ladder) in enumerate(zip(band, ladders)):
            y -= heights[row]
            share = len(these) / wide
            box = (left / width, y / height, (width - left - RIGHT) / width * share, heights[row] / height)
            ax = figure.add_axes(box)
            _row(ax, part, ladder, table, these, numbers=row == 0)
            _name(ax, part, left)
            y -= BETWEEN
        y -= SYSTEMS - BETWEEN
    return figure


def chosen_bars(table: BarTable, bars: tuple[int, int] | None) -> tuple[int, int]:
    """(first, stop) as indices of the table, of bars counted from 1 (or from 0 where there is a pick-up)."""
    lead = 0 if table.first_is_pickup else 1
    first, last = bars if bars is not None else (lead, len(table) - 1 + lead)
    if not lead <= first <= last < len(table) + lead:
        raise ValueError(
            f"there are no bars {first} to {last}: the score has {lead} to {len(table) - 1 + lead}"
        )
    if last - first >= MOST_BARS:
        raise ValueError(
            f"{last - first + 1} bars are too many for one grid; choose at most {MOST_BARS} of them"
        )
    return first - lead, last - lead + 1


def _row(
    ax: Axes, part: Part, ladder: Ladder, table: BarTable, these: Sequence[int], *, numbers: bool
) -> None:
    """One track through the bars of one system."""
    _cells(ax, ladder, table, these)
    for column, bar in enumerate(these):
        _cell(ax, part, ladder, column, int(table.start[bar]), int(table.start[bar + 1]))
    ax.set_xlim(0, len(these) - GUTTER)
    ax.set_ylim(ladder.foot, ladder.foot + ladder.height)
    ax.set_yticks(*ladder.names())
    ax.tick_params(axis="y", length=0, labelsize=SMALL - 2, labelcolor=FAINT, pad=2)
    ax.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, pad=1)
    lead = 0 if table.first_is_pickup else 1
    middles = np.arange(len(these)) + (1 - GUTTER) / 2
    ax.set_xticks(middles, [str(bar + lead) for bar in these] if numbers else [], fontsize=SMALL, color=INK)
    for side in ax.spines.values():
        side.set_visible(False)


def _name(ax: Axes, part: Part, left: float) -> None:
    """The name of the track, at the edge of the picture."""
    ax.annotate(
        part.name,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-72 * left + 9, 0),
        textcoords="offset points",
        rotation=90,
        ha="center",
        va="center",
        fontsize=SMALL + 1,
        color=part.colour,
        fontweight="bold",
    )


def _cells(ax: Axes, ladder: Ladder, table: BarTable, these: Sequence[int]) -> None:
    """The empty cells: keys, beats and a frame."""
    spans = [(column, column + 1 - GUTTER) for column in range(len(these))]
    rows(ax, ladder, spans)
    foot, top = ladder.foot, ladder.foot + ladder.height
    for (left, right), bar in zip(spans, these):
        beats = int(table.numerator[bar])
        at = np.linspace(left, right, beats + 1)[1:-1]
        ax.vlines(at, foot, top, color=GRID, linewidth=0.6, zorder=1)
        frame = [left, right, right, left, left], [foot, foot, top, top, foot]
        ax.plot(*frame, color="#b4b9c1", linewidth=0.9, zorder=5, clip_on=False)


def _cell(ax: Axes, part: Part, ladder: Ladder, column: int, start: int, stop: int) -> None:
    """The notes of a part within one bar."""
    found, length = part.notes, (stop - start) / (1 - GUTTER)
    inside = (found.onset < stop) & (found.end > start)
    struck = found.onset[inside] >= start
    begin = column + (np.maximum(found.onset[inside], start) - start) / length
    end = column + (np.minimum(found.end[inside], stop) - start) / length
    height = ladder.places(part)[inside]
    if part.drums:
        strokes(ax, begin[struck] + 0.008, height[struck], part.colour)
    else:
        bricks(ax, begin, end - 0.006, height, part.colour, struck=struck, edge=0.018)
