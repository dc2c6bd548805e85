"""Writing token by token with a Llama: prefill in one pass, then steps over a static cache.

Axes: B rows, T time, D width, H heads, K key/value heads, C head width, S slots, V vocabulary.

A decoder takes the network's weights as they are when it is made, in the layout that is fastest for single steps:
queries, keys and values in one product, gate and up in one. nn/engines.py chooses among the decoders there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.nn import relative, rope
from otonoha.nn.int8 import Float, Int8
from otonoha.nn.llama import EPS, MLP, Attention, Block, Llama, LlamaShape
from otonoha.nn.static_cache import StaticCache

Contexts = Mapping[str, Tensor]


class Decoder(Protocol):
    """A network that writes."""

    network: Llama

    def start(self, rows: int) -> StaticCache:
        """The memory of `rows` pieces, with nothing in it."""

    def prefill(
        self,
        cache: StaticCache,
        tokens: Tensor,
        contexts: Contexts | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        """Take in tokens (B, T), of which `lengths` (B,) count, in one pass. Replaces what the cache held."""
        if len(tokens) != len(cache.length):
            raise ValueError(f"{len(tokens)} prompts for a cache of {len(cache.length)} rows")
        if tokens.shape[1] > cache.slots:
            raise ValueError(f"{tokens.shape[1]} tokens do not fit into a cache of {cache.slots}")
        self.network.hidden(tokens, contexts, keep=cache)
        cache.filled(tokens.shape[1], lengths)

    def step(self, cache: StaticCache, tokens: Tensor, contexts: Contexts | None = None) -> Tensor:
        """Take in one token (B,) per row; logits (B, V) of the next."""


class TorchDecoder(Decoder):
    """Steps in torch, on any device; in float it is the exact one.

    `compiled` goes through torch.compile, on a GPU with CUDA graphs: faster there, after a minute of warming up.
    """

    def __init__(
        self, network: Llama, *, int8: bool = False, slots: int | None = None, compiled: bool = False
    ) -> None:
        self.network, self.slots = network, slots or network.shape.context
        make = Int8 if int8 else Float
        self.layers = [_Layer(block, make) for block in blocks(network)]
        self.head = make(head(network))
        like, shape = network.model.norm.weight.detach(), network.shape
        self.cos, self.sin = (t.to(like) for t in rope.tables(self.slots, shape.head_width, shape.rope_base))
        self.compiled = compiled
        self._through = torch.compile(self._layers, mode="reduce-overhead") if compiled else self._layers

    def start(self, rows: int) -> StaticCache:
        """The memory of `rows` pieces, with nothing in it."""
        cache = empty_cache(self.network, rows, self.slots)
        if self.compiled:  # a graph may write where an address never changes
            for tensor in (cache.keys, cache.values, cache.length):
                torch._dynamo.mark_static_address(tensor)
        return cache

    def step(self, cache: StaticCache, tokens: Tensor, contexts: Contexts | None = None) -> Tensor:
        """Take in one token (B,) per row; logits (B, V) of the next."""
        cache.check(tokens)
        x = self.network.embed(tokens, contexts)
        even = None if self.compiled else cache.even  # a graph has one shape: all slots, through a mask
        logits = self._through(x, cache, even)
        cache.advance()
        return logits.clone() if self.compiled else logits

    def _layers(self, x: Tensor, cache: StaticCache, even: int | None) -> Tensor:
        place = cache.length if even is None else even
        cos, sin = self.cos[place], self.sin[place]
        if even is None:
            cos, sin = cos[:, None], sin[:, None]  # (B, 1, C): rows stand at different places
        for number, layer in enumerate(self.layers):
            x = layer(x, (cos, sin), cache, number, even)
        return self.head(_normed(x))


class _Layer:
    """One layer for one position: x (B, D) -> (B, D)."""

    def __init__(self, block: Block, make: type[Float] | type[Int8]) -> None:
        self.qkv, self.out, self.gate_up, self.down = (make(matrix) for matrix in matrices(block))
        a = block.self_attn
        assert isinstance(a, Attention)
        self.heads, self.kv_heads, self.width = a.heads, a.kv_heads, a.head_width
        self.distance = None if a.distance is None else a.distance.detach()

    def __call__(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: StaticCache, number: int, even: int | None
    ) -> Tensor:
        heads = self.qkv(_normed(x)).view(len(x), -1, self.width)
        qk, v = heads[:, : -self.kv_heads], heads[:, -self.kv_heads :]
        if self.distance is None:
            qk = rope.turned(qk, *angles)
        q, k = qk[:, : self.heads], qk[:, self.heads :]
        keys, values, counts = cache.put(number, k, v, even)
        y = self._attend(q, keys, values, counts, cache.length)
        x = x + self.out(y.reshape(x.shape))
        gate, up = self.gate_up(_normed(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

    def _attend(
        self, q: Tensor, keys: Tensor, values: Tensor, counts: Tensor | None, place: Tensor
    ) -> Tensor:
        """(B, H, C): the queries of a key head are treated as its positions, so that no key is copied."""
        B, group = len(q), self.heads // self.kv_heads
        mask = None if counts is None else counts[:, None, None]
        if self.distance is not None:
            score = relative.of_last(q, self.distance, place, keys.shape[2]) / self.width**0.5
            score = score.view(B, self.kv_heads, group, -1)
            mask = score if mask is None else score.masked_fill(~mask, -torch.inf)
        q = q.view(B, self.kv_heads, group, self.width)
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)


def empty_cache(network: Llama, rows: int, slots: int) -> StaticCache:
    """Room for `rows` pieces of up to `slots` positions."""
    shape, like = network.shape, network.model.norm.weight.detach()
    return StaticCache.empty(shape.layers, rows, shape.kv_heads, slots, shape.head_width, like)


def blocks(network: Llama) -> list[Block]:
    """The layers."""
    return [block for block in network.model.layers if isinstance(block, Block)]


def matrices(block: Block) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights (O, I) of a layer as they are used together: q‖k‖v, out, gate‖up, down.

    The gains of the norms are multiplied into the matrices behind them, so a step's norms have none.
    """
    a, mlp = block.self_attn, block.mlp
    assert isinstance(a, Attention)
    assert isinstance(mlp, MLP)
    qkv = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight]) * block.input_layernorm.weight
    gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * block.post_attention_layernorm.weight
    return qkv.detach(), a.o_proj.weight.detach(), gate_up.detach(), mlp.down_proj.weight.detach()


