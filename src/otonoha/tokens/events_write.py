"""Scores -> symbols of the `events` codec: all notes of a batch of scores at once.

Axes: N notes, B bars (one more for each piece, at which its End stands), T symbols. Nearly all of the time goes
into passes over arrays, so they are few, small (32 bits) and free of comparison sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from symusic import Score

from otonoha.tokens.events_bars import Bars, bars_of, finished_head, places, ticks
from otonoha.tokens.events_instruments import DRUMS
from otonoha.tokens.events_vocab import END, LONGEST, MF, VELOCITY_EDGES, Layout

MAX_TRACKS = 32
_FAR = 2**30
"""Ticks beyond which 32 bits do not suffice."""


Heads = Callable[[int, int], dict[int, list[int]]]
"""Number of bars, and of those that are a pick-up (0 or 1) -> bar -> the symbols directly behind its `Bar`."""


@dataclass(frozen=True, eq=False)
class Written:
    """A piece without its header: (T,) `event` and `clock` in ticks; (B,) where the bars begin; the programs;
    the number of pick-up bars, 0 or 1.
    """

    event: np.ndarray
    clock: np.ndarray
    bars: np.ndarray
    programs: list[int]
    upbeat: int


@dataclass(frozen=True, eq=False)
class Played:
    """The notes of a batch in ticks of the codec: (N,) `onset`, `end`, `pitch`, `velocity` and `track`, a number
    that counts through the sounding tracks of all pieces. `programs`: those of each piece's tracks.
    """

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    track: np.ndarray
    programs: list[list[int]]

    def ends(self) -> list[int]:
        """The tick at which the last note of each piece ends."""
        if len(self.programs) == 1:
            return [int(self.end.max())]
        tracks = np.cumsum([0, *map(len, self.programs[:-1])])
        return np.maximum.reduceat(self.end, np.searchsorted(self.track, tracks)).tolist()


def played(scores: Sequence[Score], resolution: int) -> Played:
    """The notes of the sounding tracks, rounded to the grid; each lasts a tick at least."""
    programs, sizes, tracks, columns, scale = [], [], [], [], []
    for score in scores:
        found = [t for t in score.tracks if len(t.notes)]
        if not found:
            raise ValueError("there are no notes to encode")
        if len(found) > MAX_TRACKS:
            raise ValueError(
                f"the score has {len(found)} tracks with notes; at most {MAX_TRACKS} can be written"
            )
        programs.append([DRUMS if t.is_drum else int(t.program) for t in found])
        tracks += found
        scale += [score.tpq] * len(found)
    columns = [t.notes.numpy() for t in tracks]
    sizes = [len(c["time"]) for c in columns]
    time, length, pitch, velocity = (
        np.concatenate([c[name] for c in columns]) for name in ("time", "duration", "pitch", "velocity")
    )
    if time.min() < 0:
        raise ValueError(f"a note begins before the score does, at tick {time.min()}")
    if int(time.max()) + int(length.max()) >= _FAR:
        time = time.astype(np.int64)
    track = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)
    onset, end = _rounded(time, time + length, scale, sizes, resolution)
    np.maximum(end, onset + 1, out=end)
    if any(DRUMS in mine for mine in programs):
        drums = np.array([p == DRUMS for mine in programs for p in mine])[track]
        end[drums] = onset[drums] + 1
    return Played(onset, end, pitch.view(np.uint8), velocity, track, programs)


def _rounded(
    onset: np.ndarray, end: np.ndarray, scale: list[int], sizes: list[int], resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    if len(set(scale)) == 1:
        return ticks(onset, scale[0], resolution), ticks(end, scale[0], resolution)
    tpq = np.repeat(np.array(scale, np.int64), sizes)
    return tuple((2 * resolution * t + tpq) // (2 * tpq) for t in (onset, end))  # type: ignore[return-value]


def untangled(notes: Played) -> Played:
    """No two notes of a track and pitch sound together: each is cut where the next one begins, and of those that
    begin together the longest (then the loudest) stays. Sorted by track, pitch and onset.
    """
    notes = _in_time(notes)
    line = (notes.track << 7) + notes.pitch
    order = np.argsort(line, kind="stable")  # numbers of 16 bits are sorted in linear time
    again = _begin_together(line[order], notes.onset[order])
    if again.any():
        order = _without_twins(order, np.flatnonzero(again), notes)
    line, onset, end = line[order], notes.onset[order], notes.end[order]
    np.copyto(end[:-1], np.minimum(end[:-1], onset[1:]), where=line[1:] == line[:-1])
    return Played(onset, end, line & 127, notes.velocity[order], line >> 7, notes.programs)


def _in_time(notes: Played) -> Played:
    """The same, with the notes of each track in the order of their onsets, as nearly all files have them."""
    back = notes.onset[1:] < notes.onset[:-1]
    if not (back & (notes.track[1:] == notes.track[:-1])).any():
        return notes
    order = np.lexsort((notes.onset, notes.track))
    columns = ("onset", "end", "pitch", "velocity", "track")
    return replace(notes, **{name: getattr(notes, name)[order] for name in columns})


def _begin_together(line: np.ndarray, onset: np.ndarray) -> np.ndarray:
    """(N - 1,) bool: does the next note begin at the same time, with the same pitch in the same track?"""
    return (line[1:] == line[:-1]) & (onset[1:] == onset[:-1])


def _without_twins(order: np.ndarray, again: np.ndarray, notes: Played) -> np.ndarray:
    """An order of notes without those that begin together with a longer or louder one of their pitch."""
    order = order.copy()
    end, velocity = notes.end, notes.velocity
    for i in again.tolist():
        a, b = order[i], order[i + 1]
        if (end[a], velocity[a]) > (end[b], velocity[b]):
            order[i + 1] = a  # the best of them moves on to the end
    return np.delete(order, again)


class Axis:
    """All bars of a batch one after the other; each piece has one more, at which its End stands.

    (P,) `first`: a piece's first bar. (S,) stretches of equal bars: `tick` of its piece, `length`, `bar`;
    those of piece i begin with number `stretches[i]`. (B,)
    `start`: ticks of its piece; `origin`: the place in the bar at which it begins; `piece`; `head`: number of
    symbols before its notes.
    """

    def __init__(self, frames: list[Bars], layout: Layout) -> None:
        total = np.array([f.total + 1 for f in frames])
        self.first = np.cumsum(total) - total
        self.size = int(total.sum())
        stretch = [
            (number, tick, length, count + (s == len(f.tick) - 1), offset)
            for number, f in enumerate(frames)
            for s, (tick, length, count, offset) in enumerate(zip(f.tick, f.length, f.count, f.offset))
        ]
        self.stretches = np.cumsum([0, *(len(f.tick) for f in frames)]).tolist()
        number, self.tick, self.length, count, self.offset = np.array(stretch, np.int64).T
        self.bar = np.cumsum(count) - count
        within = np.arange(self.size) - np.repeat(self.bar, count)
        self.start = np.repeat(self.tick, count) + within * np.repeat(self.length, count)
        self.piece = np.repeat(number, count)
        self.upbeats = bool(self.offset.any())
        self.origin = np.repeat(self.offset, count)
        self.heads = [
            (int(first) + bar, finished_head(head, layout, f.offset[0] if bar == 0 else 0))
            for first, f in zip(self.first, frames)
            for bar, head in f.heads.items()
        ]
        self.head = np.ones(self.size, np.int64)
        self.head[[bar for bar, _ in self.heads]] += [len(head) for _, head in self.heads]

    def bars(self, piece: int, onset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bar (of all), and place in it, of notes of one piece."""
        first, last = self.stretches[piece], self.stretches[piece + 1]
        if last - first == 1:
            length, offset = int(self.length[first]), int(self.offset[first])
            bar = onset // length
            return bar + int(self.bar[first]), onset - bar * length + offset
        stretch = np.searchsorted(self.tick[first:last], onset, side="right") + (first - 1)
        within, place = np.divmod(onset - self.tick[stretch], self.length[stretch])
        return within + self.bar[stretch], place + self.offset[stretch]


