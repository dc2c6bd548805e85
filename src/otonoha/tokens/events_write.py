"""Scores -> symbols of the `events` codec: all notes of a batch of scores at once.

What is written stands in rows: a note with the symbols that it needs before it, or one symbol that is no note (of a
header, of a bar, a silent copy's program, End). The rows are sorted, a table of rows × kinds says what each of them
writes, and the table is read line by line.

The limit. A note is 10 bytes and becomes some 3 symbols of 12 bytes, which is nothing; the time goes into passes of
numpy, here about 60 of 0.2 to 1 ns a note. Keys of 8 or 16 bits are sorted in linear time (3 ns a note); comparison
sorts and selections by mask cost ten times that, so there are none. What numpy cannot give: symusic hands its notes
out at 15 to 20 ns each, and metres, keys and tempi are Python objects, 20 to 30 µs a piece.

Axes: N notes, R rows, T symbols; P pieces; L slots: the bars of all pieces, and for each piece one more before them,
for its header, and one after them, for its End. A cell is slot · `width` + column; column 0 is that of the slot
itself, 1 that of the first track.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from symusic import Score

from otonoha.tokens.events_bars import Bars, bars_of
from otonoha.tokens.events_header import Header, header_tokens
from otonoha.tokens.events_played import MAX_TRACKS, Played, played
from otonoha.tokens.events_repeats import counted, form_heads
from otonoha.tokens.events_vocab import BEGIN, END, LONGEST, MF, VELOCITY_EDGES, Layout

__all__ = ["MAX_TRACKS", "Written", "write"]

_PROGRAM, _POS, _VEL, _LONG, _DUR, _ALONE = _KINDS = range(6)
"""What a row may write, in this order."""
_LEVEL = np.searchsorted(VELOCITY_EDGES, np.arange(256), side="right").astype(np.int32)


@dataclass(frozen=True, eq=False)
class Written:
    """A piece: (T,) `event` and `clock` in quarter notes; the number of pick-up bars, 0 or 1."""

    event: np.ndarray
    clock: np.ndarray
    upbeat: int


def write(
    scores: Sequence[Score], headers: Sequence[Header], layout: Layout, *, velocities: bool, tempos: bool
) -> list[Written]:
    """Each score from Begin to End."""
    notes = played(scores, layout.resolution)
    frames = [bars_of(s, layout, end, tempos=tempos) for s, end in zip(scores, notes.ends())]
    for frame, header in zip(frames, headers):
        _tell_form(frame, header, layout)
    axis = _Axis(frames, notes.programs, layout)
    rows = _rows(notes, axis, headers, layout)
    loud = _loudness(rows, notes.velocity) if velocities else None
    event, clock = _symbols(rows, axis, layout, loud)
    edges = [*np.flatnonzero(event == BEGIN).tolist(), len(event)]
    clock = clock / layout.resolution
    return [Written(event[a:b], clock[a:b], frame.upbeat) for a, b, frame in zip(edges, edges[1:], frames)]


def _tell_form(frame: Bars, header: Header, layout: Layout) -> None:
    """Put the sections first at the heads of their bars. ValueError if they are more or fewer than there are."""
    if header.form is None:
        return
    asked, bars = sum(s.bars for s in header.form), frame.total - frame.upbeat
    if asked != bars:
        raise ValueError(f"the sections have {asked} bars, the music has {bars}")
    for bar, symbols in form_heads(header.form, layout, frame.upbeat).items():
        tick = frame.start(bar)
        frame.heads[bar] = [*((symbol, tick) for symbol in symbols), *frame.heads.get(bar, [])]


class _Axis:
    """All that is written but notes. (L,) `origin`: the tick at which each bar begins, below 0 in front of a
    pick-up as if its bar were whole; `start`: the same, but not below 0. (P,) `first` and `last`: the slots of each
    piece's header and End.
    """

    def __init__(self, frames: list[Bars], programs: list[tuple[int, ...]], layout: Layout) -> None:
        self._frames, self._programs, self._layout = frames, programs, layout
        self.width = 1 + max(map(len, programs))
        sizes = [frame.total + 2 for frame in frames]
        self.size = sum(sizes)
        self.last = np.cumsum(sizes) - 1
        self.first = self.last - sizes + 1
        self._piece = np.repeat(np.arange(len(sizes)), sizes)
        tick, length, count = [], [], []
        for frame in frames:  # the slots before and after are bars of the first and of the last stretch
            tick += [frame.tick[0] - frame.length[0], *frame.tick[1:]]
            length += frame.length
            count += [1 + frame.count[0], *frame.count[1:]]
            count[-1] += 1
        begin = np.cumsum(count, dtype=np.int64) - count
        self.origin = np.repeat(tick - begin * length, count)
        self.origin += np.arange(self.size) * np.repeat(length, count)
        self.start = np.maximum(self.origin, 0)

    def slots(self, notes: Played) -> np.ndarray:
        """(N,) slot of each note."""
        found = np.empty(len(notes.onset), np.int32)
        places = zip(pairwise(notes.edges), self._frames, self.first.tolist(), self.last.tolist())
        for (a, b), frame, first, last in places:
            onset, begin = notes.onset[a:b], frame.tick[0] - frame.length[0]
            if len(frame.tick) == 1:
                length = frame.length[0]
                np.floor_divide(onset - (begin - first * length), length, out=found[a:b])
            else:  # bars of several lengths: their slots by steps that all of them share
                step = math.gcd(*frame.length, *(tick - begin for tick in frame.tick))
                count = np.diff(self.origin[first : last + 1]) // step
                found[a:b] = np.repeat(np.arange(first, last), count).take((onset - begin) // step)
        return found

    @functools.cached_property
    def programs(self) -> np.ndarray:
        """(L · width,) the symbol of each cell's track."""
        table = np.zeros((len(self._programs), self.width), np.int32)
        for row, mine in zip(table, self._programs):
            row[1 : 1 + len(mine)] = mine
        table += self._layout.base["Program"]
        return table.take(self._piece, axis=0).ravel()

    def bars(self, headers: Sequence[Header]) -> np.ndarray:
        """(L,) the symbols with which the slots begin: Begin, a `Bar` for each bar, End."""
        left = self.last.take(self._piece) - np.arange(self.size)
        if not all(header.countdown for header in headers):
            left *= np.array([header.countdown for header in headers]).take(self._piece)
        symbols = counted(left, self._layout)
        symbols[self.first] = BEGIN
        symbols[self.last] = END
        return symbols

    def heads(self, headers: Sequence[Header]) -> np.ndarray:
        """(3, H) slot, symbol and tick of what follows there: the headers; metre, key, tempo of bars."""
        slot, symbol, tick = [], [], []
        for frame, header, mine, first in zip(self._frames, headers, self._programs, self.first.tolist()):
            said = _said(self._layout, header, mine)
            slot += [first] * len(said)
            symbol += said
            tick += [0] * len(said)
            for bar, head in frame.heads.items():
                slot += [first + 1 + bar] * len(head)
                symbol += [s for s, _ in head]
                tick += [t for _, t in head]
        return np.array([slot, symbol, tick])

    def silent_copies(self, cell: np.ndarray) -> np.ndarray:
        """Cells without notes that are written, because a later track of the same program has notes in that bar.
        `cell`: those of the notes.
        """
        copies = [_copies(mine) for mine in self._programs]
        pairs = sorted({pair for mine in copies for pair in mine}, reverse=True)
        if not pairs:
            return np.zeros(0, np.int64)
        heard = np.zeros((self.size, self.width), bool)
        heard.ravel()[cell] = True
        needed = heard.copy()
        for track, later in pairs:  # from the last tracks to the first
            has = np.array([(track, later) in mine for mine in copies]).take(self._piece)
            needed[:, 1 + track] |= needed[:, 1 + later] & has
        return np.flatnonzero(needed > heard)


