"""OpenScore: songs for voice and piano (Lieder) and string quartets, CC0.

A home holds `mxl/` and `scores.tsv` (columns id, file, title, composer …, split). The split in the table
holds; songs whose sung lines share much stand in one group there.
"""

from __future__ import annotations

import csv
from pathlib import Path

from otonoha.data.arrange import Row, arrange
from otonoha.data.homes import need_home
from otonoha.data.reading import Progress, read_all
from otonoha.data.report import FolderReport
from otonoha.music.piece import SPLITS, Piece

Loaded = tuple[list[Piece], FolderReport]


def load_lieder_voice(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """The sung line of each song."""
    return _load("openscore-lieder", "lieder-voice", "song-voice", "lied", progress, workers)


def load_lieder(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """Whole songs."""
    return _load("openscore-lieder", "lieder", "song", "lied", progress, workers)


def load_quartets(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """Whole quartets."""
    return _load("openscore-quartets", "quartets", "song", "quartet", progress, workers)


def _load(
    folder: str, name: str, recipe: str, style: str, progress: Progress | None, workers: int | None
) -> Loaded:
    home = need_home(folder, name)
    table = read_table(home / "scores.tsv")
    files = {row["id"]: home / row["file"] for row in table}
    entries = read_all(f"{home.resolve()}/{name}", files, recipe, progress=progress, workers=workers)
    rows, skipped = [], []
    for row in table:
        entry = entries[row["id"]]
        if not entry.records:
            skipped.append((row["file"], entry.reason))
        for record in entry.records:
            rows.append(Row(row["id"], record, {"style": style, **labels_of(row)}, row["split"]))
    return arrange(rows, skipped=skipped)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of scores.tsv. Raises ValueError where it is missing or not what it should be."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    for row in rows:
        if not row.get("id") or not row.get("file") or row.get("split") not in SPLITS:
            raise ValueError(f"{path}: a row lacks id, file or a split of {', '.join(SPLITS)}: {row}")
    return rows


def labels_of(row: dict[str, str]) -> dict[str, str]:
    """Title, composer and language (the first one sung), where the table knows them."""
    columns = {
        "title": row.get("title") or row.get("work"),
        "composer": row.get("composer_label") or row.get("composer"),
        "language": (row.get("languages") or "").replace(";", ",").split(",")[0].strip(),
    }
    return {name: value for name, value in columns.items() if value}
