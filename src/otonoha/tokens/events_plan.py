"""Before a piece of the `events` codec goes on: what was there (`Past`), and what the form wants (`Plan`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from otonoha.tokens.events_header import Section
from otonoha.tokens.events_place import place
from otonoha.tokens.events_read import body_of, frame_of, notes_of, tracks_of
from otonoha.tokens.events_repeats import expand, form_heads, form_repeats
from otonoha.tokens.events_vocab import END, PAD, Layout
from otonoha.tokens.place import METRES


@dataclass(eq=False)
class Past:
    """What was written: of each bar its `start` and `length` in ticks, whether notes begin in it (`sounds`) and ring
    over its end (`rings`); the programs; `until` (tracks, 128); metre, key and tempo in force (or None);
    the context streams of the next symbol.
    """

    start: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    sounds: list[bool] = field(default_factory=list)
    rings: list[bool] = field(default_factory=list)
    programs: list[int] = field(default_factory=list)
    until: np.ndarray = field(default_factory=lambda: np.zeros((0, 128), np.int64))
    last_end: int = 0
    metre: tuple[int, int] | None = None
    key: int | None = None
    tempo: int | None = None
    context: dict[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The tick at which the last bar ends."""
        return self.start[-1] + self.length[-1] if self.start else 0


def past_of(event: np.ndarray, layout: Layout) -> Past:
    """What symbols (Begin … Start and any number of bars) tell, up to End."""
    ends = np.flatnonzero(event == END)
    event = event[: int(ends[0])] if len(ends) else event
    context = {name: int(values[-1]) for name, values in place(np.append(event, PAD), layout)[1].items()}
    event = expand(event, layout)[0]
    body = event[body_of(event) :]
    frame = frame_of(body, layout)
    declared = tracks_of(event, layout)
    found = notes_of(body, layout, frame, declared)
    ends = found.onset + np.where(
        layout.kind[body[found.index]] == layout.names.index("Drum"), 1, found.length
    )
    until = np.zeros((len(found.programs), 128), np.int64)
    np.maximum.at(until, (found.track, found.pitch), ends)
    begin, bar_end = frame.start, frame.start + frame.length
    bar = np.searchsorted(begin, found.onset, side="right") - 1
    reach = np.zeros(len(begin), np.int64)
    np.maximum.at(reach, bar, ends)
    past = Past(begin.tolist(), frame.length.tolist(), programs=list(found.programs), until=until)
    past.sounds = np.isin(np.arange(len(begin)), bar).tolist()
    past.rings = (np.maximum.accumulate(reach) > bar_end).tolist() if len(begin) else []
    past.last_end = int(ends.max()) if len(ends) else 0
    past.metre = tuple(frame.metre[-1].tolist()) if len(begin) else None
    told = {family: value for _, _, family, value in frame.changes}
    past.key, past.tempo = told.get("Key"), told.get("Tempo")
    past.context = context
    return past


@dataclass(eq=False)
class Plan:
    """What the form wants: `heads` (bar -> symbols directly behind its `Bar`), the bars at which sections end, the
    bars in which a note must begin, the last bar that is not a planned repeat (None: the length is open).
    """

    total: int | None
    heads: dict[int, list[int]] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    must_sound: list[int] = field(default_factory=list)
    last_free: int | None = None

    def edge(self, bar: int) -> int | None:
        """The first bar behind this one into which no note may ring."""
        later = [b for b in (*self.ends, *self.must_sound) if b > bar]
        return min(later, default=self.total)


def plan_of(form: Sequence[Section] | None, first: int, total: int | None, layout: Layout) -> Plan:
    """The plan for a form that begins with bar `first`. ValueError for a repeat from too far back."""
    if form is None:
        return Plan(total, last_free=None if total is None else total - 1)
    heads, repeats = form_heads(form, layout, first), form_repeats(form, first)
    ends, free, bar = [], first, first
    for section in form:
        if section.repeat == "exact":
            if bar not in repeats:
                raise ValueError(f"section {section.label} is repeated exactly from more than 64 bars before")
            back, number = repeats[bar]
            heads[bar] = [*heads[bar], layout.id("Repeat", back), layout.id("Num", number)]
        else:
            free = bar + section.bars - 1
        bar += section.bars
        ends.append(bar)
    must: list[int] = []
    if form[-1].repeat == "exact":
        must.append(_source(bar - 1, repeats))
    return Plan(bar, heads, ends, must, free)


def _source(bar: int, repeats: dict[int, tuple[int, int]]) -> int:
    """The bar that is in truth written where a planned repeat has `bar`."""
    for begin, (back, number) in repeats.items():
        if begin <= bar < begin + number:
            return _source(bar - back, repeats)
    return bar


def metre_number(pair: tuple[int, int]) -> int | None:
    """Index of a metre in the table; None for others."""
    return METRES.index(pair) if pair in METRES else None
