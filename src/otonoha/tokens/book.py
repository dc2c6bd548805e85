"""The `book` codec: the tokens of "Generative Deep Learning", first edition, chapter 7.

    pitch     names of all sounding pitches joined by '.', from the bottom up ('A3.E4.C#5'), or START
    duration  length of the slice in quarter notes, a fraction ('1/3'); START has duration 0

Axes: T slices. A score is cut at every onset, every end of a note and every bar line (as music21's
`chordify` does), so a held note is struck again whenever another one moves; silent slices are dropped.
Onsets and lengths are rounded to the nearest fourth or third of a quarter note, as music21 does when it
reads MIDI. Both vocabularies are learnt: all distinct tokens of the training scores, sorted; what is not
among them cannot be written. A piece ends with START. The model pads its first window with `seq_len` more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from symusic import Score, Tempo

from otonoha.music.theory import LETTERS
from otonoha.music.time import bar_table
from otonoha.music.tracks import track_of
from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab

START, ZERO = "START", "0"
DIVISORS = (4, 3)
GRID = math.lcm(*DIVISORS)
"""Ticks a quarter note: every fourth and every third lies on one."""
CELLO = 42
_NAMES = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "G#", "A", "B-", "B")
_LOWEST = 12
"""Below C0 the book's names are ambiguous: 'B-1' is B flat 1 and B in octave -1."""


@dataclass(frozen=True)
class Book(FixedCodec):
    """Slices of sounding pitches; `pitches` and `durations` are the vocabularies, `seq_len` the window."""

    pitches: tuple[str, ...] = (START,)
    durations: tuple[str, ...] = (ZERO,)
    seq_len: int = 32
    name = "book"

    def __post_init__(self) -> None:
        if START not in self.pitches or ZERO not in self.durations:
            raise ValueError(f"the book's vocabularies must hold {START!r} and the duration {ZERO!r}")
        if self.seq_len < 1:
            raise ValueError(f"seq_len must be at least 1, got {self.seq_len}")

    @classmethod
    def learn(cls, scores: Iterable[Score], *, seq_len: int = 32) -> Book:
        """The codec whose vocabularies are all tokens of the scores, and START."""
        slices = [chordify(score) for score in scores]
        pitches = {START}.union(*(chords for chords, _ in slices))
        ticks = {0}.union(*(length.tolist() for _, length in slices))
        return cls(tuple(sorted(pitches)), tuple(str(Fraction(t, GRID)) for t in sorted(ticks)), seq_len)

    @functools.cached_property
    def vocab(self) -> Vocab:
        """pitch and duration; no contexts."""
        lengths = tuple(float(Fraction(d)) for d in self.durations)
        return Vocab(
            (Stream("pitch", len(self.pitches)), Stream("duration", len(self.durations), values=lengths))
        )

    @property
    def start(self) -> tuple[int, int]:
        """The symbols (pitch, duration) of START: the end of a piece, and the padding before it."""
        return self.pitches.index(START), self.durations.index(ZERO)

    def encode(self, music: Score) -> Tokens:
        """The slices of a score, then START. ValueError for a chord or length outside of the vocabulary."""
        chords, length = chordify(music)
        if not chords:
            raise ValueError("there are no notes to encode")
        lengths, place = np.unique(length, return_inverse=True)
        known = np.array(
            [_index(self._duration_index, str(Fraction(int(t), GRID)), "duration") for t in lengths]
        )
        pitch = [_index(self._pitch_index, chord, "chord") for chord in chords]
        streams = {
            "pitch": np.append(pitch, self.start[0]),
            "duration": np.append(known[place], self.start[1]),
        }
        return Tokens(streams, np.concatenate([[0], np.cumsum(length)]) / GRID, self.fingerprint)

    @functools.cached_property
    def _pitch_index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.pitches)}

    @functools.cached_property
    def _duration_index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.durations)}

    def decode(self, tokens: Tokens, *, qpm: float = 120.0) -> Score:
        """Tokens -> a score for violoncello; STARTs at the beginning are padding, the next one ends it."""
        self.check(tokens)
        pitch = np.asarray(tokens.streams["pitch"])
        begin = int(np.argmax(pitch != self.start[0])) if len(pitch) else 0
        stops = np.flatnonzero(pitch[begin:] == self.start[0])
        body = slice(begin, begin + int(stops[0]) if len(stops) else len(pitch))
        chords = [_chord_pitches(self.pitches[p]) for p in pitch[body]]
        lengths = [Fraction(self.durations[d]) for d in np.asarray(tokens.streams["duration"])[body]]
        tpq = math.lcm(GRID, *(length.denominator for length in lengths))
        ticks = np.array([int(length * tpq) for length in lengths], np.int64)
        sounding = np.repeat(np.arange(len(chords)), [len(chord) for chord in chords])
        onset = (np.cumsum(ticks) - ticks)[sounding]
        notes = np.array([p for chord in chords for p in chord], np.int64)
        score = Score(tpq)
        score.tempos.append(Tempo(0, qpm))
        score.tracks.append(track_of(onset, ticks[sounding], notes, name="cello", program=CELLO))
        return score

    def grammar(self, constraints: None = None, prompt: Tokens | None = None) -> BookGrammar:
        """A fresh walk. The book knows no constraints."""
        if constraints is not None:
            raise ValueError("the book codec takes no constraints; the notes codec does")
        if prompt is not None:
            self.check(prompt)
        return BookGrammar(self)

    def prompt(self, tokens: Tokens, constraints: None = None) -> Tokens:
        """The tokens without the START that ends them."""
        self.check(tokens)
        ended = len(tokens) and tokens.streams["pitch"][-1] == self.start[0]
        return tokens.slice(0, len(tokens) - 1) if ended else tokens


