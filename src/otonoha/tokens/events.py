"""The `events` codec: any piece of several tracks as one flat stream of symbols (REMI and MMM, with cells).

    Begin [controls] [Ensemble Program …] Start  { Bar left  [heads]  { Program  { [Pos] [Vel] [Dur] Pitch } } }  End

Inside a bar the tracks follow one another: a cell (bar × track) is one span that depends on nothing outside of it,
which is what infilling cuts out. Inside a cell a symbol is written only where it changes something: a note is its
`Pitch`, with `Pos` where the place moves, `Dur` where the length changes, `Vel` where the loudness of a place does.
The whole language is in docs/tokens.md; its numbers are in `events_vocab`.

Axes: T symbols. Times are ticks, `resolution` to a quarter note. Huang and Yang 2020 (REMI, arXiv 2002.00212), Ens
and Pasquier 2020 (MMM, arXiv 2008.06048).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from symusic import Score

from otonoha.music.suggest import one_of
from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_grammar import EventGrammar
from otonoha.tokens.events_header import (
    Attributes,
    Header,
    Section,
    attributes_of,
    read_header,
)
from otonoha.tokens.events_infill import InfillGrammar
from otonoha.tokens.events_instruments import instrument
from otonoha.tokens.events_place import context_streams, place
from otonoha.tokens.events_plan import past_of
from otonoha.tokens.events_read import body_of, frame_of, notes_of, score_of, tracks_of
from otonoha.tokens.events_regions import (
    Cells,
    Parts,
    cells,
    cut_out,
    filled,
    insert_bars,
    slice_bars,
    together,
    with_tracks,
)
from otonoha.tokens.events_repeats import compress, expand, form_repeats, with_countdown
from otonoha.tokens.events_shift import pitched, transposed, with_header
from otonoha.tokens.events_vocab import END, SEP, Layout, layout_of
from otonoha.tokens.events_write import Written, write

__all__ = ["Attributes", "EventConstraints", "Events", "Header", "Section"]

_BATCH = 2**15
"""Notes that are written at once; more gain nothing."""
_MOST_SYMBOLS_A_BAR = 256


@dataclass(frozen=True)
class Events(FixedCodec):
    """Multi-track events. `resolution` ticks a quarter note; `velocities` and `tempos` may be left out; `styles` are
    the names that a header can ask for; `contexts` adds streams of the place in the music (see `events_place`).
    """

    resolution: int = 24
    velocities: bool = True
    tempos: bool = True
    styles: tuple[str, ...] = ()
    contexts: bool = False
    name = "events"

    def __post_init__(self) -> None:
        if not 1 <= self.resolution <= 96:
            raise ValueError(f"resolution must be 1 … 96 ticks a quarter note, got {self.resolution}")
        if len(set(self.styles)) < len(self.styles):
            raise ValueError(f"each style must have a name of its own, got {', '.join(self.styles)}")

    @property
    def layout(self) -> Layout:
        """Which number means what."""
        return layout_of(self.resolution, self.styles)

    @functools.cached_property
    def vocab(self) -> Vocab:
        """event; with `contexts`: metre, beat, quarter, bar, left, program."""
        pitches = self.layout.ids("Pitch")
        event = Stream("event", self.layout.size, ordinal=(pitches.start, len(pitches)))
        return Vocab((event, *(context_streams(self.resolution) if self.contexts else ())))

    def encode(self, music: Score, header: Header | None = None, *, repeats: bool = False) -> Tokens:
        """All tracks of a score that have notes. `header` says what stands before the music; with `repeats`,
        bars that are literally the same as earlier ones are told as repeats.

        Left out: names, lyrics, controllers, pitch bends, the length of drum strokes. Notes that last less than a
        tick last one. ValueError for a score without notes, with too many tracks or bars, or with a metre that cannot
        be written.
        """
        return self._encode([music], [header or Header()], repeats)[0]

    def encode_many(
        self, scores: Sequence[Score], headers: Sequence[Header] | None = None, *, repeats: bool = False
    ) -> list[Tokens]:
        """The same as `encode` for each score, in less time."""
        headers = headers or [Header()] * len(scores)
        return [
            tokens
            for batch in _batches(scores)
            for tokens in self._encode(scores[batch], headers[batch], repeats)
        ]

    def _encode(self, scores: Sequence[Score], headers: Sequence[Header], repeats: bool) -> list[Tokens]:
        written = write(scores, headers, self.layout, velocities=self.velocities, tempos=self.tempos)
        return [self._piece(w, h, repeats) for w, h in zip(written, headers)]

    def _piece(self, written: Written, header: Header, repeats: bool) -> Tokens:
        planned = form_repeats(header.form or (), written.upbeat)
        if repeats or planned:
            return self.tokens(compress(written.event, self.layout, planned, least=2 if repeats else None))
        return self._tokens(written.event, written.clock)

    def tokens(self, event: np.ndarray) -> Tokens:
        """Tokens of symbols: with their clock, and with the context streams if this codec has them."""
        event = np.asarray(event, np.int32)
        return self._tokens(event, None)

    def _tokens(self, event: np.ndarray, clock: np.ndarray | None) -> Tokens:
        streams = {"event": event}
        if clock is None or self.contexts:
            ticks, contexts = place(event, self.layout)
            clock = ticks / self.resolution if clock is None else clock
            streams |= contexts if self.contexts else {}
        return Tokens(streams, clock, self.fingerprint)

    def event(self, tokens: Tokens) -> np.ndarray:
        """(T,) the symbols of tokens of this codec."""
        self.check(tokens)
        return np.asarray(tokens.streams["event"], np.int32)

    def decode(self, tokens: Tokens) -> Score:
        """Tokens -> a score with `resolution` ticks a quarter; reading stops at End. Repeats are written out, and
        of an infill sequence the cells are filled first. Drum strokes last a sixteenth at most.
        """
        event = expand(filled(self.event(tokens), self.layout), self.layout)[0]
        begin = body_of(event)
        ends = np.flatnonzero(event == END)
        body = event[begin : int(ends[0]) if len(ends) else len(event)]
        frame = frame_of(body, self.layout)
        return score_of(notes_of(body, self.layout, frame, tracks_of(event, self.layout)), frame, self.layout)

    def header(self, tokens: Tokens) -> Header:
        """The controls that stand before the music."""
        event = self.event(tokens)
        return read_header(self.layout, event[: body_of(event)].tolist(), countdown=self._counts(event))[0]

    def _counts(self, event: np.ndarray) -> bool:
        bars = self.layout.ids("Bar")
        return bool(((event > bars.start) & (event < bars.stop)).any())

    def units(self, tokens: Tokens) -> int:
        """Likelihoods are counted per note; all other symbols add nats, not notes."""
        first = self.layout.ids("Pitch").start
        event = self.event(tokens)
        return int(((event >= first) & (event < first + 256)).sum())

    # -- asking for music -------------------------------------------------------------------------------------

    def grammar(
        self, constraints: EventConstraints | None = None, prompt: Tokens | None = None
    ) -> EventGrammar | InfillGrammar:
        """A fresh walk; after `prompt`, at the next bar line, if one is given (its End does not count); the answers
        to a region if the prompt is an infill sequence.
        """
        asked = constraints or EventConstraints()
        event = None if prompt is None else self.event(prompt)
        if event is not None and (event == SEP).any():
            return InfillGrammar(self.layout, asked, event, velocities=self.velocities)
        past = None if event is None or not len(event) else past_of(event, self.layout)
        return EventGrammar(self.layout, asked, past, velocities=self.velocities, tempos=self.tempos)

    def constraints(self, **asked: Any) -> EventConstraints:
        """What a person asks, None where nothing was said; see `EventConstraints`."""
        for name in asked:
            one_of(name, EventConstraints.__dataclass_fields__, "constraint of the codec events")
        return EventConstraints(**{name: value for name, value in asked.items() if value is not None})

    def most_positions(self, bars: int) -> int:
        """More symbols than so many bars sensibly hold."""
        return bars * _MOST_SYMBOLS_A_BAR

    def prompt(self, tokens: Tokens, constraints: EventConstraints | None = None) -> Tokens:
        """The tokens as the beginning of something longer: without End, with bars counted to the end that is asked
        for, and with the header that is asked for, if there is one. Infill sequences stay as they are.
        """
        event = self.event(tokens)
        if (event == SEP).any():
            return tokens
        asked = constraints or EventConstraints()
        ends = np.flatnonzero(event == END)
        event = event[: int(ends[0])] if len(ends) else event
        if asked.header is not None:
            event = with_header(event, self.layout, asked.header)
        header = asked.header or self.header(tokens)
        after = asked.full_bars if header.countdown else None
        begin = body_of(event)
        return self.tokens(np.append(event[:begin], with_countdown(event[begin:], self.layout, after)))

    # -- tokens to tokens -------------------------------------------------------------------------------------

    def with_header(self, tokens: Tokens, header: Header) -> Tokens:
        """The same music behind another header; the bars are counted if it says so. Sections stay as they are."""
        event = with_header(self.event(tokens), self.layout, header)
        begin = body_of(event)
        body = with_countdown(event[begin:], self.layout, 0 if header.countdown else None)
        return self.tokens(np.append(event[:begin], body))

    def drop(self, tokens: Tokens, *names: str) -> Tokens:
        """The tokens with these controls of the header not said, as for classifier-free guidance."""
        return self.with_header(tokens, self.header(tokens).without(*names))

    def attributes(self, music: Score | Tokens) -> Attributes:
        """What can be measured of a piece, to be compared with what a header asks for."""
        return attributes_of(self.decode(music) if isinstance(music, Tokens) else music)

    def expand(self, tokens: Tokens) -> Tokens:
        """The tokens with their repeats written out."""
        return self.tokens(expand(self.event(tokens), self.layout)[0])

    def cells(self, tokens: Tokens) -> Cells:
        """Where the content of each cell (bar × track) stands in the tokens, which must have no repeats."""
        event = self.event(tokens)
        repeats = self.layout.ids("Repeat")
        if ((event >= repeats.start) & (event < repeats.stop)).any():
            raise ValueError("the cells of repeated bars are not written; expand the tokens first")
        return cells(event, self.layout)

    def with_region(
        self, tokens: Tokens, bars: Iterable[int], tracks: Iterable[int] | None = None
    ) -> tuple[Tokens, Tokens]:
        """Cells cut out of a piece: (context up to `Sep`, content of the cells as answers). Bars count from 0, a
        pick-up included; no tracks given: all. Repeats are written out. `infill` joins the two.
        """
        cut = cut_out(self.event(tokens), self.layout, bars, tracks)
        whole = self.tokens(np.append(cut.context, cut.content))
        return whole.slice(0, len(cut.context)), whole.slice(len(cut.context))

    def infill(self, context: Tokens, content: Tokens) -> Tokens:
        """Context and content as one infill sequence."""
        return self.tokens(np.append(self.event(context), self.event(content)))

    def filled(self, tokens: Tokens) -> Tokens:
        """An infill sequence as a piece: the exact inverse of `with_region`. Cells that have no answer are empty."""
        return self.tokens(filled(self.event(tokens), self.layout))

    def with_tracks(self, tokens: Tokens, instruments: Sequence[str | int]) -> Tokens:
        """The piece with further tracks, silent until a region of them is written."""
        programs = [instrument(i) for i in instruments]
        return self.tokens(with_tracks(self.event(tokens), self.layout, programs))

    def insert_bars(self, tokens: Tokens, at: int, count: int) -> Tokens:
        """The piece with empty bars before bar `at`, so that they can be filled. Repeats are written out."""
        return self._joined(insert_bars(self.event(tokens), self.layout, at, count))

    def slice_bars(self, tokens: Tokens, first: int, last: int) -> Tokens:
        """Bars first … last - 1 with metre, key and tempo in force; notes may ring beyond the last one."""
        return self._joined(slice_bars(self.event(tokens), self.layout, first, last))

    def _joined(self, parts: Parts) -> Tokens:
        event = together(parts, self.layout)
        begin = body_of(event)
        if self._counts(event):
            event = np.append(event[:begin], with_countdown(event[begin:], self.layout))
        return self.tokens(event)

    def transpose(self, tokens: Tokens, semitones: int) -> Tokens:
        """The same piece so many semitones higher, keys and register included; drums stay. ValueError outside of
        MIDI's range.
        """
        return self.tokens(transposed(self.event(tokens), self.layout, semitones))

    def transpositions(self, tokens: Tokens, low: int = 0, high: int = 127) -> range:
        """All shifts that keep the notes within low … high; 0 is always among them."""
        pitches = self.layout.value[pitched(self.event(tokens), self.layout)]
        if not len(pitches):
            return range(1)
        return range(min(0, low - int(pitches.min())), max(0, high - int(pitches.max())) + 1)


def _batches(scores: Sequence[Score]) -> Iterator[slice]:
    """Runs of scores that together have enough notes to be written quickly."""
    begin = notes = 0
    for i, score in enumerate(scores, 1):
        notes += score.note_num()
        if notes >= _BATCH or i == len(scores):
            yield slice(begin, i)
            begin, notes = i, 0
