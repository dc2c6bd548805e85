"""Adam as Jukebox was trained with (Dhariwal et al. 2020): epsilon stays outside of the bias correction.

    m ← β1 m + (1-β1) g        v ← β2 v + (1-β2) g²
    p ← p - lr √(1-β2^t) / (1-β1^t) · (m / (√v + ε) + decay · p)

While v is small, at the beginning, steps are smaller than those of `torch.optim.Adam`, whose ε is divided by √(1-β2^t);
the decay of the weights is multiplied by the same correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class PlainAdam(torch.optim.Optimizer):
    """The rule above."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        found = None if closure is None else closure()
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                self._update(p, self._state(p), group)
        return found

    def _state(self, p: Tensor) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state |= {"step": torch.zeros(()), "first": torch.zeros_like(p), "second": torch.zeros_like(p)}
        return state

    def _update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        one, two = group["betas"]
        state["step"] += 1
        t = float(state["step"])
        state["first"].lerp_(p.grad, 1 - one)
        state["second"].mul_(two).addcmul_(p.grad, p.grad, value=1 - two)
        size = group["lr"] * math.sqrt(1 - two**t) / (1 - one**t)
        p.add_(p, alpha=-size * group["weight_decay"])
        p.addcdiv_(state["first"], state["second"].sqrt().add_(group["eps"]), value=-size)
