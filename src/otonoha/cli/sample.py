"""`otonoha sample`: takes from any model, each with a JSON file that says how it was made; of sound also a picture and
the codes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from otonoha.cli import asked
from otonoha.cli.flags import Flag, Positional, Values, command, flags_of, parse
from otonoha.cli.output import Output
from otonoha.cli.takes import beside, in_words, remember

ABOUT = """Write with a model: from nothing, after a prompt, as an answer to one, as its accompaniment, in its gaps.
`otonoha sample MODEL --help` shows what can be turned on that model, with its defaults."""
Task = Literal[
    "compose", "continue", "answer", "accompany", "infill", "vary", "harmonise", "join", "upsample"
]
SCORES = {"mid": ".mid", "musicxml": ".musicxml", "mxl": ".mxl"}
SOUNDS = {"wav": ".wav", "flac": ".flac", "ogg": ".ogg", "mp3": ".mp3"}
BESIDE = (".png", ".npz", ".json")
"""What lies beside a take."""
NO_FOLDERS = {*SCORES.values(), *SOUNDS.values(), *BESIDE, ".midi", ".xml", ".abc", ".opus", ".svg", ".pdf"}
"""Endings of files: no folder is made under such a name."""


@dataclass(frozen=True)
class Options:
    """Options of sample; the model's own controls join them."""

    model: Positional[str]
    """A model folder, or a model that comes with the package (otonoha models)."""
    prompt: str | None = None
    """A score (MIDI, MusicXML, ABC) to go on from, to answer, to accompany, to fill, to vary or to harmonise; for a
    model of sound a recording or codes (.npz) to go on from or to upsample."""
    to: str | None = None
    """A second score, to which the prompt is led (join)."""
    task: Task | None = None
    """What to do; chosen from the prompt and what the model can do when unset."""
    n: int = 1
    """Takes to write."""
    seed: int | None = None
    """The same seed gives the same takes; drawn by lot and printed when unset."""
    out: str = "takes"
    """A folder, or (for a single take) a file."""
    format: Literal["mid", "musicxml", "mxl", "wav", "flac", "ogg", "mp3"] | None = None
    """Kind of file; mid when unset, wav for sound."""
    job: str | None = None
    """A folder in which the work is saved as it goes; the same command goes on after an interruption."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Place:
    """Where the takes go: `file` for a single one with a name of its own, else numbers in `folder`."""

    folder: Path
    suffix: str
    file: Path | None = None

    def path(self) -> Path:
        """A path that is free."""
        if self.file is not None:
            return self.file
        number = 0
        taken = (*SCORES.values(), *SOUNDS.values(), *BESIDE)
        while any((self.folder / f"{number}{s}").exists() for s in taken):
            number += 1
        return self.folder / f"{number}{self.suffix}"


def run(argv: Sequence[str]) -> None:
    """Sample, write takes and their requests."""
    own = flags_of(Options)
    flags = asked.control_flags(asked.model_word(argv, own), own, argv)
    values = parse("sample", ABOUT, flags, argv)
    asked.several(values.n)
    if values.job is not None and values.seed is None:
        raise ValueError("--job needs --seed: without it, the same command would be another request")
    sounds = asked.writes_sound(values.model)
    place, seed, output = _place(values, sounds), asked.seed_of(values), Output(values.json)
    prompt = None if values.prompt is None else _prompt(values.prompt, sounds)
    model = asked.writer(values.model)
    second = None if values.to is None else asked.score_from(values.to)
    task = task_of(values.task, values.model, model, prompt, second)
    with asked.folder_for(place.folder):
        takes = _drain(values, flags, model, task, seed, place, output)
    again = command("sample", flags, values, seed=seed, job=None, json=False)
    output.say(f"{type(task).__name__} with {values.model}, seed {seed}")
    if forgotten := max(take.traces.get("forgotten", 0) for take in takes):
        output.say(f"longer than the network sees at once: {forgotten} symbols were forgotten on the way")
    written = [_write(take, place, values, again) for take in takes]
    for one in written:
        output.say(f"  {asked.shown_path(one['file'])}  {one['words']}")
    output.say(f"the same again: {again}")
    output.finish({"model": values.model, "seed": seed, "command": again, "takes": written})


def _prompt(path: str, sounds: bool) -> Any:
    return asked.sound_from(path) if sounds else asked.score_from(path)


def _place(values: Values, sounds: bool = False) -> Place:
    """Check --out and --format before anything is computed."""
    out, own = Path(values.out).expanduser(), SOUNDS if sounds else SCORES
    ending, usual = out.suffix.lower(), next(iter(own))
    if values.format and values.format not in own:
        what = "sound" if sounds else "scores"
        raise ValueError(f"--format {values.format}: {values.model} writes {what} ({', '.join(own)})")
    if ending not in own.values() or out.is_dir():
        if out.is_file():
            kind = "sound" if sounds else "score"
            raise ValueError(f"--out {out} is a file that is no {kind}; give a folder or a new .{usual} file")
        if ending in NO_FOLDERS and not out.is_dir():
            allowed = ", ".join(own.values())
            raise ValueError(
                f"--out {out}: {values.model} writes no {ending}; give a folder, or a file: {allowed}"
            )
        return Place(out, own[values.format or usual])
    if values.n > 1:
        raise ValueError(f"--out {out} is one file, but --n is {values.n}; give a folder")
    if values.format and own[values.format] != ending:
        raise ValueError(f"--format {values.format} contradicts --out {out}")
    for path in (out, *(out.with_suffix(suffix) for suffix in (BESIDE if sounds else (".json",)))):
        if path.exists():
            raise ValueError(f"{path} exists already; choose another --out")
    return Place(out.parent, ending, out)


def task_of(name: str | None, called: str, model: Any, prompt: Any, second: Any = None) -> Any:
    """The task of this name, or the one that fits the prompt; `called` is the model as it was asked for."""
    from otonoha.sample import tasks

    asked.must_write(called, model)
    kinds = {name: getattr(tasks, name.capitalize()) for name in get_args(Task)}
    can = [one for one, kind in kinds.items() if kind in model.capabilities.tasks]
    fits = [one for one in can if (one == "compose") == (prompt is None)]
    name = name or (fits[0] if fits else "")
    if name == "compose" and prompt is not None:
        raise ValueError("--prompt has no effect with --task compose; leave out one of them")
    if name and name not in can:
        raise ValueError(f"{called} cannot {name}; what it can do is {', '.join(can)}")
    if not name or (name != "compose" and prompt is None):
        wanted = "a --prompt FILE" if prompt is None else "no --prompt"
        raise ValueError(f"{called} needs {wanted} to {name or ' or '.join(can)}")
    if name == "join":
        if second is None:
            raise ValueError("join needs a second score, --to FILE")
        return kinds[name](prompt, second)
    if second is not None:
        raise ValueError("--to has no effect without --task join")
    return kinds[name]() if name == "compose" else kinds[name](prompt)


def _drain(
    values: Values, flags: Sequence[Flag], model: Any, task: Any, seed: int, place: Place, output: Output
) -> list[Any]:
    """All takes of the request. What is drawn when it is interrupted stays in the job's folder."""
    from otonoha.sample.tasks import Done, Progress

    hidden = asked.first_free(f".job-{seed}", place.folder, lambda path: not path.exists())
    job = hidden if values.job is None else Path(values.job).expanduser()
    controls = asked.turned(values, flags, flags_of(Options))
    takes: list[Any] = []
    try:
        for event in model.stream(task, seed=seed, n=values.n, job=job, **controls):
            if isinstance(event, Progress):
                output.progress(event.done, event.total, f"writing {values.n}{remaining(event)}")
            elif isinstance(event, Done):
                takes = event.takes
    except KeyboardInterrupt:
        go_on = command("sample", flags, values, seed=seed, job=str(job))
        raise KeyboardInterrupt(f"stopped; what is written is kept. To go on: {go_on}") from None
    except BaseException:
        if values.job is None:
            shutil.rmtree(hidden, ignore_errors=True)
        raise
    if values.job is None:
        shutil.rmtree(hidden, ignore_errors=True)
    return takes


def _write(take: Any, place: Place, values: Values, again: str) -> dict[str, Any]:
    """One take and, beside it, the request it came from."""
    from otonoha.io.files import write

    path = write(take.music, place.path())
    files = beside(take, path) if hasattr(take.music, "rate") else {}
    told = remember(
        take, path, {"model": values.model, "prompt": values.prompt, "n": values.n, "command": again}
    )
    return {"file": path, **files, "words": in_words(take.music), **told}


def remaining(event: Any) -> str:
    """Such as ", level 1, 2:05 left", where that is known."""
    from otonoha.train.log import clock

    if not hasattr(event, "level"):
        return ""
    return f", level {event.level}" + ("" if event.left is None else f", {clock(event.left)} left")
