"""Maps of vectors: many dimensions become two. t-SNE and principal components, exact, in NumPy.

van der Maaten & Hinton 2008 (Visualizing Data using t-SNE). Axes: N points, D dimensions, K neighbours.

    p_j|i   = exp(−β_i |x_i − x_j|²) / Σ_k      β_i such that the entropy of p_·|i is log(perplexity)
    p_ij    = (p_j|i + p_i|j) / 2N
    w_ij    = 1 / (1 + |y_i − y_j|²)            q_ij = w_ij / Z,   Z = Σ w
    cost    = KL(P ‖ Q)                         its gradient at y_i: 4 Σ_j (p_ij − q_ij) w_ij (y_i − y_j)

It begins at the principal components (Kobak & Berens 2019) with a rate that follows from N (Belkina et al. 2019):
there is no chance in it, the same vectors give the same map. Every pair counts, so time and memory grow with N²; `MOST`
is the limit. Work goes by blocks of rows that stay in the cache; only P is ever held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

FEWEST, MOST = 4, 10_000
"""Points of a map. P of the most takes 400 MB."""
PERPLEXITY = 30.0
BLOCK = 1 << 18
"""Pairs that are computed together."""
EXAGGERATED, STEPS = 250, 750
"""Steps with attraction twelve times as strong, and steps in all."""
EXAGGERATION = 12.0
HALVINGS = 48
BETAS = (np.log(1e-8), np.log(1e10))
"""Where β_i is looked for, distances being divided by their mean."""
Told = Callable[[int, int], None]
"""Progress: (steps done, steps in all)."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Places (N, 2) on a map. `cost`: the divergence in nats; `perplexity`: how many neighbours count, about."""

    places: np.ndarray
    cost: float
    perplexity: float


def tsne(vectors: np.ndarray, *, perplexity: float | None = None, told: Told | None = None) -> Layout:
    """Vectors (N, D) -> a map in which neighbours stay neighbours. Perplexity: 30, or N / 5 where that is less.

    Raises ValueError for too few, too many, for vectors that are no numbers, and for a perplexity out of range.
    """
    x = checked(vectors)
    most = (len(x) - 1) / 2
    wanted = min(PERPLEXITY, len(x) / 5) if perplexity is None else perplexity
    if perplexity is not None and not 1 < perplexity <= most:
        raise ValueError(
            f"the perplexity of {len(x)} points must be above 1, at most {most:g}; got {perplexity:g}"
        )
    wanted = max(wanted, min(1.5, most))
    p = affinities(x, wanted)
    y = _descended(p, _start(x), told)
    return Layout(y.astype(np.float64), cost(p, y), wanted)


