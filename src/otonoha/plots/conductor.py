"""The conductor: what a critic says of each bar, above the notes it speaks of.

Above, a score for each bar, and as a band how real music scores: from the least to the most credible twentieth, with
its middle. Bars below the band are marked: that is where the music sounds least like what the critic has learnt from.
Below, the piano-roll of the same bars.

Axes: N bars, R real phrases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.music.score import bar_table
from otonoha.plots.canvas import FAINT, INK, SMALL, TRACKS, axes, nothing, tidy
from otonoha.plots.roll import roll

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

USUAL = (5, 50, 95)
"""Percentiles of real phrases: lower edge, middle and upper edge of the band."""
BELOW, WITHIN = TRACKS[5], INK


def conductor(score: Score, scores: np.ndarray, real: np.ndarray, *, title: str = "") -> Figure:
    """Draw the `scores` (N) of a score's N bars, NaN where a bar was not judged, beside those of `real` phrases (R)."""
    scores, real = np.asarray(scores, dtype=float), np.asarray(real, dtype=float)
    table = bar_table(score)
    if scores.shape != (len(table),):
        raise ValueError(f"{scores.size} scores for {len(table)} bars")
    figure, _ = axes(None, float(np.clip(3 + 0.6 * len(table), 7, 24)), 6.2)
    figure.clear()
    if not np.isfinite(scores).any():
        nothing(figure.add_subplot(), "nothing was judged")
        return figure
    above, below = figure.subplots(2, sharex=True, height_ratios=(2, 3))
    roll(score, title="", ax=below)
    _scores(above, table.start, scores, usual(real))
    tidy(above, title=title, y="score of the critic")
    above.tick_params(axis="x", labelbottom=False, length=0)
    above.margins(y=0.15)
    return figure


def usual(real: np.ndarray) -> tuple[float, float, float] | None:
    """Where real phrases score: low, middle, high; None when there are none."""
    found = real[np.isfinite(real)]
    return tuple(np.percentile(found, USUAL).tolist()) if len(found) else None


def ranks(scores: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(N) the share of real phrases that score lower than each bar, read off between their sorted scores; NaN where
    nothing can be said.
    """
    scores = np.asarray(scores, dtype=float)
    found = np.sort(np.asarray(real, dtype=float)[np.isfinite(real)])
    if not len(found):
        return np.full(len(scores), np.nan)
    return np.interp(scores, found, np.linspace(0, 1, len(found)))


def _scores(ax: Axes, start: np.ndarray, scores: np.ndarray, band: tuple[float, float, float] | None) -> None:
    """A step for each bar, over the band of real phrases."""
    end = float(start[-1])
    if band is not None:
        low, middle, high = band
        ax.fill_between([0, end], low, high, color="#e6eef6", linewidth=0, zorder=0)
        ax.hlines(middle, 0, end, color=TRACKS[0], linewidth=0.9, linestyle=(0, (5, 4)), zorder=1)
        _beside(ax, middle, "real phrases: half of them\nlie below the line,\n1 in 20 below the band")
    ax.vlines(start, 0, 1, transform=ax.get_xaxis_transform(), color="#e3e6ea", linewidth=0.7, zorder=0.5)
    poor = scores < (band[0] if band is not None else -np.inf)
    for left, right, value, low_one in zip(start[:-1], start[1:], scores, poor):
        inset = 0.08 * (right - left)
        colour = BELOW if low_one else WITHIN
        ax.hlines(value, left + inset, right - inset, color=colour, linewidth=3.5, zorder=3)
    middles = (start[:-1] + start[1:]) / 2
    ax.plot(middles, scores, color=FAINT, linewidth=0.8, zorder=2)
    for x in middles[~np.isfinite(scores)]:
        ax.annotate(
            "not judged", (x, 0.03), xycoords=("data", "axes fraction"), ha="center", fontsize=7, color=FAINT
        )


def _beside(ax: Axes, height: float, said: str) -> None:
    ax.annotate(
        said,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        color=TRACKS[0],
    )
