"""The lyrics page: one HTML file that plays a recording while its words light up, with what they were read from.

Everything is inside the file (page.py), the sound too, as FLAC of one channel; `lyrics_page.html` is its template.
Axes: F frames, L characters of the text; in the page at most so many of both as can be seen.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.io.audio_files import write_audio
from otonoha.music.audio import Audio
from otonoha.music.sung_text import Line, SungText
from otonoha.plots.page import page

MOST = (1400, 500)
"""Frames and characters of the picture, at most."""
BRIGHT = 0.9
"""The share of frames whose highest weight is no more than full colour."""


def lyrics_page(
    text: SungText,
    sound: Audio,
    *,
    weights: np.ndarray | None = None,
    path: np.ndarray | None = None,
    frame: float = 0.02,
    title: str = "",
) -> str:
    """The page as text, UTF-8 when written to a file. Words without times are shown, but never light up.

    `weights` (F, L): how much each frame, of `frame` seconds, looks at each character of `text.text`; `path` (F,): the
    character that is sung in it, −1 for none. Without weights there is no picture.
    """
    data: dict[str, Any] = {
        "lines": [_segments(line) for line in text.lines],
        "seconds": round(sound.seconds, 3),
        "sound": _flac(sound),
    }
    if weights is not None:
        if weights.ndim != 2 or weights.shape[1] != len(text.text):
            raise ValueError(
                f"weights must be (frames, {len(text.text)}) for these lyrics, got {weights.shape}"
            )
        data["picture"] = _picture(weights, path, frame)
    return page("lyrics_page.html", data, title=title or "Lyrics")


def _segments(line: Line) -> list[list[Any]]:
    """A line as [text, start, end]; start is null for what stands between words, and for words without times."""
    if not line.words:
        return [[line.text, line.start, line.end]]
    found: list[list[Any]] = []
    at = 0
    for word, (first, stop) in zip(line.words, line.places()):
        if first > at:
            found.append([line.text[at:first], None, None])
        found.append([word.text, round(word.start, 3), None if word.end is None else round(word.end, 3)])
        at = stop
    return found


def _flac(sound: Audio) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = write_audio(sound.mono(), Path(folder) / "sound.flac")
        return base64.b64encode(file.read_bytes()).decode("ascii")


def _picture(weights: np.ndarray, path: np.ndarray | None, frame: float) -> dict[str, Any]:
    """Weights as bytes, and the path as places (second, character) where it moves on."""
    by = [-(-size // most) for size, most in zip(weights.shape, MOST)]
    small = _pooled(_pooled(np.nan_to_num(weights), by[0], 0), by[1], 1)
    top = float(np.quantile(small.max(axis=1, initial=0.0), BRIGHT)) if small.size else 0.0
    shades = np.rint(255 * np.sqrt(np.clip(small / (top or 1.0), 0, 1)))
    steps: list[list[float]] = []
    if path is not None:
        moves = np.flatnonzero(np.diff(path, prepend=-2))
        steps = [[round(float(i * frame), 3), int(path[i])] for i in moves]
    return {
        "frames": small.shape[0],
        "characters": small.shape[1],
        "seconds": round(len(weights) * frame, 3),
        "length": weights.shape[1],
        "values": base64.b64encode(shades.astype(np.uint8).tobytes()).decode("ascii"),
        "path": steps,
    }


def _pooled(weights: np.ndarray, by: int, axis: int) -> np.ndarray:
    """The mean over every `by` places of an axis; the last may be of fewer."""
    edges = np.arange(0, weights.shape[axis], by)
    counts = np.diff(np.append(edges, weights.shape[axis]))
    sums = np.add.reduceat(weights, edges, axis=axis) if len(edges) else weights
    return sums / (counts[:, None] if axis == 0 else counts)
