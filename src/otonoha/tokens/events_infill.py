"""Filling the cells that were cut out of a piece: the grammar behind `Sep` of an infill sequence of `events`.

Each answer is written as the inside of a cell, among the notes that stand: a new note neither begins while a note
of its pitch sounds in its track nor reaches the next one, so nothing that was there is altered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_cell import FOREVER, CellWriter, Voice
from otonoha.tokens.events_instruments import DRUMS
from otonoha.tokens.events_place import place
from otonoha.tokens.events_read import body_of, frame_of, notes_of, tracks_of
from otonoha.tokens.events_regions import cells
from otonoha.tokens.events_vocab import END_FILL, PAD, QUARTERS, SEP, Layout
from otonoha.tokens.place import QUARTER_SIZE


@dataclass(frozen=True, eq=False)
class _Gap:
    """A cell to be filled: symbol of its mark, track, first tick, place and length of its bar, its contexts."""

    mark: int
    track: int
    start: int
    origin: int
    length: int
    context: dict[str, int]


class InfillGrammar:
    """One walk through the answers to a region."""

    def __init__(
        self, layout: Layout, asked: EventConstraints, event: np.ndarray, *, velocities: bool
    ) -> None:
        _refuse(asked)
        sep = int(np.flatnonzero(event == SEP)[0])
        self._layout = layout
        self._cell = CellWriter(layout, velocities=velocities)
        self._size = layout.size
        begin = body_of(event)
        frame = frame_of(event[begin:sep], layout)
        self._end = frame.end
        self._gaps = _gaps(event, sep, layout)
        if not self._gaps:
            raise ValueError("there is no cell to fill in this prompt")
        self._found = notes_of(event[begin:sep], layout, frame, tracks_of(event[:begin], layout))
        self._voices = [
            Voice(p, asked.pitches(p), p == DRUMS, asked.most_together(p)) for p in self._found.programs
        ]
        drums = np.array([v.drum for v in self._voices])[self._found.track]
        ends = self._found.onset + np.where(drums, 1, self._found.length)
        self._cell.last_end = int(ends.max(initial=0))
        heard = set(self._found.track.tolist())
        self._silent = {g.track for g in self._gaps} - heard
        self._last_gap = {g.track: i for i, g in enumerate(self._gaps)}
        self._number, self._within, self.done = 0, False, False
        self._context = _after_sep(event, sep, layout)
        for symbol in event[sep + 1 :].tolist():
            self.advance([symbol])

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(V,) bool: which symbols may come next."""
        mask = np.zeros(self._size, bool)
        if not self._within:
            mask[self._gaps[self._number].mark] = True
            return mask
        self._cell.mask_into(mask)
        if self._cell.idle:
            mask[END_FILL] = not (self._cell.empty and self._must_sound())
        return mask

    def _must_sound(self) -> bool:
        """A track without a note in the whole piece gets one in its last gap at the latest; so does a last bar in
        which nothing sounds.
        """
        gap = self._gaps[self._number]
        if gap.track in self._silent and self._last_gap[gap.track] == self._number:
            return True
        last = self._number == len(self._gaps) - 1 and gap.start + gap.length == self._end
        return last and self._cell.last_end <= gap.start

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of the symbol that was drawn."""
        symbol = int(drawn[0])
        gap = self._gaps[self._number]
        if not self._within:
            self._open(gap)
            self._context = dict(gap.context)
        elif symbol == END_FILL:
            self._within = False
            self._number += 1
            self.done = self._number == len(self._gaps)
        else:
            self._cell.advance(symbol)
            quarter, self._context["beat"] = divmod(self._cell.place, self._layout.resolution)
            self._context["quarter"] = min(quarter, QUARTER_SIZE - 1)
            if not self._cell.empty:
                self._silent.discard(gap.track)

    def _open(self, gap: _Gap) -> None:
        voice = self._voices[gap.track]
        following = self._locked(voice, gap)
        limit = self._end
        if voice.polyphony is not None:
            limit = min(limit, int(following.min()))
        self._cell.begin(voice, gap.start, gap.origin, gap.length, limit, following)
        self._within = True

    def _locked(self, voice: Voice, gap: _Gap) -> np.ndarray:
        """Take in the notes that stand before a gap; (128,) where the next one of each pitch begins behind it."""
        mine = self._found.track == gap.track
        onset, pitch = self._found.onset[mine], self._found.pitch[mine]
        ends = onset + (1 if voice.drum else self._found.length[mine])
        earlier = onset < gap.start
        np.maximum.at(voice.until, pitch[earlier], ends[earlier])
        following = np.full(128, FOREVER)
        np.minimum.at(following, pitch[~earlier], onset[~earlier])
        return following

    def context(self) -> dict[str, int]:
        """metre, beat, quarter, bar, left and program before the next symbol."""
        return dict(self._context)


def _refuse(asked: EventConstraints) -> None:
    """Where cells are filled, everything but the notes stands already."""
    for name in ("bars", "form", "instruments", "metre", "tempo", "header"):
        if getattr(asked, name) is not None:
            raise ValueError(f"{name} has no effect where cells are filled; leave it out")
    if asked.pickup:
        raise ValueError("pickup has no effect where cells are filled; leave it out")
    if asked.key is not None and not asked.scale_only:
        raise ValueError(
            "key has no effect where cells are filled, unless scale_only is asked for; leave it out"
        )


def _gaps(event: np.ndarray, sep: int, layout: Layout) -> list[_Gap]:
    """The cells whose content is a `Fill`."""
    begin = body_of(event)
    frame = frame_of(event[begin:sep], layout)
    contexts = place(np.append(event[: sep + 1], PAD), layout)[1]
    found, marks = cells(event[:sep], layout), layout.ids("Fill")
    gaps = []
    for bar, track, at in zip(found.bar.tolist(), found.track.tolist(), found.start.tolist()):
        if at < sep and int(event[at]) in marks:
            length = min(int(frame.length[bar]), QUARTERS * layout.resolution)  # as far as a place can say
            where = (int(frame.start[bar]), int(frame.origin[bar]), length)
            context = {name: int(values[at + 1]) for name, values in contexts.items()}
            gaps.append(_Gap(int(event[at]), track, *where, context))
    return gaps


def _after_sep(event: np.ndarray, sep: int, layout: Layout) -> dict[str, int]:
    contexts = place(np.append(event[: sep + 1], PAD), layout)[1]
    return {name: int(values[-1]) for name, values in contexts.items()}
