"""Folk tunes of music21's corpus, in ABC.

None of the files states a licence, so no weights trained on them are passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otonoha.data.arrange import arrange
from otonoha.data.folder import rows_of
from otonoha.data.music21_files import music21_folder
from otonoha.data.reading import Progress, read_all
from otonoha.data.report import FolderReport
from otonoha.data.split import DEFAULT_SHARES
from otonoha.music.piece import Piece

Loaded = tuple[list[Piece], FolderReport]


def load_folk(**options: object) -> Loaded:
    """O'Neill's Music of Ireland, Ryan's Mammoth Collection, Aird's Airs."""
    return _load("folk", ("oneills1850", "ryansMammoth", "airdsAirs"), **options)  # type: ignore[arg-type]


def load_essen(**options: object) -> Loaded:
    """The Essen collection."""
    return _load("essen", ("essenFolksong",), **options)  # type: ignore[arg-type]


def load_misc_folk(**options: object) -> Loaded:
    """American fife tunes, Northumbrian minstrelsy."""
    return _load("misc-folk", ("miscFolk",), **options)  # type: ignore[arg-type]


def _load(
    name: str,
    parts: Sequence[str],
    *,
    seed: int = 0,
    shares: Sequence[float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Loaded:
    files: dict[str, Path] = {}
    for part in parts:
        files |= {f"{part}/{path.name}": path for path in sorted(music21_folder(part).glob("*.abc"))}
    entries = read_all(f"music21-{name}", files, "tunes", progress=progress, workers=workers)
    rows, skipped = rows_of(entries, style="folk")
    return arrange(rows, skipped=skipped, seed=seed, shares=shares)
