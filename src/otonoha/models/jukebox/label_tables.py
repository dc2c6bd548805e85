"""Tables of artists and genres in files: the original's, and the user's own. Torch-free.

the original's    one "name;id" a line; looked for by their names (v2_artist…, v3_genre…) below a folder
own               JSON {"name": id} or ["name", …] (ids from 1 on), or lines "name<tab>id" or only "name"
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from otonoha.models.jukebox.labels import Names, Table, normalised

SIZES = {"v2": {"artist": 4111, "genre": 120}, "v3": {"artist": 7898, "genre": 604}}
"""Rows that the original's embeddings have."""
WIDTHS = {"v2": 5, "v3": 1}
"""The most genres of a song."""
LARGEST = 32 << 20
"""Bytes of a table, at most."""
NUMBER = re.compile("[0-9]{1,15}")
"""An id."""


def original_names(folder: str | Path, version: int) -> Names:
    """Version 2 or 3 of the original's tables, found anywhere below `folder`."""
    if version not in (2, 3):
        raise ValueError(f"the original's tables have the versions 2 and 3, not {version}")
    rule = "v2" if version == 2 else "v3"
    tables = {}
    for what, size in SIZES[rule].items():
        ids = read_ids(_found(Path(folder), rule, what), last_wins=True)
        tables[what] = Table(what, ids, size)
    return Names(tables["artist"], tables["genre"], "v2" if version == 2 else "v3", WIDTHS[rule])


def _found(folder: Path, rule: str, what: str) -> Path:
    places = sorted(folder.rglob(f"{rule}_{what}*.txt"))
    if not places:
        raise ValueError(
            f"{folder} holds no file {rule}_{what}….txt: give the folder with the original's lists of ids"
        )
    return places[0]


def own_names(artists: str | Path, genres: str | Path, *, width: int = 5) -> Names:
    """The user's own tables."""
    tables = [_own_table(what, Path(path)) for what, path in (("artist", artists), ("genre", genres))]
    return Names(tables[0], tables[1], "own", width)


def _own_table(what: str, path: Path) -> Table:
    ids: dict[str, int] = {}
    for name, number in read_ids(path).items():
        key = normalised(name, "own")
        if ids.setdefault(key, number) != number:
            raise ValueError(f"{path} gives {what} {key!r} two ids, {ids[key]} and {number}")
    return Table(what, ids, max(ids.values(), default=0) + 1)


def read_ids(path: Path, *, last_wins: bool = False) -> dict[str, int]:
    """name -> id, as the file spells it; see the head of the file.

    A name that comes twice with different ids is refused, unless the last one shall win as in the original, where
    every line also has an id.
    """
    if not path.is_file():
        raise ValueError(f"there is no table {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is no table of names: it has more than {LARGEST >> 20} MB")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    pairs = _from_json(text, path) if path.suffix == ".json" else _from_lines(text, path, bare=not last_wins)
    ids: dict[str, int] = {}
    for name, number in pairs:
        if not last_wins and ids.get(name, number) != number:
            raise ValueError(f"{path} gives {name!r} two ids, {ids[name]} and {number}")
        ids[name] = number
    return ids


def _from_json(text: str, path: Path) -> list[tuple[str, int]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if isinstance(found, list):
        found = {name: i for i, name in enumerate(found, 1)} if all(isinstance(n, str) for n in found) else 0
    good = isinstance(found, dict) and all(type(number) is int for number in found.values())
    if not good:
        raise ValueError(f'{path} must hold {{"name": id, …}} or ["name", …]')
    return list(found.items())


def _from_lines(text: str, path: Path, *, bare: bool) -> list[tuple[str, int]]:
    lines = [(i, line.rstrip("\r")) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    separator = "\t" if any("\t" in line for _, line in lines) else ";"
    if bare and not any(separator in line for _, line in lines):
        return [(line, i) for i, (_, line) in enumerate(lines, 1)]
    found = []
    for number, line in lines:
        name, _, value = line.rpartition(separator)
        if not NUMBER.fullmatch(value.strip()):
            raise ValueError(f"{path} line {number}: expected a name and an id, got {line[:80]!r}")
        found.append((name, int(value)))
    return found


def to_json(names: Names) -> dict[str, Any]:
    """Tables as JSON values, to be kept in a model's config."""
    return asdict(names)


def from_json(described: Mapping[str, Any]) -> Names:
    """The tables back."""
    try:
        tables = [Table(**described[kind]) for kind in ("artists", "genres")]
        return Names(tables[0], tables[1], described["rule"], int(described["width"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged tables of labels: {error!r}") from error
