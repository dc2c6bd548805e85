"""The attention page: one HTML file that plays a melody and shows what the network looked at, note by note.

`attention_page.html` is its template, the data are JSON (see page.py). Weights travel as bytes: w = (byte / 255)².

Axes: H heads, S steps of the melody, G generated steps (the last G of the S), M attended steps (the first M).
For a melody that was written from nothing S = G = M; for a question and its answer M + G = S.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from symusic import Score

from otonoha.music.score import bar_table, melody, notes, seconds
from otonoha.plots.page import page


def attention_page(
    score: Score,
    attention: np.ndarray,
    labels: Sequence[str],
    *,
    onsets: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    title: str = "",
) -> str:
    """The page as text, UTF-8 when written to a file.

    `attention` is (G, M) or (H, G, M), `labels` (S) name the steps. `onsets` (S) are the steps' quarter notes
    (the clock of the tokens); without them the steps are the notes of the melody. `probabilities` is
    (128, G): at each generated step the chance of each pitch.
    """
    weights = _with_heads(np.asarray(attention, dtype=float), len(labels))
    bars = bar_table(score)
    steps = _steps(score, len(labels), onsets)
    data: dict[str, Any] = {
        "labels": [str(label) for label in labels],
        **steps,
        "heads": len(weights),
        "generated": weights.shape[1],
        "attended": weights.shape[2],
        "weights": _bytes(weights),
        "bars": [round(float(t), 4) for t in seconds(score, bars.start)],
        "firstBar": 0 if bars.first_is_pickup else 1,
    }
    if probabilities is not None:
        data["chances"] = _chances(np.asarray(probabilities, dtype=float), weights.shape[1])
    return page("attention_page.html", data, title=title or "Attention")


def _with_heads(weights: np.ndarray, steps: int) -> np.ndarray:
    if weights.ndim == 2:
        weights = weights[None]
    if weights.ndim != 3 or not len(weights):
        raise ValueError(f"attention must be (G, M) or (H, G, M), got shape {weights.shape}")
    if max(weights.shape[1:]) > steps:
        raise ValueError(f"attention is {weights.shape[1:]}, but there are only {steps} labels")
    return np.clip(np.nan_to_num(weights), 0.0, 1.0)


def _steps(score: Score, count: int, onsets: np.ndarray | None) -> dict[str, list]:
    """Begin and end of each step in seconds, its pitch (-1 where nothing sounds), and the notes to play."""
    sounding = any(len(track.notes) and not track.is_drum for track in score.tracks)
    found = notes(melody(score).tracks[0]) if sounding else notes(score.tracks[0]) if score.tracks else None
    onset = found.onset if found else np.zeros(0, np.int64)
    end = found.end if found else onset
    pitch = found.pitch if found else onset
    tick = onset if onsets is None else np.rint(np.asarray(onsets) * score.tpq).astype(np.int64)
    if len(tick) != count:
        raise ValueError(f"{count} labels for {len(tick)} steps; pass onsets where steps are not notes")
    last = max(int(end.max(initial=0)), int(tick.max(initial=0)))
    begin, stop = seconds(score, tick), seconds(score, np.append(tick[1:], last))
    at = np.searchsorted(onset, tick, side="right") - 1
    sounds = (at >= 0) & (np.append(end, 0)[at] > tick)
    return {
        "begin": begin.round(4).tolist(),
        "end": stop.round(4).tolist(),
        "pitch": np.where(sounds, np.append(pitch, 0)[at], -1).tolist(),
        "notes": np.column_stack([seconds(score, onset), seconds(score, end), pitch]).round(4).tolist(),
    }


def _chances(chances: np.ndarray, generated: int) -> dict[str, Any]:
    """Pitch probabilities cropped to the pitches that were ever in question."""
    if chances.shape != (128, generated):
        raise ValueError(f"probabilities must be (128, {generated}), got shape {chances.shape}")
    used = np.flatnonzero((chances > 0.005).any(axis=1))
    low, high = (int(used[0]), int(used[-1])) if len(used) else (60, 60)
    return {
        "low": low,
        "high": high,
        "values": _bytes(np.clip(np.nan_to_num(chances[low : high + 1].T), 0, 1)),
    }


def _bytes(values: np.ndarray) -> str:
    """Values in 0 … 1 as base64 of round(255 √value)."""
    return base64.b64encode(np.rint(255 * np.sqrt(values)).astype(np.uint8).tobytes()).decode("ascii")
