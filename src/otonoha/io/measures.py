"""Music as notation files tell it, measure by measure, and how it becomes a Score.

Positions are (measure index, ticks from the measure's start), so that measures can be aligned between
parts, and repeats played out, before anything gets its place in time. The readers of MusicXML and ABC
share this: parts become tracks, the first short measure a pick-up, a bar split by a repeat stays one bar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import numpy as np
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature, Track

from otonoha.music.theory import Key, estimate_key
from otonoha.music.tracks import track_of

MIN_TPQ, FINE_TPQ, MAX_TPQ = 96, 10080, 30720
DEFAULT_VELOCITY = 80
HEAD_MARKERS = ("title", "composer", "style", "rhythm")


@dataclass(frozen=True)
class Event:
    """Something that happens at a place; `kind` is key, metre, tempo, dynamics, lyric or a marker's name."""

    measure: int
    offset: int
    kind: str
    value: Any


@dataclass
class Part:
    """A part being read. The note columns are parallel lists; `length` and `nominal` have one entry a
    measure (ticks filled, ticks its metre asks for; 0 where no metre is in force).
    """

    name: str = ""
    program: int | None = None
    is_drum: bool = False
    measure: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    duration: list[int] = field(default_factory=list)
    pitch: list[int] = field(default_factory=list)
    velocity: list[int] = field(default_factory=list)
    """As the note itself says; 0 where the dynamics decide."""
    events: list[Event] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    nominal: list[int] = field(default_factory=list)
    implicit: list[bool] = field(default_factory=list)
    jumps: list[tuple[int, str, str]] = field(default_factory=list)
    """Repeats: (measure, 'forward' | 'backward' | 'ending' | 'ending-stop', times or ending numbers)."""


