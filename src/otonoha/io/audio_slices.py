"""Slices of sound files: what is asked for is read, by seeking, never the whole file.

Slices equal those of the whole file, sample by sample, in WAV, AIFF, FLAC, Ogg Vorbis, Opus and MP3; where
libsndfile's own seeks are not to be trusted, that is worked around. Files stay open between reads, a few at a time,
and reading on needs no seek. A sound may also be a stretch of bytes in a larger file (`Place`): a member of a tar.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

OPEN_FILES = 16
MP3_LEAD = 10 * 1152
"""Frames that are read before a slice of an MP3 file: the decoder remembers what came before."""
OPUS_CLOCK = 48_000
NO_FILE = "File does not exist or is not a regular file"
"""What libsndfile says of a file, open in our hands, in which it finds no sound."""
MOST_OF_A_PAGE = 1 << 16


@dataclass(frozen=True)
class Place:
    """Where a sound lies: a file, or `size` bytes of it from `offset` on."""

    path: Path
    offset: int = 0
    size: int | None = None

    def open(self) -> io.RawIOBase | Window:
        """Its bytes, as a file."""
        whole = self.path.open("rb", buffering=0)
        return whole if self.size is None else Window(whole, self.offset, self.size)


class Window:
    """A stretch of a file, as libsndfile wants to see a file."""

    def __init__(self, whole: io.RawIOBase, offset: int, size: int) -> None:
        self.whole, self.offset, self.size, self.at = whole, offset, size, 0

    def seek(self, where: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, counted from the beginning, from here, or from the end of the stretch."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        self.at = min(max(base + where, 0), self.size)
        return self.at

    def tell(self) -> int:
        """Where it stands."""
        return self.at

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = self.size - self.at
        self.whole.seek(self.offset + self.at)
        data = self.whole.read(left if size < 0 else min(size, left)) or b""
        self.at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """The next bytes, into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self.whole.close()


def open_bytes(place: Place) -> io.RawIOBase | Window:
    """The bytes of a sound. Raises ValueError (one line) where there are none."""
    try:
        return place.open()
    except FileNotFoundError:
        raise ValueError(f"{place.path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{place.path} cannot be read: {error.strerror or error}") from None


def open_sound(place: Place) -> tuple[Any, Any]:
    """A soundfile.SoundFile and the file below it (to be closed after it).

    Raises ValueError (one line) for what is no sound file.
    """
    import soundfile

    raw = open_bytes(place)
    try:
        with hushed():
            return soundfile.SoundFile(raw), raw
    except (soundfile.LibsndfileError, RuntimeError, TypeError, OverflowError) as error:
        raw.close()
        raise ValueError(f"{place.path}: no readable sound file ({reason(error)})") from None


def reason(error: Exception) -> str:
    """What libsndfile says, without what it says of our file objects."""
    said = str(error).removeprefix("Error opening <").split(">: ")[-1].strip().rstrip(".")
    return "damaged, or too short to hold sound" if said.startswith(NO_FILE) else said


_HUSH = threading.RLock()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep the MP3 decoder's chatter about damaged frames out of the terminal (it writes to stderr itself)."""
    with _HUSH:
        try:
            stderr = os.dup(2)
        except OSError:  # no stderr at all
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device, not a path)
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


class _Sound:
    """An open sound, and where it stands."""

    def __init__(self, place: Place) -> None:
        self.sound, self.raw = open_sound(place)
        self.ogg, self.mp3 = self.sound.format == "OGG", self.sound.format == "MP3"
        self.at = 0
        self.safe = self._safe(place) if self.ogg else self.sound.frames

    def _safe(self, place: Place) -> int:
        """Up to where one may seek in an Ogg file: libsndfile 1.2.2 goes astray in its last page."""
        with contextlib.closing(open_bytes(place)) as raw:
            last = ogg_granules(raw)[-3:-2]
        if not last:
            return 0
        if self.sound.subtype == "OPUS":  # counts at 48 kHz, with what comes before the sound
            return max(0, last[0] * self.sound.samplerate // OPUS_CLOCK - self.sound.samplerate)
        return last[0]

    def lost(self, start: int) -> bool:
        """Whether a seek would go astray: libsndfile does now and then in an Ogg file that it has read from."""
        return self.ogg and self.at not in (0, start)

    def read(self, start: int, stop: int) -> np.ndarray:
        """(n, channels) float32; fewer than asked for where the file ends."""
        with hushed() if self.mp3 else contextlib.nullcontext():
            return self._read(start, stop)

    def _read(self, start: int, stop: int) -> np.ndarray:
        before = 0
        if start != self.at:
            target = max(0, start - MP3_LEAD) if self.mp3 else min(start, self.safe)
            before, self.at = start - target, -1
            self.sound.seek(target)
        samples = self.sound.read(before + stop - start, dtype="float32", always_2d=True)[before:]
        self.at = start + len(samples)
        return samples

    def close(self) -> None:
        """Close it."""
        self.sound.close()
        self.raw.close()


class _Files:
    """The files that are open: opened when needed, closed when others need the room."""

    def __init__(self) -> None:
        self.open: OrderedDict[tuple, _Sound] = OrderedDict()
        self.lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked process shares its parent's places in the files: it must open its own."""
        self.open, self.lock = OrderedDict(), threading.Lock()

    def read(self, place: Place, start: int, stop: int) -> np.ndarray:
        """Read from the open file; from another one when the file has changed since."""
        status = place.path.stat()
        key = (place, status.st_size, status.st_mtime_ns)
        with self.lock:
            sound = self.open.pop(key, None)
            if sound is not None and sound.lost(start):
                sound.close()
                sound = None
            sound = sound or _Sound(place)
            try:
                samples = sound.read(start, stop)
            except BaseException:  # nobody knows where it stands
                sound.close()
                raise
            self.open[key] = sound
            while len(self.open) > OPEN_FILES:
                self.open.popitem(last=False)[1].close()
        return samples


_FILES = _Files()


def read_slice(place: Place, start: int, stop: int) -> np.ndarray:
    """Frames `start` … `stop` of a sound as (channels, n) float32, n > 0.

    Raises ValueError (one line) where they cannot be read.
    """
    import soundfile

    try:
        samples = _FILES.read(place, start, stop)
    except FileNotFoundError:
        raise ValueError(f"{place.path}: no such file (any more)") from None
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise ValueError(f"{place.path}: frames from {start:,} cannot be read ({reason(error)})") from None
    if len(samples) < stop - start:
        raise ValueError(f"{place.path}: damaged or changed, it ends at frame {start + len(samples):,}")
    return np.ascontiguousarray(samples.T)


# -- pages of Ogg files -----------------------------------------------------------------------------------


def ogg_tail(file: Any) -> bytes:
    """The end of a file, long enough for its last pages."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - 4 * MOST_OF_A_PAGE)
    file.seek(begin)
    return file.read(size - begin)


def ogg_granules(file: Any) -> list[int]:
    """What the last pages say of the sound up to their ends, in samples."""
    tail, found, at = ogg_tail(file), [], -1
    while (at := tail.find(b"OggS\0", at + 1)) >= 0 and at + 14 <= len(tail):
        found.append(int.from_bytes(tail[at + 6 : at + 14], "little", signed=True))
    return [granule for granule in found if granule > 0]
