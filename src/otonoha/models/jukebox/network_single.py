"""Single steps of a prior in torch: what network.py does for many positions, for one, without what modules cost.

Axes: B rows, W width, E inner width (H heads of C), V vocabulary. A step is a few dozen products of single rows, and
Python around them takes as long as they do. So all weights are looked up once, and a layer is ten calls. Exact, on any
device and in any precision; network_native.py is the same in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from otonoha.models.jukebox.network import Autoregressive, Layer
from otonoha.nn.factorised_memory import Memory


class Single(Protocol):
    """What carries out single steps."""

    def hidden(self, x: Tensor, memories: Sequence[Memory], at: int) -> Tensor:
        """What goes into the layers at position `at` (B, W) -> what comes out of them (B, W)."""

    def scores(self, hidden: Tensor) -> Tensor:
        """(B, W), to which the conditioning has been added where it is, -> logits (B, V)."""


class _Weights(NamedTuple):
    """Those of a layer."""

    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    fc: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]
    before: tuple[Tensor, Tensor]
    between: tuple[Tensor, Tensor]


class TorchPrior:
    """See Single."""

    def __init__(self, prior: Autoregressive) -> None:
        own = prior.transformer.layers
        self.output = prior.x_out.weight if prior.merged else prior.x_emb.weight
        self.layers = [_weights(layer) for layer in own]
        self.heads, self.share = own[0].attn.heads, own[0].share
        self.eps = own[0].ln_0.eps

    def hidden(self, x: Tensor, memories: Sequence[Memory], at: int) -> Tensor:
        """As the protocol says."""
        B, H = len(x), self.heads
        for weights, memory in zip(self.layers, memories, strict=True):
            (w, b), (gain, shift) = weights.qkv, weights.before
            qkv = torch.addmm(b, self.normed(x, gain, shift), w)
            E = weights.out[0].shape[0]
            parts = qkv.view(B, -1, H, 1, E // H).transpose(
                0, 1
            )  # q, k, v: (B, H, 1, C) each; of cross layers q
            y = memory.within(at, parts[0], parts[1:])
            a = torch.addmm(weights.out[1], y.reshape(B, E), weights.out[0])
            between = x + a
            u = torch.addmm(weights.fc[1], self.normed(between, *weights.between), weights.fc[0])
            m = torch.addmm(weights.proj[1], u * torch.sigmoid(1.702 * u), weights.proj[0])
            x = between + m if self.share == 1.0 else x + self.share * (a + m)
        return x

    def scores(self, hidden: Tensor) -> Tensor:
        """As the protocol says."""
        return hidden @ self.output.t()

    def normed(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """LayerNorm; in single precision at least, as its kernels do it anyway."""
        return torch.layer_norm(x, (x.shape[-1],), gain, shift, self.eps)


def _weights(layer: Layer) -> _Weights:
    attn, mlp, norms = layer.attn, layer.mlp, (layer.ln_0, layer.ln_1)
    pairs = [(part.w, part.b) for part in (attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj)]
    return _Weights(*pairs, *((norm.weight, norm.bias) for norm in norms))
