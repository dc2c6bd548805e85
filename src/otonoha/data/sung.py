"""A sung corpus: melodies with words, sung by eSpeak NG's voices at the notes' pitches, with labels that are exact.

    folder/corpus.json     name, terms, and the request (corpora, languages, voices, seed)
    folder/tracks.tsv      a row for each recording, as in a rendered corpus; artist is the voice, genre the language
    folder/sound/000123-….flac    the recording, one channel at 22.05 kHz
                        ….mid     its notes with the words under them, in seconds of the recording (music.labels)
                        ….lrc     its words with their times (io.lrc)
                        ….phones.txt    its phones with their times

Languages take turns. Every second recording of a language sings the score's own words where the corpora have scores in
that language; all others sing lines that were written for the purpose (sung_texts.py). A piece stays in its split. How
jobs are carried out, and go on after an interruption: made.py.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from symusic import Score, Tempo, TimeSignature

from otonoha.data import sung_voice
from otonoha.data.cache import pack
from otonoha.data.corpus import corpus
from otonoha.data.made import Job, Kind, Outcome, Told, carried_out, plain_name
from otonoha.data.made import Request as Made
from otonoha.data.sung_fit import tones_of
from otonoha.data.sung_texts import LICENCE, VOICES
from otonoha.io import speech
from otonoha.music.piece import Piece
from otonoha.music.score import pickup, slice_bars, transpose, with_marker, without_marker
from otonoha.music.suggest import one_of
from otonoha.music.time import bar_table, last_tick, metre_map, seconds, tempo_map
from otonoha.music.tracks import notes
from otonoha.music.voices import melody

COLUMNS = (
    "path", "split", "piece", "corpus", "title", "artist", "composer", "genre", "style", "language", "licence",
    "seconds", "words", "seed", "tempo", "shift", "first_bar", "last_bar", "offset", "total",
)  # fmt: skip
KIND = Kind("otonoha.data.sung_worker", COLUMNS)
SINGERS = {
    "f1": 66, "f2": 65, "f3": 68, "f5": 63, "m1": 54, "m2": 52, "m3": 55, "m4": 51, "m6": 57, "m7": 53,
}  # fmt: skip
"""Variants of eSpeak's voices, and the MIDI pitch in the middle of what they sing."""
PACE = (1.6, 2.9)
"""Notes a second at most, drawn from this range; quicker tunes are slowed down."""
SLOWEST = 0.9
KEYS = 2
LEAD = 0.45
"""Seconds before the first note, for the consonants before it; a beat is put in front where there are fewer."""
LEAST = 6
"""Notes of which at least a recording is made."""


@dataclass(frozen=True)
class Request(Made):
    """What is to be sung."""

    languages: tuple[str, ...] = tuple(VOICES)
    voices: tuple[str, ...] = tuple(SINGERS)
    most: float = 40.0
    """Seconds of one piece at a time; longer ones give excerpts of whole bars."""

    def __post_init__(self) -> None:
        for language in self.languages:
            one_of(language, VOICES, "language to sing")
        for voice in self.voices:
            one_of(voice, SINGERS, "voice")
        if not self.languages or not self.voices or not self.corpora:
            raise ValueError("nothing to sing: at least one corpus, one language and one voice are needed")
        if not 0 < self.hours <= 10_000:
            raise ValueError(f"hours must be above 0 and at most 10,000, got {self.hours:g}")
        if not 5 <= self.most <= 600:
            raise ValueError(f"most must lie in 5-600 seconds of a piece, got {self.most:g}")


# -- the list of jobs -------------------------------------------------------------------------------------


