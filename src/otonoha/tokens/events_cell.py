"""One cell (bar × track) of the `events` codec being written: which symbols may come next inside of it.

Every note that these masks allow is heard as it is written: it begins while no note of its pitch sounds in its
track, ends before the next one that stands there already, and before the music does. Axes: 128 pitches.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from otonoha.tokens.events_vocab import MF, VELOCITIES, Layout

FOREVER = 2**40
_IDLE, _PLACED, _LOUD, _LONG, _MEASURED = range(5)
"""What was said last in the cell: nothing or a note, a place, a loudness, whole notes, a length."""
LONGEST_NOTE = 16
"""Whole notes that a written note lasts at most."""


@dataclass(eq=False)
class Voice:
    """A track being written: `until` (128,) the tick at which the note of each pitch ends, `allowed` (128,) pitches,
    how many notes may sound together (None: any number), whether it has sounded where it must; `last`: the greatest
    of `until`.
    """

    program: int
    allowed: np.ndarray
    drum: bool = False
    polyphony: int | None = None
    sounded: bool = False
    last: int = 0
    until: np.ndarray = field(default_factory=lambda: np.zeros(128, np.int64))

    def free_from(self) -> int:
        """The first tick at which another note may begin."""
        if self.drum:
            return 0
        earliest = int(self.until[self.allowed].min())
        if self.polyphony is not None:
            earliest = max(earliest, int(np.partition(self.until, -self.polyphony)[-self.polyphony]))
        return earliest


class CellWriter:
    """The inside of cells; `begin` one, then ask `mask_into` and tell `advance`. Ticks count from the first bar."""

    def __init__(self, layout: Layout, *, velocities: bool) -> None:
        self._layout, self._velocities = layout, velocities
        self._base, self._whole = layout.base, 4 * layout.resolution
        self._pitch, self._drum = layout.ids("Pitch").start, layout.ids("Drum").start
        self._dur, self._long = layout.id("Dur", 1), layout.id("Long", 1)
        self._pos, self._vel = layout.ids("Pos").start, layout.ids("Vel").start
        self.last_end = 0

    def begin(
        self,
        voice: Voice,
        start: int,
        origin: int,
        length: int,
        limit: int,
        following: np.ndarray | None = None,
    ) -> None:
        """A cell of a bar whose place `origin` is at tick `start`, of `length` ticks. No note may last beyond tick
        `limit`, nor into the next note of its pitch at `following` (128,).
        """
        self._voice, self._start, self._length, self._limit = voice, start - origin, origin + length, limit
        self._following = following
        self.place, self.empty = origin, True
        self._stage, self._top, self._loud = _IDLE, 128, MF
        self._ticks, self._wholes = 0, 0

    @property
    def idle(self) -> bool:
        """May the cell end here, as far as its inside is concerned?"""
        return self._stage == _IDLE

    def _rooms(self) -> np.ndarray:
        """(128,) ticks that a note of each pitch could last from here on; 0 where none may begin."""
        now, voice = self._start + self.place, self._voice
        ends = self._limit if self._following is None else np.minimum(self._following, self._limit)
        rooms = np.where((voice.until <= now) & voice.allowed, ends - now, 0)
        rooms[self._top :] = 0
        if voice.polyphony is not None and np.count_nonzero(voice.until > now) >= voice.polyphony:
            rooms[:] = 0
        return rooms

    def open_places(self) -> np.ndarray:
        """(P,) bool: the later places of the bar at which some note may begin."""
        voice, size = self._voice, self._length
        if voice.drum:
            found = np.ones(size, bool)
        else:
            begins = np.clip(voice.until[voice.allowed] - self._start, 0, size)
            change = np.bincount(begins, minlength=size + 1)
            if self._following is not None:
                ends = np.clip(self._following[voice.allowed] - self._start, 0, size)
                change = change - np.bincount(np.maximum(ends, begins), minlength=size + 1)
            found = np.cumsum(change)[:size] > 0
            if voice.polyphony is not None:
                busy = int(np.partition(voice.until, -voice.polyphony)[-voice.polyphony]) - self._start
                found[: max(busy, 0)] = False
        found[: self.place + 1] = False
        return found

    def mask_into(self, mask: np.ndarray) -> None:
        """Allow what may come next inside of the cell; `mask` (V,) is all False there."""
        if self._stage == _IDLE:
            self._mask_places(mask)
        may_be_loud = self._stage == _PLACED or (self._stage == _IDLE and self._top == 128)
        if self._voice.drum:
            self._mask_loudness(mask, may_be_loud)
            mask[self._drum : self._drum + self._top] = self._voice.allowed[: self._top]
            return
        rooms = self._rooms()
        most = min(int(rooms.max()), LONGEST_NOTE * self._whole)
        self._mask_loudness(mask, may_be_loud and most > 0)
        if self._stage == _LONG:
            self._mask_rest_of_length(mask, most)
            return
        if self._stage != _MEASURED and most > 0:
            self._mask_lengths(mask, most)
        if self._ticks:
            mask[self._pitch : self._pitch + 128] = rooms >= self._ticks

    def _mask_places(self, mask: np.ndarray) -> None:
        if self._following is None:  # what is free stays free: no need to look at every place
            first = max(self.place + 1, self._voice.free_from() - self._start)
            mask[self._pos + first : self._pos + max(self._length, first)] = True
            return
        places = self.open_places()
        mask[self._pos : self._pos + len(places)] = places

    def _mask_loudness(self, mask: np.ndarray, allowed: bool) -> None:
        if self._velocities and allowed:
            mask[self._vel : self._vel + len(VELOCITIES)] = True
            mask[self._vel + self._loud] = False

    def _mask_lengths(self, mask: np.ndarray, most: int) -> None:
        mask[self._dur : self._dur + min(most, self._whole)] = True
        if self._ticks and self._ticks <= self._whole:
            mask[self._dur + self._ticks - 1] = False
        number = (most - 1) // self._whole
        if number:
            mask[self._long : self._long + number] = True
            if most == number * self._whole + 1 == self._ticks:
                mask[self._long + number - 1] = False

    def _mask_rest_of_length(self, mask: np.ndarray, most: int) -> None:
        mask[self._dur : self._dur + min(most - self._wholes, self._whole)] = True
        same = self._ticks - self._wholes
        if 1 <= same <= self._whole:
            mask[self._dur + same - 1] = False

    def advance(self, symbol: int) -> None:
        """Take note of a symbol of the inside."""
        if symbol >= self._pitch:
            self._note(symbol)
        elif symbol >= self._dur:
            self._ticks, self._wholes, self._stage = self._wholes + symbol - self._dur + 1, 0, _MEASURED
        elif symbol >= self._long:
            self._wholes += (symbol - self._long + 1) * self._whole
            self._stage = _LONG
        elif symbol >= self._vel:
            self._loud, self._stage = symbol - self._vel, _LOUD
        else:
            self.place, self._top, self._stage = symbol - self._pos, 128, _PLACED

    def _note(self, symbol: int) -> None:
        voice, now = self._voice, self._start + self.place
        self._top = symbol - (self._drum if voice.drum else self._pitch)
        end = now + (1 if voice.drum else self._ticks)
        voice.until[self._top] = end
        voice.last = max(voice.last, end)
        voice.sounded = True
        self.last_end = max(self.last_end, end)
        self.empty, self._stage = False, _IDLE
