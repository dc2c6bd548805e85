"""Attention to lyrics over a whole song: windows that hop, put together. Torch only passes through here.

Dhariwal et al. 2020 (Jukebox), reading of reference/jukebox.md 3.4. A code's row is that of the first window that holds
it, which knows most of what comes before it; while a piece is written with the same hop, the code is written in that
window, told the same. A window sees `n` characters of the text: those around its middle if the text is sung evenly, or,
once it is known when characters are sung, around those that are sung in it.

Axes: N heads, F frames (of a few codes, so that a frame is 20 ms or a single code), T codes, S symbols of the text, L
characters of the text (a character may be several symbols), n symbols that a window sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from otonoha.models.jukebox.alignment_attention import watched
from otonoha.models.jukebox.batches import Row, Spot, collate, row_of
from otonoha.models.jukebox.batches_lessons import telling_of, view_of
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.labels import lyric_window, sung_window
from otonoha.models.jukebox.windows import Shape, hop_of, window_starts
from otonoha.tokens.base import Tokens
from otonoha.tokens.lyrics import STREAM, by_character

FRAME = 0.02
"""Seconds of a frame at most, unless a code is longer."""
HOP = 0.5
"""From one window to the next, as a share of the window."""
ROWS = 4
"""Windows that are computed together."""
Progress = Callable[[int, int], None]
Heads = Sequence[tuple[int, int]]
"""Layers, and the numbers of heads in them."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A recording in codes, and its words as symbols: `song` has the codes and what is told of style and time;
    `symbols` the text, whose `clock` says which of `length` characters each symbol belongs to.
    """

    song: Song
    symbols: Tokens
    length: int

    @property
    def ids(self) -> np.ndarray:
        """(S,)."""
        return np.asarray(self.symbols.streams[STREAM], np.int64)


@dataclass(frozen=True, eq=False)
class Looks:
    """`weights` (N, F, L) of the heads, `seen` (F, L) bool: whether a frame could see a character; `frame`: seconds."""

    weights: np.ndarray
    seen: np.ndarray
    heads: tuple[tuple[int, int], ...]
    frame: float


def seconds_of(prior: Any, asked: Asked) -> float:
    """How long the codes last."""
    view = view_of(prior.config)
    return view.many(asked.song) * view.shape.hop / prior.config.rate


def codes_of_frame(prior: Any, seconds: float = FRAME) -> int:
    """How many codes make a frame of so many seconds at most: frames fit into windows, and windows begin with one."""
    shape = view_of(prior.config).shape
    many = max(1, int(seconds * prior.config.rate / shape.hop))
    fit = [m for m in range(1, many + 1) if shape.n_ctx % math.lcm(m, shape.step) == 0]
    return max(fit)


def looks(
    prior: Any,
    asked: Asked,
    heads: Heads,
    *,
    times: np.ndarray | None = None,
    frame: float = FRAME,
    hop: float = HOP,
    progress: Progress | None = None,
) -> Looks:
    """The attention of some heads along a song. `times` (S,): when symbols are sung, in seconds of the recording, if
    that is known.
    """
    view, song = view_of(prior.config), asked.song
    per, many = codes_of_frame(prior, frame), view.many(song)
    shape = Shape(view.shape.n_ctx, view.shape.hop, math.lcm(per, view.shape.step))
    starts = window_starts(shape, many, hop_of(shape, hop))
    F, S = -(-many // per), len(asked.ids)
    weights, seen = np.zeros((len(heads), F, S), np.float32), np.zeros((F, S), bool)
    filled = 0
    for group in _groups(starts, many - shape.n_ctx):
        rows = [_row(prior, asked, start, times) for start in group]
        found = _pooled(prior, rows, min(shape.n_ctx, many - group[0]), heads, per)
        for number, (start, (_, place)) in enumerate(zip(group, rows)):
            stop = min(F, start // per + found.shape[2])
            known, skip = place >= 0, filled - start // per
            columns = place[known]
            weights[:, filled:stop, columns] = found[number, :, skip:][:, :, known]
            seen[filled:stop, columns] = True
            filled = stop
            if progress is not None:
                progress(filled, F)
    at = np.asarray(asked.symbols.clock).astype(np.int64)
    visible = np.zeros((F, asked.length), bool)
    visible[:, at] = seen
    by_text = by_character(weights, asked.symbols, asked.length)
    return Looks(by_text, visible, tuple(heads), per * shape.hop / prior.config.rate)


def _groups(starts: Sequence[int], last: int) -> list[list[int]]:
    """Windows that are computed together: full ones, and the one that is shorter by itself."""
    full = [start for start in starts if start <= last]
    short = [[start] for start in starts if start > last]
    return [full[i : i + ROWS] for i in range(0, len(full), ROWS)] + short


def _row(prior: Any, asked: Asked, start: int, times: np.ndarray | None) -> tuple[Row, np.ndarray]:
    """A window with what it is told, and which symbols of the text it sees (n,): −1 where there is none."""
    view, telling = view_of(prior.config), telling_of(prior.config)
    row = row_of(view, asked.song, Spot(0, start), replace(telling, lyrics=0))
    hop, rate = view.shape.hop, prior.config.rate
    at, length = start * hop, view.shape.n_ctx * hop
    n, ids = prior.n_lyrics, asked.ids
    if times is None:
        place = lyric_window(len(ids), n, view.many(asked.song) * hop, at, length)
    else:
        place = sung_window(times, n, at / rate, (at + length) / rate)
    row["lyrics"] = np.append(ids, 0)[place]
    return row, place


def _pooled(
    prior: Any, rows: Sequence[tuple[Row, np.ndarray]], codes: int, heads: Heads, per: int
) -> np.ndarray:
    """(B, N, frames, n): attention of the heads, the mean over the codes of each frame."""
    batch = collate([row for row, _ in rows]).to(prior.device)
    layers = tuple(dict.fromkeys(layer for layer, _ in heads))
    found = watched(prior, batch.codes[:, :codes], batch.told, layers)
    picked = torch.stack([found[layer][:, head] for layer, head in heads], 1)
    whole = codes // per * per
    parts = [picked[:, :, :whole].unflatten(2, (-1, per)).mean(3)]
    if whole < codes:
        parts.append(picked[:, :, whole:].mean(2, keepdim=True))
    return torch.cat(parts, 2).float().cpu().numpy()
