"""Symbols of the `events` codec -> what they say: notes in bars, then a Score. Repeats are written out before.

Axes: T symbols, N notes, B bars. What is sticky (place, length, loudness) is carried forward by indices of the last
symbol that said it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.music.theory import Key
from otonoha.music.tracks import track_of
from otonoha.tokens.events_instruments import DRUMS, INSTRUMENTS
from otonoha.tokens.events_vocab import (
    CUT,
    ENSEMBLE,
    LABELS,
    MF,
    OVER,
    PICKUP,
    START,
    TEMPI,
    VELOCITIES,
    Layout,
)
from otonoha.tokens.place import METRES


def families(layout: Layout) -> dict[str, int]:
    """Family -> its number in `layout.kind`."""
    return {name: i for i, name in enumerate(layout.names)}


def body_of(event: np.ndarray) -> int:
    """Index of the first symbol behind the header."""
    start = np.flatnonzero(event == START)
    return int(start[0]) + 1 if len(start) else 0


def last_said(said: np.ndarray) -> np.ndarray:
    """(T,) index of the last position up to each one at which `said` holds; 0 where there is none."""
    return np.maximum.accumulate(np.where(said, np.arange(len(said)), 0))


@dataclass(frozen=True, eq=False)
class Frame:
    """The bars that symbols tell of: (B,) `index` of their `Bar` in the symbols, ticks at which they `start`, the
    `length`, the place `origin` at which they begin, whether they are `cut`; (B, 2) `metre`. `changes`: (index of the
    symbol, tick, family, value) of keys, tempi and sections.
    """

    index: np.ndarray
    start: np.ndarray
    length: np.ndarray
    origin: np.ndarray
    cut: np.ndarray
    metre: np.ndarray
    changes: list[tuple[int, int, str, int]]

    @property
    def end(self) -> int:
        """Ticks of the whole piece."""
        return int(self.start[-1] + self.length[-1]) if len(self.start) else 0


def frame_of(event: np.ndarray, layout: Layout) -> Frame:
    """The bars of symbols without header; before the first metre 4/4 holds."""
    number = families(layout)
    kind, value = layout.kind[event], layout.value[event]
    index = np.flatnonzero(kind == number["Bar"])
    inside = np.cumsum(kind == number["Bar"]) - 1
    metre = np.tile(np.array([4, 4]), (len(index), 1))
    origin, cut = np.zeros(len(index), np.int64), np.zeros(len(index), bool)
    told = (kind == number["Metre"]) | (kind == number["Over"])
    for i in np.flatnonzero(told & (inside >= 0)).tolist():
        odd = kind[i] == number["Over"]
        metre[int(inside[i]) :] = (value[i + 1], OVER[value[i]]) if odd else METRES[value[i]]
    length = -(-4 * layout.resolution * metre[:, 0] // metre[:, 1])
    for i in np.flatnonzero((event == PICKUP) | (event == CUT)).tolist():
        bar, place = int(inside[i]), int(value[i + 1])
        cut[bar] = event[i] == CUT
        origin[bar] = 0 if cut[bar] else place
        length[bar] = place if cut[bar] else length[bar] - place
    start = np.cumsum(length) - length
    changes = _changes(event, layout, inside, start, origin)
    return Frame(index, start, length, origin, cut, metre, changes)


def _changes(
    event: np.ndarray, layout: Layout, inside: np.ndarray, start: np.ndarray, origin: np.ndarray
) -> list[tuple[int, int, str, int]]:
    number = families(layout)
    kind = layout.kind[event]
    kinds = {number[n]: n for n in ("Key", "Tempo", "Section")}
    found = []
    for i in np.flatnonzero(np.isin(kind, list(kinds)) & (inside >= 0)).tolist():
        bar, name, place = int(inside[i]), kinds[int(kind[i])], None
        if name in ("Key", "Tempo"):
            place = _place_before(kind, event, i, number, layout)
        tick = int(start[bar]) + (0 if place is None else place - int(origin[bar]))
        found.append((i, tick, name, int(layout.value[event[i]])))
    return found


def _place_before(
    kind: np.ndarray, event: np.ndarray, i: int, number: dict[str, int], layout: Layout
) -> int | None:
    """The place said before a key or tempo; None: the beginning of the bar."""
    while kind[i - 1] in (number["Key"], number["Tempo"]):
        i -= 1
    if kind[i - 1] == number["Pos"] and event[i - 2] not in (PICKUP, CUT):
        return int(layout.value[event[i - 1]])
    return None


@dataclass(frozen=True, eq=False)
class Found:
    """(N,) notes: `index` of their symbols, `onset`, `length`, `pitch`, `velocity`, `track`; the tracks' programs."""

    index: np.ndarray
    onset: np.ndarray
    length: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    track: np.ndarray
    programs: list[int]


def tracks_of(event: np.ndarray, layout: Layout) -> list[int] | None:
    """The programs of the tracks that the header declares; None without a declaration."""
    begin = body_of(event)
    head = event[:begin]
    if not (head == ENSEMBLE).any():
        return None
    programs = head[layout.kind[head] == families(layout)["Program"]]
    return layout.value[programs].tolist()


