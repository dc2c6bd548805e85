"""How a source file becomes pieces: one recipe per kind of corpus.

A recipe takes a path and returns (suffix, score, labels) for each piece in the file; it raises ValueError
where the file is damaged or holds nothing of the wanted kind. Recipes run in reading processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from symusic import Score

from otonoha.data.audio_index import sound_entry
from otonoha.data.entries import Entry, record_of
from otonoha.music.markers import marker
from otonoha.music.suggest import one_of
from otonoha.music.tracks import select_tracks
from otonoha.music.voices import is_monophonic, melody

Found = list[tuple[str, Score, dict[str, str]]]

SOUND = "sound"
"""The recipe for recordings: what they hold besides sound, audio_index.py says."""
VOICES = ("soprano", "alto", "tenor", "bass")
SCORE_SUFFIXES = (".mid", ".midi", ".musicxml", ".xml", ".mxl", ".abc")


def any_file(path: Path) -> Found:
    """A file of any symbolic format, whatever its name says; an ABC file may hold many tunes."""
    from otonoha.io.files import read
    from otonoha.music.audio import Audio

    if path.suffix.lower() == ".abc":
        return tunes(path)
    if path.suffix.lower() not in SCORE_SUFFIXES:
        raise ValueError(f"{path}: not a score file ({' '.join(SCORE_SUFFIXES)})")
    score = read(path)
    if isinstance(score, Audio):
        raise ValueError(f"{path}: a recording, not a score")
    if not any(len(track.notes) for track in score.tracks):
        raise ValueError(f"{path}: no notes in it")
    return [("", score, _labels(score))]


def tunes(path: Path) -> Found:
    """The tunes of an ABC file; `#1`, `#2` … count them where there are several."""
    from otonoha.io.abc import read_abc

    scores = [s for s in read_abc(path) if any(len(t.notes) for t in s.tracks)]
    if not scores:
        raise ValueError(f"{path}: no tune in it")
    if len(scores) == 1:
        return [("", scores[0], _labels(scores[0]))]
    return [(f"#{i}", score, _labels(score)) for i, score in enumerate(scores, 1)]


def chorale(path: Path) -> Found:
    """A chorale: exactly four monophonic vocal parts, soprano first; instruments that double are left out."""
    score = _read_musicxml(path)
    chosen = _four_voices(score)
    result = select_tracks(score, chosen)
    silent = [VOICES[i] for i, track in enumerate(result.tracks) if not len(track.notes)]
    if silent:
        raise ValueError(f"{path}: no notes in {' and '.join(silent)}")
    crowded = [VOICES[i] for i, track in enumerate(result.tracks) if not is_monophonic(track)]
    if crowded:
        raise ValueError(f"{path}: more than one voice in {' and '.join(crowded)}")
    return [("", result, {"style": "chorale", **_labels(score)})]


def _four_voices(score: Score) -> list[int]:
    """The tracks named after the four voices; else all tracks of a score that has four."""
    names = [track.name.strip().rstrip(".").lower() for track in score.tracks]
    sung = [[i for i, name in enumerate(names) if name.split()[:1] == [voice]] for voice in VOICES]
    if all(len(found) == 1 for found in sung):
        return [found[0] for found in sung]
    if len(score.tracks) != 4:
        raise ValueError(f"{len(score.tracks)} parts, not four voices: {', '.join(names)}")
    return [0, 1, 2, 3]


def song(path: Path) -> Found:
    """A whole song, as written."""
    score = _read_musicxml(path)
    if not any(len(track.notes) for track in score.tracks):
        raise ValueError(f"{path}: no notes in it")
    return [("", score, _labels(score))]


def song_voice(path: Path) -> Found:
    """The sung line of a song: its first part with lyrics, as one monophonic track."""
    score = _read_musicxml(path)
    if not any(len(track.lyrics) for track in score.tracks):
        raise ValueError(f"{path}: no part has lyrics")
    return [("", melody(score), _labels(score))]


RECIPES: dict[str, Callable[[Path], Found]] = {
    "file": any_file,
    "tunes": tunes,
    "chorale": chorale,
    "song": song,
    "song-voice": song_voice,
}


def read_entry(recipe: str, path: str) -> Entry:
    """Apply a recipe; every failure becomes the entry's reason."""
    try:
        if recipe == SOUND:
            return sound_entry(Path(path))
        found = RECIPES[one_of(recipe, RECIPES, "recipe")](Path(path))
        return Entry(tuple(record_of(score, suffix=suffix, labels=labels) for suffix, score, labels in found))
    except MemoryError:
        return Entry(reason="needs more memory than there is")
    except Exception as error:  # a reader must not take the run with it, whatever the file does to it
        text = " ".join(str(error).split()) or type(error).__name__
        return Entry(reason=text.removeprefix(str(path)).lstrip(": ")[:300])


def _read_musicxml(path: Path) -> Score:
    from otonoha.io.musicxml import read_musicxml

    return read_musicxml(path)


def _labels(score: Score) -> dict[str, str]:
    """What the file itself says: title, composer, style, kind of dance."""
    labels = {}
    for name in ("title", "composer", "style", "rhythm"):
        if found := marker(score, name):
            labels[name] = found[0][1].lower() if name == "rhythm" else found[0][1]
    return labels
