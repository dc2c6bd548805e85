"""`otonoha fit`: train a family's preset on corpora or folders, or go on with a run."""

from __future__ import annotations

import datetime
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.data import report_lines, terms
from otonoha.cli.flags import Flag, Positional, Values, command, first_word, flags_of, merged, parse
from otonoha.cli.output import Output, count
from otonoha.models.registry import FAMILIES, settings_of
from otonoha.music.suggest import one_of
from otonoha.train.settings import Settings

ABOUT = "Train a model on your own files or a named corpus, or go on with a run."


@dataclass(frozen=True)
class Options:
    """Options of fit; the family's config and the training settings join them."""

    family_or_run: Positional[str]
    """A model family (otonoha models), or with --resume a run folder."""
    preset: str | None = None
    """Which of the family's presets; small when unset."""
    data: str | None = None
    """Corpora (otonoha data list), folders and files with commas between them; a corpus may name its part, as
    in bach-chorales:train."""
    out: str | None = None
    """Folder of the run: log, training state, the model; a new one under runs/ when unset."""
    resume: bool = False
    """Go on with the run in the folder, exactly where it stopped."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Material:
    """What a run learns from."""

    train: list[Any]
    valid: list[Any]
    named: str
    licence: str
    ships: bool


def run(argv: Sequence[str]) -> None:
    """Train, or go on; write the card; say how it went."""
    own = flags_of(Options)
    flags = [*own, *_model_flags(argv, own)]
    values = parse("fit", ABOUT, flags, argv)
    output = Output(values.json)
    if values.resume:
        _resume(values, flags, own, output)
    else:
        _begin(values, flags, own, output)


def chief() -> bool:
    """Whether this process speaks and writes (torchrun starts several)."""
    return os.environ.get("RANK", "0") == "0"


# -- flags ---------------------------------------------------------------------------------------------


def _model_flags(argv: Sequence[str], own: Sequence[Flag]) -> list[Flag]:
    """Config and training settings of the family, with the values of the preset in their help."""
    every = merged({name: _config_flags(name, None) for name in FAMILIES})
    switches = {f.word for f in [*own, *every] if f.kind is bool}
    switches |= {"--no-" + f.word[2:] for f in every if f.pair}
    named = first_word(argv, switches) or ""
    if named in FAMILIES:
        return _config_flags(named, _preset_word(argv))
    if named and Path(named).expanduser().is_dir():
        return _config_flags(asked.described(named)["family"], None)
    return every


def _preset_word(argv: Sequence[str]) -> str | None:
    for token, after in zip(argv, [*argv[1:], ""]):
        if token.startswith("--preset"):
            return token.partition("=")[2] or after
    return "small"


def _config_flags(family: str, preset: str | None) -> list[Flag]:
    kind, _, presets = settings_of(family)
    config = presets.get(preset)
    shown = {} if config is None else {f.name: getattr(config, f.name) for f in fields(kind)}
    trained = {} if config is None else {f.name: getattr(config.train, f.name) for f in fields(Settings)}
    return [
        *flags_of(kind, skip=("train", "openings", "styles"), shown=shown),
        *flags_of(Settings, shown=trained),
    ]


def _overrides(values: Values, own: Sequence[Flag], flags: Sequence[Flag]) -> tuple[dict, dict]:
    """What was set of the config, and of the training settings."""
    given = asked.turned(values, flags, own)
    training = {f.name for f in fields(Settings)}
    return (
        {k: v for k, v in given.items() if k not in training},
        {k: v for k, v in given.items() if k in training},
    )


# -- the two ways --------------------------------------------------------------------------------------


def _begin(values: Values, flags: Sequence[Flag], own: Sequence[Flag], output: Output) -> None:
    """A new run."""
    name = values.family_or_run
    if name not in FAMILIES and Path(name).expanduser().is_dir():
        raise ValueError(f"{name} is a folder; to go on with the run in it add --resume")
    _, _, presets = settings_of(name)
    preset = one_of(values.preset or "small", presets, f"preset of {name}")
    if values.data is None:
        raise ValueError("fit needs --data: a corpus (otonoha data list) or a folder, as in --data ~/midi")
    folder = _new_folder(values.out, name)
    from otonoha.models.registry import family

    config, training = _overrides(values, own, flags)
    model = family(name)(preset, **config)
    replace(model.config.train, **training)  # a wrong setting is told before the data are read
    material = gather(values.data, output, kind=_kind(model))
    model.card = {
        "name": folder.name,
        "summary": f"A `{name}` model, preset `{preset}`.",
        "data": f"{material.named}, {len(material.train):,} training pieces",
        "corpora": values.data,
        "licence": material.licence,
        "ships": "yes" if material.ships else "no: keep the weights to yourself",
        "command": command("fit", flags, values, out=values.out or str(folder), json=False),
        "date": datetime.date.today().isoformat(),
    }
    _train(model, folder, material, training, output, resume=False)


def _resume(values: Values, flags: Sequence[Flag], own: Sequence[Flag], output: Output) -> None:
    """Go on with a run: config and data are those it began with."""
    folder = Path(values.family_or_run).expanduser()
    if values.family_or_run in FAMILIES or not folder.is_dir():
        raise ValueError(
            f"--resume needs a run folder, got {values.family_or_run!r}: otonoha fit runs/NAME --resume"
        )
    config, training = _overrides(values, own, flags)
    for option in ("preset", "data", "out", *config):
        if getattr(values, option) is not None:
            raise ValueError(
                f"--{option.replace('_', '-')} has no effect with --resume: the run keeps its own"
            )
    spec = (asked.described(folder).get("card") or {}).get("corpora")
    if not spec:
        raise ValueError(
            f"the card of {folder} does not say what it learnt from; it was not made by otonoha fit"
        )
    if not any((folder / "state").glob("step-*")):
        raise ValueError(f"{folder} holds no training state to go on from; begin again with another --out")
    from otonoha.models.pretrained import load

    model = load(folder)
    material = gather(spec, output, kind=_kind(model))
    _train(model, folder, material, training, output, resume=True)


def _train(
    model: Any, folder: Path, material: Material, training: dict, output: Output, *, resume: bool
) -> None:
    if chief():
        output.note(f"{model.family}: {model.codec.name} codec, run folder {asked.shown_path(folder)}")
    try:
        outcome = model.fit(
            material.train, material.valid or None, out=folder, resume=resume, quiet=not chief(), **training
        )
    except BaseException as error:
        kept = any((folder / "state").glob("step-*"))
        if not kept and chief():
            _tidy(folder)
        if not isinstance(error, KeyboardInterrupt):
            raise
        told = f"to go on: otonoha fit {asked.shown_path(folder)} --resume" if kept else "nothing is kept"
        raise KeyboardInterrupt(f"stopped; {told}") from None
    if not chief():
        return
    if not outcome.history:
        output.note("all steps were made already; a larger --steps makes the run longer")
    best = outcome.best if math.isfinite(outcome.best) else None
    model.card |= {"steps": outcome.step, "seed": model.config.train.seed}
    if best is not None:
        model.card["metrics"] = {
            f"best {model.config.train.monitor} loss ({model.capabilities.measure}, step {outcome.best_step})": best
        }
    model.save(folder)
    _tell(model, folder, outcome, best, output)


def _tidy(folder: Path) -> None:
    """Take away what a run wrote that never came to its first checkpoint, so that its name is free again."""
    for name in ("config.json", "model.safetensors", "README.md", "log.jsonl"):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _tell(model: Any, folder: Path, outcome: Any, best: float | None, output: Output) -> None:
    shown = asked.shown_path(folder)
    if model.skipped:
        piece, why = model.skipped[0]
        output.note(f"left out: {count(len(model.skipped), 'piece')}; the first: {piece}: {why}")
    said = ""
    if best is not None:
        found = f"{best:.4f} ({model.capabilities.measure})"
        said = f"; best {model.config.train.monitor} loss {found} at step {outcome.best_step}"
    output.say(f"{outcome.step} steps{said}")
    output.say(f"{shown}  ({model.parameters:,} parameters)")
    output.say(f"hear it: {shlex.join(['otonoha', *_hear(model, shown)])}")
    output.finish(
        {
            "folder": folder,
            "parameters": model.parameters,
            "steps": outcome.step,
            "best": best,
            "best_step": outcome.best_step,
            "skipped": model.skipped,
            "history": outcome.history,
            "card": model.card,
        }
    )


def _hear(model: Any, shown: str) -> list[str]:
    """The command that lets one hear what the model has learnt."""
    from otonoha.sample.tasks import Compose

    if model.capabilities.codec:
        return ["encode", "FILE", "--with", shown]
    if not model.capabilities.tasks:  # a prior: by itself it can be heard where it is of the coarsest level
        coarser = ["COARSER"] if model.level < len(model.config.hops) - 1 else []
        return ["assemble", *coarser, shown, "--out", "runs/sound"]
    return (
        ["compose", shown] if Compose in model.capabilities.tasks else ["sample", shown, "--prompt", "FILE"]
    )


def _new_folder(out: str | None, family: str) -> Path:
    """The folder of a new run; one that holds something is refused."""
    if out is None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("with several processes fit needs --out: they must agree on the folder")
        return asked.first_free(family, Path("runs"), lambda path: not path.exists())
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder")
    if chief() and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{out} holds something already; to go on with a run: otonoha fit {out} --resume")
    return folder


# -- data ----------------------------------------------------------------------------------------------


def _kind(model: Any) -> Any:
    """What a model learns from: a codec of sound and priors over its codes from recordings, all others from scores."""
    return "sound" if model.capabilities.codec or model.capabilities.recordings else "scores"


def gather(spec: str, output: Output, *, kind: Any = None) -> Material:
    """The pieces of all named corpora and folders, with their terms and how the reading went."""
    from otonoha.data.corpus import corpus

    train: list[Any] = []
    valid: list[Any] = []
    licences, ships = {}, True
    for part in [p.strip() for p in spec.split(",") if p.strip()]:
        name, split = name_and_part(part)
        found = corpus(name, kind=kind, progress=output.reading)
        chosen = getattr(found, split or "train")
        if not chosen:
            raise ValueError(f"{name} has no pieces in {split or 'train'!r} ({found.report.summary()})")
        train += chosen
        valid += () if split == "valid" else found.valid
        licences[found.name] = found.licence
        ships = ships and found.ships
        if chief():
            rest = f", {len(found.test)} held out for tests" if found.test and split != "test" else ""
            pieces = count(len(chosen), "piece")
            output.note(f"{found.name}: {pieces} to learn from, {len(found.valid)} to validate on{rest}")
            output.note(f"  terms: {terms(found.licence, found.ships)}")
            for line in report_lines(found.report):
                output.note(f"  {line}")
    if not train:
        raise ValueError(f"--data {spec!r} names no corpus")
    if not valid and chief():
        output.note("no pieces to validate on: the last weights are kept")
    return Material(train, valid, ", ".join(licences), "; ".join(dict.fromkeys(licences.values())), ships)


def name_and_part(text: str) -> tuple[str, str | None]:
    """ "bach-chorales:train" -> its name and part; a path that exists is taken whole."""
    name, colon, part = text.rpartition(":")
    if not colon or Path(text).expanduser().exists() or "/" in part or "\\" in part:
        return text, None
    return name, one_of(part, ("train", "valid", "test"), "part of a corpus")
