"""Steps of a prior in C (network_native.c), weights in half precision, for CPUs with a C compiler.

Axes: B rows, W width, O outputs, I inputs of a matrix, V vocabulary. Prompts are read by the network itself, exactly;
both share the memories (nn/factorised_memory.py). What is written differs from the exact engine by the rounding of the
weights to two bytes, which is how the original samples too; docs/jukebox.md says how much.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.models.jukebox.config import Layers
from otonoha.models.jukebox.network import Autoregressive, Layer
from otonoha.nn.compiled import NotCompiledError, library
from otonoha.nn.factorised_memory import Memory, Span

SOURCE = Path(__file__).with_name("network_native.c")
TILE = 32  # as in the C file


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Matrix) for name in ("qkv", "out", "fc", "proj")),
        ("gain", ctypes.c_void_p * 2),
        ("shift", ctypes.c_void_p * 2),
        ("span", ctypes.c_int64),
    )


class _Span(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("write", "read", "keys", "pitch", "values"))


class _Model(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("layers", "heads", "head_width", "width", "hidden", "most_keys")
        ),
        ("share", ctypes.c_float),
        ("layer", ctypes.POINTER(_Layer)),
    )


class NativePrior:
    """The layers and the output of a prior, as they are when this is made."""

    def __init__(self, prior: Autoregressive, layers: Layers) -> None:
        if hindrance := why_not(prior):
            raise ValueError(f"the native engine cannot be used: {hindrance}")
        self.library, self.kept, self.width = (
            _library(),
            list[Tensor](),
            layers.width,
        )  # C holds only addresses
        own = prior.transformer.layers
        folds = [layer.attn.fold for layer in own]
        self.kinds = [folds.index(fold) for fold in dict.fromkeys(folds)]
        """For each kind of layer one that is of it."""
        kinds = list(dict.fromkeys(folds))
        self.layers = (_Layer * len(own))(*(self._layer(x, kinds.index(x.attn.fold)) for x in own))
        output = prior.x_out.weight if prior.merged else prior.x_emb.weight
        self.vocab, self.head = len(output), self._matrix(output.t(), None)
        self.model = _Model(
            *(len(own), layers.heads, layers.inner // layers.heads, layers.width, layers.hidden_width),
            *(0, own[0].share, self.layers),
        )

    def _layer(self, layer: Layer, kind: int) -> _Layer:
        attn, mlp, norms = layer.attn, layer.mlp, (layer.ln_0, layer.ln_1)
        parts = (attn.c_attn, attn.c_proj, mlp.c_fc, mlp.c_proj)
        matrices = [self._matrix(part.w, part.b) for part in parts]
        gains, shifts = ([self._keep(getattr(n, name)) for n in norms] for name in ("weight", "bias"))
        return _Layer(*matrices, (ctypes.c_void_p * 2)(*gains), (ctypes.c_void_p * 2)(*shifts), kind)

    def _matrix(self, w: Tensor, b: Tensor | None) -> _Matrix:
        """w (I, O), b (O,)."""
        short = -w.shape[1] % TILE
        weights = F.pad(w.detach(), (0, short)).half().unflatten(1, (-1, TILE)).transpose(0, 1).contiguous()
        bias = torch.zeros(w.shape[1] + short) if b is None else F.pad(b.detach(), (0, short))
        return _Matrix(self._keep(weights), self._keep(bias), w.shape[1] + short, w.shape[0])

    def _keep(self, tensor: Tensor) -> int:
        self.kept.append(tensor.detach().contiguous())
        return self.kept[-1].data_ptr()

    def hidden(self, x: Tensor, memories: Sequence[Memory], at: int) -> Tensor:
        """What goes into the layers at position `at` (B, W) -> what comes out of them (B, W)."""
        y = x.to(torch.float32, copy=True).contiguous()
        spans = (_Span * len(self.kinds))(*(_span(memories[layer].span(at)) for layer in self.kinds))
        self.model.most_keys = max(span.keys for span in spans)
        kv = (ctypes.c_void_p * len(memories))(*(memory.kv.data_ptr() for memory in memories))
        scratch = torch.empty(self.library.prior_scratch(ctypes.byref(self.model), len(y)))
        self.library.prior_step(ctypes.byref(self.model), len(y), spans, kv, y.data_ptr(), scratch.data_ptr())
        return y

    def scores(self, hidden: Tensor) -> Tensor:
        """(B, W), to which the conditioning has been added where it is, -> logits (B, V)."""
        x, y = hidden.contiguous(), torch.empty(len(hidden), self.head.outputs)
        self.library.prior_scores(ctypes.byref(self.head), len(x), x.data_ptr(), y.data_ptr())
        return y[:, : self.vocab]


def _span(span: Span) -> _Span:
    return _Span(span.write, span.read, span.keys, span.pitch, span.values)


def why_not(prior: Autoregressive) -> str | None:
    """What keeps a prior from this engine, or None."""
    weights = list(prior.parameters())
    if any(w.device.type != "cpu" or w.dtype != torch.float32 for w in weights):
        return (
            f"it needs float32 weights on the CPU, these are {weights[0].dtype} on {weights[0].device.type}"
        )
    if any(bool(w.abs().amax() > torch.finfo(torch.float16).max) for w in weights):
        return "some weights are too large for two bytes"
    return _trouble()


def _library() -> ctypes.CDLL:
    """The compiled C file with the types of its functions."""
    found = library(SOURCE)
    if isinstance(found, NotCompiledError):
        raise found
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    found.prior_scratch.restype, found.prior_scratch.argtypes = whole, (ctypes.POINTER(_Model), whole)
    found.prior_step.restype = found.prior_scores.restype = None
    spans, memories = ctypes.POINTER(_Span), ctypes.POINTER(pointer)
    found.prior_step.argtypes = (ctypes.POINTER(_Model), whole, spans, memories, pointer, pointer)
    found.prior_scores.argtypes = (ctypes.POINTER(_Matrix), whole, pointer, pointer)
    return found


@cache
def _trouble() -> str | None:
    found = library(SOURCE)
    return str(found) if isinstance(found, NotCompiledError) else None
