"""Is it new? What a melody shares with the pieces a model has learnt from.

Conventions: melodies are equal up to transposition: the same intervals and (unless `rhythm=False`) the same
times between onsets. Lengths are in notes: 7 equal steps are a match of 8 notes; a single note is no match.
Short matches are common property: beside the figures stand those of real pieces that were not learnt from.
Measure: `Memory(pieces).look_up(score)`. Report: `novelty_report`.
A score with fewer than two notes has a longest match of 0, and a share of 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Score

from otonoha.metrics.line import Line, line
from otonoha.metrics.shares import mean
from otonoha.metrics.structure import melodic_symbols
from otonoha.music.ngrams import NgramIndex

NGRAM = 8
"""Notes of the n-grams whose share is reported."""


@dataclass(frozen=True)
class Novelty:
    """What one melody shares with the learnt ones."""

    notes: int
    """Notes of the melody."""
    longest: int
    """Notes of the longest exact match."""
    share: float
    """Share of its 8-note passages that occur in a learnt piece."""
    piece: str
    """The piece of the longest match; "" where there is none."""
    start: int
    """First note of the match, counted from 0 in the melody …"""
    start_there: int
    """… and in the piece."""


class Memory:
    """The pieces a model has learnt from, made ready for look-ups (a second for a million notes)."""

    def __init__(self, pieces: Iterable[tuple[str, Score | Line]], *, rhythm: bool = True) -> None:
        self.rhythm = rhythm
        ids, melodies = [], []
        for name, music in pieces:
            ids.append(name)
            melodies.append(melodic_symbols(music, rhythm=rhythm))
        self._index = NgramIndex(melodies, ids)

    def look_up(self, music: Score | Line, *, ngram: int = NGRAM) -> Novelty:
        """What a melody shares with the pieces."""
        tune = line(music)
        symbols = melodic_symbols(tune, rhythm=self.rhythm)
        match = self._index.longest(symbols)
        passages = self._index.match_lengths(symbols)[: max(len(tune) - ngram + 1, 0)]
        return Novelty(
            notes=len(tune),
            longest=match.length + 1 if match.length else 0,
            share=mean(passages >= ngram - 1),
            piece=match.id,
            start=match.start,
            start_there=match.start_there,
        )


def novelty_report(
    generated: Sequence[Score | Line],
    learnt: Memory | Iterable[tuple[str, Score | Line]],
    *,
    names: Sequence[str] = (),
) -> list[dict[str, object]]:
    """One row per generated melody, the least original first: its name (else its number), the longest match
    in notes, from which piece it is, and the share of its 8-note passages that are not new.
    """
    memory = learnt if isinstance(learnt, Memory) else Memory(learnt)
    labels = names or [str(i) for i in range(len(generated))]
    found = [(name, memory.look_up(music)) for name, music in zip(labels, generated, strict=True)]
    found.sort(key=lambda pair: (-pair[1].longest, -pair[1].share))
    return [
        {
            "name": name,
            "notes": it.notes,
            "longest_match": it.longest,
            "piece": it.piece,
            "at_note": it.start,
            "at_note_there": it.start_there,
            "known_share": round(it.share, 4),
        }
        for name, it in found
    ]


def longest_match_distribution(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Median, nine tenths and largest of the longest matches of a report (zeros for an empty one)."""
    lengths = np.array([row["longest_match"] for row in rows] or [0], float)
    return {
        "median": float(np.median(lengths)),
        "90 %": float(np.quantile(lengths, 0.9)),
        "largest": float(lengths.max()),
    }
