"""Weights and training state on disk.

Weights are safetensors under the names of their networks and belong to everybody. They are read in pieces, straight
into the network: loading needs no more memory than the network itself, whatever the numbers of the file. Training
state is a torch distributed checkpoint under state/step-N: only for going on with one's own run, never read by `load`
or `sample`. Both are written beside their place and then renamed: a crash leaves the old ones whole.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

State = dict[str, Tensor]
LARGE, SCALE = 1 << 16, ".row_scale"
PIECE = 1 << 20
"""Numbers that are read at once."""
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
FILLS = frozenset(
    {
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.kaiming_normal_,
        nn.init.kaiming_uniform_,
    }
)
"""What fills a tensor. The other draws of nn.init come down to these; those named here pass a mode as a whole."""
_STEP = re.compile(r"step-(\d+)")


class _NotFiniteError(ValueError):
    """Weights that are no numbers, or have no end."""


class _DamagedError(ValueError):
    """A file that contradicts itself, or ends too early."""


@dataclass(frozen=True)
class _Stored:
    """A tensor in the file: its numbers begin at byte `begin`."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int


def save_weights(
    path: Path, networks: nn.Module, *, dtype: torch.dtype | None = None, int8: bool = False
) -> None:
    """Write the weights, floating ones as `dtype` unless they are too large for it (sums and counts may be).

    `int8`: large matrices take one byte a weight and one scale a row, which is how the decoders for CPU read them.
    """
    tensors = {}
    for name, t in networks.state_dict().items():
        t = t.detach().cpu()
        if int8 and t.is_floating_point() and t.ndim == 2 and t.numel() >= LARGE:
            tensors[name], tensors[name + SCALE] = _in_bytes(t)
            continue
        if dtype is not None and t.is_floating_point() and bool(t.to(dtype).isfinite().all()):
            t = t.to(dtype)
        tensors[name] = t.contiguous().clone()
    beside = path.with_name(path.name + ".tmp")
    try:
        save_file(tensors, beside)
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise OSError(f"could not write {path}: {error}; what was saved before is intact") from error


def _in_bytes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) -> int8 (R, C) and the scale (R,) of each row: the largest of a row is 127."""
    scale = (matrix.float().abs().amax(1) / 127).clamp(min=1e-12)
    return (matrix.float() / scale[:, None]).round().to(torch.int8), scale


def load_weights(path: Path, networks: nn.Module) -> None:
    """Read weights into `networks`; missing, surplus or misshapen ones, and numbers that are not finite,
    are one clear ValueError. Only after the last of these is the network no longer what it was."""
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}; is it a model folder, and is it complete?")
    wanted = networks.state_dict()
    try:
        stored = _contents(path)
        scales = {name: stored.pop(name) for name in [n for n in stored if n.endswith(SCALE)]}
        _check_scales(scales, stored)
        if fault := _misfit(wanted, stored):
            raise ValueError(f"{path} does not fit config.json: {fault}")
        with path.open("rb") as file, torch.no_grad():
            for name, found in sorted(stored.items(), key=lambda item: item[1].begin):
                _fill(name, wanted[name], file, found, scales.get(name + SCALE))
    except _NotFiniteError as error:
        raise ValueError(
            f"{path} holds weights that are not finite ({error}): the training diverged, or it is damaged"
        ) from None
    except (_DamagedError, SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _contents(path: Path) -> dict[str, _Stored]:
    """What a file holds. The library looks whether it is whole; where things lie, its header tells."""
    with safe_open(path, framework="pt"):
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    found = {}
    for name, told in header.items():
        if name == "__metadata__":
            continue
        if told["dtype"] not in DTYPES:
            raise _DamagedError(f"{name} is of numbers that are not understood ({told['dtype']})")
        begin = 8 + length + told["data_offsets"][0]
        found[name] = _Stored(DTYPES[told["dtype"]], tuple(told["shape"]), begin)
    return found


def _check_scales(scales: Mapping[str, _Stored], stored: Mapping[str, _Stored]) -> None:
    """Every scale belongs to the rows of a matrix."""
    for name, scale in scales.items():
        matrix = stored.get(name.removesuffix(SCALE))
        if matrix is None or len(matrix.shape) != 2 or scale.shape != matrix.shape[:1]:
            raise _DamagedError(f"{name} belongs to no matrix")


def _misfit(wanted: Mapping[str, Tensor], stored: Mapping[str, _Stored]) -> str:
    """What is missing, not wanted or of another shape, by the example of the first; "" if nothing is."""
    faults = [f"{n} is missing" for n in wanted.keys() - stored.keys()]
    faults += [f"{n} is not of this model" for n in stored.keys() - wanted.keys()]
    faults += [
        f"{n} has shape {stored[n].shape}, not {tuple(t.shape)}"
        for n, t in wanted.items()
        if n in stored and stored[n].shape != tuple(t.shape)
    ]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{sorted(faults)[0]}{more}" if faults else ""


def _fill(name: str, into: Tensor, file: BinaryIO, stored: _Stored, scale: _Stored | None) -> None:
    """Read a tensor in pieces; a matrix of bytes becomes numbers again, row by row."""
    if not into.is_contiguous():
        whole = torch.empty(into.shape, dtype=into.dtype)
        _fill(name, whole, file, stored, scale)
        into.copy_(whole)
        return
    width = 1 if scale is None else stored.shape[1]
    factors = None if scale is None else _read(file, scale.begin, scale.shape[0], scale.dtype)
    rows = into.view(-1, max(1, width))
    step = max(1, PIECE // max(1, width))
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        begin = stored.begin + first * width * stored.dtype.itemsize
        found = _read(file, begin, part.numel(), stored.dtype).view(part.shape)
        if factors is not None:
            found = found.float() * factors[first : first + step, None]
        if found.is_floating_point() and not math.isfinite(float(found.sum())) and not found.isfinite().all():
            raise _NotFiniteError(name)
        part.copy_(found)


def _read(file: BinaryIO, begin: int, count: int, dtype: torch.dtype) -> Tensor:
    """So many numbers from a place on."""
    found = torch.empty(count, dtype=dtype)
    if count:
        room = found.view(torch.uint8).numpy().data
        file.seek(begin)
        if file.readinto(room) != len(room):  # type: ignore[attr-defined]
            raise _DamagedError("it is cut short: it holds less than it says")
    return found


class undrawn(TorchFunctionMode):  # noqa: N801  (used like a function, as torch.no_grad is)
    """A context for networks that are about to be loaded: zeros stand where else random numbers would be drawn.

    All else is made as ever: buffers that are computed rather than saved (windows, tables of angles) are right, and
    what a named generator draws is drawn. The random state of the process stays as it is; other threads draw on.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        told = dict(kwargs or {})
        if told.get("generator") is not None:
            return func(*args, **told)
        if func in FILLS:
            into: Tensor = args[0] if args else told["tensor"]
            with torch.no_grad():
                return into.zero_()
        if func is torch.randn:
            func = torch.zeros
            told.pop("generator", None)
        return func(*args, **told)


