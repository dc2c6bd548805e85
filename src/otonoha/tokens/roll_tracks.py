"""Who plays what: the tracks of a score, dealt out to the named tracks of the `roll` codec.

A *voice* is one line of single notes; voices are told apart by name, or sorted by pitch. A *band* gathers the
tracks of a score by the families of General MIDI, as MuseGAN does: bass, drums, guitar, piano, and all else is
strings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from symusic import Score, Track

from otonoha.music.tracks import notes
from otonoha.music.voices import voices

VOICES = ("soprano", "alto", "tenor", "bass")
BAND = ("bass", "drums", "guitar", "piano", "strings")
DRUMS = "drums"
"""The track of this name is struck: its rows are instruments, not pitches."""
REST_OF_BAND = "strings"

_FAMILIES = {**dict.fromkeys((0, 1, 2), "piano"), 3: "guitar", 4: "bass"}
"""Program // 8 -> track; chromatic percussion and organs count as pianos, every other family as strings."""

CHOIR = 52
_PROGRAMS = {
    "drum": 0, "piano": 0, "keys": 0, "harpsichord": 6, "celesta": 8, "vibraphone": 11, "marimba": 12,
    "organ": 19, "accordion": 21, "guitar": 25, "contrabass": 43, "double bass": 43, "bassoon": 70,
    "violin": 40, "viola": 41, "cello": 42, "harp": 46, "strings": 48, "choir": CHOIR, "voice": CHOIR,
    "soprano": CHOIR, "alto": CHOIR, "tenor": CHOIR, "trumpet": 56, "trombone": 57, "tuba": 58, "horn": 60,
    "brass": 61, "sax": 65, "oboe": 68, "clarinet": 71, "piccolo": 72, "flute": 73, "recorder": 74,
    "lead": 80, "pad": 88, "reed": 65, "pipe": 73, "ensemble": 48, "bridge": 25, "melody": 73, "bass": 33,
}  # fmt: skip
"""A word of a track's name -> General MIDI program; the first word found counts."""


def program_of(name: str, *, lines: bool) -> int:
    """The General MIDI program that fits the name of a track; the lowest voice of a choir sings too."""
    if lines and name == "bass":
        return CHOIR
    return next((program for word, program in _PROGRAMS.items() if word in name), CHOIR if lines else 0)


def _name(track: Track) -> str:
    return track.name.strip().lower()


def by_voice(score: Score, names: Sequence[str], step: float | None) -> list[Track]:
    """One track for each name: those that carry the names, else all voices sorted by pitch. Drums are left out.

    `step` is the length of a step in ticks; None lets the notes of a track sound together. Raises ValueError for
    another number of voices, or for a track of a name in which notes overlap by half a step or more.
    """
    pitched = sorted((t for t in score.tracks if not t.is_drum), key=lambda t: len(t.notes) > 0)
    heard = [t for t in pitched if len(t.notes)]
    if not heard:
        drums = any(len(t.notes) for t in score.tracks)
        raise ValueError(
            f"there is nothing but drums; the tracks {', '.join(names)} are lines of pitched notes"
            if drums
            else "there are no notes to encode"
        )
    named = {_name(t): t for t in pitched}  # where two share a name, the one with notes
    if set(names) <= named.keys() and sorted({*map(_name, heard)} & {*names}) == sorted(map(_name, heard)):
        found = [named[name] for name in names]
    elif step is None:
        found = sorted(heard, key=lambda t: -float(notes(t).pitch.mean()))
    else:
        found = voices(score)
    if len(found) != len(names):
        raise ValueError(
            f"this roll has {len(names)} tracks of one line each ({', '.join(names)}), "
            f"the score has {len(found)} {'voice' if len(found) == 1 else 'voices'}"
        )
    if step is not None:
        for name, track in zip(names, found):
            _check_line(name, track, step)
    return found


def _check_line(name: str, track: Track, step: float) -> None:
    found = notes(track)
    overlap = np.maximum.accumulate(found.end)[:-1] - found.onset[1:]
    if len(overlap) and overlap.max() >= max(step / 2, 1):
        raise ValueError(
            f"track {name!r} has notes that sound together, a line has one at a time; "
            "in Python Roll(skyline=True) keeps the highest; bands (otonoha fit … --preset band) have chords"
        )


def by_family(score: Score, names: Sequence[str]) -> list[list[Track]]:
    """The tracks of a score that each name gathers; a name may stay without any.

    A track that carries one of the names goes there, others to their family. Raises ValueError for a track that
    has no place among the names.
    """
    gathered: dict[str, list[Track]] = {name: [] for name in names}
    for track in (t for t in score.tracks if len(t.notes)):
        own = _name(track)
        if track.is_drum:
            place = DRUMS
        elif own in gathered:
            place = own
        else:
            place = _FAMILIES.get(track.program // 8, REST_OF_BAND)
            place = place if place in gathered else REST_OF_BAND
        if place not in gathered:
            raise ValueError(
                f"track {track.name!r} ({'drums' if track.is_drum else f'program {track.program}'}) "
                f"fits none of the tracks {', '.join(names)}; name it like one of them or leave it out"
            )
        gathered[place].append(track)
    return list(gathered.values())
