"""Parsed music on disk: a Score as bytes, and shelves (files) of such bytes.

Reading MusicXML is slow and reading it twice is waste. `pack` writes a tick Score losslessly as bytes:
a JSON header for what is text or single numbers, int32 columns for everything else, a checksum, all of it
compressed. A *shelf* is one file that maps keys to bytes; one shelf serves one corpus or one folder. Nothing
is ever unpickled, shelves are written atomically, and a damaged one counts as absent.

Units: ticks, as in the Score. Integers are little-endian.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from symusic import (
    ControlChange,
    KeySignature,
    Note,
    Pedal,
    PitchBend,
    Score,
    Tempo,
    TextMeta,
    TimeSignature,
    Track,
)

from otonoha.io.guard import store_bytes

SCORE_MAGIC = b"OTSC1"
SHELF_MAGIC = b"OTSH1"

_SCORE_COLUMNS = {
    "tempos": (Tempo, ("time", "mspq")),
    "time_signatures": (TimeSignature, ("time", "numerator", "denominator")),
    "key_signatures": (KeySignature, ("time", "key", "tonality")),
}
_TRACK_COLUMNS = {
    "notes": (Note, ("time", "duration", "pitch", "velocity")),
    "controls": (ControlChange, ("time", "number", "value")),
    "pitch_bends": (PitchBend, ("time", "value")),
    "pedals": (Pedal, ("time", "duration")),
}


def cache_dir() -> Path:
    """Where shelves live: OTONOHA_CACHE, else otonoha in the user's cache folder."""
    if own := os.environ.get("OTONOHA_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "otonoha"


# -- a Score as bytes ---------------------------------------------------------------------------------


def pack(score: Score) -> bytes:
    """Bytes from which `unpack` makes an equal Score. Raises ValueError for a Score that is not in ticks."""
    if not str(score.ttype).endswith("Tick"):
        raise ValueError(f"only a score in ticks can be packed, this one is in {score.ttype}")
    columns: list[np.ndarray] = []
    header = {"tpq": score.tpq, "markers": _texts(score.markers), **_take(score, _SCORE_COLUMNS, columns)}
    header["tracks"] = [
        {
            "name": track.name,
            "program": track.program,
            "is_drum": track.is_drum,
            "lyrics": _texts(track.lyrics),
            **_take(track, _TRACK_COLUMNS, columns),
        }
        for track in score.tracks
    ]
    text = json.dumps(header, separators=(",", ":")).encode()
    body = struct.pack("<I", len(text)) + text + b"".join(c.astype("<i4").tobytes() for c in columns)
    return SCORE_MAGIC + struct.pack("<I", zlib.crc32(body)) + zlib.compress(body, 1)


def unpack(data: bytes) -> Score:
    """The Score that was packed. Raises ValueError for anything else."""
    try:
        return _unpack(data)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error, zlib.error) as error:
        raise ValueError(f"not a packed score ({error})") from None


def _unpack(data: bytes) -> Score:
    body = zlib.decompress(data[len(SCORE_MAGIC) + 4 :])
    (crc,) = struct.unpack_from("<I", data, len(SCORE_MAGIC))
    if data[: len(SCORE_MAGIC)] != SCORE_MAGIC or zlib.crc32(body) != crc:
        raise ValueError("wrong magic or checksum")
    (size,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + size])
    reader = _Columns(np.frombuffer(body, dtype="<i4", offset=4 + size))
    score = Score(header["tpq"])
    _give(score, header, _SCORE_COLUMNS, reader)
    _set_texts(score.markers, header["markers"])
    for entry in header["tracks"]:
        track = Track(name=entry["name"], program=entry["program"], is_drum=entry["is_drum"])
        _give(track, entry, _TRACK_COLUMNS, reader)
        _set_texts(track.lyrics, entry["lyrics"])
        score.tracks.append(track)
    return score


class _Columns:
    """Hands out the int32 columns in the order in which they were written."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.at = values, 0

    def take(self, count: int) -> np.ndarray:
        part = self.values[self.at : self.at + count]
        if len(part) != count:
            raise ValueError("cut short")
        self.at += count
        return part


def _take(owner: Any, table: Mapping[str, tuple], columns: list[np.ndarray]) -> dict[str, int]:
    """Append the owner's event columns; return the number of events of each kind."""
    counts = {}
    for kind, (_, names) in table.items():
        events = getattr(owner, kind)
        counts[kind] = len(events)
        if len(events):
            arrays = events.numpy()
            columns.extend(arrays[name] for name in names)
    return counts


def _give(owner: Any, counts: Mapping[str, int], table: Mapping[str, tuple], reader: _Columns) -> None:
    """Fill the owner's events from the columns."""
    for kind, (event, names) in table.items():
        if counts[kind]:
            dtypes = _dtypes(event, names)
            arrays = [reader.take(counts[kind]).astype(dtype) for dtype in dtypes]
            setattr(owner, kind, event.from_numpy(*arrays, "tick"))


_WIDTHS = {"pitch": np.int8, "velocity": np.int8, "key": np.int8}
_BYTES = {"numerator", "denominator", "tonality", "number"}


def _dtypes(event: Any, names: Iterable[str]) -> list[Any]:
    """The column types symusic wants: narrow ones for bytes, int32 for times and bends."""
    narrow = _BYTES | ({"value"} if event is ControlChange else set())
    return [np.uint8 if name in narrow else _WIDTHS.get(name, np.int32) for name in names]


def _texts(events: Iterable[Any]) -> list[list]:
    return [[event.time, event.text] for event in events]


def _set_texts(target: Any, texts: Iterable[tuple[int, str]]) -> None:
    for time, text in texts:
        target.append(TextMeta(time, text))


# -- shelves ------------------------------------------------------------------------------------------


def shelf_path(name: str) -> Path:
    """The file of the shelf called `name` (any text; long or odd names are hashed)."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).name)[:40]
    return cache_dir() / f"{plain}-{digest}.shelf"


def load_shelf(name: str, version: str) -> dict[str, bytes]:
    """What was saved under `name` by the same `version`; empty where there is nothing or it is damaged."""
    try:
        return _parse_shelf(shelf_path(name).read_bytes(), version)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return {}


def _parse_shelf(data: bytes, version: str) -> dict[str, bytes]:
    start = len(SHELF_MAGIC)
    crc, size = struct.unpack_from("<IQ", data, start)
    start += struct.calcsize("<IQ")
    if data[: len(SHELF_MAGIC)] != SHELF_MAGIC or zlib.crc32(memoryview(data)[start:]) != crc:
        raise ValueError("wrong magic or checksum")
    header = json.loads(data[start : start + size])
    if header["version"] != version:
        return {}
    at, entries = start + size, {}
    for key, length in header["entries"]:
        entries[key] = data[at : at + length]
        at += length
    return entries


def save_shelf(name: str, version: str, entries: Mapping[str, bytes]) -> bool:
    """Write a shelf atomically; False (and no fuss) where the cache folder cannot be written."""
    header = {"version": version, "entries": [[key, len(value)] for key, value in entries.items()]}
    text = json.dumps(header, separators=(",", ":")).encode()
    body = text + b"".join(entries.values())
    try:
        store_bytes(shelf_path(name), SHELF_MAGIC + struct.pack("<IQ", zlib.crc32(body), len(text)) + body)
    except OSError:
        return False
    return True


def lazily(data: bytes) -> Callable[[], Score]:
    """A loader for Piece: the packed score is unpacked when asked for, each time afresh."""
    return lambda: unpack(data)
