"""One decoding step of a Llama as an ONNX graph with static keys and values (extra: onnx).

Axes: B rows, D width, H heads, K key/value heads, G queries of a key head, C head width, S slots, V vocabulary.

    inputs    token (B,), length (B,): the slots of each row that are filled; each context stream (B,);
              key.0 … (B, K, C, S) and value.0 … (B, K, S, C) of each layer, as the caller keeps them
    outputs   logits (B, V); new_key.0 … and new_value.0 … (B, K, C)

The caller writes the new keys and values of row b into slot length[b] and goes on. Keys are kept with the slots last,
so that a step transposes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from otonoha.nn import rope
from otonoha.nn.decoder import blocks, head, matrices
from otonoha.nn.llama import EPS, Llama

OPSET, IR = 18, 9


class Graph:
    """Nodes and constants of a graph being drawn; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(
        self,
        kind: str,
        *inputs: str | np.ndarray | Tensor,
        outputs: int | Sequence[str | None] = 1,
        **attributes: Any,
    ) -> Any:
        """Add a node; the name of its output, or a list of names: `outputs` counts them, or gives them names."""
        from onnx import helper

        wanted = [None] * outputs if isinstance(outputs, int) else outputs
        names = [f"{kind}.{len(self.nodes)}.{i}" if name is None else name for i, name in enumerate(wanted)]
        self.nodes.append(helper.make_node(kind, [self.value(x) for x in inputs], names, **attributes))
        return names[0] if outputs == 1 else names

    def value(self, x: str | np.ndarray | Tensor) -> str:
        """A name as it is; numbers become a constant."""
        from onnx import numpy_helper

        if isinstance(x, str):
            return x
        numbers = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
        self.constants.append(
            numpy_helper.from_array(np.array(numbers, order="C"), f"c{len(self.constants)}")
        )
        return self.constants[-1].name

    def call_it(self, name: str, value: str) -> None:
        """Give a value the name of an output."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))


def write_onnx(network: Llama, path: Path, slots: int) -> None:
    """Write the graph. ValueError for a network that is not rotary."""
    from onnx import checker, helper, save

    if network.shape.attention != "rope":
        raise ValueError("a network with attention='relative' cannot be exported")
    model = helper.make_model(
        _drawn(network, slots), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR
    )
    checker.check_model(model)
    save(model, str(path))


def _drawn(network: Llama, slots: int) -> Any:
    from onnx import helper

    g, shape = Graph(), network.shape
    x = g("Gather", network.model.embed_tokens.weight, "token")
    for name, _ in shape.contexts:
        x = g("Add", x, g("Gather", network.get_parameter(f"contexts.{name}.weight"), name))
    tables = rope.tables(slots, shape.head_width, shape.rope_base)
    cos, sin = (g("Unsqueeze", g("Gather", t, "length"), _ints(1)) for t in tables)  # (B, 1, C)
    filled = g("Less", np.arange(slots), g("Unsqueeze", "length", _ints(1)))  # (B, S)
    hidden = g("Where", filled, _float(0), _float(-1e30))
    mask = g("Unsqueeze", hidden, _ints(1, 2))  # (B, 1, 1, S)
    for layer, block in enumerate(blocks(network)):
        qkv, out, gate_up, down = matrices(block)
        y = _attention(g, network, layer, _product(g, _normed(g, x), qkv), (cos, sin, mask, _ints(slots, 1)))
        x = g("Add", x, _product(g, y, out))
        gate, up = g("Split", _product(g, _normed(g, x), gate_up), outputs=2, axis=1, num_outputs=2)
        inner = g("Mul", g("Mul", gate, g("Sigmoid", gate)), up)
        x = g("Add", x, _product(g, inner, down))
    g.call_it("logits", _product(g, _normed(g, x), head(network)))

    return helper.make_graph(g.nodes, "llama_step", *_ends(network, slots), g.constants)


def _ends(network: Llama, slots: int) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of the graph."""
    from onnx import TensorProto, helper

    shape = network.shape
    K, C = shape.kv_heads, shape.head_width
    integers = ["token", "length", *(name for name, _ in shape.contexts)]
    layers = range(shape.layers)
    f = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["rows"]) for n in integers]
    inputs += [helper.make_tensor_value_info(f"key.{i}", f, ["rows", K, C, slots]) for i in layers]
    inputs += [helper.make_tensor_value_info(f"value.{i}", f, ["rows", K, slots, C]) for i in layers]
    outputs = [helper.make_tensor_value_info("logits", f, ["rows", shape.vocab])]
    outputs += [
        helper.make_tensor_value_info(f"new_{n}.{i}", f, ["rows", K, C])
        for n in ("key", "value")
        for i in layers
    ]
    return inputs, outputs


def _attention(
    g: Graph, network: Llama, layer: int, qkv: str, common: tuple[str, str, str, np.ndarray]
) -> str:
    """(B, D) from q‖k‖v: the slots of the past, and the new position beside them."""
    shape, (cos, sin, mask, sizes) = network.shape, common
    H, K, C = shape.heads, shape.kv_heads, shape.head_width
    heads = g("Reshape", qkv, _ints(0, H + 2 * K, C))
    qk, v = g("Split", heads, _ints(H + K, K), outputs=2, axis=1)
    first, second = g("Split", qk, outputs=2, axis=2, num_outputs=2)
    swapped = g("Concat", second, first, axis=2)
    q, k = g("Split", g("Add", g("Mul", qk, cos), g("Mul", swapped, sin)), _ints(H, K), outputs=2, axis=1)
    g.call_it(f"new_key.{layer}", k)
    g.call_it(f"new_value.{layer}", v)
    q = g("Mul", g("Reshape", q, _ints(0, K, H // K, C)), _float(C**-0.5))
    past = g("Add", g("MatMul", q, f"key.{layer}"), mask)  # (B, K, G, S)
    own = g("MatMul", q, g("Unsqueeze", k, _ints(3)))  # (B, K, G, 1)
    share = g("Softmax", g("Concat", past, own, axis=3), axis=3)
    of_past, of_own = g("Split", share, sizes, outputs=2, axis=3)
    y = g("Add", g("MatMul", of_past, f"value.{layer}"), g("Mul", of_own, g("Unsqueeze", v, _ints(2))))
    return g("Reshape", y, _ints(0, H * C))


def _product(g: Graph, x: str, weight: Tensor) -> str:
    return g("MatMul", x, weight.t())


def _normed(g: Graph, x: str) -> str:
    """RMSNorm without its gain."""
    mean = g("ReduceMean", g("Mul", x, x), _ints(1), keepdims=1)
    return g("Div", x, g("Sqrt", g("Add", mean, _float(EPS))))


def _float(number: float) -> np.ndarray:
    return np.array(number, np.float32)


def _ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)
