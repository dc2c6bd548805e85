"""Control obedience of `ensemble` (table `transformer`): what is asked for beside what is heard; see transformer.py."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from symusic import Score

from _transformer import (
    BARS,
    GUARANTEED,
    KINDS,
    LONG,
    ORDINAL,
    SEED,
    SOFT,
    TOGETHER,
    Asked,
    Judge,
    Kind,
    Obedience,
    asked_like,
    evenly,
    heard,
    real,
    said,
    traits,
)
from otonoha.data.corpus import corpus
from otonoha.music.form import ALIKE, bar_features, similarity
from otonoha.music.time import key_at
from otonoha.tokens.place import key_index, key_name

GUIDANCE = (1.0, 1.5, 2.0, 3.0)
ALONE = (1.0, 2.0)
"""Guidance of the requests for a single control."""
FORM, SECTION = "AA'BA", 4
USUAL = 0.05
"""Instruments are usual for a style if so many of its training pieces have them."""
Row = dict[str, Any]


def obedience(model: Any, takes: int) -> list[Row]:
    """Share of the samples that are as asked: with all controls at once, and with one alone."""
    asked = requests(takes)
    columns = {f"{g:g}": written(model, asked, asked, g) for g in GUIDANCE}
    rows: list[Row] = []
    for control in (*GUARANTEED, *SOFT):
        row: Row = {"name": control, "samples": len(asked)}
        row |= {f"guidance {name}": found.obeyed(control) for name, found in columns.items()}
        row["another's"] = columns["1"].chance(control)
        if control in SOFT:
            row |= alone(model, control, asked[::2])
        if control in ORDINAL:
            row |= {f"off, {g}": columns[g].off(control) for g in ("1", "2")}
            row["off, another's"] = columns["1"].off_by_chance(control)
        rows.append(row)
    next(r for r in rows if r["name"] == "key")["real"] = keys_of_real()
    return [*rows, styles(model), instruments_of_styles(model, takes), *forms(model, takes)]


def requests(takes: int) -> list[Asked]:
    """Controls like those of validation pieces, as many of each kind."""
    found: list[Asked] = []
    for kind in KINDS:
        each = (asked_like(p, BARS) for p in evenly(corpus(kind.corpus).valid, 2 * takes))
        usual = [a for a in each if a is not None and a["instruments"] == kind.instruments]
        found += evenly(usual, takes // len(KINDS))
    return found


def written(model: Any, wanted: Sequence[Asked], asked: Sequence[Asked], guidance: float) -> Obedience:
    """A take for each request, which says all or some of what is `wanted`."""
    takes = [model.sample(seed=SEED + i, guidance=guidance, **a).music for i, a in enumerate(asked)]
    return Obedience([said(w) for w in wanted], [heard(t) for t in takes], [w["instruments"] for w in wanted])


def alone(model: Any, control: str, wanted: Sequence[Asked]) -> Row:
    """Requests for the instruments and one control."""
    asked = [{name: w[name] for name in ("instruments", "bars", control)} for w in wanted]
    return {f"alone, {g:g}": written(model, wanted, asked, g).obeyed(control) for g in ALONE}


def keys_of_real() -> float:
    """How often the key that is estimated from the first bars of a validation piece is the stated one."""
    scores = [score for kind in KINDS for score in real(kind, "valid", BARS, 24)]
    stated = [(s, key) for s in scores if (key := key_at(s)) is not None]
    return float(np.mean([heard(s)["key"] == key_name(key_index(key)) for s, key in stated]))


# -- style -------------------------------------------------------------------------------------------------


def styles(model: Any) -> Row:
    """Every style for every kind's instruments, as the judge hears it."""
    judge = the_judge()
    row: Row = {"name": "style"}
    for g in GUIDANCE:
        found = styled(model, judge, g)
        row["samples"] = len(found.wanted)
        row[f"guidance {g:g}"] = found.obeyed("style")
        if g == 1:
            row["another's"] = found.chance("style")
    held = [(kind.style, s) for kind in KINDS for s in real(kind, "valid", BARS, 24)]
    return row | {"real": float(np.mean([judge(s) == style for style, s in held]))}


