"""Which codes of a window are hidden: in training, in the bound on likelihood, and while writing in parallel.

Chang et al. 2022 (MaskGIT) train with cos(π u / 2); Uria et al. 2014 (orderless NADE) bound the likelihood: with n of T
codes hidden, n even in 1 … T and the places at random,

    E_orders[−log p(z)] = T · E_n[ mean of −log p(z_t | all that is not hidden) over the n hidden places ]

is what writing one code at a time in a random order costs, so never less than the true −log p of the best order's
mixture. Writing in N steps costs more, since the codes of a step do not know each other: n is then one of the numbers
that the schedule passes through, as often as it then writes codes. Axes: B windows, T codes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor


def schedule(many: int, steps: int) -> list[int]:
    """How many of `many` codes each step writes: after step s of N, the share cos(π s / 2N) is still hidden.

    Steps that would write nothing are left out; the last writes all that is left.
    """
    if steps < 1:
        raise ValueError(f"writing takes at least 1 step, got {steps}")
    left = [math.floor(many * math.cos(math.pi / 2 * s / steps)) for s in range(steps)] + [0]
    return [a - b for a, b in pairwise(left) if a > b]


def counts(shares: Tensor, many: int, steps: int | None = None) -> Tensor:
    """Numbers (B,) within 0 … 1 -> how many of `many` codes are hidden, so that they bound as the head says.

    Without `steps` all of 1 … `many` are equally frequent; else see the head.
    """
    place = (shares * many).long().clamp(0, many - 1)
    if steps is None:
        return place + 1
    written = torch.tensor(schedule(many, steps), device=shares.device)
    before = many - torch.cumsum(written, 0) + written
    return before[torch.searchsorted(torch.cumsum(written, 0), place, right=True)]


def trained(shares: Tensor, many: int, masks: Literal["cosine", "uniform"]) -> Tensor:
    """Numbers (B,) within 0 … 1 -> how many codes are hidden in training."""
    share = torch.cos(math.pi / 2 * shares) if masks == "cosine" else shares
    return (share * many).ceil().long().clamp(1, many)


def hidden(numbers: Tensor, noise: Tensor) -> Tensor:
    """Bool (B, T): in row b the `numbers[b]` places with the least `noise` (B, T)."""
    return noise.argsort(1).argsort(1) < numbers[:, None]
