"""Recordings of a folder as rows of a corpus: read, labelled, and joined with the scores that lie beside them.

A score and a recording in one folder with one name (`song.mid`, `song.flac`) are one piece that has both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from symusic import Score

from otonoha.data.arrange import Row
from otonoha.data.audio_index import SHARD_SUFFIX, reading_seconds
from otonoha.data.audio_labels import Told
from otonoha.data.audio_lyrics import lyrics_beside
from otonoha.data.audio_recording import Indexed, undump
from otonoha.data.cache import lazily
from otonoha.data.entries import Entry, Record
from otonoha.data.reading import Progress, read_all
from otonoha.data.recipes import SOUND
from otonoha.io.guard import load_bytes
from otonoha.music.piece import SPLITS

TERMS = "corpus.json"
"""What a folder may say of itself: name, licence, ships, source."""
OWN_TERMS = {"licence": "your own files", "ships": False}

Skipped = list[tuple[str, str]]


def read_sounds(
    shelf: str, files: Mapping[str, Path], *, progress: Progress | None, workers: int | None
) -> dict[str, Entry]:
    """The entry of each recording and shard."""
    limit = reading_seconds(list(files.values()))
    return read_all(f"{shelf}/sound", files, SOUND, progress=progress, workers=workers, time_limit=limit)


def sound_rows(
    files: Mapping[str, Path],
    entries: Mapping[str, Entry],
    *,
    told: Told,
    settled: Mapping[str, str],
    scores: Mapping[str, Entry],
) -> tuple[list[Row], Skipped]:
    """Rows of the recordings and (file, reason) for the rest; `scores` are those that lie beside them, by stem."""
    rows: list[Row] = []
    skipped: Skipped = []
    for name, entry in entries.items():
        path, beside = files[name], scores.get(stem(name))
        if settled and not settled.get(name) and path.suffix.lower() != SHARD_SUFFIX:
            skipped.append((name, "lies outside the train, valid and test folders"))
            continue
        if not entry.records and not entry.skipped:
            skipped.append((name, entry.reason or "no sound in it"))
        skipped += [(name + suffix, reason) for suffix, reason in entry.skipped]
        for record in entry.records:
            indexed = undump(record.blob)
            notes = _notes(path, indexed, beside)
            labels = _labels(name, record, told.labels.get(path, {}), beside, bool(settled))
            try:
                labels = {**({} if indexed.sound else lyrics_beside(path)), **labels}
            except ValueError as error:
                skipped.append((f"{name}: its lyrics", " ".join(str(error).split())))
            said = labels.pop("split", "")
            split = said if said in SPLITS else told.splits.get(path) or settled.get(name) or None
            rows.append(Row(name + record.suffix, record, labels, split, indexed.recording(path), notes))
    return rows, skipped


def stem(name: str) -> str:
    """The name without its extension."""
    head, dot, tail = name.rpartition(".")
    return head if dot and "/" not in tail else name


def _notes(path: Path, indexed: Indexed, beside: Entry | None) -> Callable[[], Score] | None:
    """What loads the notes: of the member of a shard, or of the score beside the file."""
    if indexed.score:
        from otonoha.data.audio_shards import member_score

        return partial(member_score, path, indexed.score)
    return lazily(beside.records[0].blob) if beside and beside.records else None


def _labels(
    name: str, record: Record, table: Mapping[str, str], beside: Entry | None, has_split_folder: bool
) -> dict[str, str]:
    """From the least to the most certain: the file's place and name, its tags, the score beside it, the table."""
    folders = name.split("/")[1 if has_split_folder else 0 : -1]
    place = {"title": Path(stem(name)).name, **({"style": folders[0]} if folders else {})}
    notes = dict(beside.records[0].labels) if beside and beside.records else {}
    return {**place, **notes, **dict(record.labels), **table}


def terms_of(root: Path) -> dict[str, Any]:
    """Name, licence, ships and source of a folder that says them in corpus.json. ValueError for a damaged one."""
    path = root / TERMS
    if not path.is_file():
        return dict(OWN_TERMS)
    try:
        said = json.loads(load_bytes(path))
        known = {"name": str, "licence": str, "ships": bool, "source": str}
        return {**OWN_TERMS, **{k: v for k, v in said.items() if isinstance(v, known.get(k, type(None)))}}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def table_splits(told: Told) -> bool:
    """Whether a table says where each file belongs."""
    return bool(set(told.splits.values()) & set(SPLITS))
