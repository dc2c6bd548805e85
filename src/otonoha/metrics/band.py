"""What does each track of a band do? The per-track metrics of MuseGAN and BinaryMuseGAN, and a few more.

Axes: M tracks; state rolls and their notes as in `played.py`. Every function takes what `played` gives and
returns one number per track, (M,), pooled over all phrases; 0 where there is nothing to count.
EB, UPC, QN and DP are those of Dong et al., "MuseGAN" (AAAI 2018), PP of Dong and Yang, "Convolutional
generative adversarial networks with binary neurons" (ISMIR 2018), with the chroma folded correctly unless the
fold "musegan-legacy" is asked for.
Report: `metrics.band_report`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from otonoha.metrics.played import Notes, Played
from otonoha.metrics.shares import shares
from otonoha.music.suggest import one_of

FOLDS = ("pitch-class", "musegan-legacy")
LEGACY_LOW = 24
"""MIDI pitch of row 0 of the 84-row rolls that the published figures were computed on."""
WIDEST = 12
"""Leaps beyond an octave count as an octave in the histogram."""


def fold_pitch(pitch: np.ndarray, fold: str = "pitch-class") -> np.ndarray:
    """MIDI pitches -> bins 0-11. "pitch-class": pitch mod 12. "musegan-legacy": what the published code does,
    row // 7 of an 84-row roll from C1 (beyond it the outer bins): seven neighbouring semitones share a bin,
    octaves do not.
    """
    if one_of(fold, FOLDS, "fold") == "pitch-class":
        return pitch % 12
    return np.clip((pitch - LEGACY_LOW) // 7, 0, 11)


def share(hit: np.ndarray, total: np.ndarray) -> np.ndarray:
    """hit / total, 0 where total is 0."""
    return np.divide(hit, total, out=np.zeros(np.shape(total)), where=np.asarray(total) > 0)


def empty_bars(band: Played) -> np.ndarray:
    """EB: bars in which nothing sounds / bars."""
    return 1.0 - _filled(band).mean(axis=(0, 2))


def _filled(band: Played) -> np.ndarray:
    """(B, M, N): whether something sounds."""
    B, M, _ = band.sounding.shape
    return np.asarray(band.sounding.reshape(B, M, band.bars, band.steps).any(axis=3))


def used_pitch_classes(band: Played, fold: str = "pitch-class") -> np.ndarray:
    """UPC: mean over the bars that are not empty of the number of distinct pitch classes."""
    c = band.cells
    used = np.zeros((band.phrases, len(band.tracks), band.bars, 12), bool)
    used[c.phrase, c.track, c.start // band.steps, fold_pitch(c.pitch, fold)] = True
    return share(used.sum(axis=(0, 2, 3)), _filled(band).sum(axis=(0, 2)))


def shortest_qualified(steps: int) -> int:
    """Steps of the shortest qualified note: 3 at 96 steps a bar (a 32nd), and never fewer than 2."""
    return max(2, -(-steps // 32))


def qualified_notes(band: Played) -> np.ndarray:
    """QN: notes that are no fragments (`shortest_qualified`) / notes."""
    n = band.notes
    return share(_per_track(band, n, n.length >= shortest_qualified(band.steps)), _per_track(band, n))


def _per_track(band: Played, n: Notes, weight: np.ndarray | None = None) -> np.ndarray:
    return np.bincount(n.track, weight, minlength=len(band.tracks)).astype(float)


def polyphonicity(band: Played) -> np.ndarray:
    """PP: steps at which more than two pitches sound / steps."""
    return (band.sounding > 2).mean(axis=(0, 2))


def rests(band: Played) -> np.ndarray:
    """Steps at which nothing sounds / steps."""
    return (band.sounding == 0).mean(axis=(0, 2))


def has_drum_mask(steps: int) -> bool:
    """Whether DP is defined: a bar of 48, 64, 80, 96 … steps; coarser bars have no place beside the sixteenths."""
    return steps % 16 == 0 and steps >= 48


def drum_mask(steps: int) -> np.ndarray:
    """(S,): 1 on each sixteenth of a bar of 4/4, 0.3 a step beside it, else 0."""
    if not has_drum_mask(steps):
        raise ValueError(f"DP needs bars of 48, 64, 80, 96 … steps, got {steps}")
    return np.tile(np.concatenate([[1, 0.3], np.zeros(steps // 16 - 3), [0.3]]), 16)


def drum_pattern(band: Played) -> np.ndarray:
    """DP: onsets weighed by `drum_mask`, at its best shift, / onsets; the mean over the bars with onsets."""
    mask = drum_mask(band.steps)
    masks = np.stack([np.roll(mask, shift) for shift in range(band.steps // 16)])
    n = band.notes
    shape = (band.phrases, len(band.tracks), band.bars, band.steps)
    at = ((n.phrase * shape[1] + n.track) * shape[2] + n.start // band.steps) * shape[
        3
    ] + n.start % band.steps
    onsets = np.bincount(at[~n.tied], minlength=int(np.prod(shape))).reshape(shape)
    total = onsets.sum(axis=3)
    best = (onsets @ masks.T).max(axis=3)
    return share(share(best, total).sum(axis=(0, 2)), (total > 0).sum(axis=(0, 2)))


def onset_places(band: Played) -> np.ndarray:
    """(M, S) shares of the steps of a bar among those at which notes begin."""
    B, M, _ = band.onsets.shape
    counts = band.onsets.reshape(B, M, band.bars, band.steps).sum(axis=(0, 2))
    return np.stack([shares(row) for row in counts])


def onset_shares(band: Played) -> Mapping[str, np.ndarray]:
    """(M,) shares of the onsets on beats, on the halves of beats between, and elsewhere."""
    places, beat = onset_places(band), band.steps // band.beats
    step = np.arange(band.steps)
    on_beat, on_half = step % beat == 0, (2 * step) % beat == 0
    named = {"beat": on_beat, "half": on_half & ~on_beat, "elsewhere": ~on_half}
    return {name: places[:, where].sum(axis=1) for name, where in named.items()}


def upper_line(band: Played) -> Notes:
    """Of the notes that begin together in a track, the highest."""
    n = band.notes
    place = (n.phrase * len(band.tracks) + n.track) * band.length + n.start
    last = np.append(np.diff(place) != 0, True)[: len(n)]
    return Notes(n.phrase[last], n.track[last], n.start[last], n.pitch[last], n.length[last], n.tied[last])


def leaps(band: Played) -> tuple[np.ndarray, np.ndarray]:
    """Track and semitones of each step from one note of an upper line to the next in its phrase."""
    line = upper_line(band)
    same = (np.diff(line.phrase) == 0) & (np.diff(line.track) == 0)
    return line.track[1:][same], np.diff(line.pitch)[same]


def mean_leap(band: Played) -> np.ndarray:
    """Mean size of a melodic interval in semitones, repeated notes included."""
    track, leap = leaps(band)
    size = len(band.tracks)
    return share(np.bincount(track, np.abs(leap), minlength=size), np.bincount(track, minlength=size))


def repeated_notes(band: Played) -> np.ndarray:
    """Share of the melodic intervals that are 0."""
    track, leap = leaps(band)
    size = len(band.tracks)
    return share(np.bincount(track[leap == 0], minlength=size), np.bincount(track, minlength=size))


def held_bar_lines(band: Played) -> np.ndarray:
    """Share of the bar lines inside phrases over which a note is held; 0 for phrases of one bar."""
    n, size = band.notes, len(band.tracks)
    held = np.zeros((band.phrases, size, band.bars - 1), bool)
    for line in range(1, band.bars):
        over = (n.start < line * band.steps) & (n.start + n.length > line * band.steps)
        held[n.phrase[over], n.track[over], line - 1] = True
    return held.mean(axis=(0, 2)) if band.bars > 1 else np.zeros(size)


def lengths(band: Played) -> np.ndarray:
    """(M, 2S) shares of the notes by length in steps, from 1; the last bin is open."""
    n, most = band.notes, 2 * band.steps
    return _histograms(band, n.track, np.minimum(n.length, most) - 1, most)


def intervals(band: Played) -> np.ndarray:
    """(M, 25) shares of the melodic intervals -12 … +12."""
    track, leap = leaps(band)
    return _histograms(band, track, np.clip(leap, -WIDEST, WIDEST) + WIDEST, 2 * WIDEST + 1)


def pitches(band: Played) -> np.ndarray:
    """(M, P) shares of the pitches by the time that they sound: the register of each track."""
    c = band.cells
    return _histograms(band, c.track, c.pitch - band.low, band.pitches)


def _histograms(band: Played, track: np.ndarray, value: np.ndarray, bins: int) -> np.ndarray:
    counts = np.bincount(track * bins + value, minlength=len(band.tracks) * bins)
    return np.stack([shares(row) for row in counts.reshape(len(band.tracks), bins)])
