"""What is in a folder of samples: recordings, scores, and all that is said of them, as rows of the explorer page.

A recording is a row; a score of the same name beside it joins it, a score alone is a row too. What is known of a
sample, from the least to the most certain: tags in the file, the score's own title, the seed in a name that `compose`
gave, the .json beside it (`sample` writes one), lyrics beside it (.lrc, .txt), a table of the folder (tracks.tsv,
metadata.csv, …). None of it has to be there.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from otonoha.data.audio_labels import Told, tables_of
from otonoha.data.audio_lyrics import lyrics_beside
from otonoha.io.files import AUDIO_SUFFIXES, read, write
from otonoha.io.guard import load_bytes
from otonoha.music.markers import marker
from otonoha.plots import strips
from otonoha.plots.explorer import Sample

SCORES = (".mid", ".midi", ".musicxml", ".mxl", ".abc")
BESIDE = {".json": "how it was made", ".npz": "codes", ".png": "picture", ".lrc": "lyrics", ".txt": "lyrics"}
KINDS = {".wav": "wav", ".flac": "flac", ".ogg": "ogg", ".opus": "ogg", ".mp3": "mpeg"}
MOST = 5000
"""Samples of a page, which then has about 40 MB."""
EMBEDDED = 256 << 20
"""Bytes of sound in a page, at most."""
JSON_BYTES = 4 << 20
COMPOSED = re.compile(r"(?:tune|sound)-(\d+)(?:-\d+)*")
"""How `otonoha compose` names its files: by the seed."""
UNSAID = ("otonoha", "n", "lrc")
"""Labels that tell a reader of the page nothing."""


@dataclass(frozen=True)
class Files:
    """The files of one sample. `scores`: those beside the sound, the best to read first."""

    sound: Path | None
    scores: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()

    @property
    def main(self) -> Path:
        """What the sample is called after."""
        return self.sound or self.scores[0]


@dataclass
class Wanted:
    """How a folder is shown. `page`: where the page will lie; `notes` collects (file, what was passed over)."""

    root: Path
    page: Path
    embed: bool = False
    render: bool = False
    told: Told = field(default_factory=Told)
    notes: list[tuple[str, str]] = field(default_factory=list)
    embedded: int = 0


def found(root: Path) -> list[Files]:
    """The samples of a folder and all below it, in the order of names; hidden files and folders are passed over.

    Raises ValueError where there are none, or more than a page can hold.
    """
    every = [files for folder, names in _folders(root) for files in _grouped(folder, names)]
    if not every:
        raise ValueError(f"{root} holds no samples: no sound ({', '.join(AUDIO_SUFFIXES)}), no score")
    if len(every) > MOST:
        raise ValueError(
            f"{root} holds {len(every):,} samples, and a page {MOST:,} at most; give a folder below it"
        )
    return every


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = Path(folder)
        yield here, sorted(name for name in names if not name.startswith(".") and (here / name).is_file())


def _grouped(folder: Path, names: list[str]) -> Iterator[Files]:
    by_stem: dict[str, dict[str, Path]] = {}
    for name in names:
        path = folder / name
        by_stem.setdefault(path.stem, {})[path.suffix.lower()] = path
    for paths in by_stem.values():
        scores = tuple(paths[s] for s in SCORES if s in paths)
        beside = tuple(paths[s] for s in BESIDE if s in paths)
        sounds = [paths[s] for s in AUDIO_SUFFIXES if s in paths]
        if sounds:
            yield from (Files(sound, scores, beside) for sound in sounds)
        elif scores:
            yield Files(None, scores, beside)


def prepared(root: Path, page: Path, *, embed: bool = False, render: bool = False) -> Wanted:
    """What is common to all samples: the tables of the folder. One that cannot be read is passed over and noted."""
    wanted = Wanted(root, page, embed, render)
    try:
        wanted.told = tables_of(root)
    except ValueError as error:
        wanted.notes.append(("its table", str(error)))
    return wanted


def sample(files: Files, wanted: Wanted) -> Sample:
    """One row; a file that cannot be read becomes a row that says so."""
    labels = _labels(files, wanted)
    faults: list[str] = []
    score = _score(files.scores[0], faults) if files.scores else None
    if score is not None:
        labels = {**_of_score(score), **labels}
    if files.sound is None and score is not None and wanted.render:
        files = Files(_rendered(files.scores[0], score), files.scores, files.beside)
    told: dict[str, Any] = {}
    sound = files.sound
    if sound is not None:
        try:
            told, tags = _heard(sound, faults)
            labels = {**tags, **labels}
        except ValueError as error:
            faults.append(f"damaged: {_without(sound, error)}")
            sound = None
    length = told.get("length") or _seconds(score)
    if score is not None:
        told["roll"] = strips.packed(strips.roll(score, length))
    return Sample(
        title=labels.get("title") or _named(files.main),
        place=_shown(files.main.relative_to(wanted.root)),
        sound="" if sound is None else _address(sound, wanted),
        artists=artists_of(labels),
        genres=genres_of(labels),
        labels={name: text for name, text in labels.items() if name not in UNSAID},
        links=_links(files, wanted),
        fault="; ".join(faults),
        time=files.main.stat().st_mtime,
        **{**told, "length": length},
    )


# -- sound and notes -----------------------------------------------------------------------------------------


def _heard(path: Path, faults: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The strips and the length of a recording, and its tags. ValueError for what cannot be opened at all."""
    heard, facts, wrong = strips.heard(path)
    if wrong:
        faults.append(wrong)
    if not heard.at:  # it was cut short, which its header says before it is read
        return {}, {}
    told = {
        "waveform": strips.packed(heard.waveform()),
        "spectrogram": strips.packed(heard.spectrogram()),
        "length": heard.at / heard.rate,
    }
    if facts is None:
        return told, {}
    sides = {1: "mono", 2: "stereo"}.get(facts.channels, f"{facts.channels} channels")
    said = f"{facts.format.split()[0]}, {facts.rate:,} Hz, {sides}, {facts.level:.0f} dB on average"
    return told, {**facts.tags, "recording": said}


