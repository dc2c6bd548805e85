"""Which pieces are the same, or nearly: signatures, melodic runs, groups.

A *run* is twelve successive intervals of the melody, as a 64-bit hash: it survives transposition and any
change of rhythm. Two pieces are near-duplicates when they share at least 30 % of the runs of the one that
has fewer. Pairs are found through an inverted index (all runs sorted), never by comparing all with all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from symusic import Score

from otonoha.music.ngrams import intervals, ngram_hashes
from otonoha.music.tracks import notes
from otonoha.music.voices import melody

RUN = 12
NEAR = 0.3
REACH = (
    32  # a run held by more pieces than this links each piece only with its next 32: linear, not quadratic
)


def signature(score: Score) -> str:
    """Equal for scores with the same notes up to transposition, resolution and (constant) speed.

    Names, dynamics and the division into tracks do not count; drums stay untransposed, as they should.
    """
    parts = [[notes(t) for t in score.tracks if bool(t.is_drum) is drum] for drum in (False, True)]
    tables = [_table(found) for found in parts]
    times = np.concatenate([t[:, :2].ravel() for t in tables])
    if not times.size:
        return ""
    start = min(int(t[:, 0].min()) for t in tables if len(t))
    pitched = tables[0]
    if len(pitched):
        pitched[:, 2] -= pitched[:, 2].min()
    for table in tables:
        table[:, 0] -= start
    step = max(int(np.gcd.reduce(np.concatenate([t[:, :2].ravel() for t in tables]))), 1)
    digest = hashlib.sha256()
    for table in tables:
        table[:, :2] //= step
        digest.update(np.unique(table, axis=0).astype("<i8").tobytes() + b"|")
    return digest.hexdigest()[:32]


def _table(found: Sequence) -> np.ndarray:
    """(N, 3) onset, duration, pitch of all notes of some tracks."""
    rows = [np.stack([n.onset, n.duration, n.pitch], axis=1) for n in found if len(n)]
    return np.concatenate(rows) if rows else np.zeros((0, 3), np.int64)


def runs(pitches: np.ndarray) -> np.ndarray:
    """(N,) pitches -> the distinct runs of the line, sorted, uint64.

    A run on one repeated pitch says nothing and is left out.
    """
    steps = intervals(pitches)
    if len(steps) < RUN:
        return np.zeros(0, np.uint64)
    moving = np.lib.stride_tricks.sliding_window_view(steps, RUN).any(axis=1)
    return np.unique(ngram_hashes(steps, RUN)[moving])


def melody_runs(score: Score) -> np.ndarray:
    """The distinct runs of a score's melody; none where it has no pitched notes."""
    try:
        line = melody(score).tracks[0]
    except ValueError:
        return np.zeros(0, np.uint64)
    return runs(notes(line).pitch)


def shared_runs(pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (P, 2) of piece numbers, a < b, and the share (P,) of common runs of the piece that has fewer."""
    sizes = np.array([len(p) for p in pieces], np.int64)
    if not sizes.sum():
        return np.zeros((0, 2), np.int64), np.zeros(0)
    hashes = np.concatenate([np.asarray(p, np.uint64) for p in pieces])
    owner = np.repeat(np.arange(len(pieces)), sizes)
    order = np.lexsort((owner, hashes))
    hashes, owner = hashes[order], owner[order]
    found = [np.zeros(0, np.int64)]
    for k in range(1, REACH + 1):
        same = np.flatnonzero(hashes[k:] == hashes[:-k])
        if not same.size:
            break
        found.append(owner[same] * len(pieces) + owner[same + k])
    pairs, counts = np.unique(np.concatenate(found), return_counts=True)
    a, b = np.divmod(pairs, len(pieces))
    return np.stack([a, b], axis=1), counts / np.minimum(sizes[a], sizes[b])


def near_pairs(pieces: Sequence[np.ndarray], share: float = NEAR) -> list[tuple[int, int, float]]:
    """Near-duplicates (a, b, share of common runs), in the order of the pieces."""
    pairs, shares = shared_runs(pieces)
    near = shares >= share
    return [(int(a), int(b), float(s)) for (a, b), s in zip(pairs[near], shares[near])]


def linked(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of `count` pieces the lowest-numbered piece that it hangs together with through the pairs."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        leader[high] = low
    return [find(i) for i in range(count)]
