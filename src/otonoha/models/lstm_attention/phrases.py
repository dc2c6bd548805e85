"""Phrases of a melody and the pairs of question and answer that they form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from symusic import Score

from otonoha.music.markers import marker
from otonoha.music.time import bar_table
from otonoha.tokens.base import Tokens
from otonoha.tokens.notes_grammar import END, FIRST_PITCH, TIE
from otonoha.tokens.place import OTHER_METRE, UNKNOWN_KEY

FEWEST, MOST = 3, 40
"""Notes of a phrase: shorter and longer ones are no phrases."""
MOST_BARS = 8
"""Bars to a fermata, on average, where fermatas end phrases."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two consecutive phrases; the answer closes with END."""

    question: Tokens
    answer: Tokens
    piece: str = ""
    """The piece they come from."""
    style: str = ""

    @property
    def kind(self) -> tuple[str, int, bool]:
        """Style, metre and mode: what questions have in common that could stand for each other."""
        first = {n: int(self.question.streams[n][0]) for n in ("metre", "key")}
        return self.style, first["metre"], 12 <= first["key"] < UNKNOWN_KEY

    def __len__(self) -> int:
        return len(self.answer)


def phrase_pairs(score: Score, tokens: Tokens, codec: Any, *, piece: str = "", style: str = "") -> list[Pair]:
    """All pairs of consecutive phrases of a score of one line, and its tokens."""
    phrases = _cut(tokens, boundaries(score))
    pairs = []
    for question, answer in pairwise(phrases):
        if _is_phrase(question) and _is_phrase(answer):
            pairs.append(Pair(question, _closed(answer, codec), piece, style))
    return pairs


def boundaries(score: Score) -> np.ndarray:
    """Ends of phrases in quarter notes: after fermatas where they part the lines of a chorale, else (a song has
    one here and there) every four bars.
    """
    fermatas = sorted({tick for tick, _ in marker(score, "fermata")})
    bars = bar_table(score)
    if len(fermatas) >= 2 and len(bars) <= MOST_BARS * len(fermatas):
        return _ends_of_notes(score, np.array(fermatas)) / score.tpq
    first = 1 if bars.first_is_pickup else 0
    pickup = bars.start[first] - bars.start[0]
    return (bars.start[first + 4 :: 4] - pickup) / score.tpq


def _ends_of_notes(score: Score, onsets: np.ndarray) -> np.ndarray:
    """When the notes of the line end that sound at these ticks."""
    notes = score.tracks[0].notes.numpy()
    begin, end = notes["time"], notes["time"] + notes["duration"]
    at = np.searchsorted(begin, onsets, side="right") - 1
    return end[np.clip(at, 0, len(end) - 1)] if len(end) else onsets


def _cut(tokens: Tokens, ends: np.ndarray) -> list[Tokens]:
    """Events belong to the phrase in which their note begins."""
    symbols = tokens.streams["pitch"]
    body = tokens.slice(0, int(np.argmax(symbols == END)) if (symbols == END).any() else len(tokens))
    heads = np.where(body.streams["pitch"] != TIE, np.arange(len(body)), 0)
    begin = body.clock[np.maximum.accumulate(heads)] if len(body) else body.clock
    edges = np.searchsorted(begin, ends, side="left").tolist()
    borders = sorted({0, *edges, len(body)})
    return [body.slice(a, b) for a, b in pairwise(borders)]


def _is_phrase(tokens: Tokens) -> bool:
    notes = int((tokens.streams["pitch"] >= FIRST_PITCH).sum())
    writable = bool((tokens.streams["metre"] != OTHER_METRE).all())
    return writable and FEWEST <= notes <= MOST


def _closed(tokens: Tokens, codec: Any) -> Tokens:
    """The phrase with END behind it, at the place where END stands."""
    walk = codec.grammar(None, tokens)
    last = {**walk.context(), "pitch": END, "duration": 0, "left": 0}
    streams = {n: np.append(s, last[n]) for n, s in tokens.streams.items()}
    length = float(codec.durations[int(tokens.streams["duration"][-1])]) / codec.resolution
    return Tokens(streams, np.append(tokens.clock, tokens.clock[-1] + length), tokens.codec)
