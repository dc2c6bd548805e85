"""The bars of a score in ticks of the `events` codec, and the tokens at their heads: metre, key, tempo.

A metre change in the middle of a bar cuts it; a metre that is stated again there does so too, and is nothing
at a bar line. A piece that is in 1/4 throughout counts as 4/4. Bars of more than 12
quarter notes are written in pieces. All is told up to the end of the last note.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from symusic import Score

from otonoha.music.markers import pickup
from otonoha.music.time import key_map
from otonoha.tokens.events_vocab import CUT, NUMBERS, OVER, PICKUP, QUARTERS, Layout, nearest_tempo
from otonoha.tokens.place import METRES

_PIECE = 8
"""Quarter notes of the pieces in which longer bars than the longest are written."""
_INDEX = {metre: i for i, metre in enumerate(METRES)}


@dataclass(frozen=True, eq=False)
class Bars:
    """S stretches of equal bars of a piece: `tick` at which each begins, `length` of its bars, their `count`, and
    `offset`, the place in the bar at which it begins (not 0 in a pick-up alone). `heads`: bar -> the tokens that
    follow `Bar`.
    """

    tick: list[int]
    length: list[int]
    count: list[int]
    offset: list[int]
    heads: dict[int, list[int]]

    @property
    def total(self) -> int:
        """Number of bars."""
        return sum(self.count)

    @property
    def upbeat(self) -> int:
        """1 where the first bar is a pick-up, else 0."""
        return int(self.offset[0] > 0)

    def place(self, tick: int) -> tuple[int, int]:
        """Bar, and place in it."""
        s = max(i for i, begin in enumerate(self.tick) if begin <= tick or i == 0)
        bar, position = divmod(tick - self.tick[s], self.length[s])
        return sum(self.count[:s]) + bar, position + self.offset[s]


def bar_length(numerator: int, denominator: int, resolution: int) -> int:
    """Ticks of a bar, rounded up."""
    return -(-4 * resolution * numerator // denominator)


@functools.lru_cache(maxsize=1024)
def metre_tokens(layout: Layout, numerator: int, denominator: int) -> list[int]:
    """One token for a metre of the table, two for others. ValueError for what cannot be written."""
    if (numerator, denominator) in _INDEX:
        return [layout.id("Metre", _INDEX[numerator, denominator])]
    if denominator not in OVER or not 1 <= numerator <= NUMBERS:
        raise ValueError(
            f"the metre {numerator}/{denominator} cannot be written: it must have at most {NUMBERS} beats, "
            f"each one of 1/{', 1/'.join(map(str, OVER))}"
        )
    return [layout.id("Over", OVER.index(denominator)), layout.id("Num", numerator)]


def ticks(values: np.ndarray, tpq: int, resolution: int) -> np.ndarray:
    """Ticks of a score -> nearest ticks of the codec; halves go up."""
    if tpq == resolution:
        return values
    if tpq % (2 * resolution) == 0:  # the usual case, and the quickest
        step = tpq // resolution
        return (values + step // 2) // step
    return (2 * resolution * values.astype(np.int64) + tpq) // (2 * tpq)


def bars_of(score: Score, layout: Layout, end: int, *, tempos: bool) -> Bars:
    """The bars up to tick `end` of the codec, at least one."""
    metres = _metres(score, layout.resolution, end)
    first = bar_length(*metres[0][1], layout.resolution)
    marked = len(score.markers) and any(m.text.startswith("pickup:") for m in score.markers)
    upbeat = round(pickup(score) * layout.resolution) % first if marked else 0
    if upbeat and first > QUARTERS * layout.resolution:  # too long for its place to be told: a cut bar
        metres = [metres[0], (upbeat, metres[0][1]), *(m for m in metres[1:] if m[0] > upbeat)]
        upbeat = 0
    bars = _stretches(metres, layout, end, upbeat, first)
    if len(score.key_signatures):
        _add(bars, _keys(score, layout, end))
    if tempos and len(score.tempos):
        _add(bars, _tempi(score, layout, end))
    return bars


def _metres(score: Score, resolution: int, end: int) -> list[tuple[int, tuple[int, int]]]:
    """(tick, metre), the first at 0, each before `end`; impossible metres are left out."""
    found: dict[int, tuple[int, int]] = {}
    for m in score.time_signatures:
        if m.time >= 0 and 0 < m.numerator <= 128 and 0 < m.denominator <= 128:
            tick = (2 * resolution * m.time + score.tpq) // (2 * score.tpq)
            found[tick] = (m.numerator, m.denominator)
    found.setdefault(0, (4, 4))
    told = [(t, found[t]) for t in sorted(found) if t < end or not t]
    if all(metre == (1, 4) for _, metre in told):  # beats that a program counted: MIDI files are full of them
        return [(0, (4, 4))]
    return told


def _stretches(
    metres: list[tuple[int, tuple[int, int]]], layout: Layout, end: int, upbeat: int, first: int
) -> Bars:
    bars = Bars([], [], [], [], {0: list(metre_tokens(layout, *metres[0][1]))})
    if upbeat:
        _append(bars, 0, upbeat, 1, first - upbeat)
        bars.heads[0] += [PICKUP, layout.base["Pos"] + first - upbeat]
    stated = metres[0][1]
    for i, (tick, metre) in enumerate(metres):
        begin = max(tick, upbeat)
        stop = min(metres[i + 1][0], end) if i + 1 < len(metres) else end
        if begin >= stop and (upbeat or i):
            continue
        length = bar_length(*metre, layout.resolution)
        whole, rest = divmod(max(stop - begin, 1), length)
        if metre != stated:
            bars.heads.setdefault(bars.total, []).extend(metre_tokens(layout, *metre))
            stated = metre
        if length > QUARTERS * layout.resolution:
            _long_bars(bars, layout, begin, stop, length, end)
        elif rest and stop < end:
            _append(bars, begin, length, whole, 0)
            bars.heads.setdefault(bars.total, []).extend([CUT, layout.base["Pos"] + rest])
            _append(bars, begin + whole * length, rest, 1, 0)
        else:
            _append(bars, begin, length, whole + bool(rest), 0)
    return bars


def _long_bars(bars: Bars, layout: Layout, begin: int, stop: int, length: int, end: int) -> None:
    """Bars that are longer than any place can say are written in pieces, each of them a cut bar."""
    tick = begin
    while tick < stop:
        piece = min(_PIECE * layout.resolution, length - (tick - begin) % length, stop - tick)
        cut = tick + piece < end
        if cut:
            bars.heads.setdefault(bars.total, []).extend([CUT, layout.base["Pos"] + piece])
        _append(bars, tick, piece if cut else length, 1, 0)
        tick += piece


def _append(bars: Bars, tick: int, length: int, count: int, offset: int) -> None:
    if count:
        for column, value in zip(
            (bars.tick, bars.length, bars.count, bars.offset), (tick, length, count, offset)
        ):
            column.append(value)


def _tempi(score: Score, layout: Layout, end: int) -> list[tuple[int, int]]:
    """(tick, token) of every change of the rounded tempo."""
    if len(score.tempos) == 1 and score.tempos[0].time <= 0 < score.tempos[0].qpm:  # nearly every file
        return [(0, layout.base["Tempo"] + _nearest(score.tempos[0].qpm))]
    columns = score.tempos.numpy()
    at = ticks(np.maximum(columns["time"], 0), score.tpq, layout.resolution).tolist()
    speed = columns["mspq"]
    which = nearest_tempo(6e7 / np.maximum(speed, 1)).tolist()
    valid = {
        t: layout.base["Tempo"] + k
        for t, k, s in zip(at, which, speed.tolist())
        if s > 0 and (t < end or not t)
    }
    return _distinct(valid)


@functools.lru_cache(maxsize=4096)
def _nearest(qpm: float) -> int:
    return int(nearest_tempo(np.array(qpm)))


def _keys(score: Score, layout: Layout, end: int) -> list[tuple[int, int]]:
    """(tick, token) of every change of the key."""
    latest = {}
    for tick, key in key_map(score):
        at = (2 * layout.resolution * tick + score.tpq) // (2 * score.tpq)
        if at < end or not at:
            latest[max(at, 0)] = layout.base["Key"] + key.index
    return _distinct(latest)


def _distinct(latest: dict[int, int]) -> list[tuple[int, int]]:
    """(tick, token) in the order of time, without those that say again what holds."""
    found: list[tuple[int, int]] = []
    for tick in sorted(latest):
        if not found or found[-1][1] != latest[tick]:
            found.append((tick, latest[tick]))
    return found


def _add(bars: Bars, changes: list[tuple[int, int]]) -> None:
    """Put tokens with their places at the heads of the bars; see `merge_places` for the order."""
    for tick, token in changes:
        bar, position = bars.place(tick)
        bars.heads.setdefault(bar, []).append(-1 - position)
        bars.heads[bar].append(token)


def finished_head(head: list[int], layout: Layout, offset: int) -> list[int]:
    """A head with places (-1 - position, token) -> its tokens: sorted by place, each place said once."""
    marked = [i for i, token in enumerate(head) if token < 0]
    if not marked:
        return head
    plain = head[: marked[0]]
    placed = sorted((-1 - head[i], head[i + 1]) for i in marked)
    now = offset
    for position, token in placed:
        if position != now:
            plain.append(layout.base["Pos"] + position)
            now = position
        plain.append(token)
    return plain


def places(head: list[int], layout: Layout, origin: int) -> list[int]:
    """The place in the bar at which each symbol of a head stands."""
    pos, now, found = layout.ids("Pos"), origin, []
    for i, token in enumerate(head):
        if token in pos and not (i and head[i - 1] in (CUT, PICKUP)):
            now = token - layout.base["Pos"]
        found.append(now)
    return found
