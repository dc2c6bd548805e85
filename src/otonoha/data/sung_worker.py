"""A singing process: `python -m otonoha.data.sung_worker`.

Reads jobs from standard input, one a line as JSON (score packed and in base64, target, voice, language, words, seed);
writes the sound, its notes (.mid), its words (.lrc) and its phones (.phones.txt, rows of start, end, IPA: a label track
of Audacity), and answers with one line of JSON. It ends when its input does.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score, TextMeta

from otonoha.data.cache import unpack
from otonoha.data.render_worker import answer_all, spent
from otonoha.data.sung_fit import (
    Counted,
    Group,
    Tone,
    Under,
    deal,
    grouped,
    own_words,
    phrases,
    take,
    tones_of,
)
from otonoha.data.sung_texts import VOICES, line
from otonoha.data.sung_voice import sing
from otonoha.io.audio_files import write_audio
from otonoha.io.guard import store_bytes
from otonoha.io.lrc import write_lrc
from otonoha.io.midi import midi_bytes
from otonoha.io.speech import Speaker, Speech
from otonoha.music.audio import Audio
from otonoha.music.score import rescale
from otonoha.music.sung_text import Line, SungText, Word
from otonoha.music.time import seconds, ticks
from otonoha.music.tracks import track_of

PROGRAM = 53  # General MIDI, from 0: voice
TPQ = 960
PEAK = 0.7
TAIL = 0.4
"""Seconds of silence at the end."""


@dataclass(frozen=True)
class Placed:
    """A word of a phrase: what is written, its line, its groups of notes, and the score's own syllables if any."""

    written: str
    glued: bool
    line: int
    groups: tuple[Group, ...]
    syllables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phrase:
    """Words that are sung in one breath, as they are spoken."""

    words: tuple[Placed, ...]
    speech: Speech


@dataclass(frozen=True)
class Timed:
    """A word with its times."""

    placed: Placed
    start: float
    end: float


class Singer:
    """What one process keeps: the speaking program."""

    def __init__(self) -> None:
        self.speaker = Speaker()

    def work(self, job: dict[str, Any]) -> dict[str, Any]:
        """Sing one score into a file, with its notes and words beside it."""
        began = spent()
        try:
            score = rescale(unpack(base64.b64decode(job["score"])), TPQ)
            target, rng = Path(job["target"]), np.random.default_rng(job["seed"])
            sung = list(self._phrases(score, job, rng))
            if not sung:
                raise ValueError("nothing in it can be sung")
            audio, words, phones = _performed(sung, rng)
            store_bytes(target.with_suffix(".mid"), midi_bytes(_written(score, words)))
            store_bytes(target.with_suffix(".phones.txt"), phones.encode())
            write_lrc(_text(words, job.get("about", {})), target.with_suffix(".lrc"))
            write_audio(audio, target)
        except (ValueError, OSError, MemoryError) as error:
            return {"error": " ".join(str(error).split()) or type(error).__name__}
        return {"seconds": audio.seconds, "bytes": target.stat().st_size, "spent": spent() - began}

    def _phrases(self, score: Score, job: dict[str, Any], rng: np.random.Generator) -> Iterator[Phrase]:
        voice = f"{VOICES[job['language']]}+{job['voice']}"
        tones = tones_of(score)
        if job["words"] == "own":
            yield from self._own(own_words(score, tones), voice, score)
        else:
            yield from self._free(tones, job["language"], voice, score, rng)

    def _own(self, words: Sequence[Under], voice: str, score: Score) -> Iterator[Phrase]:
        """The score's own lyrics; a phrase is a line."""
        stream = iter(words)
        for number, parts in enumerate(phrases([word.tones for word in words])):
            mine = [_shortened(word, part) for word, part in zip(itertools.islice(stream, len(parts)), parts)]
            speech = self.speaker.speak([word.said.spoken for word in mine], voice)
            vowels = _vowels(speech, len(mine))
            while 0 in vowels and len(mine) > 1:  # a word without a vowel is sung with its neighbour
                mine = _joined(mine, vowels.index(0))
                speech = self.speaker.speak([word.said.spoken for word in mine], voice)
                vowels = _vowels(speech, len(mine))
            if 0 in vowels:
                continue
            placed = [
                Placed(w.said.written, w.said.glued, number, _on_ticks(grouped(w, n), score), w.syllables)
                for w, n in zip(mine, vowels)
            ]
            yield Phrase(tuple(placed), speech)

    def _free(
        self, tones: Sequence[Tone], language: str, voice: str, score: Score, rng: np.random.Generator
    ) -> Iterator[Phrase]:
        """Lines made up for the purpose, as many as there are notes for."""
        stream, held = self._counted(language, voice, rng), list[Counted]()
        for parts in phrases([(tone,) for tone in tones]):
            mine = [tone for part in parts for tone in part]
            words = take(stream, held, len(mine))
            speech = self.speaker.speak([word.said.spoken for word in words], voice)
            vowels = _vowels(speech, len(words))
            if not sum(vowels):
                continue
            groups = iter(_on_ticks(deal(mine, sum(vowels)), score))
            placed = [
                Placed(w.said.written, w.said.glued, w.line, tuple(itertools.islice(groups, n)))
                for w, n in zip(words, vowels)
            ]
            yield Phrase(tuple(placed), speech)

    def _counted(self, language: str, voice: str, rng: np.random.Generator) -> Iterator[Counted]:
        for number in itertools.count():
            words = line(language, rng)
            vowels = _vowels(self.speaker.speak([w.spoken for w in words], voice), len(words))
            for place, (word, count) in enumerate(zip(words, vowels)):
                yield Counted(word, number, count, place + 1 == len(words))


