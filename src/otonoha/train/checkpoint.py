"""Weights and training state on disk.

Weights are safetensors under the names of their networks and belong to everybody. Training state is a
torch distributed checkpoint under state/step-N: only for going on with one's own run, never read by `load`
or `sample`. Both are written beside their place and then renamed: a crash leaves the old ones whole.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

State = dict[str, Tensor]
LARGE, SCALE = 1 << 16, ".row_scale"
_STEP = re.compile(r"step-(\d+)")


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


def _out_of_bytes(found: State) -> State:
    """Matrices of bytes and their scales as matrices again."""
    scales = {n: found.pop(n) for n in [n for n in found if n.endswith(SCALE)]}
    for name, scale in scales.items():
        matrix = found.get(name.removesuffix(SCALE))
        if matrix is None or matrix.ndim != 2 or scale.shape != matrix.shape[:1]:
            raise ValueError(f"{name} belongs to no matrix")
        found[name.removesuffix(SCALE)] = matrix.float() * scale[:, None]
    return found


def load_weights(path: Path, networks: nn.Module) -> None:
    """Read weights into `networks`; missing, surplus or misshapen ones, and numbers that are not finite,
    are one clear ValueError."""
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}; is it a model folder, and is it complete?")
    try:
        found = _out_of_bytes(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    wanted = networks.state_dict()
    faults = [f"{n} is missing" for n in wanted.keys() - found.keys()]
    faults += [f"{n} is not of this model" for n in found.keys() - wanted.keys()]
    faults += [
        f"{n} has shape {tuple(found[n].shape)}, not {tuple(t.shape)}"
        for n, t in wanted.items()
        if n in found and found[n].shape != t.shape
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(f"{path} does not fit config.json: {sorted(faults)[0]}{more}")
    broken = sorted(n for n, t in found.items() if t.is_floating_point() and not t.isfinite().all())
    if broken:
        raise ValueError(
            f"{path} holds weights that are not finite ({broken[0]}): the training diverged, or it is damaged"
        )
    networks.load_state_dict(found)


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
