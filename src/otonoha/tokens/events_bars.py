"""The bars of a score in ticks of the `events` codec, and the tokens at their heads: metre, key, tempo.

A metre change in the middle of a bar cuts it; a metre that is stated again there does so too, and is nothing
at a bar line. A piece that is in 1/4 throughout counts as 4/4. Bars of more than 12
quarter notes are written in pieces. All is told up to the end of the last note.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from symusic import Score

from otonoha.music.markers import pickup
from otonoha.music.theory import Key
from otonoha.music.time import MAX_BARS, signatures
from otonoha.tokens.events_vocab import CUT, NUMBERS, OVER, PICKUP, QUARTERS, Layout, nearest_tempo
from otonoha.tokens.place import METRES

_PIECE = 8
"""Quarter notes of the pieces in which longer bars than the longest are written."""
Metre = tuple[int, int]
_INDEX = {metre: i for i, metre in enumerate(METRES)}


@dataclass(frozen=True, eq=False)
class Bars:
    """S stretches of equal bars of a piece: `tick` at which each begins (below 0 in front of a pick-up, as if its
    bar were whole), `length` of its bars, their `count`. `heads`: bar -> (symbol, tick) of what follows `Bar`.
    """

    tick: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    heads: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of bars."""
        return sum(self.count)

    @property
    def upbeat(self) -> int:
        """1 where the first bar is a pick-up, else 0."""
        return int(self.tick[0] < 0)

    def place(self, tick: int) -> tuple[int, int]:
        """Bar, and place in it."""
        s = bisect_right(self.tick, tick) - 1
        bar, position = divmod(tick - self.tick[s], self.length[s])
        return sum(self.count[:s]) + bar, position

    def add(self, tick: int, length: int, count: int) -> None:
        """Bars that follow: a stretch of their own, unless they are like those before."""
        if self.tick and self.length[-1] == length and self.tick[-1] + self.count[-1] * length == tick:
            self.count[-1] += count
        elif count:
            self.tick.append(tick)
            self.length.append(length)
            self.count.append(count)

    def start(self, bar: int) -> int:
        """The tick at which a bar begins."""
        s = 0
        while bar >= self.count[s]:
            bar, s = bar - self.count[s], s + 1
        return max(self.tick[s] + bar * self.length[s], 0)

    def tell(self, tick: int, symbols: Sequence[int]) -> None:
        """Symbols at the head of the bar that follows, and begins at `tick`."""
        self.heads.setdefault(self.total, []).extend([(symbol, tick) for symbol in symbols])


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


def nearest_tick(tick: int, tpq: int, resolution: int) -> int:
    """The same of one tick."""
    return (2 * resolution * tick + tpq) // (2 * tpq)


def bars_of(score: Score, layout: Layout, end: int, *, tempos: bool) -> Bars:
    """The bars up to tick `end` of the codec, at least one. ValueError for an absurd number of them."""
    metres = _metres(score, layout.resolution, end)
    upbeat = 0
    if any(m.text.startswith("pickup:") for m in score.markers):
        first = bar_length(*metres[0][1], layout.resolution)
        upbeat = round(pickup(score) * layout.resolution) % first
        if upbeat and first > QUARTERS * layout.resolution:  # too long for its place to be told: a cut bar
            metres = [metres[0], (upbeat, metres[0][1]), *(m for m in metres[1:] if m[0] > upbeat)]
            upbeat = 0
    bars = _stretches(metres, layout, end, upbeat)
    changes = _keys(score, layout, end) if len(score.key_signatures) else []
    if tempos and len(score.tempos):
        changes += _tempi(score, layout, end)
    _place(bars, changes, layout)
    return bars


def _metres(score: Score, resolution: int, end: int) -> list[tuple[int, Metre]]:
    """(tick, metre), the first at 0, each before `end`; impossible metres are left out."""
    found, tpq = {0: (4, 4)}, score.tpq
    for m in score.time_signatures:
        time, metre = m.time, (m.numerator, m.denominator)
        if time >= 0 and 0 < metre[0] <= 128 and 0 < metre[1] <= 128:
            found[nearest_tick(time, tpq, resolution)] = metre
    told = [(t, found[t]) for t in sorted(found) if t < end or not t]
    if found[0] == (1, 4) and all(metre == (1, 4) for _, metre in told):
        return [(0, (4, 4))]  # beats that a program counted: MIDI files are full of them
    return told


