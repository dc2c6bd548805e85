"""Which words are sung to which notes: phrases of a melody, its own lyrics, and free text laid under it.

Times in seconds. A *group* is what one vowel is sung to: one note, or several (a melisma).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from symusic import Score

from otonoha.data.sung_texts import Said
from otonoha.music.time import seconds
from otonoha.music.tracks import notes

SHORTEST = 0.09
"""Shorter notes (grace notes) are left out; the note before takes their time."""
GAP = 0.15
"""A rest that is longer ends a phrase."""
LONG = 0.55
"""A note on which a phrase may end."""
SETTLED, MOST = 3.5, 8.0
"""Seconds from which a phrase ends on a long note, and at which it ends in any case."""
BREATH = 0.2
_NO_WORD = re.compile(r"[^\w'’ -]|[\d_]")
_EDGE = re.compile(r"^\d+\.?\s*|[\ue000-\uf8ff\[\]()]")


@dataclass(frozen=True)
class Tone:
    """A note that is sung."""

    onset: float
    end: float
    pitch: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.onset


Group = tuple[Tone, ...]


@dataclass(frozen=True)
class Under:
    """A word and the notes under which it stands; `syllables` as the score divides it, each with its notes."""

    said: Said
    syllables: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def tones(self) -> Group:
        """All its notes."""
        return tuple(tone for group in self.groups for tone in group)


def tones_of(score: Score) -> list[Tone]:
    """The notes of the only track, none of them overlapping or too short to be sung."""
    found = notes(score.tracks[0])
    rows = zip(seconds(score, found.onset).tolist(), seconds(score, found.end).tolist(), found.pitch.tolist())
    tones: list[Tone] = []
    for onset, end, pitch in rows:
        if tones and end - onset < SHORTEST and onset - tones[-1].end < GAP:
            tones[-1] = replace(tones[-1], end=end)
            continue
        if tones and tones[-1].end > onset:
            tones[-1] = replace(tones[-1], end=onset)
        if end - onset >= SHORTEST:
            tones.append(Tone(onset, end, int(pitch)))
    return [tone for tone in tones if tone.seconds >= SHORTEST / 2]


# -- phrases ----------------------------------------------------------------------------------------------


def phrases(parts: Sequence[Group]) -> list[list[Group]]:
    """Parts (words, or single notes) gathered into phrases; where no rest divides them, the last note gives up some
    of its time for a breath.
    """
    found: list[list[Group]] = []
    for part in parts:
        if found and not _ends(found[-1], part):
            found[-1].append(part)
        else:
            found.append([part])
    for phrase, following in pairwise(found):
        last = phrase[-1][-1]
        room = following[0][0].onset - last.end
        if room < BREATH:
            end = last.end - min(BREATH - room, 0.35 * last.seconds)
            phrase[-1] = (*phrase[-1][:-1], replace(last, end=end))
    return found


def _ends(phrase: Sequence[Group], following: Group) -> bool:
    first, last = phrase[0][0], phrase[-1][-1]
    so_far = last.end - first.onset
    if following[0].onset - last.end >= GAP or following[-1].end - first.onset > MOST:
        return True
    return so_far >= SETTLED and last.seconds >= LONG


def deal(tones: Sequence[Tone], count: int) -> list[Group]:
    """Notes dealt out to `count` vowels: where there are more notes, the longest begin a vowel and the others follow
    in melismas; where there are fewer, the longest are sung twice.
    """
    if count <= 0 or not tones:
        raise ValueError(f"{len(tones)} notes cannot be dealt out to {count} vowels")
    found = list(tones)
    while len(found) < count:
        at = max(range(len(found)), key=lambda i: found[i].seconds)
        tone = found[at]
        half = (tone.onset + tone.end) / 2
        found[at : at + 1] = [replace(tone, end=half), replace(tone, onset=half)]
    worth = [tone.seconds + (tone.onset - before.end >= GAP) * 10 for before, tone in pairwise(found)]
    starts = sorted((np.argsort([-w for w in worth], kind="stable")[: count - 1] + 1).tolist())
    edges = [0, *starts, len(found)]
    return [tuple(found[a:b]) for a, b in pairwise(edges)]


# -- the lyrics of a score --------------------------------------------------------------------------------


def own_words(score: Score, tones: Sequence[Tone]) -> list[Under]:
    """The words that the score has under its notes; what is sung to no words is left out."""
    track = score.tracks[0]
    ticks = np.array([lyric.time for lyric in track.lyrics], np.int64)
    times = seconds(score, ticks).tolist() if len(ticks) else []
    onsets = np.array([tone.onset for tone in tones])
    syllables: list[tuple[str, list[Tone]]] = []
    owner = np.searchsorted(np.array(times) - 1e-3, onsets, side="right") - 1
    for number, lyric in enumerate(track.lyrics):
        mine = [tones[i] for i in np.flatnonzero(owner == number).tolist()]
        if mine and lyric.text.strip():
            syllables.append((" ".join(_EDGE.sub("", lyric.text).split()), mine))
    words: list[Under] = []
    begun: list[tuple[str, list[Tone]]] = []
    for text, mine in syllables:
        begun.append((text, mine))
        if not text.endswith("-"):
            words += _word(begun)
            begun = []
    return words  # a word that is cut off at the end is not sung


def _word(syllables: Sequence[tuple[str, list[Tone]]]) -> list[Under]:
    """A word from its syllables; none where there is nothing to pronounce."""
    texts = tuple(text.rstrip("-") for text, _ in syllables)
    written = " ".join(re.sub(r"-\s+", "", "".join(texts)).replace("‿", " ").replace("_", " ").split())
    spoken = " ".join(_NO_WORD.sub(" ", written).replace("-", " ").split())
    if not any(c.isalpha() for c in spoken):
        return []
    return [Under(Said(written, spoken), texts, tuple(tuple(tones) for _, tones in syllables))]


def grouped(word: Under, vowels: int) -> list[Group]:
    """The notes of a word for each of its vowels, by its syllables where they are as many."""
    if vowels == len(word.groups):
        return list(word.groups)
    if vowels > len(word.groups):
        return deal(word.tones, vowels)
    kept = list(word.groups[:vowels])  # a mute e at its end goes with the vowel before
    kept[-1] = tuple(tone for group in word.groups[vowels - 1 :] for tone in group)
    return kept


# -- free text --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """A word, the number of its line, how many vowels it has, and whether its line ends with it."""

    said: Said
    line: int
    vowels: int
    last: bool


def take(words: Iterator[Counted], held: list[Counted], notes_: int) -> list[Counted]:
    """The words for a phrase of so many notes, from the stream; `held` keeps the one that did not fit."""
    taken: list[Counted] = []
    count = 0
    while count < notes_:
        word = held.pop() if held else next(words)
        if taken and count + word.vowels > 1.25 * notes_:
            held.append(word)
            break
        taken.append(word)
        count += word.vowels
        if word.last and count >= 0.6 * notes_:
            break
    return taken
