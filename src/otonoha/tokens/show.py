"""`otonoha show notes file.mid`: what a codec makes of a piece, as a table that a musician can read."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from otonoha.music.theory import pitch_name
from otonoha.tokens.base import Codec, Stream, Tokens
from otonoha.tokens.book import Book
from otonoha.tokens.events import Events
from otonoha.tokens.grid import Grid
from otonoha.tokens.notes import Notes
from otonoha.tokens.notes_grammar import END, FIRST_PITCH, LEFT_MOST, LEFT_NONE, LEFT_UNKNOWN, REST, TIE
from otonoha.tokens.place import key_name, metre_name
from otonoha.tokens.roll import HOLD, Roll
from otonoha.tokens.roll_tracks import DRUMS


def show(codec: Codec, music: Any, *, limit: int | None = None) -> str:
    """One line per position: where it stands in quarter notes, bar and beat, its symbols, its contexts.

    `limit` is the number of positions shown; None shows all. Raises ValueError for music that the codec
    cannot express.
    """
    tokens = codec.encode(music)
    shown = tokens.slice(0, limit)
    columns = {"quarter note": [_number(Fraction(float(c)).limit_denominator(96)) for c in shown.clock]}
    columns |= _place(codec, shown)
    for stream in codec.vocab.streams:
        if stream.name in ("beat", "quarter", "bar") and stream.role == "context":
            continue
        if stream.width > 1:
            columns[stream.name] = _chords(stream, shown.streams[stream.name])
            continue
        words = _words(codec, stream)
        columns[stream.name] = [words(int(symbol)) for symbol in shown.streams[stream.name]]
    more = len(tokens) - len(shown)
    head = f"{codec.fingerprint}: {len(tokens)} positions"
    return "\n".join([head, *_table(columns), *([f"… and {more} more"] if more else [])])


def _place(codec: Codec, tokens: Tokens) -> dict[str, list[str]]:
    """Bar (from 1; a pick-up is 0) and beat (quarters from 1), for codecs that know them. The bars of a roll are
    all full.
    """
    if isinstance(codec, Roll):
        bars = [divmod(step, codec.steps_per_bar) for step in range(len(tokens))]
        quarters = [_number(1 + s * codec.bar / codec.steps_per_bar) for _, s in bars]
        return {"bar": [str(1 + b) for b, _ in bars], "beat": quarters}
    if "bar" not in tokens.streams or not len(tokens):
        return {}
    size = codec.vocab["bar"].size
    bar = tokens.streams["bar"]
    upbeat = bar[0] == size - 1 and tokens.streams["quarter"][0] + tokens.streams["beat"][0] > 0
    number = np.concatenate([[0], np.cumsum(np.diff(bar) % size)]) + (0 if upbeat else 1)
    ticks = codec.vocab["beat"].size
    beat = [
        _number(1 + quarter + Fraction(tick, ticks))
        for quarter, tick in zip(tokens.streams["quarter"].tolist(), tokens.streams["beat"].tolist())
    ]
    return {"bar": [str(n) for n in number.tolist()], "beat": beat}


def _words(codec: Codec, stream: Stream) -> Callable[[int], str]:
    """How a symbol of a stream is called."""
    if stream.role == "context":
        return {"key": key_name, "metre": metre_name, "left": _left}.get(stream.name, str)
    if isinstance(codec, Events):
        return codec.layout.word
    if isinstance(codec, Book):
        return (codec.pitches if stream.name == "pitch" else codec.durations).__getitem__
    if isinstance(codec, Grid):
        names = {0: "rest", codec.hold: "-"}
        return lambda s: names.get(s) or pitch_name(s - codec.first_pitch + codec.low)
    if isinstance(codec, Notes) and stream.name == "pitch":
        special = {END: "END", REST: "rest", TIE: "tie"}
        return lambda s: special.get(s) or pitch_name(s - FIRST_PITCH)
    if isinstance(codec, Notes):
        return lambda s: _number(Fraction(int(codec.durations[s]), codec.resolution))
    return str


def _chords(stream: Stream, states: np.ndarray) -> list[str]:
    """The pitches of each row of a roll, "-" before those that are held; the strokes of drums by number."""
    name = str if stream.name == DRUMS else pitch_name
    words = [
        [("-" if row[p] == HOLD else "") + name(stream.base + p) for p in np.flatnonzero(row).tolist()]
        for row in states
    ]
    return [" ".join(found) or "rest" for found in words]


def _left(symbol: int) -> str:
    return {LEFT_UNKNOWN: "?", LEFT_MOST: f"{LEFT_MOST}+", LEFT_NONE: "0"}.get(symbol, str(symbol))


def _number(value: Fraction) -> str:
    """1, 1/2, 2 1/3."""
    whole, rest = divmod(value, 1)
    return " ".join(
        part for part in (str(whole) if whole or not rest else "", str(rest) if rest else "") if part
    )


def _table(columns: dict[str, list[str]]) -> list[str]:
    """Aligned lines: headings, a rule, the rows."""
    width = {name: max(len(name), *map(len, cells), 1) for name, cells in columns.items()}
    rows = [list(columns), ["-" * w for w in width.values()], *map(list, zip(*columns.values()))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, width.values())).rstrip() for row in rows]
