"""The `notes` codec: one melody as a stream of (pitch, duration) with its place in the music as context.

    pitch     0 END, 1 REST, 2 TIE (the note before goes on), 3 + p for MIDI pitch p
    duration  index into a table of note values, from one tick to a breve
    contexts  key, metre, beat (tick in the quarter), quarter (in the bar), bar (mod 8),
              left (bars to the end)

Axes: T events. A length that is no note value is written as a note with TIEs, or as several RESTs. The
contexts of an event describe the place where it begins. At a change of metre or key a sounding note is
cut with a TIE, so that the change has an event to stand at.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from symusic import Score, Track

from otonoha.music.tracks import track_of
from otonoha.music.voices import melody
from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab
from otonoha.tokens.lines import Lines, monophonic
from otonoha.tokens.notes_grammar import (
    END,
    FIRST_PITCH,
    LEFT_MOST,
    LEFT_NONE,
    LEFT_SIZE,
    LEFT_UNKNOWN,
    PHRASE_BARS,
    REST,
    TIE,
    NotesConstraints,
    NotesGrammar,
)
from otonoha.tokens.place import (
    KEY_SIZE,
    METRE_SIZE,
    QUARTER_SIZE,
    bar_ticks,
    contexts,
    keys,
    place_score,
    stretches,
    transpose_keys,
)

_BATCH = 64  # melodies at once; more gain nothing
_MOST_EVENTS_A_BAR = 64
_VALUES = (
    *("1/16", "1/12", "1/8", "1/6", "3/16", "1/4", "1/3", "3/8", "1/2", "2/3", "3/4", "7/8", "1", "5/4"),
    *("4/3", "3/2", "7/4", "2", "5/2", "8/3", "3", "7/2", "4", "9/2", "5", "6", "7", "8"),
)


@functools.cache
def duration_table(resolution: int) -> np.ndarray:
    """(D,) ticks of every duration symbol, ascending: one tick and all note values that are whole ticks."""
    ticks = {Fraction(v) * resolution for v in _VALUES}
    table = np.array(sorted({1} | {int(t) for t in ticks if t.denominator == 1}), np.int64)
    table.setflags(write=False)
    return table


@functools.cache
def _pieces(resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How each length up to eight breves is put together greedily, largest value first:
    (L+1,) number of pieces, (L+1,) where they begin in the third array, duration symbols of all pieces.
    """
    table = duration_table(resolution)
    largest = np.searchsorted(table, np.arange(8 * int(table[-1]) + 1), side="right") - 1
    spelt: list[list[int]] = [[]]
    for length, k in enumerate(largest[1:].tolist(), start=1):
        spelt.append([k, *spelt[length - int(table[k])]])
    count = np.array([len(pieces) for pieces in spelt])
    return count, np.cumsum(count) - count, np.array([k for pieces in spelt for k in pieces])


