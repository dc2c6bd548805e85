"""From read pieces to a split corpus: duplicates left out, near-duplicates kept together, splits assigned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from symusic import Score

from otonoha.data.cache import lazily
from otonoha.data.compare import NEAR, linked, near_pairs
from otonoha.data.entries import Record
from otonoha.data.report import FolderReport
from otonoha.data.split import DEFAULT_SHARES, assign, split_of
from otonoha.music.piece import Piece
from otonoha.music.recording import Recording

NEAR_SOUND = 0.1
"""Recordings that share this part of their marks (io/audio_marks.py) are near-duplicates."""


@dataclass(frozen=True, eq=False)
class Row:
    """A read piece on its way into a corpus; `split` where that is settled already.

    A recording has `sound`, and `score` where its notes are known; otherwise the record holds the notes.
    """

    id: str
    record: Record
    labels: Mapping[str, str]
    split: str | None = None
    sound: Recording | None = None
    score: Callable[[], Score] | None = None


def arrange(
    rows: Sequence[Row],
    *,
    skipped: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    shares: Sequence[float] = DEFAULT_SHARES,
) -> tuple[list[Piece], FolderReport]:
    """The pieces, each with its split, and the report. Settled splits stay as they are."""
    kept, duplicates = _distinct(rows)
    pairs = near_pairs([row.record.runs for row in kept], NEAR_SOUND)
    pairs = [(a, b, share) for a, b, share in pairs if kept[a].sound or share >= NEAR]
    moved: list[tuple[str, str, str]] = []
    if any(row.split for row in kept):
        splits = [row.split or "train" for row in kept]
    else:
        splits, moved = _hashed(kept, pairs, seed, shares)
    report = FolderReport(
        read=len(rows),
        skipped=tuple(skipped),
        duplicates=tuple(duplicates),
        near_duplicates=tuple(_across(kept, splits, pairs)),
        moved=tuple(moved),
        seconds=sum(row.sound.seconds for row in kept if row.sound),
    )
    return [_piece(row, split) for row, split in zip(kept, splits)], report


def _piece(row: Row, split: str) -> Piece:
    load = row.score if row.sound else lazily(row.record.blob)
    labels = MappingProxyType(dict(row.labels))
    return Piece(row.id, split, load_score=load, recording=row.sound, labels=labels)


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows without those whose notes stood in the same split before, and (left out, kept) ids."""
    first: dict[tuple[str, str | None], str] = {}
    kept, duplicates = [], []
    for row in rows:
        original = first.setdefault((row.record.signature, row.split), row.id)
        if original == row.id:
            kept.append(row)
        else:
            duplicates.append((row.id, original))
    return kept, duplicates


def _hashed(
    rows: Sequence[Row], pairs: Sequence[tuple[int, int, float]], seed: int, shares: Sequence[float]
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Splits by the hash of each group's first id, and who stands elsewhere than its own id says."""
    leaders = linked(len(rows), [(a, b) for a, b, _ in pairs])
    splits, _ = assign([rows[i].id for i in leaders], seed=seed, shares=shares)
    own = [split_of(row.id, seed=seed, shares=shares) for row in rows]
    moved = [(row.id, a, b) for row, a, b in zip(rows, own, splits) if a != b]
    return splits, moved


def _across(
    rows: Sequence[Row], splits: Sequence[str], pairs: Sequence[tuple[int, int, float]]
) -> list[tuple[str, str, float]]:
    """Near-duplicates in different splits, and equal pieces too short to have runs."""
    shares = {(a, b): share for a, b, share in pairs}
    seen: dict[str, int] = {}
    for i, row in enumerate(rows):
        j = seen.setdefault(row.record.signature, i)
        if j != i:
            shares[j, i] = 1.0
    found = sorted((a, b, s) for (a, b), s in shares.items() if splits[a] != splits[b])
    return [(rows[a].id, rows[b].id, round(s, 3)) for a, b, s in found]
