"""The doors to data: `corpus` and `select` take names of corpora, or the user's own folders and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from otonoha.data import folder, named
from otonoha.data.folder import Kind
from otonoha.data.reading import Progress
from otonoha.data.report import Corpus, FolderReport
from otonoha.data.split import DEFAULT_SHARES
from otonoha.music.piece import SPLITS, Piece
from otonoha.music.suggest import one_of

__all__ = ["Corpus", "FolderReport", "corpus", "select"]


def corpus(
    name_or_path: str | Path | Sequence[str | Path],
    *,
    kind: Kind | None = None,
    styles: Sequence[str] | None = None,
    seed: int = 0,
    split: Sequence[float] = DEFAULT_SHARES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Corpus:
    """A named corpus (`otonoha data list`), a folder (recursive), a file, or a list of files.

    A folder may hold scores and recordings; a score and a recording of one name are one piece. `kind` ("scores" or
    "sound") keeps to the one or the other; recordings are read through when they are seen for the first time.
    `styles` keeps the pieces with one of these style labels. `seed` and `split` (shares of train, valid,
    test) apply where the split is made here; a corpus with a fixed split refuses them. `progress` is called
    with (done, of, file) while files are read for the first time. Raises ValueError, one line, when there is
    no such corpus, path or style, or nothing in it can be read.
    """
    if isinstance(name_or_path, str) and name_or_path in named.SPECS:
        _check_kind(named.SPECS[name_or_path], kind)
        result = named.load(name_or_path, seed=seed, shares=split, progress=progress, workers=workers)
    else:
        if isinstance(name_or_path, str) and not _looks_like_path(name_or_path):
            one_of(name_or_path, named.SPECS, "corpus, and no such file or folder:")
        result = folder.load(
            name_or_path, kind=kind, seed=seed, shares=split, progress=progress, workers=workers
        )
    return result if styles is None else _only_styles(result, styles)


def _check_kind(spec: named.CorpusSpec, kind: Kind | None) -> None:
    """Refuse a named corpus that has nothing of the wanted kind."""
    if kind is not None:
        one_of(kind, ("scores", "sound"), "kind of music")
    if kind == "scores" and spec.sound:
        raise ValueError(f"{spec.name} holds recordings, no scores")
    if kind == "sound" and not spec.sound:
        make = f"otonoha data render {spec.name} --out DIR"
        raise ValueError(f"{spec.name} holds scores, no recordings; to make some: {make}")


def _looks_like_path(text: str) -> bool:
    """Whether a text that is no corpus is meant as a path: it exists, or is written like one."""
    path = Path(text).expanduser()
    return path.exists() or bool(path.suffix) or "/" in text or "\\" in text


def _only_styles(whole: Corpus, styles: Sequence[str]) -> Corpus:
    """The pieces with one of these style labels."""
    wanted = [styles] if isinstance(styles, str) else list(styles)
    known = {p.labels["style"] for p in whole.pieces if "style" in p.labels}
    for style in wanted:
        one_of(style, known, f"style of {whole.name}")
    train, valid, test = (
        tuple(p for p in getattr(whole, s) if p.labels.get("style") in wanted) for s in SPLITS
    )
    return replace(whole, train=train, valid=valid, test=test)


def select(
    spec: str | Path, *, kind: Kind | None = None, progress: Progress | None = None
) -> tuple[Piece, ...]:
    """The pieces that a text names: `bach-chorales:test`, `~/midi:train`, or without a split all of them."""
    text = str(spec)
    name, colon, part = text.rpartition(":")
    if not colon or Path(text).expanduser().exists() or (len(name) == 1 and part[:1] in "\\/"):
        return corpus(text, kind=kind, progress=progress).pieces
    whole = corpus(name, kind=kind, progress=progress)
    chosen = getattr(whole, one_of(part, SPLITS, "split"))
    if not chosen:
        raise ValueError(f"{whole.name} has no pieces in {part!r} ({whole.report.summary()})")
    return chosen
