"""The notes of a batch of scores on the grid of the `events` codec, no two of a pitch sounding together.

Axes: N notes of all pieces one after the other, track by track; P pieces. Nothing is moved: an order of the notes
is found, and lengths are cut, so that every later step gathers what it needs just once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from symusic import Score

from otonoha.tokens.events_bars import ticks
from otonoha.tokens.events_instruments import DRUMS
from otonoha.tokens.events_vocab import Layout

MAX_TRACKS = 32
_FAR = 2**30
"""Ticks beyond which 32 bits do not suffice."""


@dataclass(frozen=True, eq=False)
class Played:
    """(N,) `onset`, `end`, `pitch`, `velocity`, `column` (1 for the first track of its piece), and `drum`, or None
    where there are none. `order`: the notes that are kept, from the highest pitch down, then by track and time.
    `edges`: (P + 1,) where the notes of each piece begin. `programs`: those of each piece's tracks.
    """

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    column: np.ndarray
    drum: np.ndarray | None
    order: np.ndarray
    edges: list[int]
    programs: list[tuple[int, ...]]

    def ends(self) -> list[int]:
        """The tick at which the last note of each piece ends."""
        return np.maximum.reduceat(self.end, self.edges[:-1]).tolist()

    def lengths(self) -> np.ndarray:
        """(N,) the lengths in ticks; 0 for strokes, which say none."""
        length = self.end - self.onset
        if self.drum is not None:
            length[self.drum] = 0
        return length

    def symbols(self, layout: Layout) -> np.ndarray:
        """(N,) `Pitch` or `Drum`."""
        symbol = self.pitch + np.int32(layout.base["Pitch"])
        if self.drum is not None:
            symbol[self.drum] += layout.base["Drum"] - layout.base["Pitch"]
        return symbol


def played(scores: Sequence[Score], resolution: int) -> Played:
    """The notes of the sounding tracks, rounded to the grid; each lasts a tick at least, a drum stroke just one."""
    programs, arrays, edges, sizes = [], [], [0], []
    for score in scores:
        found = [(t, notes) for t in score.tracks if len(notes := t.notes)]
        if not found:
            raise ValueError("there are no notes to encode")
        if len(found) > MAX_TRACKS:
            raise ValueError(
                f"the score has {len(found)} tracks with notes; at most {MAX_TRACKS} can be written"
            )
        programs.append(tuple(DRUMS if t.is_drum else t.program for t, _ in found))
        arrays += [notes.numpy() for _, notes in found]
        sizes += [len(notes) for _, notes in found]
        edges.append(sum(sizes))
    time, length, pitch, velocity = (
        np.concatenate([a[name] for a in arrays]) for name in ("time", "duration", "pitch", "velocity")
    )
    onset, end = _on_grid(time, length, scores, edges, resolution)
    np.maximum(end, onset + 1, out=end)
    drum = None
    if any(DRUMS in mine for mine in programs):
        drum = np.repeat([p == DRUMS for mine in programs for p in mine], sizes)
        np.copyto(end, onset + 1, where=drum)
    pitch = pitch.view(np.uint8)
    track = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    order = _untangled(track, pitch, onset, end, velocity)
    columns = np.array([t for mine in programs for t in range(1, 1 + len(mine))], np.int32)
    return Played(onset, end, pitch, velocity, np.repeat(columns, sizes), drum, order, edges, programs)


def _on_grid(
    time: np.ndarray, length: np.ndarray, scores: Sequence[Score], edges: list[int], resolution: int
) -> tuple[np.ndarray, np.ndarray]:
    """Onset and end of the notes in ticks of the codec."""
    if time.min() < 0:
        raise ValueError(f"a note begins before the score does, at tick {time.min()}")
    if int(time.max()) + int(length.max()) >= _FAR:
        time = time.astype(np.int64)
    both = np.stack([time, time + length])
    if len({score.tpq for score in scores}) == 1:
        onset, end = ticks(both, scores[0].tpq, resolution)
        return onset, end
    for score, (a, b) in zip(scores, pairwise(edges)):
        both[:, a:b] = ticks(both[:, a:b], score.tpq, resolution)
    return both[0], both[1]


def _untangled(
    track: np.ndarray, pitch: np.ndarray, onset: np.ndarray, end: np.ndarray, velocity: np.ndarray
) -> np.ndarray:
    """The order of the notes by pitch, track and onset. Each is cut where the next one of its track and pitch begins
    (`end` is changed); of those that begin together the longest, then the loudest, stays.
    """
    line = (track << 7) + pitch
    order = np.argsort(pitch ^ 127, kind="stable")  # numbers of 8 bits are sorted in one pass
    of, begin = line.take(order), onset.take(order)
    same = of[1:] == of[:-1]
    if (same & (begin[1:] < begin[:-1])).any():  # a track that is not in the order of time
        order = np.lexsort((onset, track, pitch ^ 127))
        begin = onset[order]
    again = same & (begin[1:] == begin[:-1])
    if again.any():
        order, kept = _without_twins(order, again, end, velocity)
        of, begin = of.take(kept), begin.take(kept)
        same = of[1:] == of[:-1]
    over = np.flatnonzero(same & (end.take(order)[:-1] > begin[1:]))
    end[order[over]] = begin[over + 1]
    return order


def _without_twins(
    order: np.ndarray, again: np.ndarray, end: np.ndarray, velocity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The order without notes that the next one repeats (`again`), and the places in the old one that are kept; of
    such notes the best one is moved to the last place, the others do not sound (their `end` is 0).
    """
    like = np.concatenate([[False], again, [False]])  # the one before; from 1 on: the next one
    some = np.flatnonzero(like[:-1] | like[1:])
    twins = order[some]
    order[some] = twins[np.lexsort((velocity[twins], end[twins], np.cumsum(~like[some])))]
    end[order[like[1:]]] = 0
    kept = np.flatnonzero(~like[1:])
    return order.take(kept), kept