def cells_of(
    event: np.ndarray, layout: Layout, declared: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """(C,) indices of the cells' `Program` in symbols without header, (C,) their tracks, and all tracks' programs:
    the declared ones, then others in the order in which they come.
    """
    number = families(layout)
    kind = layout.kind[event]
    bar = np.cumsum(kind == number["Bar"])
    index = np.flatnonzero((kind == number["Program"]) & (bar > 0))
    program = layout.value[event[index]]
    copy = _rank(bar[index] * len(INSTRUMENTS) + program)
    tracks = list(declared or [])
    known = {}
    for track, p in enumerate(tracks):
        known[p, sum(q == p for q in tracks[:track])] = track
    identity = program * (int(copy.max()) + 1 if len(copy) else 1) + copy
    values, first, inverse = np.unique(identity, return_index=True, return_inverse=True)
    track_of_value = np.zeros(len(values), np.int64)
    for v in np.argsort(first).tolist():
        pair = (int(program[first[v]]), int(copy[first[v]]))
        if pair not in known:
            known[pair] = len(tracks)
            tracks.append(pair[0])
        track_of_value[v] = known[pair]
    return index, track_of_value[inverse], tracks


def _rank(values: np.ndarray) -> np.ndarray:
    """How often each value came before."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.append(True, ordered[1:] != ordered[:-1])[: len(values)]
    rank = np.empty(len(values), np.int64)
    at = np.arange(len(values))
    rank[order] = at - np.maximum.accumulate(np.where(begins, at, 0))
    return rank


def notes_of(event: np.ndarray, layout: Layout, frame: Frame, declared: Sequence[int] | None) -> Found:
    """All notes of symbols without header and without repeats, in the order in which they are written."""
    number = families(layout)
    kind, value = layout.kind[event], layout.value[event]
    heads, track_of_cell, programs = cells_of(event, layout, declared)
    is_cell = np.zeros(len(event), bool)
    is_cell[heads] = True
    at = np.flatnonzero(((kind == number["Pitch"]) | (kind == number["Drum"])) & (np.cumsum(is_cell) > 0))
    cell = np.cumsum(is_cell)[at] - 1
    bar = (np.cumsum(kind == number["Bar"]) - 1)[at]
    place = last_said(is_cell | (kind == number["Pos"]))[at]
    place = np.where(is_cell[place], frame.origin[bar], value[place])
    loud = last_said(is_cell | (kind == number["Vel"]))[at]
    loud = np.array(VELOCITIES)[np.where(is_cell[loud], MF, value[loud])]
    length = _lengths(kind, value, is_cell, number, layout.resolution)[at]
    onset = frame.start[bar] - frame.origin[bar] + place
    stroke = np.minimum(max(layout.resolution // 4, 1), (frame.start + frame.length)[bar] - onset)
    length = np.where(kind[at] == number["Drum"], stroke, length)
    track, pitch = track_of_cell[cell], value[at]
    return Found(at, onset, cut_short(onset, length, pitch, track), pitch, loud, track, programs)


def cut_short(onset: np.ndarray, length: np.ndarray, pitch: np.ndarray, track: np.ndarray) -> np.ndarray:
    """(N,) lengths, of which none reaches beyond the next onset of its pitch in its track."""
    line = track * 128 + pitch
    order = np.lexsort((onset, line))
    room = np.diff(onset[order], append=0)
    last = np.diff(line[order], append=-1) != 0
    result = length.copy()
    result[order] = np.where(last | (room <= 0), length[order], np.minimum(length[order], room))
    return result


def _lengths(
    kind: np.ndarray, value: np.ndarray, is_cell: np.ndarray, number: dict[str, int], resolution: int
) -> np.ndarray:
    """(T,) the length in force, in ticks: of a quarter note where a cell says none."""
    says = np.flatnonzero(kind == number["Dur"])
    wholes = np.cumsum(np.where(kind == number["Long"], value, 0))[says]
    ticks = np.zeros(len(kind), np.int64)
    ticks[says] = value[says] + 4 * resolution * np.diff(wholes, prepend=0)
    ticks[is_cell] = resolution
    return ticks[last_said(is_cell | (kind == number["Dur"]))] if len(ticks) else ticks


def score_of(found: Found, frame: Frame, layout: Layout) -> Score:
    """The notes with the metres, keys, tempi and sections of the bars."""
    score = Score(layout.resolution)
    _tell(score, frame)
    if len(frame.origin) and frame.origin[0]:
        score.markers.insert(0, TextMeta(0, f"pickup:{Fraction(int(frame.length[0]), layout.resolution)}"))
    order = np.lexsort((found.pitch, found.onset, found.track))
    edges = np.searchsorted(found.track[order], np.arange(len(found.programs) + 1)).tolist()
    for number, program in enumerate(found.programs):
        mine = order[edges[number] : edges[number + 1]]
        score.tracks.append(
            track_of(
                *(c[mine] for c in (found.onset, found.length, found.pitch, found.velocity)),
                name=_name(found.programs, number),
                program=0 if program == DRUMS else program,
                is_drum=program == DRUMS,
            )
        )
    return score


def _tell(score: Score, frame: Frame) -> None:
    """Write down metres, keys, tempi and sections. A metre is stated again behind a cut bar."""
    again = np.append(True, (np.diff(frame.metre, axis=0) != 0).any(axis=1) | frame.cut[:-1])
    for bar in np.flatnonzero(again[: len(frame.start)]).tolist():
        score.time_signatures.append(TimeSignature(int(frame.start[bar]), *frame.metre[bar].tolist()))
    for _, tick, family, value in frame.changes:
        if family == "Key":
            key = Key.from_index(value)
            score.key_signatures.append(KeySignature(tick, key.signature(), int(key.mode == "minor")))
        elif family == "Tempo":
            score.tempos.append(Tempo(tick, TEMPI[value]))
        else:
            score.markers.append(TextMeta(tick, f"section:{LABELS[value]}"))


def _name(programs: Sequence[int], number: int) -> str:
    """ "violin", or "violin 2" where there are several."""
    name, same = INSTRUMENTS[programs[number]], [i for i, p in enumerate(programs) if p == programs[number]]
    return f"{name} {same.index(number) + 1}" if len(same) > 1 else name
