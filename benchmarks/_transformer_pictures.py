"""The pictures of docs/music_transformer.md: every task of `ensemble` on pieces that it has not learnt.

    python benchmarks/_transformer_pictures.py [--model ensemble] [--only infill join] [--out docs/pictures]

The given music comes from validation pieces (OpenScore: CC0; chorales: public domain). Takes are the first of their
seed; the seeds stand here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score, Track

import otonoha as oto
from _pictures import SECTIONS, Span, by_section, by_track, draw, some, told_apart
from _table import RESULTS
from otonoha.music.markers import pickup
from otonoha.music.score import select_tracks, slice_bars
from otonoha.music.time import bar_table
from otonoha.music.tracks import notes, with_notes
from otonoha.sample.tasks import Accompany, Continue, Infill, Join, Vary

PICTURES = RESULTS.parent.parent / "docs" / "pictures"
QUARTET = "violin,violin,viola,cello"


def opening(corpus: str, number: int, bars: int) -> Score:
    """The first full bars of a validation piece: the `number`-th of those in which every track has a note in every bar
    and some have six.
    """
    for piece in oto.corpus(corpus).valid:
        score = piece.score()
        upbeat = int(bar_table(score).first_is_pickup)
        if len(bar_table(score)) < bars + upbeat:
            continue
        cut = slice_bars(score, 0, bars + upbeat)
        counts = np.stack([_counts(cut, track)[upbeat:] for track in cut.tracks])
        number -= bool(counts.min() >= 1 and 6 <= counts.max() <= 16)
        if number < 0:
            return cut
    raise LookupError(f"{corpus} has no such piece")


def _counts(score: Score, track: Track) -> np.ndarray:
    """(B,) notes that begin in each bar."""
    table = bar_table(score)
    return np.bincount(table.bar_at(notes(track).onset), minlength=len(table))


def compose(model: Any, out: Path) -> None:
    asked = {"instruments": QUARTET, "style": "quartet", "key": "D", "metre": "4/4", "bars": 8}
    take = model.sample(**asked, pickup=0, seed=3).music
    title = " ".join(f"--{name} {value}" for name, value in asked.items())
    oto.plot.save(draw(take, by_track(take), title), out)


def go_on(model: Any, out: Path) -> None:
    given = opening("lieder", 1, 4)
    take = model.sample(Continue(given), bars=4, seed=1).music
    oto.plot.save(draw(take, told_apart(take, given), "continue: four bars of a song, and four more"), out)


def infill(model: Any, out: Path) -> None:
    given = opening("quartets", 0, 8)
    take = model.sample(Infill(given), only_bars="3-6", only_tracks="2,3", seed=1).music
    oto.plot.save(draw(take, told_apart(take, given), "infill: bars 3-6 of second violin and viola"), out)


def accompany(model: Any, out: Path) -> None:
    whole = opening("lieder", 3, 8)
    given = select_tracks(whole, [0])
    take = model.sample(Accompany(given), instruments="piano", seed=1).music
    oto.plot.save(draw(take, told_apart(take, given), "accompany: a singer's line, and a piano for it"), out)


def vary(model: Any, out: Path) -> None:
    given = opening("bach-chorales", 2, 8)
    take = model.sample(Vary(given), strength=0.3, seed=1).music
    layers = told_apart(take, given, gone=True)
    oto.plot.save(draw(take, layers, "vary: strength 0.3"), out)


def join(model: Any, out: Path) -> None:
    first, second = neighbours()
    take = model.sample(Join(first, second), bars=2, seed=1).music
    between = len(bar_table(first))
    layers = told_apart(take, without_bars(take, between, between + 2))
    oto.plot.save(draw(take, layers, "join: two songs, and two bars that lead from one to the other"), out)


def without_bars(score: Score, first: int, stop: int) -> Score:
    """A score without the notes that begin in these bars."""
    begin, end = bar_table(score).start[[first, stop]]
    result = score.copy()
    for i, track in enumerate(score.tracks):
        found = notes(track)
        result.tracks[i] = with_notes(track, some(found, (found.onset < begin) | (found.onset >= end)))
    return result


def neighbours() -> tuple[Score, Score]:
    """The first bars of the first two songs that have one metre, the same instruments and no pick-up."""
    songs = [song for i in range(12) if not pickup(song := opening("lieder", i, 3))]
    for i, a in enumerate(songs):
        for b in songs[i + 1 :]:
            if kind_of(a) == kind_of(b):
                return a, b
    raise LookupError("no two songs can be joined without a change of metre")


def kind_of(score: Score) -> tuple[Any, ...]:
    """Metre and instruments."""
    table = bar_table(score)
    return int(table.numerator[0]), int(table.denominator[0]), [t.program for t in score.tracks]


def form(model: Any, out: Path) -> None:
    plan, bars = "AA'BA", 4
    take = model.sample(
        form=plan, bars=4 * bars, instruments="voice,piano", style="lied", metre="3/4", pickup=0, seed=1
    ).music
    letters = re.findall("[A-H]'?", plan)
    spans = [Span(i * bars, (i + 1) * bars, name, SECTIONS[name]) for i, name in enumerate(letters)]
    oto.plot.save(draw(take, by_section(take, spans), f'--form "{plan}" --bars {4 * bars}', spans=spans), out)


ALL: dict[str, Callable[[Any, Path], None]] = {
    "compose": compose,
    "continue": go_on,
    "infill": infill,
    "accompany": accompany,
    "vary": vary,
    "join": join,
    "form": form,
}


def transformer(model: str = "ensemble", only: list[str] | None = None, folder: Path = PICTURES) -> None:
    """Draw all, or some."""
    writer = oto.load(model)
    for name in only or ALL:
        path = folder / f"ensemble_{name}.png"
        ALL[name](writer, path)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="pictures of the tasks of a Music Transformer")
    parser.add_argument("--model", default="ensemble", help="shipped name or folder")
    parser.add_argument("--only", nargs="*", choices=list(ALL))
    parser.add_argument("--out", type=Path, default=PICTURES)
    asked = parser.parse_args()
    transformer(asked.model, asked.only, asked.out)
