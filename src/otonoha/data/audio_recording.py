"""Recordings in files: what the index knows of them, how they are read, and their decoded copies for training.

A decoded copy holds all frames at one rate as 16-bit integers (of 1.25 x the peak, so that quiet recordings keep their
detail): 318 MB for an hour of one channel at 44.1 kHz. Copies lie in the cache folder under `sound/`; together they
take no more than OTONOHA_SOUND_CACHE_GB (20 when unset), those that were not used for longest make room, and at least
1 GB of the disk stays free. Without room, slices are decoded afresh each time, and a warning says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.data.cache import cache_dir
from otonoha.io.audio_scan import Facts, missing_bytes
from otonoha.io.audio_slices import Place, open_sound, read_slice
from otonoha.io.guard import atomic
from otonoha.music.recording import Recording

ROOM = "OTONOHA_SOUND_CACHE_GB"
USUAL_ROOM = 20.0
FREE = 1 << 30
HEADROOM = 1.25
FULL = 32767
MAGIC = b"OTSN1"


class Sound(Recording):
    """A sound file, or a stretch of a larger file, read slice by slice."""

    place: Place

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames of the file, by seeking."""
        if stop <= start:
            return np.zeros((self.channels, 0), np.float32)
        return read_slice(self.place, start, stop)


class Opened(Sound):
    """A file that nobody has read through yet. Raises ValueError for one that is no sound, or was cut short."""

    def __init__(self, path: Path) -> None:
        self.place = Place(path)
        sound, raw = open_sound(self.place)
        with contextlib.closing(raw), contextlib.closing(sound):
            self.rate, self.channels, self.frames = sound.samplerate, sound.channels, sound.frames
        with path.open("rb") as file:
            missing = missing_bytes(file)
        if missing:
            raise ValueError(f"{path}: damaged, at least {missing:,} bytes of sound are missing")


@dataclass(frozen=True, eq=False)
class FileRecording(Sound):
    """A file of an index; `facts` is what reading it through has told."""

    place: Place
    facts: Facts

    @property
    def rate(self) -> int:  # type: ignore[override]
        """Samples per second."""
        return self.facts.rate

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Number of channels."""
        return self.facts.channels

    @property
    def frames(self) -> int:  # type: ignore[override]
        """Frames that can be read."""
        return self.facts.frames

    def signature(self) -> str:
        """The index has read it through already."""
        return self.facts.fingerprint

    def ready(self, rate: int, channels: int) -> Recording:
        """Its decoded copy, made now if there is none."""
        view = self.at(rate, channels)
        copy = Copy(view, _path_of(self.facts.fingerprint, rate, channels), HEADROOM * self.facts.peak)
        return copy if copy.make() else view


class Copy(Recording):
    """The decoded copy of a view: (frames, channels) little-endian int16 in a file, in units of scale / 32767."""

    def __init__(self, view: Recording, path: Path, scale: float) -> None:
        self.view, self.path, self.scale = view, path, scale
        self.rate, self.channels, self.frames = view.rate, view.channels, view.frames

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return 2 * self.frames * self.channels

    def make(self) -> bool:
        """Write the file unless it is there; False where there is no room for it."""
        if self._there():
            return True
        try:
            if not make_room(self.path.parent.parent, self.size):
                return False
            with atomic(self.path) as temporary, temporary.open("wb") as file:
                for block in self.view.blocks():
                    whole = np.rint(np.clip(block / self.scale, -1, 1) * FULL)
                    file.write(whole.T.astype("<i2").tobytes())
        except OSError as error:
            warnings.warn(
                f"no decoded copies ({error}): sound is decoded each time it is heard", stacklevel=3
            )
            return False
        return True

    def _there(self) -> bool:
        try:
            if self.path.stat().st_size != self.size:
                return False
            os.utime(self.path)  # used now: others make room first
        except OSError:
            return False
        return True

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames of the copy; of the recording itself where somebody has taken the copy away."""
        count = (stop - start) * self.channels
        try:
            found = np.fromfile(self.path, "<i2", count, offset=2 * start * self.channels)
        except OSError:
            found = np.zeros(0, "<i2")
        if len(found) < count:
            return self.view.read(start, stop)
        return found.reshape(-1, self.channels).T * np.float32(self.scale / FULL)


def _path_of(fingerprint: str, rate: int, channels: int) -> Path:
    return cache_dir() / "sound" / fingerprint[:2] / f"{fingerprint}-{rate}-{channels}.pcm"


_ROOM_LOCK = threading.Lock()


def make_room(folder: Path, size: int) -> bool:
    """Take old copies out of `folder` until `size` bytes more fit; False (and a warning) where they cannot."""
    try:
        limit = int(float(os.environ.get(ROOM) or USUAL_ROOM) * 2**30)
    except ValueError:
        raise ValueError(f"{ROOM} must be a number of gigabytes, got {os.environ[ROOM]!r}") from None
    with _ROOM_LOCK:
        folder.mkdir(parents=True, exist_ok=True)
        copies = sorted((s.st_mtime, s.st_size, path) for path, s in _copies(folder))
        used = sum(entry[1] for entry in copies)
        free = shutil.disk_usage(folder).free - FREE
        if size > limit or size > free + used:
            told = f"a decoded copy of {size / 2**20:.0f} MB has no room ({ROOM}={limit / 2**30:g})"
            warnings.warn(f"{told}: this sound is decoded each time it is heard", stacklevel=4)
            return False
        for _, bytes_, path in copies:
            if used + size <= limit and size <= free:
                break
            path.unlink(missing_ok=True)
            used, free = used - bytes_, free + bytes_
    return True


def _copies(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in folder.glob("*/*.pcm"):
        try:
            found.append((path, path.stat()))
        except OSError:  # another process was quicker
            continue
    return found


# -- as bytes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Indexed:
    """What the index says of a recording; in a shard also where in it sound and notes lie (offset, size)."""

    facts: Facts
    sound: tuple[int, int] | None = None
    score: tuple[int, int] | None = None

    def recording(self, path: Path) -> FileRecording:
        """The recording in this file."""
        return FileRecording(Place(path, *self.sound) if self.sound else Place(path), self.facts)


def dump(indexed: Indexed) -> bytes:
    """As bytes."""
    return MAGIC + json.dumps(asdict(indexed), separators=(",", ":")).encode()


def undump(data: bytes) -> Indexed:
    """What was dumped. Raises ValueError for anything else."""
    try:
        told: dict[str, Any] = json.loads(data.removeprefix(MAGIC))
        sound, score = (tuple(told[name]) if told[name] else None for name in ("sound", "score"))
        return Indexed(Facts(**told["facts"]), sound, score)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not an entry of the index of recordings ({error})") from None
