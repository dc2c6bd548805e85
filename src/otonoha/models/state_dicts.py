"""State dicts from elsewhere: whether they fit, and safetensors written tensor by tensor.

Shapes only are compared, so that neither the network nor the file has to be in memory.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
NAMED = 3
"""Tensors that a message names, of each kind."""
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""Types of numbers that weights are kept in."""


def misfit(wanted: Shapes, found: Shapes) -> tuple[int, str]:
    """How many tensors are missing, not wanted or of another shape, and which; 0 and "" if all is as it should be."""
    kinds = {
        "missing": sorted(wanted.keys() - found.keys()),
        "not of this model": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(found[name])}, not {tuple(shape)}"
            for name, shape in sorted(wanted.items())
            if name in found and tuple(found[name]) != tuple(shape)
        ],
    }
    told = [f"{_are(which)} {what} ({_some(which)})" for what, which in kinds.items() if which]
    return sum(map(len, kinds.values())), "; ".join(told)


def _are(which: Sequence[str]) -> str:
    return f"{len(which)} tensor{'s are' if len(which) > 1 else ' is'}"


def _some(which: Sequence[str]) -> str:
    more = f", … and {len(which) - NAMED} more" if len(which) > NAMED else ""
    return ", ".join(name[:120] for name in which[:NAMED]) + more


def matching(candidates: Mapping[str, Shapes], found: Shapes) -> str:
    """The name of the candidate that fits. ValueError says what is wrong with the one that comes nearest."""
    faults = {name: misfit(wanted, found) for name, wanted in candidates.items()}
    nearest = min(faults, key=lambda name: faults[name][0])
    many, told = faults[nearest]
    if many:
        known = f" (known: {', '.join(candidates)})" if len(candidates) > 1 else ""
        raise ValueError(f"its tensors are not those of {nearest}{known}: {told}")
    return nearest


def write_tensors(
    path: Path,
    described: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensor: Callable[[str], Tensor],
) -> None:
    """A safetensors file, one tensor in memory at a time. `described`: name -> type, shape of what `tensor` gives."""
    names = sorted(described, key=lambda name: (-described[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in names:
        dtype, shape = described[name]
        end = at + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                file.write(raw(tensor(name)))
    except OSError as error:
        raise OSError(f"could not write {path}: {error.strerror or error}") from error


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data
