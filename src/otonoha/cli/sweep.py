"""`otonoha sweep`: one knob turned step by step, as a picture, as sound, and as MIDI files.

A verb of its own and no kind of `plot`: plot draws files that are there, this asks a model for new music.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from otonoha.cli import asked
from otonoha.cli.flags import Flag, Positional, Values, command, flags_of, parse, word
from otonoha.cli.output import Output, bold, table
from otonoha.models.registry import settings_of
from otonoha.music.suggest import one_of
from otonoha.sample.controls import check

ABOUT = """Turn a knob of a model step by step: a picture of what changes in which track, one sound file in which the
settings are heard one after the other, and a MIDI file of each.
`otonoha sweep MODEL --help` shows what can be turned on that model."""
MOST = 24


@dataclass(frozen=True)
class Options:
    """Options of sweep; the model's own controls join them."""

    model: Positional[str]
    """A model folder, or a model that comes with the package."""
    knob: str
    """What to turn: a knob with a seed of its own (chords, style, melody, groove; several with commas), or any
    other control of the model that is a number, such as temperature."""
    seed: int | None = None
    """The piece to start from; drawn by lot and printed when unset."""
    to_seed: int | None = None
    """The piece that a knob with a seed of its own is turned to; the next number after --seed when unset."""
    start: float | None = None
    """Setting of the first row; 0 for a knob with a seed of its own."""
    stop: float | None = None
    """Setting of the last row; 1 for a knob with a seed of its own."""
    n: int = 5
    """Settings, evenly spaced."""
    against: Literal["first", "previous"] = "first"
    """What counts as changed: against the first row, or against the row above."""
    prompt: str | None = None
    """A score, for models that need one."""
    out: str = "sweeps"
    """Folder for the files."""
    pause: float = 1.0
    """Seconds of silence between two settings."""
    soundfont: str | None = None
    """A SoundFont (.sf2, .sf3) to play with by FluidSynth instead of the built-in synthesiser."""
    no_sound: bool = False
    """Write no sound."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Plan:
    """The settings: the controls of each, how each is called, and the name and title of the whole."""

    settings: list[tuple[str, dict[str, Any]]]
    name: str
    title: str


def run(argv: Sequence[str]) -> None:
    """Turn, write the files, say where they are and what changed."""
    own = flags_of(Options)
    flags = asked.control_flags(asked.model_word(argv, own), own, argv)
    values = parse("sweep", ABOUT, flags, argv)
    _check(values)
    seed, output = asked.seed_of(values), Output(values.json)
    fixed = asked.turned(values, flags, own)
    plan = _plan(values, flags, own, fixed, seed)
    _, controls, _ = settings_of(asked.described(values.model)["family"])
    for _, turned in (plan.settings[0], plan.settings[-1]):
        check(controls(**fixed, **turned))
    asked_for = [_moving(fixed, turned, getattr(controls, "scopes", {})) for _, turned in plan.settings]
    scores = _scores(values, plan, asked_for, seed, output)
    folder = Path(values.out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    endings = [".png", ".wav", ".json", *(f"-{i + 1}.mid" for i in range(values.n))]
    base = asked.free_stem(folder, plan.name, endings)
    files = _write(values, plan, scores, base, output)
    again = command("sweep", flags, values, seed=seed, json=False)
    changed = _changed(plan, scores, values.against)
    told = {"model": values.model, "seed": seed, "command": again, "settings": changed, "files": files}
    _note(Path(f"{base}.json"), told)
    _tell(told, plan, seed, again, output)
    output.finish(told)


def _check(values: Values) -> None:
    """Mistakes that are seen before anything is computed."""
    if not 2 <= values.n <= MOST:
        raise ValueError(f"--n must be 2 to {MOST} settings, got {values.n}")
    if not 0 <= values.pause <= 60:
        raise ValueError(f"--pause must be 0 to 60 seconds, got {values.pause:g}")
    if values.no_sound and values.soundfont:
        raise ValueError("--soundfont has no effect with --no-sound; leave out one of them")
    if values.to_seed is not None and values.to_seed < 0:
        raise ValueError(f"--to-seed must be 0 or more, got {values.to_seed}")
    out = Path(values.out).expanduser()
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {values.out} is a file; give a folder")
    if values.soundfont:
        from otonoha.io.fluid import check

        check(Path(values.soundfont).expanduser())


# -- which settings ------------------------------------------------------------------------------------


def _plan(
    values: Values, flags: Sequence[Flag], own: Sequence[Flag], fixed: dict[str, Any], seed: int
) -> Plan:
    """The settings of the sweep, from the controls that the model has."""
    mine = {f.name for f in own}
    kinds = {f.name: f.kind for f in flags if f.name not in mine}
    seeded = [name.removesuffix("_seed") for name in kinds if f"{name.removesuffix('_seed')}_mix" in kinds]
    plain = [name for name, kind in kinds.items() if kind in (int, float) and not _belongs(name, seeded)]
    knobs = [one_of(k.strip(), [*seeded, *plain], "knob") for k in values.knob.split(",")]
    if set(knobs) <= set(seeded):
        return _travel(values, knobs, fixed, seed)
    if len(knobs) > 1:
        raise ValueError(
            f"only {', '.join(seeded) or 'knobs with a seed'} can be turned together, not {values.knob}"
        )
    return _steps(values, knobs[0], kinds[knobs[0]], fixed, seed)


def _belongs(name: str, seeded: Sequence[str]) -> bool:
    """Whether a control is the seed or the mix of a knob."""
    return name.endswith("_seed") or name.removesuffix("_mix") in seeded


def _travel(values: Values, knobs: Sequence[str], fixed: dict[str, Any], seed: int) -> Plan:
    """From one seed to another, on the knobs' own noise."""
    to_seed = seed + 1 if values.to_seed is None else values.to_seed
    if to_seed == seed:
        raise ValueError(f"--to-seed {to_seed} is the seed itself: nothing would change")
    for name in (f"{k}_{part}" for k in knobs for part in ("seed", "mix")):
        if name in fixed:
            raise ValueError(f"{word(name)} is what the sweep turns; use --to-seed, --start and --stop")
    low, high = _ends(values, 0.0, 1.0)
    settings = []
    for mix in _even(low, high, values.n):
        turned = {f"{k}_seed": to_seed for k in knobs} | {f"{k}_mix": mix for k in knobs}
        settings.append((f"{' + '.join(knobs)} {mix:.2f}".rstrip("0").rstrip("."), turned))
    where = f" of {fixed['only_tracks']}" if fixed.get("only_tracks") else ""
    title = f"{' and '.join(knobs)}{where}, turned from seed {seed} to seed {to_seed}"
    return Plan(settings, f"{'-'.join(knobs)}-{seed}-{to_seed}", title)


