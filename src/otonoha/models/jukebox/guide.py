"""Guided attention: while a prior learns, one head is shown which character is sung at each code.

After Tachibana et al. 2018 (Efficiently Trainable Text-to-Speech, arXiv 1710.08969, 4.2). There attention far from the
diagonal is punished, since nobody knows when the text is said; here the times of words are known, and the diagonal is
theirs. Axes: B windows, H heads, T codes of a window, S characters that it sees.

    k[t, s]  = exp(−(d[t, s]² − min_s d²) / 2 g²)      d: seconds from code t to character s
    loss[t]  = −log2 Σ_s w[t, s] k[t, s]               w: attention of the head

0 where the nearest character has all attention. It costs nothing afterwards: attention itself is what it was.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SPREAD = 0.1
"""g, in seconds."""
LITTLE = 1e-6
"""Attention that counts as none."""


def place(config: Any) -> tuple[int, int]:
    """The layer and the head that are shown: the first head of the layer in the middle."""
    return config.layers // 2, 0


def nearness(sung: Tensor, codes: int, code: float, behind: int = 0) -> Tensor:
    """Seconds (B, S) from the beginning of a window to each character, NaN where there is none; codes of `code`
    seconds -> k (B, T, S). Windows without any have zeros. `behind`: codes by which what is shown is late.
    """
    middles = (torch.arange(codes, device=sung.device) + 0.5 - behind) * code
    far = (middles[:, None] - sung[:, None].float()) ** 2 / (2 * SPREAD**2)
    far = torch.where(far.isnan(), torch.inf, far)
    least = far.amin(-1, keepdim=True)
    return torch.where(least.isinf(), 0.0, torch.exp(least.nan_to_num(posinf=0.0) - far))


def guide_bits(weights: Tensor, sung: Tensor, code: float, behind: int = 0) -> Tensor:
    """Attention (B, T, S) of a head -> loss (B, T) in bits; 0 for windows without characters."""
    near = nearness(sung, weights.shape[1], code, behind)
    found = (weights.float() * near).sum(-1).clamp(min=LITTLE)
    return -found.log() / math.log(2) * near.any(-1)