@dataclass(frozen=True)
class Notes(FixedCodec):
    """Monophonic notes. `resolution` is the number of ticks in a quarter note."""

    resolution: int = 24
    name = "notes"
    monophonic = True

    def __post_init__(self) -> None:
        if not 1 <= self.resolution <= 960:
            raise ValueError(f"resolution must be 1 … 960 ticks a quarter note, got {self.resolution}")

    @functools.cached_property
    def vocab(self) -> Vocab:
        """pitch, duration; key, metre, beat, quarter, bar, left."""
        return Vocab(
            (
                Stream("pitch", FIRST_PITCH + 128, ordinal=(FIRST_PITCH, 128)),
                Stream(
                    "duration", len(self.durations), values=tuple(d / self.resolution for d in self.durations)
                ),
                Stream("key", KEY_SIZE, "context"),
                Stream("metre", METRE_SIZE, "context"),
                Stream("beat", self.resolution, "context"),
                Stream("quarter", QUARTER_SIZE, "context"),
                Stream("bar", PHRASE_BARS, "context"),
                Stream("left", LEFT_SIZE, "context"),
            )
        )

    @property
    def durations(self) -> np.ndarray:
        """(D,) ticks of each duration symbol."""
        return duration_table(self.resolution)

    def encode(self, music: Score) -> Tokens:
        """The melody of a score; overlapping notes are cut at the next onset, the last event is END.

        Raises ValueError for a score without notes.
        """
        return self._encode([music])[0]

    def encode_many(self, scores: Sequence[Score]) -> list[Tokens]:
        """The same as `encode` for each score, at about a third of the time."""
        batches = (scores[i : i + _BATCH] for i in range(0, len(scores), _BATCH))
        return [tokens for batch in batches for tokens in self._encode(batch)]

    def _encode(self, scores: Sequence[Score]) -> list[Tokens]:
        """All melodies on one time axis, END taking one tick of it; cut apart at the very end."""
        lines = monophonic([_only_or_melody(s) for s in scores], [s.tpq for s in scores], self.resolution)
        if not lines.length.all():
            raise ValueError("there are no notes to encode; the notes codec wants a melody")
        bars, names = self._frames(scores, lines)
        symbol, ticks = _with_rests(lines)
        if len(bars) + len(names) > 2 * len(scores):
            symbol, ticks = _cut(symbol, ticks, np.concatenate([bars[:, 0], names[:, 0]]))
        symbol, duration = self._split(symbol, ticks)
        length = self.durations[duration]
        clock = np.cumsum(length) - length
        streams, bar, position = contexts(self.resolution, bars, names, clock)
        ends = np.flatnonzero(symbol == END)
        size = np.diff(ends, prepend=-1)
        on_line = position[ends] == 0
        left = np.minimum(np.repeat(bar[ends] + 1 - on_line, size) - bar, LEFT_MOST)
        left[ends[on_line]] = LEFT_NONE
        streams = {"pitch": symbol, "duration": duration, **streams, "bar": bar % PHRASE_BARS, "left": left}
        quarters = (clock - np.repeat(lines.base, size)) / self.resolution
        return [
            Tokens({name: stream[i:j] for name, stream in streams.items()}, quarters[i:j], self.fingerprint)
            for i, j in zip((ends + 1 - size).tolist(), (ends + 1).tolist())
        ]

    def _frames(self, scores: Sequence[Score], lines: Lines) -> tuple[np.ndarray, np.ndarray]:
        """(k, 5) stretches of one metre and (m, 2) keys of all scores, on the time axis of the lines."""
        bars, names = [], []
        for score, base, length in zip(scores, lines.base.tolist(), lines.length.tolist()):
            for begin, origin, *rest in stretches(score, self.resolution, length):
                bars.append((base + begin, base + origin, *rest))
            for begin, key in keys(score, self.resolution, length):
                names.append((base + begin, key))
        return np.array(bars, np.int64), np.array(names, np.int64)

    def _split(self, symbol: np.ndarray, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Events of any length -> symbols and durations of events that are note values."""
        count, first, pieces = _pieces(self.resolution)
        longest = len(count) - 1
        if ticks.max() > longest:
            symbol, ticks = _cut(symbol, ticks, _every(longest, ticks))
        number = count[ticks]
        heads = np.cumsum(number) - number
        piece = np.repeat(first[ticks] - heads, number)
        duration = pieces[piece + np.arange(len(piece))]
        symbols = np.repeat(np.where(symbol == REST, REST, TIE), number)
        symbols[heads] = symbol
        return symbols, duration

    def decode(self, tokens: Tokens, *, qpm: float = 96.0) -> Score:
        """Tokens -> a score of one track with `resolution` ticks a quarter; reading stops at END.

        A TIE without a note before it counts as a rest.
        """
        self.check(tokens)
        symbol = np.asarray(tokens.streams["pitch"], np.int64)
        ends = np.flatnonzero(symbol == END)
        n = int(ends[0]) if len(ends) else len(symbol)
        symbol, ticks = symbol[:n], self.durations[np.asarray(tokens.streams["duration"])[:n]]
        clock = np.cumsum(ticks) - ticks
        score = place_score(self.resolution, clock, {k: v[:n] for k, v in tokens.streams.items()}, qpm)
        heads = np.flatnonzero((symbol != TIE) | (np.arange(n) == 0))
        length = np.add.reduceat(ticks, heads) if n else ticks
        sounding = symbol[heads] >= FIRST_PITCH
        heads, length = heads[sounding], length[sounding]
        pitch = symbol[heads] - FIRST_PITCH
        score.tracks.append(track_of(clock[heads], length, pitch, name="melody"))
        return score

    def grammar(
        self, constraints: NotesConstraints | None = None, prompt: Tokens | None = None
    ) -> NotesGrammar:
        """A fresh walk; after `prompt` (with or without its END), if one is given."""
        if prompt is not None:
            self.check(prompt)
            prompt = _without_end(prompt)
        return NotesGrammar(self.resolution, self.durations, constraints or NotesConstraints(), prompt)

    def constraints(
        self,
        *,
        low: int | None = None,
        high: int | None = None,
        max_rest: float | None = None,
        on_the_line: bool | None = None,
        **asked: Any,
    ) -> NotesConstraints:
        """What a person asks, None where nothing was said; `on_the_line`: the last bar is filled."""
        rest = None if max_rest is None else Fraction(max_rest).limit_denominator(96)
        return NotesConstraints(
            low=0 if low is None else low,
            high=127 if high is None else high,
            max_rest=rest,
            free_end=not on_the_line,
            **asked,
        )

    def most_positions(self, bars: int) -> int:
        """More events than so many bars can sensibly hold."""
        return bars * _MOST_EVENTS_A_BAR

    def prompt(self, tokens: Tokens, constraints: NotesConstraints | None = None) -> Tokens:
        """The tokens without END, with `left` counted to the end that the constraints ask for."""
        walk = self.grammar(constraints, tokens)
        tokens = _without_end(tokens)
        if not len(tokens):
            return tokens
        left = np.full(len(tokens), LEFT_UNKNOWN)
        if walk.bars_left is not None:
            left = _left(self._bars_before(tokens), last=walk.bars_left - 1)
        return Tokens({**tokens.streams, "left": left}, tokens.clock, tokens.codec)

    def _bars_before(self, tokens: Tokens) -> np.ndarray:
        """(T,) bar number of each event, where 0 is the bar in which the last one ends."""
        metre, duration = tokens.streams["metre"], self.durations[tokens.streams["duration"]]
        length = np.array([bar_ticks(m, self.resolution) for m in range(METRE_SIZE)])[metre]
        begin = tokens.streams["quarter"] * self.resolution + tokens.streams["beat"]
        moved = begin + duration - np.append(begin[1:], 0)
        crossed = -(-moved // length)
        crossed[-1] = moved[-1] // length[-1]
        return np.cumsum(crossed) - crossed - crossed.sum()

    def units(self, tokens: Tokens) -> int:
        """Likelihoods are counted per note; rests, ties and END add nats, not notes."""
        return int((tokens.streams["pitch"] >= FIRST_PITCH).sum())

    def transpose(self, tokens: Tokens, semitones: int) -> Tokens:
        """The same melody so many semitones higher, key included. ValueError outside of MIDI's range."""
        self.check(tokens)
        pitch = tokens.streams["pitch"]
        moved = np.where(pitch >= FIRST_PITCH, pitch + semitones, pitch)
        notes = moved[pitch >= FIRST_PITCH]
        if len(notes) and not (notes.min() >= FIRST_PITCH and notes.max() < FIRST_PITCH + 128):
            raise ValueError(f"transposed by {semitones} semitones, the melody leaves MIDI's range 0-127")
        key = transpose_keys(tokens.streams["key"], semitones)
        return Tokens({**tokens.streams, "pitch": moved, "key": key}, tokens.clock, tokens.codec)

    def transpositions(self, tokens: Tokens, low: int = 36, high: int = 96) -> range:
        """All shifts that keep the melody within MIDI pitches low … high; 0 is always among them."""
        pitch = tokens.streams["pitch"]
        notes = pitch[pitch >= FIRST_PITCH] - FIRST_PITCH
        if not len(notes):
            return range(1)
        return range(min(0, low - int(notes.min())), max(0, high - int(notes.max())) + 1)


def _only_or_melody(music: Score) -> Track:
    if len(music.tracks) == 1 and not music.tracks[0].is_drum:
        return music.tracks[0]
    line = melody(music)
    if not len(line.tracks):
        raise ValueError("there are no notes to encode; the notes codec wants a melody")
    return line.tracks[0]


def _without_end(tokens: Tokens) -> Tokens:
    ends = np.flatnonzero(tokens.streams["pitch"] == END)
    return tokens.slice(0, int(ends[0])) if len(ends) else tokens


def _with_rests(lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Notes -> (M,) symbols and (M,) ticks of the notes, the rests before them, and an END a line."""
    place = 2 * np.arange(len(lines.onset)) + lines.line
    size = 2 * len(lines.onset) + len(lines.base)
    before = np.append(lines.base[0], lines.end[:-1])
    first = np.flatnonzero(np.diff(lines.line, prepend=-1))
    before[first] = lines.base
    symbols, ticks = np.full(size, REST), np.ones(size, np.int64)
    ticks[place] = lines.onset - before
    symbols[place + 1] = lines.pitch + FIRST_PITCH
    ticks[place + 1] = lines.end - lines.onset
    symbols[np.append(place[first[1:]], size) - 1] = END
    keep = ticks > 0
    return symbols[keep], ticks[keep]


def _cut(symbol: np.ndarray, ticks: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the events that are sounding at the ticks `at`, all before the last END."""
    begins = np.cumsum(ticks) - ticks
    at = np.unique(at)
    event = np.searchsorted(begins, at, side="right") - 1
    inside = begins[event] < at
    at, event = at[inside], event[inside]
    starts = np.insert(begins, event + 1, at)
    symbols = np.insert(symbol, event + 1, np.where(symbol[event] == REST, REST, TIE))
    return symbols, np.diff(starts, append=begins[-1] + ticks[-1])


def _every(step: int, ticks: np.ndarray) -> np.ndarray:
    """The ticks that lie 1, 2, … steps after the beginning of an event that is longer."""
    number = (ticks - 1) // step
    event = np.repeat(np.arange(len(ticks)), number)
    within = np.arange(len(event)) - (np.cumsum(number) - number)[event]
    return (np.cumsum(ticks) - ticks)[event] + step * (within + 1)


def _left(bar: np.ndarray, last: int) -> np.ndarray:
    """The `left` stream for bar numbers, when the piece ends in bar number `last`."""
    remaining = last + 1 - bar
    return np.where(remaining > 0, np.minimum(remaining, LEFT_MOST), LEFT_NONE)
