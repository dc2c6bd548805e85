"""The spectrogram: sound as a picture, log frequency upwards in octaves, level in dB below the loudest point.

A short-time Fourier transform (Hann window) read out at logarithmically spaced frequencies; bins of the
transform that fall between two rows are pooled by their maximum, so that nothing audible is skipped.

Several sounds stand one below the other on the same axes and the same scale, 0 dB being the loudest point of the
first: a recording above what each level of a codec made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from otonoha.music.audio import Audio
from otonoha.music.spectra import magnitudes
from otonoha.plots.canvas import FAINT, INK, SMALL, axes, nothing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = -80.0
"""dB below the loudest point at which the picture goes black."""
LOWEST = 32.7  # C1
MOST_FRAMES = 2000
MOST_SOUNDS = 12
ROWS = 240

Sounds = Sequence[tuple[str, Audio]]


def log_spectrogram(audio: Audio, *, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """(rows, frames) levels in dB, 0 the loudest, and (rows + 1,) the frequencies in Hz between the rows."""
    edges = frequencies(audio.rate / 2, rows)
    power = pooled_power(audio, edges, audio.seconds)
    return levels_of(power, float(power.max(initial=0.0))), edges


def frequencies(top: float, rows: int = ROWS) -> np.ndarray:
    """(rows + 1,) Hz from C1 (less where the top is low) up to the top."""
    return np.geomspace(min(LOWEST, top / 4), top, rows + 1)


def pooled_power(audio: Audio, edges: np.ndarray, seconds: float) -> np.ndarray:
    """(rows, frames) power of the mixed-down sound at the frequencies between `edges`, 1 for a full-scale sine; the
    hop is chosen for a picture of so many seconds. What lies above half the sound's rate is 0.
    """
    mono = audio.mono().samples[0]
    window = min(4096, 1 << max(round(np.log2(audio.rate * 0.09)), 6))
    hop = max(window // 4, round(seconds * audio.rate) // MOST_FRAMES, 1)
    power = np.square(magnitudes(mono, window, hop) * np.float32(4 / window))  # a sine of 1 reads 1
    found = pool(power, np.minimum(edges, audio.rate / 2) * window / audio.rate)
    return np.where(edges[:-1, None] < audio.rate / 2, found, 0.0)


def levels_of(power: np.ndarray, loudest: float) -> np.ndarray:
    """Power -> dB below the loudest, not below the floor."""
    if not loudest:
        return np.full(power.shape, FLOOR)
    return 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR / 10)))


def pool(power: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bins, frames) -> (rows, frames): interpolated where rows are finer than bins, else the maximum."""
    centre = np.clip((edges[1:] + edges[:-1]) / 2, 0, len(power) - 1)
    below = np.minimum(centre.astype(int), len(power) - 2)
    part = (centre - below)[:, None]
    between = power[below] * (1 - part) + power[below + 1] * part
    first = np.clip(np.ceil(edges[:-1]).astype(int), 0, len(power) - 1)
    wide = np.ceil(edges[1:]) - first > 1
    return np.where(wide[:, None], np.maximum.reduceat(power, first, axis=0), between)


def spectrogram(audio: Audio | Sounds, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Draw a sound, or several (name, Audio) one below the other.

    Raises ValueError for more than 12 sounds, or `ax` together with several.
    """
    if isinstance(audio, Audio):
        return _one(audio, title, ax)
    if ax is not None:
        raise ValueError("several sounds make a figure of their own; give no ax")
    if not 1 <= len(audio) <= MOST_SOUNDS:
        raise ValueError(f"one picture holds 1 to {MOST_SOUNDS} sounds, got {len(audio)}")
    return _several(audio, title)


def _one(audio: Audio, title: str, ax: Axes | None) -> Figure:
    figure, ax = axes(ax, 10, 4.2)
    tidy(ax, title=title, x="seconds", y="Hz")
    if not audio.samples.size:
        nothing(ax, "no sound")
        return figure
    levels, edges = log_spectrogram(audio)
    _scale(figure, _draw(ax, levels, edges, audio.seconds), [ax], aspect=25)
    return figure


def _several(sounds: Sounds, title: str) -> Figure:
    """Panels with one time, one frequency axis and one scale."""
    figure, first = axes(None, 10, 0.8 + 2.1 * len(sounds))
    first.remove()
    panels = figure.subplots(len(sounds), sharex=True, sharey=True, squeeze=False)[:, 0]
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    seconds = max(sound.seconds for _, sound in sounds)
    edges = frequencies(max(sound.rate for _, sound in sounds) / 2)
    powers = [pooled_power(s, edges, seconds) if s.samples.size else None for _, s in sounds]
    loudest = next((float(p.max()) for p in powers if p is not None and p.any()), 0.0)
    image = None
    for panel, (name, sound), power in zip(panels, sounds, powers):
        tidy(panel, title=name, x="seconds" if panel is panels[-1] else "", y="Hz")
        if power is None:
            panel.text(0.5, 0.5, "no sound", transform=panel.transAxes, ha="center", va="center", color=FAINT)
            continue
        image = _draw(panel, levels_of(power, loudest), edges, sound.seconds)
    if image is not None:
        panels[0].set_xlim(0, seconds)
        _scale(figure, image, list(panels), aspect=40)
    return figure


def _draw(ax: Axes, levels: np.ndarray, edges: np.ndarray, seconds: float) -> Any:
    times = np.linspace(0, seconds, levels.shape[1] + 1)
    image = ax.pcolormesh(
        times, edges, levels, cmap="magma", vmin=FLOOR, vmax=0, shading="flat", rasterized=True
    )
    ax.set_yscale("log")
    octaves = [f for f in 55.0 * 2.0 ** np.arange(9) if edges[0] < f < edges[-1]]
    ax.set_yticks(octaves, [f"{f:g}" for f in octaves])
    ax.minorticks_off()
    return image


def _scale(figure: Figure, image: Any, panels: list[Axes], *, aspect: float) -> None:
    """The dB scale at the right."""
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=aspect, pad=0.02)
    bar.set_label("dB", fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL - 1, colors=FAINT, labelcolor=INK)
    bar.outline.set_visible(False)