def _vowels(speech: Speech, words: int) -> list[int]:
    """How many vowels each word has."""
    return np.bincount([p.word for p in speech.phones if p.is_vowel], minlength=words).tolist()


def _shortened(word: Under, tones: Group) -> Under:
    """The word with its last note as the phrase has it (a breath behind it)."""
    groups = [list(group) for group in word.groups]
    groups[-1][-1] = tones[-1]
    return Under(word.said, word.syllables, tuple(tuple(group) for group in groups))


def _joined(words: Sequence[Under], at: int) -> list[Under]:
    """One word less: the one at `at` joined with the next, or the last with the one before."""
    first = min(at, len(words) - 2)
    a, b = words[first : first + 2]
    said = type(a.said)(
        f"{a.said.written} {b.said.written}", f"{a.said.spoken} {b.said.spoken}", a.said.glued
    )
    both = Under(said, a.syllables + b.syllables, a.groups + b.groups)
    return [*words[:first], both, *words[first + 2 :]]


def _on_ticks(groups: Sequence[Group], score: Score) -> tuple[Group, ...]:
    """The same notes at times that the file of notes can hold."""

    def rounded(time: float) -> float:
        return float(seconds(score, ticks(score, np.array([time])))[0])

    return tuple(tuple(Tone(rounded(t.onset), rounded(t.end), t.pitch) for t in group) for group in groups)


# -- a performance ----------------------------------------------------------------------------------------


def _performed(sung: Sequence[Phrase], rng: np.random.Generator) -> tuple[Audio, list[Timed], str]:
    """All phrases one after the other, the words with their times, and the phones as rows of text."""
    rate = sung[0].speech.rate
    parts, words, rows, free = [], list[Timed](), [], 0.03
    for phrase in sung:
        song = sing(phrase.speech, [g for w in phrase.words for g in w.groups], free=free, rng=rng)
        parts.append((round(song.start * rate), song.samples))
        owner = np.array([phone.word for phone in phrase.speech.phones])
        for number, word in enumerate(phrase.words):
            mine = song.spans[owner == number]
            if len(mine):
                words.append(Timed(word, float(mine[0, 0]), float(mine[-1, 1])))
        named = zip(song.spans.tolist(), phrase.speech.phones)
        rows += [f"{a:.4f}\t{b:.4f}\t{phone.name}\n" for (a, b), phone in named if phone.name]
        free = float(song.spans[-1, 1]) + 0.03
    length = max(at + len(samples) for at, samples in parts) + round(TAIL * rate)
    whole = np.zeros(length)
    for at, samples in parts:
        whole[at : at + len(samples)] += samples
    peak = float(np.abs(whole).max())
    if peak < 1e-3 or not np.isfinite(peak):
        raise ValueError("it is silent")
    return Audio((whole / peak * PEAK)[None], rate), words, "".join(rows)


def _text(words: Sequence[Timed], about: dict[str, str]) -> SungText:
    """Lines with the times of their words."""
    lines = []
    for _, group in itertools.groupby(words, key=lambda word: word.placed.line):
        mine = list(group)
        text = "".join(
            ("" if w.placed.glued or not n else " ") + w.placed.written for n, w in enumerate(mine)
        )
        timed = tuple(Word(w.placed.written, round(w.start, 3), round(w.end, 3)) for w in mine)
        lines.append(Line(text, timed[0].start, timed[-1].end, timed))
    return SungText(tuple(lines), about)


def _written(score: Score, words: Sequence[Timed]) -> Score:
    """The score with the very notes that are sung, and the words under them."""
    result = score.copy()
    tones = [tone for word in words for group in word.placed.groups for tone in group]
    onset, end = (ticks(score, np.array([getattr(t, side) for t in tones])) for side in ("onset", "end"))
    track = track_of(
        onset, np.maximum(end - onset, 1), np.array([t.pitch for t in tones]), name="voice", program=PROGRAM
    )
    lyrics: list[TextMeta] = []
    held = ""
    for word in words:
        groups, texts = word.placed.groups, [word.placed.written]
        if not groups:  # no vowel, no note: it stands with the word before it
            held += _appended(lyrics, word.placed.written)
            continue
        if len(word.placed.syllables) == len(groups):
            texts = [t + "-" for t in word.placed.syllables[:-1]] + [word.placed.syllables[-1]]
        at = ticks(score, np.array([group[0].onset for group in groups]))
        texts[0] = held + texts[0]
        lyrics += [TextMeta(int(tick), text) for tick, text in zip(at, texts)]
        held = ""
    track.lyrics.extend(lyrics)
    result.tracks = [track]
    return result


def _appended(lyrics: list[TextMeta], text: str) -> str:
    """Put a text behind the last lyric; where there is none yet, what is to stand before the next one."""
    if not lyrics:
        return f"{text} "
    lyrics[-1] = TextMeta(lyrics[-1].time, f"{lyrics[-1].text} {text}")
    return ""


def main() -> None:
    """Answer until standard input ends."""
    answer_all(Singer().work)


if __name__ == "__main__":
    main()
