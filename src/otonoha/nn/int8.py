"""Linear layers for decoding: y = x Wᵀ with the weights laid out once. Axes: B rows, I inputs, O outputs.

`Float` is exact. `Int8` keeps a weight in one byte, scaled per output, and x per call; torch's own kernels do the
rest. At one row per call a product is as fast as its weights arrive from memory, so a quarter of the bytes counts.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Protocol

import torch
from torch import Tensor


class Linear(Protocol):
    """(B, I) -> (B, O)."""

    def __call__(self, x: Tensor) -> Tensor:
        """The product."""


class Float:
    """The exact one."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = (
            weight.t().contiguous()
        )  # a single row times this is a third faster on CPU than F.linear

    def __call__(self, x: Tensor) -> Tensor:
        """The product."""
        return x @ self.weight


class Int8:
    """One byte a weight: W ≈ scale · q with |q| ≤ 127, one scale per output; x in one byte too, one scale per call."""

    def __init__(self, weight: Tensor) -> None:
        w = weight.detach().float().cpu()
        scale = (w.abs().amax(1) / 127).clamp(min=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch announces changes of its quantised tensors; see `int8_works`
            zero = torch.zeros(len(scale), dtype=torch.long)
            q = torch.quantize_per_channel(w, scale, zero, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(q, None)

    def __call__(self, x: Tensor) -> Tensor:
        """The product."""
        return torch.ops.quantized.linear_dynamic(x, self.packed)


@cache
def int8_works() -> bool:
    """Whether this torch on this processor has the kernels, and they compute what they should."""
    w, x = torch.linspace(-1, 1, 32 * 16).view(16, 32), torch.linspace(-2, 1, 32)[None]
    try:
        return bool(torch.allclose(Int8(w)(x), x @ w.T, atol=0.2))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
