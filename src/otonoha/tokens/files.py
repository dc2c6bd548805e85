"""Tokens <-> .npz files: NumPy arrays and names, never a pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.tokens.base import Tokens

MAX_BYTES = 2**31
"""What a file may unpack to."""
OWN = ("clock", "codec")
"""Entries beside the streams."""


def save_tokens(tokens: Tokens, path: str | Path) -> Path:
    """Write tokens; integers take as few bytes as they need. The name must end in .npz."""
    path = Path(path).expanduser()
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: tokens are written as .npz")
    clash = [name for name in tokens.streams if name in OWN]
    if clash:
        raise ValueError(f"a stream cannot be called {clash[0]!r} in a file of tokens")
    arrays: dict[str, Any] = {name: _narrow(np.asarray(values)) for name, values in tokens.streams.items()}
    beside = path.with_name(path.name + ".tmp")
    try:
        with beside.open("wb") as file:
            np.savez_compressed(file, clock=tokens.clock, codec=np.array(tokens.codec), **arrays)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return path


def load_tokens(path: str | Path, *, limit: int = MAX_BYTES) -> Tokens:
    """Read tokens. Raises ValueError (one line) for what is no file of tokens, is damaged or unpacks to too much."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > limit:
            raise ValueError(f"{path}: it unpacks to {size:,} bytes; {limit:,} are allowed")
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, zipfile.error) as error:
        raise ValueError(f"{path}: no readable file of tokens ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: no readable file of tokens ({error})") from None
    return _tokens(arrays, path)


def _tokens(arrays: dict[str, np.ndarray], path: Path) -> Tokens:
    missing = [name for name in OWN if name not in arrays]
    if missing:
        raise ValueError(f"{path}: not a codes file of otonoha encode (it lacks {' and '.join(missing)})")
    clock, codec = arrays.pop("clock"), arrays.pop("codec")
    if codec.ndim or codec.dtype.kind != "U" or clock.ndim != 1 or clock.dtype.kind not in "fiu":
        raise ValueError(f"{path}: no file of tokens, its clock or its codec is something else")
    for name, values in arrays.items():
        if values.dtype.kind not in "iu" or values.ndim not in (1, 2) or len(values) != len(clock):
            raise ValueError(
                f"{path}: stream {name} must be whole numbers for each of {len(clock)} positions"
            )
    return Tokens(arrays, clock.astype(np.float64), str(codec))


def _narrow(values: np.ndarray) -> np.ndarray:
    """Integers in the smallest type that holds them."""
    if not np.issubdtype(values.dtype, np.integer) or not values.size:
        return values
    low, high = int(values.min()), int(values.max())
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int16, np.int32)
    return values.astype(
        next((k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max), values.dtype)
    )
