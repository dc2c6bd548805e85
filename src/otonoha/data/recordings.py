"""Real recordings that may be passed on, each file under its own licence: the provided ones, and two downloads.

Their folders hold `tracks.tsv`; the split in the table holds. `load_free` leaves out what is share-alike, so that
weights trained on the rest may be passed on (with the authors' credits).
"""

from __future__ import annotations

from pathlib import Path

from otonoha.data.arrange import arrange
from otonoha.data.audio_folder import read_sounds, sound_rows
from otonoha.data.audio_labels import Told, read_table
from otonoha.data.homes import find_home, need_home, no_download
from otonoha.data.reading import Progress
from otonoha.data.report import FolderReport
from otonoha.music.piece import Piece

HOME = "audio"
FREE = ("CC0 1.0", "CC BY 3.0", "CC BY 4.0", "Public Domain")
LABELS = {
    "title": "title", "author": "author", "artist": "artist_label", "genre": "genre_label", "style": "kind",
    "kind": "kind", "licence": "licence", "source": "source",
}  # fmt: skip
"""Label -> column of the table."""

Loaded = tuple[list[Piece], FolderReport]


def load_free(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """What is CC0, CC BY or in the public domain."""
    return _load("recordings", _selection("recordings"), FREE, progress, workers)


def load_all(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """The share-alike files as well."""
    return _load("recordings-all", _selection("recordings-all"), None, progress, workers)


def load_librosa(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """The examples of librosa that are CC BY or in the public domain."""
    return _load("librosa-data", need_home("librosa-data", "librosa-data"), FREE, progress, workers)


def load_unknown_horizons(*, progress: Progress | None = None, workers: int | None = None) -> Loaded:
    """The music, jingles and voices of a game, share-alike."""
    name = "unknown-horizons"
    return _load(name, need_home(name, name), None, progress, workers)


def _selection(name: str) -> Path:
    home = find_home(HOME)
    if home is None:
        raise ValueError(no_download(name, HOME))
    return home


def _load(
    name: str, home: Path, licences: tuple[str, ...] | None, progress: Progress | None, workers: int | None
) -> Loaded:
    table = {
        path: row
        for path, row in read_table(home / "tracks.tsv").items()
        if licences is None or row.get("licence") in licences
    }
    files = {path.relative_to(home).as_posix(): path for path in table}
    entries = read_sounds(f"{home.resolve()}/{name}", files, progress=progress, workers=workers)
    labels = {p: {k: row[c] for k, c in LABELS.items() if c in row} for p, row in table.items()}
    told = Told(labels, {path: row.get("split", "") for path, row in table.items()})
    rows, skipped = sound_rows(files, entries, told=told, settled={}, scores={})
    return arrange(rows, skipped=skipped)
