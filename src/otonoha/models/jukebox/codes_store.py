"""Codes of recordings on disk: shards that are mapped into memory, and an index. Torch-free.

    index.jsonl     a line that says what the codes are, then one for each recording: whose, where, how many
    00000.codes …   recordings one after another; of each all codes of the finest level, then of the next …

Codes are little-endian and as narrow as the largest of them allows. A recording counts once its line is in the index,
and lines are written when the codes are on the disk: after kill -9 at any moment whatever has no line is cut off and
made again. One process writes at a time, others wait; reading needs no lock.
Axes: T codes of a level. Level 0 is the finest.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMAT = 1
INDEX, LOCK = "index.jsonl", "lock"
SHARD_BYTES = 256 << 20
COMMIT_SECONDS = 2.0
"""A process that is killed loses no more finished work than this, and the recording that it was at."""


@dataclass(frozen=True)
class Layout:
    """What a codec of sound writes. Per level, the finest first: samples of a code, size of the codebook."""

    codec: str
    rate: int
    hops: tuple[int, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("hops", "sizes"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        if not self.hops or len(self.hops) != len(self.sizes) or min(*self.hops, *self.sizes, self.rate) < 1:
            raise ValueError(f"a codec of sound has levels with hops and sizes above 0, got {self}")
        if any(b % a for a, b in pairwise(self.hops)):
            raise ValueError(f"hops must be multiples of each other, the finest first, got {self.hops}")

    @property
    def top(self) -> int:
        """Samples of a code of the coarsest level: a position."""
        return self.hops[-1]

    @property
    def widths(self) -> tuple[int, ...]:
        """Codes of each level for one position."""
        return tuple(self.top // hop for hop in self.hops)

    @property
    def dtype(self) -> np.dtype:
        """How a code is written."""
        largest = max(self.sizes) - 1
        return np.dtype("<u1" if largest < 1 << 8 else "<u2" if largest < 1 << 16 else "<u4")

    def ratio(self, level: int) -> int:
        """Codes of a level for one of the next coarser level; 0 at the top."""
        return 0 if level == len(self.hops) - 1 else self.hops[level + 1] // self.hops[level]

    def codes_per_second(self, level: int) -> float:
        """How many codes of a level make a second."""
        return self.rate / self.hops[level]


@dataclass(frozen=True)
class Entry:
    """A recording in the store: its codes begin at code `at` of a shard; `samples` are real, the rest is silence."""

    key: str
    shard: int
    at: int
    positions: int
    samples: int


class Store:
    """The codes of all recordings that one codec has ever coded here."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout
        self.entries: dict[str, Entry] = {}
        self._shards: dict[int, np.ndarray] = {}
        self.refresh()

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def refresh(self) -> bool:
        """Read the index; True if all of it is sound. What is damaged, and what lacks its codes, counts as absent."""
        lines, good = self._lines()
        known = bool(lines) and lines[0] == self._head()
        good, sizes, self.entries = good and known, self._sizes(), {}
        for line in lines[1:] if known else ():
            entry = _entry(line)
            if entry is None or self.end(entry) > sizes.get(entry.shard, 0):
                good = False
            else:
                self.entries[entry.key] = entry
        return good

    def levels(self, key: str) -> tuple[np.ndarray, ...]:
        """(T,) of every level: read-only, mapped; nothing is read before it is looked at."""
        entry = self.entries[key]
        shard, at, found = self._mapped(entry), entry.at, []
        for width in self.layout.widths:
            found.append(shard[at : at + entry.positions * width])
            at += entry.positions * width
        return tuple(found)

    def end(self, entry: Entry) -> int:
        """One after the last code of an entry, counted from the beginning of its shard."""
        return entry.at + entry.positions * sum(self.layout.widths)

    def shard(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{number:05d}.codes"

    def writable(self) -> bool:
        """Whether anything can be kept here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOCK).open("ab"):
                return True
        except OSError:
            return False

    @contextlib.contextmanager
    def writing(self, waiting: Callable[[], None] | None = None) -> Iterator[Writer]:
        """The only writer, in a folder that is `writable`. `waiting` is told when another process is at it."""
        try:
            with (self.folder / LOCK).open("ab") as lock:
                _locked(lock, waiting)
                if not self.refresh():
                    self._mend()
                with contextlib.closing(Writer(self)) as writer:
                    yield writer
        except OSError as error:
            raise OSError(
                f"codes cannot be kept in {self.folder}: {error.strerror or error}; what is there is intact"
            ) from None

    def _head(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self.layout)})

    def _lines(self) -> tuple[list[str], bool]:
        """Whole lines of the index, and whether there is no other: one that was cut short by a kill."""
        try:
            text = (self.folder / INDEX).read_bytes()
        except OSError:
            return [], False
        whole = text[: text.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace").splitlines(), len(whole) == len(text)

    def _sizes(self) -> dict[int, int]:
        """Codes in each shard."""
        width = self.layout.dtype.itemsize
        paths = [p for p in self.folder.glob("*.codes") if p.stem.isdecimal()]
        return {int(p.stem): p.stat().st_size // width for p in paths}

    def _mapped(self, entry: Entry) -> np.ndarray:
        """The shard, at least as far as the entry goes."""
        known = self._shards.get(entry.shard)
        if known is None or len(known) < self.end(entry):
            ends = (self.end(e) for e in self.entries.values() if e.shard == entry.shard)
            mapped = np.memmap(self.shard(entry.shard), self.layout.dtype, "r", shape=(max(ends),))
            self._shards[entry.shard] = known = np.asarray(mapped)  # slices of a plain array are cheaper
        return known

    def _mend(self) -> None:
        """Write an index that names only what is there."""
        beside = self.folder / f"{INDEX}.tmp"
        lines = [self._head(), *(_line(entry) for entry in self.entries.values())]
        with beside.open("wb") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            _to_disk(file)
        beside.replace(self.folder / INDEX)


class Writer:
    """Adds recordings; `close` makes sure of the last ones."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.number = max([e.shard for e in store.entries.values()], default=0)
        ends = [store.end(e) for e in store.entries.values() if e.shard == self.number]
        self.at = max(ends, default=0)
        self.waiting: list[Entry] = []
        self.index = (store.folder / INDEX).open("ab")
        self.file = self._opened()
        self.committed = time.monotonic()

    def add(self, key: str, levels: Sequence[np.ndarray], samples: int) -> None:
        """All codes of a recording, (T,) or (N, codes of a position) of each level."""
        layout = self.store.layout
        positions = len(levels[-1])
        self._check(levels, positions)
        if self.at and (self.at + positions) * layout.dtype.itemsize > SHARD_BYTES:
            self.commit()
            self.file.close()
            self.number, self.at = self.number + 1, 0
            self.file = self._opened()
        for codes in levels:
            self.file.write(np.ascontiguousarray(codes, layout.dtype).tobytes())
        entry = Entry(key, self.number, self.at, positions, int(samples))
        self.waiting.append(entry)
        self.at = self.store.end(entry)
        if time.monotonic() - self.committed > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Codes to the disk first, then the lines that say so."""
        _to_disk(self.file)
        self.index.write("".join(f"{_line(entry)}\n" for entry in self.waiting).encode())
        _to_disk(self.index)
        self.store.entries |= {entry.key: entry for entry in self.waiting}
        self.waiting, self.committed = [], time.monotonic()

    def close(self) -> None:
        """Commit what is whole."""
        with self.index, self.file:
            self.commit()

    def _opened(self) -> BinaryIO:
        """The shard at hand, without what an interrupted writer left behind the last entry."""
        path = self.store.shard(self.number)
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(self.at * self.store.layout.dtype.itemsize)
        file.seek(0, os.SEEK_END)
        return file

    def _check(self, levels: Sequence[np.ndarray], positions: int) -> None:
        layout = self.store.layout
        if not positions:
            raise ValueError("there are no codes")
        for level, (codes, width, size) in enumerate(zip(levels, layout.widths, layout.sizes, strict=True)):
            if np.size(codes) != positions * width:
                raise ValueError(
                    f"level {level} has {np.size(codes)} codes for {positions} positions, not {width} for each"
                )
            if np.size(codes) and not 0 <= int(np.min(codes)) <= int(np.max(codes)) < size:
                raise ValueError(f"level {level} has codes outside of 0 … {size - 1}")


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry), separators=(",", ":"))


def _entry(line: str) -> Entry | None:
    """What a line says; None for one that is damaged."""
    try:
        found = Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    numbers = (found.shard, found.at, found.positions, found.samples)
    return found if all(type(n) is int and n >= 0 for n in numbers) and type(found.key) is str else None


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _locked(lock: Any, waiting: Callable[[], None] | None) -> None:
    """Hold the lock until the file is closed, or the process is gone. Where a system has no such locks: no wait."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting is not None:
            waiting()
        fcntl.flock(lock, fcntl.LOCK_EX)
