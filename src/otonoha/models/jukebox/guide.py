"""Guided attention: while a prior learns, one head is shown which word is sung at each code.

After Tachibana et al. 2018 (Efficiently Trainable Text-to-Speech, arXiv 1710.08969, 4.2). There attention far from the
diagonal is punished, since nobody knows when the text is said; here the times of words are known, and the diagonal is
theirs. Within a word nothing is known, so all its characters are as good. Axes: B windows, H heads, T codes of a
window, S characters that it sees.

    k[t, s]  = exp(−(d[t, s]² − min_s d²) / 2 g²)      d: seconds from code t to the word of character s, 0 within it
    loss[t]  = −log2 Σ_s w[t, s] k[t, s]               w: attention of the head

0 where the word that is sung has all attention. It costs nothing afterwards: attention itself is what it was.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SPREAD = 0.05
"""g, in seconds."""
LITTLE = 1e-6
"""Attention that counts as none."""


def place(config: Any) -> tuple[int, int]:
    """The layer and the head that are shown: the first head of the layer in the middle."""
    return config.layers // 2, 0


def nearness(sung: Tensor, codes: int, code: float, behind: int = 0) -> Tensor:
    """Seconds (B, S, 2) from the beginning of a window to the beginning and the end of each character's word, NaN
    where there is none; codes of `code` seconds -> k (B, T, S). Windows without any have zeros. `behind`: codes by
    which what is shown is late.
    """
    middles = (torch.arange(codes, device=sung.device)[:, None] + 0.5 - behind) * code
    begin, end = sung[:, None].float().unbind(-1)
    far = torch.maximum(begin - middles, middles - end).clamp(min=0) ** 2 / (2 * SPREAD**2)
    far = torch.where(far.isnan(), torch.inf, far)
    least = far.amin(-1, keepdim=True)
    return torch.where(least.isinf(), 0.0, torch.exp(least.nan_to_num(posinf=0.0) - far))


def guide_bits(weights: Tensor, sung: Tensor, code: float, behind: int = 0) -> Tensor:
    """Attention (B, T, S) of a head -> loss (B, T) in bits; 0 for windows without characters."""
    near = nearness(sung, weights.shape[1], code, behind)
    found = (weights.float() * near).sum(-1).clamp(min=LITTLE)
    return -found.log() / math.log(2) * near.any(-1)
