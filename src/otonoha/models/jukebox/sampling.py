"""Writing codes, level by level and window by window: what all modes of sampling share.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B pieces written together, T codes of a level, W windows written
at once, V codes of a codebook.

Chance is addressed by place: code t of a level of a piece is drawn with the number (seed of the piece, level, t). So a
piece does not depend on those beside it, a part of a piece comes out as it does within the whole, and an interrupted
request goes on to the identical result: windows that are done are not computed again, the one that was interrupted is
walked through again code by code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from otonoha.models.jukebox import modern_sampling, sampling_delayed, sampling_parallel
from otonoha.models.jukebox.blend import packed
from otonoha.models.jukebox.codes import UNKNOWN, Codes, reach
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.sampling_live import Live
from otonoha.models.jukebox.sampling_order import Blending, Level, Order, Run, is_delayed, planned
from otonoha.models.jukebox.sampling_pace import Going, Pace
from otonoha.models.jukebox.windows import Window
from otonoha.sample.choose import draw, probabilities
from otonoha.sample.engine import Step
from otonoha.sample.job import Job

Watch = Callable[[Level, Sequence[Window], Step, Any], None]
"""Called when windows (one, or those of a parallel batch) are written: level, windows, their Step and its state."""


class Dice:
    """Uniform numbers by place: (seed, level, place)."""

    BLOCK = 4096

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self._blocks: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, level: int, place: int) -> np.ndarray:
        """(B,) numbers for the code at a place."""
        block, at = divmod(place, self.BLOCK)
        if (level, block) not in self._blocks:
            rows = [np.random.default_rng([s, level, block]).random(self.BLOCK) for s in self.seeds]
            self._blocks[level, block] = np.stack(rows)
        return self._blocks[level, block][:, at]


class Tape:
    """What an interrupted request has drawn already, and what is drawn now, in one order."""

    def __init__(self, job: Job, batch: int) -> None:
        self.job, self.at = job, 0
        self.earlier = np.zeros((0, batch, 1), np.int64) if job.replay is None else job.replay
        if self.earlier.shape[1:] != (batch, 1) or self.earlier.dtype.kind not in "iu":
            raise ValueError(
                f"saved codes of shape {self.earlier.shape} do not belong to a request of {batch} pieces"
            )

    @property
    def left(self) -> int:
        """How many saved records are still ahead."""
        return max(0, len(self.earlier) - self.at)

    def noted(self, drawn: np.ndarray, bins: int) -> np.ndarray:
        """(B,) codes that are drawn now, or in their place those that were saved; they are kept."""
        if self.left:
            drawn = self.earlier[self.at, :, 0].astype(np.int64)
            if drawn.min() < 0 or drawn.max() >= bins:
                raise ValueError("saved codes are none that this prior knows: the job is damaged")
        self.job.keep(drawn[:, None])
        self.at += 1
        return drawn


def sample(
    order: Order, *, job: Job | None = None, watch: Watch | None = None, live: Sequence[Live] = ()
) -> Generator[Going, None, Codes]:
    """Write what the order says; tells after every code how far it is, and returns the codes.

    With a `job` it saves as it goes and goes on after an interruption. `watch` sees every window when it is written,
    with its Step (say, for attention over the lyrics); then windows that an earlier call has written are walked
    through again too. `live` decode to sound while codes come.
    """
    todo = planned(order)
    writer = Writer(order, Tape(job or Job(), order.codes.batch), watch)
    pace = Pace({level: sum(r.draws for r in todo if r.level == level) for level in order.spans})
    for run in todo:
        for drawn, place, fresh in writer.walk(run):
            for one in live:
                if one.level == run.level or run.streams > 1:
                    one.push(writer.codes, place * order.codes.hops[run.level] // order.codes.hops[one.level])
            yield replace(pace.told(run.level, drawn, fresh), codes=writer.codes)
    for one in live:
        one.finish(writer.codes)
    return writer.codes


Walk = Generator[tuple[int, int, bool], None, None]


class Writer:
    """Carries out runs. Walks yield (codes drawn, the place up to which all is written, was anything computed)."""

    def __init__(self, order: Order, tape: Tape, watch: Watch | None) -> None:
        self.order, self.tape, self.watch = order, tape, watch
        self.codes = Codes(tuple(z.copy() for z in order.codes.levels), order.codes.hops)
        self.dice = Dice(order.seeds)

    def walk(self, run: Run) -> Walk:
        """All windows of a run: one after the other, or those of each phase at once.

        Windows are computed together that have equally many given and upper codes, as many as rows are allowed.
        """
        level = self.order.levels[run.level]
        if getattr(level, "masked", False):
            yield from sampling_parallel.walk(self, level, run)
            return
        if is_delayed(level):
            yield from sampling_delayed.walk(self, level, run)
            return
        if not run.together:
            for window in run.phases[0]:
                yield from self._windows(level, [window])
            return
        most = max(1, self.order.settings(run.level).rows // self.codes.batch)
        for phase in run.phases:
            alike: dict[tuple[int, int], list[Window]] = defaultdict(list)
            for window in phase:
                alike[window.given, self._upper(level, window).shape[1]].append(window)
            for group in alike.values():
                for i in range(0, len(group), most):
                    yield from self._windows(level, group[i : i + most])

    def _windows(self, level: Level, group: Sequence[Window]) -> Walk:
        """Windows in step with each other, which are given equally many codes."""
        z, steps = self.codes.levels[level.level], max(w.new for w in group)
        # what each window has seen and written (B, given + new): dropped codes are its own past, not the piece's
        own = [z[:, w.start : w.stop].copy() for w in group]
        skipped = self.tape.left >= sum(w.new for w in group) and self.watch is None
        if not skipped:
            step, state = self._begun(level, group, own)
        for i in range(steps):
            alive = [k for k, w in enumerate(group) if i < w.new]
            fresh = self.tape.left < len(alive)
            drawn = np.zeros((len(group), self.codes.batch), np.int64)
            # asked even where the answer is saved: read one by one or together, codes give numbers that differ in the
            # last digit, and what comes after an interruption must be what would have come without
            logits = None if skipped else _asked(step, state)
            if logits is not None and fresh:
                drawn = self._drawn(level, logits, group, own, i)
            for k in alive:
                drawn[k] = self.tape.noted(drawn[k], level.bins)
                own[k][:, group[k].given + i] = drawn[k]
                if i >= group[k].drop:
                    z[:, group[k].start + group[k].given + i] = drawn[k]
            if not skipped and (i + 1 < steps or self.watch is not None):
                state = _advanced(step, state, drawn.reshape(-1))
            yield len(alive), group[0].first + i + 1 if len(group) == 1 else 0, fresh
        if self.watch is not None:
            self.watch(level, group, step, state)

    # -- conditions --------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _begun(self, level: Level, group: Sequence[Window], own: Sequence[np.ndarray]) -> tuple[Step, Any]:
        """The Step of windows (rows: windows, then pieces) and its state behind the codes given to them."""
        step = self.step(level, group)
        state = step.start(len(group) * self.codes.batch)
        given = group[0].given
        if given:
            prompt = _tensor(np.concatenate([z[:, :given] for z in own])).to(step.device)
            state = step.prefill(state, {"code": prompt})
        return step, state

    def step(self, level: Level, group: Sequence[Window]) -> Step:
        """The Step of windows under their conditions."""
        if hasattr(level, "coarser"):
            return modern_sampling.step(self.order, self.codes, level, group)
        labels = self.order.labels.get(level.level)
        upper = None if not level.ratio else _tensor(np.concatenate([self._upper(level, w) for w in group]))
        if labels is None:
            return level.step(None, None, upper)
        length = level.n_ctx * level.hop
        starts = [(label, w.start * level.hop) for w in group for label in labels]
        rows = None
        if level.labelled is not False:
            rows = _tensor(np.stack([label.row(at, length) for label, at in starts]))
        lyrics = None
        if level.n_lyrics:
            seen = [label.characters(at, length, level.n_lyrics, self.order.rate) for label, at in starts]
            lyrics = _tensor(np.stack(seen))
        if rows is None or all(label.mix is None for label in labels):
            return level.step(rows, lyrics, upper)
        artists, genres = self._weights(level, group, labels)
        return cast(Blending, level).blended(rows, lyrics, upper, artists, genres)

    def _upper(self, level: Level, window: Window) -> np.ndarray:
        """(B, U) upper codes of a window, up to the first one that is not written."""
        first = window.start // level.ratio
        part = self.codes.levels[level.level + 1][:, first : first + level.n_ctx // level.ratio]
        return part[:, : reach((part != UNKNOWN).all(axis=0), 0)]

    def _weights(
        self, level: Level, group: Sequence[Window], labels: Sequence[Label]
    ) -> list[tuple[Tensor, Tensor]]:
        """Ids and weights of artists and of genres, as they are in the middle of what a window writes."""
        artists, genres = [], []
        for window in group:
            seconds = (window.first + window.stop) / 2 * level.hop / self.order.rate
            for label in labels:
                mix = label.blended()
                artists.append(mix.artists.at(seconds))
                genres.append(mix.genres.at(seconds))
        both = (packed(artists), packed(genres))
        return [(_tensor(ids), _tensor(weights)) for ids, weights in both]

    # -- choice ------------------------------------------------------------------------------------------

    def _drawn(
        self, level: Level, logits: Tensor, group: Sequence[Window], own: Sequence[np.ndarray], i: int
    ) -> np.ndarray:
        """(W, B) the i-th new code of every window, from logits (W·B, V)."""
        choice = self.order.settings(level.level).choice
        x = logits.float().cpu().numpy()
        recent = None
        if choice.repetition:
            recent = np.concatenate([_last(z[:, : w.given + i], choice.window) for z, w in zip(own, group)])
        uniform = [self.dice(level.level, w.start + w.given + i) for w in group]
        p = probabilities(x, choice, None, recent)
        return draw(p, np.concatenate(uniform)).reshape(len(group), -1)


def _last(z: np.ndarray, many: int) -> np.ndarray:
    """(B, many): the last codes, −1 where there are none."""
    found = z[:, max(0, z.shape[1] - many) :]
    return np.pad(found, ((0, 0), (many - found.shape[1], 0)), constant_values=UNKNOWN)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


@torch.inference_mode()
def _advanced(step: Step, state: Any, drawn: np.ndarray) -> Any:
    return step.advance(state, [_tensor(drawn).to(step.device)])


@torch.inference_mode()
def _asked(step: Step, state: Any) -> Tensor:
    return step.logits(state, 0, [])
