"""The onnx engine: steps of a Llama by ONNX Runtime, weights in one byte (extra: onnx, onnxruntime; CPU).

Axes: B rows, D width, K key/value heads, C head width, S slots, O outputs, I inputs, V vocabulary.

The graph of nn/llama_onnx.py is for everybody; this one is for speed and uses Microsoft's own operators: attention
that writes into the cache where it lies (GroupQueryAttention), norms that add, products with BLOCK weights to a scale
(MatMulNBits). Cache, tokens and logits are bound once and never copied. Prefill is torch's, exact, into the same cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.nn import rope
from otonoha.nn.decoder import Decoder, blocks, empty_cache, head, matrices, not_plain, trouble_with
from otonoha.nn.llama import EPS, Llama
from otonoha.nn.llama_onnx import IR, OPSET, Graph
from otonoha.nn.static_cache import StaticCache

MICROSOFT = "com.microsoft"
BLOCK = 128


@dataclass
class OnnxCache(StaticCache):
    """A cache that is bound to the session, and the small tensors that change from step to step."""

    binding: Any = None
    bound: dict[str, Tensor] = field(default_factory=dict)


class OnnxDecoder(Decoder):
    """See nn.decoder.Decoder."""

    def __init__(self, network: Llama, *, slots: int | None = None) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        self.network, self.slots = network, slots or network.shape.context
        options = SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3
        self.session = InferenceSession(
            _model(network, self.slots).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def start(self, rows: int) -> OnnxCache:
        """The memory of `rows` pieces, with nothing in it."""
        plain, shape = empty_cache(self.network, rows, self.slots), self.network.shape
        bound = {
            "x": torch.zeros(rows, 1, shape.width),
            "last": torch.zeros(rows, dtype=torch.int32),
            "longest": torch.zeros((), dtype=torch.int32),
            "logits": torch.zeros(rows, 1, shape.vocab),
        }
        binding = self.session.io_binding()
        for name in ("x", "last", "longest"):
            binding.bind_ortvalue_input(name, _shared(bound[name]))
        binding.bind_ortvalue_output("logits", _shared(bound["logits"]))
        for name, layers in (("key", plain.keys), ("value", plain.values)):
            for i, layer in enumerate(layers):
                binding.bind_ortvalue_input(f"{name}.{i}", _shared(layer))
                binding.bind_ortvalue_output(f"new_{name}.{i}", _shared(layer))
        return OnnxCache(plain.keys, plain.values, plain.length, binding=binding, bound=bound)

    @torch.no_grad()
    def step(
        self, cache: StaticCache, tokens: Tensor, contexts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Take in one token (B,) per row; logits (B, V) of the next."""
        assert isinstance(cache, OnnxCache)
        cache.check(tokens)
        cache.bound["x"][:, 0] = self.network.embed(tokens, contexts)
        cache.bound["last"].copy_(cache.length)  # a row's places are counted without the one it gets now
        cache.bound["longest"].fill_(cache.longest + 1)
        self.session.run_with_iobinding(cache.binding)
        cache.advance()
        return cache.bound["logits"][:, 0].clone()


def why_not(network: Llama) -> str | None:
    """What keeps this network from ONNX Runtime, or None."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"{error}: pip install 'otonoha[export]'"
    shape = network.shape
    if shape.attention != "rope" or shape.head_width % 16:
        return "it knows rotary positions in heads of a multiple of 16 in width only"
    return not_plain(network) or _trouble()


@cache
def _trouble() -> str | None:
    return trouble_with(OnnxDecoder)


def _shared(tensor: Tensor) -> Any:
    """The tensor for ONNX Runtime, the same memory."""
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy(tensor.detach().numpy())


def _model(network: Llama, slots: int) -> Any:
    from onnx import TensorProto, helper

    g, shape = Graph(), network.shape
    C, K, V = shape.head_width, shape.kv_heads, shape.vocab
    cos, sin = rope.tables(slots, C, shape.rope_base)
    turns = g.value(cos[:, C // 2 :]), g.value(sin[:, C // 2 :])
    ones = g.value(np.ones(shape.width, np.float32))
    x = "x"
    y = g("SimplifiedLayerNormalization", x, ones, epsilon=EPS, axis=-1, stash_type=1)
    for layer, block in enumerate(blocks(network)):
        qkv, out, gate_up, down = matrices(block)
        past = f"key.{layer}", f"value.{layer}"
        heads = _product(g, y, qkv)
        seen, *_ = g(
            *("GroupQueryAttention", heads, "", "", *past, "last", "longest", *turns),
            outputs=[None, *(f"new_{name}" for name in past)],
            domain=MICROSOFT,
            num_heads=shape.heads,
            kv_num_heads=K,
            do_rotary=1,
        )
        y, x = _added(g, x, _product(g, seen, out), ones)
        gate, up = (_product(g, y, part) for part in gate_up.chunk(2))
        inner = g("Mul", g("QuickGelu", gate, domain=MICROSOFT, alpha=1.0), up)
        y, x = _added(g, x, _product(g, inner, down), ones)
    _product(g, y, head(network), "logits")

    number, many = TensorProto.FLOAT, TensorProto.INT32
    info = helper.make_tensor_value_info
    kept = [f"{name}.{layer}" for name in ("key", "value") for layer in range(shape.layers)]
    inputs = [info("x", number, ["B", 1, shape.width]), info("last", many, ["B"]), info("longest", many, [])]
    inputs += [info(name, number, ["B", K, slots, C]) for name in kept]
    outputs = [info("logits", number, ["B", 1, V])]
    outputs += [info(f"new_{name}", number, ["B", K, slots, C]) for name in kept]
    graph = helper.make_graph(g.nodes, "llama_step", inputs, outputs, g.constants)
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=IR)


def _added(g: Graph, x: str, y: str, ones: str) -> tuple[str, str]:
    """RMSNorm(x + y) and x + y."""
    normed, _, _, together = g(
        *("SkipSimplifiedLayerNormalization", x, y, ones),
        outputs=[None, "", "", None],
        domain=MICROSOFT,
        epsilon=EPS,
    )
    return normed, together


def _product(g: Graph, x: str, weight: Tensor, name: str | None = None) -> str:
    """x Wᵀ with W (O, I) in bytes: (O, blocks, BLOCK) as q + 128, and a scale for each block."""
    O, I = weight.shape  # noqa: E741
    w = F.pad(weight.detach().float(), (0, -I % BLOCK)).view(O, -1, BLOCK)
    scales = w.abs().amax(-1) / 127
    q = (w / scales.clamp(min=1e-30)[..., None]).round() + 128
    (y,) = g(
        *("MatMulNBits", x, q.to(torch.uint8), scales.flatten()),
        outputs=[name],
        domain=MICROSOFT,
        K=I,
        N=O,
        bits=8,
        block_size=BLOCK,
        accuracy_level=4,
    )
    return y