def jobs(
    request: Request, pieces: Sequence[tuple[str, Piece]], skipped: list[tuple[str, str]]
) -> Iterator[Job]:
    """The jobs of a request, in order; pieces that cannot be sung are told in `skipped`, once."""
    left, number, useless = request.hours * 3600, 0, set[str]()
    own = {
        language: [pair for pair in pieces if pair[1].labels.get("language") == language]
        for language in request.languages
    }
    rounds = {
        (language, which): _rounds(found, [request.seed, 11 + i, which == "own"], useless)
        for i, language in enumerate(request.languages)
        for which, found in (("own", own[language]), ("made", list(pieces)))
    }
    while left > 0:
        language = request.languages[number % len(request.languages)]
        rng = np.random.default_rng([request.seed, 2, number])
        turn = number // len(request.languages)
        which = "own" if turn % 2 == 0 and any(p.id not in useless for _, p in own[language]) else "made"
        found = next(rounds[language, which], None)
        if found is None:
            reason = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise ValueError(f"none of the {len(pieces)} pieces can be sung{reason}")
        source, piece = found
        try:
            job = _job(request, number, source, piece, language, which, rng)
        except ValueError as error:
            useless.add(piece.id)
            skipped.append((piece.id, " ".join(str(error).split())))
            continue
        yield job
        number, left = number + 1, left - job.seconds


def _rounds(
    pieces: Sequence[tuple[str, Piece]], key: Sequence[int], useless: set[str]
) -> Iterator[tuple[str, Piece]]:
    """An endless shuffled round, without the pieces that turned out to be of no use; it ends with the last of them."""
    number = 0
    while any(piece.id not in useless for _, piece in pieces):
        for index in np.random.default_rng([*key, number]).permutation(len(pieces)):
            if pieces[index][1].id not in useless:
                yield pieces[index]
        number += 1


def _job(
    request: Request,
    number: int,
    source: str,
    piece: Piece,
    language: str,
    which: str,
    rng: np.random.Generator,
) -> Job:
    voice = request.voices[int(rng.integers(len(request.voices)))]
    score, manner = sung_score(piece.score(), SINGERS[voice], rng, most=request.most, own=which == "own")
    key, seed = f"{number:06d}-{language}-{voice}-{plain_name(piece, 32)}", request.seed * 1_000_003 + number
    length = float(seconds(score, np.array([last_tick(score)]))[0])
    known = {k: piece.labels[k] for k in ("title", "composer", "style") if k in piece.labels}
    row = {
        **known,
        **manner,
        "path": f"sound/{key}.flac",
        "split": piece.split,
        "piece": piece.id,
        "corpus": source,
        "style": known.get("style", source),
        "artist": voice,
        "genre": language,
        "language": language,
        "words": which,
        "seed": str(seed),
    }
    asked = {
        "score": base64.b64encode(pack(score)).decode(),
        "voice": voice,
        "language": language,
        "words": which,
        "seed": seed,
        "about": {"ti": row.get("title", key), "ar": voice, "la": language},
    }
    return Job(key, length, row, asked, limit=60 + 3 * length)


def sung_score(
    score: Score, middle: int, rng: np.random.Generator, *, most: float, own: bool
) -> tuple[Score, dict[str, str]]:
    """The melody of a score as a voice is to sing it: an excerpt of whole bars, a key that suits the voice, a tempo at
    which words can be sung, and time before the first note. Its labels say what was done. `own`: its own words will do.
    """
    tune = melody(score)
    if own and not len(tune.tracks[0].lyrics):
        raise ValueError("it has no words")
    factor = _tempo(tune, rng)
    table = bar_table(tune)
    times = seconds(tune, table.start) / factor
    total = float(seconds(tune, np.array([last_tick(tune)]))[0])
    first, last = _excerpt(tune, times, most, rng)
    cut = _whole_words(
        without_marker(slice_bars(tune, first, last), "fermata"), tune, int(table.start[first])
    )
    cut.tempos = [Tempo(tick, qpm * factor) for tick, qpm in tempo_map(cut)]
    if len(tones_of(cut)) < LEAST:
        raise ValueError(f"fewer than {LEAST} notes in what was cut out of it")
    pitch = notes(cut.tracks[0]).pitch
    shift = round(middle + rng.uniform(-KEYS, KEYS) - (int(pitch.min()) + int(pitch.max())) / 2)
    told = {
        "tempo": f"{factor:.4f}",
        "shift": str(shift),
        "first_bar": str(first),
        "last_bar": str(last),
        "offset": f"{times[first]:.3f}",
        "total": f"{total / factor + LEAD:.3f}",
    }
    return _with_lead(transpose(cut, shift)), told


