"""The native engine: steps of a Llama in C (llama_int8.c), weights in one byte, for CPUs with a C compiler.

Axes: B rows, O outputs, I inputs of a matrix. Prefill is torch's: one exact pass of the network fills the cache,
which both share. What is written differs from `float` by the rounding of weights and inner values to one byte;
docs/decoding.md says how much.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otonoha.nn import rope
from otonoha.nn.compiled import NotCompiledError, library
from otonoha.nn.decoder import Decoder, blocks, empty_cache, head, matrices, not_plain, trouble_with
from otonoha.nn.llama import EPS, Llama
from otonoha.nn.static_cache import StaticCache

SOURCE = Path(__file__).with_name("llama_int8.c")
GROUP, LANES, PAIRS = 64, 16, 32  # as in the C file
ALIGNED = 4096


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("layers", "heads", "kv_heads", "head_width")),
        *((name, ctypes.c_int64) for name in ("width", "feedforward", "slots")),
        ("eps", ctypes.c_float),
        ("matrices", ctypes.POINTER(_Matrix)),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
    )


@dataclass
class NativeCache(StaticCache):
    """A cache with room to calculate in."""

    scratch: Tensor = field(default_factory=lambda: torch.empty(0))


class NativeDecoder(Decoder):
    """See nn.decoder.Decoder."""

    def __init__(self, network: Llama, *, slots: int | None = None) -> None:
        shape = network.shape
        self.network, self.slots = network, slots or shape.context
        self.library = _library()
        weights = [w for block in blocks(network) for w in matrices(block)] + [head(network)]
        bytes_of, scales_of = zip(*map(packed, weights))
        self.packed = list(zip(_side_by_side(bytes_of), scales_of))  # kept: C holds only their addresses
        self.cos, self.sin = rope.tables(self.slots, shape.head_width, shape.rope_base)
        self.matrices = (_Matrix * len(weights))(
            *(
                _Matrix(q.data_ptr(), scales.data_ptr(), q.shape[0] * LANES, q.shape[1] * GROUP)
                for q, scales in self.packed
            )
        )
        self.model = _Model(
            *(shape.layers, shape.heads, shape.kv_heads, shape.head_width),
            *(shape.width, shape.feedforward, self.slots, EPS),
            *(self.matrices, self.cos.data_ptr(), self.sin.data_ptr()),
        )

    def start(self, rows: int) -> NativeCache:
        """The memory of `rows` pieces, with nothing in it."""
        plain = empty_cache(self.network, rows, self.slots)
        floats = self.library.llama_scratch(ctypes.byref(self.model), rows)
        keys, values = plain.keys.bfloat16(), plain.values.bfloat16()
        return NativeCache(keys, values, plain.length, scratch=torch.empty(floats))

    @torch.no_grad()
    def step(
        self, cache: StaticCache, tokens: Tensor, contexts: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Take in one token (B,) per row; logits (B, V) of the next."""
        assert isinstance(cache, NativeCache)
        cache.check(tokens)  # C would write behind the end
        x = self.network.embed(tokens, contexts).contiguous()
        logits = torch.empty(len(tokens), self.matrices[len(self.packed) - 1].outputs)
        self.library.llama_step(
            ctypes.byref(self.model),
            len(tokens),
            *(t.data_ptr() for t in (cache.length, x, cache.keys, cache.values, cache.scratch, logits)),
        )
        cache.advance()
        return logits[:, : self.network.shape.vocab]


def packed(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (O, I) as the C file wants it: (O', I', GROUP / 4, LANES, 4) uint8, and scales (O', I', LANES)."""
    O, I = weight.shape  # noqa: E741
    w = F.pad(weight.detach().float(), (0, -I % GROUP, 0, -O % LANES))
    w = w.view(w.shape[0] // LANES, LANES, -1, GROUP)
    scales = w.abs().amax(-1) / 127
    q = (w / scales.clamp(min=1e-30)[..., None]).round() + 128
    q = q.view(*w.shape[:3], GROUP // 4, 4).permute(0, 2, 3, 1, 4)
    return q.to(torch.uint8).contiguous(), scales.transpose(1, 2).contiguous()


def _side_by_side(parts: Sequence[Tensor]) -> list[Tensor]:
    """Copies in one piece of memory. NumPy asks the system for large pages, which torch does not: a tenth faster."""
    sizes = [part.numel() for part in parts]
    memory = np.empty(sum(sizes) + ALIGNED, np.uint8)
    room = torch.from_numpy(memory[-memory.ctypes.data % ALIGNED :][: sum(sizes)])
    return [place.copy_(part.flatten()).view(part.shape) for place, part in zip(room.split(sizes), parts)]


def why_not(network: Llama) -> str | None:
    """What keeps this network from the native engine, or None."""
    if network.shape.attention != "rope":
        return "it knows rotary positions only, and this network has learned distances"
    if network.shape.head_width % PAIRS:
        return f"it needs heads of a multiple of {PAIRS} in width, these are {network.shape.head_width} wide"
    return not_plain(network) or _trouble()


def _library() -> ctypes.CDLL:
    """The compiled C file with the types of its functions."""
    found = library(SOURCE)
    if isinstance(found, NotCompiledError):
        raise found
    found.llama_scratch.restype = ctypes.c_int64
    found.llama_scratch.argtypes = (ctypes.POINTER(_Model), ctypes.c_int64)
    found.llama_step.restype = None
    found.llama_step.argtypes = (ctypes.POINTER(_Model), ctypes.c_int64, *[ctypes.c_void_p] * 6)
    return found


@cache
def _trouble() -> str | None:
    found = library(SOURCE)
    return str(found) if isinstance(found, NotCompiledError) else trouble_with(NativeDecoder)
