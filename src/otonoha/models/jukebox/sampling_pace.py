"""How far a long request is, and how long it will still take. Torch-free."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from otonoha.models.jukebox.codes import Codes
from otonoha.sample.tasks import Progress


@dataclass(frozen=True)
class Going(Progress):
    """`done` codes of `total` are written, now on `level`; `left` seconds remain, None while nobody can tell.

    `codes`: what is written so far; its arrays go on growing.
    """

    level: int = 0
    left: float | None = None
    codes: Codes | None = None


class Pace:
    """Measures seconds a code, level by level; what an earlier call has written does not count."""

    def __init__(self, planned: Mapping[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.remaining, self.total = dict(planned), sum(planned.values())
        self.clock, self.last = clock, clock()
        self.spent: dict[int, tuple[float, int]] = {}

    def told(self, level: int, drawn: int, fresh: bool) -> Going:
        """Take note of codes that were just drawn on a level (`fresh`: computed now)."""
        now = self.clock()
        if fresh:
            seconds, many = self.spent.get(level, (0.0, 0))
            self.spent[level] = (seconds + now - self.last, many + drawn)
        self.last = now
        self.remaining[level] -= drawn
        return Going(self.total - sum(self.remaining.values()), self.total, level, self._left(level))

    def _left(self, level: int) -> float | None:
        """A level that has not begun is taken to be as quick as the present one."""
        if level not in self.spent:
            return None
        each = {number: seconds / many for number, (seconds, many) in self.spent.items()}
        return sum(many * each.get(number, each[level]) for number, many in self.remaining.items())
