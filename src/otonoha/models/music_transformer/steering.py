"""Register, density and polyphony by feedback, and endings at home: what a network is helped with while it writes.

A network knows such controls from examples and follows them faintly. So its chances are tilted:

    register    log p(pitch p)          + tilt · (p − asked) / 12
    density     log p(next onset at t)  − tilt · log2((t − now) / d)         now: the last onset, d: the length in force
                log p(length l)         − tilt · log2(l / d)
    polyphony   log p(length l)         + tilt · log2(l / d)

with tilt += gain · error behind every bar (an integral controller) while the class is another one than was asked,
else half of what it was; the error is (asked − so far) / 12 in register, else log2(asked / so far). So a network that
agrees is left alone. (Tilted around what is asked, and around the length in force: else every pitch gains on every
other symbol, and chords grow.) In the last bar the tonic and its triad gain. Axes: B rows, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.models.music_transformer.home import shift_from
from otonoha.music.theory import Key
from otonoha.sample.engine import Around, Step
from otonoha.tokens.events_header import DENSITY_EDGES, POLYPHONY_EDGES, REGISTER_EDGES, class_of
from otonoha.tokens.events_vocab import OVER, Layout
from otonoha.tokens.place import METRES

MOST = 3.0
"""Bounds of a tilt."""
STEEPEST = 3.0
"""log2 of the longest length against the one in force; longer ones count like it, and shorter ones likewise."""

TRIAD, TONIC, BASS = 1.5, 3.5, 54
"""Cadence: nats for notes of the triad, for the tonic in the bass; pitches below are bass, as seen from home."""


def middle(number: int, edges: Sequence[float]) -> float:
    """The value in the middle of a class; the outermost are as wide as their neighbours."""
    ends = [2 * edges[0] - edges[1], *edges, 2 * edges[-1] - edges[-2]]
    return [max(low, 0) / 2 + high / 2 for low, high in pairwise(ends)][number]


class Lever(ABC):
    """What tilts the chances of a network while it writes; `tilt` (B,) of each row."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.is_bar = layout, layout.among("Bar")

    def start(self, batch: int) -> None:
        """Nothing is written yet."""
        self.tilt = np.zeros(batch)

    @abstractmethod
    def lean(self) -> np.ndarray:
        """(B, V) or (V,): what is added to log chances, for a tilt of 1."""

    @abstractmethod
    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written, or stand before what is written: then only keys and metres."""


class Cadence(Lever):
    """In the last bar, notes of the tonic triad are likelier, and in the bass the tonic is."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.is_key, self.last = layout.among("Key"), layout.id("Bar", 1)
        pitches = layout.among("Pitch")
        self.homely = np.stack(
            [np.where(pitches, self._of(Key.from_index(i), layout.value), 0) for i in range(24)]
        )

    @staticmethod
    def _of(key: Key, pitch: np.ndarray) -> np.ndarray:
        above = (pitch - key.tonic) % 12
        triad = np.isin(above, (0, 3 if key.mode == "minor" else 4, 7))
        return np.where(pitch + shift_from(key) < BASS, TONIC * (above == 0), TRIAD * triad)

    def start(self, batch: int) -> None:
        """No key is known yet."""
        super().start(batch)
        self.key = np.full(batch, -1)

    def lean(self) -> np.ndarray:
        """(B, V): notes that are at home in the key of each row."""
        return self.homely[self.key]

    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written: keys, bars."""
        self.key = np.where(self.is_key[symbols], self.layout.value[symbols], self.key)
        ends = np.where(self.is_bar[symbols], symbols == self.last, self.tilt > 0)
        self.tilt = np.where(ends & (self.key >= 0), 1.0, 0.0)


class Kept(Lever):
    """One control that is kept: a class of the header."""

    edges: Sequence[float]
    gain: float

    def __init__(self, layout: Layout, asked: int) -> None:
        super().__init__(layout)
        self.asked, self.goal = asked, middle(asked, self.edges)
        self.is_note = layout.among("Pitch", "Drum")

    def start(self, batch: int) -> None:
        """Nothing is written yet."""
        super().start(batch)
        self.notes = np.zeros(batch)

    @abstractmethod
    def found(self, row: int) -> float:
        """What there is so far in a row, in the measure of the edges."""

    @abstractmethod
    def error(self, found: float) -> float:
        """How much is missing, in units of `gain`."""

    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written."""
        for row in np.flatnonzero(self.is_bar[symbols] & (self.notes > 0)).tolist():
            found = self.found(row)
            if class_of(found, self.edges) == self.asked:
                self.tilt[row] /= 2
            else:
                self.tilt[row] = np.clip(self.tilt[row] + self.gain * self.error(found), -MOST, MOST)
        self.notes += self.is_note[symbols]


