"""Pictures of tasks: what was given and what was written, in different colours; a row for each track.

Axes: M tracks (rows), N notes of a track. The x axis counts bars: bar n lies in n … n + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.music.score import BarTable, Notes, bar_table, notes
from otonoha.plots.band import Ladder, Part, bricks, figure_of, lighter, rows
from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, TRACKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIVEN, WRITTEN, GONE = "#6b7482", "#dd7a1f", "#b0483a"
SEMITONE, LEFT, RIGHT, TOP, BOTTOM, BETWEEN, SPANS = 0.05, 0.55, 0.15, 0.62, 0.12, 0.1, 0.2
"""Inches."""
INCHES_A_BAR, WIDEST = 1.05, 10.0


@dataclass(frozen=True, eq=False)
class Layer:
    """Notes of one meaning in every track."""

    label: str
    colour: str
    notes: Sequence[Notes]
    hollow: bool = False
    """Outlines only: notes that are gone."""


@dataclass(frozen=True)
class Span:
    """Bars first … stop - 1 with a name above them."""

    first: int
    stop: int
    name: str
    colour: str


def told_apart(score: Score, given: Score, *, gone: bool = False) -> list[Layer]:
    """The notes of a score that stand in `given` (tracks and ticks are the same), those that do not, and with `gone`
    those that stand in `given` only.
    """
    kept, new, lost = [], [], []
    for i, track in enumerate(score.tracks):
        mine = notes(track)
        other = notes(given.tracks[i]) if i < len(given.tracks) else some(mine, np.zeros(len(mine), bool))
        there = np.isin(_codes(mine), _codes(other))
        kept.append(some(mine, there))
        new.append(some(mine, ~there))
        lost.append(some(other, ~np.isin(_codes(other), _codes(mine))))
    layers = [Layer("given", GIVEN, kept), Layer("written", WRITTEN, new)]
    return [*layers, Layer("was there", GONE, lost, hollow=True)] if gone else layers


def by_track(score: Score) -> list[Layer]:
    """Every track in a colour of its own."""
    each = [notes(track) for track in score.tracks]
    nothing = [some(n, np.zeros(len(n), bool)) for n in each]
    return [
        Layer("", TRACKS[i % len(TRACKS)], [*nothing[:i], n, *nothing[i + 1 :]]) for i, n in enumerate(each)
    ]


def by_section(score: Score, spans: Sequence[Span]) -> list[Layer]:
    """The notes by the section in which they begin."""
    table = bar_table(score)
    lead = int(table.first_is_pickup)
    layers = []
    for span in spans:
        each = [notes(track) for track in score.tracks]
        inside = [
            (n.onset >= table.start[span.first + lead]) & (n.onset < table.start[span.stop + lead])
            for n in each
        ]
        layers.append(Layer("", span.colour, [some(n, i) for n, i in zip(each, inside)]))
    return layers


def some(found: Notes, which: np.ndarray) -> Notes:
    """Some of the notes."""
    return Notes(found.onset[which], found.duration[which], found.pitch[which], found.velocity[which])


def _codes(found: Notes) -> np.ndarray:
    """(N,) equal for equal notes; a continued note may have been given another length."""
    return found.onset * 128 + found.pitch


def draw(score: Score, layers: Sequence[Layer], title: str, *, spans: Sequence[Span] = ()) -> Figure:
    """The tracks of a score that have notes, one above the other."""
    table = bar_table(score)
    shown = [i for i in range(len(score.tracks)) if any(len(layer.notes[i]) for layer in layers)]
    ladders = [Ladder.of([_part(score, layers, i)]) for i in shown]
    heights = [ladder.height * SEMITONE for ladder in ladders]
    width = LEFT + RIGHT + min(WIDEST, INCHES_A_BAR * len(table))
    top = TOP + SPANS * bool(spans)
    height = top + BOTTOM + sum(heights) + BETWEEN * (len(shown) - 1)
    figure, y = figure_of(width, height), height - top
    figure.text(LEFT / width, 1 - 0.1 / height, title, va="top", fontsize=10, color=INK, fontweight="bold")
    _legend(figure, [layer for layer in layers if layer.label], width, height)
    for row, (track, ladder) in enumerate(zip(shown, ladders)):
        y -= heights[row]
        box = (LEFT / width, y / height, (width - LEFT - RIGHT) / width, heights[row] / height)
        ax = figure.add_axes(box)
        _row(ax, ladder, table, numbers=row == 0)
        for layer in layers:
            _notes(ax, layer, layer.notes[track], _bars(table))
        for span in spans if row == 0 else ():
            _over(ax, span)
        name = score.tracks[track].name or f"track {track + 1}"
        ax.annotate(
            name,
            (0, 0.5),
            xycoords="axes fraction",
            xytext=(-72 * LEFT + 9, 0),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="center",
            fontsize=SMALL,
            color=INK,
        )
        y -= BETWEEN
    return figure


def _part(score: Score, layers: Sequence[Layer], track: int) -> Part:
    """All notes of a track, those that are gone too."""
    each = [layer.notes[track] for layer in layers]
    whole = Notes(
        *(np.concatenate([getattr(n, c) for n in each]) for c in ("onset", "duration", "pitch", "velocity"))
    )
    return Part(score.tracks[track].name, INK, False, whole)


def _bars(table: BarTable) -> Callable[[np.ndarray], np.ndarray]:
    """Ticks -> bars with fractions."""
    return lambda ticks: np.interp(ticks, table.start, np.arange(len(table.start)))


def _row(ax: Axes, ladder: Ladder, table: BarTable, *, numbers: bool) -> None:
    """Keys, beats and bar lines of a track."""
    bars, foot, top = len(table), ladder.foot, ladder.foot + ladder.height
    rows(ax, ladder, [(0, bars)])
    for bar in range(bars):
        beats = np.linspace(bar, bar + 1, int(table.numerator[bar]) + 1)[1:-1]
        ax.vlines(beats, foot, top, color=GRID, linewidth=0.5, zorder=1)
    ax.vlines(np.arange(bars + 1), foot, top, color="#b4b9c1", linewidth=0.9, zorder=2, clip_on=False)
    ax.set_xlim(0, bars)
    ax.set_ylim(foot, top)
    ax.set_yticks(*ladder.names())
    ax.tick_params(axis="y", length=0, labelsize=SMALL - 2, labelcolor=FAINT, pad=2)
    ax.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False, pad=0)
    lead = 0 if table.first_is_pickup else 1
    names = [str(bar + lead) for bar in range(bars)] if numbers else []
    ax.set_xticks(np.arange(bars) + 0.5 if numbers else [], names, fontsize=SMALL - 1, color=FAINT)
    for side in ax.spines.values():
        side.set_visible(False)


def _notes(ax: Axes, layer: Layer, found: Notes, bars: Callable[[np.ndarray], np.ndarray]) -> None:
    """Bricks, or outlines."""
    begin, end = bars(found.onset), bars(found.end)
    height = found.pitch.astype(float)
    if not layer.hollow:
        struck = np.ones(len(found), bool)
        bricks(ax, begin, end - 0.012, height, layer.colour, struck=struck, edge=0.02)
        return
    for left, right, y in zip(begin, end, height):
        x = [left, right - 0.012, right - 0.012, left, left]
        ax.plot(x, [y - 0.4, y - 0.4, y + 0.4, y + 0.4, y - 0.4], color=layer.colour, linewidth=0.6, zorder=3)


def _over(ax: Axes, span: Span) -> None:
    """A bar with a name above the first row."""
    across = ax.get_xaxis_transform()
    y = 1 + 0.21 / (ax.get_position().height * ax.figure.get_size_inches()[1])  # type: ignore[union-attr]
    ax.plot(
        [span.first + 0.03, span.stop - 0.03],
        [y, y],
        transform=across,
        color=span.colour,
        linewidth=3,
        clip_on=False,
        solid_capstyle="butt",
    )
    ax.annotate(
        span.name,
        ((span.first + span.stop) / 2, y),
        xycoords=across,
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=span.colour,
        fontsize=SMALL + 1,
        fontweight="bold",
        annotation_clip=False,
    )


def _legend(figure: Figure, layers: Sequence[Layer], width: float, height: float) -> None:
    """What the colours mean, at the right above the rows."""
    from matplotlib.patches import Patch

    if not layers:
        return
    patches = [
        Patch(
            facecolor="none" if layer.hollow else lighter(layer.colour, 0.45),
            edgecolor=layer.colour,
            linewidth=0.8,
            label=layer.label,
        )
        for layer in layers
    ]
    figure.legend(
        handles=patches,
        loc="upper right",
        bbox_to_anchor=(1 - RIGHT / width, 1 - 0.02 / height),
        ncols=len(patches),
        fontsize=SMALL,
        frameon=False,
        handlelength=1.2,
        handleheight=0.8,
        labelcolor=INK,
        borderaxespad=0,
        columnspacing=1.2,
    )


SECTIONS = {"A": TRACKS[0], "A'": TRACKS[6], "B": TRACKS[1], "C": TRACKS[2]}
"""Colours of sections."""
