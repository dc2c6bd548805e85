"""Choosing a symbol from logits: temperature, top-k/p, min-p, repetition, masks. Axes: B batch, V symbols.

Works on NumPy arrays, because the last step of sampling is tiny and must give the same answer everywhere:
each piece has its own generator, and one uniform number decides each symbol by the inverse of the
cumulative probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How symbols of one stream are chosen."""

    temperature: float = 1.0
    """Below 1 bolder on the likely, above 1 more adventurous; 0 always takes the likeliest."""
    top_k: int = 0
    """Only the k likeliest symbols; 0 allows all."""
    top_p: float = 1.0
    """Only the likeliest symbols that together have this probability (nucleus; Holtzman et al. 2020)."""
    min_p: float = 0.0
    """Only symbols at least this share as likely as the likeliest (Nguyen et al. 2024)."""
    repetition: float = 0.0
    """Nats taken from a symbol for each time it occurs among the last `window` ones."""
    window: int = 8
    """How far back repetition looks, in positions."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if self.top_k < 0 or self.window < 1:
            raise ValueError(f"top_k must be >= 0 and window >= 1, got {self.top_k} and {self.window}")
        if not (0 < self.top_p <= 1 and 0 <= self.min_p <= 1):
            raise ValueError(
                f"top_p must be in (0, 1] and min_p in [0, 1], got {self.top_p} and {self.min_p}"
            )


def probabilities(
    logits: np.ndarray, choice: Choice, mask: np.ndarray | None = None, recent: np.ndarray | None = None
) -> np.ndarray:
    """(B, V) logits -> (B, V) float64 probabilities that are drawn from.

    `mask` (B, V) bool says what is allowed; `recent` (B, window) symbols, −1 where there was none. ValueError for
    logits from which nothing can be drawn.
    """
    x = np.asarray(logits, np.float64).copy()
    if choice.repetition and recent is not None:
        rows, columns = np.nonzero(recent >= 0)
        np.subtract.at(x, (rows, recent[rows, columns]), choice.repetition)
    if mask is not None:
        x[~mask] = -np.inf
    most = x.max(1, keepdims=True)
    if not np.isfinite(most).all():
        raise ValueError(
            "the network says nothing that can be drawn from (NaN or infinite): its weights are damaged"
        )
    if choice.temperature == 0:
        likeliest = np.zeros_like(x)
        likeliest[np.arange(len(x)), x.argmax(1)] = 1
        return likeliest
    with np.errstate(over="ignore"):  # the tiniest temperatures send all but the likeliest to -inf
        x = (x - most) / choice.temperature
    p = np.exp(x)
    p /= p.sum(1, keepdims=True)
    keep = _kept(p, choice)
    p = np.where(keep, p, 0.0)
    return p / p.sum(1, keepdims=True)


def _kept(p: np.ndarray, choice: Choice) -> np.ndarray:
    """(B, V) bool: the symbols that top-k, top-p and min-p leave; the likeliest always stays."""
    keep = p >= choice.min_p * p.max(1, keepdims=True)
    if choice.top_k or choice.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(p.shape[1])[None].repeat(len(p), 0), axis=1)
        if choice.top_k:
            keep &= rank < choice.top_k
        if choice.top_p < 1:
            sorted_p = np.take_along_axis(p, order, axis=1)
            before = sorted_p.cumsum(1) - sorted_p
            keep &= np.take_along_axis(before < choice.top_p, rank, axis=1)
    keep[np.arange(len(p)), p.argmax(1)] = True
    return keep


def draw(p: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """(B, V) probabilities and (B,) numbers in [0, 1) -> (B,) symbols."""
    cumulative = p.cumsum(1)
    picked = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(1)
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(1)  # rounding must never pick a symbol of probability 0
    return np.minimum(picked, last)
