"""The part of the motif memory that looks into the piece's own past: channels 0, 1, 2 and 8 of memory.py.

Candidates are named by their lag: u = t - Q (j + 1) with Q frames a quarter, or t - H (j + 1) with half of that for
channel 8. A diagonal keeps its lag, so the likenesses never move; every frame adds a place for the longest lag.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from otonoha.models.music_transformer.frames import CLASSES, UNKNOWN, VOICES, motion_class

_ROOM = 256
_ALMOST = 1e-4
"""Likenesses are sums of float32: at the border a candidate counts as within reach."""


def weigh(
    score: np.ndarray, steps: np.ndarray, rate: float, reach: float, shares: np.ndarray, strength: np.ndarray
) -> None:
    """Weigh candidates by exp(rate (score - best)) and sum the weights up by what they did next.

    `score` (N,), negative where there is no candidate; `steps` (N,) their motion classes; those more than `reach`
    below the best do not count. Whole numbers are lengths: those `reach` below the best, and 0, do not count either.
    Fills shares (26,) and strength (2,).
    """
    whole = score.dtype.kind == "i"
    best = score.max(initial=-1)
    if best < whole:  # a suffix of no frames is no likeness
        return
    near = np.flatnonzero(score > (max(best - reach, 0) if whole else max(best - reach - _ALMOST, -0.5)))
    weights = np.exp(rate * (score[near] - best).astype(np.float32))
    each = np.bincount(steps[near], weights, CLASSES)
    total = each.sum()
    shares[:] = each / total
    strength[:] = best, total


def one_step(before: int, now: int) -> int:
    """`motion_class` of two plain pitches."""
    return UNKNOWN if before < 0 or now < 0 else min(max(now - before, -12), 12) + 12


class Past:
    """The frames of one piece so far, and how like its present each earlier moment is."""

    def __init__(self, quarter: int = 4) -> None:
        self.quarter, self.half = quarter, max(1, quarter // 2)
        self.time = 0
        self.pitch = np.empty((_ROOM, VOICES), np.int16)
        self.row = np.empty((_ROOM, 7), np.int8)  # steps and spacings
        self.equal = np.zeros(_ROOM, np.int16)  # channel 0
        self.leaky = np.zeros(_ROOM, np.float32)  # channel 1
        self.voice = np.zeros((_ROOM, VOICES), np.int16)  # channel 2
        self.moved = np.zeros(_ROOM, np.float32)  # channel 8

    def advance(self, frame: np.ndarray, motion: np.ndarray, spacing: np.ndarray) -> None:
        """Take in a complete frame."""
        if self.time == len(self.pitch):
            self._grow()
        t = self.time
        self.pitch[t], self.row[t, :4], self.row[t, 4:] = frame, motion, spacing
        self.time = t + 1
        Q, H = self.quarter, self.half
        if t >= Q:
            equal, n = self.pitch[t - Q :: -Q] == frame, t // Q
            self.equal[:n] = equal.all(axis=1) * (1 + self.equal[:n])
            self.leaky[:n] = np.float32(0.94) * self.leaky[:n] + np.float32(0.25) * equal.sum(axis=1)
            self.voice[:n] = equal * (1 + self.voice[:n])
        if t >= H:
            alike, n = self.row[t - H :: -H] == self.row[t], t // H
            likeness = 0.5 * alike[:, :4].sum(axis=1) + 0.3 * alike[:, 4:].sum(axis=1)
            self.moved[:n] = np.float32(0.94) * self.moved[:n] + (0.34 * likeness).astype(np.float32)

    def _grow(self) -> None:
        for name in ("pitch", "row", "equal", "leaky", "voice", "moved"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))

    def query(self, voice: int, decided: Mapping[int, int], shares: np.ndarray, strength: np.ndarray) -> None:
        """Fill in channels 0, 1, 2 and 8 for a voice of the coming frame."""
        t, H = self.time, self.half
        if t > self.quarter:
            self._literal(voice, decided, shares, strength)
        if t > H:
            n = (t - 1) // H
            rows, last = self.row[t - H : 0 : -H], self.pitch[t - 1]
            score = self.moved[:n].copy()
            score[self.quarter // H - 1 :: self.quarter // H] += np.float32(0.5)
            for w, pitch in decided.items():
                score += np.float32(0.8) * (rows[:, w] == one_step(int(last[w]), pitch))
            weigh(score, rows[:, voice], 2.5, 2.5, shares[8], strength[8])

    def _literal(
        self, voice: int, decided: Mapping[int, int], shares: np.ndarray, strength: np.ndarray
    ) -> None:
        t, Q = self.time, self.quarter
        n = (t - 1) // Q
        before = self.pitch[t - Q : 0 : -Q]
        steps = motion_class(self.pitch[t - 1, voice], before[:, voice])
        agree = np.zeros(n, np.int8)
        for w, pitch in decided.items():
            agree += before[:, w] == pitch
        exact = np.where(agree == len(decided), self.equal[:n], -1)
        weigh(exact, steps, math.log(2), 12, shares[0], strength[0])
        weigh(self.leaky[:n] + agree.astype(np.float32), steps, 2.0, 3.0, shares[1], strength[1])
        weigh(self.voice[:n, voice], steps, math.log(2), 12, shares[2], strength[2])
