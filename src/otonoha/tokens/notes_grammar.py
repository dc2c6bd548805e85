"""What may come next in a melody: the grammar of the `notes` codec, with the constraints of a request.

Every walk under these masks decodes to valid music: it starts with a note or a rest, ties only what
sounds, and ends exactly on the bar line that was asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from otonoha.tokens.base import Tokens
from otonoha.tokens.place import (
    QUARTER_SIZE,
    UNKNOWN_KEY,
    Asked,
    bar_ticks,
    key_pitches,
    opening,
    resumption,
)

END, REST, TIE, FIRST_PITCH = 0, 1, 2, 3
PHRASE_BARS = 8
LEFT_UNKNOWN, LEFT_MOST, LEFT_NONE, LEFT_SIZE = 0, 16, 17, 18
"""`left`: 0 unknown, 1 … 16 bars remain counting this one (16: or more), 17 the last bar line is reached."""
_END, _REST, _TIE, _NOTE = 1, 2, 4, 8


@dataclass(frozen=True, kw_only=True)
class NotesConstraints(Asked):
    """What a request asks of a melody. Without `bars`, END may come at any time.

    `bars` full bars are written, and the melody ends on the bar line after the last of them. An incomplete
    bar at the start, a pick-up or what is missing of the prompt's last bar, is written besides.
    """

    low: int = 0
    """Lowest MIDI pitch."""
    high: int = 127
    """Highest MIDI pitch."""
    max_rest: float | Fraction | None = None
    """Longest silence in quarter notes; 0: no rests."""
    free_end: bool = False
    """With `bars`: END may come anywhere in the last bar once a note has ended there, not only on its line."""
    no_end_before: int = 0
    """END is forbidden before so many full bars; only where `bars` is None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bars is not None and self.no_end_before:
            raise ValueError("no_end_before has no effect beside bars; give one of them")
        if not 0 <= self.low <= self.high <= 127:
            raise ValueError(f"the range must be 0 <= low <= high <= 127, got {self.low} … {self.high}")
        if self.max_rest is not None and self.max_rest < 0:
            raise ValueError(f"max_rest must not be negative, got {self.max_rest}")


