"""The pitch-probability picture: at each step, how likely was each pitch? The chosen ones are marked.

Axes: 128 MIDI pitches (rows, low at the bottom), T steps (columns). As in "Generative Deep Learning", chapter
7, a diverging colour map centred on 0, cropped to the pitches that were in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from otonoha.music.theory import pitch_name
from otonoha.plots.canvas import FAINT, GRID, INK, SMALL, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IN_QUESTION = 0.01
"""Pitches that never reach this probability are cropped away at both ends."""


def probabilities(
    chances: np.ndarray,
    chosen: Sequence[int | None] | None = None,
    *,
    labels: Sequence[str] | None = None,
    limit: float = 0.5,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw `chances` (128, T). `chosen` (T) are the pitches that were drawn, None where it was none (a rest).

    `labels` (T) stand under the steps; colours are full from `limit` on.
    """
    chances = np.asarray(chances, dtype=float)
    if chances.ndim != 2 or chances.shape[0] != 128:
        raise ValueError(f"pitch probabilities must be (128, steps), got shape {chances.shape}")
    steps = chances.shape[1]
    picked = [(t, p) for t, p in enumerate(chosen or []) if p is not None]
    low, high = _used(chances, [p for _, p in picked])
    figure, ax = axes(
        ax, float(np.clip(2 + 0.17 * steps, 5, 20)), float(np.clip(1.5 + 0.13 * (high - low), 3, 9))
    )
    tidy(ax, title=title, x="step")
    if not steps:
        nothing(ax, "no steps")
        return figure
    image = ax.imshow(
        chances[low : high + 1],
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, steps - 0.5, low - 0.5, high + 0.5),
    )
    if picked:
        at, pitches = zip(*picked)
        ax.scatter(
            at, pitches, s=16, facecolors="white", edgecolors=INK, linewidths=0.8, label="chosen", zorder=3
        )
    for pitch in range(low + (-low) % 12, high + 1, 12):
        ax.axhline(pitch - 0.5, color=GRID, linewidth=0.8, zorder=2)
    _ticks(ax, low, high, steps, labels)
    bar = figure.colorbar(
        image, ax=ax, shrink=0.6, aspect=25, pad=0.02, boundaries=np.linspace(0, limit, 101)
    )
    bar.set_ticks(np.linspace(0, limit, 6).round(2).tolist())
    bar.ax.tick_params(labelsize=SMALL - 1, colors=FAINT, labelcolor=INK)
    bar.set_label("probability", fontsize=SMALL, color=INK)
    bar.outline.set_visible(False)
    return figure


def _used(chances: np.ndarray, picked: Sequence[int]) -> tuple[int, int]:
    """Lowest and highest pitch in question, with a semitone of air; an octave around middle C if none is."""
    used = np.concatenate([np.flatnonzero((chances >= IN_QUESTION).any(axis=1)), np.array(picked, dtype=int)])
    if not len(used):
        return 54, 66
    return max(int(used.min()) - 1, 0), min(int(used.max()) + 1, 127)


def _ticks(ax: Axes, low: int, high: int, steps: int, labels: Sequence[str] | None) -> None:
    step = (0, 2, 4, 5, 7, 9, 11) if high - low <= 30 else (0, 7)
    shown = [pitch for pitch in range(low, high + 1) if pitch % 12 in step]
    ax.set_yticks(shown, [pitch_name(pitch) for pitch in shown])
    every = -(-steps // 64)
    if labels is not None:
        ax.set_xticks(range(0, steps, every), labels[::every], rotation=90, fontsize=SMALL - 1)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
