"""Attention over one's own past. Axes: B batch, H heads, T queries, S keys, C head width, D width.

`CausalAttention` is content attention with scaled dot products (Vaswani et al. 2017) whose scores also
learn from the distance between two positions (relative bias, Shaw et al. 2018; buckets as in T5, Raffel
et al. 2020). Two paths give the same numbers: whole sequences for training, and one step at a time with a
cache for sampling.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.nn.cache import KVCache


def distance_bucket(distance: Tensor, exact: int, buckets: int, longest: int) -> Tensor:
    """Bucket of a distance >= 0: 0 … exact - 1 keep their own, the rest share buckets in log steps."""
    log = torch.log(distance.clamp(min=1).float() / exact) / math.log(longest / exact)
    far = exact + (log * (buckets - exact)).long()
    return torch.where(distance < exact, distance, far.clamp(max=buckets - 1))


class CausalAttention(nn.Module):
    """Multi-head attention of each position over itself and its past, aware of distance.

    x (B, T, D) -> (B, T, D); with `weights=True` also the attention (B, H, T, S).
    """

    exact, buckets, longest = 32, 64, 512

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} must be divisible by heads {heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.distance = nn.Parameter(torch.zeros(heads, self.buckets))

    def bias(self, queries: int, keys: int) -> Tensor:
        """(H, T, S) score added for the distance; −inf where a key lies in the future of its query."""
        device = self.distance.device
        gap = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
        bucket = distance_bucket(gap.clamp(min=0), self.exact, self.buckets, self.longest)
        return self.distance[:, bucket].masked_fill(gap < 0, -math.inf)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, D) -> q, k, v, each (B, H, T, C)."""
        B, T, D = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(
        self, x: Tensor, cache: KVCache | None = None, weights: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Attend; positions of `cache` come before those of `x`. Returns (output, weights or empty)."""
        q, k, v = self.split(x)
        if cache is not None:
            k, v = cache.append(k, v)
        bias = self.bias(q.shape[2], k.shape[2])
        if weights:
            attention = self.scores(q, k, bias)
            y = attention @ v
        else:
            attention = x.new_empty(0)
            drop = self.dropout if self.training else 0.0
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None], dropout_p=drop)
        return self.out(y.transpose(1, 2).flatten(2)), attention

    @staticmethod
    def scores(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
        """The attention weights (B, H, T, S), written out."""
        return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)
