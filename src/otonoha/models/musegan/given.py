"""The track that is given, out of whatever score holds it, and how its pick-up and key signature come back.

Axes: M tracks, N bars, S steps of a bar, P pitches. Rolls hold whole bars: the bar of a pick-up is filled up in front.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
from symusic import KeySignature, Score

from otonoha.music.markers import with_marker
from otonoha.music.theory import estimate_key
from otonoha.music.tracks import notes
from otonoha.tokens.roll import DRUMS, HOLD, ONSET, SILENT, Roll


def track_given(score: Score, codec: Roll, name: str) -> tuple[np.ndarray, Fraction]:
    """(N, S, P) states of the track `name` of a score, or of its only track, in whole bars; and the quarter notes
    of the score's pick-up.
    """
    full = [t for t in score.tracks if len(t.notes)]
    if not full:
        raise ValueError(f"the prompt has no notes; give the track {name!r} of a piece")
    chosen = full if len(full) == 1 else [t for t in full if t.name.strip().lower() == name]
    if len(chosen) == 1 and chosen[0].is_drum != (name == DRUMS):
        what = "pitched notes" if name == DRUMS else "drums"
        raise ValueError(f"the given track is {name!r}, the prompt has {what}")
    if len(chosen) == 1:
        alone = score.copy()
        track = chosen[0].copy()
        track.name = name
        alone.tracks = [track]
        own = replace(codec, tracks=(name,))
        found = own.array(own.encode(alone))[:, 0]
    else:
        found = _within(score, codec, name)
    upbeat = codec.upbeat(score)
    _check_length(found, codec, upbeat)
    return found, upbeat


def _within(score: Score, codec: Roll, name: str) -> np.ndarray:
    """The track out of a score of several, sorted by the codec: voices by pitch, bands by instrument."""
    try:
        found = codec.array(codec.encode(score))[:, codec.tracks.index(name)]
    except ValueError as error:
        names = ", ".join(repr(t.name) for t in score.tracks)
        raise ValueError(
            f"the prompt needs a single track, or one named {name!r}; it has {names} ({error})"
        ) from error
    if not found.any():
        raise ValueError(f"the prompt has nothing for the track {name!r}")
    return found


def _check_length(found: np.ndarray, codec: Roll, upbeat: Fraction) -> None:
    """Raise ValueError for less than a bar. What sounds in its last beat fills it: strokes and staccato are short."""
    steps = int(np.flatnonzero(found.any(-1).ravel())[-1]) + 1 - lead_of(codec, upbeat)
    beats = -(-steps * codec.beats // codec.steps_per_bar)
    if beats < codec.beats:
        raise ValueError(
            f"the given track ends after {float(steps * codec.bar / codec.steps_per_bar):g} quarter notes, "
            f"it needs a bar of {codec.metre} at least"
        )


def lead_of(codec: Roll, upbeat: Fraction) -> int:
    """Steps of silence that fill up the bar of a pick-up of so many quarter notes; 0 where there is none."""
    lead = (codec.bar - upbeat) / codec.bar * codec.steps_per_bar
    return floor(lead + Fraction(1, 2)) if upbeat else 0


def silent_before(rolls: np.ndarray, codec: Roll, upbeat: Fraction) -> np.ndarray:
    """Rolls (M, N, S, P) that are silent up to the pick-up; what is held into it begins with it."""
    steps = lead_of(codec, upbeat)
    if not steps:
        return rolls
    flat = rolls.reshape(len(rolls), -1, rolls.shape[-1]).copy()
    first = flat[:, steps : steps + 1]
    first[first == HOLD] = ONSET
    flat[:, :steps] = SILENT
    return flat.reshape(rolls.shape)


def begun_with(music: Score, codec: Roll, upbeat: Fraction) -> Score:
    """Music in whole bars -> the same from its pick-up on, which a marker names."""
    if not upbeat:
        return music
    result, lead = with_marker(music, "pickup", str(upbeat)), round((codec.bar - upbeat) * music.tpq)
    for track in result.tracks:
        for note in track.notes:
            end = note.end - lead
            note.time = max(0, note.time - lead)  # rounded to the grid, it may begin a little before
            note.duration = end - note.time
    return result


def key_signatures(music: Score, prompt: Score | None) -> Score:
    """Music with the key signatures of the prompt, or that of the key its notes fit best (without the drums)."""
    result = music.copy()
    if prompt is not None:
        result.key_signatures = [
            KeySignature(round(k.time * music.tpq / prompt.tpq), k.key, k.tonality)
            for k in prompt.key_signatures
        ]
        return result
    weights = np.zeros(12)
    for track in music.tracks:
        found = notes(track)
        if not track.is_drum:
            np.add.at(weights, found.pitch % 12, found.duration)
    if weights.any():
        key = estimate_key(weights)
        result.key_signatures = [KeySignature(0, key.signature(), int(key.mode == "minor"))]
    return result