# -- training state ----------------------------------------------------------------------------------------


def save_state(folder: Path, step: int, state: Mapping[str, Tensor], *, keep: int = 2) -> None:
    """Write the training state after `step` updates; the `keep` newest stay."""
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    place, beside = folder / f"step-{step}", folder / f"step-{step}.tmp"
    together = dist.is_available() and dist.is_initialized()
    chief = not together or dist.get_rank() == 0
    try:
        if chief:
            shutil.rmtree(beside, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
        if together:
            dist.barrier()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "assuming a single process": so it is
            dcp.save(dict(state), checkpoint_id=beside, no_dist=not together)
        if chief:
            _remove(place)
            beside.replace(place)
            for _, old in steps_saved(folder)[:-keep]:
                _remove(old)
    except (OSError, RuntimeError, CheckpointException) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise OSError(
            f"could not save the training state to {place}: {_cause(error)}; earlier ones are intact"
        ) from error


def _remove(place: Path) -> None:
    """Delete a state. It loses its name first: a crash half-way leaves nothing that looks like a state."""
    if place.exists():
        gone = place.with_name(f"{place.name}.old")
        shutil.rmtree(gone, ignore_errors=True)
        place.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _cause(error: BaseException) -> str:
    """One line: torch packs the failures of all processes into one exception, with their tracebacks."""
    failures = getattr(error, "failures", None) or {0: (error,)}
    inner = next(iter(failures.values()))[0]
    return str(inner).splitlines()[0] if str(inner) else type(inner).__name__


def steps_saved(folder: Path) -> list[tuple[int, Path]]:
    """The complete training states in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [
        (m, p) for p in folder.iterdir() if (m := _STEP.fullmatch(p.name)) and (p / ".metadata").exists()
    ]
    return sorted((int(m[1]), p) for m, p in found)


def load_state(path: Path) -> State:
    """Read a training state written by this very run."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = dcp.FileSystemReader(os.fspath(path))
    state: State = {
        name: torch.empty(meta.size, dtype=meta.properties.dtype)
        for name, meta in reader.read_metadata().state_dict_metadata.items()
        if isinstance(meta, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(state, checkpoint_id=path, no_dist=True)
    return state
