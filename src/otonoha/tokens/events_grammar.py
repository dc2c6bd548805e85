"""What may come next in a piece of the `events` codec, with the constraints of a request: one mask a symbol.

Every walk under these masks ends, decodes to music that encodes to the same symbols again (repeats written out),
and keeps what was asked: bars, tracks, scale, ranges, number of notes together, form. A mask is never empty.
Ticks count from the first bar of the prompt, or of the piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from otonoha.tokens.events_asked import EventConstraints, missing
from otonoha.tokens.events_bars import bar_length
from otonoha.tokens.events_cell import CellWriter, Voice
from otonoha.tokens.events_header import header_tokens
from otonoha.tokens.events_instruments import DRUMS, INSTRUMENTS
from otonoha.tokens.events_place import PHRASE_BARS
from otonoha.tokens.events_plan import Past, metre_number, plan_of
from otonoha.tokens.events_vocab import (
    END,
    NUMBERS,
    PICKUP,
    QUARTERS,
    REPEATS,
    START,
    Layout,
    left_symbols,
    nearest_tempo,
)
from otonoha.tokens.events_write import MAX_TRACKS
from otonoha.tokens.place import METRES, OTHER_METRE, QUARTER_SIZE, key_index, metre_index

_TRACKS, _BAR_LINE, _HEAD, _COUNT, _CELL = range(5)
"""Where the walk is: in the choice of tracks, at a bar line, in the head of a bar, behind `Repeat`, in a cell."""
_METRE, _KEY, _TEMPO, _NOTHING = range(4)
"""What the head of a bar may tell next."""
FREE_END = 2**40


class EventGrammar:
    """One walk through a piece being written, after `past`."""

    def __init__(
        self, layout: Layout, asked: EventConstraints, past: Past | None, *, velocities: bool, tempos: bool
    ) -> None:
        self.done = False
        self._layout, self._asked, self._tempos = layout, asked, tempos
        self._base, self._size = layout.base, layout.size
        self._spans = {n: slice(r.start, r.stop) for n, r in layout.families.items()}
        self._cell = CellWriter(layout, velocities=velocities)
        self._past = past or Past()
        self._first = len(self._past.start)
        self._upbeat = round(Fraction(asked.pickup) * layout.resolution)
        self._metre, self._key, self._tempo = self._past.metre, self._past.key, self._past.tempo
        self._cell.last_end = self._past.last_end
        self._forced: list[int] = []
        self._phase = _BAR_LINE
        before = self._past.context
        self._place = before.get("quarter", 0) * layout.resolution + before.get("beat", 0)
        self._left, self._program = before.get("left", 0), before.get("program", 0)
        self._shown_bar = before.get("bar", 0)
        self._check()
        full = asked.full_bars
        begin = self._first + bool(self._upbeat)
        self._plan = plan_of(asked.form, begin, None if full is None else begin + full, layout)
        self._counts = asked.said().countdown
        if past is None:
            self._start_header()
        else:
            self._make_voices(self._past.programs)

    # -- what stands before the music ------------------------------------------------------------------------

    def _check(self) -> None:
        asked, past = self._asked, self._past
        wanted = None if asked.metre is None else METRES[metre_index(asked.metre)]
        if wanted is not None and self._metre is not None and wanted != self._metre:
            raise ValueError("the prompt is in {}/{}, which the request must keep".format(*self._metre))
        if self._upbeat and past.start:
            raise ValueError("a pick-up has no effect after a prompt; leave it out")
        if asked.metre is not None:
            length = bar_length(*METRES[metre_index(asked.metre)], self._layout.resolution)
            if not 0 <= self._upbeat < length:
                raise ValueError(f"a pick-up of {asked.pickup} quarter notes does not fit into a bar")
        if asked.tempo is not None and not self._tempos:
            raise ValueError("this codec writes no tempos, so none can be asked for; leave tempo out")
        if self._metre is not None and 4 * self._metre[0] > QUARTERS * self._metre[1]:
            raise ValueError("the prompt's metre {}/{} cannot be written".format(*self._metre))

    def _start_header(self) -> None:
        asked = self._asked
        header = asked.said()
        tokens = header_tokens(self._layout, header, asked.tracks or ())
        if asked.instruments is None:
            self._forced = tokens[:-1]
            self._phase = _TRACKS
        else:
            self._forced = tokens
        self._chosen: list[int] = list(asked.tracks or ())

    def _make_voices(self, programs: Sequence[int]) -> None:
        asked, past = self._asked, self._past
        wanted = list(programs) if asked.tracks is None else list(asked.tracks)
        lacking = missing(wanted, programs)
        if lacking:
            raise ValueError(
                f"the prompt has no track of {INSTRUMENTS[lacking[0]]}, so it cannot be asked for; "
                f"its tracks are {', '.join(INSTRUMENTS[p] for p in programs) or 'none'}"
            )
        self._voices: list[Voice] = []
        left = list(wanted)
        for track, program in enumerate(programs):
            heard = track < len(past.until) and bool(past.until[track].any())
            needed = program in left and (asked.instruments is not None or not heard)
            if program in left:
                left.remove(program)
            voice = Voice(program, asked.pitches(program), program == DRUMS, asked.most_together(program))
            voice.sounded = not needed
            if track < len(past.until):
                voice.until = past.until[track].copy()
                voice.last = int(voice.until.max())
            self._voices.append(voice)
        same = [[u for u, v in enumerate(self._voices) if v.program == w.program] for w in self._voices]
        self._same, self._copy = same, [s.index(t) for t, s in enumerate(same)]

    # -- the state of a bar -----------------------------------------------------------------------------------

    @property
    def _bar(self) -> int:
        return len(self._past.start) - 1

    @property
    def _bar_end(self) -> int:
        return self._past.end

    def _fixed_metre(self) -> bool:
        """May the metre not change? Bars that are repeated as they are must be as long as their models."""
        exact = any(s.repeat == "exact" for s in self._asked.form or ())
        return self._asked.metre is not None or exact

    def _limit(self) -> int:
        """The tick that no note of this bar may sound beyond."""
        edge = self._plan.edge(self._bar)
        if edge is None:
            return FREE_END
        shortest = self._past.length[-1] if not self._upbeat or self._bar else self._full_length()
        if not self._fixed_metre():
            shortest = min(shortest, self._shortest_bar())
        return self._bar_end + (edge - self._bar - 1) * shortest

    def _full_length(self) -> int:
        assert self._metre is not None
        return bar_length(*self._metre, self._layout.resolution)

    def _shortest_bar(self) -> int:
        return min(bar_length(*METRES[m], self._layout.resolution) for m in self._metres())

    def _metres(self) -> list[int]:
        """Metres that may be chosen: their bars are whole ticks, and short enough."""
        r = self._layout.resolution
        return [i for i, (n, d) in enumerate(METRES) if 4 * r * n % d == 0 and 4 * n <= QUARTERS * d]

    def _begin_bar(self) -> None:
        past = self._past
        length = self._full_length() if self._metre is not None else 0
        start = past.end
        past.start.append(start)
        past.length.append(length)
        past.sounds.append(False)
        past.rings.append(False)
        self._phase, self._told, self._track = _HEAD, _METRE, -1
        self._used: dict[int, int] = {}
        self._owed: dict[int, int] = {}
        self._place = self._program = 0
        self._shown_bar = self._bar
        self._count_left()
        planned = self._plan.heads.get(self._bar, [])
        self._forced = list(planned)
        self._planned_repeat = any(t in self._layout.ids("Repeat") for t in planned)
        if self._bar == self._first and not self._planned_repeat:
            self._open_first_bar()
        self._sectioned = bool(planned)

    def _count_left(self) -> None:
        table = left_symbols()
        total = self._plan.total
        known = self._counts and total is not None
        self._left = int(table[min(total - self._bar, len(table) - 1)]) if known else 0  # type: ignore[operator]

    def _open_first_bar(self) -> None:
        """Force what the request says of the first bar; a metre that is free is chosen there first."""
        if self._metre is None and self._asked.metre is not None:
            self._forced.append(self._base["Metre"] + metre_index(self._asked.metre))
            if self._upbeat:
                place = (
                    bar_length(*METRES[metre_index(self._asked.metre)], self._layout.resolution)
                    - self._upbeat
                )
                self._forced += [PICKUP, self._base["Pos"] + place]
        if self._metre is not None or self._asked.metre is not None:
            self._forced += self._key_and_tempo()

    def _key_and_tempo(self) -> list[int]:
        found, asked = [], self._asked
        if asked.key is not None and key_index(asked.key) != self._key:
            found.append(self._base["Key"] + key_index(asked.key))
        if asked.tempo is not None and self._tempos:
            tempo = int(nearest_tempo(np.array(asked.tempo)))
            found += [] if tempo == self._tempo else [self._base["Tempo"] + tempo]
        return found

    # -- masks ------------------------------------------------------------------------------------------------

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(V,) bool: which symbols may come next."""
        mask = np.zeros(self._size, bool)
        if self._forced:
            mask[self._forced[0]] = True
        elif self._phase == _CELL:
            self._cell.mask_into(mask)
            if self._cell.idle and (not self._cell.empty or self._may_stay_empty(self._track)):
                self._exits(mask)
        elif self._phase == _HEAD:
            self._mask_head(mask)
        elif self._phase == _BAR_LINE:
            self._bar_line(mask)
        elif self._phase == _COUNT:
            for number in self._counts_of_repeat(self._back):
                mask[self._base["Num"] + number] = True
        else:
            mask[self._spans["Program"]] = len(self._chosen) < MAX_TRACKS
            mask[START] = bool(self._chosen)
        return mask

    def _mask_head(self, mask: np.ndarray) -> None:
        if self._metre is None:
            mask[[self._base["Metre"] + m for m in self._metres() if METRES[m] != (1, 4)]] = True
            return
        asked = self._asked
        if self._told <= _METRE and not self._fixed_metre() and not self._upbeat:
            mask[[self._base["Metre"] + m for m in self._metres() if METRES[m] != self._metre]] = True
        if self._told <= _KEY and asked.key is None:
            mask[self._spans["Key"]] = True
            if self._key is not None:
                mask[self._base["Key"] + self._key] = False
        if self._told <= _TEMPO and asked.tempo is None and self._tempos:
            mask[self._spans["Tempo"]] = True
            if self._tempo is not None:
                mask[self._base["Tempo"] + self._tempo] = False
        quiet = self._cell.last_end <= self._past.start[self._bar]
        if quiet and self._told <= _METRE and asked.repeats and not self._sectioned:
            for back in range(1, min(self._bar, REPEATS) + 1):
                mask[self._base["Repeat"] + back] = bool(self._counts_of_repeat(back))
        self._exits(mask)

    def _counts_of_repeat(self, back: int) -> range | list[int]:
        """How many bars may be repeated from so far back."""
        past, bar = self._past, self._bar
        if self._cell.last_end > past.start[bar]:
            return []
        edge = self._plan.edge(bar)
        most = min(back, NUMBERS if edge is None else edge - bar)
        if bar in self._plan.must_sound:
            return []
        if not all(v.sounded for v in self._voices) and self._plan.last_free is not None:
            most = min(most, self._plan.last_free - bar)
        found = []
        for number in range(1, most + 1):
            source = bar - back + number - 1
            if past.length[source] != past.length[bar]:
                break
            if past.sounds[source] and not past.rings[source]:
                found.append(number)
        return found

    def _can_sound(self, track: int) -> bool:
        voice = self._voices[track]
        return voice.last <= self._past.start[-1] or voice.free_from() < self._bar_end

    def _may_stay_empty(self, track: int) -> bool:
        """A cell without notes is written only for the sake of a later copy of its program."""
        if track in self._unheard():
            return False
        return any(self._can_sound(u) for u in self._same[track] if u > track)

    def _unheard(self) -> list[int]:
        """The tracks that must sound in this bar, since it is the last one that can be written freely."""
        if self._bar != self._plan.last_free:
            return []
        return [t for t, v in enumerate(self._voices) if not v.sounded]

    def _due(self) -> list[int]:
        """Tracks whose cells must be written before the bar ends."""
        due = list(self._owed.values())
        for track in self._unheard():
            due.append(self._same[track][self._used.get(self._voices[track].program, 0)])
        return due

    def _exits(self, mask: np.ndarray) -> None:
        """Allow the next cells of this bar, the next bar, the end."""
        due = self._due()
        if self._phase == _CELL and self._cell.empty:
            later = [u for u in self._same[self._track] if u > self._track]
            due.append(later[0])
        for track in range(self._track + 1, min(due, default=len(self._voices) - 1) + 1):
            program = self._voices[track].program
            next_copy = self._copy[track] == self._used.get(program, 0)
            if next_copy and (self._can_sound(track) or self._may_stay_empty(track)):
                mask[self._base["Program"] + program] = True
        if due or (self._bar in self._plan.must_sound and not self._past.sounds[self._bar]):
            return
        if self._plan.total == self._bar + 1 and self._cell.last_end <= self._past.start[self._bar]:
            return
        self._bar_line(mask)

    def _bar_line(self, mask: np.ndarray) -> None:
        bars, total = len(self._past.start), self._plan.total
        if total is not None:
            mask[self._next_bar() if bars < total else END] = True
            return
        mask[self._next_bar()] = True
        if bars > self._first and all(v.sounded for v in self._voices):
            mask[END] = self._past.start[-1] < self._cell.last_end <= self._past.end

    def _next_bar(self) -> int:
        table, total = left_symbols(), self._plan.total
        if not self._counts or total is None:
            return self._base["Bar"]
        return self._base["Bar"] + int(table[min(total - len(self._past.start), len(table) - 1)])

    # -- going on ---------------------------------------------------------------------------------------------

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of the symbol that was drawn."""
        symbol = int(drawn[0])
        if self._forced:
            self._forced.pop(0)
        if self._phase == _CELL and symbol >= self._spans["Pos"].start:
            self._cell.advance(symbol)
            self._past.sounds[-1] |= not self._cell.empty
            self._place = self._cell.place
            return
        self._taken[self._layout.names[self._layout.kind[symbol]]](self, symbol)

    def _special(self, symbol: int) -> None:
        if symbol == START:
            self._make_voices(self._chosen)
            self._phase = _BAR_LINE
        elif symbol == END:
            self.done = True

    def _take_bar(self, symbol: int) -> None:
        self._close_bar()
        self._begin_bar()

    def _close_bar(self) -> None:
        if self._past.start:
            self._past.rings[-1] = self._cell.last_end > self._past.end

    def _take_program(self, symbol: int) -> None:
        program = symbol - self._base["Program"]
        if self._phase == _TRACKS:
            self._chosen.append(program)
            return
        if not hasattr(self, "_voices"):  # the declaration of tracks that were asked for
            return
        if self._phase == _CELL and self._cell.empty:
            later = [u for u in self._same[self._track] if u > self._track]
            self._owed[self._voices[self._track].program] = later[0]
        copy = self._used.get(program, 0)
        self._used[program] = copy + 1
        self._track = next(
            t for t, v in enumerate(self._voices) if v.program == program and self._copy[t] == copy
        )
        if self._owed.get(program) == self._track:
            del self._owed[program]
        past = self._past
        origin = self._full_length() - past.length[-1] if self._upbeat and self._bar == 0 else 0
        self._cell.begin(self._voices[self._track], past.start[-1], origin, past.length[-1], self._limit())
        self._phase, self._place, self._program = _CELL, origin, program + 1

    def _take_metre(self, symbol: int) -> None:
        if self._phase != _HEAD:
            return
        first = self._metre is None
        self._metre = METRES[symbol - self._base["Metre"]]
        self._past.length[-1] = self._full_length()
        self._told = _KEY
        if first and self._asked.metre is None:
            self._forced += self._key_and_tempo()

    def _take_key(self, symbol: int) -> None:
        if self._phase == _HEAD:
            self._key, self._told = symbol - self._base["Key"], _TEMPO

    def _take_tempo(self, symbol: int) -> None:
        self._tempo, self._told = symbol - self._base["Tempo"], _NOTHING

    def _take_place(self, symbol: int) -> None:
        """The place of a pick-up."""
        self._place = symbol - self._base["Pos"]
        self._past.length[-1] = self._full_length() - self._place

    def _take_repeat(self, symbol: int) -> None:
        self._back, self._phase = symbol - self._base["Repeat"], _COUNT

    def _take_number(self, symbol: int) -> None:
        if self._phase != _COUNT:
            return
        past = self._past
        for k in range(symbol - self._base["Num"]):
            if k:
                past.start.append(past.end)
                past.length.append(past.length[-1])
                past.sounds.append(False)
                past.rings.append(False)
            past.sounds[-1], past.rings[-1] = past.sounds[-1 - self._back], past.rings[-1 - self._back]
        self._cell.last_end = max(self._cell.last_end, past.end if past.sounds[-1] else 0)
        self._phase = _BAR_LINE

    def _nothing(self, symbol: int) -> None:
        """Controls, sections and marks of variation change nothing that may come."""

    _taken = {  # noqa: RUF012
        **dict.fromkeys(("Section", "Style", "Pace", "Density", "Register", "Polyphony"), _nothing),
        "Special": _special,
        "Bar": _take_bar,
        "Program": _take_program,
        "Metre": _take_metre,
        "Key": _take_key,
        "Tempo": _take_tempo,
        "Pos": _take_place,
        "Repeat": _take_repeat,
        "Num": _take_number,
    }

    def context(self) -> dict[str, int]:
        """metre, beat, quarter, bar, left and program before the next symbol."""
        quarter, beat = divmod(self._place, self._layout.resolution)
        number = None if self._metre is None else metre_number(self._metre)
        return {
            "metre": 0 if self._metre is None else OTHER_METRE if number is None else number,
            "beat": beat,
            "quarter": min(quarter, QUARTER_SIZE - 1),
            "bar": self._shown_bar % PHRASE_BARS,
            "left": self._left,
            "program": self._program,
        }
