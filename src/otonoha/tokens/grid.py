"""The `grid` codec: voices x time steps, as a chorale is written by hand, one column after another.

    one symbol stream per voice, top first:  0 REST, 1 HOLD (with holds=True), then the pitches low … high
    contexts: key, metre, beat (step in the quarter), quarter (in the bar), bar (mod 4)

Axes: T steps, V voices. With holds a repeated note is told from a held one; without, as in the JSB benchmark
(low=36, high=81: 47 classes), equal neighbours are one note. The grid has no end symbol: a piece is as long
as the request says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from symusic import Score, Track

from otonoha.music.theory import Key
from otonoha.music.tracks import track_of
from otonoha.music.voices import voices
from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab
from otonoha.tokens.grid_grammar import PHRASE_BARS, REST, GridConstraints, GridGrammar, tidy
from otonoha.tokens.lines import Lines, monophonic
from otonoha.tokens.place import (
    KEY_SIZE,
    METRE_SIZE,
    QUARTER_SIZE,
    bar_ticks,
    contexts,
    key_index,
    keys,
    metre_index,
    place_score,
    stretches,
    transpose_keys,
)

CHOIR = 52
_NAMES = {1: ("melody",), 4: ("soprano", "alto", "tenor", "bass")}


@dataclass(frozen=True)
class Grid(FixedCodec):
    """`voices` lines on a grid of `steps_per_quarter`; MIDI pitches low … high; names of the streams."""

    voices: int = 4
    steps_per_quarter: int = 4
    low: int = 36
    high: int = 84
    holds: bool = True
    names: tuple[str, ...] = ()
    name = "grid"

    def __post_init__(self) -> None:
        if not 1 <= self.voices <= 32:
            raise ValueError(f"voices must be 1 … 32, got {self.voices}")
        if not 1 <= self.steps_per_quarter <= 96:
            raise ValueError(f"steps_per_quarter must be 1 … 96, got {self.steps_per_quarter}")
        if not 0 <= self.low <= self.high <= 127:
            raise ValueError(f"the range must be 0 <= low <= high <= 127, got {self.low} … {self.high}")
        if self.names and len(self.names) != self.voices:
            raise ValueError(f"{self.voices} voices need as many names, got {len(self.names)}")
        names = self.names or _NAMES.get(self.voices) or tuple(f"voice{v + 1}" for v in range(self.voices))
        object.__setattr__(self, "names", tuple(names))

    @property
    def resolution(self) -> int:
        """Steps to a quarter note; what `Notes` calls its ticks."""
        return self.steps_per_quarter

    @property
    def first_pitch(self) -> int:
        """The symbol of the pitch `low`."""
        return 2 if self.holds else 1

    @property
    def hold(self) -> int | None:
        """The symbol of a held note, if there is one."""
        return 1 if self.holds else None

    @functools.cached_property
    def vocab(self) -> Vocab:
        """One stream per voice; key, metre, beat, quarter, bar."""
        pitches = self.high - self.low + 1
        ordinal = (self.first_pitch, pitches)
        return Vocab(
            (
                *(
                    Stream(name, self.first_pitch + pitches, ordinal=ordinal, base=self.low)
                    for name in self.names
                ),
                Stream("key", KEY_SIZE, "context"),
                Stream("metre", METRE_SIZE, "context"),
                Stream("beat", self.steps_per_quarter, "context"),
                Stream("quarter", QUARTER_SIZE, "context"),
                Stream("bar", PHRASE_BARS, "context"),
            )
        )

    def encode(self, music: Score) -> Tokens:
        """The voices of a score, up to the end of the last note.

        Tracks that carry the names of the streams are taken as they are, others are sorted by pitch. Raises
        ValueError for another number of voices, or a pitch out of range.
        """
        tracks = self._tracks(music)
        lines = monophonic(tracks, [music.tpq] * len(tracks), self.steps_per_quarter)
        length = int(lines.length.max())
        if not length:
            raise ValueError("there are no notes to encode")
        self._check_range(lines.pitch, "the score")
        bars = np.array(stretches(music, self.steps_per_quarter, length), np.int64)
        names = np.array(keys(music, self.steps_per_quarter, length), np.int64)
        return self._tokens(self._columns(lines, length), bars, names, np.arange(length))

    def _columns(self, lines: Lines, length: int) -> np.ndarray:
        """(V, T) symbols of the voices."""
        columns = np.full(self.voices * length, REST)
        inner = lines.end - lines.onset
        first = lines.onset + (np.arange(self.voices) * length - lines.base)[lines.line]
        event = np.repeat(np.arange(len(inner)), inner)
        steps = (first - (np.cumsum(inner) - inner))[event] + np.arange(len(event))
        symbol = lines.pitch + (self.first_pitch - self.low)
        columns[steps] = 1 if self.holds else symbol[event]
        columns[first] = symbol
        return columns.reshape(self.voices, length)

    def encode_array(
        self,
        pitches: np.ndarray,
        *,
        key: Key | str | None = None,
        metre: tuple[int, int] | str = "4/4",
        pickup: float | Fraction = 0,
    ) -> Tokens:
        """(T, V) MIDI pitches, -1 for rests, top voice first, as the JSB files have them.

        Equal neighbours are taken as one held note.
        """
        pitches = np.asarray(pitches)
        if pitches.ndim != 2 or pitches.shape[1] != self.voices:
            raise ValueError(f"expected pitches of shape (steps, {self.voices}), got {pitches.shape}")
        self._check_range(pitches[pitches >= 0], "the array")
        symbols = np.where(pitches >= 0, pitches - self.low + self.first_pitch, REST).astype(np.int64)
        if self.holds:
            held = (symbols[1:] == symbols[:-1]) & (symbols[1:] != REST)
            symbols[1:][held] = 1
        index = metre_index(metre)
        bar_length = bar_ticks(index, self.steps_per_quarter)
        upbeat = round(Fraction(pickup) * self.steps_per_quarter) % bar_length
        bars = np.array([(0, upbeat, 0, bar_length, index)])
        return self._tokens(symbols.T, bars, np.array([(0, key_index(key))]), np.arange(len(symbols)))

    def _tokens(self, columns: np.ndarray, bars: np.ndarray, names: np.ndarray, clock: np.ndarray) -> Tokens:
        place, bar, _ = contexts(self.steps_per_quarter, bars, names, clock)
        streams = {**dict(zip(self.names, columns)), **place, "bar": bar % PHRASE_BARS}
        return Tokens(streams, clock / self.steps_per_quarter, self.fingerprint)

    def _tracks(self, music: Score) -> list[Track]:
        if tuple(track.name.lower() for track in music.tracks) == self.names:
            return list(music.tracks)
        found = voices(music)
        if len(found) != self.voices:
            raise ValueError(f"this grid has {self.voices} voices, the score has {len(found)}")
        return found

    def _check_range(self, pitches: np.ndarray, where: str) -> None:
        if len(pitches) and not (self.low <= pitches.min() and pitches.max() <= self.high):
            raise ValueError(
                f"{where} has pitches {pitches.min()} … {pitches.max()}, "
                f"this grid holds {self.low} … {self.high}"
            )

    def decode(self, tokens: Tokens, *, qpm: float = 80.0, program: int = CHOIR) -> Score:
        """Tokens -> a score with one track per voice. A HOLD that holds nothing counts as a rest."""
        self.check(tokens)
        steps = np.arange(len(tokens))
        score = place_score(self.steps_per_quarter, steps, dict(tokens.streams), qpm)
        for name in self.names:
            onset, end = self._notes(np.asarray(tokens.streams[name], np.int64))
            pitch = np.asarray(tokens.streams[name])[onset] - self.first_pitch + self.low
            score.tracks.append(track_of(onset, end - onset, pitch, name=name, program=program))
        return score

    def _notes(self, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) first step of every note, and the step after its last."""
        if self.hold is None:
            begins = np.append(True, column[1:] != column[:-1])[: len(column)]
        else:
            column = tidy(column, self.hold)
            begins = column != self.hold
        borders = np.append(np.flatnonzero(begins), len(column))
        sounding = column[borders[:-1]] >= self.first_pitch
        return borders[:-1][sounding], borders[1:][sounding]

    def grammar(
        self, constraints: GridConstraints | None = None, prompt: Tokens | None = None
    ) -> GridGrammar:
        """A fresh walk; after `prompt`, if one is given."""
        if prompt is not None:
            self.check(prompt)
        return GridGrammar(self, constraints or GridConstraints(), prompt)

    def constraints(
        self,
        *,
        low: int | None = None,
        high: int | None = None,
        max_rest: float | None = None,
        on_the_line: bool | None = None,
        **asked: Any,
    ) -> GridConstraints:
        """What a person asks, None where nothing was said. ValueError for what only events can do."""
        for name, value in (("max_rest", max_rest), ("on_the_line", on_the_line)):
            if value is not None:
                raise ValueError(
                    f"{name} has no effect on the codec grid, which has no events that end; leave it out"
                )
        span = (self.low if low is None else low, self.high if high is None else high)
        return GridConstraints(ranges=dict.fromkeys(self.names, span), **asked)

    def most_positions(self, bars: int) -> int:
        """As many steps as so many of the longest bars hold."""
        return bars * QUARTER_SIZE * self.steps_per_quarter

    def prompt(self, tokens: Tokens, constraints: GridConstraints | None = None) -> Tokens:
        """The tokens as they are: a grid has no end symbol and does not count bars."""
        self.check(tokens)
        return tokens

    def transpose(self, tokens: Tokens, semitones: int) -> Tokens:
        """The same music so many semitones higher, key included. ValueError outside of the grid's range."""
        self.check(tokens)
        if semitones not in self.transpositions(tokens):
            raise ValueError(
                f"transposed by {semitones} semitones, the voices leave the range {self.low} … {self.high}"
            )
        streams = dict(tokens.streams)
        for name in self.names:
            streams[name] = np.where(
                streams[name] >= self.first_pitch, streams[name] + semitones, streams[name]
            )
        streams["key"] = transpose_keys(streams["key"], semitones)
        return Tokens(streams, tokens.clock, tokens.codec)

    def transpositions(self, tokens: Tokens, low: int = 0, high: int = 127) -> range:
        """All shifts that keep every voice within the grid (and low … high); 0 is always among them."""
        symbols = np.concatenate([tokens.streams[name] for name in self.names])
        pitches = symbols[symbols >= self.first_pitch] - self.first_pitch + self.low
        if not len(pitches):
            return range(1)
        down, up = max(low, self.low) - int(pitches.min()), min(high, self.high) - int(pitches.max())
        return range(min(0, down), max(0, up) + 1)
