"""Mixes of styles: weights over names (artists, genres), also changing over time. Torch-free.

A blend is a list of moments (seconds from the beginning of the piece) with the weights that hold there; between two
moments the weights go over into each other linearly, before the first and after the last they stay. How a mix is
embedded is the network's affair: it is told ids and weights, B items with up to K ids each.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np

K = TypeVar("K", bound=Hashable)
L = TypeVar("L", bound=Hashable)


@dataclass(frozen=True)
class Blend(Generic[K]):
    """`points`: (seconds, ((name, weight), …)), in the order of time; at least one. See `blend`."""

    points: tuple[tuple[float, tuple[tuple[K, float], ...]], ...]

    def at(self, seconds: float) -> dict[K, float]:
        """The weights at a moment; those that are 0 are left out."""
        times = [time for time, _ in self.points]
        after = int(np.searchsorted(times, seconds, side="right"))
        earlier, later = self.points[max(after - 1, 0)], self.points[min(after, len(times) - 1)]
        span = later[0] - earlier[0]
        share = (seconds - earlier[0]) / span if span > 0 else 0.0
        found: dict[K, float] = defaultdict(float)
        for part, points in ((1 - share, earlier[1]), (share, later[1])):
            for name, weight in points:
                found[name] += part * weight
        return {name: weight for name, weight in found.items() if weight}

    def names(self) -> list[K]:
        """All that occur, each once."""
        return list(dict.fromkeys(name for _, points in self.points for name, _ in points))

    def mapped(self, change: Callable[[K], Sequence[L]]) -> Blend[L]:
        """Every name replaced by others, each of which gets its weight (a genre becomes its words)."""

        def changed(weights: Sequence[tuple[K, float]]) -> tuple[tuple[L, float], ...]:
            found: dict[L, float] = defaultdict(float)
            for name, weight in weights:
                for other in change(name):
                    found[other] += weight
            return tuple(found.items())

        return Blend(tuple((time, changed(weights)) for time, weights in self.points))


def blend(described: Any) -> Blend[str]:
    """A Blend from a name, from {name: weight}, or from [(seconds, name or {name: weight}), …].

    The weights of a moment are made to sum to 1. ValueError for weights that are negative or all zero, and for
    moments that are negative, repeated or out of order.
    """
    if isinstance(described, Blend):
        return described
    if isinstance(described, (str, Mapping)):
        described = [(0.0, described)]
    try:
        moments = [(float(time), weights) for time, weights in described]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a blend is a name, {{name: weight}} or [[seconds, {{name: weight}}], …], got {described!r}"
        ) from error
    times = [time for time, _ in moments]
    if not times or times[0] < 0 or any(not a < b for a, b in pairwise(times)) or times[-1] == math.inf:
        raise ValueError(f"the moments of a blend must rise from 0 s on, got {times}")
    return Blend(tuple((time, _summing_to_one(weights)) for time, weights in moments))


def read_blend(text: str) -> Any:
    """ "ana:0.7, bo:0.3 @0; bo @1:30" -> [(0.0, {"ana": 0.7, "bo": 0.3}), (90.0, {"bo": 1.0})].

    A text without weights and times is a name, and comes back as it is. ValueError for what cannot be read.
    """
    if not re.search(r"[:@]\s*[\d.]", text):
        return text
    moments = []
    for part in text.split(";"):
        mix, at, time = part.rpartition("@")
        weights: dict[str, float] = {}
        for one in (mix if at else part).split(","):
            name, colon, weight = one.rpartition(":")
            weights[(name if colon else one).strip()] = _number(weight, text) if colon else 1.0
        if "" in weights:
            raise ValueError(f"a name is missing in {text!r}; {_LIKE}")
        moments.append((_time(time, text) if at else 0.0, weights))
    return moments


_LIKE = "a mix is written like 'ana:0.7, bo:0.3 @0; bo @20' (weights, and after @ seconds or m:ss)"


def _number(word: str, text: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"cannot read the number {word.strip()!r} in {text!r}; {_LIKE}") from None


def _time(word: str, text: str) -> float:
    minutes, colon, seconds = word.rpartition(":")
    return (60 * _number(minutes, text) if colon else 0.0) + _number(seconds, text)


def _summing_to_one(weights: Any) -> tuple[tuple[str, float], ...]:
    found = {weights: 1.0} if isinstance(weights, str) else dict(weights)
    numbers = [float(weight) for weight in found.values()]
    if not numbers or min(numbers) < 0 or not 0 < sum(numbers) < math.inf:
        raise ValueError(f"the weights of a blend must be 0 or more, and some above 0; got {found}")
    return tuple((name, weight / sum(numbers)) for name, weight in zip(found, numbers) if weight)


@dataclass(frozen=True)
class Mix:
    """Artists and genres of one song as ids. The weights of the artists sum to 1; every word of a genre has the whole
    weight of its genre, as words are added up in the original too.
    """

    artists: Blend[int]
    genres: Blend[int]


def packed(weights: Sequence[Mapping[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Weights of B items -> ids (B, K) int64 and weights (B, K) float32; places left over have weight 0."""
    most = max(1, *(len(w) for w in weights))
    ids = np.zeros((len(weights), most), np.int64)
    values = np.zeros((len(weights), most), np.float32)
    for row, item in enumerate(weights):
        ids[row, : len(item)] = list(item)
        values[row, : len(item)] = list(item.values())
    return ids, values
