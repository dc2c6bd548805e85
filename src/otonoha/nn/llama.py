"""A decoder in the shape of Llama (Touvron et al. 2023): whole sequences, for training and for likelihoods.

Axes: B batch, T time, D width, H query heads, K key/value heads, C head width, V vocabulary.

    x_0 = E[token] + Σ contexts                    contexts: extra streams, an embedding each (none in Llama)
    y_l = x_l + attention(RMSNorm(x_l))            rotary positions, H/K queries share a key (Ainslie et al. 2023)
    x_l+1 = y_l + SwiGLU(RMSNorm(y_l))             (Shazeer 2020); no biases anywhere
    logits = RMSNorm(x_L) Eᵀ                       the input embedding again

Names and shapes of the parameters are those of Hugging Face's LlamaForCausalLM; context embeddings and, with
attention="relative" (Huang et al. 2018), the vectors of distances are additions of ours. The same weights also look
both ways, or where a mask says. Writing token by token: nn/decoder.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.nn import relative, rope
from otonoha.nn.static_cache import StaticCache

EPS = 1e-5
ADDED = "added"
"""A context that needs no table: vectors (…, D), added as they are wherever they are given."""


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """Everything that decides a Llama's parameters."""

    vocab: int
    """Tokens, among them whatever stands for a mask or a beginning."""
    width: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    """Heads of keys and values; each serves heads / kv_heads queries."""
    feedforward: int = 704
    """Inner width of the gated unit."""
    context: int = 1024
    """Positions it is meant to see at once: room of the cache, and of learned distances."""
    dropout: float = 0.0
    rope_base: float = 10_000.0
    attention: Literal["rope", "relative"] = "rope"
    """relative: learned vectors for distances instead of rotary positions; causal only."""
    contexts: tuple[tuple[str, int], ...] = ()
    """Name and size of each stream that is added to the token's embedding."""

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "layers", "heads", "kv_heads", "feedforward", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"width {self.width} must be divisible by heads {self.heads}, and heads by kv_heads {self.kv_heads}"
            )
        if self.head_width % 2:
            raise ValueError(f"width / heads must be even (rotary positions), got {self.head_width}")
        if self.attention not in ("rope", "relative"):
            raise ValueError(f"attention must be rope or relative, got {self.attention!r}")

    @property
    def head_width(self) -> int:
        """C."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """How many the network will have."""
        keys = self.kv_heads * self.head_width
        distances = self.heads * self.context * self.head_width if self.attention == "relative" else 0
        attention = 2 * self.width * (self.width + keys) + distances
        layer = attention + 3 * self.width * self.feedforward + 2 * self.width
        embeddings = self.vocab + sum(size for _, size in self.contexts)
        return self.layers * layer + (embeddings + 1) * self.width


class Attention(nn.Module):
    """x (B, T, D) -> (B, T, D)."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        D, keys = shape.width, shape.kv_heads * shape.head_width
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.kv_heads, shape.head_width
        self.q_proj = nn.Linear(D, D, bias=False)
        self.k_proj = nn.Linear(D, keys, bias=False)
        self.v_proj = nn.Linear(D, keys, bias=False)
        self.o_proj = nn.Linear(D, D, bias=False)
        self.distance: nn.Parameter | None = None
        if shape.attention == "relative":
            self.distance = nn.Parameter(torch.zeros(shape.heads, shape.context, shape.head_width))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, keep: StaticCache | None, layer: int
    ) -> Tensor:
        """`mask` (B, 1, T, T) bool, or None for causal; `keep` takes the keys and values of this layer."""
        B, T, D = x.shape
        q = self.q_proj(x).view(B, T, self.heads, self.head_width).transpose(1, 2)
        k = self.k_proj(x).view(B, T, self.kv_heads, self.head_width).transpose(1, 2)
        v = self.v_proj(x).view(B, T, self.kv_heads, self.head_width).transpose(1, 2)
        if self.distance is None:
            q, k = rope.turned(q, cos[:T], sin[:T]), rope.turned(k, cos[:T], sin[:T])
        if keep is not None:
            keep.fill(layer, k, v)
        if self.kv_heads < self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, 1)
            v = v.repeat_interleave(self.heads // self.kv_heads, 1)
        bias = mask
        if self.distance is not None:
            seen = torch.ones(T, T, dtype=torch.bool, device=x.device).tril() if mask is None else mask
            scores = relative.skewed(q, self.distance) / self.head_width**0.5
            bias = scores.masked_fill(~seen, -torch.inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=bias is None)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    """The gated unit: down(silu(gate(x)) · up(x))."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.feedforward, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.feedforward, bias=False)
        self.down_proj = nn.Linear(shape.feedforward, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=EPS)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=EPS)
        self.mlp = MLP(shape)
        self.drop = nn.Dropout(shape.dropout)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, keep: StaticCache | None, layer: int
    ) -> Tensor:
        """See Attention.forward."""
        x = x + self.drop(self.self_attn(self.input_layernorm(x), cos, sin, mask, keep, layer))
        return x + self.drop(self.mlp(self.post_attention_layernorm(x)))


class Body(nn.Module):
    """What Hugging Face calls `model`: embedding, layers, last norm."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.norm = nn.RMSNorm(shape.width, eps=EPS)


class Llama(nn.Module):
    """tokens (B, T) -> logits (B, T, V)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        self.contexts = nn.ModuleDict(
            {name: nn.Embedding(size, shape.width) for name, size in shape.contexts}
        )
        self.drop = nn.Dropout(shape.dropout)
        self._remember_angles(shape.context)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                quiet = (
                    (2 * shape.layers) ** 0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1
                )
                nn.init.normal_(p, std=0.02 / quiet)

    def _remember_angles(self, positions: int) -> None:
        with torch.inference_mode(False):  # whoever asks for more first, they can be trained with later
            cos, sin = rope.tables(positions, self.shape.head_width, self.shape.rope_base)
            like = self.model.norm.weight.detach()
            self.register_buffer("cos", cos.to(like), persistent=False)
            self.register_buffer("sin", sin.to(like), persistent=False)

    def forward(
        self,
        tokens: Tensor,
        contexts: Mapping[str, Tensor] | None = None,
        *,
        mask: Tensor | None = None,
        bidirectional: bool = False,
        lengths: Tensor | None = None,
        documents: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V); those at t are for what comes after token t, or for t itself where t is masked.

        contexts       name -> (B, T), every stream of the shape's contexts; ADDED -> (B, T, D), if anything
        mask           (T, T) or (B, T, T) bool: row t may look at the columns that are True, and at no others
        bidirectional  every position looks at every other
        lengths        (B,) tokens of each row that count; the rest is padding on the right
        documents      (B, T) int: positions look only at those with the same number (several pieces in one row)

        Causal unless `mask` or `bidirectional` is given; `lengths` and `documents` narrow any of the three.
        """
        if mask is not None and bidirectional:
            raise ValueError("give a mask or bidirectional, not both")
        if self.shape.attention == "relative" and (mask is not None or bidirectional):
            raise ValueError("attention='relative' knows distances into the past only: it is always causal")
        seen = _visible(tokens, mask, bidirectional, lengths, documents)
        return self.logits(self.hidden(tokens, contexts, seen))

    def hidden(
        self,
        tokens: Tensor,
        contexts: Mapping[str, Tensor] | None = None,
        seen: Tensor | None = None,
        keep: StaticCache | None = None,
    ) -> Tensor:
        """(B, T, D) behind the last norm. `seen` (B, 1, T, T) or None for causal; `keep` takes keys and values."""
        if tokens.shape[1] > self.cos.shape[0]:  # rotary positions have no end
            self._remember_angles(tokens.shape[1])
        x = self.drop(self.embed(tokens, contexts))
        for layer, block in enumerate(self.model.layers):
            x = block(x, self.cos, self.sin, seen, keep, layer)
        return self.model.norm(x)

    def embed(self, tokens: Tensor, contexts: Mapping[str, Tensor] | None = None) -> Tensor:
        """tokens (…) and contexts (…) -> (…, D)."""
        given = contexts or {}
        if missing := [name for name in self.contexts if name not in given]:
            raise ValueError(f"the context stream {missing[0]!r} is missing (the network was built with it)")
        x = F.embedding(tokens, self.model.embed_tokens.weight)
        for name in self.contexts:
            x = x + F.embedding(given[name], self.get_parameter(f"contexts.{name}.weight"))
        return x + given[ADDED] if ADDED in given else x

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, D) -> (…, V)."""
        return F.linear(hidden, self.model.embed_tokens.weight)


def _visible(
    tokens: Tensor, mask: Tensor | None, bidirectional: bool, lengths: Tensor | None, documents: Tensor | None
) -> Tensor | None:
    """(B, 1, T, T) bool: which position sees which; None means plainly causal."""
    B, T = tokens.shape
    if mask is None and not bidirectional and documents is None:
        return None  # padding on the right lies in everybody's future
    if mask is None:
        mask = torch.ones(T, T, dtype=torch.bool, device=tokens.device)
        mask = mask if bidirectional else mask.tril()
    if mask.dtype != torch.bool or mask.shape[-2:] != (T, T):
        raise ValueError(
            f"a mask is bool and (T, T) or (B, T, T), got {mask.dtype} {tuple(mask.shape)} for T = {T}"
        )
    seen = mask.expand(B, T, T)
    if documents is not None:
        seen = seen & (documents[:, :, None] == documents[:, None])
    if lengths is not None:
        seen = seen & (torch.arange(T, device=tokens.device) < lengths[:, None])[:, None]
    return seen[:, None]
