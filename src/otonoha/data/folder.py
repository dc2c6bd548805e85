"""A corpus from the user's own files: a folder (recursive), one file, or a list of files.

Folders named train, valid and test at the top decide the split; otherwise it is made by `split.py`.
Recordings are not read yet; a folder of nothing else is refused with a line that says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from otonoha.data.arrange import Row, arrange
from otonoha.data.entries import Entry
from otonoha.data.reading import Progress, read_all
from otonoha.data.recipes import SCORE_SUFFIXES
from otonoha.data.report import Corpus, gather
from otonoha.data.split import DEFAULT_SHARES, check_shares

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test",
}  # fmt: skip


def load(
    where: str | Path | Sequence[str | Path],
    *,
    seed: int = 0,
    shares: Sequence[float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Corpus:
    """Read, split and report. Raises ValueError when nothing can be read."""
    check_shares(shares)
    given = [where] if isinstance(where, (str, Path)) else list(where)
    paths = [Path(p).expanduser() for p in given]
    files = _files(paths)
    label = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    if not files:
        raise ValueError(_nothing(label, paths))
    shelf = _shelf_name(paths)
    entries = read_all(shelf, files, "file", progress=progress, workers=workers)
    settled = _settled(files) if len(paths) == 1 and paths[0].is_dir() else {}
    rows, skipped = rows_of(entries, settled)
    if not rows:
        name, reason = skipped[0]
        many = f"none of the {len(files)} files of {label}" if len(files) > 1 else f"nothing of {label}"
        raise ValueError(f"{many} could be read; {name}: {reason}")
    if settled and (seed != 0 or tuple(shares) != DEFAULT_SHARES):
        raise ValueError(f"{label} has its own train/valid/test folders: seed and split would have no effect")
    pieces, report = arrange(rows, skipped=skipped, seed=seed, shares=shares)
    return gather(
        pieces,
        name=paths[0].name or label,
        licence="your own files",
        ships=False,
        source=label,
        report=report,
    )


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    """Name -> path of all score files, sorted; hidden files and folders are passed over."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if _is_score(p, path)}
            files.update(sorted(found.items()) if len(paths) == 1 else _prefixed(path.name, found))
        elif path.is_file():
            files[path.name if path.name not in files else path.as_posix()] = path
        else:
            raise ValueError(f"{path}: no such file or folder")
    return files


def _prefixed(prefix: str, found: dict[str, Path]) -> Iterable[tuple[str, Path]]:
    return ((f"{prefix}/{name}", path) for name, path in sorted(found.items()))


def _is_score(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SCORE_SUFFIXES and not hidden and path.is_file()


def _nothing(label: str, paths: Sequence[Path]) -> str:
    """The line for a place without scores."""
    known = " ".join(SCORE_SUFFIXES)
    recordings = sum(p.suffix.lower() in AUDIO_SUFFIXES for root in paths for p in root.rglob("*"))
    if recordings:
        return f"{label} holds {recordings} recordings but no scores ({known}); recordings are not read yet"
    return f"{label} holds no score files ({known})"


def _shelf_name(paths: Sequence[Path]) -> str:
    places = [str(p.resolve()) for p in paths]
    if len(places) == 1:
        return places[0]
    return f"files-{hashlib.sha256(chr(10).join(places).encode()).hexdigest()}"


def _settled(files: dict[str, Path]) -> dict[str, str]:
    """Name -> split where the top folders are train, valid, test (at least two of them); else nothing."""
    splits = {
        name: SPLIT_FOLDERS.get(name.split("/")[0].lower(), "") if "/" in name else "" for name in files
    }
    return splits if len(set(splits.values()) - {""}) >= 2 else {}


def rows_of(
    entries: dict[str, Entry], settled: dict[str, str] | None = None, **labels: str
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Rows for all pieces that were read, (file, reason) for the rest. `labels` join each piece's own."""
    rows, skipped = [], []
    for name, entry in entries.items():
        if settled and not settled[name]:
            skipped.append((name, "lies outside the train, valid and test folders"))
            continue
        if not entry.records:
            skipped.append((name, entry.reason or "no music in it"))
        for record in entry.records:
            split = settled[name] if settled else None
            rows.append(
                Row(name + record.suffix, record, _labels(name, record.labels, bool(settled), labels), split)
            )
    return rows, skipped


def _labels(name: str, own: object, has_split_folder: bool, more: dict[str, str]) -> dict[str, str]:
    """The file's labels; where it names no style, the folder it lies in does, and its stem is its title."""
    folders = name.split("/")[1 if has_split_folder else 0 : -1]
    defaults = {"title": Path(name).stem, **({"style": folders[0]} if folders else {})}
    return {**defaults, **dict(own), **more}  # type: ignore[call-overload]
