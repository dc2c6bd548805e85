"""N-grams: what two sequences have in common, and a count model of what comes next.

A *sequence* is a (N,) array of integers: intervals of a melody, token ids, rows of a grid folded into one
number (`fold`). Three parts: rolling hashes, exact longest matches (hashes propose, a comparison of the
symbols themselves decides), and `BackOff`, the count model that every network is measured against.

Arithmetic on hashes is modulo 2^64 (unsigned overflow is meant).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)


def intervals(pitches: np.ndarray) -> np.ndarray:
    """(N,) pitches -> (N - 1,) semitone steps: what a melody keeps under transposition."""
    return np.diff(np.asarray(pitches, dtype=np.int64))


def fold(*columns: np.ndarray) -> np.ndarray:
    """Columns (N,) of integers -> (N,) int64 symbols, equal where all columns are equal (and elsewhere with
    one chance in 2^64).
    """
    if not columns:
        raise ValueError("fold needs at least one column")
    folded = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        folded = _mix(folded * np.uint64(_BASE) + np.asarray(column).astype(np.int64).astype(np.uint64))
    return folded.astype(np.int64)


def ngram_hashes(sequence: np.ndarray, n: int) -> np.ndarray:
    """Hashes (N - n + 1,) uint64 of all windows of n symbols; empty when the sequence is shorter."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one symbol, got n = {n}")
    return _Windows(np.asarray(sequence)).hashes(n)


def longest_match(a: np.ndarray, b: np.ndarray) -> tuple[int, int, int]:
    """The longest run that occurs in both: (length, start in a, start in b); (0, 0, 0) when there is none."""
    a, b = np.asarray(a), np.asarray(b)
    windows_a, windows_b = _Windows(a), _Windows(b)
    best, low, high = (0, 0, 0), 0, min(len(a), len(b))
    while low < high:  # a common run of n holds a common run of n - 1, so the length can be bisected
        middle = (low + high + 1) // 2
        common, at_a, at_b = np.intersect1d(
            windows_a.hashes(middle), windows_b.hashes(middle), return_indices=True
        )
        if common.size and np.array_equal(a[at_a[0] : at_a[0] + middle], b[at_b[0] : at_b[0] + middle]):
            best, low = (middle, int(at_a[0]), int(at_b[0])), middle
        else:
            high = middle - 1
    return best


def repeat_lengths(sequence: np.ndarray) -> np.ndarray:
    """(N,): at each position, the length of the longest passage that starts there and has been heard
    before, complete, earlier in the same sequence.
    """
    sequence = np.asarray(sequence)
    count = len(sequence)
    longest = np.zeros(count, dtype=np.int64)
    for lag in range(1, count):
        run = _run_lengths(sequence[lag:] == sequence[:-lag])
        np.maximum(longest[lag:], np.minimum(run, lag), out=longest[lag:])
    return longest


def repeats(sequence: np.ndarray, *, at_least: int = 2) -> list[tuple[int, int]]:
    """The repeated passages (start, length), read from left to right without overlap."""
    if at_least < 1:
        raise ValueError(f"a repeat has at least one symbol, got at_least = {at_least}")
    longest, found, position = repeat_lengths(sequence), [], 0
    while position < len(longest):
        length = int(longest[position])
        if length >= at_least:
            found.append((position, length))
        position += length if length >= at_least else 1
    return found


@dataclass(frozen=True)
class Match:
    """A run that a query shares with an indexed sequence."""

    length: int
    id: str
    start: int
    """Where it starts in the query."""
    start_there: int
    """Where it starts in the sequence `id`."""


