"""What all pictures share: paper, ink and colours, and figures without pyplot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#26282c", "#8a8f98", "#dfe2e6"
TRACKS = ("#2f6db3", "#d9822b", "#3a9a5b", "#b8478a", "#7a5cc2", "#c0443b", "#218f9b", "#8a7a22")
"""Colours of tracks in order; they repeat after eight."""
SMALL, MEDIUM = 8, 9


def axes(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """A fresh figure of so many inches with one pair of axes, or the figure of the given ones."""
    if ax is not None:
        return ax.figure, ax  # type: ignore[return-value]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def tidy(ax: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Quiet spines and ticks, a title at the left, axis labels."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=FAINT, labelcolor=INK, labelsize=SMALL, length=3)
    if title:
        ax.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    ax.set_xlabel(x, fontsize=MEDIUM, color=INK)
    ax.set_ylabel(y, fontsize=MEDIUM, color=INK)


def nothing(ax: Axes, what: str) -> None:
    """Say in the middle of the picture that there is nothing to see."""
    ax.text(0.5, 0.5, what, transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=11)
    ax.set_xticks([])
    ax.set_yticks([])


def save(figure: Figure, path: str | Path, **options: Any) -> Path:
    """Write a figure; the name's ending chooses the format (png, svg, pdf)."""
    path = Path(path)
    figure.savefig(path, **{"dpi": 150, "facecolor": "white", **options})
    return path
