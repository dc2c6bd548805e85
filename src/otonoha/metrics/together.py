"""How do the tracks of a band go together? Harmony, rhythm and order of voices between tracks.

Axes: B phrases, M tracks, T steps of a phrase; notes as in `played.py`. Functions of pairs return a mapping from
the two track names, joined by "-", to a number (pairs in the order of the tracks, those with drums only where
rhythm is meant); 0 where there is nothing to count.
TD is that of Dong et al., "MuseGAN" (AAAI 2018), on the tonal centroid of Harte, Sandler and Gasser,
"Detecting harmonic change in musical audio" (2006).
Report: `metrics.band_report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np

from otonoha.metrics.band import fold_pitch
from otonoha.metrics.played import Played
from otonoha.metrics.shares import mean, shares
from otonoha.music.theory import SCALES

FARTHEST = 36
"""Vertical intervals beyond three octaves count as three octaves in the histogram."""


def tonal_centroids(chroma: np.ndarray) -> np.ndarray:
    """(…, 12) chroma that sums to 1 -> (…, 6): its place on the circles of fifths, minor and major thirds."""
    k = np.arange(12)
    circles = ((7 / 6, 1.0), (3 / 2, 1.0), (2 / 3, 0.5))
    phi = [r * f(np.pi * turn * k) for turn, r in circles for f in (np.sin, np.cos)]
    return chroma @ np.stack(phi, axis=1)


def chroma_of_beats(band: Played, fold: str = "pitch-class") -> np.ndarray:
    """(B, M, N, beats, 12): how long each pitch class sounds, as shares of the beat; zeros in silence."""
    c, beat = band.cells, band.steps // band.beats
    shape = (band.phrases, len(band.tracks), band.length // beat, 12)
    at = ((c.phrase * shape[1] + c.track) * shape[2] + c.start // beat) * 12 + fold_pitch(c.pitch, fold)
    counts = np.bincount(at, minlength=int(np.prod(shape))).reshape(*shape[:2], band.bars, band.beats, 12)
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)


def tonal_distance(band: Played, fold: str = "pitch-class") -> dict[str, float]:
    """TD: Euclidean distance of the tonal centroids of two tracks, the mean over the beats of all bars in which
    both tracks sound in every beat.
    """
    chroma = chroma_of_beats(band, fold)
    full = np.asarray(chroma.any(axis=-1).all(axis=-1))
    centroid = tonal_centroids(chroma)
    found = {}
    for name, a, b in pairs(band, band.pitched):
        both = full[:, a] & full[:, b]
        apart = np.linalg.norm(centroid[:, a][both] - centroid[:, b][both], axis=-1)
        found[name] = mean(apart.ravel())
    return found


def pairs(band: Played, tracks: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Name and indices of every two of the tracks."""
    for a, b in combinations(tracks, 2):
        yield f"{band.tracks[a]}-{band.tracks[b]}", a, b


def onset_coincidence(band: Played) -> dict[str, float]:
    """2 · (steps at which both tracks begin a note) / (steps at which the one or the other does)."""
    return _coincidence(band, band.onsets)


