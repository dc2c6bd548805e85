"""The `roll` codec: tracks x bars x steps x pitches, as one sees music in a piano roll, cut into equal bars.

    one symbol stream per track, (T, P):  0 SILENT, 1 ONSET, 2 HOLD

Axes: T steps, M tracks, N bars, S steps of a bar (T = N·S), P pitches from `low` up, C classes (2 + P). Rolls
begin and end on a bar line: the bar of a pick-up is filled up with silence in front, the last bar behind. A
HOLD that holds nothing, as at the beginning of a piece cut out of another, begins a note.

`lines=True`: every track is one line of single notes (voices). Then a step is also one class: 0 rest, 1 hold,
2 + p pitch low + p. `lines=False`: chords, tracks gathered by General MIDI family, drums (`Roll.band()`), after
Dong et al., MuseGAN (AAAI 2018).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from symusic import Score, Tempo, TimeSignature, Track

from otonoha.music.markers import pickup
from otonoha.music.time import metre_map
from otonoha.music.tracks import MAX_TICK, track_of
from otonoha.tokens.base import FixedCodec, Grammar, Stream, Tokens, Vocab
from otonoha.tokens.place import METRES, metre_index
from otonoha.tokens.roll_tracks import BAND, DRUMS, VOICES, by_family, by_voice, program_of

SILENT, ONSET, HOLD = 0, 1, 2
REST_CLASS, HOLD_CLASS, FIRST_PITCH = 0, 1, 2
MOST_BARS = 10_000


@dataclass(frozen=True, eq=False)
class Placed:
    """Notes on the grid, int64 (n,): index of the `track`, first step, the step after the last, `row` of the roll."""

    track: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    row: np.ndarray

    def at(self, index: np.ndarray) -> Placed:
        """Some of the notes, by index or mask."""
        return Placed(self.track[index], self.begin[index], self.end[index], self.row[index])


@dataclass(frozen=True)
class Roll(FixedCodec):
    """Rolls of the named `tracks`, `steps_per_bar` steps to a bar of `metre`, MIDI pitches low … high.

    `lines`: every track is one line of single notes. `regrid`: music in other metres is cut anew into bars of
    `metre`, from its first bar line on, instead of being refused. `skyline`: of notes of a line that sound
    together (double stops) the highest stays, instead of the music being refused.
    """

    tracks: tuple[str, ...] = VOICES
    lines: bool = True
    steps_per_bar: int = 16
    low: int = 36
    high: int = 81
    metre: str = "4/4"
    regrid: bool = False
    skyline: bool = False
    name = "roll"

    def __post_init__(self) -> None:
        tracks = tuple(str(t).strip().lower() for t in self.tracks)
        if not 1 <= len(tracks) <= 32 or len(set(tracks)) < len(tracks) or not all(tracks):
            raise ValueError(f"tracks must be 1 … 32 different names, got {', '.join(tracks) or 'none'}")
        if not 1 <= self.steps_per_bar <= 384:
            raise ValueError(f"steps_per_bar must be 1 … 384, got {self.steps_per_bar}")
        if self.steps_per_bar % self.beats:
            raise ValueError(
                f"a bar of {self.metre} has {self.beats} beats: steps_per_bar must be a multiple of that, "
                f"got {self.steps_per_bar}"
            )
        if not 0 <= self.low <= self.high <= 127:
            raise ValueError(f"the range must be 0 <= low <= high <= 127, got {self.low} … {self.high}")
        if not self.lines and self.high - self.low < 11:
            raise ValueError(f"a band needs a range of an octave or more, got {self.low} … {self.high}")
        if self.skyline and not self.lines:
            raise ValueError("skyline has no effect on tracks with chords (lines=False); leave it out")
        if self.lines and DRUMS in tracks:
            raise ValueError("drums are no line of single notes; use lines=False, as Roll.band() does")
        object.__setattr__(self, "metre", "{}/{}".format(*METRES[metre_index(self.metre)]))
        object.__setattr__(self, "tracks", tracks)

    @classmethod
    def band(cls, tracks: tuple[str, ...] = BAND, *, low: int = 24, high: int = 107, **options: Any) -> Roll:
        """A codec of tracks with chords: bass, drums, guitar, piano and strings in MuseGAN's range."""
        return cls(tracks, False, low=low, high=high, **options)

    @property
    def pitches(self) -> int:
        """P."""
        return self.high - self.low + 1

    @functools.cached_property
    def bar(self) -> Fraction:
        """Length of a bar in quarter notes."""
        return 4 * Fraction(self.metre)

    @property
    def beats(self) -> int:
        """Beats of a bar; dotted ones in 6/8, 9/8 and 12/8."""
        numerator, denominator = METRES[metre_index(self.metre)]
        compound = denominator >= 8 and numerator > 3 and numerator % 3 == 0
        return numerator // 3 if compound else numerator

    @functools.cached_property
    def vocab(self) -> Vocab:
        """One stream per track; no contexts."""
        return Vocab(tuple(Stream(name, 3, base=self.low, width=self.pitches) for name in self.tracks))

    def encode(self, music: Score) -> Tokens:
        """The tracks of a score in whole bars, up to the end of the last note; ValueError (one line) if they do
        not fit.

        Onsets and ends are rounded to the grid; of two notes of a line at one step the higher stays. Pitches
        out of range are refused in lines, and moved by octaves in bands, where strokes out of range are dropped.
        """
        if self.lines:
            step = float(self.bar * music.tpq / self.steps_per_bar)
            groups = [[t] for t in by_voice(music, self.tracks, None if self.skyline else step)]
        else:
            groups = by_family(music, self.tracks)
        track, time, duration, pitch = _columns(groups)
        begin, end = (self._steps(ticks, music) for ticks in (time, time + duration))
        inside, row = self._rows(pitch, track)
        keep = inside & (duration > 0)
        if not keep.any():
            raise ValueError("there are no notes to encode")
        self._check_metre(music, int((time + duration)[keep].max()))
        return self._paint(Placed(track, begin, np.maximum(end, begin + 1), row).at(keep))

    def _steps(self, ticks: np.ndarray, music: Score) -> np.ndarray:
        """Ticks of a score -> nearest steps, counted from where the first bar would begin if it were full."""
        upbeat = self.upbeat(music)
        lead = round((self.bar - upbeat) * music.tpq) if upbeat else 0
        ratio = self.steps_per_bar / (self.bar * music.tpq)
        return (2 * ratio.numerator * (ticks + lead) + ratio.denominator) // (2 * ratio.denominator)

    def upbeat(self, music: Score) -> Fraction:
        """Quarter notes of the pick-up: as marked, or a first metre that lasts less than a bar."""
        marked = pickup(music)
        if not marked:
            second = _changes(music)[1:2]
            marked = Fraction(second[0][0], music.tpq) if second else marked
            marked = marked if marked < self.bar else Fraction(0)
        return marked % self.bar

    def _check_metre(self, music: Score, end: int) -> None:
        """Raise ValueError for other metres, unless they are to be cut anew."""
        if self.regrid:
            return
        first_bar = float(self.upbeat(music)) * music.tpq
        changes = [change for change in _changes(music) if change[0] < end]
        if len(changes) > 1 and changes[1][0] <= first_bar:
            changes = changes[1:]
        wanted = _kind(*METRES[metre_index(self.metre)])
        for tick, numerator, denominator in changes:
            if _kind(numerator, denominator) != wanted:
                where = f" from quarter note {tick / music.tpq:g} on" if tick else ""
                own = self._other_bars(numerator, denominator) if len(changes) == 1 else ""
                raise ValueError(
                    f"only bars of {self.metre} are known here, the score is in {numerator}/{denominator}{where}; "
                    f"a model for such music has to be trained, by otonoha fit with {own}--regrid, which cuts it "
                    f"anew into bars of {self.metre} (in Python Roll(regrid=True))"
                )

    def _other_bars(self, numerator: int, denominator: int) -> str:
        """The words that ask for bars of this metre, with steps as long as now."""
        steps = self.steps_per_bar * Fraction(4 * numerator, denominator) / self.bar
        many = f" --steps-per-bar {steps}" if steps.denominator == 1 and steps != self.steps_per_bar else ""
        return f"--metre {numerator}/{denominator}{many}, or "

    def _rows(self, pitch: np.ndarray, track: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) bool: which notes stay; (n,) their rows of the roll."""
        inside = (pitch >= self.low) & (pitch <= self.high)
        if inside.all():
            return inside, pitch - self.low
        if self.lines:
            raise ValueError(
                f"the score has pitches {pitch.min()} … {pitch.max()}, this roll holds {self.low} … {self.high}; "
                "transpose it first"
            )
        below = (pitch - self.low) % 12
        above = self.pitches - 1 - (self.high - pitch) % 12
        folded = np.where(pitch < self.low, below, np.where(pitch > self.high, above, pitch - self.low))
        return inside | ~self._drum_mask[track], folded

    def _paint(self, notes: Placed) -> Tokens:
        """The notes in whole bars."""
        bars = -(-int(notes.end.max()) // self.steps_per_bar)
        if bars > MOST_BARS:
            raise ValueError(f"the score has {bars:,} bars, a roll holds at most {MOST_BARS:,}")
        length = bars * self.steps_per_bar
        if self.lines:
            notes = _one_line(notes, length)
        struck = self._drum_mask[notes.track]  # a stroke has no length worth keeping
        size = np.where(struck, 1, notes.end - notes.begin)
        onset = (notes.track * length + notes.begin) * self.pitches + notes.row
        note = np.repeat(np.arange(len(size)), size)
        inner = np.arange(len(note)) - (np.cumsum(size) - size)[note]
        flat = np.zeros(len(self.tracks) * length * self.pitches, np.uint8)
        flat[onset[note] + inner * self.pitches] = HOLD
        flat[onset] = ONSET
        return self._tokens(flat.reshape(len(self.tracks), length, self.pitches))

    @functools.cached_property
    def _drum_mask(self) -> np.ndarray:
        """(M,) bool: the tracks that are struck."""
        return np.array([name == DRUMS for name in self.tracks])

    def _tokens(self, rolls: np.ndarray) -> Tokens:
        """(M, T, P) states -> Tokens."""
        clock = np.arange(rolls.shape[1]) * float(self.bar / self.steps_per_bar)
        return Tokens(dict(zip(self.tracks, rolls)), clock, self.fingerprint)

    def array(self, tokens: Tokens) -> np.ndarray:
        """(N, M, S, P) uint8 states of whole bars; a piece of a bar at the end is filled up with silence."""
        self.check(tokens)
        rolls = np.stack([tokens.streams[name] for name in self.tracks])
        missing = -len(tokens) % self.steps_per_bar
        if missing:
            rolls = np.pad(rolls, ((0, 0), (0, missing), (0, 0)))
        shape = (len(self.tracks), -1, self.steps_per_bar, self.pitches)
        return np.ascontiguousarray(rolls.reshape(shape).swapaxes(0, 1), np.uint8)

    def from_array(self, rolls: np.ndarray) -> Tokens:
        """(N, M, S, P) states -> Tokens. ValueError for another shape, or for values other than 0, 1 and 2."""
        rolls = np.asarray(rolls)
        shape = (len(self.tracks), self.steps_per_bar, self.pitches)
        if rolls.ndim != 4 or rolls.shape[1:] != shape:
            raise ValueError(f"expected rolls of shape {('bars', *shape)}, got {rolls.shape}")
        if not np.isin(rolls, (SILENT, ONSET, HOLD)).all():
            raise ValueError("rolls hold 0 (silent), 1 (onset) and 2 (hold) only")
        rolls = rolls.astype(np.uint8).swapaxes(0, 1)
        return self._tokens(rolls.reshape(shape[0], -1, shape[2]))

    def lines_of(self, rolls: np.ndarray) -> np.ndarray:
        """State rolls (…, M, N, S, P) -> classes (…, M, N·S) uint8: 0 rest, 1 hold, 2 + p pitch low + p.

        What holds nothing, as at the beginning of a phrase cut out of a piece, becomes a pitch. Where several
        pitches sound, the highest counts.
        """
        self._check_lines()
        flat = rolls.reshape(*rolls.shape[:-3], -1, rolls.shape[-1])
        row = self.pitches - 1 - np.argmax(flat[..., ::-1] > SILENT, axis=-1)
        state = np.take_along_axis(flat, row[..., None], axis=-1)[..., 0]
        sounding = np.where(state > SILENT, row, -1)
        held = (state[..., 1:] == HOLD) & (sounding[..., 1:] == sounding[..., :-1])
        classes = np.where(state > SILENT, row + FIRST_PITCH, REST_CLASS).astype(np.uint8)
        classes[..., 1:][held] = HOLD_CLASS
        return classes

    def rolls_of(self, classes: np.ndarray) -> np.ndarray:
        """Classes (…, M, N·S) -> state rolls (…, M, N, S, P) uint8. A hold that holds nothing is a rest."""
        self._check_lines()
        classes = np.asarray(classes)
        steps = classes.shape[-1]
        if steps % self.steps_per_bar:
            raise ValueError(f"{steps} steps are no whole bars of {self.steps_per_bar}")
        head = np.maximum.accumulate(np.where(classes == HOLD_CLASS, 0, np.arange(steps)), axis=-1)
        row = np.take_along_axis(classes, head, axis=-1).astype(np.int64) - FIRST_PITCH
        rolls = np.zeros((*classes.shape, self.pitches), np.uint8)
        on = np.nonzero(row >= 0)
        rolls[(*on, row[on])] = np.where(classes[on] == HOLD_CLASS, HOLD, ONSET)
        return rolls.reshape(*classes.shape[:-1], -1, self.steps_per_bar, self.pitches)

    def _check_lines(self) -> None:
        if not self.lines:
            raise ValueError("only a roll of lines has classes; this one has lines=False")

    def phrases(self, tokens: Tokens, bars: int) -> np.ndarray:
        """(n,) first bars of all phrases of so many bars in which anything sounds."""
        if bars < 1:
            raise ValueError(f"a phrase has 1 bar or more, not {bars}")
        heard = np.asarray(self.array(tokens).any(axis=(1, 2, 3)))
        before = np.concatenate([[0], np.cumsum(heard)])
        starts = np.arange(len(heard) - bars + 1)
        return starts[before[starts + bars] > before[starts]]

    def decode(self, tokens: Tokens, *, qpm: float = 80.0) -> Score:
        """Tokens -> a score with one track of fitting program for each name. A stroke of a drum lasts a step."""
        self.check(tokens)
        step = self.bar / self.steps_per_bar
        tpq = step.denominator * max(1, 480 // step.denominator)
        ticks = int(step * tpq)
        score = Score(tpq)
        score.tempos.append(Tempo(0, qpm))
        numerator, denominator = METRES[metre_index(self.metre)]
        score.time_signatures.append(TimeSignature(0, numerator, denominator))
        for name in self.tracks:
            drum = name == DRUMS
            onset, end, row = _notes(np.asarray(tokens.streams[name]), struck=drum)
            score.tracks.append(
                track_of(
                    onset * ticks,
                    (end - onset) * ticks,
                    row + self.low,
                    name=name,
                    program=program_of(name, lines=self.lines),
                    is_drum=drum,
                )
            )
        return score

    def units(self, tokens: Tokens) -> int:
        """Notes: onsets."""
        self.check(tokens)
        return sum(int((tokens.streams[name] == ONSET).sum()) for name in self.tracks)

    def transpositions(self, tokens: Tokens, low: int = 0, high: int = 127) -> range:
        """All shifts that keep every pitch within the roll (and low … high); 0 is among them. Drums stay."""
        self.check(tokens)
        heard: np.ndarray = np.zeros(self.pitches, bool)
        for name in self.tracks:
            heard |= tokens.streams[name].any(axis=0) & (name != DRUMS)
        rows = np.flatnonzero(heard)
        if not len(rows):
            return range(1)
        down = max(low - self.low, 0) - int(rows[0])
        up = min(high - self.low, self.pitches - 1) - int(rows[-1])
        return range(min(0, down), max(0, up) + 1)

    def transpose(self, tokens: Tokens, semitones: int) -> Tokens:
        """The same music so many semitones higher; drums stay. ValueError outside of the roll's range."""
        if semitones not in self.transpositions(tokens):
            raise ValueError(
                f"transposed by {semitones} semitones, the tracks leave the range {self.low} … {self.high}"
            )
        return self.from_array(self.shifted(self.array(tokens), semitones)).slice(0, len(tokens))

    def shifted(self, rolls: np.ndarray, semitones: int) -> np.ndarray:
        """Rolls (…, M, S, P) so many semitones higher; drums stay. What leaves the range is lost."""
        result = np.zeros_like(rolls)
        shift = max(-self.pitches, min(self.pitches, semitones))
        up, down = max(shift, 0), max(-shift, 0)
        result[..., up : self.pitches - down] = rolls[..., down : self.pitches - up]
        for track in np.flatnonzero(self._drum_mask):
            result[..., track, :, :] = rolls[..., track, :, :]
        return result

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> Grammar:
        """Refused: rolls are written by whole bars, not symbol by symbol."""
        raise ValueError(
            "the codec roll has no grammar: its models write whole bars at once; use the codec grid for voices"
        )