def resolution(denominators: Iterable[int]) -> int:
    """Ticks per quarter: a multiple of all denominators (so tuplets are exact), within reason."""
    common = 1
    for denominator in set(denominators):
        common = math.lcm(common, denominator)
        if common > MAX_TPQ:
            return FINE_TPQ
    return common * -(-MIN_TPQ // common)


@dataclass(frozen=True)
class _Timeline:
    """Measures in playing order: `order` (measure index), `start` (n+1,) ticks, `nominal` bar ticks."""

    order: np.ndarray
    start: np.ndarray
    nominal: np.ndarray


class Assembly:
    """Parts -> Score: aligns measures between parts, plays repeats out if asked, places everything.

    `header` may hold title, composer, style, rhythm.
    """

    def __init__(self, header: dict[str, str], parts: list[Part], tpq: int, *, repeats: bool = False):
        self.header, self.parts, self.tpq = header, parts, tpq
        self.line = self._timeline(repeats)
        self.places: dict[int, list[int]] = {}
        for place, measure in enumerate(self.line.order.tolist()):
            self.places.setdefault(measure, []).append(place)

    def _timeline(self, repeats: bool) -> _Timeline:
        n = max(len(p.length) for p in self.parts)
        table = np.zeros((2, len(self.parts), n), np.int64)
        for i, part in enumerate(self.parts):
            table[0, i, : len(part.length)] = part.length
            table[1, i, : len(part.nominal)] = part.nominal
        length, nominal = table.max(axis=1)
        length = np.where(length == 0, nominal, length)
        order = np.array(_playing_order(self.parts[0].jumps, n) if repeats else range(n), np.int64)
        start = np.concatenate([[0], np.cumsum(length[order])])
        if start[-1] >= 2**31:
            raise ValueError("it is absurdly long")
        return _Timeline(order, start, nominal[order])

    def score(self) -> Score:
        """The finished score."""
        result = Score(self.tpq)
        result.tracks = [self._track(part) for part in self.parts]
        result.time_signatures = [TimeSignature(*m) for m in self._metres()]
        result.tempos = [Tempo(t, qpm) for t, qpm in self._in_force("tempo")]
        result.key_signatures = self._keys(result)
        result.markers = self._markers()
        return result

    def _at(self, event: Event) -> list[int]:
        """All ticks at which an event happens."""
        return [int(self.line.start[p]) + event.offset for p in self.places.get(event.measure, ())]

    def _track(self, part: Part) -> Track:
        measure = np.array(part.measure, np.int64)
        index, place = np.arange(len(measure)), measure
        if self._jumps:
            played = [np.flatnonzero(measure == m) for m in self.line.order]
            index = np.concatenate(played)
            place = np.repeat(np.arange(len(played)), [len(p) for p in played])
        offset, duration, pitch, own = (
            np.array(c, np.int64)[index] for c in (part.offset, part.duration, part.pitch, part.velocity)
        )
        onset = self.line.start[place] + offset
        track = track_of(
            onset,
            duration,
            pitch,
            np.where(own, own, self._velocity(part, onset)),
            name=part.name,
            program=part.program or 0,
            is_drum=part.is_drum,
        )
        track.sort()
        track.lyrics = self._lyrics(part)
        return track

    @property
    def _jumps(self) -> bool:
        return len(self.line.order) != len(self.places) or bool((np.diff(self.line.order) < 0).any())

    def _velocity(self, part: Part, onset: np.ndarray) -> np.ndarray:
        marks = sorted((t, e.value) for e in part.events if e.kind == "dynamics" for t in self._at(e))
        values = np.array([DEFAULT_VELOCITY] + [v for _, v in marks], np.int64)
        return values[np.searchsorted(np.array([t for t, _ in marks], np.int64), onset, side="right")]

    def _lyrics(self, part: Part) -> list[TextMeta]:
        """The first verse."""
        found = [e for e in part.events if e.kind == "lyric"]
        if not found:
            return []
        verses = list(dict.fromkeys(e.value[0] for e in found))
        first = min(verses, key=lambda v: (int(v) if v.isdigit() and len(v) < 9 else 0, verses.index(v)))
        sung: dict[int, str] = {}
        for event in found:
            if event.value[0] == first:
                for tick in self._at(event):
                    sung.setdefault(tick, event.value[1])
        lines = [TextMeta(tick, sung[tick]) for tick in sorted(sung)]
        lines[0] = TextMeta(lines[0].time, re.sub(r"^\d+\.\s*(?=\S)", "", lines[0].text))
        return lines

    def _merged(self, kind: str) -> list[Event]:
        """Events of one kind from all parts, in the order of the file; the first part that speaks at a
        place wins.
        """
        found: dict[tuple[int, int], Event] = {}
        for part in self.parts:
            for event in part.events:
                if event.kind == kind:
                    found.setdefault((event.measure, event.offset), event)
        return [found[place] for place in sorted(found)]

    def _in_force(self, kind: str) -> list[tuple[int, object]]:
        """(tick, value) in playing order, said again where a repeat jumps back; no value twice in a row."""
        events = self._merged(kind)
        by_measure: dict[int, list[Event]] = {}
        for event in events:
            by_measure.setdefault(event.measure, []).append(event)
        at_start: dict[int, object] = {}
        current: object = None
        for m in range(int(self.line.order.max()) + 1):
            at_start[m] = current
            for event in by_measure.get(m, ()):
                current = event.value
        timeline: list[tuple[int, object]] = []
        for place, m in enumerate(self.line.order.tolist()):
            begin = int(self.line.start[place])
            said = [(begin, at_start[m])] + [(begin + e.offset, e.value) for e in by_measure.get(m, ())]
            for tick, value in said:
                if timeline and timeline[-1][0] == tick:
                    timeline.pop()
                if value is not None and (not timeline or timeline[-1][1] != value):
                    timeline.append((tick, value))
        return timeline

    def _metres(self) -> list[tuple[int, int, int]]:
        """Metre changes, with the real length of measures that neither fill their metre nor, together with
        those that follow, make up one bar.
        """
        stated = dict(self._in_force("metre"))
        starts, lengths = self.line.start[:-1].tolist(), np.diff(self.line.start).tolist()
        metres: list[tuple[int, int, int]] = []
        current, irregular_until, begin = (4, 4), 0, 1 if self._pickup() else 0
        for place, tick in enumerate(starts):
            current = stated.get(tick, current)  # type: ignore[assignment]
            wanted: tuple[int, int] | None = current
            bar = int(self.line.nominal[place])
            if place >= begin and lengths[place] != bar and place >= irregular_until:
                together = _fills(lengths, place, bar)
                if together:
                    irregular_until = place + together
                elif place < len(starts) - 1 or lengths[place] > bar:
                    wanted = metre_of(lengths[place], self.tpq, current[1])
            if wanted and (not metres or metres[-1][1:] != wanted):
                metres.append((tick, *wanted))
        return metres

    def _pickup(self) -> int:
        """Ticks of the pick-up measure; 0 where the first measure is full."""
        first, bar = int(self.line.start[1]), int(self.line.nominal[0])
        several = len(self.line.order) > 1 or self.parts[0].implicit[:1] == [True]
        return first if several and 0 < first < bar else 0

    def _keys(self, score: Score) -> list[KeySignature]:
        found = self._in_force("key")
        ends = [t for t, _ in found] + [int(self.line.start[-1])]
        keys = []
        for (tick, value), end in zip(found, ends[1:], strict=True):
            sharps, mode = cast(tuple[int, str | None], value)
            keys.append(
                KeySignature(
                    tick,
                    sharps,
                    int(_is_minor(score, tick, end, sharps) if mode is None else mode == "minor"),
                )
            )
        return keys

    def _markers(self) -> list[TextMeta]:
        head = []
        if self._pickup():
            head.append(TextMeta(0, f"pickup:{Fraction(self._pickup(), self.tpq)}"))
        head += [TextMeta(0, f"{name}:{self.header[name]}") for name in HEAD_MARKERS if self.header.get(name)]
        timed = [
            TextMeta(t, f"{kind}:{e.value}")
            for kind in ("section", "chord")
            for e in self._merged(kind)
            for t in self._at(e)
        ]
        for i, part in enumerate(self.parts):
            held = {t for e in part.events if e.kind == "fermata" for t in self._at(e)}
            timed += [TextMeta(t, f"fermata:{i}") for t in held]
        return head + sorted(timed, key=lambda m: (m.time, m.text))


def _is_minor(score: Score, begin: int, end: int, sharps: int) -> bool:
    """Which of the two keys of a signature the notes between two ticks speak for (Krumhansl-Kessler)."""
    histogram = np.zeros(12)
    for track in score.tracks:
        if len(track.notes) and not track.is_drum:
            columns = track.notes.numpy()
            inside = (columns["time"] >= begin) & (columns["time"] < end)
            weights = columns["duration"][inside].astype(np.float64)
            histogram += np.bincount(columns["pitch"][inside] % 12, weights, minlength=12)
    pair = [Key.from_signature(sharps, minor) for minor in (False, True)]
    return estimate_key(histogram, among=pair).mode == "minor" if histogram.any() else False


def _fills(lengths: list[int], place: int, bar: int) -> int:
    """How many measures from `place` on make up one bar (split by a repeat, say); 0: they do not."""
    for count in (2, 3, 4):
        total = sum(lengths[place : place + count])
        if total >= bar:
            return count if total == bar and lengths[place] < bar else 0
    return 0


def metre_of(length: int, tpq: int, denominator: int) -> tuple[int, int] | None:
    """The metre of a measure of `length` ticks in units of 1/denominator or finer; None: no metre fits."""
    while denominator <= 128:
        numerator, rest = divmod(length * denominator, 4 * tpq)
        if not rest and 1 <= numerator <= 128:
            return numerator, denominator
        denominator *= 2
    return None


def _playing_order(jumps: list[tuple[int, str, str]], n: int) -> list[int]:
    """Measure indices with repeats and endings played out; an absurd number of turns is cut off."""
    forward = {m for m, kind, _ in jumps if kind == "forward"}
    backward = {m: min(max(int(t), 2), 8) if t.isdigit() else 2 for m, kind, t in jumps if kind == "backward"}
    passes = _endings(jumps, n)
    order: list[int] = []
    at, begin, turn = 0, 0, 1
    while at < n and len(order) < 50 * n:
        if at in forward and at != begin:
            begin, turn = at, 1
        if turn in passes.get(at, {turn}):
            order.append(at)
            if at in backward and turn < max([backward[at], *(max(p) for m, p in passes.items() if m == at)]):
                at, turn = begin, turn + 1
                continue
        if at in backward and at not in passes:
            begin, turn = at + 1, 1
        at += 1
    return order


def _endings(jumps: list[tuple[int, str, str]], n: int) -> dict[int, set[int]]:
    """Measure -> the passes in which it is played (first and second endings)."""
    passes: dict[int, set[int]] = {}
    opened: tuple[int, set[int]] | None = None
    for m, kind, numbers in jumps:
        if kind == "ending":
            opened = (m, {int(d) for d in re.findall(r"\d{1,2}", numbers)} or {1})
        if kind == "ending-stop" and opened is not None:
            passes.update((k, opened[1]) for k in range(opened[0], m + 1))
            opened = None
    return passes
