"""What a request may ask of the `events` codec, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from otonoha.tokens.events_header import Header, Section, checked_form
from otonoha.tokens.events_instruments import DRUMS, INSTRUMENTS, instrument
from otonoha.tokens.events_vocab import QUARTERS
from otonoha.tokens.events_write import MAX_TRACKS
from otonoha.tokens.place import METRES, Asked, key_index, key_pitches, metre_index


@dataclass(frozen=True, kw_only=True)
class EventConstraints(Asked):
    """What a request asks of a piece. None leaves the choice to the model, or to the prompt.

    `bars` full bars are written, after the prompt if there is one (a pick-up is written besides); without them the
    end may come behind any bar. A `metre` that is given holds throughout, as a `key` does; else both may change.
    """

    instruments: tuple[str | int, ...] | None = None
    """The tracks, in their order: each sounds at least once and there are no others. After a prompt they must be
    among its tracks, and each of them sounds again."""
    ranges: Mapping[str | int, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    """Instrument -> lowest and highest MIDI pitch."""
    polyphony: int | Mapping[str | int, int] | None = None
    """How many notes of a track may sound together; by instrument, or for all but drums."""
    form: tuple[Section, ...] | None = None
    """The sections, whose bars add up to `bars`. Exact ones are written as repeats. No note sounds over the end of
    a section."""
    tempo: float | None = None
    """Quarter notes a minute, throughout."""
    repeats: bool = True
    """May the model write repeats of its own?"""
    header: Header | None = None
    """The controls before the music; None: none but the instruments and the countdown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_only and self.key is None:
            raise ValueError("scale_only needs a key; give one, such as key='G major'")
        if self.tempo is not None and not 10 <= self.tempo <= 1000:
            raise ValueError(f"tempo must be 10 … 1000 quarter notes a minute, got {self.tempo}")
        if self.instruments is not None:
            object.__setattr__(self, "instruments", tuple(instrument(i) for i in self.instruments))
            if not 1 <= len(self.instruments) <= MAX_TRACKS:
                raise ValueError(f"there must be 1 … {MAX_TRACKS} instruments, got {len(self.instruments)}")
        if self.pickup and self.metre is None:
            raise ValueError("a pick-up needs a metre; give one, such as metre='3/4'")
        self._check_metre()
        self._check_form()
        self._check_header()
        for program in range(len(INSTRUMENTS)) if self.ranges or self.scale_only else ():
            self.pitches(program)

    def _check_metre(self) -> None:
        if self.metre is None:
            return
        numerator, denominator = METRES[metre_index(self.metre)]
        if 4 * numerator > QUARTERS * denominator:
            raise ValueError(f"bars have at most {QUARTERS} quarter notes, those of {self.metre} have more")
        if (numerator, denominator) == (1, 4):
            raise ValueError("bars of one quarter note are counted in fours; ask for 4/4")

    def _check_form(self) -> None:
        if self.form is None:
            return
        checked_form(self.form)
        asked = sum(s.bars for s in self.form)
        if self.bars is not None and self.bars != asked:
            raise ValueError(f"the sections have {asked} bars, {self.bars} are asked for")
        if not self.form:
            raise ValueError("a form needs at least one section")

    def _check_header(self) -> None:
        header = self.header
        if header is None:
            return
        for name, read in (("key", key_index), ("metre", metre_index)):
            mine, its = getattr(self, name), getattr(header, name)
            if mine is not None and its is not None and read(mine) != read(its):
                raise ValueError(f"the request asks for {name} {mine}, its header for {its}: they contradict")
        total = None if self.bars is None else self.bars + bool(self.pickup)
        if total is not None and header.bars is not None and header.bars != total:
            raise ValueError(f"the request has {total} bars, its header {header.bars}: they contradict")
        if header.form is not None and self.form is not None and header.form != self.form:
            raise ValueError("the request and its header have two forms: they contradict")
        if self.instruments is None and not header.instruments:
            raise ValueError("a header without instruments needs them in the request; give instruments")

    @property
    def tracks(self) -> tuple[int, ...] | None:
        """The instruments by number."""
        return None if self.instruments is None else tuple(instrument(i) for i in self.instruments)

    @property
    def full_bars(self) -> int | None:
        """The number of full bars: asked for, or those of the form."""
        return sum(s.bars for s in self.form) if self.form is not None else self.bars

    def said(self) -> Header:
        """The header to be written."""
        header = self.header or Header()
        if self.form is None or header.form is not None:
            return header
        fields = {name: getattr(header, name) for name in header.__dataclass_fields__}
        return Header(**fields | {"form": self.form})

    def pitches(self, program: int) -> np.ndarray:
        """(128,) which pitches an instrument may play. ValueError where there is none."""
        low, high = {instrument(n): span for n, span in self.ranges.items()}.get(program, (0, 127))
        if not 0 <= low <= high <= 127:
            raise ValueError(
                f"the range of {INSTRUMENTS[program]} must be 0 <= low <= high <= 127: {low} … {high}"
            )
        allowed = (np.arange(128) >= low) & (np.arange(128) <= high)
        if self.scale_only and self.key is not None and program != DRUMS:
            allowed &= key_pitches(key_index(self.key))
        if not allowed.any():
            raise ValueError(f"no pitch of the key lies between {low} and {high} for {INSTRUMENTS[program]}")
        return allowed

    def most_together(self, program: int) -> int | None:
        """How many notes of an instrument may sound together."""
        if self.polyphony is None or program == DRUMS:
            return None
        if isinstance(self.polyphony, int):
            found: int | None = self.polyphony
        else:
            found = {instrument(n): v for n, v in self.polyphony.items()}.get(program)
        if found is not None and not 1 <= found <= 128:
            raise ValueError(f"polyphony must be 1 … 128 notes, got {found}")
        return found


def missing(asked: Sequence[int], there: Sequence[int]) -> list[int]:
    """What is asked for more often than it is there."""
    left, lacking = list(there), []
    for program in asked:
        if program in left:
            left.remove(program)
        else:
            lacking.append(program)
    return lacking
