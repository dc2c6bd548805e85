"""`otonoha compose`: a new piece as MIDI, sound and picture, or as sound alone (a model of sound)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, Values, command, flags_of, parse
from otonoha.cli.output import Output, bold
from otonoha.cli.takes import beside, in_words, remember

ABOUT = "Write a new piece: MIDI, sound and a picture of it; with --sound, sound that no score stands behind."
OF_SOUND = "sound"
"""The shipped model of sound."""


@dataclass(frozen=True)
class Options:
    """Options of compose; the model's own controls join them."""

    model: Positional[str] = "ensemble"
    """A model that comes with the package (otonoha models), or a model folder."""
    seed: int | None = None
    """The same seed gives the same piece; drawn by lot and printed when unset."""
    n: int = 1
    """Pieces to write."""
    out: str = "songs"
    """Folder for the files."""
    name: str | None = None
    """Name of the files without ending; tune-SEED when unset. A name that is taken gets a number."""
    soundfont: str | None = None
    """A SoundFont (.sf2, .sf3) to play with by FluidSynth instead of the built-in synthesiser."""
    sound: bool = False
    """Write with the model of sound of the package: codes level by level, not notes."""
    no_sound: bool = False
    """Write no sound."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Compose, write the files, say where they are."""
    own = flags_of(Options)
    model = asked.model_word(argv, own)
    if model is None and "--sound" in argv:
        model = _of_sound()
    flags = asked.control_flags(model or _default(argv), own, argv, task="compose")
    values = parse("compose", ABOUT, flags, argv)
    values.model = model or values.model
    sounds = asked.writes_sound(values.model)
    _check(values, sounds)
    seed, output = asked.seed_of(values), Output(values.json)
    with asked.folder_for(Path(values.out).expanduser()):
        takes = _compose(values, asked.turned(values, flags, own), seed, output)
    again = command("compose", flags, values, seed=seed, json=False)
    told = {"model": values.model, "n": values.n, "command": again}
    pieces = [_write(take, i, seed, values, output) for i, take in enumerate(takes)]
    for take, files in zip(takes, pieces, strict=True):
        remember(take, files["picture"], told)
    synthesiser = None if values.no_sound or sounds else _synthesiser(values.soundfont)
    for take, files in zip(takes, pieces, strict=True):
        _tell(take, files, synthesiser, output)
    output.say(f"seed {seed}; the same again: {again}")
    output.finish(
        {"model": values.model, "seed": seed, "command": again, "synthesiser": synthesiser, "pieces": pieces}
    )


def _default(argv: Sequence[str]) -> str | None:
    """The shipped model where there is one; its help can be read where there is none."""
    from otonoha.models.pretrained import shipped

    default = Options.model
    return default if default in shipped() or not {"-h", "--help"} & set(argv) else None


def _of_sound() -> str:
    from otonoha.models.pretrained import shipped

    if OF_SOUND not in shipped():
        raise ValueError(
            "no model of sound comes with this copy of otonoha yet; make one of trained priors: otonoha assemble "
            "TOP LOWER … --out runs/sound, then otonoha compose runs/sound"
        )
    return OF_SOUND


def _check(values: Values, sounds: bool = False) -> None:
    """Mistakes that are seen before anything is computed."""
    asked.several(values.n)
    if values.sound and not sounds:
        raise ValueError(f"--sound has no effect: {values.model} writes notes; leave out one of them")
    for option in ("no_sound", "soundfont"):
        if sounds and getattr(values, option):
            raise ValueError(
                f"--{option.replace('_', '-')} has no effect: {values.model} writes sound itself"
            )
    if values.no_sound and values.soundfont:
        raise ValueError("--soundfont has no effect with --no-sound; leave out one of them")
    if values.name is not None and (Path(values.name).name != values.name or not values.name.strip(".")):
        raise ValueError(
            f"--name is the name of a file without a folder, got {values.name!r}; --out names the folder"
        )
    if values.soundfont:
        from otonoha.io.fluid import check

        check(Path(values.soundfont).expanduser())
    folder = Path(values.out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {values.out} is a file; give a folder")


def _compose(values: Values, controls: dict[str, Any], seed: int, output: Output) -> list[Any]:
    from otonoha.cli.sample import remaining
    from otonoha.sample.tasks import Compose, Done, Progress

    model = asked.writer(values.model)
    asked.must_write(values.model, model)
    if Compose not in model.capabilities.tasks:
        raise ValueError(
            f"{values.model} does not write from nothing; give it a prompt: otonoha sample {values.model} --prompt FILE"
        )
    takes: list[Any] = []
    for event in model.stream(Compose(), seed=seed, n=values.n, **controls):
        if isinstance(event, Progress):
            output.progress(event.done, event.total, f"composing{remaining(event)}")
        elif isinstance(event, Done):
            takes = event.takes
    return takes


def _write(take: Any, index: int, seed: int, values: Values, output: Output) -> dict[str, Any]:
    """The files of one piece, under a name that is free."""
    if hasattr(take.music, "rate"):
        return _write_sound(take, index, seed, values)
    from otonoha.io.files import write
    from otonoha.io.render import render
    from otonoha.plots import canvas
    from otonoha.plots.roll import roll

    stem = values.name or f"tune-{seed}"
    stem = stem if values.n == 1 else f"{stem}-{index}"
    endings = [".mid", ".png", ".json"] if values.no_sound else [".mid", ".wav", ".png", ".json"]
    base = asked.free_stem(Path(values.out).expanduser(), stem, endings)
    files: dict[str, Any] = {"midi": write(take.music, f"{base}.mid")}
    if not values.no_sound:
        output.progress(1, 1, "rendering")
        audio = render(take.music, soundfont=values.soundfont)
        files |= {"sound": write(audio, f"{base}.wav"), "seconds": round(audio.seconds, 2)}
    files["picture"] = canvas.save(roll(take.music), f"{base}.png")
    return files


def _write_sound(take: Any, index: int, seed: int, values: Values) -> dict[str, Any]:
    from otonoha.io.files import write

    stem = values.name or f"sound-{seed}"
    stem = stem if values.n == 1 else f"{stem}-{index}"
    base = asked.free_stem(Path(values.out).expanduser(), stem, [".wav", ".png", ".npz", ".json"])
    path = write(take.music, f"{base}.wav")
    return {"sound": path, "seconds": round(take.music.seconds, 2), **beside(take, path)}


def _synthesiser(soundfont: str | None) -> str:
    from otonoha.io.render import choose

    return choose(soundfont)


def _tell(take: Any, files: dict[str, Any], synthesiser: str | None, output: Output) -> None:
    if "midi" not in files:
        output.say(bold(f"{take.music.seconds:.1f} s of sound"))
        for kind in ("sound", "picture", "codes"):
            output.say(f"  {asked.shown_path(files[kind])}")
        return
    output.say(bold(in_words(take.music)))
    output.say(f"  {asked.shown_path(files['midi'])}")
    if "sound" in files:
        minutes, seconds = divmod(round(files["seconds"]), 60)
        output.say(f"  {asked.shown_path(files['sound'])}  ({minutes}:{seconds:02d}, by {synthesiser})")
    output.say(f"  {asked.shown_path(files['picture'])}")
