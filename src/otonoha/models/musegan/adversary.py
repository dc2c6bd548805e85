"""Generator against critic: the three games, and the penalties that keep the critic smooth.

    wgan-gp   critic  E[D(fake)] - E[D(real)] + λ E[(‖∇D(x)‖ - 1)²], x between real and fake    Gulrajani et al. 2017
    r1        critic  E[softplus(D(fake))] + E[softplus(-D(real))] + γ/2 E‖∇D(real)‖²      Mescheder et al. 2018
    hinge     critic  E[max(0, 1 + D(fake))] + E[max(0, 1 - D(real))], with R1            Lim & Ye 2017
    generator: -E[D(fake)] (wgan-gp, hinge), E[softplus(-D(fake))] (r1)

Axes: B phrases; a norm is taken over all axes of a phrase, one norm for each.
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
    on_real, on_fake = critic(real), critic(fake)
    told = {"real": on_real.detach().mean(), "fake": on_fake.detach().mean()}
    if game == "wgan-gp":
        loss = on_fake.mean() - on_real.mean()
        extra = penalty * gradient_penalty(critic, real, fake)
        told["distance"] = -loss.detach()
    else:
        if game == "r1":
            loss = F.softplus(on_fake).mean() + F.softplus(-on_real).mean()
        else:
            loss = F.relu(1 + on_fake).mean() + F.relu(1 - on_real).mean()
        lazy = penalty / 2 * EVERY if step % EVERY == 0 else 0.0
        extra = lazy * r1(critic, real) if lazy else torch.zeros(())
    return loss + extra, {**told, "penalty": extra.detach()}


def generator_loss(game: Game, critic: Critic, fake: Tensor) -> Tensor:
    """What the generator minimises."""
    score = critic(fake)
    return F.softplus(-score).mean() if game == "r1" else -score.mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """E[(‖∇D(x)‖ - 1)²] at x = u real + (1 - u) fake, u uniform, one for each phrase."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    return ((_norms_squared(critic, torch.lerp(fake, real, share)) + 1e-12).sqrt() - 1).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """E‖∇D(real)‖²."""
    return _norms_squared(critic, real).mean()


def _norms_squared(critic: Critic, at: Tensor) -> Tensor:
    """(B,) squared norms of the critic's gradient; of critics that hear a track each (`apart`), (B, M)."""
    at = at.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return gradient.flatten(2 if getattr(critic, "apart", False) else 1).square().sum(-1)
