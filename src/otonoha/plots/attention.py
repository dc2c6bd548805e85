"""The attention matrix: which earlier notes did the network look at when it wrote this one?

Axes: H heads, G generated notes, M attended notes. weights[g, m] says how much note g attends to note m; in
the picture, as in "Generative Deep Learning", chapter 7, the generated notes run along the top and the
attended ones down the side. Darker is more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from otonoha.plots.canvas import FAINT, INK, SMALL, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 80


def attention(
    weights: np.ndarray,
    generated: Sequence[str],
    attended: Sequence[str],
    *,
    head: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw weights (G, M), or (H, G, M): the given head, or the mean of all. NaN is left white.

    `generated` (G) and `attended` (M) are the names of the notes, as in ["C4 1", "D4 1/2"].
    """
    matrix = one_head(np.asarray(weights, dtype=float), head).T
    if matrix.shape != (len(attended), len(generated)):
        raise ValueError(
            f"attention weights are {matrix.T.shape}, but there are {len(generated)} generated and "
            f"{len(attended)} attended notes"
        )
    rows, columns = matrix.shape
    size = np.clip(1.6 + 0.2 * np.array([columns, rows]), 3.5, 14.0)
    figure, ax = axes(ax, float(size[0]) + 0.8, float(size[1]))
    tidy(ax, title=title)
    if not matrix.size:
        nothing(ax, "nothing was attended to")
        return figure
    # Full colour at a typical column's peak: the first notes, with few to choose from, would outshine all.
    top = float(np.quantile(np.nan_to_num(matrix).max(axis=0), 0.8)) or 1.0
    image = ax.imshow(matrix, cmap="Blues", vmin=0, vmax=top, aspect="auto", interpolation="nearest")
    _labels(ax, generated, attended)
    _cells(ax, rows, columns)
    bar = figure.colorbar(image, ax=ax, shrink=0.5, aspect=25, pad=0.02, extend="max")
    bar.ax.tick_params(labelsize=SMALL - 1, colors=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)
    return figure


def one_head(weights: np.ndarray, head: int | None) -> np.ndarray:
    """(G, M) of one head, or the mean of all; weights (G, M) are their own head 0."""
    if weights.ndim == 2 and head in (None, 0):
        return weights
    if weights.ndim != 3:
        raise ValueError(
            f"attention weights must be (G, M) or (H, G, M), got shape {weights.shape}, head {head}"
        )
    if head is None:
        return weights.mean(axis=0)
    if not 0 <= head < len(weights):
        raise ValueError(f"head {head} does not exist; there are {len(weights)}, counted from 0")
    return weights[head]


def _labels(ax: Axes, generated: Sequence[str], attended: Sequence[str]) -> None:
    """Generated notes along the top, attended ones at the left; every k-th where they are many."""
    for names, ticks in ((generated, ax.set_xticks), (attended, ax.set_yticks)):
        step = -(-len(names) // MOST_LABELS)
        ticks(range(0, len(names), step), names[::step], fontsize=SMALL - 1)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel("generated notes", fontsize=SMALL + 1, color=INK, labelpad=8)
    ax.set_ylabel("attended notes", fontsize=SMALL + 1, color=INK, labelpad=8)
    for side in ("top", "bottom", "left", "right"):
        ax.spines[side].set_visible(False)


def _cells(ax: Axes, rows: int, columns: int) -> None:
    """The grid between the cells, as long as it does not hide them."""
    if max(rows, columns) > 2 * MOST_LABELS:
        return
    ax.set_xticks(np.arange(-0.5, columns), minor=True)
    ax.set_yticks(np.arange(-0.5, rows), minor=True)
    ax.grid(which="minor", color="#e3e6ea", linewidth=0.5)
    ax.tick_params(which="minor", length=0)