def head(network: Llama) -> Tensor:
    """(V, D): the embedding as it scores, with the last norm's gain."""
    return (network.model.embed_tokens.weight * network.model.norm.weight).detach()


def _normed(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], None, EPS)


def not_plain(network: Llama) -> str | None:
    """What keeps a network from the engines that read its weights as floats in main memory, or None."""
    weight = network.model.norm.weight
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        return None
    return f"it needs float32 weights on the CPU, these are {weight.dtype} on {weight.device.type}"


def trouble_with(make: Callable[[Llama], Decoder]) -> str | None:
    """What is wrong with a kind of decoder on this machine: it fails, or answers otherwise than torch; or None."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(0)
        shape = LlamaShape(vocab=33, width=192, layers=1, heads=6, kv_heads=3, feedforward=40, context=4)
        network = Llama(shape)
        try:
            decoders = TorchDecoder(network), make(network)
            caches = [decoder.start(2) for decoder in decoders]
            for token in range(3):
                tokens = torch.tensor([token, 32 - token])
                exact, other = (d.step(cache, tokens) for d, cache in zip(decoders, caches))
        except Exception as error:  # whatever a library of another version may raise
            return f"it fails here ({error})"
    close = torch.allclose(exact, other, atol=0.05 * float(exact.abs().max()))
    return None if close else "it does not compute what it should on this machine"
