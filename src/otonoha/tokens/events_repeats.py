"""Exact repeats in the `events` codec: `Repeat n, Num k` stands for k bars that are those n bars earlier, note by note.

What is copied are cells: keys, tempi and metres never are, so a bar that tells of one is no copy. Writing repeats
out gives back exactly the symbols that were told as repeats.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from otonoha.tokens.events_header import Section
from otonoha.tokens.events_read import body_of, families
from otonoha.tokens.events_vocab import COUNTED, END, LABELS, NUMBERS, REPEATS, VARY, Layout, left_symbols


def bar_spans(event: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """(B,) begin and end of each bar's symbols; `Sep`, `End` and what follows belong to none."""
    number = families(layout)
    begin = np.flatnonzero(layout.kind[event] == number["Bar"])
    begin = begin[begin >= body_of(event)]
    special = np.flatnonzero(event == END)
    last = int(special[0]) if len(special) else len(event)
    return begin, np.append(begin[1:], last)[: len(begin)]


def head_size(bar: np.ndarray, layout: Layout) -> int:
    """Number of symbols of a bar before its first cell."""
    cells = np.flatnonzero(layout.kind[bar] == families(layout)["Program"])
    return int(cells[0]) if len(cells) else len(bar)


def expand(event: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The symbols with all repeats written out, and for each the index of the symbol that it comes from.

    ValueError for a repeat of bars that do not exist.
    """
    source = np.arange(len(event))
    repeats = layout.ids("Repeat")
    if not ((event >= repeats.start) & (event < repeats.stop)).any():
        return event, source
    begin, stop = bar_spans(event, layout)
    bars: list[np.ndarray] = []
    copied: list[bool] = []
    for a, b in zip(begin.tolist(), stop.tolist()):
        here = np.flatnonzero((event[a:b] >= repeats.start) & (event[a:b] < repeats.stop))
        if not len(here):
            bars.append(source[a:b])
            copied.append(False)
            continue
        at = a + int(here[0])
        back, number = int(layout.value[event[at]]), int(layout.value[event[at + 1]])
        if back > len(bars):
            raise ValueError(f"bar {len(bars) + 1} repeats the bar {back} before it, which does not exist")
        for k in range(number):
            model = bars[len(bars) - back]
            cells = model[head_size(event[model], layout) :]
            bars.append(np.concatenate([source[a : at if k == 0 else a + 1], cells]))
            copied.append(k > 0)
    origin = np.concatenate([source[: begin[0]], *bars, source[stop[-1] :]])
    symbols = event[origin]
    heads = np.flatnonzero(layout.kind[symbols] == families(layout)["Bar"])[np.array(copied)]
    last = int(layout.value[event[begin[-1]]])
    if last:
        after = COUNTED[last - 1] - (len(bars) - int(np.flatnonzero(~np.array(copied))[-1]))
        symbols[heads] = with_countdown(symbols, layout, max(after, 0))[heads]
    return symbols, origin


def with_countdown(event: np.ndarray, layout: Layout, after: int | None = 0) -> np.ndarray:
    """The symbols with every `Bar` saying how many remain, `after` more than there are; None: unknown."""
    first, table = layout.base["Bar"], left_symbols()
    begin = np.flatnonzero(layout.kind[event] == families(layout)["Bar"])
    result = event.copy()
    if after is None:
        result[begin] = first
        return result
    bars = np.ones(len(begin), np.int64)
    repeats = layout.ids("Repeat")
    for i in np.flatnonzero((event >= repeats.start) & (event < repeats.stop)).tolist():
        bars[np.searchsorted(begin, i) - 1] = layout.value[event[i + 1]]
    left = bars[::-1].cumsum()[::-1] + after
    result[begin] = first + table[np.minimum(left, len(table) - 1)]
    return result


@functools.lru_cache(maxsize=16)
def _countdown(layout: Layout) -> np.ndarray:
    return layout.base["Bar"] + left_symbols()


def counted(left: np.ndarray, layout: Layout) -> np.ndarray:
    """The symbols of `Bar` where so many bars are left; 0: unknown."""
    table = _countdown(layout)
    return table.take(left, mode="clip")


def compress(
    event: np.ndarray, layout: Layout, planned: Mapping[int, tuple[int, int]], *, least: int | None = 2
) -> np.ndarray:
    """The symbols with literal repeats told as such: from the first bar on the longest, of equally long ones the
    nearest, of at least `least` bars (None: only what is planned). `planned`: bar -> (bars back, number of bars)
    that must be one. ValueError where such bars are not the same.
    """
    begin, stop = bar_spans(event, layout)
    spans = list(zip(begin.tolist(), stop.tolist()))
    heads = [head_size(event[a:b], layout) for a, b in spans]
    content = [event[a + h : b].tobytes() for (a, b), h in zip(spans, heads)]
    kept, b = [event[: spans[0][0]]], 0
    while b < len(spans):
        begin_here, stop_here = spans[b]
        if b in planned:
            back, length = planned[b]
            _check_planned(content, heads, b, back, length)
        else:
            back, length = _longest_repeat(content, heads, b) if least is not None else (0, 0)
            if length < (least or 0) or not length:
                kept.append(event[begin_here:stop_here])
                b += 1
                continue
        kept.append(event[begin_here : begin_here + heads[b]])
        kept.append(np.array([layout.id("Repeat", back), layout.id("Num", length)], event.dtype))
        b += length
    kept.append(event[spans[-1][1] :])
    return np.concatenate(kept)


def _check_planned(content: list[bytes], heads: list[int], b: int, back: int, length: int) -> None:
    same = content[b - back : b - back + length] == content[b : b + length]
    if not same or heads[b] > 2 or any(h > 1 for h in heads[b + 1 : b + length]):
        raise ValueError(
            f"bars {b + 1} to {b + length} are no exact repeat of those {back} bars before; call the section varied"
        )


def _longest_repeat(content: list[bytes], heads: list[int], b: int) -> tuple[int, int]:
    """(bars back, number of bars) of the longest literal repeat that begins at bar `b`; (0, 0) if none."""
    best = (0, 0)
    if heads[b] > 1:
        return best
    for back in range(1, min(b, REPEATS) + 1):
        if content[b - back] != content[b]:
            continue
        most, n = min(back, len(content) - b, NUMBERS), 1
        while n < most and content[b - back + n] == content[b + n] and heads[b + n] == 1:
            n += 1
        if n > best[1] and any(content[b : b + n]):
            best = (back, n)
    return best


def form_heads(form: Sequence[Section], layout: Layout, first: int) -> dict[int, list[int]]:
    """Bar -> the symbols that tell which section begins there, the form beginning with bar `first`."""
    heads: dict[int, list[int]] = {}
    began: dict[str, int] = {}
    bar = first
    for section in form:
        heads[bar] = [layout.id("Section", LABELS.index(section.label))]
        if section.repeat == "varied" and bar - began[section.label] <= NUMBERS:
            heads[bar] += [VARY, layout.id("Num", bar - began[section.label])]
        began.setdefault(section.label, bar)
        bar += section.bars
    return heads


def form_repeats(form: Sequence[Section], first: int) -> dict[int, tuple[int, int]]:
    """Bar -> (bars back, number of bars) of every exact section that is near enough to its model."""
    planned: dict[int, tuple[int, int]] = {}
    began: dict[str, int] = {}
    bar = first
    for section in form:
        if section.repeat == "exact" and bar - began[section.label] <= REPEATS:
            planned[bar] = (bar - began[section.label], section.bars)
        if section.repeat != "varied":
            began[section.label] = bar
        bar += section.bars
    return planned
