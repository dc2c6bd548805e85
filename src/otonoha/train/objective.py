"""An Objective: what to minimise, for which weights, how often. Families state them; the loop minimises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from otonoha.train.adam import PlainAdam
from otonoha.train.settings import Settings


@dataclass(frozen=True)
class Context:
    """What a loss may know of the training around it."""

    step: int
    steps: int
    device: torch.device
    generator: torch.Generator
    """Randomness of this update on this process (CPU); torch's own generator is seeded as well."""


Loss = Callable[[Any, Context], tuple[Tensor, dict[str, float | Tensor]]]


@dataclass(frozen=True)
class Objective:
    """One player of the training.

    `loss(batch, context)` returns the mean loss over the batch's own targets and figures to log. An
    objective acts at the steps where `active(step)` holds and `step % every == 0`.
    """

    name: str
    parameters: Iterable[nn.Parameter]
    loss: Loss
    every: int = 1
    active: Callable[[int], bool] = field(default=lambda step: True)
    lr: float | None = None
    """Overrides Settings.lr."""
    schedule: Callable[[int], float] | None = None
    """Learning rate at a step as a share of its peak; overrides that of Settings."""
    unit: str = ""
    """What stands behind its loss in the progress line, such as "a note"."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", [p for p in self.parameters if p.requires_grad])

    def rate(self, settings: Settings) -> float:
        """Its peak learning rate."""
        return settings.lr if self.lr is None else self.lr

    def lr_at(self, step: int, settings: Settings) -> float:
        """Its learning rate at `step` (from 0)."""
        share = lr_factor(step, settings) if self.schedule is None else self.schedule(step)
        return self.rate(settings) * share

    def due(self, step: int) -> bool:
        """Does it act at this step?"""
        return step % self.every == 0 and self.active(step)


def make_optimiser(objective: Objective, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser of an objective. Weight decay falls on matrices, not on biases and norms."""
    lr = objective.rate(settings)
    parameters = list(objective.parameters)
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, alpha=0.9, eps=1e-7)
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=lr, betas=settings.betas)
    if settings.optimiser == "jukebox":
        return PlainAdam(parameters, lr=lr, betas=settings.betas, weight_decay=settings.weight_decay)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=settings.betas)


def lr_factor(step: int, settings: Settings) -> float:
    """The learning rate at `step` (from 0) as a share of its peak."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "cosine":
        done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    if settings.schedule == "inverse-sqrt":
        return math.sqrt(max(1, settings.warmup) / (step + 1))
    return 1.0


def ema_decay(step: int, settings: Settings) -> float:
    """Decay of the averaged weights at `step` (from 0): they follow quickly at first, unless they should not."""
    return min(settings.ema, (step + 1) / (step + 10)) if settings.ema_quick else settings.ema
