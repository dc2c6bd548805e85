"""The design `chorale` as the model wants it: its tasks, and how a request becomes four voices.

Axes: T frames, 4 voices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from symusic import Score, Track

from otonoha.models.music_transformer.chorale import Chorale
from otonoha.models.music_transformer.chorale_batches import Song
from otonoha.models.music_transformer.chorale_write import FREE, ChoraleStep, Filling, fill
from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_ask import choice
from otonoha.models.music_transformer.exchange import EMPTY, columns_of, exchanged
from otonoha.models.music_transformer.frames import REST
from otonoha.music.piece import Piece
from otonoha.music.theory import pitch_name
from otonoha.music.time import bar_table
from otonoha.music.tracks import Notes, notes
from otonoha.music.voices import is_monophonic, voices
from otonoha.sample.controls import bars_of
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Harmonise, Infill, Progress, Request, Take

if TYPE_CHECKING:
    from otonoha.models.base import Event

BARS = 8
"""Bars to write when nobody says how many; of four quarter notes in a new piece."""
CHOICE = ("temperature", "top_k", "top_p", "min_p")
USED = {
    Compose: ("bars", "tempo", *CHOICE),
    Harmonise: CHOICE,
    Continue: ("bars", *CHOICE),
    Infill: ("only_bars", "only_tracks", *CHOICE),
}
"""Controls that this design reads, task by task."""
CHOIR, LOUD = 52, 80
"""Program and velocity of new voices."""
PARTICLES = 8
"""Versions that grow side by side where notes are given ahead."""


class ChoraleDesign(Chorale):
    """Composing, going on, filling in, and harmonising any voices that are given."""

    tasks: ClassVar[tuple[type, ...]] = (Compose, Harmonise, Continue, Infill)

    def learn(self, pieces: Sequence[Piece]) -> None:
        """Nothing: voices have no styles."""

    def encoded(self, piece: Piece) -> list[Song]:
        """A piece with its tables."""
        return self.prepare(piece, self.codec.encode(piece.score()))

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Frame by frame, around what is given."""
        controls: Controls = request.controls
        used = USED[type(request.task)]
        for name in (f for f in controls.__dataclass_fields__ if f not in used):
            value = getattr(controls, name)
            if value is not None and value != self.model.defaults.get(name):
                task = type(request.task).__name__.lower()
                raise ValueError(f"{name} has no effect; to {task}, design chorale reads {', '.join(used)}")
        given = self.given(request)
        given.check(self.codec.low, self.codec.high, self.codec.names, self.codec.steps_per_quarter)
        free = given.pitch == FREE
        step = ChoraleStep(self.network, temperature=self.config.temperature)
        ahead = bool((free.any(1)[:-1] & (~free).any(1)[1:]).any())
        limits = {"low": (self.codec.low,) * 4, "high": (self.codec.high,) * 4}
        how = Filling(choice=choice(controls), particles=PARTICLES if ahead else 1, rests=False, **limits)
        takes = []
        for index in range(n):
            pitch = kept(job, index, given.pitch)
            if pitch is None:
                pitch = fill(step, given.pitch, seed=request.seed * 1009 + index, how=how)
            keep(job, pitch)
            takes.append(self.take(pitch, given, request, index))
            yield Progress(index + 1, n)
        yield Done(takes)

    def given(self, request: Request) -> Given:
        """What stands, and what is free."""
        controls, task, spq = request.controls, request.task, self.codec.steps_per_quarter
        if isinstance(task, Compose):
            return Given(np.full(((controls.bars or BARS) * 4 * spq, 4), FREE))
        score = task.prompt
        tracks = self._some(score) if isinstance(task, Harmonise) else self._all(score)
        given = Given.of(score, tracks, spq)
        if isinstance(task, Harmonise):
            missing = [v for v in range(4) if tracks[v] is None]
            silent = (np.delete(given.pitch, missing, 1) < 0).all(1)  # where all that is given rests, all do
            given.pitch[:, missing] = np.where(silent, REST, FREE)[:, None]
            return given
        edges = _frames(bar_table(score).start, score, spq)
        if isinstance(task, Continue):
            table = bar_table(score)
            bar = 4 * spq * int(table.numerator[-1]) // int(table.denominator[-1])
            rest = np.full((edges[-1] - len(given.pitch), 4), REST)
            free = np.full(((controls.bars or BARS) * bar, 4), FREE)
            return replace(given, pitch=np.concatenate([given.pitch, rest, free]))
        if controls.only_tracks is None and controls.only_bars is None:
            names = ", ".join(self.codec.names)
            raise ValueError(f"infilling needs only_bars or only_tracks ({names})")
        voices = range(4) if controls.only_tracks is None else self._named(controls.only_tracks)
        return given.without(voices, bars_of(controls.only_bars, len(edges) - 1), edges, spq)

    def _named(self, text: str) -> list[int]:
        """Voices by name."""
        names = list(self.codec.names)
        chosen = [word.strip().lower() for word in text.split(",")]
        if wrong := [word for word in chosen if word not in names]:
            raise ValueError(f"there is no voice {wrong[0]!r} for only_tracks; there are {', '.join(names)}")
        return [names.index(word) for word in chosen]

    def _all(self, score: Score) -> list[Track | None]:
        """The four voices of a score: by their names, or from the highest down."""
        called = {t.name.strip().lower(): t for t in score.tracks if len(t.notes)}
        if not called:
            raise ValueError("the prompt has no notes")
        if all(name in called for name in self.codec.names):
            return [called[name] for name in self.codec.names]
        found = voices(score)
        if len(found) != 4:
            raise ValueError(
                f"design chorale needs four voices, the prompt has {len(found)}; harmonise adds others"
            )
        return list(found)

    def _some(self, score: Score) -> list[Track | None]:
        """The voices of a score by their names, or a single track as the soprano."""
        names, heard = list(self.codec.names), [t for t in score.tracks if len(t.notes) and not t.is_drum]
        if not heard:
            raise ValueError("there is nothing to harmonise: the prompt has no notes")
        called = {t.name.strip().lower(): t for t in heard}
        found = {names.index(name): track for name, track in called.items() if name in names}
        if not found and len(heard) == 1:
            found = {0: heard[0]}
        if not found or len(found) == 4 or len(found) < len(heard):
            raise ValueError(
                f"to harmonise, give one voice, or some of the tracks {', '.join(names)}; "
                f"the prompt has {', '.join(repr(t.name) for t in heard)}"
            )
        if wrong := [names[v] for v, track in found.items() if not is_monophonic(track)]:
            raise ValueError(f"the {wrong[0]} to harmonise has notes that sound together; give one line")
        return [found.get(v) for v in range(4)]

    def take(self, pitch: np.ndarray, given: Given, request: Request, index: int) -> Take:
        """(T, 4) pitches as a chorale; what was given comes back as it was."""
        tokens = self.codec.encode_array(pitch)
        tempo = request.controls.tempo
        score = self.codec.decode(tokens) if tempo is None else self.codec.decode(tokens, qpm=tempo)
        if given.score is not None:
            score = given.joined(pitch, list(self.codec.names), self.codec.steps_per_quarter)
        return Take(score, tokens, replace(request, index=index))


