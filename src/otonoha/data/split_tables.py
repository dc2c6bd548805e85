"""The small tables of splits that ship with the package: names and splits only, no notes. tables.py writes them."""

from __future__ import annotations

import csv
from importlib import resources


def bach_splits() -> dict[str, str]:
    """Chorale id (`bwv269`) -> split."""
    return {row["id"]: row["split"] for row in read("bach_splits.tsv")}


def openscore_rows() -> dict[str, dict[str, str]]:
    """OpenScore id (`lc4904021`, `sq7070319`) -> its row: split, languages."""
    return {row["id"]: row for row in read("openscore_splits.tsv")}


def read(table: str) -> list[dict[str, str]]:
    """The rows of a table of the package."""
    text = resources.files("otonoha.data").joinpath(table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))
