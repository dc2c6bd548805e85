"""Learning curves from a training log (log.jsonl: one {"step", "kind", figures …} per line)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from otonoha.plots.canvas import FAINT, INK, SMALL, TRACKS, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 0.98
"""Share of the values that are surely within the picture."""


def read_log(path: str | Path, figure: str) -> dict[str, np.ndarray]:
    """{"train" | "valid" | …: (n, 2) steps and values of `figure`}; a torn last line is passed over.
    Of several objectives the first is taken.

    Raises ValueError when no line holds the figure, naming those that exist.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    player = None
    others: set[str] = set()
    for line in Path(path).read_text("utf-8").splitlines():
        row = _row(line)
        others.update(name for name, value in row.items() if isinstance(value, float) and name != "step")
        if isinstance(row.get(figure), int | float) and "step" in row:
            player = player or row.get("objective")
            if row.get("objective", player) != player:
                continue
            found.setdefault(str(row.get("kind", "train")), []).append((row["step"], row[figure]))
    if not found:
        raise ValueError(f"{path} holds no figure {figure!r} (it has: {', '.join(sorted(others)) or 'none'})")
    return {kind: np.array(points, dtype=float) for kind, points in found.items()}


def _row(line: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def loss(
    path: str | Path,
    *,
    figure: str = "loss",
    title: str = "",
    units: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw training (thin: each entry, thick: smoothed) and validation curves; the best one is marked.

    `units` of "train" and "valid", which need not be the same, are named in the legend.
    """
    from matplotlib.ticker import MaxNLocator

    curves = read_log(path, figure)
    drawing, ax = axes(ax, 7.5, 4.2)
    tidy(ax, title=title, x="step", y=figure)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    named = {kind: f"{kind}, {unit}" if unit else kind for kind, unit in (units or {}).items()}
    ax.grid(axis="y", color="#eceef1", linewidth=0.8)
    ax.set_axisbelow(True)
    if "train" in curves:
        _train(ax, curves["train"], named.get("train", "train"))
    if "valid" in curves:
        _valid(ax, curves["valid"], named.get("valid", "valid"))
    if not {"train", "valid"} & curves.keys():
        nothing(ax, "nothing was logged")
        return drawing
    _limits(ax, [curves[kind][:, 1] for kind in ("train", "valid") if kind in curves])
    ax.legend(fontsize=SMALL, frameon=False, labelcolor=INK)
    return drawing


def _train(ax: Axes, points: np.ndarray, label: str) -> None:
    steps, values = points.T
    many = len(values) > 20
    ax.plot(
        steps,
        values,
        color=TRACKS[0],
        linewidth=0.7 if many else 1.5,
        alpha=0.35 if many else 1.0,
        label=None if many else label,
    )
    if many:
        ax.plot(steps, _smooth(values, len(values) // 20), color=TRACKS[0], linewidth=1.8, label=label)


def _valid(ax: Axes, points: np.ndarray, label: str) -> None:
    steps, values = points.T
    ax.plot(steps, values, color=TRACKS[1], linewidth=1.8, marker="o", markersize=3.5, label=label)
    best = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
    ax.annotate(
        f"{values[best]:.3f}",
        (steps[best], values[best]),
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        fontsize=SMALL,
        color=TRACKS[1],
    )
    ax.scatter([steps[best]], [values[best]], s=48, facecolors="none", edgecolors=TRACKS[1], zorder=4)


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """A running mean over `width` entries to either side, shorter at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    at = np.arange(len(values))
    low, high = np.maximum(at - width, 0), np.minimum(at + width + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _limits(ax: Axes, curves: Sequence[np.ndarray]) -> None:
    """Leave out the first steep drop of each curve, so that the later differences can be seen."""
    finite = [values[np.isfinite(values)] for values in curves]
    finite = [values for values in finite if len(values)]
    if sum(map(len, finite)) < 2:
        return
    low, high = min(float(v.min()) for v in finite), max(float(np.quantile(v, SHOWN)) for v in finite)
    margin = max(high - low, 1e-6) * 0.12
    ax.set_ylim(low - margin, high + margin)
    ax.spines["left"].set_color(FAINT)
