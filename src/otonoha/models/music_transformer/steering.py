"""Density and register by feedback: after every bar that is written, what was asked is compared with what is there.

A network knows density and register from examples and follows them faintly. While it writes, its chances are tilted:

    log p(a note, or a place for one) + a      rather than the end of a cell; a grows while there are too few notes
    log p(duration d) − a · log2 d
    log p(pitch p) + b · p / 12                b grows while the music is too low

with a += A · log(asked / so far) and b += B · (asked − so far) / 12 behind every bar: an integral controller. What is
tilted is the network's own music: what the grammar forbids stays forbidden, and where both agree, a and b stay 0.
Axes: B rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.sample.engine import Around, Step
from otonoha.tokens.events_header import DENSITY_EDGES, REGISTER_EDGES
from otonoha.tokens.events_vocab import Layout
from otonoha.tokens.place import METRES

DENSITY, REGISTER = 1.0, 2.0
"""How much a and b change for an error of a factor e, or of an octave."""
MOST = 5.0
"""Bounds of a and b."""
FEW = 0.1
"""Notes a quarter that count as none."""


def middles(edges: Sequence[float]) -> list[float]:
    """What is in the middle of each class; the outermost are as wide as their neighbours."""
    full = [2 * edges[0] - edges[1], *edges, 2 * edges[-1] - edges[-2]]
    return [max(FEW, (low + high) / 2) for low, high in pairwise(full)]


class Steered(Around):
    """A Step that keeps to a density and a register (classes of the header; None: whatever comes)."""

    def __init__(self, step: Step, layout: Layout, density: int | None, register: int | None) -> None:
        super().__init__(step)
        self.layout = layout
        self.density = None if density is None else middles(DENSITY_EDGES)[density]
        self.register = None if register is None else middles(REGISTER_EDGES)[register]
        long = np.where(layout.among("Dur"), np.log2(np.maximum(layout.value, 1)), 0.0)
        many = layout.among("Pos", "Dur", "Pitch", "Drum") - long
        high = np.where(layout.among("Pitch"), layout.value / 12, 0.0)
        self.many, self.high = (
            torch.tensor(x, dtype=torch.float32, device=step.device) for x in (many, high)
        )
        self.families = {name: layout.among(name) for name in ("Bar", "Metre", "Pitch", "Drum")}

    def start(self, batch: int) -> Any:
        """The state before anything is written."""
        self.tilts = np.zeros((batch, 2))
        self.notes, self.pitches, self.sum = np.zeros(batch), np.zeros(batch), np.zeros(batch)
        self.quarters, self.bar, self.begun = np.zeros(batch), np.full(batch, 4.0), np.zeros(batch, bool)
        return super().start(batch)

    def logits(self, state: Any, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V), tilted."""
        a, b = torch.tensor(self.tilts, dtype=torch.float32, device=self.device).T[..., None]
        return super().logits(state, k, drawn) + a * self.many + b * self.high

    def advance(self, state: Any, drawn: Sequence[Tensor]) -> Any:
        """Take note of the symbols (B,), and behind a bar of how far it all is from what was asked."""
        symbols = drawn[0].cpu().numpy()
        value, is_ = self.layout.value[symbols], {n: f[symbols] for n, f in self.families.items()}
        ended = is_["Bar"] & self.begun
        self.quarters[ended] += self.bar[ended]
        for row in np.flatnonzero(ended):
            self._compare(int(row))
        self.begun |= is_["Bar"]
        for row in np.flatnonzero(is_["Metre"]):
            numerator, denominator = METRES[int(value[row])]
            self.bar[row] = 4 * numerator / denominator
        self.notes += is_["Pitch"] | is_["Drum"]
        self.pitches += is_["Pitch"]
        self.sum += np.where(is_["Pitch"], value, 0)
        return super().advance(state, drawn)

    def _compare(self, row: int) -> None:
        change = np.zeros(2)
        if self.density is not None:
            change[0] = DENSITY * math.log(self.density / max(FEW, self.notes[row] / self.quarters[row]))
        if self.register is not None and self.pitches[row]:
            change[1] = REGISTER * (self.register - self.sum[row] / self.pitches[row]) / 12
        self.tilts[row] = np.clip(self.tilts[row] + change, -MOST, MOST)
