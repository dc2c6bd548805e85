"""A C file of this package as a library: compiled when first needed, kept in the user's cache folder.

The name of a library holds a hash of its source, the compiler's words and the processor's abilities, because it is
made for exactly this processor. It is built beside its place and moved there, so that processes do not meet in it.
Whoever has no compiler goes without: `library` then says why.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

FLAGS = ("-O3", "-ffast-math", "-fPIC", "-w")
FOR_THIS_PROCESSOR = (("-march=native",), ("-mcpu=native",), ())
"""Tried in turn: not every compiler knows each."""


class NotCompiledError(Exception):
    """There is no library; the message says why."""


@cache
def library(source: Path) -> ctypes.CDLL | NotCompiledError:
    """The library of a C file, or the reason why there is none. Asked once per process."""
    try:
        return ctypes.CDLL(str(_built(source)))
    except (NotCompiledError, OSError) as error:
        return NotCompiledError(str(error))


def _built(source: Path) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or os.name != "posix":
        raise NotCompiledError("no C compiler (cc, gcc or clang) is on the path")
    told = (source.read_text("utf-8"), *FLAGS, platform.system(), platform.machine(), compiler, _processor())
    digest = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    folder = _cache_folder() / "compiled"
    target = folder / f"{source.stem}-{digest}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as beside:
            _compile(compiler, source, Path(beside)).replace(target)
    return target


def _compile(compiler: str, source: Path, folder: Path) -> Path:
    """Two steps: linking with -ffast-math would change how the whole process rounds tiny numbers."""
    made, linked = folder / "made.o", folder / "made.so"
    for special in FOR_THIS_PROCESSOR:
        trouble = _run(compiler, *FLAGS, *special, "-c", str(source), "-o", str(made))
        if trouble is None:
            break
    trouble = trouble or _run(compiler, "-shared", str(made), "-o", str(linked), "-lm")
    if trouble is not None:
        raise NotCompiledError(f"{compiler} could not compile {source.name}: {trouble}")
    return linked


def _run(*words: str) -> str | None:
    """None, or the last line of what went wrong."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]


def _cache_folder() -> Path:
    """As data/cache.py has it: OTONOHA_CACHE, else otonoha in the user's cache folder."""
    if own := os.environ.get("OTONOHA_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "otonoha"


def _processor() -> str:
    """Its abilities, where the system tells them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.exists() else []
    return next(
        (line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor()
    )