def checked(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float64, centred, its largest number 1 or less: scale and place are no matter."""
    x = np.asarray(vectors, np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"a map needs vectors (points, dimensions), got shape {x.shape}")
    if not FEWEST <= len(x) <= MOST:
        raise ValueError(f"a map has {FEWEST} to {MOST:,} points, got {len(x):,}")
    if not np.isfinite(x).all():
        raise ValueError("a map needs vectors of finite numbers; some are NaN or infinite")
    x = x / max(float(np.abs(x).max()), 1e-300)
    x = x - x.mean(axis=0)
    return x / max(float(np.abs(x).max()), 1e-300)


# -- neighbours --------------------------------------------------------------------------------------------


def affinities(x: np.ndarray, perplexity: float) -> np.ndarray:
    """P (N, N) float32: symmetric, sums to 1, nothing on its diagonal."""
    n = len(x)
    p = np.empty((n, n), np.float32)
    for rows in blocks(n):
        p[rows] = _conditional(_distances(x, rows), np.arange(n)[rows], perplexity)
    for rows in blocks(n):  # p + pᵀ without a second matrix: what lies above the diagonal, then its mirror
        part = p[rows, rows.start :] + p[rows.start :, rows].T
        part /= np.float32(2 * n)
        p[rows, rows.start :] = part
        p[rows.start :, rows] = part.T
    return p


def _distances(x: np.ndarray, rows: slice) -> np.ndarray:
    """Squared distances of some points to all (n, N)."""
    square = np.einsum("nd,nd->n", x, x)
    found = square[rows, None] + square - 2 * (x[rows] @ x.T)
    return np.maximum(found, 0, out=found)


def _conditional(distances: np.ndarray, own: np.ndarray, perplexity: float) -> np.ndarray:
    """p_·|i of some rows (n, N): β_i by halving its range, all rows at once."""
    each = np.arange(len(own))
    d = distances / np.maximum(distances.sum(axis=1, keepdims=True) / (distances.shape[1] - 1), 1e-300)
    d[each, own] = np.inf
    d -= d.min(axis=1, keepdims=True)
    low, high = np.full(len(d), BETAS[0]), np.full(len(d), BETAS[1])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wide = _entropy(d, np.exp(middle)) > np.log(perplexity)
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    found = np.exp(-d * np.exp((low + high) / 2)[:, None])
    return found / found.sum(axis=1, keepdims=True)


def _entropy(d: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Nats of exp(−β d) / Σ, row by row; what lies infinitely far has no part in it."""
    weight = np.exp(-d * beta[:, None])
    total = weight.sum(axis=1)
    return np.log(total) + beta * (weight * np.where(np.isfinite(d), d, 0)).sum(axis=1) / total


def nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """(N, K) the nearest other points of each, nearest first."""
    x = np.asarray(vectors, np.float64)
    k = min(k, len(x) - 1)
    found = np.empty((len(x), k), np.int64)
    for rows in blocks(len(x)):
        d = _distances(x, rows)
        d[np.arange(len(d)), np.arange(len(x))[rows]] = np.inf
        found[rows] = np.argsort(d, axis=1, kind="stable")[:, :k]
    return found


def kept(vectors: np.ndarray, places: np.ndarray, k: int = 10) -> float:
    """The share of the K nearest vectors that are among the K nearest on the map: what the map can be trusted with."""
    true, shown = nearest(vectors, k), nearest(places, k)
    return float((true[:, :, None] == shown[:, None, :]).any(axis=2).mean())


# -- the way down ------------------------------------------------------------------------------------------


def gradient(p: np.ndarray, y: np.ndarray, exaggeration: float = 1.0) -> np.ndarray:
    """The gradient (N, 2) of the cost at places y, in their precision; P counts `exaggeration` times."""
    pull, push, z = np.empty_like(y), np.empty_like(y), 0.0
    for rows in blocks(len(y)):
        w = _weights(y, rows)
        z += float(w.sum(dtype=np.float64))
        pull[rows] = _drawn(p[rows] * w, y, rows)
        push[rows] = _drawn(w * w, y, rows)
    return 4 * (exaggeration * pull - push / y.dtype.type(z - len(y)))


def cost(p: np.ndarray, y: np.ndarray) -> float:
    """KL(P ‖ Q) in nats."""
    told, z = 0.0, -float(len(y))
    for rows in blocks(len(y)):
        w = _weights(y, rows).astype(np.float64)
        z += w.sum()
        some = np.maximum(p[rows].astype(np.float64), 1e-30)
        told += (some * (np.log(some) - np.log(w))).sum()
    return float(told + np.log(z))


def _weights(y: np.ndarray, rows: slice) -> np.ndarray:
    """w (n, N), 1 for a point and itself."""
    w = np.square(y[rows, :1] - y[:, 0])
    w += np.square(y[rows, 1:] - y[:, 1])
    w += 1
    return np.reciprocal(w, out=w)


def _drawn(force: np.ndarray, y: np.ndarray, rows: slice) -> np.ndarray:
    """Σ_j f_ij (y_i − y_j)."""
    return force.sum(axis=1, keepdims=True) * y[rows] - force @ y


def _start(x: np.ndarray) -> np.ndarray:
    """The principal components, very small."""
    places, _ = components(x)
    return (places * (1e-4 / max(float(places[:, 0].std()), 1e-300))).astype(np.float32)


def _descended(p: np.ndarray, y: np.ndarray, told: Told | None) -> np.ndarray:
    """Gradient descent with momentum, and with a gain for each number (Jacobs 1988)."""
    rate = np.float32(max(len(y) / EXAGGERATION / 4, 50))
    speed, gain = np.zeros_like(y), np.ones_like(y)
    for step in range(STEPS):
        early = step < EXAGGERATED
        slope = gradient(p, y, EXAGGERATION if early else 1.0)
        onward = slope * speed < 0
        gain = np.maximum(np.where(onward, gain + np.float32(0.2), gain * np.float32(0.8)), np.float32(0.01))
        speed = np.float32(0.5 if early else 0.8) * speed - rate * gain * slope
        y = y + speed
        y -= y.mean(axis=0)
        if told is not None:
            told(step + 1, STEPS)
    return y


def components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components: places (N, 2), and their shares (2,) of the variance. The largest number of each is
    positive, so that the map does not depend on the library.
    """
    x = checked(vectors)
    n, d = x.shape
    products = x @ x.T if n <= d else x.T @ x
    last = len(products) - 1
    values, axes = eigh(products, subset_by_index=(max(last - 1, 0), last))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    places = axes * np.sqrt(values) if n <= d else x @ axes
    if places.shape[1] < 2:  # of one dimension there is one component
        places, values = np.pad(places, ((0, 0), (0, 1))), np.append(values, 0.0)
    extreme = places[np.abs(places).argmax(axis=0), [0, 1]]
    total = max(float(np.trace(products)), 1e-300)
    return places * np.where(extreme < 0, -1, 1), values / total


def blocks(n: int) -> Iterator[slice]:
    """All rows of (n, n), some at a time."""
    some = max(1, BLOCK // n)
    for at in range(0, n, some):
        yield slice(at, min(at + some, n))
