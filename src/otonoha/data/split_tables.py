"""The small tables that ship with the package: names, splits and checksums only, no notes and no sound.

tables.py writes those of the scores; recordings.tsv lists the recordings that can be downloaded.
"""

from __future__ import annotations

import csv
from importlib import resources


def bach_splits() -> dict[str, str]:
    """Chorale id (`bwv269`) -> split."""
    return {row["id"]: row["split"] for row in read("bach_splits.tsv")}


def openscore_rows() -> dict[str, dict[str, str]]:
    """OpenScore id (`lc4904021`, `sq7070319`) -> its row: split, languages."""
    return {row["id"]: row for row in read("openscore_splits.tsv")}


def recording_rows(home: str) -> list[dict[str, str]]:
    """The recordings of a downloaded corpus: name, path at its source, checksum, labels, split."""
    return [row for row in read("recordings.tsv") if row["home"] == home]


def read(table: str) -> list[dict[str, str]]:
    """The rows of a table of the package."""
    text = resources.files("otonoha.data").joinpath(table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
