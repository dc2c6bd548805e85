"""`otonoha import-jukebox`: the published files of the original Jukebox as model folders of ours."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, Values, command, flags_of, parse
from otonoha.cli.output import Output

ABOUT = """Make model folders of the published files of the original Jukebox, which you have fetched yourself:
vqvae.pth.tar, prior_level_2.pth.tar (1b_lyrics, 5b or 5b_lyrics), prior_level_1.pth.tar and prior_level_0.pth.tar. A
codec and a prior of level 2 become one model that writes sound. The files are only read: nothing in them is run."""
TERMS = "OpenAI's Noncommercial Use License, for code and weights: no commercial use (openai/jukebox, issues 22, 287)"
NOTICE = """The weights of Jukebox are no part of otonoha and not under its licence. OpenAI publishes them for
noncommercial use only (Noncommercial Use License; openai/jukebox, issues 22 and 287): the licence that comes with them
decides."""
DATA = "1.2 million songs, about 600,000 of them in English, with lyrics (Dhariwal et al. 2020)"
CODEC = "codec"


@dataclass(frozen=True)
class Options:
    """Options of import-jukebox."""

    folder: Positional[str]
    """Folder with the published files under their own names; they may lie in folders below it."""
    out: str | None = None
    """Folder of the new model; a new one under runs/ when unset."""
    preset: str | None = None
    """Which prior of level 2, where the folder holds several: jukebox_1b_lyrics, jukebox_5b or jukebox_5b_lyrics."""
    artists: tuple[str, ...] | None = None
    """Your copy of the original's lists of artists ("name;id" a line): v2 for 5b and for levels 1 and 0, v3 for 1b;
    those beside the weights (v2_artist….txt, v3_artist….txt) when unset."""
    genres: tuple[str, ...] | None = None
    """The same of genres."""
    half: bool = False
    """Write the numbers of the priors in two bytes instead of four, where they are not so already."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Part:
    """A model from one file. `name`: codec, level2, level1, level0."""

    name: str
    file: Path
    preset: str
    model: Any

    @property
    def bytes(self) -> int:
        """What it takes on a disk, about."""
        return getattr(self.model, "bytes", 4 * self.model.parameters)


def run(argv: Sequence[str]) -> None:
    """Find, check, convert."""
    flags = flags_of(Options)
    values = parse("import-jukebox", ABOUT, flags, argv)
    output, source, folder = Output(values.json), _source(values.folder), _folder(values)
    output.say(NOTICE)
    parts = _parts(source, values)
    _name(parts, values, source, output)
    for part in parts:
        output.say(
            f"{part.name}: {part.preset}, {part.model.parameters:,} parameters  ({asked.shown_path(part.file)})"
        )
        _label(part, command("import-jukebox", flags, values, out=str(folder), json=False))
        part.model.told = lambda done, total, name=part.name: output.progress(done, total, name)
    _check_room(folder, sum(part.bytes for part in parts))
    with _whole_or_nothing(folder) as beside:
        kind = _convert(parts, beside, flags, values, folder)
    _tell(output, folder, parts, kind)


# -- what there is ---------------------------------------------------------------------------------------


def _source(folder: str) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"{folder} is no folder; give the one that the published files lie in")
    return path


