"""`otonoha explain`: what a model attends to and expects along a piece, as pictures and as a page that plays; or how
the critic of a model judges each bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.cli import asked
from otonoha.cli.flags import Positional, Values, flags_of, parse
from otonoha.cli.output import Output, bold, count, table

ABOUT = """Show what a model attends to and expects along a piece (two pictures and a page that plays along), or, for
models with a critic, how real each bar sounds to it."""
ENDINGS = {
    "attention": "-attention.png",
    "probabilities": "-probabilities.png",
    "page": "-explained.html",
    "conductor": "-conductor.png",
}
MOST_BARS = 64
"""Bars that are printed; the picture and --json have all."""


@dataclass(frozen=True)
class Options:
    """Options of explain."""

    model: Positional[str]
    """A model folder, or a model that comes with the package."""
    file: Positional[str]
    """A score: a take of the model, or anything of yours."""
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
    from otonoha.sample.tasks import Critique

    model = load(values.model)
    if not model.capabilities.explain:
        raise ValueError(f"{values.model} cannot explain a piece; of the models that ship {_able()} can")
    told = model.explain(score)
    judged = isinstance(told, Critique)
    if values.head is not None and (judged or not len(told.attention)):
        raise ValueError(f"--head has no effect: {values.model} has no attention")
    folder = Path(values.out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    base = asked.free_stem(folder, source.stem, ENDINGS.values())
    title = f"{source.name}, read by {Path(values.model).name}"
    if judged:
        _critique(model, told, base, title, output)
    else:
        _explanation(values, model, told, score, base, title, output)


def _able() -> str:
    """The shipped models that can explain."""
    from otonoha.models.base import Model
    from otonoha.models.pretrained import shipped
    from otonoha.models.registry import family

    of = {name: family(asked.described(name)["family"]) for name in shipped()}
    return ", ".join(name for name, kind in of.items() if kind.explained is not Model.explained) or "none"


# -- attention and probabilities -----------------------------------------------------------------------


def _explanation(
    values: Values, model: Any, told: Any, score: Any, base: Path, title: str, output: Output
) -> None:
    """The pictures, the page, and what they are."""
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


# -- the critic ----------------------------------------------------------------------------------------


def _critique(model: Any, told: Any, base: Path, title: str, output: Output) -> None:
    """The score of each bar in words and as a picture, beside those of real phrases."""
    from otonoha.music.score import bar_table
    from otonoha.plots import canvas
    from otonoha.plots.conductor import conductor, ranks, usual

    share, band = ranks(told.scores, told.real), usual(told.real)
    music = told.music
    if len(bar_table(music)) != len(told.scores):  # the codec has cut it into other bars
        music = model.codec.decode(told.tokens)
    drawn = conductor(music, told.scores, told.real, title=title)
    picture = canvas.save(drawn, Path(f"{base}{ENDINGS['conductor']}"))
    output.say(bold(title) + "  (higher: more like real music)")
    rows = [_judged(*bar, band) for bar in zip(told.bars, told.scores, share, strict=True)]
    output.say(table(rows[:MOST_BARS]))
    if len(rows) > MOST_BARS:
        output.say(f"  … and {count(len(rows) - MOST_BARS, 'bar')} more")
    if band is not None:
        low, middle, high = band
        output.say(f"  real phrases: {middle:.3g} in the middle, nine tenths of them {low:.3g} … {high:.3g}")
    output.say(f"{asked.shown_path(picture)}  (the critic's score of every bar above its notes)")
    bars = [
        {"bar": name, "score": float(score), "above_real": float(place)}
        for name, score, place in zip(told.bars, told.scores, share)
    ]
    real = None if band is None else dict(zip(("low", "middle", "high"), band))
    output.finish({"files": {"conductor": picture}, "bars": bars, "real": real})


def _judged(
    name: str, score: float, share: float, band: tuple[float, float, float] | None
) -> tuple[str, ...]:
    """One bar in words."""
    if not np.isfinite(score):
        return name, "not judged", ""
    if band is None or not np.isfinite(share):
        return name, f"{score:+.3g}", ""
    mark = "  ← less than real music" if score < band[0] else ""
    return name, f"{score:+.3g}", f"higher than {share:.0%} of real phrases{mark}"