@dataclass(frozen=True, eq=False)
class _Rows:
    """What is written, in order: a row is a note, or an empty cell (`note` −1). `cell`: a new cell begins here;
    `moved`: so does a new place.
    """

    note: np.ndarray
    bar: np.ndarray
    track: np.ndarray
    place: np.ndarray
    cell: np.ndarray
    moved: np.ndarray


def rows_of(notes: Played, axis: Axis) -> _Rows:
    """The notes sorted by bar, track, place, and from the highest down; with the silent copies."""
    width = max(map(len, notes.programs))
    small = axis.size * width < 1 << 16  # such numbers are sorted in linear time
    cell, place = _cells(notes, axis, width)
    empty = _silent_copies(notes.programs, axis, cell, width)
    # From the last note to the first pitches fall; two sorts that keep what is in order do the rest.
    cell, place = cell[::-1], place[::-1].astype(np.uint16)
    if len(empty):
        cell, place = np.append(cell, empty), np.append(place, np.zeros(len(empty), np.uint16))
    cell = cell.astype(np.uint16 if small else np.int64)
    order = np.argsort(place, kind="stable")
    order = order[np.argsort(cell[order], kind="stable")]
    cell, place = cell[order], place[order]
    begins, moved = np.ones(len(order), bool), np.ones(len(order), bool)
    np.not_equal(cell[1:], cell[:-1], out=begins[1:])
    np.not_equal(place[1:], place[:-1], out=moved[1:])
    moved |= begins
    bar = cell // width
    track = cell - bar * cell.dtype.type(width)
    note = np.maximum(len(notes.onset) - 1 - order, -1)
    return _Rows(note, bar.astype(np.intp), track, place, begins, moved)