class BookGrammar:
    """One walk: at least one chord, then START at any time; START and only START has duration 0."""

    def __init__(self, book: Book) -> None:
        self.done = False
        self._start = book.start[0]
        chord = np.arange(len(book.pitches)) != book.start[0]
        self._pitch_masks = (chord, np.ones_like(chord))
        zero = np.arange(len(book.durations)) == book.start[1]
        self._duration_masks = (~zero, zero)
        self._begun = False

    def context(self) -> dict[str, int]:
        """Nothing: the book has no context streams."""
        return {}

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """What the pitch, then the duration, may be."""
        return self._pitch_masks[self._begun] if k == 0 else self._duration_masks[drawn[0] == self._start]

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of a complete slice."""
        self._begun = True
        self.done = drawn[0] == self._start


def chordify(score: Score) -> tuple[list[str], np.ndarray]:
    """All pitched notes cut at every onset, end and bar line: (T) chord names, (T,) ticks of GRID.

    Silent slices are left out. Raises ValueError for notes below C0.
    """
    onset, end, pitch = _all_notes(score)
    if not len(onset):
        return [], np.zeros(0, np.int64)
    bar_lines = _quantised(bar_table(score).start, score.tpq)
    borders = np.unique(np.concatenate([onset, end, bar_lines[bar_lines < end.max()]]))
    first, last = np.searchsorted(borders, onset), np.searchsorted(borders, end)
    note = np.repeat(np.arange(len(onset)), last - first)
    inner = np.arange(len(note)) - (np.cumsum(last - first) - (last - first))[note]
    sounding = np.unique((first[note] + inner) * 128 + pitch[note])  # (slice, pitch) pairs in order
    at, pitches = np.divmod(sounding, 128)
    heads = np.flatnonzero(np.append(True, np.diff(at) > 0))
    groups = np.split(pitches, heads[1:])
    return [_chord_name(tuple(group.tolist())) for group in groups], np.diff(borders)[at[heads]]


def _all_notes(score: Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) onset, end and pitch of all notes of all tracks but drums, in ticks of GRID."""
    tracks = [t.notes.numpy() for t in score.tracks if len(t.notes) and not t.is_drum]
    if not tracks:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    start, duration, pitch = (
        np.concatenate([t[column] for t in tracks]).astype(np.int64)
        for column in ("time", "duration", "pitch")
    )
    if pitch.min() < _LOWEST:
        raise ValueError(f"the book's pitch names begin at C0 (MIDI 12), the score has pitch {pitch.min()}")
    onset = _quantised(start, score.tpq)
    length = _quantised(duration, score.tpq)
    return onset, onset + np.where(length > 0, length, GRID // max(DIVISORS)), pitch


def _quantised(ticks: np.ndarray, tpq: int) -> np.ndarray:
    """Ticks of a score -> the nearest fourth or third of a quarter note, in ticks of GRID."""
    places = np.unique([k * GRID // d for d in DIVISORS for k in range(d + 1)])
    quarter, rest = np.divmod(ticks, tpq)
    nearest = np.searchsorted((places[1:] + places[:-1]) / 2, rest * GRID / tpq)
    return quarter * GRID + places[nearest]


@functools.lru_cache(maxsize=65_536)
def _chord_name(pitches: tuple[int, ...]) -> str:
    return ".".join(f"{_NAMES[p % 12]}{p // 12 - 1}" for p in pitches)


@functools.lru_cache(maxsize=65_536)
def _chord_pitches(name: str) -> tuple[int, ...]:
    """'A3.E4.C#5' -> MIDI pitches; any spelling with '#' and '-' is understood."""
    found = []
    for part in name.split("."):
        letter, accidentals, octave = part[:1], part[1:].rstrip("0123456789"), part.lstrip("ABCDEFG#-")
        if letter not in LETTERS or accidentals.strip("#-") or not octave.isdigit():
            raise ValueError(f"cannot read the chord token {name!r}; tokens look like 'A3.E4.C#5'")
        alter = accidentals.count("#") - accidentals.count("-")
        found.append(12 * (int(octave) + 1) + LETTERS[letter] + alter)
    return tuple(found)


def _index(vocabulary: dict[str, int], token: str, what: str) -> int:
    if token not in vocabulary:
        raise ValueError(
            f"the {what} {token!r} is not among the {len(vocabulary)} tokens of this book codec; "
            "learn it from all scores (Book.learn), or use the notes codec"
        )
    return vocabulary[token]
