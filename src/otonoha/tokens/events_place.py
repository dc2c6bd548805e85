"""Where in the music each symbol of the `events` codec stands: clock and context streams, before it is drawn.

Axes: T symbols. The state before a symbol follows from the symbols before it alone, so the same streams can be
had while a piece is being written (`EventGrammar.context`).
"""

from __future__ import annotations

import numpy as np

from otonoha.tokens.base import Stream
from otonoha.tokens.events_instruments import INSTRUMENTS
from otonoha.tokens.events_read import body_of, families, frame_of, last_said
from otonoha.tokens.events_vocab import COUNTED, CUT, END, SEP, Layout
from otonoha.tokens.place import METRE_SIZE, OTHER_METRE, QUARTER_SIZE

PHRASE_BARS = 8
NAMES = ("metre", "beat", "quarter", "bar", "left", "program")


def context_streams(resolution: int) -> tuple[Stream, ...]:
    """metre, beat (tick in the quarter), quarter (of the bar), bar (mod 8), left (as in `Bar`), program."""
    return (
        Stream("metre", METRE_SIZE, "context"),
        Stream("beat", resolution, "context"),
        Stream("quarter", QUARTER_SIZE, "context"),
        Stream("bar", PHRASE_BARS, "context"),
        Stream("left", len(COUNTED) + 1, "context"),
        Stream("program", len(INSTRUMENTS) + 1, "context"),
    )


def place(event: np.ndarray, layout: Layout) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(T,) ticks of the music at which each symbol stands, and the context streams (T,) before each symbol.

    A repeat stands at its first bar. Behind `Sep`, contents stand where their `Fill` does before it.
    """
    begin = body_of(event)
    states = _states(event[begin:], layout)
    seps = np.flatnonzero(event[begin:] == SEP)
    if len(seps):
        _move_fills(event[begin:], states, int(seps[0]), layout)
    streams = {n: np.concatenate([np.zeros(begin, np.int64), values]) for n, values in states.items()}
    ticks = streams.pop("tick")
    return ticks, {n: np.append(0, values[:-1])[: len(event)] for n, values in streams.items()}


def _states(event: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """The state after each symbol of a body."""
    number = families(layout)
    kind, value = layout.kind[event], layout.value[event]
    is_bar = kind == number["Bar"]
    heads, order = np.flatnonzero(is_bar), np.cumsum(is_bar)
    inside = order > 0
    cell = (kind == number["Program"]) & inside
    first, tick, origin, end = _bars(event, layout, heads)
    upbeat = int(origin[0]) if len(origin) else 0
    position = _positions(kind, value, is_bar, cell, number=number, cut=event == CUT, origin=upbeat)
    quarter = position // layout.resolution
    metre = last_said((kind == number["Metre"]) | (kind == number["Over"]))
    metre = np.where(
        kind[metre] == number["Over"], OTHER_METRE, value[metre] * (kind[metre] == number["Metre"])
    )
    of_bar = np.maximum(order - 1, 0)
    program = last_said(is_bar | cell)
    if not len(heads):
        return dict.fromkeys(("tick", *NAMES), np.zeros(len(event), np.int64))
    return {
        "tick": np.where(event == END, end, tick[of_bar] + np.maximum(position - origin[of_bar], 0)) * inside,
        "metre": metre,
        "beat": position - quarter * layout.resolution,
        "quarter": np.minimum(quarter, QUARTER_SIZE - 1),
        "bar": first[of_bar] % PHRASE_BARS * inside,
        "left": value[heads][of_bar] * inside,
        "program": np.where(cell[program], value[program] + 1, 0),
    }


def _bars(
    event: np.ndarray, layout: Layout, heads: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of each `Bar`: how many bars (repeats counted) and ticks are before it, and the place at which it begins; the
    ticks of all.
    """
    number = families(layout)
    bars = np.ones(len(heads), np.int64)
    for i in np.flatnonzero(layout.kind[event] == number["Repeat"]).tolist():
        bars[np.searchsorted(heads, i) - 1] = layout.value[event[i + 1]] if i + 1 < len(event) else 1
    frame = frame_of(event, layout)
    tick = np.cumsum(frame.length * bars) - frame.length * bars
    return np.cumsum(bars) - bars, tick, frame.origin, int((frame.length * bars).sum())


def _positions(
    kind: np.ndarray,
    value: np.ndarray,
    is_bar: np.ndarray,
    cell: np.ndarray,
    *,
    number: dict[str, int],
    cut: np.ndarray,
    origin: int,
) -> np.ndarray:
    """The place in the bar after each symbol: bars begin at 0, cells where the bar does."""
    ticks = np.where(kind == number["Pos"], value, 0)
    ticks[1:][cut[:-1]] = 0
    if origin:
        ticks[cell & (np.cumsum(is_bar) == 1)] = origin
    return ticks[last_said(is_bar | cell | (kind == number["Pos"]))] if len(kind) else ticks


def _move_fills(event: np.ndarray, states: dict[str, np.ndarray], sep: int, layout: Layout) -> None:
    """Give contents behind `Sep` the state of their cell, with places of their own."""
    number = families(layout)
    kind, value = layout.kind[event], layout.value[event]
    fills = np.flatnonzero(kind == number["Fill"])
    asked, answers = fills[fills < sep], fills[fills > sep]
    asked = asked[: len(answers)]
    after = np.arange(sep, len(event))
    of = np.searchsorted(answers, after, side="right") - 1
    home = np.where(of >= 0, asked[np.maximum(of, 0)], sep) if len(answers) else np.full(len(after), sep)
    for name in ("metre", "bar", "left", "program"):
        states[name][sep:] = states[name][home]
    says = np.zeros(len(event), bool)
    says[answers] = True
    said = last_said(says | (kind == number["Pos"]))[sep:]
    start = states["beat"][home] + states["quarter"][home] * layout.resolution
    position = np.where(kind[said] == number["Pos"], value[said], start)
    position = np.where(of >= 0, position, start)
    states["tick"][sep:] = states["tick"][home] + position - start
    states["quarter"][sep:] = np.minimum(position // layout.resolution, QUARTER_SIZE - 1)
    states["beat"][sep:] = position % layout.resolution
