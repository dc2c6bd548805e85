"""`otonoha plot`: a piano-roll, the grid of a band, a spectrogram, the learning curves of a run, a map of artists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from otonoha.cli import asked, plot_map
from otonoha.cli.encode import codec
from otonoha.cli.flags import Positional, Values, flags_of, parse, word
from otonoha.cli.output import Output
from otonoha.music.suggest import one_of

ABOUT = """Draw a picture of a file: a piano-roll or a grid of tracks and bars (scores), a spectrogram (sound),
learning curves (run folders), a map of the artists and genres that a model of sound has learnt."""
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Options:
    """Options of plot."""

    kind: Positional[Literal["roll", "grid", "spectrogram", "loss", "map"]]
    """What to draw."""
    file: Positional[str]
    """A score for roll and grid, sound for spectrogram, a run folder or its log.jsonl for loss, a model for map."""
    more: Positional[tuple[str, ...]] = ()
    """Further sounds, drawn below the first on the same axes and scale (spectrogram only)."""
    with_: str | None = None
    """A codec: below the sound stands what each of its levels makes of it (spectrogram only)."""
    out: str | None = None
    """A .png, .svg or .pdf file (a map may also be an .html page), or a folder; a .png beside the file when unset."""
    bars: str | None = None
    """Bars of the grid, such as 1-8 (grid only); all when unset."""
    columns: int | None = None
    """Bars side by side in the grid (grid only); 8 when unset."""
    figure: str | None = None
    """Which figure of the log to draw (loss only); loss when unset."""
    names: Literal["artists", "genres"] | None = None
    """Whose map (map only); both when unset."""
    method: Literal["tsne", "pca"] | None = None
    """How to arrange them (map only); t-SNE and principal components when unset."""
    perplexity: float | None = None
    """About how many neighbours count in t-SNE (map only); 30 when unset, less where there are few names."""
    level: int | None = None
    """The level whose prior is asked (map only); the coarsest when unset."""
    most: int | None = None
    """Only the first so many names of the table (map only): time grows with their square."""
    overwrite: bool = False
    """Replace an existing --out."""


def run(argv: Sequence[str]) -> None:
    """Draw and write."""
    values = parse("plot", ABOUT, flags_of(Options), argv)
    for kind, options in {
        "loss": ("figure",),
        "grid": ("bars", "columns"),
        "spectrogram": ("with_",),
        "map": ("names", "method", "perplexity", "level", "most"),
    }.items():
        for name in options:
            if getattr(values, name) is not None and values.kind != kind:
                raise ValueError(f"{word(name)} has no effect with {values.kind}")
    if values.more and values.kind != "spectrogram":
        raise ValueError(f"plot {values.kind} draws one file; {values.more[0]!r} is one too many")
    source = Path(values.file).expanduser()
    path = asked.target(values.out, _beside(source, values.kind), ".png", overwrite=values.overwrite)
    pages = (plot_map.PAGE,) if values.kind == "map" else ()
    one_of(path.suffix.lower(), (*PICTURES, *pages), "kind of picture file")
    if values.kind == "map":
        plot_map.write(values, path)
    else:
        _draw(values, source, path)
    Output().say(asked.shown_path(path))


def _draw(values: Values, source: Path, path: Path) -> None:
    draw = {"roll": _roll, "grid": _grid, "spectrogram": _spectrogram, "loss": _loss}
    drawing = draw[values.kind](values, source)
    from otonoha.plots import canvas

    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(drawing, path)


def _beside(source: Path, kind: str) -> Path:
    """A picture of a folder lies in it, under the name of its kind."""
    return source / kind if source.is_dir() else source


def _roll(values: Values, source: Path) -> Any:
    from otonoha.plots.roll import roll

    return roll(asked.score_from(values.file))


def _grid(values: Values, source: Path) -> Any:
    from otonoha.plots.grid import grid

    if values.columns is not None and not 1 <= values.columns <= 32:
        raise ValueError(f"--columns must be 1 to 32, got {values.columns}")
    return grid(asked.score_from(values.file), bars=_bars(values.bars), columns=values.columns or 8)


def _bars(text: str | None) -> tuple[int, int] | None:
    """The bars of "3-6" or "4"."""
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not first.strip().isdigit() or not (last or first).strip().isdigit():
        raise ValueError(f"cannot read --bars {text!r}; write it like 1-8")
    return int(first), int(last or first)


def _spectrogram(values: Values, source: Path) -> Any:
    from otonoha.plots.spectrogram import spectrogram

    sounds = [(Path(f).name, _sound(f)) for f in (values.file, *values.more)]
    if values.with_ is not None:
        if values.more:
            raise ValueError(
                f"--with draws what a codec makes of one sound; {values.more[0]!r} is one too many"
            )
        sounds += _levels(codec(values.with_), sounds[0][1])
    if len(sounds) == 1:
        return spectrogram(sounds[0][1], title=source.name)
    return spectrogram(sounds)


def _sound(file: str) -> Any:
    from otonoha.io.files import read
    from otonoha.music.audio import Audio

    sound = read(Path(file).expanduser())
    if not isinstance(sound, Audio):
        raise ValueError(f"{file} is a score; a spectrogram needs sound: otonoha render {file}")
    return sound


def _levels(model: Any, sound: Any) -> list[tuple[str, Any]]:
    """What each level makes of the sound, the finest first."""
    tokens = model.encode(sound)
    names = [f"level{i}" for i in range(model.levels)]
    rates = [tokens.streams[name].size / sound.seconds for name in names]
    return [
        (f"level {i}: {rate:,.0f} codes/s", model.decode(tokens, level=i)) for i, rate in enumerate(rates)
    ]


def _loss(values: Values, source: Path) -> Any:
    from otonoha.plots.loss import loss

    log = source / "log.jsonl" if source.is_dir() else source
    if not log.is_file():
        raise ValueError(f"{log}: no such file; give a run folder (made by otonoha fit) or its log.jsonl")
    units = _units(log.parent) if values.figure in (None, "loss") else {}
    return loss(log, figure=values.figure or "loss", title=source.name, units=units)


def _units(folder: Path) -> dict[str, str]:
    """What the losses of a run count, as far as its model says so."""
    from otonoha.models.pretrained import load

    if not (folder / "config.json").is_file():
        return {}
    model = load(folder)
    first = model.objectives()[0]
    return {"train": f"{first.name} {first.unit}".strip(), "valid": model.capabilities.measure}
