"""What is asked of sampling, and the plan for it: which windows write which codes of which level.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). The networks are told by `Level`; nothing here knows them. Axes: B
pieces written together, T codes of a level, V codes of a codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from otonoha.models.jukebox import windows
from otonoha.models.jukebox.codes import Codes, checked, lead, reach, runs
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.windows import Shape, Window
from otonoha.sample.choose import Choice
from otonoha.sample.engine import Step


class Level(Protocol):
    """What sampling asks of the prior of a level. It brings the tensors to its own device."""

    level: int
    n_ctx: int
    hop: int
    """Samples of a code."""
    ratio: int
    """Codes of an upper code; 0 at the top."""
    bins: int
    n_lyrics: int
    """Characters that a window sees; 0: none."""
    labelled: bool | None
    """Whether it has to be told labels, or takes none; None: as it comes."""

    def step(self, labels: Tensor | None, lyrics: Tensor | None, upper: Tensor | None) -> Step:
        """One window: labels (B, 4 + genres), lyrics (B, n_lyrics), upper codes (B, n_ctx // ratio), int64.

        There are fewer upper codes where they end before the window does: it is then not written to its end.
        Of the Step, `start(B)`, `prefill(state, {"code": (B, T)})`, `logits(state, 0, [])` -> (B, V) and
        `advance(state, [(B,)])` are used.
        """


class Blending(Level, Protocol):
    """A level that can be told a mix of styles."""

    def blended(
        self,
        labels: Tensor,
        lyrics: Tensor | None,
        upper: Tensor | None,
        artists: tuple[Tensor, Tensor],
        genres: tuple[Tensor, Tensor],
    ) -> Step:
        """As `step`, but in place of the ids in the label row count these ids (B, K) and weights (B, K)."""


@dataclass(frozen=True)
class How:
    """How the codes of a level are chosen, and by which windows."""

    choice: Choice = Choice(temperature=0.99)
    hop: float | None = 0.5
    """From one window to the next, as a share of the window; None: one window at the end of what is there."""
    parallel: bool = False
    """All windows at once, then the codes after every seam anew (windows.side_by_side, windows.repairs)."""
    repair: int = 0
    """Codes written anew after a seam; 0: half a window, of a masked prior a quarter: so it sees what lies behind."""
    rows: int = 64
    """The most windows that are computed together when `parallel`."""
    guidance: float = 1.0
    """Leans towards what is told; 1 changes nothing (design modern)."""
    steps: int = 8
    """Steps in which a window is written (masked priors)."""
    noise: float = 1.0
    """How much chance decides, at first, which codes are kept in a step (masked priors)."""


TOP = How(hop=0.125)
"""The original's hop at the top."""


@dataclass(frozen=True, eq=False)
class Order:
    """Everything that decides what is written: of `codes`, what is not written within the `spans`.

    `spans`: level -> (first, one after the last) in codes of that level. `labels`: level -> one Label a piece (levels
    that know none are left out). `seeds`: one a piece.
    """

    levels: Mapping[int, Level]
    codes: Codes
    spans: Mapping[int, tuple[int, int]]
    seeds: Sequence[int]
    labels: Mapping[int, Sequence[Label]] = field(default_factory=dict)
    how: Mapping[int, How] = field(default_factory=dict)
    rate: int = 44100

    def settings(self, level: int) -> How:
        """Those of a level; by default the original's."""
        return self.how.get(level, How() if self.levels[level].ratio else TOP)


@dataclass(frozen=True)
class Run:
    """A stretch of a level that is not written: its windows, one after the other or (in two phases) together."""

    level: int
    first: int
    last: int
    phases: tuple[tuple[Window, ...], ...]
    together: bool
    streams: int = 1
    """Codes of a position that are written together: more than 1 by the delay pattern."""

    @property
    def draws(self) -> int:
        """How many codes are drawn in it."""
        if self.streams > 1:
            return self.streams * (self.last - self.first)
        return sum(window.new for phase in self.phases for window in phase)


def shape_of(level: Level) -> Shape:
    """Its lengths."""
    return Shape(level.n_ctx, level.hop, level.ratio)


def planned(order: Order) -> list[Run]:
    """What `sample` will do, in its order. ValueError where that cannot be done."""
    codes = order.codes
    _check(order)
    written = {level: codes.written(level) for level in range(len(codes.hops))}
    found = []
    for level in sorted(order.spans, reverse=True):
        first, last = order.spans[level]
        for a, b in runs(~written[level][first:last]):
            found.append(_run(order, level, written, first + a, first + b))
        written[level] = written[level].copy()
        written[level][first:last] = True
    return found


def _run(order: Order, level: int, written: Mapping[int, np.ndarray], first: int, last: int) -> Run:
    prior, how, there = order.levels[level], order.settings(level), written[level]
    shape, masked = shape_of(prior), getattr(prior, "masked", False)
    history = lead(there, first)
    if shape.ratio:
        above = written[level + 1]
        at = first // shape.ratio
        end = reach(above, at) * shape.ratio if above[at] else first
        if end < last:
            raise ValueError(
                f"level {level} cannot be written up to {last * shape.hop / order.rate:.2f} s: "
                f"level {level + 1} is written only up to {end * shape.hop / order.rate:.2f} s"
            )
        history = min(history, first - (at - lead(above, at)) * shape.ratio)
    if is_delayed(prior):
        return _run_delayed(order, level, there, first, last)
    if how.parallel:
        apart = windows.side_by_side(shape, first, last, total=len(there))
        length = how.repair or (max(shape.step, shape.down(shape.n_ctx // 4)) if masked else 0)
        again = windows.repairs(shape, apart, history=history, length=length)
        return Run(level, first, last, (tuple(apart), tuple(again)), together=True)
    found = _in_turn(shape, how.hop, first, last, total=len(there), history=history)
    return Run(level, first, last, (tuple(found),), together=False)


def _in_turn(
    shape: Shape, hop: float | None, first: int, last: int, *, total: int, history: int
) -> list[Window]:
    """Windows one after the other."""
    if hop is not None:
        step = windows.hop_of(shape, hop)
        return windows.plan(shape, first, last, total=total, hop=step, history=history)
    found = windows.at_the_end(shape, first, last - first)
    if found.given > history:
        raise ValueError("one window at the end needs everything before it to be written")
    return [found]


def _run_delayed(order: Order, level: int, there: np.ndarray, first: int, last: int) -> Run:
    """Windows of the steps that write the positions first … last - 1 by a delay pattern."""
    prior: Any = order.levels[level]
    longest, history = prior.delays.longest, lead(there, first)
    # of a stretch that does not begin with the piece the first steps are not known in all streams
    known = first if history == first else max(0, history - longest)
    total, hop = len(there) + longest, order.settings(level).hop
    found = _in_turn(shape_of(prior), hop, first, last + longest, total=total, history=known)
    return Run(level, first, last, (tuple(found),), together=False, streams=prior.delays.streams)


def is_delayed(prior: Any) -> bool:
    """Whether a prior writes all levels together, by a delay pattern (sampling_delayed.py)."""
    return getattr(prior, "delays", None) is not None


def _check_delayed(order: Order, number: int) -> None:
    codes, top = order.codes, order.codes.written(number)
    for level in range(number):
        if (codes.written(level) != top.repeat(codes.hops[number] // codes.hops[level])).any():
            raise ValueError(
                f"the prior of level {number} writes all levels together: codes that it goes on from need all of them, "
                f"and level {level} is not written where level {number} is"
            )
    if len(order.levels) > 1:
        raise ValueError(f"the prior of level {number} writes all levels: it needs no others")
    if order.settings(number).choice.repetition:
        raise ValueError(f"repetition has no effect on level {number}: it writes several codes a step")


def _check(order: Order) -> None:
    """Everything that would stop the work halfway is said before it begins."""
    codes, levels = order.codes, order.levels
    if len(order.seeds) != codes.batch or min(order.seeds, default=0) < 0:
        raise ValueError(
            f"{codes.batch} pieces need {codes.batch} seeds of 0 or more, got {list(order.seeds)}"
        )
    for number, (first, last) in order.spans.items():
        if number not in levels:
            raise ValueError(f"there is no prior of level {number} (there are: {sorted(levels)})")
        if not 0 <= first <= last <= codes.levels[number].shape[1]:
            raise ValueError(f"codes {first} … {last} of level {number} lie outside of the piece")
        _check_level(order, number)
    bins = {number: level.bins for number, level in levels.items()}
    for level in filter(is_delayed, levels.values()):  # it reads all levels
        bins = dict(enumerate(level.delays.sizes))  # type: ignore[attr-defined]
    checked(codes, bins)


def _check_level(order: Order, number: int) -> None:
    level, hops = order.levels[number], order.codes.hops
    upper = hops[number + 1] // hops[number] if number + 1 < len(hops) else 0
    if level.hop != hops[number] or level.ratio != upper:
        raise ValueError(
            f"the prior of level {number} has {level.hop} samples a code and {level.ratio} codes an upper code; "
            f"the codec has {hops[number]} and {upper}"
        )
    if is_delayed(level):
        _check_delayed(order, number)
    how, masked = order.settings(number), bool(getattr(level, "masked", False))
    if how.guidance != 1 and not hasattr(level, "coarser"):
        raise ValueError(f"the prior of level {number} knows no guidance: only the design modern does")
    if masked and how.choice.repetition:
        raise ValueError(f"repetition has no effect on level {number}: it is written in parallel")
    if how.parallel and not level.ratio:
        raise ValueError("only levels under a coarser one can be written in parallel windows")
    labels = order.labels.get(number, [])
    if level.labelled and number not in order.labels:
        raise ValueError(f"the prior of level {number} needs labels: how long the song is, and who plays")
    hears = level.labelled is not False or level.n_lyrics or getattr(level, "scored", False)
    if not hears and number in order.labels:
        raise ValueError(f"the prior of level {number} takes no labels")
    if number in order.labels and len(labels) != order.codes.batch:
        raise ValueError(f"{order.codes.batch} pieces need as many labels, level {number} has {len(labels)}")
    for label in labels:
        end = label.offset + order.codes.samples
        if label.offset < 0 or end >= label.total + hops[-1]:
            raise ValueError(
                f"the piece goes from {label.offset / order.rate:.2f} to {end / order.rate:.2f} s of a song that is "
                f"{label.total / order.rate:.2f} s long by its label"
            )
        if label.mix is not None and not hasattr(level, "blended"):
            raise ValueError(f"the prior of level {number} knows no blends of styles")
