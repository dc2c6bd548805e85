"""The index of recordings: each file is read through once, and what was found is kept on a shelf.

These functions run in reading processes. A file gives one record, a shard (see audio_shards.py) as many as it holds.
"""

from __future__ import annotations

from pathlib import Path

from otonoha.data.audio_recording import Indexed, dump
from otonoha.data.audio_shards import SHARD_SUFFIX, SOUND_SUFFIXES, members
from otonoha.data.entries import Entry, Record
from otonoha.io.audio_marks import Marks
from otonoha.io.audio_scan import scan
from otonoha.io.audio_slices import Place

__all__ = ["SHARD_SUFFIX", "SOUND_SUFFIXES", "reading_seconds", "sound_entry"]

BASE_SECONDS = 120.0
BYTES_PER_SECOND = 1e5
"""A time limit follows the size of a file; a busy machine may take a hundred times as long as an idle one."""


def sound_entry(path: Path) -> Entry:
    """The recording in a file, or the recordings in a shard. Raises ValueError for a file that is of no use."""
    if path.suffix.lower() != SHARD_SUFFIX:
        marks = Marks()
        facts = scan(Place(path), marks)
        return Entry((_record(Indexed(facts), facts.tags, marks),))
    records, skipped = [], []
    for member in members(path):
        marks = Marks()
        try:
            facts = scan(Place(path, *member.sound), marks)
        except ValueError as error:
            skipped.append((f"#{member.key}", " ".join(str(error).split())))
            continue
        labels = {**facts.tags, **member.labels}
        records.append(_record(Indexed(facts, member.sound, member.score), labels, marks, f"#{member.key}"))
    return Entry(tuple(records), skipped=tuple(skipped))


def _record(indexed: Indexed, labels: dict[str, str], marks: Marks, suffix: str = "") -> Record:
    """An entry of the index: equal samples have equal signatures, and `runs` are the marks of the sound."""
    return Record(suffix, labels, indexed.facts.fingerprint, marks.words(), dump(indexed))


def reading_seconds(files: list[Path]) -> float:
    """How long the reading of one of these files may take."""
    sizes = [p.stat().st_size for p in files if p.exists()]
    return BASE_SECONDS + max(sizes, default=0) / BYTES_PER_SECOND
