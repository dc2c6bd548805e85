"""Table `structure`: how much real and generated pieces repeat, and in which sections.

    python benchmarks/structure.py [--corpora lieder bach-chorales] [--pieces 60]
                                   [--models choir ensemble:lied ensemble:lied:AABA …] [--takes 20]
                                   [--folders DIR …] [--bars 32]
    python benchmarks/structure.py --picture          # docs/pictures/form.png only

A model may be asked for a style (with the instruments that most of its pieces have) and for a form: `NAME:STYLE:FORM`.
What the form plan changes is told in one sentence, computed from the table and put into docs/music_transformer.md.

Real pieces are those of the test split, evenly chosen; pieces of several hundred bars (whole quartets in one file)
are left out by `--longest`. Because a longer piece has more chances to repeat itself, each corpus has a second row with
the first `--bars` bars of the pieces that have as many: that is the one to hold against generated takes, which have
`--bars` bars, too. Sections and likeness: `otonoha.music.form`.

    sections           mean number of sections
    exact, varied      share of the bars that lie in exact and in varied repeats of earlier sections
    copied bars        share of the sounding bars that are, note by note, an earlier bar
    lag 4, 8, 16       mean likeness of bars so far apart; any lag: of all pairs of bars, the unit to compare with
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from symusic import Score

import otonoha as oto
from _table import show
from otonoha.music.form import Bars, bar_features, sections, similarity
from otonoha.music.markers import marker
from otonoha.music.time import bar_table
from otonoha.music.tracks import Notes, notes, with_notes
from otonoha.plots.canvas import FAINT, INK, SMALL, TRACKS, axes, save, tidy

LAGS = (4, 8, 16)
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "form.png"
PAGE = Path(__file__).parent.parent / "docs" / "music_transformer.md"
MARK = re.compile(r"(<!-- form plan -->\n).*?(<!-- end -->)", re.DOTALL)
INSTRUMENTS = {
    "lied": "voice,piano",
    "quartet": "violin,violin,viola,cello",
    "chorale": "voice,voice,voice,voice",
}
"""Style -> the instruments of most of its pieces."""
CORPORA = {"lied": "lieder", "quartet": "quartets", "chorale": "bach-chorales"}
MODELS = (
    *("choir", "melody", "chorale"),
    *(f"ensemble:{style}{form}" for style in INSTRUMENTS for form in ("", ":AABA", ":AA'BA")),
)
SHOWN = "Dein ist mein Herz"
"""The song in the picture: two parts come again after a middle."""


def figures(scores: Iterable[Score]) -> dict[str, Any]:
    """One row of the table."""
    found = [figures_of(score) for score in scores]
    mean = {key: [f[key] for f in found if f[key] is not None] for key in found[0]} if found else {}
    row: dict[str, Any] = {"pieces": len(found)}
    return row | {key: float(np.mean(values)) if values else None for key, values in mean.items()}


def figures_of(score: Score) -> dict[str, float | None]:
    """Of one piece."""
    parts, bars = sections(score), bar_features(score)
    total = max(sum(p.bars for p in parts), 1)
    row: dict[str, float | None] = {"bars": float(total), "sections": float(len(parts))}
    for kind in ("exact", "varied"):
        row[kind] = sum(p.bars for p in parts if p.repeat == kind) / total
    return row | {"copied bars": copied(bars)} | likeness(bars)


def copied(bars: Bars) -> float:
    """Share of the sounding bars that are literally an earlier one."""
    sounding = bars.literal[np.unique(bars.bar)]
    return 1 - len(np.unique(sounding)) / len(sounding) if len(sounding) else 0.0


def likeness(bars: Bars) -> dict[str, float | None]:
    """Mean likeness of sounding bars at each lag, and of all pairs; None where there is no such pair."""
    alike = similarity(bars)
    sounds = np.bincount(bars.bar, minlength=len(bars)) > 0
    alike[~sounds] = alike[:, ~sounds] = np.nan
    values = {f"lag {lag}": np.diagonal(alike, lag) for lag in LAGS}
    values["any lag"] = alike[np.triu_indices(len(bars), 1)]
    return {
        name: float(np.nanmean(v)) if np.isfinite(v).any() else None  # a lag may have no pair
        for name, v in values.items()
    }


def first_bars(score: Score, count: int) -> Score | None:
    """The first full bars with the pick-up before them; None for a piece that has fewer."""
    table = bar_table(score)
    stop = count + table.first_is_pickup
    if len(table) < stop:
        return None
    result = score.copy()
    for i, track in enumerate(score.tracks):
        found = notes(track)
        kept = found.onset < table.start[stop]
        end = np.minimum(found.end, table.start[stop])[kept]
        onset = found.onset[kept]
        result.tracks[i] = with_notes(
            track, Notes(onset, end - onset, found.pitch[kept], found.velocity[kept])
        )
    return result


def real(name: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Two rows of a corpus."""
    pieces = oto.corpus(name).test
    few = [pieces[i] for i in np.unique(np.linspace(0, len(pieces) - 1, asked.pieces).astype(int))]
    scores = [score for p in few if len(bar_table(score := p.score())) <= asked.longest]
    cut = [short for score in scores if (short := first_bars(score, asked.bars)) is not None]
    rows = [{"name": f"{name} (test)", **figures(scores)}]
    if cut:
        rows.append({"name": f"{name} (test), first {asked.bars} bars", **figures(cut)})
    return rows


