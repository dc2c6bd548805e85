"""Rotary positions: queries and keys are turned by an angle that grows with their place (Su et al. 2021).

Axes: T positions, H heads, C head width. The first and the second half of a head are the two coordinates of C/2
planes, as in Llama and its ports. A score of a turned query and a turned key depends on their distance only.
"""

from __future__ import annotations

import torch
from torch import Tensor


def tables(positions: int, width: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin, each (positions, C), of the angles position · base^(−2i/C).

    Both halves of C are alike, but that the first half of sin is negative: then a turn is two products and a sum.
    """
    if width % 2:
        raise ValueError(f"rotary positions need heads of even width, got {width}")
    speed = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * speed
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], 1).float(), torch.cat([-sin, sin], 1).float()


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (…, C) turned; cos and sin, from `tables`, must broadcast to it."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