def _stretches(metres: list[tuple[int, Metre]], layout: Layout, end: int, upbeat: int) -> Bars:
    bars, stated, many = Bars(), metres[0][1], 0
    bars.tell(0, metre_tokens(layout, *stated))
    if upbeat:
        length = bar_length(*stated, layout.resolution)
        bars.tell(0, [PICKUP, layout.base["Pos"] + length - upbeat])
        bars.add(upbeat - length, length, 1)
    for i, (tick, metre) in enumerate(metres):
        begin = max(tick, upbeat)
        stop = min(metres[i + 1][0], end) if i + 1 < len(metres) else end
        if begin >= stop and (upbeat or i):
            continue
        if metre != stated:
            bars.tell(begin, metre_tokens(layout, *metre))
            stated = metre
        length = bar_length(*metre, layout.resolution)
        many += (stop - begin) // min(length, _PIECE * layout.resolution)
        if many > MAX_BARS:
            raise ValueError(f"the score would have more than {MAX_BARS:,} bars; its times make no sense")
        whole, rest = divmod(max(stop - begin, 1), length)
        if length > QUARTERS * layout.resolution:
            _long_bars(bars, layout, begin, stop, length, end)
        elif rest and stop < end:
            bars.add(begin, length, whole)
            bars.tell(stop - rest, [CUT, layout.base["Pos"] + rest])
            bars.add(stop - rest, rest, 1)
        else:
            bars.add(begin, length, whole + bool(rest))
    return bars


def _long_bars(bars: Bars, layout: Layout, begin: int, stop: int, length: int, end: int) -> None:
    """Bars that are longer than any place can say are written in pieces, each of them a cut bar."""
    tick = begin
    while tick < stop:
        piece = min(_PIECE * layout.resolution, length - (tick - begin) % length, stop - tick)
        cut = tick + piece < end
        if cut:
            bars.tell(tick, [CUT, layout.base["Pos"] + piece])
        bars.add(tick, piece if cut else length, 1)
        tick += piece


def _tempi(score: Score, layout: Layout, end: int) -> list[tuple[int, int]]:
    """(tick, symbol) of every change of the rounded tempo."""
    latest, tpq, first = {}, score.tpq, layout.base["Tempo"]
    columns = score.tempos.numpy()
    for tick, speed in zip(columns["time"].tolist(), columns["mspq"].tolist()):
        at = nearest_tick(tick, tpq, layout.resolution) if tick > 0 else 0
        if speed > 0 and (at < end or not at):
            latest[at] = first + _tempo(speed)
    return _distinct(latest)


@functools.lru_cache(maxsize=4096)
def _tempo(speed: int) -> int:
    """Which tempo is the nearest, of so many microseconds a quarter note."""
    return int(nearest_tempo(np.array(6e7 / speed)))


def _keys(score: Score, layout: Layout, end: int) -> list[tuple[int, int]]:
    """(tick, symbol) of every change of the key."""
    latest = {}
    for tick, signature in signatures(score):
        at = nearest_tick(tick, score.tpq, layout.resolution)
        if at < end or not at:
            latest[max(at, 0)] = layout.base["Key"] + _key(*signature)
    return _distinct(latest)


@functools.cache
def _key(sharps: int, minor: bool) -> int:
    return Key.from_signature(sharps, minor).index


def _distinct(latest: dict[int, int]) -> list[tuple[int, int]]:
    """(tick, token) in the order of time, without those that say again what holds."""
    found: list[tuple[int, int]] = []
    for tick in sorted(latest):
        if not found or found[-1][1] != latest[tick]:
            found.append((tick, latest[tick]))
    return found


def _place(bars: Bars, changes: list[tuple[int, int]], layout: Layout) -> None:
    """Put changes (tick, symbol) at the heads of their bars: in the order of time, each place said once."""
    before, now, place = 0, 0, -bars.tick[0]
    for tick, symbol in sorted(changes):
        if tick != before:
            before = tick
            bar, there = bars.place(tick)
            if there != (place if bar == now else 0):
                bars.heads.setdefault(bar, []).append((layout.base["Pos"] + there, tick))
            now, place = bar, there
        bars.heads.setdefault(now, []).append((symbol, tick))
