"""Symbolic music: what otonoha does with a symusic.Score, used as it is (times in ticks).

Every function is pure: it returns new objects and leaves its arguments alone. What symusic lacks travels
as markers (`music/markers.py`): pick-ups, fermatas, chord symbols, sections, titles. Lyrics stay on their
track, each at its note's onset; a syllable that the word goes on after ends with "-".
Musical time (bars, metre, key and tempo maps) lives in `music/time.py`, voices in `music/voices.py`; all
are offered here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature, Track

from otonoha.music.markers import MARKERS, marker, pickup, with_marker, without_marker
from otonoha.music.theory import Key
from otonoha.music.time import (
    BarTable,
    bar_table,
    key_at,
    key_map,
    last_tick,
    metre_map,
    seconds,
    signatures,
    tempo_map,
    ticks,
)
from otonoha.music.tracks import MAX_TPQ, Notes, notes, select_tracks, track_of, with_notes
from otonoha.music.voices import melody, voices

__all__ = [
    "MARKERS",
    "BarTable",
    "Notes",
    "bar_table",
    "concatenate",
    "key_at",
    "key_map",
    "last_tick",
    "marker",
    "melody",
    "merge",
    "metre_map",
    "notes",
    "pickup",
    "quantise",
    "rescale",
    "seconds",
    "select_tracks",
    "signatures",
    "slice_bars",
    "tempo_map",
    "ticks",
    "track_of",
    "transpose",
    "voices",
    "with_marker",
    "with_notes",
    "without_marker",
]


def rescale(score: Score, tpq: int) -> Score:
    """The same music at another number of ticks per quarter note, rounded where need be."""
    if not 1 <= tpq <= MAX_TPQ:
        raise ValueError(f"ticks per quarter must lie in 1-{MAX_TPQ}, got {tpq}")
    return score.copy() if tpq == score.tpq else score.resample(tpq, 1)


def quantise(score: Score, resolution: int) -> Score:
    """Round all times to a grid of `resolution` steps a quarter note, which becomes the score's tpq.

    Onsets and ends are rounded to the nearest step (halves go up), so notes that touch still touch; no
    note is shorter than one step.
    """
    result = rescale(score, resolution)
    if resolution != score.tpq:
        result.tracks = [
            with_notes(scaled, _round_notes(notes(given), score.tpq, resolution))
            for scaled, given in zip(result.tracks, score.tracks, strict=True)
        ]
    return result


def _round_notes(found: Notes, tpq: int, resolution: int) -> Notes:
    onset, end = ((2 * t * resolution + tpq) // (2 * tpq) for t in (found.onset, found.end))
    return Notes(onset, np.maximum(end - onset, 1), found.pitch, found.velocity)


def transpose(score: Score, semitones: int, *, low: int = 0, high: int = 127) -> Score:
    """All notes moved by semitones; drums stay, key signatures follow.

    Raises ValueError where a note would leave low … high.
    """
    result = score.copy()
    for track in result.tracks:
        if track.is_drum or not len(track.notes):
            continue
        pitch = track.notes.numpy()["pitch"].astype(np.int64) + semitones
        if pitch.min() < low or pitch.max() > high:
            raise ValueError(
                f"transposed by {semitones:+d} the notes would span {pitch.min()}-{pitch.max()}, "
                f"outside of {low}-{high}"
            )
        track.shift_pitch(semitones, inplace=True)
    result.key_signatures = [
        _key_signature(k.time, Key.from_signature(k.key, bool(k.tonality)).transpose(semitones))
        if semitones % 12
        else k
        for k in score.key_signatures
    ]
    return result


def _key_signature(tick: int, key: Key) -> KeySignature:
    return KeySignature(tick, key.signature(), int(key.mode == "minor"))


def slice_bars(score: Score, first: int, last: int) -> Score:
    """Bars `first` … `last - 1`, from tick 0, with the metre, key and tempo in force, lyrics and markers.

    Notes belong to the bar of their onset and are cut at the end of the slice. A slice that begins with the
    pick-up bar keeps its marker. Raises ValueError when there are no such bars.
    """
    bars = bar_table(score)
    if not 0 <= first < last <= len(bars):
        raise ValueError(f"cannot cut bars {first} to {last}: the score has bars 0 to {len(bars)}")
    begin, end = int(bars.start[first]), int(bars.start[last])
    result = Score(score.tpq)
    result.tracks = [_cut_track(track, begin, end) for track in score.tracks]
    metre = [(t, (n, d)) for t, n, d in metre_map(score)]
    result.time_signatures = [TimeSignature(t, *nd) for t, nd in _in_force(metre, begin, end)]
    keys = _in_force(signatures(score), begin, end)
    result.key_signatures = [KeySignature(t, sharps, int(minor)) for t, (sharps, minor) in keys]
    result.tempos = [Tempo(t, qpm) for t, qpm in _in_force(tempo_map(score), begin, end)]
    result.markers = [
        TextMeta(max(m.time - begin, 0), m.text)
        for m in score.markers
        if begin <= m.time < end or m.text.startswith(("title:", "composer:", "style:"))
    ]
    return result if first == 0 else without_marker(result, "pickup")


def _cut_track(track: Track, begin: int, end: int) -> Track:
    found = notes(track)
    inside = (found.onset >= begin) & (found.onset < end)
    onset = found.onset[inside]
    duration = np.minimum(found.duration[inside], end - onset)
    bare = track.copy()
    bare.notes = []
    cut = bare.clip(begin, end).shift_time(-begin)
    return with_notes(cut, Notes(onset - begin, duration, found.pitch[inside], found.velocity[inside]))


def _in_force(timeline: list, begin: int, end: int) -> list:
    """Entries (tick, value) within begin … end - 1, re-based to 0, opened by the one in force at begin."""
    before = [value for tick, value in timeline if tick <= begin]
    opening = [(0, before[-1])] if before else []
    return opening + [(tick - begin, value) for tick, value in timeline if begin < tick < end]


def merge(scores: Sequence[Score]) -> Score:
    """The tracks of all scores side by side; tempo, metre, key and markers are those of the first.

    Fermata markers of every score follow their tracks.
    """
    if not scores:
        raise ValueError("nothing to merge: give at least one score")
    parts = _same_tpq(scores)
    result = parts[0].copy()
    for part in parts[1:]:
        offset = len(result.tracks)
        result.tracks = list(result.tracks) + [track.copy() for track in part.tracks]
        for tick, value in marker(part, "fermata"):
            if value.isdigit():
                result = with_marker(result, "fermata", str(int(value) + offset), tick)
    return result


def _same_tpq(scores: Sequence[Score]) -> list[Score]:
    """Copies at one resolution: the least common multiple, or the finest where that is too fine."""
    common = math.lcm(*(s.tpq for s in scores))
    return [rescale(s, common if common <= MAX_TPQ else max(s.tpq for s in scores)) for s in scores]


def concatenate(first: Score, second: Score) -> Score:
    """One score after the other: the second begins at the bar line that ends the first.

    A pick-up of the second becomes a full bar that begins with a rest, so that all bar lines hold. Tracks
    are joined by (name, program, drums); those without a partner are added.
    """
    a, b = _same_tpq([first, second])
    bars = bar_table(a)
    upbeat = int(pickup(b) * b.tpq)
    _, numerator, denominator = metre_map(b)[0]
    lead = 4 * numerator * b.tpq // denominator - upbeat if upbeat else 0
    bar_line = int(bars.start[-1])
    begin = bar_line + max(lead, 0)
    result, moved = a.copy(), without_marker(b, "pickup").shift_time(begin)
    place = _join_tracks(result, moved)
    # What b takes for granted at its tick 0 (default metre, tempo) must be said where a said otherwise.
    tail = [TimeSignature(t + begin if t else bar_line, n, d) for t, n, d in metre_map(b)]
    result.time_signatures = [*_before(a.time_signatures, bar_line), *tail]
    result.key_signatures = [*_before(a.key_signatures, bar_line), *moved.key_signatures]
    tempi = [Tempo(t + begin, qpm) for t, qpm in tempo_map(b)]
    result.tempos = [*_before(a.tempos, begin), *tempi]
    for m in moved.markers:
        name, _, value = m.text.partition(":")
        if name == "fermata" and value.isdigit():
            m = TextMeta(m.time, f"fermata:{place.get(int(value), value)}")
        result.markers.append(m)
    return result


def _before(events: Sequence, tick: int) -> list:
    return [e for e in events if e.time < tick]


def _join_tracks(result: Score, moved: Score) -> dict[int, int]:
    """Append the notes of `moved` to the matching tracks of `result`; where each track went."""
    free = dict(enumerate(result.tracks))
    place: dict[int, int] = {}
    for i, track in enumerate(moved.tracks):
        identity = (track.name, track.program, track.is_drum)
        match = next((k for k, t in free.items() if (t.name, t.program, t.is_drum) == identity), None)
        if match is None:
            place[i] = len(result.tracks)
            result.tracks.append(track.copy())
            continue
        place[i] = match
        partner = free.pop(match)
        for kind in ("notes", "lyrics", "controls", "pedals", "pitch_bends"):
            getattr(partner, kind).extend(getattr(track, kind))
    return place
