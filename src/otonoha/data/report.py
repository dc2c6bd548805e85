"""What loading a corpus gives: pieces in three splits with their terms, and a report of the reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from otonoha.io.audio_scan import KINDS
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
    seconds: float = 0.0
    """How long the recordings among them are together."""

    def summary(self) -> str:
        """One line."""
        told = (
            (self.read, "piece", "read" + (f" ({length(self.seconds)} of sound)" if self.seconds else "")),
            (len(self.skipped), "file", "skipped" + self._kinds()),
            (len(self.duplicates), "duplicate", "left out"),
            (len(self.near_duplicates), "near-duplicate pair", "across the split"),
        )
        return ", ".join(
            f"{count} {noun}{'s' * (count != 1)} {what}"
            for i, (count, noun, what) in enumerate(told)
            if count or not i
        )

    def _kinds(self) -> str:
        """How many recordings were skipped for which kind of reason."""
        found = Counter(reason.split(":")[0] for _, reason in self.skipped)
        told = ", ".join(f"{found[kind]} {kind}" for kind in KINDS if found[kind])
        return f" ({told})" if told else ""


def length(seconds: float) -> str:
    """A length of sound for people: 12.3 s, 4.5 min or 6.7 h."""
    size, unit = next(((s, u) for s, u in ((3600, "h"), (60, "min")) if seconds >= s), (1, "s"))
    return f"{seconds / size:.1f} {unit}"


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
