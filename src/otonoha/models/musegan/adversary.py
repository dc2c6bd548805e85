"""Generator against critic: the three games, and the penalties that keep the critic smooth.

    wgan-gp   critic  E[D(fake)] - E[D(real)] + λ E[(‖∇D(x)‖ - 1)²], x between real and fake    Gulrajani et al. 2017
    r1        critic  E[softplus(D(fake))] + E[softplus(-D(real))] + γ/2 E‖∇D(real)‖²      Mescheder et al. 2018
    hinge     critic  E[max(0, 1 + D(fake))] + E[max(0, 1 - D(real))], with R1            Lim & Ye 2017
    generator: -E[D(fake)] (wgan-gp, hinge), E[softplus(-D(fake))] (r1)

Critics that hear a track each (jamming) play a game each, and their losses are added up.
Axes: B phrases, G critics; a norm is taken over all axes of what a critic hears of a phrase.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Game = Literal["wgan-gp", "r1", "hinge"]
Critic = Callable[[Tensor], Tensor]
EVERY = 8
"""R1 acts at every eighth update, eightfold (Karras et al. 2020)."""


def critic_loss(
    game: Game, critic: Critic, real: Tensor, fake: Tensor, *, penalty: float, step: int
) -> tuple[Tensor, dict[str, Any]]:
    """What the critic minimises, and figures to log."""
    on_real, on_fake = scores(critic, real), scores(critic, fake)
    told = {"real": on_real.detach().sum(1).mean(), "fake": on_fake.detach().sum(1).mean()}
    if game == "wgan-gp":
        each = on_fake - on_real
        extra = penalty * gradient_penalty(critic, real, fake)
        told["distance"] = told["real"] - told["fake"]
    else:
        if game == "r1":
            each = F.softplus(on_fake) + F.softplus(-on_real)
        else:
            each = F.relu(1 + on_fake) + F.relu(1 - on_real)
        lazy = penalty / 2 * EVERY if step % EVERY == 0 else 0.0
        extra = lazy * r1(critic, real) if lazy else torch.zeros(())
    return each.sum(1).mean() + extra, {**told, "penalty": extra.detach()}


def scores(critic: Critic, x: Tensor) -> Tensor:
    """(B, G) of every critic."""
    return critic.each(x) if getattr(critic, "apart", False) else critic(x)[:, None]  # type: ignore[attr-defined]


def generator_loss(game: Game, critic: Critic, fake: Tensor) -> Tensor:
    """What the generator minimises."""
    score = scores(critic, fake)
    each = F.softplus(-score) if game == "r1" else -score
    return each.sum(1).mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """E[(‖∇D(x)‖ - 1)²] at x = u real + (1 - u) fake, u uniform, one for each phrase."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    norms = (_norms_squared(critic, torch.lerp(fake, real, share)) + 1e-12).sqrt()
    return (norms - 1).square().sum(1).mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """E‖∇D(real)‖²."""
    return _norms_squared(critic, real).sum(1).mean()


def _norms_squared(critic: Critic, at: Tensor) -> Tensor:
    """(B, G) squared norms of the critics' gradients."""
    at = at.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores(critic, at).sum(), at, create_graph=True)
    if getattr(critic, "apart", False):
        return gradient[:, critic.judged].flatten(2).square().sum(2)  # type: ignore[attr-defined]
    return gradient.flatten(1).square().sum(1, keepdim=True)