def _steps(values: Values, knob: str, kind: type, fixed: dict[str, Any], seed: int) -> Plan:
    """From one number to another."""
    if values.to_seed is not None:
        raise ValueError(f"--to-seed has no effect on {knob}; say --start and --stop")
    if knob in fixed:
        raise ValueError(f"{word(knob)} is what the sweep turns; use --start and --stop")
    if values.start is None or values.stop is None:
        raise ValueError(f"to turn {knob}, say from where to where: --start NUMBER --stop NUMBER")
    low, high = _ends(values, 0.0, 0.0)
    numbers = [kind(round(x) if kind is int else x) for x in _even(low, high, values.n)]
    if len(set(numbers)) < values.n:
        raise ValueError(
            f"{knob} is a whole number: {low:g} to {high:g} has no {values.n} different settings"
        )
    return Plan(
        [(f"{knob} {x:g}", {knob: x}) for x in numbers],
        f"{knob}-{seed}",
        f"{knob}, turned in the piece of seed {seed}",
    )


def _ends(values: Values, low: float, high: float) -> tuple[float, float]:
    low = low if values.start is None else values.start
    high = high if values.stop is None else values.stop
    if low == high:
        raise ValueError(f"--start and --stop are both {low:g}: nothing would change")
    return low, high


def _even(low: float, high: float, n: int) -> list[float]:
    return [round(low + (high - low) * i / (n - 1), 6) for i in range(n)]


