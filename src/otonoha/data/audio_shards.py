"""Shards: tar files of recordings with their labels and notes, as webdataset reads and writes them.

Members of one sample share their name up to the first dot, folders included: `0001.flac`, `0001.json` (labels),
`0001.mid` (notes).
A tar from anywhere may be read: only offsets and sizes of regular members are taken from it, no path is used, and
nothing is unpacked; recordings are read where they lie, by slices.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from symusic import Score

from otonoha.data.audio_recording import FileRecording
from otonoha.io.audio_slices import Place
from otonoha.io.guard import atomic
from otonoha.music.piece import Piece

SHARD_SUFFIX = ".tar"
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
LABELS_SUFFIX = ".json"
SCORE_SUFFIXES = (".mid", ".midi")
MOST_MEMBERS = 1_000_000
MOST_LABELS = 1 << 20
MOST_SCORE = 50 * 2**20
USUAL_MB = 500

Span = tuple[int, int]
"""Offset and size, in bytes."""


@dataclass(frozen=True, eq=False)
class Member:
    """One sample of a shard."""

    key: str
    sound: Span
    score: Span | None
    labels: Mapping[str, str]


# -- reading ----------------------------------------------------------------------------------------------


def members(path: Path) -> list[Member]:
    """The samples of a shard that have sound. Raises ValueError for what is no tar, or was cut short."""
    found: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for count, info in enumerate(shard):
                if count >= MOST_MEMBERS:
                    raise ValueError(f"more than {MOST_MEMBERS:,} members")
                if info.isreg() and info.sparse is None and info.size > 0:
                    key, suffix = _split(info.name)
                    found.setdefault(key, {}).setdefault(suffix, (info.offset_data, info.size))
    except (tarfile.TarError, EOFError, OSError, OverflowError) as error:
        raise ValueError(f"unreadable: no tar file, or damaged ({error})") from None
    size = path.stat().st_size
    kept = []
    for key, spans in found.items():
        sound = next((spans[s] for s in SOUND_SUFFIXES if s in spans), None)
        if sound is None:
            continue
        if sound[0] + sound[1] > size:
            raise ValueError(f"truncated: {key} ends behind the end of the file")
        score = next((spans[s] for s in SCORE_SUFFIXES if s in spans), None)
        kept.append(Member(key, sound, score, _labels(path, spans.get(LABELS_SUFFIX))))
    if not kept:
        raise ValueError("unreadable: no recordings in it")
    return kept


def _split(name: str) -> tuple[str, str]:
    """The key of a member (its name to the first dot, folders joined by dashes) and its suffix."""
    folder, _, last = name.rpartition("/")
    key, _, rest = last.partition(".")
    plain = re.sub(r"[^\w-]+", "-", f"{folder}/{key}").strip("-")
    return plain, f".{rest.rpartition('.')[2].lower()}"


def _labels(path: Path, span: Span | None) -> dict[str, str]:
    """Labels of a sample, as texts; nothing where they make no sense."""
    if span is None or span[1] > MOST_LABELS:
        return {}
    try:
        said = json.loads(read_span(path, span))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {k: str(v) for k, v in said.items() if isinstance(v, str | int | float) and str(v)}


def read_span(path: Path, span: Span) -> bytes:
    """Some bytes of a file."""
    with path.open("rb") as file:
        file.seek(span[0])
        return file.read(span[1])


def member_score(path: Path, span: Span) -> Score:
    """The notes of a sample."""
    from otonoha.io.midi import read_midi

    if span[1] > MOST_SCORE:
        raise ValueError(
            f"{path}: a score of {span[1] / 2**20:.0f} MB, at most {MOST_SCORE >> 20} MB are read"
        )
    return read_midi(read_span(path, span), name=str(path))


# -- writing ----------------------------------------------------------------------------------------------


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> Path:
    """A tar of (key, suffix -> bytes); it appears under its name when it is whole. Equal samples, equal bytes."""
    with atomic(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key, parts in samples:
            for suffix, data in parts.items():
                info = tarfile.TarInfo(key + suffix)
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
    return path


def pack_pieces(pieces: Sequence[Piece], folder: Path, *, size: float = USUAL_MB) -> list[Path]:
    """Recordings with labels, splits and notes as shards of about `size` MB in a folder; files are copied as they are.

    Raises ValueError where the folder holds shards already, or a piece has no file.
    """
    if size <= 0:
        raise ValueError(f"the size of a shard must be above 0 MB, got {size:g}")
    if any(folder.glob(f"*{SHARD_SUFFIX}")):
        raise ValueError(f"{folder} holds shards already; choose another folder")
    written: list[Path] = []
    batch: list[tuple[str, Piece]] = []
    room = size * 2**20
    for number, piece in enumerate(pieces):
        batch.append((f"{number:06d}", piece))
        room -= _bytes_of(piece)
        if room <= 0 or number == len(pieces) - 1:
            target = folder / f"shard-{len(written):05d}{SHARD_SUFFIX}"
            written.append(write_shard(target, (_sample(key, p) for key, p in batch)))
            batch, room = [], size * 2**20
    return written


def _place(piece: Piece) -> Place:
    sound = piece.sound()
    if not isinstance(sound, FileRecording):
        raise ValueError(f"piece {piece.id!r} lies in no file: write it first")
    return sound.place


def _bytes_of(piece: Piece) -> int:
    place = _place(piece)
    return place.path.stat().st_size if place.size is None else place.size


def _sample(key: str, piece: Piece) -> tuple[str, dict[str, bytes]]:
    """The members of one piece."""
    from otonoha.io.midi import midi_bytes

    place = _place(piece)
    labels = {**piece.labels, "split": piece.split}
    parts = {
        _suffix(piece): read_span(place.path, (place.offset, _bytes_of(piece))),
        LABELS_SUFFIX: json.dumps(labels, ensure_ascii=False).encode(),
    }
    if piece.load_score is not None:
        parts[".mid"] = midi_bytes(piece.score())
    return key, parts


def _suffix(piece: Piece) -> str:
    """The suffix of a piece's file; in a shard, by its format."""
    sound = piece.sound()
    assert isinstance(sound, FileRecording)
    suffix = sound.place.path.suffix.lower()
    kind, subtype = sound.facts.format.split()[:2]
    return suffix if suffix != SHARD_SUFFIX else ".opus" if subtype == "OPUS" else f".{kind.lower()}"
