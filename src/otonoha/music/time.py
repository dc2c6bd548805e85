"""Musical time of a Score: metre, key and tempo maps, bars, ticks <-> seconds.

Ticks are the score's own (`score.tpq` to a quarter note); metre defaults to 4/4, tempo to 120 quarters
a minute, as in MIDI.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from symusic import Score

from otonoha.music.markers import pickup
from otonoha.music.theory import Key

DEFAULT_QPM = 120.0
MAX_BARS = 1_000_000


@dataclass(frozen=True, eq=False)
class BarTable:
    """All bars of a score: `start` (n+1,) ticks including the end of the last bar, `numerator` and
    `denominator` (n,) of the metre in force. A pick-up bar carries the full metre, but is shorter.
    """

    start: np.ndarray
    numerator: np.ndarray
    denominator: np.ndarray
    first_is_pickup: bool = False

    def __len__(self) -> int:
        return len(self.numerator)

    def bar_at(self, ticks: np.ndarray) -> np.ndarray:
        """Index of the bar in which each tick lies (clipped to the table)."""
        bars = np.searchsorted(self.start, np.asarray(ticks), side="right") - 1
        return np.clip(bars, 0, max(len(self) - 1, 0))


def metre_map(score: Score) -> list[tuple[int, int, int]]:
    """(tick, numerator, denominator) in the order of time, from tick 0; impossible metres are left out."""
    found = {m.time: (m.numerator, m.denominator) for m in score.time_signatures if _is_metre(m)}
    found.setdefault(0, (4, 4))
    return [(tick, *found[tick]) for tick in sorted(found)]


def _is_metre(m: object) -> bool:
    numerator, denominator = m.numerator, m.denominator  # type: ignore[attr-defined]
    return m.time >= 0 and 0 < numerator <= 128 and 0 < denominator <= 128  # type: ignore[attr-defined]


def signatures(score: Score) -> list[tuple[int, tuple[int, bool]]]:
    """(tick, (sharps, minor)) of every key signature as it is written (G flat is not F sharp), in the order of
    time; empty where the score states none.
    """
    found = {k.time: (int(k.key), bool(k.tonality)) for k in score.key_signatures if -7 <= k.key <= 7}
    return [(tick, found[tick]) for tick in sorted(found)]


def key_map(score: Score) -> list[tuple[int, Key]]:
    """(tick, key) of every key signature, in the order of time; empty where the score states none."""
    return [(tick, Key.from_signature(*written)) for tick, written in signatures(score)]


def key_at(score: Score, tick: int = 0) -> Key | None:
    """The key in force at a tick; None where the score states none. Before the first one, the first one."""
    keys = key_map(score)
    if not keys:
        return None
    return keys[max(bisect_right([t for t, _ in keys], tick) - 1, 0)][1]


def tempo_map(score: Score) -> list[tuple[int, float]]:
    """(tick, quarter notes a minute) in the order of time, from tick 0."""
    found = {max(t.time, 0): t.qpm for t in score.tempos if 0 < t.qpm < 1e5}
    found.setdefault(0, DEFAULT_QPM)
    return [(tick, float(found[tick])) for tick in sorted(found)]


def seconds(score: Score, ticks: np.ndarray) -> np.ndarray:
    """Ticks -> seconds, through all tempo changes."""
    at, rate, begin = _tempo_segments(score)
    ticks = np.asarray(ticks, np.float64)
    segment = np.clip(np.searchsorted(at, ticks, side="right") - 1, 0, None)
    return begin[segment] + (ticks - at[segment]) * rate[segment]


def ticks(score: Score, seconds: np.ndarray) -> np.ndarray:
    """Seconds -> nearest ticks (int64), through all tempo changes."""
    at, rate, begin = _tempo_segments(score)
    seconds = np.asarray(seconds, np.float64)
    segment = np.clip(np.searchsorted(begin, seconds, side="right") - 1, 0, None)
    return np.rint(at[segment] + (seconds - begin[segment]) / rate[segment]).astype(np.int64)


def _tempo_segments(score: Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start tick, seconds per tick and start second of each stretch of constant tempo."""
    tempi = tempo_map(score)
    at = np.array([t for t, _ in tempi], np.float64)
    rate = 60.0 / (np.array([q for _, q in tempi]) * score.tpq)
    begin = np.concatenate([[0.0], np.cumsum(np.diff(at) * rate[:-1])])
    return at, rate, begin


def last_tick(score: Score) -> int:
    """Where the last note ends; 0 without notes."""
    ends = [0]
    for track in score.tracks:
        if len(track.notes):
            columns = track.notes.numpy()
            ends.append(int((columns["time"].astype(np.int64) + columns["duration"]).max()))
    return max(ends)


def bar_table(score: Score) -> BarTable:
    """All bars, as many as the notes need.

    A metre change in the middle of a bar cuts that bar. Raises ValueError for an absurd number of bars.
    """
    end, metres = last_tick(score), metre_map(score)
    upbeat = int(pickup(score) * score.tpq)
    starts: list[np.ndarray] = [np.zeros(1, np.int64)] if upbeat > 0 and end > 0 else []
    metre_of = [metres[0][1:]] * len(starts)
    counts = [1] * len(starts)
    for i, (at, numerator, denominator) in enumerate(metres):
        begin = max(at, upbeat)
        stop = min(metres[i + 1][0], end) if i + 1 < len(metres) else end
        if begin >= stop:
            continue
        bar = Fraction(4 * numerator * score.tpq, denominator)
        n = -(-(stop - begin) // bar)
        if n + sum(counts) > MAX_BARS:
            raise ValueError(f"the score would have more than {MAX_BARS:,} bars; its times make no sense")
        starts.append(begin + np.arange(n, dtype=np.int64) * bar.numerator // bar.denominator)
        metre_of.append((numerator, denominator))
        counts.append(int(n))
    return _assemble(starts, metre_of, counts, end=end, tpq=score.tpq, upbeat=upbeat)


def _assemble(
    starts: list[np.ndarray],
    metre_of: list[tuple[int, int]],
    counts: list[int],
    *,
    end: int,
    tpq: int,
    upbeat: int,
) -> BarTable:
    if not starts:
        nothing = np.zeros(0, np.int64)
        return BarTable(np.zeros(1, np.int64), nothing, nothing)
    start = np.concatenate(starts)
    pairs = np.repeat(np.array(metre_of, np.int64), counts, axis=0)
    full = -(-4 * int(pairs[-1, 0]) * tpq // int(pairs[-1, 1]))
    last = upbeat if upbeat and len(start) == 1 else int(start[-1]) + full
    return BarTable(np.append(start, max(last, end)), pairs[:, 0], pairs[:, 1], first_is_pickup=upbeat > 0)