def _kind(numerator: int, denominator: int) -> tuple[Fraction, bool]:
    """Length of a bar in whole notes, and whether its beats are dotted: 2/2 counts as 4/4, 6/8 not as 3/4."""
    return Fraction(numerator, denominator), numerator > 3 and numerator % 3 == 0


def _changes(music: Score) -> list[tuple[int, int, int]]:
    """(tick, numerator, denominator) where the metre changes."""
    found = metre_map(music)
    return [found[0], *(b for a, b in itertools.pairwise(found) if a[1:] != b[1:])]


def _columns(groups: list[list[Track]]) -> tuple[np.ndarray, ...]:
    """Index of the group, onset, duration and pitch of all notes; times in ticks, int64 (n,)."""
    parts = [(g, track.notes.numpy()) for g, tracks in enumerate(groups) for track in tracks]
    sizes = [len(columns["time"]) for _, columns in parts]
    group = np.repeat(np.array([g for g, _ in parts], np.int64), sizes)
    names = ("time", "duration", "pitch")
    found = [
        np.concatenate([np.zeros(0, np.int64), *(columns[name] for _, columns in parts)]) for name in names
    ]
    time, duration, pitch = (column.astype(np.int64) for column in found)
    if len(time) and (time.min() < 0 or (time + duration).max() > MAX_TICK):
        raise ValueError("the score has notes before its beginning or absurdly late; its times make no sense")
    return group, time, duration, pitch