def _score(path: Path, faults: list[str]) -> Any:
    try:
        score = read(path)
        return None if hasattr(score, "rate") else score  # a recording that is called a score
    except (ValueError, ImportError) as error:
        faults.append(f"score damaged: {_without(path, error)}")
        return None


def _of_score(score: Any) -> dict[str, str]:
    """What a score says of itself, and what it is in words."""
    from otonoha.cli.takes import in_words

    told = {name: values[0][1] for name in ("title", "composer", "style") if (values := marker(score, name))}
    return {**told, "music": in_words(score)}


def _seconds(score: Any) -> float:
    from otonoha.music.score import notes, seconds

    if score is None:
        return 0.0
    last = max((int(notes(track).end.max(initial=0)) for track in score.tracks), default=0)
    return float(seconds(score, np.array([last]))[0])


def _rendered(path: Path, score: Any) -> Path:
    """The sound of a score, written beside it."""
    from otonoha.io.render import render

    return write(render(score), path.with_suffix(".wav"))


# -- what is said of a sample --------------------------------------------------------------------------------


def _labels(files: Files, wanted: Wanted) -> dict[str, str]:
    """All but what the files themselves say."""
    named = COMPOSED.fullmatch(files.main.stem)
    labels = {"seed": named[1]} if named else {}
    for read_one in (_from_json, _from_lyrics):
        try:
            labels |= read_one(files)
        except ValueError as error:
            wanted.notes.append((_shown(files.main.relative_to(wanted.root)), " ".join(str(error).split())))
    for path in (*files.scores[::-1], files.main):
        labels |= wanted.told.labels.get(path, {})
    return {name: str(text) for name, text in labels.items() if str(text).strip()}


