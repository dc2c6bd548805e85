"""`otonoha plot`: a piano-roll, a spectrogram, or the learning curves of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from otonoha.cli import asked
from otonoha.cli.flags import Positional, Values, flags_of, parse
from otonoha.cli.output import Output
from otonoha.music.suggest import one_of

ABOUT = (
    "Draw a picture of a file: a piano-roll (scores), a spectrogram (sound), learning curves (run folders)."
)
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Options:
    """Options of plot."""

    kind: Positional[Literal["roll", "spectrogram", "loss"]]
    """What to draw."""
    file: Positional[str]
    """A score for roll, sound for spectrogram, a run folder or its log.jsonl for loss."""
    out: str | None = None
    """A .png, .svg or .pdf file, or a folder; a .png beside the file when unset."""
    figure: str | None = None
    """Which figure of the log to draw (loss only); loss when unset."""
    overwrite: bool = False
    """Replace an existing --out."""


def run(argv: Sequence[str]) -> None:
    """Draw and write."""
    values = parse("plot", ABOUT, flags_of(Options), argv)
    if values.figure is not None and values.kind != "loss":
        raise ValueError(f"--figure has no effect with {values.kind}")
    source = Path(values.file).expanduser()
    path = asked.target(values.out, _beside(source), ".png", overwrite=values.overwrite)
    one_of(path.suffix.lower(), PICTURES, "kind of picture file")
    drawing = {"roll": _roll, "spectrogram": _spectrogram, "loss": _loss}[values.kind](values, source)
    from otonoha.plots import canvas

    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(drawing, path)
    Output().say(asked.shown_path(path))


def _beside(source: Path) -> Path:
    return source / "loss" if source.is_dir() else source


def _roll(values: Values, source: Path) -> Any:
    from otonoha.plots.roll import roll

    return roll(asked.score_from(values.file))


def _spectrogram(values: Values, source: Path) -> Any:
    from otonoha.io.files import read
    from otonoha.music.audio import Audio
    from otonoha.plots.spectrogram import spectrogram

    sound = read(source)
    if not isinstance(sound, Audio):
        raise ValueError(f"{source} is a score; a spectrogram needs sound: otonoha render {source}")
    return spectrogram(sound, title=source.name)


def _loss(values: Values, source: Path) -> Any:
    from otonoha.plots.loss import loss

    log = source / "log.jsonl" if source.is_dir() else source
    if not log.is_file():
        raise ValueError(f"{log}: no such file; give a run folder (made by otonoha fit) or its log.jsonl")
    return loss(log, figure=values.figure or "loss", title=source.name)
