"""A corpus from the user's own files: a folder (recursive), one file, or a list of files; scores and recordings.

Folders named train, valid and test at the top decide the split, or a table beside the recordings (audio_labels.py);
otherwise it is made by `split.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from otonoha.data.arrange import Row, arrange
from otonoha.data.audio_folder import read_sounds, sound_rows, stem, table_splits, terms_of
from otonoha.data.audio_index import SHARD_SUFFIX, SOUND_SUFFIXES
from otonoha.data.audio_labels import Told, tables_of
from otonoha.data.entries import Entry
from otonoha.data.reading import Progress, read_all
from otonoha.data.recipes import SCORE_SUFFIXES
from otonoha.data.report import Corpus, gather
from otonoha.data.split import DEFAULT_SHARES, check_shares

Kind = Literal["scores", "sound"]
SUFFIXES = {
    "scores": SCORE_SUFFIXES,
    "sound": (*SOUND_SUFFIXES, SHARD_SUFFIX),
    None: (*SCORE_SUFFIXES, *SOUND_SUFFIXES, SHARD_SUFFIX),
}
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test",
}  # fmt: skip


def load(
    where: str | Path | Sequence[str | Path],
    *,
    kind: Kind | None = None,
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
    chosen = {name: path for name, path in files.items() if path.suffix.lower() in SUFFIXES[kind]}
    label = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files"
    if not chosen:
        raise ValueError(_nothing(label, kind, files))
    one_folder = len(paths) == 1 and paths[0].is_dir()
    sounds = {n: p for n, p in chosen.items() if p.suffix.lower() in SUFFIXES["sound"]}
    told = tables_of(paths[0]) if one_folder and sounds else Told()
    settled = _settled(files) if one_folder and not table_splits(told) else {}
    rows, skipped = _rows(_shelf_name(paths), files, sounds, kind, told, settled, progress, workers)
    if not rows:
        name, reason = skipped[0]
        many = f"none of the {len(chosen)} files of {label}" if len(chosen) > 1 else f"nothing of {label}"
        raise ValueError(f"{many} could be read; {name}: {reason}")
    if any(row.split for row in rows) and (seed != 0 or tuple(shares) != DEFAULT_SHARES):
        whose = (
            "table that says the split" if table_splits(told) or not settled else "train/valid/test folders"
        )
        raise ValueError(f"{label} has its own {whose}: seed and split would have no effect")
    pieces, report = arrange(rows, skipped=skipped, seed=seed, shares=shares)
    terms = {"name": paths[0].name or label, "source": label, **terms_of(paths[0])}
    return gather(pieces, report=report, **terms)


def _rows(
    shelf: str,
    files: dict[str, Path],
    sounds: dict[str, Path],
    kind: Kind | None,
    told: Told,
    settled: dict[str, str],
    progress: Progress | None,
    workers: int | None,
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Rows of everything that was read, and (file, reason) for the rest."""
    heard = {stem(name) for name in sounds}
    scores = {n: p for n, p in files.items() if p.suffix.lower() not in SUFFIXES["sound"]}
    wanted = {n: p for n, p in scores.items() if kind != "sound" or stem(n) in heard}
    entries = read_all(shelf, wanted, "file", progress=progress, workers=workers) if wanted else {}
    beside = {stem(n): entry for n, entry in entries.items() if stem(n) in heard}
    alone = {n: entry for n, entry in entries.items() if stem(n) not in heard}
    rows, skipped = rows_of(alone, settled)
    skipped += [(n, e.reason) for n, e in entries.items() if stem(n) in heard and not e.records]
    if sounds:
        found = read_sounds(shelf, sounds, progress=progress, workers=workers)
        more, less = sound_rows(sounds, found, told=told, settled=settled, scores=beside)
        rows, skipped = rows + more, skipped + less
        skipped += told.skipped
    return rows, skipped


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    """Name -> path of all scores and recordings, sorted; hidden files and folders are passed over."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if _is_music(p, path)}
            files.update(sorted(found.items()) if len(paths) == 1 else _prefixed(path.name, found))
        elif path.is_file():
            files[path.name if path.name not in files else path.as_posix()] = path
        else:
            raise ValueError(f"{path}: no such file or folder")
    return files


def _prefixed(prefix: str, found: dict[str, Path]) -> Iterable[tuple[str, Path]]:
    return ((f"{prefix}/{name}", path) for name, path in sorted(found.items()))


def _is_music(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in SUFFIXES[None] and not hidden and path.is_file()


def _nothing(label: str, kind: Kind | None, files: dict[str, Path]) -> str:
    """The line for a place without what is wanted."""
    known = " ".join(SUFFIXES[kind])
    if files:
        has, lacks = ("scores", "recordings") if kind == "sound" else ("recordings", "scores")
        return f"{label} holds {has} ({len(files)} files) but no {lacks} ({known})"
    what = {"scores": "score files", "sound": "recordings", None: "scores and no recordings"}[kind]
    return f"{label} holds no {what} ({known})"


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
