"""What windows of the design `modern` are told while a piece is written: levels, styles, notes, from an Order.

Axes: B pieces, W windows, T codes of a window, U codes of the next coarser level, L coarser levels, K ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.models.jukebox.blend import Blend
from otonoha.models.jukebox.codes import UNKNOWN, Codes, reach
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.modern_score import roll
from otonoha.models.jukebox.sampling_order import Order
from otonoha.models.jukebox.windows import Window


def step(order: Order, codes: Codes, level: Any, group: Sequence[Window]) -> Any:
    """The Step (or MaskedWindow) of windows; its rows are windows, then pieces."""
    labels = order.labels.get(level.level)
    guidance = order.settings(level.level).guidance
    upper = None
    if level.ratio:
        upper = _tensor(np.concatenate([uppers(codes, level, w) for w in group]))
    if labels is None:
        return level.step(None, None, upper, guidance=guidance)
    length = level.n_ctx * level.hop
    starts = [(label, w.start * level.hop) for w in group for label in labels]
    rest: dict[str, Any] = {"guidance": guidance}
    rows = lyrics = None
    if level.config.labels is not None:
        rows = _tensor(np.stack([label.row(at, length) for label, at in starts]))
        rest |= _mixes(order, codes, level, group, labels)
    if level.n_lyrics:
        seen = [label.characters(at, length, level.n_lyrics, order.rate) for label, at in starts]
        lyrics = _tensor(np.stack(seen))
    if level.scored and any(label.notes is not None for label in labels):
        rest["score"] = _tensor(np.stack([_notes(label, at, level, order.rate) for label, at in starts]))
    return level.step(rows, lyrics, upper, **rest)


def uppers(codes: Codes, level: Any, window: Window) -> np.ndarray:
    """(B, U, L) codes of all coarser levels over a window, up to the first place where one is not written."""
    first, most = window.start // level.ratio, level.n_ctx // level.ratio
    above = codes.levels[level.level + 1 :]
    places = np.arange(first, min(first + most, above[0].shape[1]))
    found = np.stack([z[:, places * z.shape[1] // above[0].shape[1]] for z in above], axis=2)
    return found[:, : reach((found != UNKNOWN).all(axis=(0, 2)), 0)]


def _notes(label: Label, at: int, level: Any, rate: int) -> np.ndarray:
    start, frame = (label.offset + at) / rate, level.hop / rate
    silent = roll(np.zeros((0, 3)), 0.0, frame, level.n_ctx) * 0
    return silent if label.notes is None else roll(label.notes, start, frame, level.n_ctx)


def _mixes(
    order: Order, codes: Codes, level: Any, group: Sequence[Window], labels: Sequence[Label]
) -> dict[str, Any]:
    """Artists and genres of every code, if any piece is told a blend."""
    if all(label.mix is None for label in labels):
        return {}
    places = np.arange(level.n_ctx)
    if level.ratio:
        places = places[: min(uppers(codes, level, w).shape[1] for w in group) * level.ratio]
    artists, genres, times = [], [], []
    for window in group:
        for label in labels:
            mix = label.blended()
            artists.append(mix.artists)
            genres.append(mix.genres)
            times.append((window.start + places) * level.hop / order.rate)
    both = {"artists": over_time(artists, times), "genres": over_time(genres, times)}
    return {name: tuple(map(_tensor, found)) for name, found in both.items()}


def over_time(blends: Sequence[Blend[int]], times: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Blends at times (T,) each -> ids (B, K) int64 and weights (B, T, K) float32; places left over have weight 0."""
    most = max(1, *(len(blend.names()) for blend in blends))
    ids = np.zeros((len(blends), most), np.int64)
    weights = np.zeros((len(blends), len(times[0]), most), np.float32)
    for row, (blend, when) in enumerate(zip(blends, times, strict=True)):
        moments = [time for time, _ in blend.points]
        for column, name in enumerate(blend.names()):
            heights = [dict(parts).get(name, 0.0) for _, parts in blend.points]
            ids[row, column] = name
            weights[row, :, column] = np.interp(when, moments, heights)
    return ids, weights


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
