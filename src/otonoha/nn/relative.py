"""Scores that a query gives to distances, in O(T·C) memory (Huang et al. 2018, Music Transformer).

Axes: B batch, H heads, T queries (= keys), C head width. `table` (H, R, C) holds a learned vector for each distance
0 … R−1 into the past; all larger distances share the last.

    S[i, j] = q_i · table[i − j]        for j ≤ i; what stands at j > i means nothing

Shaw et al. 2018 gathered a (T, T, C) tensor for this; `skewed` gets along with the (T, T) of the scores themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def skewed(q: Tensor, table: Tensor) -> Tensor:
    """q (B, H, T, C) -> S (B, H, T, T): one product with all distances, then each row shifted into its place."""
    T, R = q.shape[2], table.shape[1]
    distance = torch.arange(T - 1, -1, -1, device=q.device).clamp(max=R - 1)
    by_distance = q @ table[:, distance].transpose(-1, -2)  # column r: distance T − 1 − r
    B, H = q.shape[:2]
    return F.pad(by_distance, (1, 0)).view(B, H, T + 1, T)[:, :, 1:]


def gathered(q: Tensor, table: Tensor) -> Tensor:
    """The slow twin: a vector for every pair of positions, O(T²·C) memory; 0 at j > i."""
    T, R = q.shape[2], table.shape[1]
    place = torch.arange(T, device=q.device)
    distance = place[:, None] - place
    vectors = table[:, distance.clamp(0, R - 1)]  # (H, T, T, C)
    return torch.einsum("bhic,hijc->bhij", q, vectors) * (distance >= 0)


def of_last(q: Tensor, table: Tensor, place: Tensor, keys: int) -> Tensor:
    """Scores of one query for each key slot: q (B, H, C), `place` (B,) -> (B, H, keys); 0 after `place`."""
    distance = place[:, None] - torch.arange(keys, device=q.device)  # (B, S)
    by_distance = torch.einsum("bhc,hrc->bhr", q, table)
    index = distance.clamp(0, table.shape[1] - 1)[:, None].expand(-1, q.shape[1], -1)
    return by_distance.gather(-1, index) * (distance >= 0)[:, None]
