"""Writing the codes of a window in a few steps, many at once, instead of one after the other.

Chang et al. 2022 (MaskGIT). At every step the network is asked about all codes that are not known yet, a candidate is
drawn for each, and those that it is surest of are kept; how many is decided by a cosine schedule (modern_masks.py).
Sureness is the logarithm of the candidate's probability, with noise that fades as the steps go on. Codes that are known
stay: those that a window is given, and those behind what it writes.
Axes: B pieces, W windows computed together, T codes of a window, R = W·B rows, V codes of a codebook.

Chance is addressed by place, as in sampling.py. A record of the tape is a place in the window and a code, as one
number; a step of which all records are saved is not computed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch

from otonoha.models.jukebox import modern_sampling
from otonoha.models.jukebox.codes import UNKNOWN
from otonoha.models.jukebox.modern_masks import schedule
from otonoha.models.jukebox.sampling_order import How, Run
from otonoha.models.jukebox.windows import Window
from otonoha.sample.choose import draw, probabilities

Walk = Generator[tuple[int, int, bool], None, None]
NOISE_DICE = 1000
"""What is added to the level for the numbers that order candidates."""


def walk(writer: Any, level: Any, run: Run) -> Walk:
    """Carry out a run of a sampling.Writer: see there for what is yielded."""
    how = writer.order.settings(run.level)
    most = max(1, how.rows // writer.codes.batch)
    for phase in run.phases:
        if not run.together:
            for window in phase:
                yield from _Painting(writer, level, [window], how).walk()
            continue
        # windows of a phase know nothing of each other, however many are computed at once
        before = writer.codes.levels[run.level].copy()
        alike: dict[tuple[int, int, int], list[Window]] = defaultdict(list)
        for window in phase:
            alike[window.given, window.new, _length(writer, level, window)].append(window)
        for group in alike.values():
            for i in range(0, len(group), most):
                yield from _Painting(writer, level, group[i : i + most], how, before).walk()


def _length(writer: Any, level: Any, window: Window) -> int:
    """How many codes a window looks at: all that lie under written upper codes."""
    return modern_sampling.uppers(writer.codes, level, window).shape[1] * level.ratio


class _Painting:
    """Windows that are given, and write, equally many codes."""

    def __init__(
        self, writer: Any, level: Any, group: Sequence[Window], how: How, before: np.ndarray | None = None
    ) -> None:
        self.writer, self.level, self.group, self.how = writer, level, group, how
        self.z = writer.codes.levels[level.level]
        source, n = self.z if before is None else before, _length(writer, level, group[0])
        self.given, self.new = group[0].given, group[0].new
        self.rows = np.concatenate([source[:, w.start : w.start + n] for w in group])
        self.rows[:, self.given : self.given + self.new] = UNKNOWN
        self.window: Any = None

    def walk(self) -> Walk:
        """All steps; yields as sampling.Writer does."""
        W, alone = len(self.group), len(self.group) == 1
        parts = schedule(self.new, self.how.steps)
        for number, many in enumerate(parts):
            fresh = self.writer.tape.left < many * W
            records = np.zeros((len(self.rows), many), np.int64)
            if fresh:
                records = self._drawn(many, 1 - (number + 1) / len(parts))
            self._keep(records)
            last = number == len(parts) - 1
            if last:
                self._write()
            yield many * W, (self.group[0].stop if last else self.group[0].first) if alone else 0, fresh

    def _keep(self, records: np.ndarray) -> None:
        """Note records (R, many), or take those that are saved, and make them known."""
        B, bins = self.writer.codes.batch, self.level.bins
        for column in range(records.shape[1]):
            for k in range(len(self.group)):
                rows = slice(k * B, (k + 1) * B)
                noted = self.writer.tape.noted(records[rows, column], bins * self.new)
                self.rows[np.arange(k * B, (k + 1) * B), self.given + noted // bins] = noted % bins

    def _write(self) -> None:
        B = self.writer.codes.batch
        for k, w in enumerate(self.group):
            first = w.given + w.drop
            self.z[:, w.first : w.stop] = self.rows[k * B : (k + 1) * B, first : w.given + w.new]

    def _drawn(self, many: int, noise: float) -> np.ndarray:
        """(R, many): the surest candidates as place · bins + code."""
        bins, part = self.level.bins, slice(self.given, self.given + self.new)
        if self.window is None:
            self.window = modern_sampling.step(self.writer.order, self.writer.codes, self.level, self.group)
        logits = self.window.logits(torch.from_numpy(self.rows))[:, part].float().cpu().numpy()
        row, place = np.nonzero(self.rows[:, part] == UNKNOWN)
        flat = logits[row, place]
        candidates = draw(probabilities(flat, self.how.choice), self._dice(0)[row, place])
        shifted = flat.astype(np.float64) - flat.max(1, keepdims=True)
        sure = shifted[np.arange(len(flat)), candidates] - np.log(np.exp(shifted).sum(1))
        gumbel = -np.log(-np.log(np.clip(self._dice(NOISE_DICE)[row, place], 1e-12, 1 - 1e-12)))
        score = np.full(logits.shape[:2], -np.inf)
        score[row, place] = sure + self.how.noise * noise * gumbel
        chosen = np.argsort(-score, axis=1, kind="stable")[:, :many]
        codes = np.zeros(logits.shape[:2], np.int64)
        codes[row, place] = candidates
        return chosen * bins + np.take_along_axis(codes, chosen, axis=1)

    def _dice(self, more: int) -> np.ndarray:
        """(R, new) numbers by place."""
        dice, level = self.writer.dice, self.level.level + more
        columns = [
            np.stack([dice(level, w.start + w.given + i) for i in range(self.new)], axis=1)
            for w in self.group
        ]
        return np.concatenate(columns)
