"""Bytes in and out of files, guarded: limits when reading, all-or-nothing when writing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 100 * 2**20


def load_bytes(path: str | Path, *, limit: int = MAX_BYTES) -> bytes:
    """The content of a file. Raises ValueError (one line) when it is missing, a folder, empty or too big."""
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder, not a file")
        size = path.stat().st_size
        if size > limit:
            raise ValueError(f"{path} has {size / 2**20:.0f} MB; the limit is {limit / 2**20:.0f} MB")
        with path.open("rb") as file:
            data = file.read(limit + 1)  # what is no regular file may hold more than it said
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if not data:
        raise ValueError(f"{path} is empty")
    if len(data) > limit:
        raise ValueError(f"{path} is larger than the limit of {limit / 2**20:.0f} MB")
    return data


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well; folders are made.

    Trouble with the disk becomes OSError with one clear line; an earlier file stays as it was.
    """
    path = Path(path).expanduser()
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def store_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file whole or not at all; returns its path."""
    path = Path(path).expanduser()
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return path