class NgramIndex:
    """Sequences made ready for the question "what is the longest run of this query that occurs in you?".

    A suffix array by prefix doubling: about a second for a million symbols, milliseconds a query. Matches
    never cross the end of a sequence.
    """

    def __init__(self, sequences: Sequence[np.ndarray], ids: Sequence[str]) -> None:
        if len(sequences) != len(ids):
            raise ValueError(f"{len(sequences)} sequences but {len(ids)} ids")
        self.ids = tuple(ids)
        lengths = np.array([len(s) for s in sequences], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(lengths + 1)])
        joined = np.concatenate([np.zeros(0, np.int64), *(np.asarray(s).astype(np.int64) for s in sequences)])
        self._alphabet, symbols = np.unique(joined, return_inverse=True)
        # 0 ends each sequence; a query never holds it, so no match can cross it.
        self._text = np.zeros(int(self._starts[-1]), dtype=np.int64)
        inside = np.ones(len(self._text), dtype=bool)
        inside[self._starts[1:] - 1] = False
        self._text[inside] = symbols.reshape(-1) + 1
        self._order = _suffix_array(self._text)
        self._windows = _Windows(self._text)

    def __len__(self) -> int:
        return len(self._text) - len(self.ids)

    def match_lengths(self, query: np.ndarray) -> np.ndarray:
        """(N,): from each position of the query on, how many symbols occur together in one sequence."""
        return self._best(np.asarray(query).astype(np.int64))[0]

    def longest(self, query: np.ndarray) -> Match:
        """The longest run shared with any sequence; length 0 and id "" when not one symbol is shared."""
        query = np.asarray(query).astype(np.int64)
        lengths, places = self._best(query)
        if not lengths.max(initial=0):
            return Match(0, "", 0, 0)
        start = int(lengths.argmax())
        sequence = int(np.searchsorted(self._starts, places[start], side="right")) - 1
        there = int(places[start] - self._starts[sequence])
        return Match(int(lengths[start]), self.ids[sequence], start, there)

    def _best(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every query position the longest match and its place in the text: the neighbours of the spot
        where the query's suffix would stand in the suffix array.
        """
        if not len(query) or not len(self._text):
            return np.zeros(len(query), np.int64), np.zeros(len(query), np.int64)
        symbols = self._translate(query)
        windows, positions = _Windows(symbols), np.arange(len(symbols))
        low, high = np.zeros(len(symbols), np.int64), np.full(len(symbols), len(self._order))
        while (low < high).any():
            middle = np.minimum((low + high) // 2, len(self._order) - 1)
            suffix = self._order[middle]
            common = _common_prefix(windows, positions, self._windows, suffix)
            after = _at(symbols, positions + common) > _at(self._text, suffix + common)
            low, high = np.where(after & (low < high), middle + 1, low), np.where(after, high, middle)
        neighbours = np.stack([np.maximum(low - 1, 0), np.minimum(low, len(self._order) - 1)])
        places = self._order[neighbours]
        lengths = np.stack([_common_prefix(windows, positions, self._windows, row) for row in places])
        pick = lengths.argmax(axis=0)
        return lengths[pick, positions], places[pick, positions]

    def _translate(self, query: np.ndarray) -> np.ndarray:
        """Symbols of the query in the index's alphabet; unknown ones become a number that never occurs."""
        at = np.searchsorted(self._alphabet, query)
        known = (
            self._alphabet[np.minimum(at, len(self._alphabet) - 1)] == query if len(self._alphabet) else False
        )
        return np.where(known, at + 1, len(self._alphabet) + 1)


class _Windows:
    """Hashes of any window of a sequence in O(1): differences of Σ mix(x_j)·BASE^j, divided by BASE^start."""

    def __init__(self, sequence: np.ndarray) -> None:
        self.length = len(sequence)
        with np.errstate(over="ignore"):
            symbols = _mix(sequence.astype(np.uint64))
            powers = _powers(_BASE, self.length)
            self._sums = np.concatenate(
                [np.zeros(1, np.uint64), np.cumsum(symbols * powers, dtype=np.uint64)]
            )
        self._inverse = _powers(_INVERSE, self.length + 1)

    def hashes(self, n: int) -> np.ndarray:
        """Of all windows of n symbols."""
        return self.at(np.arange(max(self.length - n + 1, 0)), n)

    def at(self, start: np.ndarray, n: int | np.ndarray) -> np.ndarray:
        """Of the windows start … start + n - 1 (inside the sequence)."""
        return (self._sums[start + n] - self._sums[start]) * self._inverse[start]


def _mix(values: np.ndarray) -> np.ndarray:
    """Scatter the bits (splitmix64), so that small neighbouring numbers become unlike each other."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _powers(base: int, count: int) -> np.ndarray:
    """base^0 … base^(count - 1)."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _run_lengths(equal: np.ndarray) -> np.ndarray:
    """(N,) bool -> at each position, how many True follow from there on."""
    stops = np.where(equal, len(equal), np.arange(len(equal)))
    return np.minimum.accumulate(stops[::-1])[::-1] - np.arange(len(equal))


def _suffix_array(text: np.ndarray) -> np.ndarray:
    """Starts of all suffixes in lexicographic order (Manber–Myers prefix doubling)."""
    count, width = len(text), 1
    if not count:
        return np.zeros(0, dtype=np.int64)
    rank = np.unique(text, return_inverse=True)[1].reshape(-1).astype(np.int64)
    order = np.argsort(rank, kind="stable")
    while width < count and rank.max() < count - 1:
        second = np.zeros(count, dtype=np.int64)
        second[:-width] = rank[width:] + 1
        key = rank * (count + 1) + second
        order = np.argsort(key, kind="stable")
        ranked = key[order]
        rank[order] = np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])
        width *= 2
    return order


def _common_prefix(a: _Windows, starts_a: np.ndarray, b: _Windows, starts_b: np.ndarray) -> np.ndarray:
    """Length of the common prefix of each pair of suffixes, by bisection over hashes."""
    low = np.zeros(len(starts_a), dtype=np.int64)
    high = np.minimum(a.length - starts_a, b.length - starts_b)
    while (low < high).any():
        middle = (low + high + 1) // 2
        same = a.at(starts_a, middle) == b.at(starts_b, middle)
        low, high = np.where(same, middle, low), np.where(same, high, middle - 1)
    return low


