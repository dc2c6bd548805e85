"""Bach's chorales from music21's corpus: four voices with key, metre, fermatas and, for most, German text.

The split inherits that of the JSB benchmark (see split_tables.py): what is a test piece there is one here, so a
model trained on `bach-chorales` may be measured on the benchmark. Bach set the same hymn several times, so
sopranos recur across the split: the report lists the pairs.
"""

from __future__ import annotations

from otonoha.data.arrange import Row, arrange
from otonoha.data.entries import Entry
from otonoha.data.music21_files import music21_folder
from otonoha.data.reading import Progress, read_all
from otonoha.data.report import FolderReport
from otonoha.data.split_tables import bach_splits
from otonoha.music.piece import Piece


def entries(*, progress: Progress | None = None, workers: int | None = None) -> dict[str, Entry]:
    """Chorale id (`bwv269`) -> what its file holds."""
    files = {p.stem: p for p in sorted(music21_folder("bach").glob("bwv*")) if p.suffix in (".mxl", ".xml")}
    return read_all("music21-bach", files, "chorale", progress=progress, workers=workers)


def load(*, progress: Progress | None = None, workers: int | None = None) -> tuple[list[Piece], FolderReport]:
    """All chorales of exactly four voices, and the report."""
    splits = bach_splits()
    rows, skipped = [], []
    for name, entry in entries(progress=progress, workers=workers).items():
        if not entry.records:
            skipped.append((name, entry.reason))
        for record in entry.records:
            rows.append(Row(name, record, _labels(name, record.labels), splits.get(name, "train")))
    return arrange(rows, skipped=skipped)


def _labels(name: str, own: object) -> dict[str, str]:
    """The file's labels, with one spelling of the composer and a title that is no file name."""
    labels = {**own, "composer": "Johann Sebastian Bach", "language": "de"}  # type: ignore[dict-item]
    if labels.get("title", name).startswith("bwv"):
        labels["title"] = name.replace("bwv", "BWV ")
    return labels