def the_judge() -> Judge:
    """Trained on the first bars of training pieces."""
    known = [(kind.style, traits(s)) for kind in KINDS for s in real(kind, "train", BARS, 80)]
    return Judge([style for style, _ in known], np.stack([t for _, t in known]))


def styled(model: Any, judge: Judge, guidance: float) -> Obedience:
    """Three styles for each ensemble."""
    wanted, found, groups = [], [], []
    for number, (kind, style) in enumerate((k, s.style) for k in KINDS for s in KINDS):
        takes = model.sample(
            seed=SEED + TOGETHER * number,
            n=TOGETHER,
            bars=BARS,
            instruments=kind.instruments,
            style=style,
            guidance=guidance,
        )
        wanted += [{"style": style}] * TOGETHER
        found += [{"style": judge(take.music)} for take in takes]
        groups += [kind] * TOGETHER
    return Obedience(wanted, found, groups)


def instruments_of_styles(model: Any, takes: int) -> Row:
    """A style without instruments: are those that the model chooses usual for it?"""
    chosen = [
        (kind, heard(take.music)["instruments"])
        for kind in KINDS
        for take in model.sample(seed=SEED, n=takes // len(KINDS), bars=BARS, style=kind.style)
    ]
    own = [played in usual(kind) for kind, played in chosen]
    others = [played in usual(k) for kind, played in chosen for k in KINDS if k is not kind]
    name = "instruments that suit the style"
    return {
        "name": name,
        "samples": len(chosen),
        "guidance 1": float(np.mean(own)),
        "another's": float(np.mean(others)),
    }


@functools.cache
def usual(kind: Kind) -> set[tuple[int, ...]]:
    """Instruments that one in twenty of its training pieces has."""
    pieces = corpus(kind.corpus).train
    found = Counter(tuple(sorted(t.program for t in p.score().tracks if len(t.notes))) for p in pieces)
    return {programs for programs, count in found.items() if count >= USUAL * len(pieces)}


# -- form --------------------------------------------------------------------------------------------------


def forms(model: Any, takes: int) -> list[Row]:
    """AA'BA: the last section is the first one again, the second is like it but not the same; beside the same bars of
    pieces without a plan."""
    same: Row = {"name": "form AA'BA: A again, note by note"}
    varied: Row = {"name": "form AA'BA: A' is like A, not the same"}
    for name, options in (
        ("another's", {}),
        ("guidance 1", {"form": FORM}),
        ("guidance 2", {"form": FORM, "guidance": 2.0}),
    ):
        scores = planned(model, takes, options)
        likeness = [likeness_of(s) for s in scores]
        same |= {"samples": len(scores), name: float(np.mean([exact for exact, _, _ in likeness]))}
        like = [value >= ALIKE and not equal for _, value, equal in likeness]
        varied |= {"samples": len(scores), name: float(np.mean(like))}
    order = ("name", "samples", "guidance 1", "guidance 2", "another's")
    return [{key: row[key] for key in order} for row in (same, varied)]


def planned(model: Any, takes: int, options: Asked) -> list[Score]:
    """As many of each kind."""
    found = []
    for kind in KINDS:
        asked = {"style": kind.style, "instruments": kind.instruments, "bars": LONG, **options}
        found += [t.music for t in model.sample(seed=SEED, n=takes // len(KINDS) // 2, **asked)]
    return found


def likeness_of(score: Score) -> tuple[bool, float, bool]:
    """Of sections of four bars: is the fourth literally the first? How like it is the second, and is it the same?"""
    bars = bar_features(score)
    alike, literal = similarity(bars), bars.literal
    first, second, fourth = (slice(i * SECTION, (i + 1) * SECTION) for i in (0, 1, 3))
    return (
        bool((literal[first] == literal[fourth]).all()),
        float(np.diagonal(alike[first, second]).mean()),
        bool((literal[first] == literal[second]).all()),
    )