def _at(symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Symbols at `index`; -1 beyond the end, so that a prefix sorts before what it begins."""
    return np.where(index < len(symbols), symbols[np.minimum(index, len(symbols) - 1)], -1)


# --- what comes next ------------------------------------------------------------------------------------


class BackOff:
    """Counts of symbols in contexts, from specific to general: a baseline with exact probabilities.

    `levels` lists the context columns that each level looks at, the most specific level first; below the
    last one stand the bare counts and the uniform distribution, so every symbol has a probability and each
    distribution sums to 1. Levels are interpolated by absolute discounting (Ney, Essen & Kneser 1994), with
    the three discounts per level of Chen & Goodman (1999):

        p_k(s | c) = (n(c, s) - D(n(c, s))) / n(c)  +  (what the discounts freed) / n(c) · p_{k+1}(s | c)

    Contexts need not be nested: anything known before the symbol may be a column.
    """

    def __init__(self, size: int, levels: Sequence[Sequence[int]]) -> None:
        if size < 1:
            raise ValueError(f"an alphabet has at least one symbol, got size = {size}")
        self.size = size
        self.levels = (*(tuple(level) for level in levels), ())
        self._tables: list[_Counts] = []

    def fit(self, symbols: np.ndarray, contexts: np.ndarray) -> BackOff:
        """Count `symbols` (N,) in [0, size) beside `contexts` (N, C); replaces what was counted before."""
        symbols = self._checked(symbols, contexts)
        self._tables = [_Counts(symbols, _keys(contexts, level), self.size) for level in self.levels]
        return self

    def nats(self, symbols: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """-log p of each symbol (N,)."""
        symbols = self._checked(symbols, contexts)
        chance = np.full(len(symbols), 1.0 / self.size)
        for level, table in zip(self.levels[::-1], self._fitted()[::-1]):
            chance = table.refine(chance, symbols, _keys(contexts, level))
        return -np.log(chance)

    def probabilities(self, contexts: np.ndarray) -> np.ndarray:
        """(N, size): the whole distribution for each row of `contexts` (N, C)."""
        count = len(contexts)
        symbols = np.tile(np.arange(self.size), count)
        return np.exp(-self.nats(symbols, np.repeat(contexts, self.size, axis=0))).reshape(count, self.size)

    def _fitted(self) -> list[_Counts]:
        if not self._tables:
            raise ValueError("this back-off model has counted nothing yet: call fit first")
        return self._tables

    def _checked(self, symbols: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        symbols = np.asarray(symbols, dtype=np.int64)
        if np.ndim(contexts) != 2 or len(contexts) != len(symbols):
            raise ValueError(f"contexts must be ({len(symbols)}, columns), got shape {np.shape(contexts)}")
        if symbols.size and not 0 <= symbols.min() <= symbols.max() < self.size:
            raise ValueError(
                f"symbols must lie in 0 … {self.size - 1}, got {symbols.min()} … {symbols.max()}"
            )
        return symbols


class _Counts:
    """One level: how often each symbol followed each context, and what discounting frees there."""

    def __init__(self, symbols: np.ndarray, keys: np.ndarray, size: int) -> None:
        self.size = size
        self.keys, rows = np.unique(keys, return_inverse=True)
        self.pairs, self.counts = np.unique(rows.reshape(-1) * size + symbols, return_counts=True)
        self.discounts = _discounts(self.counts)
        owner = self.pairs // size
        self.totals = np.bincount(owner, self.counts, len(self.keys))
        freed = self.discounts[np.minimum(self.counts, 3)]
        self.spare = np.bincount(owner, freed, len(self.keys)) / np.maximum(self.totals, 1)

    def refine(self, below: np.ndarray, symbols: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """p of each symbol at this level, given `below` = p at the next more general one."""
        if not len(self.keys):
            return below
        row, known = _find(self.keys, keys)
        pair, seen = _find(self.pairs, row * self.size + symbols)
        count = np.where(seen & known, self.counts[pair], 0)
        own = (count - self.discounts[np.minimum(count, 3)]) / np.maximum(self.totals[row], 1)
        return np.where(known, own + self.spare[row] * below, below)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What to take from a count of 0, 1, 2, 3 or more (Chen & Goodman 1999, eq. 26)."""
    n1, n2, n3, n4 = (max(int((counts == k).sum()), 1) for k in (1, 2, 3, 4))
    rate = n1 / (n1 + 2 * n2)
    wanted = np.array([0.0, 1 - 2 * rate * n2 / n1, 2 - 3 * rate * n3 / n2, 3 - 4 * rate * n4 / n3])
    return np.clip(wanted, [0.0, 0.1, 0.1, 0.1], [0.0, 0.95, 1.9, 2.85])


def _keys(contexts: np.ndarray, level: tuple[int, ...]) -> np.ndarray:
    """(N,): one number for what a level sees of each context."""
    return fold(np.zeros(len(contexts), np.int64), *(contexts[:, column] for column in level))


def _find(table: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each value in a sorted table (not empty), and whether it is there (0 where it is not)."""
    at = np.minimum(np.searchsorted(table, values), len(table) - 1)
    known = table[at] == values
    return np.where(known, at, 0), known