@dataclass(frozen=True, eq=False)
class Given:
    """`pitch` (T, 4), FREE where the network writes; the `score` it comes from, and of each voice the track whose notes
    stay.
    """

    pitch: np.ndarray
    score: Score | None = None
    tracks: tuple[Track | None, ...] = (None,) * 4

    @classmethod
    def of(cls, score: Score, tracks: Sequence[Track | None], spq: int) -> Given:
        """All notes of four voices; a voice without a track rests."""
        ends = [_frames(notes(t).end, score, spq).max() for t in tracks if t is not None and len(t.notes)]
        pitch = np.full((max(1, *ends), 4), REST)
        for voice, track in enumerate(tracks):
            if track is not None:
                _sing(pitch[:, voice], track, score, spq)
        return cls(pitch, score, tuple(tracks))

    def check(self, low: int, high: int, names: Sequence[str], spq: int) -> None:
        """Raise ValueError for a note that stays and that no voice of the network has."""
        wrong = np.argwhere((self.pitch >= 0) & ((self.pitch < low) | (self.pitch > high)))
        if not len(wrong) or self.score is None:
            return
        frame, voice = wrong[0]
        pitch, track, table = self.pitch[frame, voice], self.tracks[voice], bar_table(self.score)
        bar = int(np.searchsorted(_frames(table.start, self.score, spq), frame, side="right"))
        raise ValueError(
            f"track {(track and track.name) or names[voice]!r} has {pitch_name(pitch)} in bar "
            f"{bar - table.first_is_pickup}; the model knows {pitch_name(low)} … {pitch_name(high)}: "
            f"transpose the piece {'down' if pitch > high else 'up'} first"
        )

    def without(self, voices: Sequence[int], bars: Sequence[int], edges: np.ndarray, spq: int) -> Given:
        """The notes that begin in these bars are taken out; there, and as long as they sounded, it is free."""
        assert self.score is not None
        pitch, tracks = self.pitch.copy(), list(self.tracks)
        inside = np.isin(np.searchsorted(edges, np.arange(len(pitch)), side="right") - 1, bars)
        for voice in voices:
            track = tracks[voice]
            assert track is not None
            onset = _frames(columns_of(track).onset, self.score, spq)
            gone = np.isin(np.searchsorted(edges, onset, side="right") - 1, bars)
            removed, stays = exchanged(track, gone, EMPTY), exchanged(track, ~gone, EMPTY)
            there, left = np.full(len(pitch), REST), np.full(len(pitch), REST)
            _sing(there, removed, self.score, spq)
            _sing(left, stays, self.score, spq)
            pitch[:, voice] = np.where((left == REST) & (inside | (there != REST)), FREE, left)
            tracks[voice] = stays
        return replace(self, pitch=pitch, tracks=tuple(tracks))

    def joined(self, pitch: np.ndarray, names: Sequence[str], spq: int) -> Score:
        """The score with what the network wrote beside the notes that stay."""
        assert self.score is not None
        result, tracks = self.score.copy(), []
        for voice, track in enumerate(self.tracks):
            line = np.where(self.pitch[:, voice] == FREE, pitch[:, voice], REST)
            edges = np.flatnonzero(np.diff(line, prepend=REST - 1, append=REST - 1))
            begin, end = edges[:-1][line[edges[:-1]] >= 0], edges[1:][line[edges[:-1]] >= 0]
            onset, until = (f * result.tpq // spq for f in (begin, end))
            come = Notes(onset, until - onset, line[begin], np.full(len(begin), LOUD))
            own = track if track is not None else Track(names[voice], CHOIR, False)
            tracks.append(exchanged(own, np.ones(len(own.notes), bool), come))
        result.tracks = tracks
        return result


def kept(job: Job, index: int, given: np.ndarray) -> np.ndarray | None:
    """(T, 4) pitches of a take that the job was left with; takes are written one after the other, as a whole."""
    if job.replay is None or len(job.replay) < (index + 1) * len(given):
        return None
    return job.replay[index * len(given) : (index + 1) * len(given), 0]


def keep(job: Job, pitch: np.ndarray) -> None:
    """A take is complete."""
    for frame in pitch:
        job.keep(frame[None])
    job.flush()


def _frames(ticks: np.ndarray, score: Score, spq: int) -> np.ndarray:
    """Ticks -> nearest frames."""
    return (2 * np.asarray(ticks, np.int64) * spq + score.tpq) // (2 * score.tpq)


def _sing(line: np.ndarray, track: Track, score: Score, spq: int) -> None:
    """Write the notes of a track into the frames (T,) of its voice."""
    found = notes(track)
    onset, end = _frames(found.onset, score, spq), _frames(found.end, score, spq)
    for a, b, pitch in zip(onset.tolist(), end.tolist(), found.pitch.tolist()):
        line[a : max(b, a + 1)] = pitch