class Register(Kept):
    """The mean pitch of all that is not drums."""

    edges, gain = REGISTER_EDGES, 2.0

    def __init__(self, layout: Layout, asked: int) -> None:
        super().__init__(layout, asked)
        self.is_note = layout.among("Pitch")
        self.high = np.where(self.is_note, (layout.value - self.goal) / 12, 0.0)

    def start(self, batch: int) -> None:
        """Nothing is written yet."""
        super().start(batch)
        self.sum = np.zeros(batch)

    def lean(self) -> np.ndarray:
        """(V,): higher pitches."""
        return self.high

    def found(self, row: int) -> float:
        """The mean pitch."""
        return float(self.sum[row] / self.notes[row])

    def error(self, found: float) -> float:
        """In octaves."""
        return (self.goal - found) / 12

    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written."""
        super().notice(symbols)
        self.sum += np.where(self.is_note[symbols], self.layout.value[symbols], 0)


class Timed(Kept):
    """One that knows the time: place and length in force within a cell, and how long all bars were so far."""

    def __init__(self, layout: Layout, asked: int) -> None:
        super().__init__(layout, asked)
        self.at, self.lengths = np.array(layout.ids("Pos")), np.flatnonzero(layout.among("Dur", "Long"))
        whole = np.where(layout.among("Long"), 4 * layout.resolution, 1)
        self.ticks = np.where(layout.among("Pos", "Dur", "Long"), layout.value * whole, 0)
        self.is_cell, self.is_length = layout.among("Bar", "Program"), layout.among("Dur")
        self.is_place, self.is_whole, self.is_metre = (layout.among(f) for f in ("Pos", "Long", "Metre"))
        self.is_over, self.is_number = layout.among("Over"), layout.among("Num")

    def start(self, batch: int) -> None:
        """Nothing is written yet."""
        super().start(batch)
        self.bar, self.over, self.quarters = np.full(batch, 4.0), np.full(batch, 4), np.zeros(batch)
        self.bars, self.odd = np.zeros(batch), np.zeros(batch, bool)
        self.place, self.wholes = np.zeros(batch), np.zeros(batch)
        self.length = np.full(batch, float(self.layout.resolution))

    def longer(self, ticks: np.ndarray) -> np.ndarray:
        """log2 of lengths against the one in force, (B, lengths)."""
        return np.clip(np.log2(ticks / self.length[:, None]), -STEEPEST, STEEPEST)

    def error(self, found: float) -> float:
        """How many times as much is asked, in powers of two."""
        return float(np.log2(self.goal / found))

    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written."""
        self.quarters += self.bar * (self.is_bar[symbols] & (self.bars > 0))
        self.bars += self.is_bar[symbols]
        super().notice(symbols)
        value = self.layout.value[symbols]
        for row in np.flatnonzero(self.is_metre[symbols]):
            count, unit = METRES[value[row]]
            self.bar[row] = 4 * count / unit
        odd = self.odd & self.is_number[symbols]
        self.bar = np.where(odd, 4 * value / self.over, self.bar)
        self.odd = self.is_over[symbols]
        self.over = np.where(self.odd, np.array(OVER)[np.where(self.odd, value, 0)], self.over)
        cell, is_length = self.is_cell[symbols], self.is_length[symbols]
        self.place = np.where(self.is_place[symbols], self.ticks[symbols], np.where(cell, 0, self.place))
        self.length = np.where(is_length, self.wholes + self.ticks[symbols], self.length)
        self.length = np.where(cell, self.layout.resolution, self.length)
        self.wholes = np.where(self.is_whole[symbols], self.ticks[symbols], 0)


class Density(Timed):
    """Notes a quarter note of all tracks: shorter steps and lengths make more of them."""

    edges, gain = DENSITY_EDGES, 1.0

    def lean(self) -> np.ndarray:
        """(B, V): nearer places and shorter lengths."""
        found = np.zeros((len(self.tilt), self.layout.size))
        found[:, self.at] = -self.longer(np.maximum(self.ticks[self.at] - self.place[:, None], 1))
        found[:, self.lengths] = -self.longer(self.ticks[self.lengths])
        return found

    def found(self, row: int) -> float:
        """Notes a quarter."""
        return float(self.notes[row] / self.quarters[row])


class Polyphony(Timed):
    """The mean number of notes that sound together: with as many notes, it is their length."""

    edges, gain = POLYPHONY_EDGES, 1.0

    def __init__(self, layout: Layout, asked: int) -> None:
        super().__init__(layout, asked)
        self.is_note = layout.among("Pitch")

    def start(self, batch: int) -> None:
        """Nothing is written yet."""
        super().start(batch)
        self.sounding = np.zeros(batch)

    def lean(self) -> np.ndarray:
        """(B, V): longer lengths."""
        found = np.zeros((len(self.tilt), self.layout.size))
        found[:, self.lengths] = self.longer(self.ticks[self.lengths])
        return found

    def found(self, row: int) -> float:
        """Notes together, as if something sounded all the time."""
        return float(self.sounding[row] / self.quarters[row])

    def notice(self, symbols: np.ndarray) -> None:
        """(B,) symbols are written."""
        super().notice(symbols)
        self.sounding += self.is_note[symbols] * self.length / self.layout.resolution


class Steered(Around):
    """A Step whose chances levers tilt."""

    def __init__(self, step: Step, levers: Sequence[Lever]) -> None:
        super().__init__(step)
        self.levers = levers
        self.goes_on = levers[0].layout.among("Key", "Metre", "Over", "Num")

    def start(self, batch: int) -> Any:
        """The state before anything is written."""
        for lever in self.levers:
            lever.start(batch)
        return super().start(batch)

    def prefill(self, state: Any, streams: Mapping[str, Tensor]) -> Any:
        """Take in a prompt (B, T). Its notes do not count, since new bars are steered; its key and metre go on."""
        for symbols in streams["event"].cpu().numpy().T:
            if self.goes_on[symbols].any():
                for lever in self.levers:
                    lever.notice(symbols)
        return super().prefill(state, streams)

    def logits(self, state: Any, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V), tilted."""
        logits = super().logits(state, k, drawn)
        for lever in self.levers:
            if lever.tilt.any():
                lean = lever.tilt[:, None] * lever.lean()
                logits = logits + torch.as_tensor(lean, dtype=logits.dtype, device=self.device)
        return logits

    def advance(self, state: Any, drawn: Sequence[Tensor]) -> Any:
        """Take note of the symbols (B,)."""
        symbols = drawn[0].cpu().numpy()
        for lever in self.levers:
            lever.notice(symbols)
        return super().advance(state, drawn)
