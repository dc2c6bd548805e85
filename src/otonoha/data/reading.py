"""Reading many source files: from the shelf what is there, the rest in parallel processes, with a time limit.

Readers are plain subprocesses (see worker.py), one thread here minding each: that works alike in scripts
without a main guard, in notebooks and under test, and a reader that hangs can be killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from pathlib import Path

from otonoha.data.cache import load_shelf, save_shelf
from otonoha.data.entries import Entry, dump, undump
from otonoha.data.worker import LENGTH

Progress = Callable[[int, int, str], None]
"""Called as (files done, files in all, name of the file) while files are read."""

TIME_LIMIT = 60.0
"""Seconds one file may take before its reader is ended."""

SAVE_EVERY = 120.0
"""Seconds of reading that a kill may cost."""
FILES_PER_WORKER = 8
READERS = ("io/files.py", "io/guard.py", "io/measures.py")
"""What the readers of all formats share."""


def read_all(
    shelf: str,
    files: Mapping[str, Path],
    recipe: str,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
) -> dict[str, Entry]:
    """The entry of each file (name -> path), in the order given.

    A file is read again when its size or time of change differs, or when the readers' code has changed.
    """
    version = f"{recipe} {readers_version()}"
    known = load_shelf(shelf, version)
    keys = {name: _key(name, path) for name, path in files.items()}
    entries = {name: undump(known[key]) for name, key in keys.items() if key in known}
    missing = [name for name in files if name not in entries]

    def keep() -> None:
        kept = {k: entries[name] for name, k in keys.items() if name in entries and entries[name].lasting}
        if kept.keys() != known.keys():
            save_shelf(shelf, version, {k: known.get(k) or dump(entry) for k, entry in kept.items()})

    saved = time.monotonic()
    try:
        if missing:
            team = workers or min(os.cpu_count() or 1, -(-len(missing) // FILES_PER_WORKER))
            with contextlib.closing(_Crew(recipe, time_limit, team).read(missing, files)) as answers:
                for done, (name, entry) in enumerate(answers, 1):
                    entries[name] = entry
                    if progress:
                        progress(done, len(missing), name)
                    if time.monotonic() - saved > SAVE_EVERY:
                        keep()
                        saved = time.monotonic()
    finally:  # an interruption loses nothing of what was read
        keep()
    return {name: entries[name] for name in files}


def _key(name: str, path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{name}|missing"
    return f"{name}|{status.st_size}|{status.st_mtime_ns}"


@cache
def readers_version() -> str:
    """A fingerprint of the code that turns files into entries, so that no shelf outlives its readers."""
    import symusic

    root = Path(__file__).parent.parent
    digest = hashlib.sha256(symusic.__version__.encode())
    for pattern in (
        "io/*midi*.py",
        "io/*xml*.py",
        "io/*abc*.py",
        "io/audio_s*.py",
        *READERS,
        "music/*.py",
        "data/*.py",
    ):
        for source in sorted(root.glob(pattern)):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


class _Crew:
    """Some reading processes and the threads that mind them."""

    def __init__(self, recipe: str, limit: float, workers: int) -> None:
        self.recipe, self.limit, self.workers = recipe, limit, workers
        self.todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[str, Entry]] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.readers: list[_Reader] = []

    def read(self, names: Sequence[str], files: Mapping[str, Path]) -> Generator[tuple[str, Entry]]:
        """Yield (name, entry) as they come in."""
        for name in names:
            self.todo.put(name)
        minders = [
            threading.Thread(target=self._mind, args=(files,), daemon=True) for _ in range(self.workers)
        ]
        for minder in minders:
            minder.start()
        try:
            for _ in names:
                yield self.done.get()
        finally:
            self.stop.set()
            for reader in self.readers:
                reader.process.kill()
            for minder in minders:
                minder.join()

    def _mind(self, files: Mapping[str, Path]) -> None:
        """Feed one process with files until none are left; replace the process when it dies."""
        reader: _Reader | None = None
        while not self.stop.is_set():
            try:
                name = self.todo.get_nowait()
            except queue.Empty:
                break
            try:
                if reader is None:
                    reader = _Reader(self.recipe)
                    self.readers.append(reader)
                entry = reader.ask(files[name], self.limit)
            except (OSError, ValueError) as error:
                entry = Entry(reason=f"no reading process ({error})", lasting=False)
            if entry is None:
                assert reader is not None
                reason = f"took longer than {self.limit:g} s" if reader.late else "crashed the reader"
                entry, reader = Entry(reason=reason, lasting=False), None
            self.done.put((name, entry))
        if reader:
            reader.close()


class _Reader:
    """One reading process. `ask` returns None when the process is gone: too late (`late`) or crashed."""

    def __init__(self, recipe: str) -> None:
        self.late = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "otonoha.data.worker", recipe],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                "OMP_NUM_THREADS": "1",
            },
        )

    def ask(self, path: Path, limit: float) -> Entry | None:
        """The entry of one file."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        alarm = threading.Timer(limit, self._too_late)
        alarm.start()
        try:
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
            head = self.process.stdout.read(LENGTH.size)
            data = self.process.stdout.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
        except OSError:
            data = b""
        finally:
            alarm.cancel()
        if not data:
            self.close()
            return None
        return undump(data)

    def _too_late(self) -> None:
        self.late = True
        self.process.kill()

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):  # it died with something in the pipe
                    pipe.close()
        self.process.kill()
        self.process.wait()
