"""Standing controls: style, density, register and polyphony beside every symbol, not only before the music.

A header is far away from most of the music, and what it says of density is little beside what the bars before a note
say: a network of a few million parameters looks at those bars and forgets the header. An embedding that is added at
every position cannot be overlooked (Wu & Yang 2021, MuseMorphose; here it is added once, before the first layer).
Values are those of the header, counted from 1; 0: not said. Axes: B rows, T symbols.

While learning, half of the excerpts are told what each bar and its next one are like instead of the whole excerpt: that
is more than the notes before a bar tell. Whoever writes says one thing for all bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from symusic import Score
from torch import Tensor

from otonoha.music.time import bar_table
from otonoha.music.tracks import notes
from otonoha.sample.engine import Around, Step
from otonoha.tokens.base import Tokens
from otonoha.tokens.events_header import DENSITY_EDGES, REGISTER_EDGES
from otonoha.tokens.events_read import body_of
from otonoha.tokens.events_vocab import Layout

FAMILIES = {"style": "Style", "density": "Density", "register": "Register", "polyphony": "Polyphony"}
"""Stream -> family of the header's symbol."""
AROUND = 2
"""Bars that a bar's own values are measured on: itself and the next."""


def sizes(layout: Layout) -> tuple[tuple[str, int], ...]:
    """The streams and how many values each has."""
    return tuple((name, 1 + len(layout.ids(family))) for name, family in FAMILIES.items())


def said(event: np.ndarray, layout: Layout) -> dict[str, int]:
    """What the header of a piece (T,) says."""
    head = event[: body_of(event)]
    found = {name: layout.value[head[layout.among(family)[head]]] for name, family in FAMILIES.items()}
    return {name: int(values[0]) + 1 if len(values) else 0 for name, values in found.items()}


def throughout(event: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """The streams (T,) of a piece: what its header says, all along."""
    return {name: np.full(len(event), value, np.int64) for name, value in said(event, layout).items()}


def beside(tokens: Tokens, streams: Mapping[str, np.ndarray]) -> Tokens:
    """Tokens with further streams (T,)."""
    return replace(tokens, streams={**tokens.streams, **streams})


def bar_by_bar(event: np.ndarray, layout: Layout, sounding: Score) -> dict[str, np.ndarray]:
    """The streams (T,) of a piece that sounds like `sounding`: what its header speaks of, measured on the bars around;
    all along where symbols and bars do not match (a repeat stands for several bars).
    """
    streams = throughout(event, layout)
    order = np.cumsum(layout.among("Bar")[event])
    bars = classes(sounding)
    if not len(order) or order[-1] != len(bars["density"]):
        return streams
    for name, values in bars.items():
        here = values[np.maximum(order - 1, 0)]
        streams[name] = np.where((order > 0) & (streams[name] > 0) & (here > 0), here, streams[name])
    return streams


def classes(score: Score) -> dict[str, np.ndarray]:
    """density and register (bars,) of each bar and the next, counted from 1; register 0 where no pitch begins."""
    start = bar_table(score).start
    tracks = [(notes(track), not track.is_drum) for track in score.tracks]
    onset = np.concatenate([n.onset for n, _ in tracks])
    pitch = np.concatenate([n.pitch for n, _ in tracks])
    pitched = np.concatenate([np.full(len(n.onset), is_pitched) for n, is_pitched in tracks])
    bar, bars = np.searchsorted(start[:-1], onset, side="right") - 1, len(start) - 1

    def around(values: np.ndarray) -> np.ndarray:
        total = np.append(0.0, np.cumsum(values))
        first = np.arange(bars)
        return total[np.minimum(first + AROUND, bars)] - total[first]

    quarters = around(np.diff(start) / score.tpq)
    density = around(np.bincount(bar, minlength=bars)) / np.maximum(quarters, 1e-9)
    heard = around(np.bincount(bar, pitched, bars))
    mean = around(np.bincount(bar, pitch * pitched, bars)) / np.maximum(heard, 1)
    return {
        "density": np.searchsorted(DENSITY_EDGES, density, side="right") + 1,
        "register": np.where(heard > 0, np.searchsorted(REGISTER_EDGES, mean, side="right") + 1, 0),
    }


class Standing(Around):
    """A Step whose network hears the controls all along; rows that write the same request share them."""

    def __init__(self, step: Step, values: Mapping[str, int]) -> None:
        super().__init__(step)
        self.values = dict(values)

    def start(self, batch: int) -> Any:
        """The state before anything is written."""
        self.rows = {
            name: torch.full((batch,), value, device=self.device) for name, value in self.values.items()
        }
        return super().start(batch)

    def prefill(self, state: Any, streams: Mapping[str, Tensor]) -> Any:
        """Take in a whole prompt, streams (B, T), in one pass."""
        told = {name: row[:, None].expand_as(streams["event"]) for name, row in self.rows.items()}
        return super().prefill(state, {**streams, **told})

    def place(self, state: Any, context: Mapping[str, Tensor]) -> Any:
        """Go to the next position, whose context streams are (B,) each."""
        return super().place(state, {**context, **self.rows})