def _from_json(files: Files) -> dict[str, str]:
    """The .json beside a sample; the controls of a request stand in front, for they are what was asked for."""
    path = next((p for p in files.beside if p.suffix.lower() == ".json"), None)
    if path is None:
        return {}
    try:
        told = json.loads(load_bytes(path, limit=JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(told, Mapping):
        raise ValueError(f"{path.name} does not describe a sample")
    inner = told.get("controls")
    mixed = {
        **(inner if isinstance(inner, Mapping) else {}),
        **{k: v for k, v in told.items() if k != "controls"},
    }
    return {str(name): text for name, value in mixed.items() if (text := _text(value))}


def _text(value: Any) -> str:
    """A value of JSON as a label; what is nested is none."""
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value if not isinstance(one, list))
    return "" if value is None or isinstance(value, Mapping) else str(value)


def _from_lyrics(files: Files) -> dict[str, str]:
    return lyrics_beside(files.main)


def artists_of(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The names in an artist label, which in a request may be a mix of several."""
    from otonoha.models.jukebox.blend import blend, read_blend

    text = labels.get("artist") or labels.get("composer") or ""
    if not text or "seed" not in labels:
        return (text,) if text else ()
    try:
        return tuple(blend(read_blend(text)).names())
    except ValueError:
        return (text,)


def genres_of(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of a genre; in a request it may be a mix as well."""
    text = labels.get("genre") or labels.get("style") or ""
    mixed = artists_of({"artist": text, **({"seed": labels["seed"]} if "seed" in labels else {})})
    parts = [part.strip() for name in mixed for part in re.split("[,;]", name)]
    return tuple(dict.fromkeys(part for part in parts if part))


# -- where the files are -------------------------------------------------------------------------------------


def _address(path: Path, wanted: Wanted) -> str:
    """The URL of a sound: relative to the page, or the sound itself. ValueError when a page would get too large."""
    if not wanted.embed:
        return url(path, wanted.page)
    wanted.embedded += path.stat().st_size
    if wanted.embedded > EMBEDDED:
        raise ValueError(
            f"--embed: the sounds have more than {EMBEDDED >> 20} MB; leave it out, and the page will link to them"
        )
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:audio/{KINDS[path.suffix.lower()]};base64,{data}"


def url(path: Path, page: Path) -> str:
    """A file as seen from a page; whatever its name holds, it stays a path."""
    try:
        relative = os.path.relpath(path, page.parent)
    except ValueError:  # on another drive
        return path.resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _links(files: Files, wanted: Wanted) -> dict[str, str]:
    """The files of a sample, to be opened or taken away."""
    named = [(p.suffix.lower().removeprefix("."), p) for p in (files.sound, *files.scores) if p is not None]
    named += [(BESIDE[p.suffix.lower()], p) for p in files.beside]
    return {what: url(path, wanted.page) for what, path in named}


def _named(path: Path) -> str:
    """What a file is called; one that only has a number, with its folder."""
    stem = _shown(Path(path.stem))
    return f"{_shown(Path(path.parent.resolve().name))} {stem}" if stem.isdigit() else stem


def _shown(path: Path) -> str:
    """A path as text; bytes that are no UTF-8 as question marks."""
    return path.as_posix().encode("utf-8", "replace").decode("utf-8")


def _without(path: Path, error: Exception) -> str:
    """What is wrong, without the file's name, which stands beside it."""
    said, name = (" ".join(str(one).split()) for one in (error, path))
    return said.removeprefix(name).removeprefix(":").strip()


Progress = Callable[[int, int, str], None]


def samples(wanted: Wanted, progress: Progress) -> list[Sample]:
    """All rows of a folder."""
    every, rows = found(wanted.root), []
    for number, files in enumerate(every):
        progress(number, len(every), files.main.name)
        rows.append(sample(files, wanted))
    return rows
