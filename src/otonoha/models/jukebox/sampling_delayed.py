"""Writing by the delay pattern: one prior writes the codes of all levels, several a step (delays.py).

Axes: B pieces, N positions, K streams. A run of positions first … last - 1 takes the steps first … last + the longest
delay; in a step only those streams are drawn whose codes lie in the run, what is known already stays, and elsewhere
stands the pad. Chance and the tape are as in sampling.py: a code is drawn with the number of its level and place there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from otonoha.models.jukebox.codes import UNKNOWN
from otonoha.models.jukebox.delays import Delays, window
from otonoha.models.jukebox.sampling_order import Run
from otonoha.models.jukebox.windows import Window
from otonoha.sample.choose import draw, probabilities

Walk = Generator[tuple[int, int, bool], None, None]


def walk(writer: Any, level: Any, run: Run) -> Walk:
    """Carry out a run of a sampling.Writer: see there for what is yielded."""
    for one in run.phases[0]:
        yield from _Stepping(writer, level, run, one).walk()


class _Stepping:
    """One window."""

    def __init__(self, writer: Any, level: Any, run: Run, one: Window) -> None:
        self.writer, self.level, self.run, self.window = writer, level, run, one
        self.pattern: Delays = level.delays
        self.codes = writer.codes
        #: (B, N, K)
        self.side = self.pattern.side_by_side(self.codes.levels)

    def walk(self) -> Walk:
        """All steps."""
        tape, one = self.writer.tape, self.window
        first = one.start + one.given
        open_at = [self._open(first + i) for i in range(one.new)]
        skipped = tape.left >= sum(map(len, open_at)) and self.writer.watch is None
        step = state = None
        if not skipped:
            step, state = self._begun()
        for i, streams in enumerate(open_at):
            fresh = tape.left < len(streams)
            logits = None if step is None or not streams else self._asked(step, state, streams)
            drawn = self._drawn(logits, streams, first + i) if fresh else {}
            for k in streams:
                self._note(k, first + i, tape.noted(drawn.get(k, self._blank), self.level.bins))
            if step is not None and (i + 1 < one.new or self.writer.watch is not None):
                state = self._advanced(step, state, first + i)
            if streams:
                yield len(streams), max(0, first + i + 1 - self.pattern.longest), fresh
        if self.writer.watch is not None:
            self.writer.watch(self.level, [one], step, state)

    @property
    def _blank(self) -> np.ndarray:
        return np.zeros(self.codes.batch, np.int64)

    def _open(self, at: int) -> list[int]:
        """The streams that are drawn in a step."""
        places = ((k, at - delay) for k, delay in enumerate(self.pattern.steps))
        inside = [(k, p) for k, p in places if self.run.first <= p < self.run.last]
        return [k for k, p in inside if self.side[0, p, k] == UNKNOWN]

    def _steps(self, start: int, stop: int) -> torch.Tensor:
        """(B, stop - start, K) as the prior knows them."""
        pattern = self.pattern
        rows = [window(side, pattern.steps, pattern.pad, start, stop) for side in self.side]
        found = np.stack(rows)
        return torch.from_numpy(np.where(found == UNKNOWN, pattern.pad, found))

    @torch.inference_mode()
    def _begun(self) -> tuple[Any, Any]:
        one = self.window
        step = self.writer.step(self.level, [one])
        state = step.start(self.codes.batch)
        if one.given:
            given = self._steps(one.start, one.start + one.given)
            state = step.prefill(state, {"code": given.to(step.device)})
        return step, state

    @torch.inference_mode()
    def _asked(self, step: Any, state: Any, streams: list[int]) -> dict[int, np.ndarray]:
        return {k: step.logits(state, k, []).float().cpu().numpy() for k in streams}

    @torch.inference_mode()
    def _advanced(self, step: Any, state: Any, at: int) -> Any:
        known = self._steps(at, at + 1)[:, 0].to(step.device)
        return step.advance(state, list(known.unbind(1)))

    def _drawn(
        self, logits: dict[int, np.ndarray] | None, streams: list[int], at: int
    ) -> dict[int, np.ndarray]:
        assert logits is not None
        choice, found = self.writer.order.settings(self.run.level).choice, {}
        for k in streams:
            level, place = self._place(k, at)
            found[k] = draw(probabilities(logits[k], choice), self.writer.dice(level, place))
        return found

    def _place(self, k: int, at: int) -> tuple[int, int]:
        """Level of a stream, and the place there of its code in a step."""
        pattern = self.pattern
        level, width = pattern.levels[k], pattern.widths[pattern.levels[k]]
        return level, (at - pattern.steps[k]) * width + k - pattern.levels.index(level)

    def _note(self, k: int, at: int, drawn: np.ndarray) -> None:
        level, place = self._place(k, at)
        self.side[:, at - self.pattern.steps[k], k] = drawn
        self.codes.levels[level][:, place] = drawn
