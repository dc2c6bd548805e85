"""A prior that is no network, and a slow twin of sampling written on its own.

The dummy's codes must satisfy z // ratio == the upper code, and which of them are likely depends on the label row (so
on the window's offset), the lyrics that the window sees, the place in the window and every code before it there. So
any slip in windows, conditions or offsets changes the codes.
"""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import numpy as np
import torch

HOPS = (4, 16, 64)
RATE = 100


def scores(bins, ratio, row, lyrics, above, past, memory):
    """(bins,) logits of the code after `past`, in one window of one piece."""
    seen = past if memory is None else [z // max(ratio, 1) for z in past[-memory:]]
    # the place within the piece, not within the window, where the dummy forgets how it came there
    place = len(past) if memory is None or row is None else row[1] + len(past) * (row[2] // 16)
    told = None if row is None else (row if memory is None else row[3:])
    key = zlib.crc32(repr((told, lyrics, place, seen)).encode())
    values = np.random.default_rng(key).normal(size=ratio or bins) * 1.5
    if not ratio:
        return values
    found = np.full(bins, -np.inf)
    found[above * ratio : above * ratio + ratio] = values
    return found


class Dummy:
    """A Level; `memory`: how many codes back it looks (None: to the beginning of the window)."""

    def __init__(self, level, *, n_ctx=16, n_lyrics=0, top_bins=6, memory=None, levels=3, ratio=4):
        self.level, self.n_ctx, self.n_lyrics, self.memory = level, n_ctx, n_lyrics, memory
        self.hop = HOPS[0] * ratio**level
        self.ratio = 0 if level == levels - 1 else ratio
        self.labelled = None
        self.bins = top_bins * ratio ** (levels - 1 - level)
        self.begun, self.asked = [], 0

    def step(self, labels, lyrics, upper):
        assert upper is None or upper.shape[1] <= self.n_ctx // self.ratio
        assert all(t is None or t.dtype == torch.int64 for t in (labels, lyrics, upper))
        return DummyStep(self, *(None if t is None else t.tolist() for t in (labels, lyrics, upper)))


class DummyStep:
    """Its Step: the state is what every row has written so far."""

    def __init__(self, level, labels, lyrics, upper):
        self.of, self.labels, self.lyrics, self.upper = level, labels, lyrics, upper
        self.device = torch.device("cpu")

    def start(self, batch):
        assert all(t is None or len(t) == batch for t in (self.labels, self.lyrics, self.upper))
        self.of.begun.append(batch)
        return [[] for _ in range(batch)]

    def prefill(self, state, streams):
        assert list(streams) == ["code"]
        return [past + more for past, more in zip(state, streams["code"].tolist(), strict=True)]

    def logits(self, state, k, drawn):
        assert (k, list(drawn)) == (0, [])
        self.of.asked += 1
        return torch.tensor(np.stack([self._row(i, past) for i, past in enumerate(state)]))

    def _row(self, i, past):
        o = self.of
        assert len(past) < o.n_ctx
        at = len(past) // o.ratio if o.ratio else 0
        # rows of a batch that have come to their end are asked too; nobody reads the answer
        above = None if not o.ratio else self.upper[i][min(at, len(self.upper[i]) - 1)]
        row, lyrics = (None if t is None else t[i] for t in (self.labels, self.lyrics))
        return scores(o.bins, o.ratio, row, lyrics, above, past, o.memory)

    def advance(self, state, drawn):
        return [[*past, int(z)] for past, z in zip(state, drawn[0], strict=True)]


def priors(**options):
    """Three levels; only the top sees lyrics."""
    return {i: Dummy(i, n_lyrics=6 if i == 2 else 0, **options) for i in range(3)}


def chosen(logits, uniform, temperature=0.99):
    """A code by the inverse of the cumulative probability."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    total = 0.0
    for code, share in enumerate(p):
        total += share
        if uniform < total:
            return code
    return int(np.flatnonzero(p)[-1])


def chance(seed, level, place):
    return np.random.default_rng([seed, level, place // 4096]).random(4096)[place % 4096]


def window_of(place, known, total, n_ctx, hop, step):
    """Where the window begins that writes a code: the first of all whose end lies behind it."""
    starts = [0]
    while starts[-1] + n_ctx < total:
        starts.append(min(starts[-1] + hop, -(-(total - n_ctx) // step) * step))
    return next(s for s in starts if place < s + n_ctx)


def slow(levels, seed, totals, *, labels=None, known=None, fractions=None):
    """One piece, code by code: level -> list of codes. `known`: level -> the codes that it begins with."""
    made = {}
    for number in sorted(levels, reverse=True):
        prior, z = levels[number], list((known or {}).get(number, []))
        step = prior.ratio or 1
        fraction = (fractions or {}).get(number, 0.5 if prior.ratio else 0.125)
        hop = max(step, int(fraction * prior.n_ctx) // step * step)
        label = (labels or {}).get(number)
        while len(z) < totals[number]:
            start = window_of(len(z), 0, totals[number], prior.n_ctx, hop, step)
            row = lyrics = None
            if label is not None:
                row = [label.total, label.offset + start * prior.hop, prior.n_ctx * prior.hop]
                row += [label.artist, *label.genres]
                lyrics = _characters(label, row[1], row[2], prior.n_lyrics) if prior.n_lyrics else None
            above = made[number + 1][len(z) // prior.ratio] if prior.ratio else None
            logits = scores(prior.bins, prior.ratio, row, lyrics, above, z[start:], prior.memory)
            z.append(chosen(logits, chance(seed, number, len(z))))
        made[number] = z
    return made


def _characters(label, offset, duration, n):
    text = list(label.lyrics)
    if len(text) < n:
        return [0] * (n - len(text)) + text
    middle = int(len(text) * (offset + duration / 2.0) / label.total)
    middle = min(max(middle, n // 2), len(text) - n // 2)
    return text[middle - n // 2 : middle + n // 2]


def drained(walk):
    """What a generator returns, and what it yielded."""
    told = []
    while True:
        try:
            told.append(next(walk))
        except StopIteration as end:
            return SimpleNamespace(codes=end.value, told=told)