@functools.lru_cache(maxsize=1024)
def _said(layout: Layout, header: Header, programs: tuple[int, ...]) -> list[int]:
    """The header behind its Begin."""
    return header_tokens(layout, header, programs)[1:]


@functools.lru_cache(maxsize=1024)
def _copies(programs: tuple[int, ...]) -> list[tuple[int, int]]:
    """(track, the next one of the same program), the last ones first."""
    later: dict[int, int] = {}
    found = []
    for track in range(len(programs) - 1, -1, -1):
        if programs[track] in later:
            found.append((track, later[programs[track]]))
        later[programs[track]] = track
    return found


@dataclass(frozen=True, eq=False)
class _Rows:
    """(R,) what is written, in order: number of the `note` (not less than N: no note), `cell`, `place` in the bar,
    `tick`, `length` (0: none is said), `symbol`; whether a note begins a `new` cell, or has `moved` to a new place.
    """

    note: np.ndarray
    cell: np.ndarray
    place: np.ndarray
    tick: np.ndarray
    length: np.ndarray
    symbol: np.ndarray
    new: np.ndarray
    moved: np.ndarray


def _rows(notes: Played, axis: _Axis, headers: Sequence[Header], layout: Layout) -> _Rows:
    """The notes by cell, place, and from the highest down; each slot's own symbols before its notes."""
    slot = axis.slots(notes)
    place = (notes.onset - axis.origin.astype(notes.onset.dtype).take(slot)).astype(np.uint16)
    cell = slot * axis.width + notes.column
    silent = axis.silent_copies(cell)
    head_slot, head_symbol, head_tick = axis.heads(headers)
    slots = np.concatenate([np.arange(axis.size), head_slot])
    cell = np.concatenate([cell, slots * axis.width, silent], dtype=np.int32)
    count, most = len(notes.onset), len(cell)
    nothing = np.zeros(most - count, np.uint16)
    begin = axis.start.take(silent // axis.width)
    tick = np.concatenate([notes.onset, axis.start, head_tick, begin], dtype=notes.onset.dtype)
    programs = axis.programs.take(silent)
    symbol = np.concatenate(
        [notes.symbols(layout), axis.bars(headers), head_symbol, programs], dtype=np.int32
    )
    length = np.concatenate([notes.lengths(), nothing])
    place = np.concatenate([place, nothing])
    order = np.concatenate([notes.order, np.arange(count, most)])
    order = order.take(np.argsort(place.take(order), kind="stable"))
    order, cell = _sorted(order, cell, axis.size * axis.width)
    place = place.take(order)
    real = order < count
    new = _differs(cell)
    moved = (_differs(place) | new) & real
    new &= real
    return _Rows(order, cell, place, tick.take(order), length.take(order), symbol.take(order), new, moved)


def _sorted(order: np.ndarray, key: np.ndarray, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """The order by keys below `stop`, and the keys in it; what has the same key stays in order. Numbers of 16 bits
    are sorted in linear time, so these are the digits.
    """
    key = key.take(order)
    for shift in range(0, (stop - 1).bit_length(), 16):
        by = np.argsort((key >> shift).astype(np.uint16), kind="stable")
        order, key = order.take(by), key.take(by)
    return order, key


def _differs(values: np.ndarray) -> np.ndarray:
    """(R,) bool: is each another one than the one before? The first is."""
    found = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _loudness(rows: _Rows, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows at which the loudness changes, and its level: the highest note of a place speaks for all."""
    at = np.flatnonzero(rows.moved)
    level = _LEVEL.take(velocity.take(rows.note.take(at)))
    before = np.full(len(at), MF, np.int32)
    before[1:] = level[:-1]
    np.copyto(before, MF, where=rows.new.take(at))
    changed = np.flatnonzero(level != before)
    return at.take(changed), level.take(changed)


def _symbols(
    rows: _Rows, axis: _Axis, layout: Layout, loud: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """(T,) symbols, and clock in ticks."""
    base, whole, shape = layout.base, 4 * layout.resolution, (len(rows.note), len(_KINDS))
    said, symbol = np.zeros(shape, bool), np.empty(shape, np.int32)
    said[:, _POS] = rows.moved
    said[:, _DUR] = (_differs(rows.length) | rows.new) & (rows.length > 0)
    said[:, _ALONE] = True
    symbol[:, _ALONE] = rows.symbol
    np.add(rows.place, base["Pos"], out=symbol[:, _POS])
    np.add(rows.length, base["Dur"], out=symbol[:, _DUR])
    new = np.flatnonzero(rows.new)
    cell = rows.cell.take(new)
    begin = axis.start[cell // axis.width]
    said[new, _PROGRAM] = True
    symbol[new, _PROGRAM] = -axis.programs.take(cell)  # marked, until its clock is set
    said[new, _POS] = rows.tick.take(new) != begin
    if loud:
        said[loud[0], _VEL] = True
        symbol[loud[0], _VEL] = loud[1] + base["Vel"]
    long = np.flatnonzero(rows.length > whole)
    extra, rest = np.divmod(rows.length[long] - 1, whole)
    said[long, _LONG] = said[long, _DUR]
    symbol[long, _LONG] = (extra - 1) % LONGEST + 1 + base["Long"]
    symbol[long, _DUR] = rest + 1 + base["Dur"]
    told = np.flatnonzero(said)
    row = told // len(_KINDS)
    event, clock = symbol.take(told), rows.tick.take(row)
    marked = np.flatnonzero(event < 0)
    event[marked] *= -1
    clock[marked] = begin  # not where its note stands, but where its bar begins
    if len(long) and extra.max() > LONGEST:
        more = (extra - 1) // LONGEST * said[long, _LONG]
        at = np.repeat(row.searchsorted(long, side="right") - 3, more)
        event, clock = np.insert(event, at, base["Long"] + LONGEST), np.insert(clock, at, clock[at])
    return event, clock