def _tempo(tune: Score, rng: np.random.Generator) -> float:
    """What to multiply the tempo with."""
    found = tones_of(tune)
    if len(found) < LEAST:
        raise ValueError(f"fewer than {LEAST} notes in it")
    sounding = sum(tone.seconds for tone in found)
    pace = len(found) / sounding
    wanted = float(np.clip(pace * rng.uniform(0.92, 1.08), SLOWEST, rng.uniform(*PACE)))
    return wanted / pace


def _excerpt(tune: Score, times: np.ndarray, most: float, rng: np.random.Generator) -> tuple[int, int]:
    """First bar and the one behind the last: from a bar with a note on, no longer than `most` seconds."""
    table = bar_table(tune)
    bar_of = np.searchsorted(table.start, notes(tune.tracks[0]).onset, side="right") - 1
    begin, end = int(bar_of[0]), min(int(bar_of[-1]) + 1, len(table))
    if times[end] - times[begin] <= most:
        return begin, end
    latest = int(np.searchsorted(times, times[end] - most / 2))
    choices = np.unique(bar_of[bar_of < max(latest, begin + 1)])
    first = int(rng.choice(choices))
    last = int(np.searchsorted(times, times[first] + most, side="right")) - 1
    return first, min(max(last, first + 1), end)


def _whole_words(cut: Score, tune: Score, begin: int) -> Score:
    """What was cut out of a tune at `begin`, without the rest of a word that began before."""
    before = [lyric.text for lyric in tune.tracks[0].lyrics if lyric.time < begin]
    if before and before[-1].endswith("-"):
        lyrics = list(cut.tracks[0].lyrics)
        ends = [number for number, lyric in enumerate(lyrics) if not lyric.text.endswith("-")]
        cut.tracks[0].lyrics = lyrics[ends[0] + 1 :] if ends else []
    return cut


def _with_lead(score: Score) -> Score:
    """The score with beats put in front where its first note comes too early for a consonant before it."""
    tick = int(notes(score.tracks[0]).onset[0])
    beats = 0
    while seconds(score, np.array([tick + beats * score.tpq]))[0] < LEAD:
        beats += 1
    if not beats:
        return score
    metres, tempi, upbeat = metre_map(score), tempo_map(score), pickup(score)
    moved = without_marker(score, "pickup").shift_time(beats * score.tpq)
    moved.time_signatures = [
        TimeSignature(0, *metres[0][1:]),
        *(m for m in moved.time_signatures if m.time > beats * score.tpq),
    ]
    moved.tempos = [Tempo(0, tempi[0][1]), *(t for t in moved.tempos if t.time > beats * score.tpq)]
    return with_marker(moved, "pickup", str(upbeat + beats))


# -- a run ------------------------------------------------------------------------------------------------


def missing() -> str:
    """What hinders singing, in one line; empty when nothing does."""
    return speech.missing() or sung_voice.missing()


def sing_corpus(
    request: Request, folder: str | Path, *, workers: int = 1, told: Told | None = None
) -> Outcome:
    """Sing what is missing of a request into a folder. Raises ValueError where eSpeak NG or pyworld is missing, and for
    a folder with something else in it.
    """
    folder, outcome = Path(folder).expanduser(), Outcome()
    if problem := missing():
        raise ValueError(problem)
    sources = [corpus(name, kind="scores") for name in request.corpora]
    terms = "; ".join(f"{source.name}: {source.licence}" for source in sources)
    about = {
        "licence": f"sung from {terms}; {LICENCE}",
        "ships": all(source.ships for source in sources),
        "source": f"otonoha data sing {','.join(request.corpora)}",
        "voices": f"eSpeak NG {speech.version()} (a program under the GPL-3; what it says is not)",
    }
    pieces = [(source.name, piece) for source in sources for piece in source.pieces]
    return carried_out(
        KIND,
        request,
        jobs(request, pieces, outcome.skipped),
        folder,
        outcome,
        about=about,
        licences={source.name: f"{source.licence}; {LICENCE}" for source in sources},
        workers=workers,
        told=told,
    )
