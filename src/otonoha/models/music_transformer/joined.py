"""Two pieces with empty bars between them, so that the way from one to the other can be written (task `Join`)."""

from __future__ import annotations

from symusic import Score, Track

from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import CHANGES, Place, bar_lines, read, sounding
from otonoha.music.markers import pickup
from otonoha.music.time import metre_map
from otonoha.tokens.events import Events

BETWEEN = 2
"""Bars between two pieces when nobody says how many."""


def between(codec: Events, first: Score, second: Score, controls: Controls) -> Place:
    """The bars between two pieces. A pick-up of the second sounds in a bar of its own before its first one."""
    sounding(first)
    sounding(second)
    score, bars = first.copy(), controls.bars or BETWEEN
    lines = bar_lines(codec, read(codec, score))
    _, numerator, denominator = metre_map(score)[-1]
    bar = 4 * numerator * score.tpq // denominator
    upbeat = pickup(second)
    begin = int(lines[-1]) * score.tpq // codec.resolution + bar * (1 + bars + bool(upbeat))
    later = second.resample(score.tpq, min_dur=1) if second.tpq != score.tpq else second.copy()
    _behind(score, later, begin - int(upbeat * score.tpq))
    tokens, homes = read(codec, score), sounding(score)
    empty = list(range(len(lines), len(lines) + bars))
    return Place(score, tokens, empty, list(range(len(homes))), homes)


def _behind(score: Score, later: Score, shift: int) -> None:
    """Put a score into another, `shift` ticks later; tracks of one name or instrument become one."""
    free = list(range(len(score.tracks)))
    for track in (t for t in later.tracks if len(t.notes)):
        home = _home(score, track, free)
        if home is None:
            score.tracks.append(Track(track.name, track.program, track.is_drum))
            home = len(score.tracks) - 1
        else:
            free.remove(home)
        score.tracks[home].notes.extend(track.shift_time(shift).notes)
    for name in CHANGES:
        getattr(score, name).extend([_moved(event, shift) for event in getattr(later, name)])


def _home(score: Score, track: Track, free: list[int]) -> int | None:
    """The track that goes on: of the same name and instrument, or of the same instrument."""
    same = [
        i
        for i in free
        if (score.tracks[i].program, score.tracks[i].is_drum) == (track.program, track.is_drum)
    ]
    named = [i for i in same if score.tracks[i].name.lower() == track.name.lower()]
    return next(iter(named or same), None)


def _moved(event: object, shift: int) -> object:
    moved = event.copy()  # type: ignore[attr-defined]
    moved.time = max(0, moved.time + shift)
    return moved