class NotesGrammar:
    """One walk through a melody being written. Times are ticks since the bar line before the walk's start."""

    def __init__(
        self, resolution: int, durations: np.ndarray, constraints: NotesConstraints, prompt: Tokens | None
    ) -> None:
        self.done = False
        self._resolution = resolution
        self._ticks, self._fits, self._shortest = _duration_masks(resolution, tuple(durations.tolist()))
        if prompt is not None and len(prompt):
            self._continue(constraints, prompt)
        else:
            self._begin(constraints)
        self._bar = bar_ticks(self._metre, resolution)
        first_line = -(-self._now // self._bar) * self._bar
        self._end = None if constraints.bars is None else first_line + constraints.bars * self._bar
        least = constraints.no_end_before
        self._earliest_end = first_line + least * self._bar if least else 0
        if self._end is not None:
            self._earliest_end = self._end - self._bar + 1 if constraints.free_end else self._end
        rest = constraints.max_rest
        self._max_rest = None if rest is None else round(Fraction(rest) * resolution)
        self._has_note = False
        self._pitch_masks = _pitch_masks(
            constraints.low, constraints.high, self._key if constraints.scale_only else None
        )
        self._flags = self._what_may_come()

    def _begin(self, constraints: NotesConstraints) -> None:
        self._metre, self._key, self._now, self._number = opening(constraints, self._resolution)
        self._last, self._silence = END, 0

    def _continue(self, constraints: NotesConstraints, prompt: Tokens) -> None:
        last = {name: int(stream[-1]) for name, stream in prompt.streams.items()}
        place = resumption(constraints, self._resolution, last, self._ticks[last["duration"]])
        self._metre, self._key, self._now, self._number = place
        self._last = REST if last["pitch"] == REST else FIRST_PITCH
        sounding = np.flatnonzero(prompt.streams["pitch"] != REST)
        silent = prompt.streams["duration"][sounding[-1] + 1 if len(sounding) else 0 :]
        self._silence = sum(self._ticks[d] for d in silent.tolist())

    @property
    def bars_left(self) -> int | None:
        """Bars to the requested end, counting the one in which the next event lies; None without an end."""
        return None if self._end is None else (self._end - self._now // self._bar * self._bar) // self._bar

    def context(self) -> dict[str, int]:
        """key, metre, beat, quarter, bar and left of the next event."""
        bar, position = divmod(self._now, self._bar)
        quarter, beat = divmod(position, self._resolution)
        left = LEFT_UNKNOWN
        if self._end is not None:
            left = min(self._end // self._bar - bar, LEFT_MOST) or LEFT_NONE
        return {
            "key": self._key,
            "metre": self._metre,
            "beat": beat,
            "quarter": min(quarter, QUARTER_SIZE - 1),
            "bar": (self._number + bar) % PHRASE_BARS,
            "left": left,
        }

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(131,) for the pitch, (D,) for the duration of `drawn[0]`. Shared arrays: do not write to them."""
        if k == 0:
            return self._pitch_masks[self._flags]
        if drawn[0] == END:
            return self._shortest
        limit = len(self._fits) - 1
        if self._end is not None:
            limit = min(limit, self._end - self._now)
        if drawn[0] == REST:
            limit = min(limit, self._room_for_rest())
        return self._fits[limit]

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of a complete event."""
        pitch, ticks = drawn[0], self._ticks[drawn[1]]
        if pitch == END:
            self.done = True
            return
        self._now += ticks
        self._silence = self._silence + ticks if pitch == REST else 0
        self._has_note = self._has_note or pitch >= FIRST_PITCH
        self._last = pitch
        self._flags = self._what_may_come()

    def _what_may_come(self) -> int:
        if self._end is not None and self._now >= self._end:
            return _END
        flags = _NOTE
        if self._has_note and self._now >= self._earliest_end and self._last != REST:
            flags |= _END
        if self._last >= TIE:
            flags |= _TIE
        if self._room_for_rest() > 0:
            flags |= _REST
        return flags

    def _room_for_rest(self) -> int:
        """Longest rest, in ticks. Before the first note the last tick is kept free for one."""
        room = len(self._fits) if self._max_rest is None else self._max_rest - self._silence
        if self._end is not None and not self._has_note:
            room = min(room, self._end - self._now - 1)
        return room


@functools.lru_cache(maxsize=256)
def _pitch_masks(low: int, high: int, scale: int | None) -> dict[int, np.ndarray]:
    """Flags of what may come -> (131,) mask. `scale` is a key index, None for all pitches."""
    if scale == UNKNOWN_KEY:
        raise ValueError("scale_only needs a key; give one, such as key='G major'")
    notes = np.zeros(FIRST_PITCH + 128, bool)
    notes[FIRST_PITCH + low : FIRST_PITCH + high + 1] = True
    if scale is not None:
        notes[FIRST_PITCH:] &= key_pitches(scale)
    if not notes.any():
        raise ValueError(f"no pitch of the key lies between {low} and {high}; widen the range")
    masks = {}
    for flags in range(1, 16):
        mask = notes.copy() if flags & _NOTE else np.zeros_like(notes)
        for bit, symbol in ((_END, END), (_REST, REST), (_TIE, TIE)):
            mask[symbol] = bool(flags & bit)
        mask.setflags(write=False)
        masks[flags] = mask
    return masks


@functools.lru_cache(maxsize=16)
def _duration_masks(
    resolution: int, durations: tuple[int, ...]
) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray]:
    """Ticks of each symbol; masks by the number of ticks that are free; the mask of END's duration."""
    table = np.array(durations)
    fits = [table <= free for free in range(durations[-1] + 1)]
    shortest = np.arange(len(table)) == 0
    for mask in (*fits, shortest):
        mask.setflags(write=False)
    return durations, fits, shortest
