"""MIDI files <-> Score, through symusic.

symusic files the lyrics of a track under a ghost track of the same name without notes; they are given
back to the track whose notes they belong to. Texts are written in UTF-8; older encodings are recognised
when reading (`midi_text.py`). Two equal pitches that overlap on one track are beyond MIDI: which of them
ends first is lost. A pick-up is told as notation programs do it, by a first bar in a short metre of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from symusic import Score, TimeSignature, Track

from otonoha.io.guard import MAX_BYTES, load_bytes, store_bytes
from otonoha.io.measures import metre_of
from otonoha.io.midi_text import as_utf8
from otonoha.music.markers import pickup, with_marker
from otonoha.music.time import metre_map
from otonoha.music.tracks import notes


def read_midi(source: str | Path | bytes, *, limit: int = MAX_BYTES, name: str = "") -> Score:
    """Read a MIDI file, or its bytes. Times are in ticks of the file's own resolution.

    Raises ValueError (one line, with the file's name) for anything that is not a readable MIDI file.
    """
    label = name or (str(source) if not isinstance(source, bytes) else "MIDI data")
    data = source if isinstance(source, bytes) else load_bytes(source, limit=limit)
    _check_chunks(data, label)
    score = _parse(data, label)
    if any("\ufffd" in text for text in _texts(score)):
        score = _parse(as_utf8(data), label)
    return _take_upbeat(_return_lyrics(score))


def _parse(data: bytes, label: str) -> Score:
    try:
        return Score.from_midi(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise ValueError(f"{label}: damaged MIDI file ({str(error).splitlines()[0]})") from None


def _texts(score: Score) -> Iterator[str]:
    yield from (m.text for m in score.markers)
    for track in score.tracks:
        yield track.name
        yield from (lyric.text for lyric in track.lyrics)


def _check_chunks(data: bytes, label: str) -> None:
    """Raise ValueError unless the header makes sense."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError(f"{label}: not a MIDI file (it does not begin with a MIDI header)")
    _, kind, _, division = struct.unpack(">IHHH", data[4:14])
    if kind > 2:
        raise ValueError(f"{label}: damaged MIDI file (format {kind}; known are 0, 1 and 2)")
    if division & 0x8000 or not division:
        raise ValueError(f"{label}: unsupported MIDI time base (only ticks per quarter note are)")


def _return_lyrics(score: Score) -> Score:
    """Give lyrics that stand on tracks without notes to the tracks that sing them; drop empty tracks."""
    tracks = list(score.tracks)
    keep: list[Track] = []
    ghosts: list[tuple[int, Track]] = []
    for track in tracks:
        if len(track.notes):
            keep.append(track)
        elif len(track.lyrics):
            ghosts.append((len(keep) - 1, track))
    for before, ghost in ghosts:
        singer = _singer(keep, ghost, before)
        if singer is not None:
            singer.lyrics = sorted([*singer.lyrics, *ghost.lyrics], key=lambda t: t.time)
    score.tracks = keep
    return score


def _singer(tracks: list[Track], ghost: Track, before: int) -> Track | None:
    """The track whose onsets agree best with the lyrics: among its namesakes, else among all."""
    candidates = [i for i, t in enumerate(tracks) if t.name == ghost.name and not t.is_drum]
    candidates = candidates or [i for i, t in enumerate(tracks) if not t.is_drum]
    if not candidates:
        return None
    at = np.array([t.time for t in ghost.lyrics])
    share = {i: float(np.isin(at, notes(tracks[i]).onset).mean()) for i in candidates}
    return tracks[max(candidates, key=lambda i: (share[i], i == before, -abs(i - before)))]


def _take_upbeat(score: Score) -> Score:
    """A first bar that is alone in its metre, and shorter than the next, becomes a pick-up."""
    if len(score.time_signatures) < 2:
        return score
    short, full, *later = sorted(score.time_signatures, key=lambda m: m.time)
    if short.time or not min(short.numerator, short.denominator, full.numerator, full.denominator):
        return score
    length = Fraction(4 * short.numerator, short.denominator)
    longer = Fraction(4 * full.numerator, full.denominator) > length
    if full.time != length * score.tpq or not longer or pickup(score) not in (0, length):
        return score
    score.time_signatures = [TimeSignature(0, full.numerator, full.denominator), *later]
    return score if pickup(score) else with_marker(score, "pickup", str(length))


def _tell_upbeat(score: Score) -> Score:
    """The pick-up's bar in a metre of its own, so that other programs have the bar lines in their places."""
    metres, end = metre_map(score), pickup(score) * score.tpq
    _, numerator, denominator = metres[0]
    full = Fraction(4 * numerator * score.tpq, denominator)
    short = metre_of(int(end), score.tpq, denominator) if 0 < end < full else None
    if short is None or any(0 < tick <= end for tick, _, _ in metres):
        return score
    told = score.copy()
    opening = [TimeSignature(0, *short), TimeSignature(int(end), numerator, denominator)]
    told.time_signatures = [*opening, *(m for m in score.time_signatures if m.time > end)]
    return told


def write_midi(score: Score, path: str | Path) -> Path:
    """Write a Score as a standard MIDI file (format 1)."""
    return store_bytes(path, midi_bytes(score))


def midi_bytes(score: Score) -> bytes:
    """The bytes of a standard MIDI file (format 1)."""
    if not 1 <= score.tpq <= 0x7FFF:
        raise ValueError(f"MIDI holds 1 to {0x7FFF} ticks per quarter note, the score has {score.tpq}")
    return _tell_upbeat(score).dumps_midi()
