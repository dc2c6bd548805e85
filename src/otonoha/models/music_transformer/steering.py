"""Register by feedback: after every bar that is written, what was asked is compared with what is there.

A network knows registers from examples and follows them faintly. While it writes, its chances are tilted:

    log p(pitch p) + tilt · (p − asked) / 12

with tilt += GAIN · (asked − so far) / 12 behind every bar (an integral controller) while the class is another one than
was asked, else half of what it was. So a network that agrees is left alone. (Tilted
around what is asked: else every pitch gains on every other symbol, and chords grow.) Axes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.sample.engine import Around, Step
from otonoha.tokens.events_header import REGISTER_EDGES, class_of
from otonoha.tokens.events_vocab import Layout

GAIN = 2.0
"""Tilt for an error of an octave."""
MOST = 3.0
"""Bounds of the tilt."""


def middle(register: int) -> float:
    """The pitch in the middle of a class; the outermost are as wide as their neighbours."""
    edges = [2 * REGISTER_EDGES[0] - REGISTER_EDGES[1], *REGISTER_EDGES]
    edges.append(2 * REGISTER_EDGES[-1] - REGISTER_EDGES[-2])
    return [(low + high) / 2 for low, high in pairwise(edges)][register]


class Steered(Around):
    """A Step that keeps to a register, a class of the header."""

    def __init__(self, step: Step, layout: Layout, register: int) -> None:
        super().__init__(step)
        self.layout, self.register = layout, register
        self.is_bar, self.is_pitch = layout.among("Bar"), layout.among("Pitch")
        high = np.where(self.is_pitch, (layout.value - middle(register)) / 12, 0.0)
        self.high = torch.tensor(high, dtype=torch.float32, device=step.device)

    def start(self, batch: int) -> Any:
        """The state before anything is written."""
        self.tilt, self.notes, self.sum = np.zeros(batch), np.zeros(batch), np.zeros(batch)
        return super().start(batch)

    def logits(self, state: Any, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V), tilted."""
        tilt = torch.tensor(self.tilt, dtype=torch.float32, device=self.device)
        return super().logits(state, k, drawn) + tilt[:, None] * self.high

    def advance(self, state: Any, drawn: Sequence[Tensor]) -> Any:
        """Take note of the symbols (B,), and behind a bar of how far it all is from what was asked."""
        symbols = drawn[0].cpu().numpy()
        for row in np.flatnonzero(self.is_bar[symbols] & (self.notes > 0)):
            pitch = self.sum[row] / self.notes[row]
            if class_of(pitch, REGISTER_EDGES) == self.register:
                self.tilt[row] /= 2
            else:
                change = GAIN * (middle(self.register) - pitch) / 12
                self.tilt[row] = np.clip(self.tilt[row] + change, -MOST, MOST)
        self.notes += self.is_pitch[symbols]
        self.sum += np.where(self.is_pitch[symbols], self.layout.value[symbols], 0)
        return super().advance(state, drawn)
