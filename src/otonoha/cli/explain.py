"""`otonoha explain`: what a model attends to and expects along a piece, as pictures and as a page that plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output

ABOUT = "Show what a model attends to and expects along a piece: two pictures and a page that plays along."
ENDINGS = {"attention": "-attention.png", "probabilities": "-probabilities.png", "page": "-explained.html"}


@dataclass(frozen=True)
class Options:
    """Options of explain."""

    model: Positional[str]
    """A model folder, or a model that comes with the package."""
    file: Positional[str]
    """A melody: a take of the model, or anything of yours."""
    out: str = "explained"
    """Folder for the pictures and the page."""
    head: int | None = None
    """The attention head to draw, counted from 0; the mean of all when unset. The page shows every head."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Explain one piece."""
    values = parse("explain", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.file).expanduser()
    score = asked.score_from(values.file)
    from otonoha.models.pretrained import load

    model = load(values.model)
    told = model.explain(score)
    if not len(told.attention) and values.head is not None:
        raise ValueError(f"--head has no effect: {values.model} has no attention")
    folder = Path(values.out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    base = asked.free_stem(folder, source.stem, ENDINGS.values())
    title = f"{source.name}, read by {Path(values.model).name}"
    files = {}
    if len(told.attention):
        files["attention"] = _attention(told, base, title, values.head)
        files["page"] = _page(told, model.codec.encode(score), score, base, title)
    else:
        output.note(f"{values.model} has no attention: only the probabilities are drawn")
    files["probabilities"] = _probabilities(told, base, title)
    for kind, path in files.items():
        output.say(f"{asked.shown_path(path)}  ({WHAT[kind]})")
    output.finish(
        {
            "files": files,
            "events": told.events,
            "attended": told.attended,
            "heads": len(told.attention),
            "attention": told.attention.round(5),
        }
    )


WHAT = {
    "attention": "which earlier notes it looked at",
    "probabilities": "how likely each pitch was",
    "page": "open it in a browser: plays along",
}


def _attention(told: Any, base: Path, title: str, head: int | None) -> Path:
    from otonoha.plots import canvas
    from otonoha.plots.attention import attention

    drawn = attention(told.attention, told.events, told.attended, head=head, title=title)
    return canvas.save(drawn, Path(f"{base}{ENDINGS['attention']}"))


def _probabilities(told: Any, base: Path, title: str) -> Path:
    from otonoha.plots import canvas
    from otonoha.plots.probabilities import probabilities

    chosen = [pitch_of(name) for name in told.events]
    drawn = probabilities(told.pitches.T, chosen, labels=told.events, title=title)
    return canvas.save(drawn, Path(f"{base}{ENDINGS['probabilities']}"))


def pitch_of(event: str) -> int | None:
    """The MIDI pitch that an event's name says, None for rests, ties, chords."""
    from otonoha.music.theory import parse_pitch

    for name in (event, event.replace("-", "b", 1)):  # the book's codec writes B flat as B-
        try:
            return parse_pitch(name)
        except ValueError:
            continue
    return None


def _page(told: Any, encoded: Any, score: Any, base: Path, title: str) -> Path:
    """The page that plays along: a melody by itself, or (attended notes that are no start) question and answer."""
    from otonoha.plots.html import attention_page

    weights, labels, onsets = from_start(told), told.events, told.tokens.clock
    if told.attended[:1] != ["start"]:
        weights, labels = told.attention, [*told.attended, *told.events]
        onsets = np.append(question_clock(told, encoded), onsets)
    text = attention_page(score, weights, labels, onsets=onsets, probabilities=told.pitches.T, title=title)
    path = Path(f"{base}{ENDINGS['page']}")
    path.write_text(text, "utf-8")
    return path


def from_start(told: Any) -> np.ndarray:
    """(H, T, T) attention by event: column s of the model is event s - 1, its column 0 the start, left out."""
    shifted = np.zeros_like(told.attention)
    shifted[:, :, :-1] = told.attention[:, :, 1:]
    return shifted


def question_clock(told: Any, encoded: Any) -> np.ndarray:
    """The quarter notes of the attended events: those right before the answer in the whole melody."""
    first = int(np.searchsorted(encoded.clock, told.tokens.clock[0]))
    return encoded.clock[first - len(told.attended) : first]
