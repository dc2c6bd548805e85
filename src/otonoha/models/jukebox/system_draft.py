"""Co-composition: a piece that grows by choosing among candidates for its next seconds, then gets its finer levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from otonoha.models.jukebox import system_write as write
from otonoha.models.jukebox.codes import Codes
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_modes import Draft, upsampled
from otonoha.models.jukebox.system_config import Said
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Done, Request, Take

FINER = ("parallel", "rows", "steps", "noise")
"""Controls that belong to the finer levels: candidates do not hear them, `finish` does."""
MISPLACED = ("seconds", "keep", "level", "from_level", "begin", "end", "hop")


class Composition:
    """A piece in the making. `turned`: controls that hold for all of it.

    >>> piece = system.composition(artist="ana")
    >>> takes = piece.candidates(4.0, n=3, seed=1)     # listen to them …
    >>> piece.choose(2)                                # … and take the third
    >>> take = piece.finish(seed=1)                    # with all finer levels
    """

    def __init__(self, system: Any, prompt: Any, turned: Mapping[str, Any]) -> None:
        self.system, self.turned = system, dict(turned)
        self.request = system._request(Compose, None, 0, None, self.turned)
        Said(self.request.controls, system.defaults).refuse(MISPLACED, "on a composition")
        self.draft = Draft(None if prompt is None else write._codes(system, prompt), system.config.hops)
        self.offered: Codes | None = None

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return self.draft.samples / self.system.config.rate

    def candidates(self, seconds: float, *, n: int = 3, seed: int = 0) -> list[Take]:
        """Ways to go on for so many seconds; each take is the whole piece with one of them at its end, as its coarsest
        level sounds.
        """
        system, top = self.system, self.system.config.levels[0]
        if n < 1 or not seconds > 0:
            raise ValueError(f"candidates need a number and a length above 0, got {n} of {seconds:g} s")
        new = max(1, round(seconds * system.config.rate))
        said, levels = self._said(without=FINER), {top: system.prior(top)}
        told = write.terms(system, said, levels, self.draft.samples + new, n)
        order = self.draft.candidates(
            levels,
            new,
            seeds=write.seeds_of(seed, n),
            labels=told["labels"],
            how=told["how"][top],
            rate=system.config.rate,
        )
        plan = write.Plan(order, 0 if write.whole(system) else top, 0, order.codes.samples)
        self.offered = _drained(plan)
        return write.takes_of(system, plan, self.offered, self._request(seed))

    def choose(self, number: int) -> Composition:
        """Take one of the candidates, counted from 0."""
        if self.offered is None:
            raise ValueError("there are no candidates to choose from: ask for some first")
        self.draft, self.offered = self.draft.taken(self.offered, number), None
        return self

    def undo(self) -> Composition:
        """Take the last choice back."""
        self.draft, self.offered = self.draft.undone(), None
        return self

    def finish(self, *, seed: int = 0, n: int = 1, job: Job | None = None) -> list[Take]:
        """The piece with its finer levels, `n` times."""
        system, codes = self.system, self.draft.codes
        if codes is None:
            raise ValueError("nothing is chosen yet, so there is nothing to finish")
        levels = {level: system.prior(level) for level in system.config.levels}
        finest = min(levels)
        lower = [level for level in levels if level < max(levels)]
        told = write.terms(system, self._said(), levels, codes.samples, n)
        if not lower:
            what = "all levels together" if write.whole(system) else "the coarsest level only"
            raise ValueError(f"this system writes {what}: its candidates are finished")
        order = upsampled(levels, codes.repeated(n), seeds=write.seeds_of(seed, n), only=lower, **told)
        plan = write.Plan(order, finest, 0, codes.samples)
        *_, last = write.events(system, plan, self._request(seed), job or Job())
        assert isinstance(last, Done)
        return last.takes

    def _said(self, without: Sequence[str] = ()) -> Said:
        return Said(replace(self.request.controls, **dict.fromkeys(without)), self.system.defaults)

    def _request(self, seed: int) -> Request:
        return replace(self.request, seed=seed)


def _drained(plan: write.Plan) -> Codes:
    walk = sample(plan.order)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value