def syncopation_agreement(band: Played) -> dict[str, float]:
    """2 · (beats that both tracks anticipate) / (beats of either): a beat is anticipated by a note that begins
    off the beat and is still held on it.
    """
    n, beat = band.notes, band.steps // band.beats
    following = (n.start // beat + 1) * beat
    early = (n.start % beat > 0) & (n.start + n.length > following)
    anticipated = np.zeros((band.phrases, len(band.tracks), band.length // beat), bool)
    anticipated[n.phrase[early], n.track[early], following[early] // beat] = True
    return _coincidence(band, anticipated)


def _coincidence(band: Played, events: np.ndarray) -> dict[str, float]:
    found = {}
    for name, a, b in pairs(band, range(len(band.tracks))):
        one, other = events[:, a], events[:, b]
        total = int(one.sum() + other.sum())
        found[name] = 2.0 * float((one & other).sum()) / total if total else 0.0
    return found


def keys() -> np.ndarray:
    """(24, 12) whether a pitch class belongs to the scale: twelve major keys, twelve harmonic minor ones."""
    scales = np.zeros((2, 12), bool)
    scales[0, list(SCALES["major"])] = scales[1, list(SCALES["harmonic minor"])] = True
    return np.concatenate([[np.roll(scale, tonic) for tonic in range(12)] for scale in scales])


def in_scale(band: Played) -> float:
    """Share of the sounding time that belongs to the best of 24 keys, chosen for each phrase; the mean over
    phrases that sound.
    """
    c = band.cells
    pitched = np.isin(c.track, band.pitched)
    at = c.phrase[pitched] * 12 + c.pitch[pitched] % 12
    counts = np.bincount(at, minlength=band.phrases * 12).reshape(band.phrases, 12)
    total = counts.sum(axis=1)
    inside = (counts @ keys().T.astype(np.int64)).max(axis=1)
    return mean(inside[total > 0] / total[total > 0])


def voice_crossing(band: Played) -> float:
    """For tracks from the highest voice to the lowest: of the steps at which two neighbours sound, those at
    which the upper one is below the lower one.
    """
    top, crossed, total = band.top, 0, 0
    for upper, lower in pairwise(band.pitched):
        both = (top[:, upper] >= 0) & (top[:, lower] >= 0)
        crossed += int((both & (top[:, upper] < top[:, lower])).sum())
        total += int(both.sum())
    return crossed / total if total else 0.0


def clashes(band: Played) -> float:
    """Of the beats on which two tracks or more sound, those with a minor second, major seventh or minor ninth."""
    top = _on_beats(band)
    sounds = top >= 0
    clashing = np.zeros(top.shape[:2], bool)
    for a, b in _voices(band):
        apart = np.abs(top[..., a] - top[..., b]) % 12
        clashing |= sounds[..., a] & sounds[..., b] & np.isin(apart, (1, 11))
    heard = sounds[..., band.pitched].sum(axis=-1) > 1
    return float(clashing.sum() / heard.sum()) if heard.any() else 0.0


def parallels(band: Played) -> float:
    """Of the steps from beat to beat in which two tracks or more move, how many have a pair in parallel fifths,
    octaves or unisons: the same perfect interval twice, by a step or leap in the same direction.
    """
    top = _on_beats(band)
    now, then = top[:, 1:], top[:, :-1]
    sounds = (now >= 0) & (then >= 0)
    moves = np.where(sounds, np.sign(now - then), 0)
    parallel = np.zeros(now.shape[:2], bool)
    for a, b in _voices(band):
        apart, before = (np.abs(x[..., a] - x[..., b]) for x in (now, then))
        along = (moves[..., a] != 0) & (moves[..., a] == moves[..., b])
        parallel |= along & (apart == before) & np.isin(apart % 12, (0, 7))
    moving = (moves[..., band.pitched] != 0).sum(axis=-1) > 1
    return float((parallel & moving).sum() / moving.sum()) if moving.any() else 0.0


def _on_beats(band: Played) -> np.ndarray:
    """(B, beats, M) highest pitch on every beat, -1 where nothing sounds."""
    return band.top[:, :, :: max(1, band.steps // band.beats)].swapaxes(1, 2).astype(np.int64)


def _voices(band: Played) -> Iterator[tuple[int, int]]:
    """All pairs of pitched tracks."""
    for _, a, b in pairs(band, band.pitched):
        yield a, b


def vertical_intervals(band: Played) -> dict[str, np.ndarray]:
    """(73,) shares of the semitones from the second track of a pair up to the first, -36 … +36, over the steps at
    which both sound; of chords the highest notes count.
    """
    found = {}
    for name, a, b in pairs(band, band.pitched):
        upper, lower = band.top[:, a], band.top[:, b]
        apart = (upper - lower)[(upper >= 0) & (lower >= 0)].astype(np.int64)
        bins = np.clip(apart, -FARTHEST, FARTHEST) + FARTHEST
        found[name] = shares(np.bincount(bins, minlength=2 * FARTHEST + 1))
    return found