def _one_line(notes: Placed, length: int) -> Placed:
    """The highest note of each step, in the order of tracks and time, cut where the next one begins."""
    at = notes.track * length + notes.begin
    order = np.lexsort((notes.row, at))
    order = order[np.append(at[order][1:] > at[order][:-1], True)]
    kept, at = notes.at(order), at[order]
    room = np.append(np.diff(at), length)
    return Placed(kept.track, kept.begin, np.minimum(kept.end, kept.begin + room), kept.row)


def _notes(states: np.ndarray, *, struck: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) first step of every note, the step after its last, its row; in the order of time."""
    steps = len(states)
    padded = np.zeros((states.shape[1], steps + 2), np.uint8)  # silence before and after every row
    padded[:, 1:-1] = states.T
    flat = padded.ravel()
    idle = np.append(True, flat[:-1] == SILENT)
    begins = (flat == ONSET) | ((flat == HOLD) & idle & (not struck))
    onset = np.flatnonzero(begins)
    borders = np.flatnonzero(begins | (flat != HOLD))
    end = onset + 1 if struck else borders[np.searchsorted(borders, onset, side="right")]
    row, first = np.divmod(onset, steps + 2)
    order = np.lexsort((row, first))
    return first[order] - 1, (first + end - onset)[order] - 1, row[order]