def _cells(notes: Played, axis: Axis, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each note: the number of its cell (bar · width + track of the piece), and its place in the bar."""
    before = np.cumsum([0, *map(len, notes.programs)])
    edges = np.searchsorted(notes.track, before).tolist()
    cells, places = [], []
    for piece, (a, b) in enumerate(pairwise(edges)):
        bar, place = axis.bars(piece, notes.onset[a:b])
        bar *= width
        bar += notes.track[a:b]
        cells.append(bar - int(before[piece]))
        places.append(place)
    return np.concatenate(cells), np.concatenate(places)


def _silent_copies(programs: list[list[int]], axis: Axis, cell: np.ndarray, width: int) -> np.ndarray:
    """Cells without notes that are written, because a later track of the same program has notes in that bar."""
    if all(len(set(p)) == len(p) for p in programs):
        return np.zeros(0, np.int64)
    heard = np.zeros((axis.size, width), bool)
    heard.ravel()[cell] = True
    needed = heard.copy()
    edges = np.append(axis.first, axis.size).tolist()
    for mine, begin, stop in zip(programs, edges[:-1], edges[1:]):
        later: dict[int, int] = {}
        for track in range(len(mine) - 1, -1, -1):
            if mine[track] in later:
                needed[begin:stop, track] |= needed[begin:stop, later[mine[track]]]
            later[mine[track]] = track
    return np.flatnonzero((needed & ~heard).ravel())


def symbols(
    notes: Played, axis: Axis, rows: _Rows, layout: Layout, *, velocities: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) symbols and clock in ticks of each piece, (B,) where the bars begin; without the bars' own symbols."""
    base, whole = layout.base, 4 * layout.resolution
    real = rows.note >= 0
    length, symbol, says_length = _what(notes, rows, real, base)
    says_place = rows.moved & real
    says_place &= ~rows.cell | (rows.place != (axis.origin[rows.bar] if axis.upbeats else 0))
    loud, level = _loud(notes, rows, real) if velocities else (np.zeros(0, np.int64),) * 2
    at = np.flatnonzero(says_length)
    told = length[at]
    long = at[told > whole] if len(told) and told.max() > whole else at[:0]
    extra = (length[long] - 1) // whole
    count = rows.cell.view(np.int8) + real.view(np.int8)
    count += says_place.view(np.int8)
    count += says_length.view(np.int8)
    count[loud] += 1
    count = count.astype(np.intp)  # indices of this type are the quickest
    count[long] += -(-extra // LONGEST)
    stop = np.cumsum(count)
    heads = np.cumsum(axis.head)
    bar_begin = _tokens_before(rows.bar, stop, axis.size) + heads - axis.head
    event = np.empty(int(stop[-1] + heads[-1]), np.int32)
    stop += heads[rows.bar]
    begin = stop - count
    event[stop - 1] = symbol
    if len(long):
        told = (told - 1) % whole + 1
    event[stop[at] - 2] = told + np.int32(base["Dur"])
    cells = np.flatnonzero(rows.cell)
    event[begin[cells]] = _programs(notes, axis, rows, cells) + np.int32(base["Program"])
    at = np.flatnonzero(says_place)
    event[begin[at] + rows.cell[at]] = rows.place[at] + np.int32(base["Pos"])
    event[begin[loud] + rows.cell[loud] + says_place[loud]] = level + np.int32(base["Vel"])
    _write_long(event, stop[long] - 3, extra, base["Long"])
    onset = notes.onset[rows.note]
    clock = np.zeros(len(event), onset.dtype)
    clock[begin[1:]] = onset[1:] - onset[:-1]
    clock[0] = onset[0]
    np.cumsum(clock, out=clock)
    clock[begin[cells]] = axis.start[rows.bar[cells]]
    return event, clock, bar_begin


def _tokens_before(bar: np.ndarray, stop: np.ndarray, size: int) -> np.ndarray:
    """(B,) number of symbols of notes before each bar."""
    last = np.append(np.flatnonzero(bar[1:] != bar[:-1]), len(bar) - 1)
    inside = np.zeros(size + 1, np.intp)
    inside[bar[last] + 1] = np.diff(stop[last], prepend=0)
    return np.cumsum(inside)[:-1]


def _what(
    notes: Played, rows: _Rows, real: np.ndarray, base: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: length in ticks, symbol of the pitch, whether the length must be said."""
    length = (notes.end - notes.onset)[rows.note]
    symbol = (notes.pitch + np.int32(base["Pitch"]))[rows.note]
    says = rows.cell.copy()
    says[1:] |= length[1:] != length[:-1]
    says &= real
    drums = np.array([p == DRUMS for programs in notes.programs for p in programs])
    if drums.any():
        struck = drums[notes.track[rows.note]]
        symbol[struck] += base["Drum"] - base["Pitch"]
        says &= ~struck
    return length, symbol, says


def _loud(notes: Played, rows: _Rows, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows at which the loudness changes, and its symbol: the highest note of a place speaks for all."""
    place = np.flatnonzero(rows.moved & real)
    velocity = notes.velocity[rows.note[place]]
    level = np.zeros(len(place), np.int8)
    for edge in VELOCITY_EDGES:
        level += velocity >= edge
    before = np.full(len(place), MF, np.int8)
    np.copyto(before[1:], level[:-1], where=~rows.cell[place[1:]])
    changed = np.flatnonzero(level != before)
    return place[changed], level[changed].astype(np.int32)


def _programs(notes: Played, axis: Axis, rows: _Rows, cells: np.ndarray) -> np.ndarray:
    """The program of each new cell."""
    programs = np.array([p for programs in notes.programs for p in programs], np.int32)
    if len(notes.programs) == 1:
        return programs[rows.track[cells]]
    count = np.array([len(p) for p in notes.programs])
    return programs[(np.cumsum(count) - count)[axis.piece[rows.bar[cells]]] + rows.track[cells]]


def _write_long(event: np.ndarray, last: np.ndarray, extra: np.ndarray, base: int) -> None:
    """Before a length: so many whole notes more, the greatest symbols first; `last` is where the last one stands."""
    if not len(last):
        return
    event[last] = (extra - 1) % LONGEST + 1 + base
    for row in np.flatnonzero(extra > LONGEST).tolist():
        number = (int(extra[row]) - 1) // LONGEST
        event[last[row] - number : last[row]] = LONGEST + base


def write(
    scores: Sequence[Score],
    layout: Layout,
    heads: Sequence[Heads],
    *,
    velocities: bool,
    tempos: bool,
) -> list[Written]:
    """The bars of each score, from the first `Bar` to `End`. `heads` say what the bars tell of the form."""
    notes = untangled(played(scores, layout.resolution))
    frames = [bars_of(s, layout, e, tempos=tempos) for s, e in zip(scores, notes.ends())]
    for frame, head in zip(frames, heads):
        for bar, tokens in head(frame.total, frame.upbeat).items():
            frame.heads[bar] = [*tokens, *frame.heads.get(bar, [])]
    axis = Axis(frames, layout)
    event, clock, begin = symbols(notes, axis, rows_of(notes, axis), layout, velocities=velocities)
    event[begin] = layout.base["Bar"]
    event[begin[np.append(axis.first[1:], axis.size) - 1]] = END
    clock[begin] = axis.start
    for bar, tokens in axis.heads:
        at = slice(begin[bar] + 1, begin[bar] + 1 + len(tokens))
        event[at] = tokens
        clock[at] = axis.start[bar] - axis.origin[bar] + places(tokens, layout, int(axis.origin[bar]))
    edges = [*begin[axis.first].tolist(), len(event)]
    bars = [*axis.first.tolist(), axis.size]
    return [
        Written(event[i:j], clock[i:j], begin[a : b - 1] - i, programs, frame.upbeat)
        for i, j, a, b, programs, frame in zip(
            edges[:-1], edges[1:], bars[:-1], bars[1:], notes.programs, frames
        )
    ]
