"""Which decoder writes: engines that answer alike, benchmarks/decode_speed.py measures them.

float      torch, exact: equals the network over whole sequences, on any device
compiled   the same through torch.compile: for GPUs
int8       torch, weights in one byte (nn/int8.py)
onnx       ONNX Runtime, weights in one byte (nn/llama_ort.py); an extra
native     a small C kernel, weights in one byte (nn/native.py); needs a C compiler on the machine
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from otonoha.nn import llama_ort, native
from otonoha.nn.decoder import Decoder, TorchDecoder
from otonoha.nn.int8 import int8_works
from otonoha.nn.llama import Llama

Engine = Literal["auto", "float", "compiled", "int8", "onnx", "native"]
ELSEWHERE: dict[str, tuple[Callable[..., Decoder], Callable[[Llama], str | None]]] = {
    "native": (native.NativeDecoder, native.why_not),
    "onnx": (llama_ort.OnnxDecoder, llama_ort.why_not),
}
"""Engines that are not torch's, and what keeps a network from them."""


def decoder_for(network: Llama, engine: Engine = "auto", *, slots: int | None = None) -> Decoder:
    """The decoder asked for; "auto" is native where that can be had, else float. `slots` defaults to the context.

    int8 and onnx round the values of a whole batch together, so a piece depends a little on those beside it: they
    are for whoever asks. ValueError for an engine that this machine or network cannot run.
    """
    if engine not in ("auto", "float", "compiled", "int8", *ELSEWHERE):
        raise ValueError(f"engine must be auto, float, compiled, int8, onnx or native, got {engine!r}")
    if engine == "auto":
        engine = "float" if ELSEWHERE["native"][1](network) else "native"
    if engine in ELSEWHERE:
        make, why_not = ELSEWHERE[engine]
        if hindrance := why_not(network):
            raise ValueError(f"the {engine} engine cannot be used: {hindrance}")
        return make(network, slots=slots)
    if engine == "int8" and not (network.model.norm.weight.device.type == "cpu" and int8_works()):
        raise ValueError("the int8 engine needs a CPU that torch has quantised kernels for; use float")
    return TorchDecoder(network, slots=slots, int8=engine == "int8", compiled=engine == "compiled")
