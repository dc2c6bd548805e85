"""Voices: monophonic lines found in a score. Times in ticks."""

from __future__ import annotations

import numpy as np
from symusic import Score, Track

from otonoha.music.tracks import Notes, notes, select_tracks, with_notes

MELODY_NAMES = (
    "melody", "vocal", "voice", "soprano", "canto", "sing", "lead", "solo", "mélodie", "gesang", "stimme",
    "メロディ", "歌", "旋律",
)  # fmt: skip


def is_monophonic(track: Track) -> bool:
    """Whether no two notes of a track sound together."""
    found = notes(track)
    return bool((found.end[:-1] <= found.onset[1:]).all())


def voices(score: Score) -> list[Track]:
    """Monophonic tracks, highest first by mean pitch; drums and empty tracks are left out.

    Tracks that are monophonic stay as they are; the others are separated: each note goes to the free voice
    whose last pitch is nearest, a new voice where none is free.
    """
    lines: list[Track] = []
    for track in score.tracks:
        if track.is_drum or not len(track.notes):
            continue
        lines += [track.copy()] if is_monophonic(track) else _separate(track)
    return sorted(lines, key=lambda t: -float(notes(t).pitch.mean()))


def _separate(track: Track) -> list[Track]:
    """Split a track into monophonic ones; only the highest keeps the lyrics."""
    found = notes(track)
    voice_of = separate(found)
    parts = []
    for v in range(int(voice_of.max()) + 1):
        mine = voice_of == v
        columns = (found.onset, found.duration, found.pitch, found.velocity)
        parts.append(with_notes(track, Notes(*(c[mine] for c in columns))))
    parts.sort(key=lambda t: -float(notes(t).pitch.mean()))
    for part in parts[1:]:
        part.lyrics = []
    return parts


def separate(found: Notes) -> np.ndarray:
    """Voice number (n,) of each note so that no voice overlaps itself; chords are dealt from the top down."""
    voice_of = np.zeros(len(found), np.int64)
    free_at: list[int] = []
    last_pitch: list[int] = []
    for i in np.lexsort((-found.pitch, found.onset)):
        onset, pitch = int(found.onset[i]), int(found.pitch[i])
        free = [v for v, t in enumerate(free_at) if t <= onset]
        if free:
            voice = min(free, key=lambda v: abs(last_pitch[v] - pitch))
        else:
            voice = len(free_at)
            free_at.append(0)
            last_pitch.append(0)
        free_at[voice], last_pitch[voice] = onset + max(int(found.duration[i]), 1), pitch
        voice_of[i] = voice
    return voice_of


def skyline(found: Notes) -> Notes:
    """The highest note of each onset, cut where the next one begins."""
    last_of_onset = np.append(found.onset[1:] != found.onset[:-1], True)[: len(found)]
    onset, pitch = found.onset[last_of_onset], found.pitch[last_of_onset]
    room = np.append(np.diff(onset), np.iinfo(np.int64).max)[: len(onset)]
    return Notes(onset, np.minimum(found.duration[last_of_onset], room), pitch, found.velocity[last_of_onset])


def melody(score: Score) -> Score:
    """The score with one monophonic track: the first that has lyrics, else one named like a melody, else
    the highest by mean pitch. Raises ValueError for a score without pitched notes.
    """
    sounding = [i for i, t in enumerate(score.tracks) if len(t.notes) and not t.is_drum]
    if not sounding:
        raise ValueError("the score has no pitched notes, so it has no melody")
    sung = [i for i in sounding if len(score.tracks[i].lyrics)]
    named = [i for i in sounding if any(n in score.tracks[i].name.lower() for n in MELODY_NAMES)]
    highest = max(sounding, key=lambda i: float(notes(score.tracks[i]).pitch.mean()))
    chosen = (sung or named or [highest])[0]
    result = select_tracks(score, [chosen])
    track = result.tracks[0]
    if not is_monophonic(track):
        result.tracks = [with_notes(track, skyline(notes(track)))]
    return result
