"""The learning rate of Jukebox (Dhariwal et al. 2020), as a function of the step: it begins at 0. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FromZero:
    """step -> share of the peak rate.

    min(1, step / warmup) · gamma^(step // every), or, where `linear` names a length, min(1, step / warmup) ·
    max(0, 1 - (step - start) / linear); times `scale`.
    """

    warmup: float
    gamma: float = 1.0
    every: int = 10**10
    linear: float | None = None
    start: int = 0
    scale: float = 1.0

    def __call__(self, step: int) -> float:
        """The share at `step` (from 0)."""
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        if self.linear is None:
            return self.scale * self.gamma ** (step // self.every) * rise
        return self.scale * rise * max(0.0, 1.0 - max(0, step - self.start) / self.linear)
