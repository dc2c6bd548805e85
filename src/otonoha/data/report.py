"""What loading a corpus gives: pieces in three splits with their terms, and a report of the reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from otonoha.music.piece import SPLITS, Piece


@dataclass(frozen=True)
class FolderReport:
    """How the reading went. Ids are those of the pieces; files are named relative to their folder."""

    read: int = 0
    """Pieces that were read, duplicates included."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(file, reason) for every file that gave nothing."""
    duplicates: tuple[tuple[str, str], ...] = ()
    """(left out, kept): the same notes up to transposition and speed, in the same split."""
    near_duplicates: tuple[tuple[str, str, float], ...] = ()
    """(piece, piece, share of common twelve-interval runs) for near-duplicates in different splits."""
    moved: tuple[tuple[str, str, str], ...] = ()
    """(piece, its own split, the split it went to): with its group, or so that no split is empty."""

    def summary(self) -> str:
        """One line."""
        told = (
            (self.read, "piece", "read"),
            (len(self.skipped), "file", "skipped"),
            (len(self.duplicates), "duplicate", "left out"),
            (len(self.near_duplicates), "near-duplicate pair", "across the split"),
        )
        return ", ".join(
            f"{count} {noun}{'s' * (count != 1)} {what}"
            for i, (count, noun, what) in enumerate(told)
            if count or not i
        )


@dataclass(frozen=True, eq=False)
class Corpus:
    """Music to learn from. `ships` tells whether weights trained on it may be passed on."""

    name: str
    licence: str
    ships: bool
    source: str
    train: tuple[Piece, ...]
    valid: tuple[Piece, ...]
    test: tuple[Piece, ...]
    report: FolderReport = field(default_factory=FolderReport)

    def __len__(self) -> int:
        return len(self.train) + len(self.valid) + len(self.test)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces: train, then valid, then test."""
        return self.train + self.valid + self.test


def gather(
    pieces: Sequence[Piece], *, name: str, licence: str, ships: bool, source: str, report: FolderReport
) -> Corpus:
    """A Corpus of pieces that know their split."""
    parts = {split: tuple(p for p in pieces if p.split == split) for split in SPLITS}
    return Corpus(name, licence, ships, source, parts["train"], parts["valid"], parts["test"], report)
