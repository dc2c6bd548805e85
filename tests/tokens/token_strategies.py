"""Scores for property tests: melodies and voices that lie on a codec's grid. Times in ticks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from symusic import KeySignature, Score, TextMeta, TimeSignature

from otonoha.music.markers import pickup
from otonoha.music.theory import Key
from otonoha.music.tracks import track_of
from otonoha.tokens.place import METRES


@st.composite
def frames(draw: st.DrawFn, resolution: int, end: int) -> Score:
    """A score without tracks: metres, keys and perhaps a pick-up, at any tick before `end`."""
    score = Score(resolution)
    metres = st.sampled_from([m for m in METRES if 4 * resolution * m[0] % m[1] == 0])
    places = st.lists(st.integers(1, max(end - 1, 1)), max_size=3, unique=True)
    first = draw(metres)
    score.time_signatures = [TimeSignature(0, *first)]
    score.time_signatures.extend([TimeSignature(t, *draw(metres)) for t in sorted(draw(places))])
    if draw(st.booleans()):
        for tick in [0, *sorted(draw(places))]:
            key = Key.from_index(draw(st.integers(0, 23)))
            score.key_signatures.append(KeySignature(tick, key.signature(), int(key.mode == "minor")))
    bar = 4 * resolution * first[0] // first[1]
    if bar > 1 and draw(st.booleans()):
        score.markers.append(TextMeta(0, f"pickup:{draw(st.integers(1, bar - 1))}/{resolution}"))
    return score


@st.composite
def lines(draw: st.DrawFn, *, low: int, high: int, longest: int, least: int = 0) -> tuple[np.ndarray, ...]:
    """(N,) onset, length and pitch of a monophonic line with rests, repeats and long notes."""
    n = draw(st.integers(least, 12))
    whole = st.integers(1, longest)
    gap = np.array(draw(st.lists(st.just(0) | whole, min_size=n, max_size=n)), np.int64)
    length = np.array(draw(st.lists(whole, min_size=n, max_size=n)), np.int64)
    pitch = np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)), np.int64)
    return np.cumsum(gap + length) - length, length, pitch


@st.composite
def melodies(draw: st.DrawFn, resolution: int = 24) -> Score:
    """A melody on the grid of the notes codec."""
    onset, length, pitch = draw(lines(low=0, high=127, longest=20 * resolution, least=1))
    score = draw(frames(resolution, int(onset[-1] + length[-1])))
    score.tracks.append(track_of(onset, length, pitch, name="melody"))
    return score


@st.composite
def choirs(draw: st.DrawFn, names: tuple[str, ...], *, resolution: int, low: int, high: int) -> Score:
    """Voices on the grid; the first is never silent throughout."""
    parts = [draw(lines(low=low, high=high, longest=12, least=int(i == 0))) for i in range(len(names))]
    end = max(int(onset[-1] + length[-1]) for onset, length, _ in parts if len(onset))
    score = draw(frames(resolution, end))
    score.tracks.extend([track_of(*part, name=name) for part, name in zip(parts, names)])
    return score


def facts(score: Score) -> dict[str, object]:
    """What a round trip must keep: notes, and metre, key and pick-up as far as they say something."""
    return {
        "notes": [sorted((n.time, n.duration, n.pitch) for n in t.notes) for t in score.tracks],
        "metre": _distinct(
            [(s.time, (s.numerator, s.denominator)) for s in score.time_signatures], score.end()
        ),
        "key": _distinct([(k.time, (k.key, k.tonality)) for k in score.key_signatures], score.end()),
        "pickup": pickup(score),
    }


def _distinct(changes: list, end: int) -> list:
    changes = [c for c in changes if c[0] < end]
    return [c for i, c in enumerate(changes) if not i or c[1] != changes[i - 1][1]]
