"""Two pieces with empty bars between them, so that the way from one to the other can be written (task `Join`).

Both stay as they are, to the tick: what is put together has ticks as fine as both need.
"""

from __future__ import annotations

import math

from symusic import Score, Tempo, TextMeta, TimeSignature, Track

from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import (
    Place,
    bar_lines,
    frame_in,
    read,
    sounding,
    within,
)
from otonoha.music.markers import pickup
from otonoha.music.time import metre_map, tempo_map
from otonoha.music.tracks import MAX_TPQ
from otonoha.tokens.events import Events
from otonoha.tokens.events_bars import bar_length, nearest_tick
from otonoha.tokens.events_vocab import QUARTERS

BETWEEN = 2
"""Bars between two pieces when nobody says how many."""
OF_A_PIECE = ("pickup", "title", "composer", "style", "rhythm")
"""Markers that speak of a whole piece: those of the second are left out."""


def between(codec: Events, first: Score, second: Score, controls: Controls) -> Place:
    """The bars between two pieces, in the metre of the first. A pick-up of the second sounds in bars of its own."""
    sounding(first)
    sounding(second)
    score, later = (_told(codec, piece) for piece in _as_fine(first, second))
    frame = frame_in(codec, codec.encode(score))
    numerator, denominator = frame.metre[-1].tolist()
    if 4 * numerator > QUARTERS * denominator:
        raise ValueError(
            f"the first piece ends in {numerator}/{denominator}, whose bars are longer than {QUARTERS} quarter notes; "
            "no bars can be written behind it"
        )
    bar = bar_length(numerator, denominator, codec.resolution)
    until, upbeat = frame.end + bar * (controls.bars or BETWEEN), pickup(later)
    ready = until + bar * math.ceil(upbeat * codec.resolution / bar)
    begin = nearest_tick(ready, codec.resolution, score.tpq)
    shift = begin - round(upbeat * score.tpq)
    _behind(score, later, shift, begin)
    tokens, homes = read(codec, score), sounding(score)
    # where ticks are too coarse for the bar line, the second piece begins a little before it
    until = min(until, nearest_tick(shift, score.tpq, codec.resolution))
    lines = bar_lines(codec, tokens).tolist()
    empty = [number for number, line in enumerate(lines) if frame.end <= line < until]
    return Place(score, tokens, empty, list(range(len(homes))), homes)


def _as_fine(first: Score, second: Score) -> tuple[Score, Score]:
    """Both with ticks that serve both, or with those of the first where a file could not say such fine ones."""
    tpq = math.lcm(first.tpq, second.tpq)
    tpq = tpq if tpq <= MAX_TPQ else first.tpq
    one, two = (s if s.tpq == tpq else s.resample(tpq, 1) for s in (first, second))
    return one, two


def _told(codec: Events, score: Score) -> Score:
    """A piece whose changes end with its notes. If it is in 1/4 throughout, the codec counts 4/4: then so does it."""
    result = within(codec, score)
    if all((n, d) == (1, 4) for _, n, d in metre_map(result)):
        result.time_signatures = [TimeSignature(0, 4, 4)]
    return result


def _behind(score: Score, later: Score, shift: int, begin: int) -> None:
    """Put a score into another, `shift` ticks later, its first full bar at `begin`; tracks of one name or instrument
    become one.
    """
    free, home_of = list(range(len(score.tracks))), {}
    for number, track in enumerate(later.tracks):
        if not len(track.notes):
            continue
        home = _home(score, track, free)
        if home is None:
            score.tracks.append(Track(track.name, track.program, track.is_drum))
            home = len(score.tracks) - 1
        else:
            free.remove(home)
        home_of[number] = home
        moved = track.shift_time(shift)
        for name in ("notes", "lyrics", "controls", "pitch_bends", "pedals"):
            getattr(score.tracks[home], name).extend(getattr(moved, name))
    _state(score, later, shift, begin)
    score.markers.extend(_markers(later, shift, home_of))


def _state(score: Score, later: Score, shift: int, begin: int) -> None:
    """Metre, key and tempo of the later piece, also where it leaves unsaid what a file takes for granted."""
    metres = [(max(begin, tick + shift), metre) for tick, *metre in metre_map(later)]
    score.time_signatures.extend([TimeSignature(tick, *metre) for tick, metre in dict(metres).items()])
    score.key_signatures.extend([_moved(event, shift) for event in later.key_signatures])
    before, (_, now) = tempo_map(score)[-1][1], tempo_map(later)[0]
    if before != now and not any(event.time <= 0 for event in later.tempos):
        score.tempos.append(Tempo(shift, now))
    score.tempos.extend([_moved(event, shift) for event in later.tempos])


def _markers(later: Score, shift: int, home_of: dict[int, int]) -> list[TextMeta]:
    """Those that speak of a place; a fermata names the track in which it now is."""
    found = []
    for marker in later.markers:
        name, _, value = marker.text.partition(":")
        if name == "fermata" and value.strip().isdecimal():
            home = home_of.get(int(value))
            text = None if home is None else f"fermata:{home}"
        else:
            text = None if name in OF_A_PIECE else marker.text
        if text is not None:
            found.append(TextMeta(marker.time + shift, text))
    return found


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
