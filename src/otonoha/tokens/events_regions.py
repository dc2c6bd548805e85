"""Cells of the `events` codec taken apart and put together: regions to fill, added tracks and bars, slices.

An infill sequence is `… Program Fill k … Sep {Fill k content EndFill}`: the piece with its asked cells cut out,
then their contents in the order of bars and tracks (Bavarian et al. 2022 and Du et al. 2022 reorder spans of text
in the same way). Cutting and filling are exact inverses of one another; other cells are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from otonoha.tokens.events_read import body_of, cells_of, families, tracks_of
from otonoha.tokens.events_repeats import bar_spans, expand
from otonoha.tokens.events_vocab import CUT, END_FILL, ENSEMBLE, FILLS, PICKUP, SEP, Layout


@dataclass(frozen=True, eq=False)
class Parts:
    """A piece taken apart: `head` (Begin … Start), for each bar its head and its cells by track, `tail` (End or
    nothing), the programs of all `tracks`. A cell's content is what follows its `Program`.
    """

    head: np.ndarray
    bars: list[tuple[np.ndarray, dict[int, np.ndarray]]]
    tail: np.ndarray
    tracks: list[int]


@dataclass(frozen=True, eq=False)
class Cells:
    """(C,) bar and track of every written cell, and the span start … stop - 1 of its content in the symbols."""

    bar: np.ndarray
    track: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    programs: list[int] = field(default_factory=list)


def cells(event: np.ndarray, layout: Layout) -> Cells:
    """All cells of symbols without repeats."""
    begin = body_of(event)
    body = event[begin:]
    index, track, programs = cells_of(body, layout, tracks_of(event, layout))
    bars, stop = bar_spans(event, layout)
    bar = np.searchsorted(bars, index + begin, side="right") - 1
    end = np.minimum(np.append(index[1:] + begin, len(event))[: len(index)], stop[bar] if len(index) else 0)
    return Cells(bar, track, index + begin + 1, end, programs)


def apart(event: np.ndarray, layout: Layout) -> Parts:
    """Take symbols without `Sep` apart; repeats are written out. ValueError where tracks are not declared."""
    _check_declared(event)
    event = expand(event, layout)[0]
    found = cells(event, layout)
    begin, stop = bar_spans(event, layout)
    if not len(begin):
        raise ValueError("there are no bars in these tokens")
    edges = np.searchsorted(found.bar, np.arange(len(begin) + 1)).tolist()
    start, end, track = found.start.tolist(), found.stop.tolist(), found.track.tolist()
    bars = []
    for b, (i, j) in enumerate(pairwise(edges)):
        head = event[begin[b] : start[i] - 1 if i < j else stop[b]]
        bars.append((head, {track[c]: event[start[c] : end[c]] for c in range(i, j)}))
    return Parts(event[: begin[0]], bars, event[stop[-1] :], found.programs)


def _check_declared(event: np.ndarray) -> None:
    """Without a declaration nobody knows in which order the tracks of a bar stand."""
    if not (event[: body_of(event)] == ENSEMBLE).any():
        raise ValueError(
            "these tokens do not declare their tracks; encode them with Header(instruments=True)"
        )


def together(parts: Parts, layout: Layout) -> np.ndarray:
    """Put a piece together; a cell without content is written where a later copy of its program needs it."""
    first = layout.base["Program"]
    made = [parts.head]
    for head, mine in parts.bars:
        made.append(head)
        for track in written(mine, parts.tracks):
            made.append(np.array([first + parts.tracks[track]], np.int32))
            if track in mine:
                made.append(mine[track])
    return np.concatenate([*made, parts.tail]).astype(np.int32)


def written(mine: dict[int, np.ndarray], tracks: Sequence[int]) -> list[int]:
    """The tracks whose cells are written in a bar: those with content, and earlier copies of their programs."""
    needed: set[int] = set()
    found = []
    for track in range(len(tracks) - 1, -1, -1):
        if (track in mine and len(mine[track])) or tracks[track] in needed:
            needed.add(tracks[track])
            found.append(track)
    return found[::-1]


@dataclass(frozen=True, eq=False)
class Cut:
    """A piece with a region cut out: symbols up to and with `Sep`, and those of the contents."""

    context: np.ndarray
    content: np.ndarray


def cut_out(event: np.ndarray, layout: Layout, bars: Iterable[int], tracks: Iterable[int] | None) -> Cut:
    """Cut cells out. ValueError for an empty region, for one outside of the piece, for tokens with a region already."""
    if (event == SEP).any():
        raise ValueError("these tokens have a region cut out already; fill it first")
    parts = apart(event, layout)
    rows = _checked(bars, len(parts.bars), "bar")
    columns = _checked(range(len(parts.tracks)) if tracks is None else tracks, len(parts.tracks), "track")
    number, nothing, end = 0, np.zeros(0, np.int32), np.array([END_FILL], np.int32)
    contents: list[np.ndarray] = []
    for row in rows:
        mine = parts.bars[row][1]
        for track in columns:
            mark = layout.base["Fill"] + number % FILLS
            marked = np.array([mark], np.int32)
            contents += [marked, mine.get(track, nothing), end]
            mine[track] = marked
            number += 1
    context = np.append(together(parts, layout), SEP).astype(np.int32)
    return Cut(context, np.concatenate(contents).astype(np.int32))


def _checked(asked: Iterable[int], count: int, what: str) -> list[int]:
    found = sorted(set(asked))
    if not found:
        raise ValueError(f"the region is empty: give at least one {what}")
    if found[0] < 0 or found[-1] >= count:
        wrong = found[0] if found[0] < 0 else found[-1]
        raise ValueError(
            f"the region lies outside of the piece: {what} {wrong}, but there are {what}s 0 … {count - 1}"
        )
    return found


def filled(event: np.ndarray, layout: Layout) -> np.ndarray:
    """An infill sequence -> the piece; cells without an answer stay empty. Symbols without `Sep` stay as they are."""
    seps = np.flatnonzero(event == SEP)
    if not len(seps):
        return event
    answers = _answers(event[int(seps[0]) + 1 :], layout)
    parts = apart(event[: int(seps[0])], layout)
    number = 0
    marks = layout.ids("Fill")
    for _, mine in parts.bars:
        for track in sorted(mine):
            if len(mine[track]) and int(mine[track][0]) in marks:
                mine[track] = answers[number] if number < len(answers) else mine[track][:0]
                number += 1
    return together(parts, layout)


def _answers(event: np.ndarray, layout: Layout) -> list[np.ndarray]:
    kind = layout.kind[event]
    begin = np.flatnonzero(kind == families(layout)["Fill"])
    stop = np.append(begin[1:], len(event))[: len(begin)].tolist()
    found = []
    for a, b in zip(begin.tolist(), stop):
        answer = event[a + 1 : b]
        ends = np.flatnonzero(answer == END_FILL)
        found.append(answer[: int(ends[0])] if len(ends) else answer)
    return found


def with_tracks(event: np.ndarray, layout: Layout, programs: Sequence[int]) -> np.ndarray:
    """The piece with further tracks declared behind the others; they are silent until a region is written."""
    _check_declared(event)
    begin = body_of(event)
    added = np.array([layout.base["Program"] + p for p in programs], np.int32)
    return np.concatenate([event[: begin - 1], added, event[begin - 1 :]])


def insert_bars(event: np.ndarray, layout: Layout, at: int, count: int) -> Parts:
    """The piece taken apart with empty bars before bar `at` (or behind the last one), all in the metre before."""
    parts = apart(event, layout)
    if not 1 <= at <= len(parts.bars):
        raise ValueError(f"empty bars can be put before bars 1 … {len(parts.bars)}, got {at}")
    if count < 1:
        raise ValueError(f"the number of empty bars must be at least 1, got {count}")
    empty: list[tuple[np.ndarray, dict[int, np.ndarray]]] = [
        (parts.bars[at - 1][0][:1], {}) for _ in range(count)
    ]
    return Parts(parts.head, [*parts.bars[:at], *empty, *parts.bars[at:]], parts.tail, parts.tracks)


def slice_bars(event: np.ndarray, layout: Layout, first: int, last: int) -> Parts:
    """Bars first … last - 1 taken apart, with the metre, key and tempo in force. Notes may ring beyond them."""
    parts = apart(event, layout)
    if not 0 <= first < last <= len(parts.bars):
        raise ValueError(f"cannot cut bars {first} to {last}: the piece has bars 0 to {len(parts.bars)}")
    bars = [(head, dict(mine)) for head, mine in parts.bars[first:last]]
    if first:
        bars[0] = (_with_state(parts.bars[:first], bars[0][0], layout), bars[0][1])
    return Parts(parts.head, bars, parts.tail, parts.tracks)


def _with_state(before: list, head: np.ndarray, layout: Layout) -> np.ndarray:
    """The head of a bar with the metre, key and tempo of those before it, where it does not tell its own."""
    state = {"Metre": np.zeros(0, np.int32), "Key": np.zeros(0, np.int32), "Tempo": np.zeros(0, np.int32)}
    for earlier, _ in before:
        told = Told.of(earlier, layout)
        later = {n: v for n, v in told.last.items() if len(v)}
        state |= {"Metre": told.metre} if len(told.metre) else {}
        state |= later
    mine = Told.of(head, layout)
    metre, key, tempo = (own if len(own) else state[n] for n, own in mine.first.items())
    return np.concatenate([mine.front, metre, mine.shape, key, tempo, mine.rest])


@dataclass(frozen=True, eq=False)
class Told:
    """The head of a bar in its parts: `front` (Bar, section), `metre`, `shape` (pick-up or cut), the key and tempo of
    its beginning (in `first`), what it tells later (`rest`), and the `last` key and tempo told.
    """

    front: np.ndarray
    metre: np.ndarray
    shape: np.ndarray
    first: dict[str, np.ndarray]
    rest: np.ndarray
    last: dict[str, np.ndarray]

    @classmethod
    def of(cls, head: np.ndarray, layout: Layout) -> Told:
        """Take a head apart."""
        names = [layout.names[k] for k in layout.kind[head].tolist()]
        metre = next((i for i, n in enumerate(names) if n in ("Metre", "Over")), None)
        shape = next((i for i, t in enumerate(head.tolist()) if t in (CUT, PICKUP)), None)
        after = 0 if metre is None else metre + (2 if names[metre] == "Over" else 1)
        after = after if shape is None else shape + 2
        told = next((i for i in range(after, len(names)) if names[i] in ("Key", "Tempo", "Pos")), len(names))
        rest = next((i for i in range(told, len(names)) if names[i] == "Pos"), len(names))
        edge = next(i for i in (metre, shape, told) if i is not None)
        kinds = np.array(names)
        return cls(
            head[:edge],
            head[:0] if metre is None else head[metre : metre + (2 if names[metre] == "Over" else 1)],
            head[:0] if shape is None else head[shape : shape + 2],
            {"Metre": head[:0] if metre is None else head[metre : metre + 1 + (names[metre] == "Over")]}
            | {n: head[told:rest][kinds[told:rest] == n] for n in ("Key", "Tempo")},
            head[rest:],
            {n: head[kinds == n][-1:] for n in ("Key", "Tempo")},
        )
