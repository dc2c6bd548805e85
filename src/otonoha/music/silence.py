"""Melodies without their waiting: a song's voice rests while the piano plays, and a melody on its own need not."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from symusic import Score

from otonoha.music.markers import with_marker, without_marker
from otonoha.music.time import BarTable, bar_table


def without_silence(score: Score, *, keep: int = 1) -> Score:
    """A copy in which silent bars are cut: all before the first note, and of later ones all but `keep` in a row.

    A first bar that rests for at least half of its length becomes a pick-up of what follows the rest.
    """
    bars = bar_table(score)
    sounding = _sounding(score, bars)
    if not sounding.any():
        return score.copy()
    silent_run = _run_so_far(~sounding)
    first = int(np.argmax(sounding))
    cut = (silent_run > keep) | (np.arange(len(bars)) < first)
    begin, length = bars.start[:-1], np.diff(bars.start)
    lost = np.concatenate([[0], np.cumsum(np.where(cut, length, 0))])
    result = _moved(score, begin, np.append(cut, False), lost, bars.start)
    if first > 0 or not bars.first_is_pickup:
        result = _with_upbeat(result, score.tpq, int(length[first]))
    return result


def _sounding(score: Score, bars: BarTable) -> np.ndarray:
    """(n,) bool: does any note sound in the bar?"""
    delta = np.zeros(len(bars) + 1, np.int64)
    for track in score.tracks:
        notes = track.notes.numpy()
        if len(notes["time"]):
            onset = notes["time"].astype(np.int64)
            last = onset + np.maximum(notes["duration"].astype(np.int64) - 1, 0)
            np.add.at(delta, bars.bar_at(onset), 1)
            np.add.at(delta, bars.bar_at(last) + 1, -1)
    return np.cumsum(delta)[:-1] > 0


def _run_so_far(flags: np.ndarray) -> np.ndarray:
    """(n,) length of the run of true values that ends here."""
    index = np.arange(len(flags))
    return np.where(flags, index - np.maximum.accumulate(np.where(flags, -1, index)), 0)


def _moved(score: Score, begin: np.ndarray, cut: np.ndarray, lost: np.ndarray, edges: np.ndarray) -> Score:
    """Everything at its new time; what lies in a bar that is cut moves to where the next bar begins."""

    def new_time(tick: int) -> int:
        bar = int(np.clip(np.searchsorted(edges, tick, side="right") - 1, 0, len(begin)))
        return int(edges[bar] - lost[bar]) if cut[bar] else int(tick - lost[bar])

    result = _retimed(score, new_time)
    for kind in ("time_signatures", "key_signatures", "tempos"):
        latest = {event.time: event for event in getattr(result, kind)}
        setattr(result, kind, [latest[time] for time in sorted(latest)])
    return result


def _with_upbeat(score: Score, tpq: int, bar: int) -> Score:
    """Drop the rest at the start of the first bar, if it fills half of the bar or more."""
    rest = min((int(t.notes.numpy()["time"].min()) for t in score.tracks if len(t.notes)), default=0)
    score = without_marker(score, "pickup")
    if not bar // 2 <= rest < bar:
        return score
    earlier = _retimed(score, lambda tick: max(0, tick - rest))
    return with_marker(earlier, "pickup", str(Fraction(bar - rest, tpq)))


def _retimed(score: Score, new_time: Callable[[int], int]) -> Score:
    """A copy in which every event begins at `new_time` of its tick."""
    result = score.copy()
    lines = [result.time_signatures, result.key_signatures, result.tempos, result.markers]
    for track in result.tracks:
        lines += [track.notes, track.lyrics, track.controls, track.pitch_bends, track.pedals]
    for line in lines:
        for event in line:
            event.time = new_time(event.time)
    return result
