"""Counts as shares, and how far two lists of shares are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts -> shares that sum to 1; all 0 where there was nothing to count."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


def mean(values: np.ndarray) -> float:
    """The mean; 0.0 of nothing."""
    return float(np.mean(values)) if len(values) else 0.0


def entropy(share: np.ndarray) -> float:
    """Entropy in bits of shares that sum to 1 (0 of all zeros)."""
    used = share[share > 0]
    return float(max(-(used * np.log2(used)).sum(), 0.0)) if len(used) else 0.0


def average_shares(histograms: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the histograms that counted anything, as shares; zeros when none did."""
    counted = [h for h in histograms if h.sum()]
    if counted:
        return shares(np.mean(counted, axis=0))
    return np.zeros_like(histograms[0]) if histograms else np.zeros(0)


def standardised_difference(a: np.ndarray, b: np.ndarray) -> float:
    """(mean a - mean b) / pooled standard deviation, within ±99; 0.0 when a side is empty."""
    if not len(a) or not len(b):
        return 0.0
    spread = np.sqrt((a.var() + b.var()) / 2)
    gap = float(a.mean() - b.mean())
    if abs(gap) < 1e-12:
        return 0.0
    return float(np.clip(gap / max(spread, 1e-9), -99, 99))


def divergence(a: np.ndarray, b: np.ndarray) -> float:
    """Jensen–Shannon divergence in bits of two lists of shares: 0 equal, 1 disjoint."""
    if not a.sum() or not b.sum():
        return float(bool(a.sum()) != bool(b.sum()))
    middle = (a + b) / 2
    return float(np.clip(entropy(middle) - (entropy(a) + entropy(b)) / 2, 0.0, 1.0))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Σ min of two lists of shares: 1 equal, 0 disjoint (1 when neither counted anything)."""
    if not a.sum() and not b.sum():
        return 1.0
    return float(np.minimum(a, b).sum()) if len(a) == len(b) else 0.0
