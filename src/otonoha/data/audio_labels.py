"""Tables beside the recordings: tracks.tsv, metadata.csv and the like, a row for each file.

One column says which file (`path`, `file`, `filename` or `file_name`, relative to the table), `split` (train, valid,
test) may say where it belongs, and all others become labels under their own names: artist, genre, title, lyrics,
whatever is there. Empty cells are no labels. The nearest table above a file counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otonoha.io.guard import load_bytes
from otonoha.music.piece import SPLITS

TABLES = ("tracks.tsv", "metadata.tsv", "tracks.csv", "metadata.csv")
NAMES = ("path", "file", "filename", "file_name")
MAX_BYTES = 100 * 2**20
MAX_CELL = 1 << 20


@dataclass(frozen=True, eq=False)
class Told:
    """What the tables of a folder say: labels and splits of files."""

    labels: Mapping[Path, dict[str, str]] = field(default_factory=dict)
    splits: Mapping[Path, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    """(file, reason): files that a table names in vain, tables that are about something else."""


class NoFilesError(ValueError):
    """A table that is not about files."""


def tables_of(root: Path) -> Told:
    """All tables in a folder and below. Raises ValueError, one line, for one that cannot be read."""
    if not root.is_dir():
        return Told()
    found = [p for p in root.rglob("*") if p.name.lower() in TABLES and p.is_file()]
    shown = [p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    labels: dict[Path, dict[str, str]] = {}
    splits: dict[Path, str] = {}
    skipped = []
    for table in sorted(shown, key=lambda p: len(p.parts)):  # those nearer to the files come later, and count
        try:
            rows = read_table(table)
        except NoFilesError as error:
            skipped.append((table.name, str(error).removeprefix(f"{table}: ")))
            continue
        for path, row in rows.items():
            split = row.pop("split", "")
            if not path.is_file():
                skipped.append((path.name, f"{table.name} names it, but it is not there"))
                continue
            labels[path] = row
            if split:
                splits[path] = split
    return Told(labels, splits, tuple(skipped))


def read_table(table: Path) -> dict[Path, dict[str, str]]:
    """File -> its labels (with its split). Paths are only compared with the files that are there."""
    text = _text(table)
    tabs = table.suffix.lower() == ".tsv"
    csv.field_size_limit(MAX_CELL)
    try:
        rows = csv.DictReader(
            io.StringIO(text, newline=""),
            delimiter="\t" if tabs else ",",
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        )
        names = [n for n in NAMES if n in (rows.fieldnames or ())]
        if not names:
            raise NoFilesError(f"{table}: no column says which file a row is about ({', '.join(NAMES)})")
        return {
            table.parent / row[names[0]].strip(): _labels(row, names[0], table)
            for row in rows
            if row[names[0]]
        }
    except csv.Error as error:
        raise ValueError(f"{table} cannot be read: {error}") from None


def _text(table: Path) -> str:
    try:
        return load_bytes(table, limit=MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} is not UTF-8: {error.reason} at byte {error.start}") from None


def _labels(row: Mapping[str | None, str | list | None], name: str, table: Path) -> dict[str, str]:
    """The cells of a row that say something."""
    cells = {k: v.strip() for k, v in row.items() if k and k != name and isinstance(v, str) and v.strip()}
    split = cells.get("split")
    if split is not None and split not in SPLITS:
        raise ValueError(f"{table}: split is {', '.join(SPLITS)} or empty, got {split!r} for {row[name]!r}")
    return cells
