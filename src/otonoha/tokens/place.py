"""Where in the music a tick lies: bar, place in the bar, metre and key. What notes and grid share.

Ticks are those of a codec: `resolution` to a quarter note. Bars are numbered from 0 at the first full bar;
a pick-up is bar -1 and counts its places from where a full bar would begin.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.music.markers import pickup
from otonoha.music.suggest import one_of
from otonoha.music.theory import Key
from otonoha.music.time import key_map, metre_map

METRES = (
    *((4, 4), (3, 4), (2, 4), (6, 8), (2, 2), (3, 2), (4, 2), (6, 4), (3, 8), (9, 8), (12, 8), (5, 4)),
    *((7, 4), (5, 8), (7, 8), (1, 4), (4, 8), (2, 8), (8, 8), (9, 4), (8, 4), (12, 4), (1, 2), (5, 2)),
    *((6, 2), (10, 8), (11, 8), (3, 16), (4, 16), (6, 16), (9, 16), (12, 16), (3, 1), (2, 1)),
)
"""(numerator, denominator) by index of the `metre` stream; the index after the last means "another one"."""
OTHER_METRE = len(METRES)
METRE_SIZE = OTHER_METRE + 1
UNKNOWN_KEY = 24
KEY_SIZE = 25
QUARTER_SIZE = 13
"""Quarters of a bar are told apart up to the thirteenth."""
_INDEX = {metre: i for i, metre in enumerate(METRES)}


def metre_index(metre: tuple[int, int] | str) -> int:
    """(3, 4) or "3/4" -> index. Raises ValueError for a metre that a codec cannot write."""
    text = metre if isinstance(metre, str) else f"{metre[0]}/{metre[1]}"
    return _INDEX[_parse_metre(one_of(text.replace(" ", ""), [f"{n}/{d}" for n, d in METRES], "metre"))]


def _parse_metre(text: str) -> tuple[int, int]:
    numerator, denominator = text.split("/")
    return int(numerator), int(denominator)


def metre_name(index: int) -> str:
    """ "3/4", or "?" for a metre outside the table."""
    return "{}/{}".format(*METRES[index]) if index < OTHER_METRE else "?"


def bar_ticks(metre: int, resolution: int) -> int:
    """Length of a bar of the metre with that index; another metre counts as 4/4."""
    return _length(METRES[metre if metre < OTHER_METRE else 0], resolution)


def _length(metre: tuple[int, int], resolution: int) -> int:
    return max(1, round(4 * resolution * metre[0] / metre[1]))


@functools.lru_cache(maxsize=1024)
def _index_and_ticks(metre: tuple[int, int], resolution: int) -> tuple[int, int]:
    """Index of a metre of a score, and the ticks of its bars. A metre that makes no sense counts as 4/4."""
    numerator, denominator = metre
    if not (0 < numerator <= 128 and 0 < denominator <= 128):
        return _index_and_ticks((4, 4), resolution)
    return _INDEX.get(metre, OTHER_METRE), _length(metre, resolution)


def key_index(key: Key | str | None) -> int:
    """Index of the `key` stream; None is the unknown key."""
    if key is None:
        return UNKNOWN_KEY
    return (Key.parse(key) if isinstance(key, str) else key).index


def key_name(index: int) -> str:
    """ "F# minor", or "?" for the unknown key."""
    return str(Key.from_index(index)) if index < UNKNOWN_KEY else "?"


def key_pitches(index: int) -> np.ndarray:
    """(128,) bool: the pitches of a key; in minor the raised sixth and seventh are among them."""
    key = Key.from_index(index)
    classes = {*key.scale, *((key.tonic + 9, key.tonic + 11) if key.mode == "minor" else ())}
    return np.isin(np.arange(128) % 12, [c % 12 for c in classes])


def transpose_keys(keys: np.ndarray, semitones: int) -> np.ndarray:
    """Key indices so many semitones higher; the unknown key stays unknown."""
    moved = keys // 12 * 12 + (keys % 12 + semitones) % 12
    return np.where(keys < UNKNOWN_KEY, moved, keys)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request may ask of any codec of notes. None leaves the choice to the model, or to the prompt."""

    bars: int | None = None
    """Number of full bars to write, after the prompt if there is one."""
    key: Key | str | None = None
    """Key in force, 'F# minor' or a Key."""
    scale_only: bool = False
    """Only pitches of the key; in minor the raised sixth and seventh count as such."""
    metre: tuple[int, int] | str | None = None
    """'3/4' or (3, 4); None: 4/4, or the prompt's."""
    pickup: float | Fraction | str = 0
    """Length of the pick-up in quarter notes."""

    def __post_init__(self) -> None:
        if self.bars is not None and self.bars < 1:
            raise ValueError(f"bars must be at least 1, got {self.bars}")


def opening(asked: Asked, resolution: int) -> tuple[int, int, int, int]:
    """Where a new piece begins: metre, key, ticks since the bar line, number of the bar (-1: a pick-up)."""
    metre = metre_index(asked.metre or (4, 4))
    bar = bar_ticks(metre, resolution)
    upbeat = round(Fraction(asked.pickup) * resolution)
    if not 0 <= upbeat < bar:
        raise ValueError(
            f"a pick-up of {asked.pickup} quarter notes does not fit into a bar of {metre_name(metre)}"
        )
    return (metre, key_index(asked.key), bar - upbeat, -1) if upbeat else (metre, key_index(asked.key), 0, 0)


