"""What may come next in a grid of voices: the grammar of the `grid` codec, with the constraints of a request.

Every walk under these masks decodes to valid music: only what sounds is held, given voices are kept to the
note, and the walk ends on the bar line that was asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from otonoha.music.suggest import one_of
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

if TYPE_CHECKING:
    from otonoha.tokens.grid import Grid

REST = 0
PHRASE_BARS = 4


def tidy(column: np.ndarray, hold: int) -> np.ndarray:
    """(T,) symbols in which a HOLD that holds nothing has become a REST."""
    heads = np.where(column != hold, np.arange(len(column)), -1)
    head = np.maximum.accumulate(heads) if len(column) else heads
    idle = (column == hold) & ((head < 0) | (column[head] == REST))
    return np.where(idle, REST, column)


@dataclass(frozen=True, kw_only=True)
class GridConstraints(Asked):
    """What a request asks of the voices. Without `bars` as much is written as is `given`, else without end;
    given voices are free of `scale_only`.

    `bars` full bars are written; an incomplete bar at the start, a pick-up or what is missing of the
    prompt's last bar, is written besides.
    """

    ranges: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    """Voice -> lowest and highest MIDI pitch."""
    given: Mapping[str, Sequence[int]] = field(default_factory=lambda: MappingProxyType({}))
    """Voice -> its symbols from the walk's first step on, as in `Tokens.streams`: to be harmonised."""
    no_crossing: bool = False
    """No voice may sound higher than one above it."""