def _moving(
    fixed: dict[str, Any], turned: dict[str, Any], scopes: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The controls of a setting, less the knobs that stay at the piece (mix 0) and what says where they turn."""
    still = {
        name.removesuffix("_mix") for name, value in turned.items() if name.endswith("_mix") and not value
    }
    asked_for = fixed | {
        k: v for k, v in turned.items() if k.removesuffix("_mix").removesuffix("_seed") not in still
    }
    idle = [
        s
        for s, knobs in scopes.items()
        if still & {*knobs} and not {f"{k}_seed" for k in knobs} & {*asked_for}
    ]
    return {k: v for k, v in asked_for.items() if k not in idle}


# -- carrying it out -----------------------------------------------------------------------------------


def _scores(
    values: Values, plan: Plan, asked_for: list[dict[str, Any]], seed: int, output: Output
) -> list[Any]:
    from otonoha.cli.sample import task_of
    from otonoha.models.pretrained import load

    prompt = None if values.prompt is None else asked.score_from(values.prompt)
    model = load(values.model)
    asked.must_write_notes(values.model, model)
    task = task_of(None, values.model, model, prompt)
    scores = []
    for i, ((label, _), controls) in enumerate(zip(plan.settings, asked_for, strict=True)):
        output.progress(i, values.n, label)
        scores.append(model.sample(task, seed=seed, **controls).music)
    return scores


def _write(values: Values, plan: Plan, scores: list[Any], base: Path, output: Output) -> dict[str, Any]:
    """Picture, MIDI files and sound."""
    from otonoha.io.files import write
    from otonoha.plots import canvas
    from otonoha.plots.sweep import sweep

    labels = [label for label, _ in plan.settings]
    drawn = sweep(list(zip(labels, scores, strict=True)), against=values.against, title=plan.title)
    files: dict[str, Any] = {"picture": canvas.save(drawn, Path(f"{base}.png"))}
    files["midi"] = [write(score, f"{base}-{i + 1}.mid") for i, score in enumerate(scores)]
    if not values.no_sound:
        output.progress(values.n, values.n, "rendering")
        files["sound"] = write(_one_after_the_other(scores, values.pause, values.soundfont), f"{base}.wav")
    return files


def _one_after_the_other(scores: Sequence[Any], pause: float, soundfont: str | None) -> Any:
    """All scores as one sound, with silence between."""
    import numpy as np

    from otonoha.io.render import render
    from otonoha.music.audio import Audio

    heard: list[Any] = []
    for score in scores:
        sound = render(score, soundfont=soundfont)
        silence = np.zeros((sound.channels, round(pause * sound.rate)), np.float32)
        heard += [sound.samples, silence]
    return Audio(np.concatenate(heard[:-1], axis=1), sound.rate)


def _changed(plan: Plan, scores: list[Any], against: Any) -> list[dict[str, Any]]:
    """For each setting its controls and the share of changed notes in every track."""
    from otonoha.plots.sweep import changes

    return [
        {
            "name": label,
            "controls": turned,
            "changed": {change.part.name: round(change.share, 4) for change in row},
        }
        for (label, turned), row in zip(plan.settings, changes(scores, against=against), strict=True)
    ]


def _note(path: Path, told: dict[str, Any]) -> None:
    """How it was made, beside the files."""
    plain = json.dumps({k: v for k, v in told.items() if k != "files"}, indent=1, ensure_ascii=False)
    path.write_text(plain + "\n", "utf-8")


def _tell(told: dict[str, Any], plan: Plan, seed: int, again: str, output: Output) -> None:
    output.say(bold(plan.title) + "  (share of notes that changed)")
    rows = told["settings"]
    names = list(rows[0]["changed"])
    body = [[row["name"], *(f"{row['changed'][n]:.0%}" for n in names)] for row in rows]
    output.say(table([["", *names], *body]))
    files = told["files"]
    output.say(f"  {asked.shown_path(files['picture'])}")
    if "sound" in files:
        output.say(f"  {asked.shown_path(files['sound'])}")
    first, last = (asked.shown_path(files["midi"][i]) for i in (0, -1))
    output.say(f"  {first} … {Path(last).name}")
    output.say(f"seed {seed}; the same again: {again}")