def generated(spec: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The row of a model's takes, written in one request with seed 0."""
    name, style, form = [*spec.split(":"), "", ""][:3]
    wanted = {"style": style, "instruments": INSTRUMENTS[style]} if style else {}
    wanted |= {"form": form} if form else {}
    takes = oto.load(name).sample(bars=asked.bars, seed=0, n=asked.takes, **wanted)
    return {"name": called(spec, asked.bars), **figures(take.music for take in takes)}


def called(spec: str, bars: int) -> str:
    """What the row of a model is called."""
    name, style, form = [*spec.split(":"), "", ""][:3]
    words = [Path(name).name, *([style] if style else []), *([f"form {form}"] if form else [])]
    return f"{', '.join(words)}, {bars} bars"


def sentence(rows: Sequence[dict[str, Any]], bars: int) -> str:
    """What the form plan changes, in one sentence; "" without rows to compare."""
    found = {row["name"]: row for row in rows}
    told = []
    for style, corpus in CORPORA.items():
        names = [called(f"ensemble:{style}{form}", bars) for form in ("", ":AABA", ":AA'BA")]
        actual = found.get(f"{corpus} (test), first {bars} bars")
        if actual is None or not all(name in found for name in names):
            continue
        shares = [row["exact"] + row["varied"] for row in (actual, *(found[name] for name in names))]
        own, free, exact, varied = (f"{share:.0%}" for share in shares)
        told.append(
            f"{free} in {style}s without a plan, {exact} with AABA, {varied} with AA'BA (real ones: {own})"
        )
    if not told:
        return ""
    return f"Of {bars} bars so many lie in repeats of earlier sections: {'; '.join(told)}."


def tell(text: str) -> None:
    """Put the sentence into the page."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(MARK.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page), "utf-8")


def picture() -> Path:
    """The self-similarity of a song and the sections that are found in it."""
    songs = (p.score() for p in oto.corpus("lieder").train)
    score = next(s for s in songs if any(SHOWN in title for _, title in marker(s, "title")))
    alike = similarity(score, up_to_transposition=True)
    figure, ax = axes(None, 5.2, 5.0)
    ax.imshow(alike, cmap="Greys", vmin=0.2, vmax=1, extent=(0, len(alike), len(alike), 0))
    at = 0
    for part in sections(score):
        ink = TRACKS["ABCDEFGH".index(part.label)]
        x = [at, at + part.bars, at + part.bars, at, at]
        ax.plot(x, [at, at, at + part.bars, at + part.bars, at], color=ink, linewidth=2)
        word = f"{part.label} {part.bars}" + ("" if part.repeat == "new" else f" {part.repeat}")
        ax.text(at + part.bars + 0.7, at + part.bars / 2, word, color=ink, va="center", fontweight="bold")
        at += part.bars
    tidy(ax, title=SHOWN, x="bar", y="bar")
    ax.text(1, -0.13, "darker: more alike", transform=ax.transAxes, ha="right", color=INK, fontsize=SMALL)
    ax.spines[:].set_color(FAINT)
    return save(figure, PICTURE)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description="repeats and sections of real and generated pieces")
    parser.add_argument("--corpora", nargs="*", default=["lieder", "quartets", "bach-chorales"])
    parser.add_argument("--pieces", type=int, default=60, help="of each corpus, at most")
    parser.add_argument("--longest", type=int, default=300, help="bars; longer pieces are left out")
    parser.add_argument("--models", nargs="*", default=MODELS, help="NAME, NAME:STYLE or NAME:STYLE:FORM")
    parser.add_argument("--takes", type=int, default=20, help="of each model")
    parser.add_argument("--folders", nargs="*", default=[], help="folders of generated MIDI")
    parser.add_argument("--bars", type=int, default=32)
    parser.add_argument(
        "--picture", action="store_true", help="draw the picture of the docs, measure nothing"
    )
    asked = parser.parse_args()
    if asked.picture:
        print(picture())
        return
    rows = [row for name in asked.corpora for row in real(name, asked)]
    rows += [generated(name, asked) for name in asked.models]
    for folder in asked.folders:
        files = sorted(Path(folder).glob("*.mid"))
        rows.append({"name": Path(folder).name, **figures(oto.read(f) for f in files)})
    words = f"--pieces {asked.pieces} --takes {asked.takes} --bars {asked.bars}"
    if tuple(asked.models) != MODELS:
        words += " --models " + " ".join(asked.models)
    show("structure", rows, f"python benchmarks/structure.py {words}")
    if text := sentence(rows, asked.bars):
        tell(text)
        print(text)


if __name__ == "__main__":
    main()