def resumption(
    asked: Asked, resolution: int, last: Mapping[str, int], ticks: int
) -> tuple[int, int, int, int]:
    """The same behind a prompt, whose `last` event has these contexts and lasts `ticks`."""
    metre = last["metre"]
    if metre == OTHER_METRE:
        raise ValueError("the prompt ends in a metre that this codec cannot write; cut it before")
    if asked.metre is not None and metre_index(asked.metre) != metre:
        raise ValueError(f"the prompt is in {metre_name(metre)}, which the request must keep")
    if asked.pickup:
        raise ValueError("a pick-up has no effect after a prompt; leave it out")
    key = last["key"] if asked.key is None else key_index(asked.key)
    return metre, key, last["quarter"] * resolution + last["beat"] + ticks, last["bar"]


Stretch = tuple[int, int, int, int, int]
"""A stretch of one metre: the tick from which it holds, a tick at which a bar line stands, the number of the
bar that begins there, the ticks of a bar, the index of the metre."""


def stretches(score: Score, resolution: int, end: int) -> list[Stretch]:
    """The bar lines of a score up to tick `end` (of the codec). A metre change in the middle of a bar cuts
    that bar; a repeated statement of the same metre changes nothing.
    """
    signatures = score.time_signatures
    if (
        len(signatures) == 1 and signatures[0].time <= 0
    ):  # nearly every file; the long way takes four times as long
        metres = [(0, (signatures[0].numerator, signatures[0].denominator))]
    else:
        metres = _distinct([(t, (n, d)) for t, n, d in metre_map(score)], score.tpq, resolution, end)
    index, first = _index_and_ticks(metres[0][1], resolution)
    marked = any(m.text.startswith("pickup:") for m in score.markers)
    upbeat = round(pickup(score) * resolution) % first if marked else 0
    found = [(0, upbeat - first, -1, first, index) if upbeat else (0, 0, 0, first, index)]
    for tick, metre in metres[1:]:
        _, origin, number, length, _ = found[-1]
        index, ticks = _index_and_ticks(metre, resolution)
        found.append((tick, tick, number - (origin - tick) // length, ticks, index))
    return found


def keys(score: Score, resolution: int, end: int) -> list[tuple[int, int]]:
    """(tick, key index) of every key in the order of time; the first one holds from tick 0."""
    if not len(score.key_signatures):
        return [(0, UNKNOWN_KEY)]
    found = [(tick, key.index) for tick, key in key_map(score)]
    if len(found) > 1:
        found = _distinct(found, score.tpq, resolution, end)
    return [(0, found[0][1]), *found[1:]] if found else [(0, UNKNOWN_KEY)]


def _distinct(changes: list, tpq: int, resolution: int, end: int) -> list:
    """The changes that change something before `end`, with their ticks rescaled; the last of a tick wins."""
    latest = {(2 * resolution * tick + tpq) // (2 * tpq): value for tick, value in changes}
    kept: list = []
    for tick, value in sorted(latest.items(), key=lambda pair: pair[0]):
        if not kept or (tick < end and value != kept[-1][1]):
            kept.append((max(tick, 0), value))
    return kept


def contexts(
    resolution: int, bars: np.ndarray, names: np.ndarray, clock: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """key, metre, beat and quarter of events at ticks `clock`; their bar numbers; ticks since the bar line.

    `bars` are (k, 5) stretches, `names` (m, 2) keys, both with an event at each beginning.
    """
    in_stretch = _counts(bars[:, 0], clock)
    origin, number, length, metre = (np.repeat(column, in_stretch) for column in bars.T[1:])
    since = clock - origin
    bar = np.floor(since / length).astype(np.int64)  # exact, and faster than integer division
    position = since - bar * length
    quarter = position // resolution
    streams = {
        "key": np.repeat(names[:, 1], _counts(names[:, 0], clock)),
        "metre": metre,
        "beat": position - quarter * resolution,
        "quarter": np.minimum(quarter, QUARTER_SIZE - 1),
    }
    return streams, bar + number, position


def _counts(begin: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """(k,) number of events from each beginning to the next."""
    return np.diff(np.searchsorted(clock, begin), append=len(clock))


def place_score(resolution: int, clock: np.ndarray, streams: dict[str, np.ndarray], qpm: float) -> Score:
    """An empty score with metre, key, tempo and pick-up as the context streams (T,) at ticks `clock` say."""
    score = Score(resolution)
    score.tempos.append(Tempo(0, qpm))
    if not len(clock):
        score.time_signatures.append(TimeSignature(0, 4, 4))
        return score
    for i in _changes(streams["metre"]):
        numerator, denominator = METRES[m if (m := int(streams["metre"][i])) < OTHER_METRE else 0]
        score.time_signatures.append(TimeSignature(int(clock[i]), numerator, denominator))
    for i in _changes(streams["key"]):
        if (index := int(streams["key"][i])) < UNKNOWN_KEY:
            key = Key.from_index(index)
            score.key_signatures.append(
                KeySignature(int(clock[i]), key.signature(), int(key.mode == "minor"))
            )
    position = int(streams["quarter"][0]) * resolution + int(streams["beat"][0])
    rest = bar_ticks(int(streams["metre"][0]), resolution) - position
    if position and rest > 0:
        score.markers.append(TextMeta(0, f"pickup:{Fraction(rest, resolution)}"))
    return score


def _changes(values: np.ndarray) -> list[int]:
    """0 and every index whose value differs from the one before."""
    return [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
