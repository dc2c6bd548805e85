"""The spectrogram: sound as a picture, log frequency upwards in octaves, level in dB below the loudest point.

A short-time Fourier transform (Hann window) read out at logarithmically spaced frequencies; bins of the
transform that fall between two rows are pooled by their maximum, so that nothing audible is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from otonoha.music.audio import Audio
from otonoha.plots.canvas import FAINT, INK, SMALL, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = -80.0
"""dB below the loudest point at which the picture goes black."""
LOWEST = 32.7  # C1
MOST_FRAMES = 2000


def log_spectrogram(audio: Audio, *, rows: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """(rows, frames) levels in dB, 0 the loudest, and (rows + 1,) the frequencies in Hz between the rows."""
    mono = audio.mono().samples[0]
    window = min(4096, 1 << max(round(np.log2(audio.rate * 0.09)), 6))
    hop = max(window // 4, len(mono) // MOST_FRAMES, 1)
    padded = np.pad(mono, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), axis=1)).T ** 2
    edges = np.geomspace(min(LOWEST, audio.rate / 8), audio.rate / 2, rows + 1)
    pooled = _pool(power, edges * window / audio.rate)
    loudest = float(pooled.max(initial=0.0))
    if not loudest:
        return np.full(pooled.shape, FLOOR), edges
    return 10 * np.log10(np.maximum(pooled / loudest, 10 ** (FLOOR / 10))), edges


def _pool(power: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bins, frames) -> (rows, frames): interpolated where rows are finer than bins, else the maximum."""
    centre = np.clip((edges[1:] + edges[:-1]) / 2, 0, len(power) - 1)
    below = np.minimum(centre.astype(int), len(power) - 2)
    part = (centre - below)[:, None]
    between = power[below] * (1 - part) + power[below + 1] * part
    first = np.clip(np.ceil(edges[:-1]).astype(int), 0, len(power) - 1)
    wide = np.ceil(edges[1:]) - first > 1
    return np.where(wide[:, None], np.maximum.reduceat(power, first, axis=0), between)


def spectrogram(audio: Audio, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Draw a sound."""
    figure, ax = axes(ax, 10, 4.2)
    tidy(ax, title=title, x="seconds", y="Hz")
    if not audio.samples.size:
        nothing(ax, "no sound")
        return figure
    levels, edges = log_spectrogram(audio)
    times = np.linspace(0, audio.seconds, levels.shape[1] + 1)
    image = ax.pcolormesh(
        times, edges, levels, cmap="magma", vmin=FLOOR, vmax=0, shading="flat", rasterized=True
    )
    ax.set_yscale("log")
    octaves = [f for f in 55.0 * 2.0 ** np.arange(9) if edges[0] < f < edges[-1]]
    ax.set_yticks(octaves, [f"{f:g}" for f in octaves])
    ax.minorticks_off()
    bar = figure.colorbar(image, ax=ax, shrink=0.8, aspect=25, pad=0.02)
    bar.set_label("dB", fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL - 1, colors=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)
    return figure