def _folder(values: Values) -> Path:
    if values.out is None:
        return asked.first_free("jukebox", Path("runs"), lambda path: not path.exists())
    folder = Path(values.out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {values.out} is a file; give a folder")
    if folder.resolve() == Path.cwd().resolve():
        raise ValueError(f"--out {values.out} is the folder that you are in; give a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{values.out} holds something already; choose another --out")
    return folder


def _parts(source: Path, values: Values) -> list[Part]:
    """The codec and the priors of a folder, the coarsest first, opened and checked."""
    from otonoha.models.jukebox.original_files import PUBLISHED, level_of, prior_from
    from otonoha.models.vqvae.original_files import FILE, codec_from
    from otonoha.music.suggest import one_of

    if values.preset is not None:
        one_of(values.preset, PUBLISHED[2], "preset of a published prior")
    files = sorted(path for path in source.rglob("*.pth.tar") if path.is_file())
    parts = [Part(CODEC, path, *codec_from(path)) for path in _only(files, FILE)]
    for level in sorted(PUBLISHED, reverse=True):
        which = [path for path in files if level_of(path) == level]
        opened = [Part(f"level{level}", path, *prior_from(path, half=values.half)) for path in which]
        parts += _chosen(opened, values.preset if level == max(PUBLISHED) else None)
    if not parts:
        raise ValueError(
            f"{source} holds none of the published files (vqvae.pth.tar, prior_level_0, 1, 2.pth.tar)"
        )
    if values.half and all(part.name == CODEC for part in parts):
        raise ValueError("--half has no effect: a codec stays in full precision, or its codes would change")
    return parts


def _only(files: Sequence[Path], name: str) -> list[Path]:
    found = [path for path in files if path.name == name]
    if len(found) > 1:
        raise ValueError(f"there are several: {', '.join(map(str, found[:3]))}; leave one in the folder")
    return found


def _chosen(parts: Sequence[Part], preset: str | None) -> list[Part]:
    """The one that is meant."""
    found = [part for part in parts if preset is None or part.preset == preset]
    if preset is not None and not found:
        there = ", ".join(f"{part.preset} ({part.file})" for part in parts) or "no prior_level_2.pth.tar"
        raise ValueError(f"the folder holds no {preset}; it holds {there}")
    if len(found) > 1:
        some = ", ".join(f"{part.preset} ({part.file})" for part in found[:3])
        several = len({part.preset for part in found}) > 1
        ask = "say which one with --preset" if several else "leave one in the folder"
        raise ValueError(f"there are several: {some}; {ask}")
    return found


def _name(parts: Sequence[Part], values: Values, source: Path, output: Output) -> None:
    """Give the priors the tables of names."""
    from otonoha.models.jukebox.original_tables import Files, lessons_of

    given = {
        what: [Path(str(path)).expanduser() for path in getattr(values, f"{what}s") or ()]
        for what in ("artist", "genre")
    }
    priors = {part.model.level: part.model for part in parts if part.name != CODEC}
    lessons = lessons_of({level: prior.config for level, prior in priors.items()}, Files(given, source))
    for level, prior in priors.items():
        prior.lessons = lessons[level]
        labels = prior.config.labels
        if lessons[level].names is None and labels is not None:
            output.note(
                f"level {level} gets no names of artists and genres: {labels.version}_artist….txt and "
                f"{labels.version}_genre….txt are not there (--artists, --genres); it writes as nobody in particular"
            )


# -- what becomes of it ----------------------------------------------------------------------------------


def _label(part: Part, again: str) -> None:
    what = "the codec" if part.name == CODEC else f"the prior of level {part.name.removeprefix('level')}"
    part.model.card = {
        "name": part.preset,
        "summary": f"Jukebox, {what}: published weights (Dhariwal et al. 2020), converted.",
        "data": DATA,
        "licence": TERMS,
        "ships": "no",
        "file": part.file.name,
        "command": again,
        "date": datetime.date.today().isoformat(),
    }


def _convert(parts: Sequence[Part], beside: Path, flags: Sequence[Any], values: Values, folder: Path) -> str:
    """Write a system, or one model, or each by itself. Returns which."""
    from otonoha.models.jukebox.system import JukeboxSystem

    by_name: Mapping[str, Part] = {part.name: part for part in parts}
    if len(parts) == 1:
        parts[0].model.save(beside)
        return "model"
    priors = [part.model for part in parts if part.name != CODEC]
    codec = by_name[CODEC].model if CODEC in by_name else None
    if codec is not None and "level2" in by_name and ("level1" in by_name or "level0" not in by_name):
        system = JukeboxSystem(priors, codec=codec)
        first = by_name["level2"].model.card
        system.card = {**first, "name": folder.name, "summary": "Jukebox: published weights, converted."}
        system.card.pop("file")
        system.save(beside)
        return "system"
    for part in parts:
        if codec is not None and part.model is not codec:
            part.model.attach(codec)
        part.model.save(beside / "parts" / part.name)
    return "parts"


def _check_room(folder: Path, needed: int) -> None:
    """ValueError where the disk is too full."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{folder} needs {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB left; choose another --out"
            ", or write half as much with --half"
        )


@contextlib.contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when all went well, and is taken away otherwise."""
    folder = folder.resolve()  # where a link leads to: that disk has been looked at
    made = [place for place in folder.parents if not place.exists()]
    beside = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(4)}")
    try:
        beside.mkdir(parents=True)
        yield beside
        if folder.is_dir():
            folder.rmdir()  # it was empty
        beside.replace(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        for place in made:
            with contextlib.suppress(OSError):  # somebody else needs it by now
                place.rmdir()
        raise


def _tell(output: Output, folder: Path, parts: Sequence[Part], kind: str) -> None:
    shown, priors = asked.shown_path(folder), [part for part in parts if part.name != CODEC]
    memory = 4 * sum(part.model.parameters for part in priors)
    output.say(f"{shown}  ({', '.join(part.name for part in parts)})")
    if kind == "system":
        output.say(f"writing with it takes {memory / 1e9:.1f} GB of memory for weights alone, and patience")
        output.say(f"hear it: otonoha sample {shown} --seconds 10")
    elif parts[0].name == CODEC and kind == "model":
        output.say(f"try it: otonoha encode song.wav --with {shown}")
    else:
        output.say(
            "a model that writes sound needs vqvae.pth.tar, prior_level_2.pth.tar and, for level 0, level 1 too: "
            "import them together, or put them together later with otonoha assemble"
        )
    output.finish(
        {
            "folder": folder,
            "kind": kind,
            "parts": {p.name: {"preset": p.preset, "parameters": p.model.parameters} for p in parts},
            "licence": TERMS,
            "memory": memory,
        }
    )
