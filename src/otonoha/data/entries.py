"""What became of one source file: the pieces found in it, or the reason why it was skipped; as bytes.

These bytes travel from the reading processes to the shelf and from there to the pieces of a corpus.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from symusic import Score

from otonoha.data.cache import pack, unpack
from otonoha.data.compare import melody_runs, signature
from otonoha.music.tracks import notes


@dataclass(frozen=True, eq=False)
class Record:
    """One piece of a source file. `suffix` tells the tunes of a file apart; `blob` is the packed score."""

    suffix: str
    labels: Mapping[str, str]
    signature: str
    runs: np.ndarray
    blob: bytes


@dataclass(frozen=True, eq=False)
class Entry:
    """All pieces of one source file; `reason` says in one line why there are none, `skipped` (suffix, reason) which
    pieces of several are of no use.

    `lasting` is False for a failure that another attempt may not meet (no time, no memory): it is not kept.
    """

    records: tuple[Record, ...] = ()
    reason: str = ""
    lasting: bool = True
    skipped: tuple[tuple[str, str], ...] = ()


def record_of(score: Score, *, suffix: str = "", labels: Mapping[str, str] | None = None) -> Record:
    """Pack a score and note what comparing it with others takes."""
    return Record(suffix, dict(labels or {}), signature(score), melody_runs(score), pack(score))


def dump(entry: Entry) -> bytes:
    """An entry as bytes: a JSON header, then for each record its runs and its blob."""
    header = {
        "reason": entry.reason,
        "skipped": entry.skipped,
        "records": [[r.suffix, dict(r.labels), r.signature, len(r.runs), len(r.blob)] for r in entry.records],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join(r.runs.astype("<u8").tobytes() + r.blob for r in entry.records)
    return struct.pack("<I", len(text)) + text + body


def undump(data: bytes) -> Entry:
    """The entry that was dumped. Raises ValueError for anything else."""
    try:
        (size,) = struct.unpack_from("<I", data)
        header = json.loads(data[4 : 4 + size])
        records = tuple(_records(header["records"], data, 4 + size))
        return Entry(records, header["reason"], skipped=tuple((a, b) for a, b in header["skipped"]))
    except (struct.error, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not an entry of a shelf ({error})") from None


def _records(rows: Sequence[list], data: bytes, at: int) -> list[Record]:
    records = []
    for suffix, labels, mark, count, length in rows:
        runs = np.frombuffer(data, dtype="<u8", count=count, offset=at)
        at += 8 * count
        records.append(Record(suffix, labels, mark, runs, data[at : at + length]))
        at += length
    return records


def unpacked_voices(record: Record) -> list[np.ndarray]:
    """The pitches of each track of a record, in time order."""
    return [notes(track).pitch for track in unpack(record.blob).tracks]
