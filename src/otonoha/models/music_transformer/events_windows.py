"""Excerpts of pieces of design `events`, and which of them the network looks at when it fills cells of a long piece.

Axes: B bars, T symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otonoha.models.music_transformer.events_place import Place
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_read import body_of
from otonoha.tokens.events_repeats import bar_spans, with_countdown
from otonoha.tokens.events_vocab import END

GROUP, WHOLE = 0.6, 0.9
"""Shares of what the network sees at once: up to which a window takes cells to fill, and up to which bars around."""
MARGIN = 1.25
"""An answer may be longer than what stood there."""


@dataclass(frozen=True)
class Window:
    """Bars first … last - 1 of a piece, in which the cells of `bars` (numbers in the piece) are written."""

    first: int
    last: int
    bars: tuple[int, ...]


def header_size(codec: Events, tokens: Tokens) -> int:
    """Number of symbols before the music."""
    return body_of(codec.event(tokens))


def spans(codec: Events, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """(B,) begin and end of each bar's symbols."""
    return bar_spans(codec.event(tokens), codec.layout)


def excerpt(codec: Events, tokens: Tokens, first: int, last: int) -> Tokens:
    """Bars first … last - 1 with the header of the piece, its countdown, and End only where the piece ends."""
    total = len(spans(codec, tokens)[0])
    event = codec.event(codec.slice_bars(tokens, first, last))
    if last < total:
        event = event[event != END]
    begin = body_of(event)
    return codec.tokens(np.append(event[:begin], with_countdown(event[begin:], codec.layout, total - last)))


def windows(codec: Events, place: Place, context: Tokens, room: int) -> list[Window]:
    """Windows in which all cells of a place get their turn; one of the whole piece if there is room for it.

    `context` is the piece with these cells cut out. A window takes the next cells in turn, then bars around them.
    """
    starts, stops = spans(codec, context)
    size, answers = stops - starts, _answers(codec, place, len(starts))
    head = header_size(codec, context) + 1  # Sep

    def cost(first: int, last: int, until: int) -> float:
        """Symbols of a window whose cells are written up to bar `until`."""
        return head + size[first:last].sum() + answers[first : until + 1].sum()

    todo, found = list(place.bars), []
    if cost(0, len(starts), len(starts)) <= room:
        return [Window(0, len(starts), tuple(todo))]
    while todo:
        number = 1
        while number < len(todo) and cost(todo[0], todo[number] + 1, todo[number]) <= GROUP * room:
            number += 1
        mine, todo = todo[:number], todo[number:]
        first, last, grown = mine[0], mine[-1] + 1, True
        while grown:
            grown = False
            for a, b in ((first - 1, last), (first, last + 1)):
                a, b = min(a, first), max(b, last)
                if a >= 0 and b <= len(starts) and cost(a, b, mine[-1]) <= WHOLE * room:
                    first, last, grown = a, b, True
        found.append(Window(first, last, tuple(mine)))
    return found


def _answers(codec: Events, place: Place, bars: int) -> np.ndarray:
    """(B,) how long the answers in each bar will about be: as what stood there, or as the cells of the piece are."""
    cells = codec.cells(place.tokens)
    length = cells.stop - cells.start
    usual = float(length.mean()) if len(length) else 0.0
    there = {(int(b), int(t)): int(n) for b, t, n in zip(cells.bar, cells.track, length)}
    result = np.zeros(bars)
    for bar in place.bars:
        result[bar] = sum(2 + MARGIN * max(usual, there.get((bar, track), 0)) for track in place.tracks)
    return result
