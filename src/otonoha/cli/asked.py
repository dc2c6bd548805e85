"""Which model a command line is about, what can be turned on it, and free names for what it writes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from otonoha.cli.flags import Flag, Values, first_word, flags_of, merged, word
from otonoha.models.pretrained import find
from otonoha.models.registry import FAMILIES, SYSTEMS, settings_of
from otonoha.music.suggest import one_of

SMALL = 30_000_000
"""Parameters up to which a step is over before several threads have met (four times slower with two, measured)."""


def described(model: str | Path) -> dict[str, Any]:
    """config.json of a model, without loading torch; ValueError with one line where it is not in order."""
    folder = find(model)
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
        if found["family"] in (*FAMILIES, *SYSTEMS) and isinstance(found["config"], dict):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from otonoha.models.base import read_config  # says precisely what is wrong

    found = read_config(folder)
    one_of(str(found["family"]), [*FAMILIES, *SYSTEMS], f"family in {folder / 'config.json'}:")
    raise ValueError(f"{folder / 'config.json'} does not describe a model")


def control_flags(
    model: str | None, own: Sequence[Flag], argv: Sequence[str] = (), *, task: str | None = None
) -> list[Flag]:
    """The verb's own flags, then the controls of the model with the checkpoint's defaults in their help; those of
    all families as long as no model is named. Refuses controls in `argv` that only other families have, or that
    have no effect on `task`, the only one of the verb.
    """
    if model is None:
        flags = [*own, *_of_any_family(task)]
    else:
        config = described(model)
        flags = [*own, *_of_model(config, task)]
        _refuse_foreign(argv, flags, model, config["family"])
    names = [f.name for f in flags]
    if len(set(names)) < len(names):
        clash = {n for n in names if names.count(n) > 1}
        raise RuntimeError(f"controls are named like options of the command: {sorted(clash)}")
    return flags


def _of_model(config: dict[str, Any], task: str | None = None) -> list[Flag]:
    return flags_of(settings_of(config["family"])[1], shown=config.get("controls") or {}, task=task)


def _of_any_family(task: str | None = None) -> list[Flag]:
    families = (*FAMILIES, *SYSTEMS)
    return merged({family: flags_of(settings_of(family)[1], shown={}, task=task) for family in families})


def _refuse_foreign(argv: Sequence[str], flags: Sequence[Flag], model: str, family: str) -> None:
    """Say whose control it is that this model lacks."""
    foreign = {f.name for f in _of_any_family()} - {f.name for f in flags}
    for token in (t for t in argv if t.startswith("--")):
        name = token[2:].partition("=")[0].replace("-", "_").removeprefix("no_")
        if name in foreign and name in {f.name for f in _of_model({"family": family})}:
            raise ValueError(f"{word(name)} has no effect on a new piece; otonoha sample {model} knows it")
        if name in foreign:
            raise ValueError(f"{word(name)} has no effect on {model}: {family} models do not have it")


def model_word(argv: Sequence[str], own: Sequence[Flag]) -> str | None:
    """The model that a command line names, found before its flags are known."""
    flags = [*own, *_of_any_family()]
    switches = {f.word for f in flags if f.kind is bool} | {
        "--no-" + f.name.replace("_", "-") for f in flags if f.pair
    }
    return first_word(argv, switches)


def turned(values: Values, flags: Sequence[Flag], own: Sequence[Flag]) -> dict[str, Any]:
    """The controls that were set."""
    mine = {f.name for f in own}
    given = {f.name: getattr(values, f.name) for f in flags if f.name not in mine}
    given = {name: value for name, value in given.items() if value is not None}
    readers = {"lyrics": words_from, "notes": notes_from}
    return {n: readers[n](v) if n in readers and isinstance(v, str) else v for n, v in given.items()}


def seed_of(values: Values) -> int:
    """The seed that was asked for, or a new one that is short enough to type."""
    if values.seed is None:
        return secrets.randbelow(1_000_000)
    if values.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {values.seed}")
    return values.seed


def several(n: int) -> int:
    """A number of takes."""
    if n < 1:
        raise ValueError(f"--n must be at least 1, got {n}")
    return n


def writes_sound(model: str | Path) -> bool:
    """Whether a model writes sound instead of scores; told without loading it."""
    return described(model)["family"] in SYSTEMS


def must_write_notes(called: str, model: Any) -> None:
    """Refuse a model whose takes are sound."""
    must_write(called, model)
    if model.capabilities.sound:
        raise ValueError(
            f"{called} writes sound, and this needs notes; otonoha sample {called} writes with it"
        )


def writer(called: str) -> Any:
    """The model that is to write. Its steps are tiny, so it takes one thread unless OMP_NUM_THREADS says otherwise."""
    import torch

    from otonoha.models.pretrained import load

    model = load(called)
    if "OMP_NUM_THREADS" not in os.environ and model.parameters <= SMALL:
        torch.set_num_threads(1)
    return model


def must_write(called: str, model: Any) -> None:
    """Refuse a model that is a codec only."""
    if not model.capabilities.tasks:
        is_a = "a codec (otonoha encode, otonoha decode)"
        if not model.capabilities.codec:
            is_a = "a prior of one level (otonoha assemble makes a model of several)"
        raise ValueError(f"{called} writes nothing of its own: it is {is_a}")


# -- names of files ------------------------------------------------------------------------------------


def free_stem(folder: Path, stem: str, suffixes: Iterable[str]) -> Path:
    """folder/stem, or folder/stem-2, -3 …: the first for which no file with one of the suffixes exists."""
    endings = list(suffixes)
    return first_free(
        stem,
        folder,
        lambda path: not any(path.with_name(path.name + ending).exists() for ending in endings),
    )


def first_free(stem: str, folder: Path, free: Callable[[Path], bool]) -> Path:
    """The first of stem, stem-2, stem-3 … in `folder` that is free."""
    number, path = 1, folder / stem
    while not free(path):
        number += 1
        path = folder / f"{stem}-{number}"
    return path


@contextlib.contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """A folder to write into, made if need be; a new one that a failure leaves empty is taken away again."""
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):  # it holds something: what is written is kept
                path.rmdir()
        raise


def target(out: str | None, beside: Path, suffix: str, *, overwrite: bool) -> Path:
    """Where one result goes: `out`, or a free name beside the source. An existing `out` is refused."""
    if out is None:
        if overwrite:
            raise ValueError("--overwrite has no effect without --out: a free name is chosen")
        return Path(f"{free_stem(beside.parent, beside.stem, [suffix])}{suffix}")
    path = Path(out).expanduser()
    if path.is_dir() or out.endswith("/"):
        return Path(f"{free_stem(path, beside.stem, [suffix])}{suffix}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; choose another --out, or add --overwrite")
    return path


def score_from(path: str) -> Any:
    """The score in a file; sound, and a score without notes, are refused."""
    from otonoha.io.files import read
    from otonoha.music.audio import Audio

    music = read(Path(path).expanduser())
    if isinstance(music, Audio):
        raise ValueError(f"{path} is a recording; this needs notes: MIDI, MusicXML or ABC")
    if not any(len(track.notes) for track in music.tracks):
        raise ValueError(f"{path} has no notes")
    return music


def sound_from(path: str) -> Any:
    """A recording, read slice by slice, or the codes in an .npz file."""
    from otonoha.data.audio_recording import Opened
    from otonoha.io.files import SCORE_SUFFIXES
    from otonoha.tokens.files import load_tokens

    file = Path(path).expanduser()
    if file.suffix.lower() == ".npz":
        return load_tokens(file)
    if file.suffix.lower() in (*SCORE_SUFFIXES, ".abc"):
        raise ValueError(f"{path} is a score; this needs sound: otonoha render {path}, or codes (.npz)")
    return Opened(file)


def words_from(text: str) -> str:
    """The words themselves, or those in a .txt or .lrc file, as LRC where they have times."""
    if Path(text).suffix.lower() not in (".txt", ".lrc"):
        return text
    from otonoha.io.lrc import lrc_text, read_lyrics

    found = read_lyrics(Path(text).expanduser())
    return lrc_text(found) if found.timed else found.text


def notes_from(text: str) -> Any:
    """Notes as they are typed, or the score in a file."""
    from otonoha.io.files import SCORE_SUFFIXES

    return score_from(text) if Path(text).suffix.lower() in (*SCORE_SUFFIXES, ".abc") else text


def shown_path(path: Path) -> str:
    """As short as it can be typed here."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