class GridGrammar:
    """One walk through a grid being written. Times are steps since the bar line before the walk's start."""

    def __init__(self, grid: Grid, constraints: GridConstraints, prompt: Tokens | None) -> None:
        self._grid = grid
        self._sounding = [REST] * grid.voices
        if prompt is not None and len(prompt):
            self._continue(constraints, prompt)
        else:
            self._begin(constraints)
        self._bar = bar_ticks(self._metre, grid.steps_per_quarter)
        self._start = self._now
        self._given = self._read_given(constraints)
        self._end = self._find_end(constraints)
        self.done = self._end is not None and self._now >= self._end
        self._no_crossing = constraints.no_crossing
        scale = self._key if constraints.scale_only else None
        spans = [_span(grid, constraints, name) for name in grid.names]
        self._free = [_free_masks(grid.low, grid.high, grid.holds, *span, scale) for span in spans]
        self._only = _unit_masks(grid.vocab.symbols[0].size)

    def _begin(self, constraints: GridConstraints) -> None:
        self._metre, self._key, self._now, self._number = opening(constraints, self._grid.steps_per_quarter)

    def _continue(self, constraints: GridConstraints, prompt: Tokens) -> None:
        last = {name: int(stream[-1]) for name, stream in prompt.streams.items()}
        place = resumption(constraints, self._grid.steps_per_quarter, last, 1)
        self._metre, self._key, self._now, self._number = place
        for v, name in enumerate(self._grid.names):
            column = np.asarray(prompt.streams[name])
            if self._grid.hold is not None:
                column = tidy(column, self._grid.hold)
                column = column[column != self._grid.hold]
            self._sounding[v] = int(column[-1]) if len(column) else REST

    def _read_given(self, constraints: GridConstraints) -> dict[int, list[int]]:
        grid, given = self._grid, {}
        for name, symbols in constraints.given.items():
            v = grid.names.index(one_of(name, grid.names, "voice"))
            column = np.asarray(symbols, np.int64)
            size = grid.vocab.symbols[v].size
            if not len(column) or column.min() < 0 or column.max() >= size:
                raise ValueError(f"the given voice {name!r} must hold symbols 0 … {size - 1}, at least one")
            if grid.hold is not None:
                column = tidy(np.append(self._sounding[v], column), grid.hold)[1:]
            given[v] = column.tolist()
        if len({len(column) for column in given.values()}) > 1:
            raise ValueError("the given voices must be equally long")
        return given

    def _find_end(self, constraints: GridConstraints) -> int | None:
        length = len(next(iter(self._given.values()))) if self._given else None
        if constraints.bars is None:
            return None if length is None else self._now + length
        end = -(-self._now // self._bar) * self._bar + constraints.bars * self._bar
        if length is not None and self._now + length < end:
            raise ValueError(
                f"the given voices have {length} steps, {constraints.bars} bars need {end - self._now}"
            )
        return end

    def context(self) -> dict[str, int]:
        """key, metre, beat, quarter and bar of the next step."""
        bar, position = divmod(self._now, self._bar)
        quarter, beat = divmod(position, self._grid.steps_per_quarter)
        return {
            "key": self._key,
            "metre": self._metre,
            "beat": beat,
            "quarter": min(quarter, QUARTER_SIZE - 1),
            "bar": (self._number + bar) % PHRASE_BARS,
        }

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(size,) what voice `k` may do. Shared arrays: do not write to them."""
        if k in self._given:
            return self._only[self._given[k][self._now - self._start]]
        free = self._free[k][self._sounding[k] != REST]
        return self._uncrossed(k, drawn, free) if self._no_crossing else free

    def _uncrossed(self, k: int, drawn: Sequence[int], free: np.ndarray) -> np.ndarray:
        """The mask without what would sound above the voices over this one or below given ones under it."""
        first, hold = self._grid.first_pitch, self._grid.hold
        above = [p for v in range(k) if (p := self._after(v, drawn[v])) != REST]
        under = [
            p
            for v, column in self._given.items()
            if v > k and (p := self._after(v, column[self._now - self._start])) != REST
        ]
        top, floor = min(above, default=len(free) - 1), max(under, default=first)
        mask = free.copy()
        mask[first:floor] = False
        mask[top + 1 :] = False
        if hold is not None and not floor <= self._sounding[k] <= top:
            mask[hold] = False
        return mask

    def _after(self, voice: int, symbol: int) -> int:
        """The pitch symbol that sounds in a voice when it takes `symbol`."""
        return self._sounding[voice] if symbol == self._grid.hold else symbol

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of a complete step."""
        self._sounding = [self._after(v, symbol) for v, symbol in enumerate(drawn)]
        self._now += 1
        self.done = self._end is not None and self._now >= self._end


def _span(grid: Grid, constraints: GridConstraints, name: str) -> tuple[int, int]:
    """The range of a voice in MIDI pitches; refuses ranges of unknown voices."""
    for voice, (low, high) in constraints.ranges.items():
        one_of(voice, grid.names, "voice")
        if not grid.low <= low <= high <= grid.high:
            raise ValueError(
                f"the range {low} … {high} of {voice!r} must lie within the grid's {grid.low} … {grid.high}"
            )
    return constraints.ranges.get(name, (grid.low, grid.high))


@functools.lru_cache(maxsize=256)
def _free_masks(
    grid_low: int, grid_high: int, holds: bool, low: int, high: int, scale: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of a voice that is silent and of one that sounds; `scale` is a key index or None."""
    if scale == UNKNOWN_KEY:
        raise ValueError("scale_only needs a key; give one, such as key='G major'")
    pitches = np.arange(grid_low, grid_high + 1)
    allowed = (low <= pitches) & (pitches <= high)
    if scale is not None:
        allowed &= key_pitches(scale)[pitches]
    if not allowed.any():
        raise ValueError(f"no pitch of the key lies between {low} and {high}; widen the range")
    head = ([True, False], [True, True]) if holds else ([True], [True])
    silent, sounding = (np.concatenate([np.array(h), allowed]) for h in head)
    for mask in (silent, sounding):
        mask.setflags(write=False)
    return silent, sounding


@functools.lru_cache(maxsize=16)
def _unit_masks(size: int) -> np.ndarray:
    """(size, size): row s allows symbol s only."""
    masks = np.eye(size, dtype=bool)
    masks.setflags(write=False)
    return masks
