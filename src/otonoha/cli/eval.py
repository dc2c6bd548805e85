"""`otonoha eval`: likelihood on pieces, generated music beside real music, and how new the generated music is; of a
learned codec the sound of its levels beside the recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from otonoha.cli import asked
from otonoha.cli.band import compared, expressed, is_band, voices
from otonoha.cli.data import terms
from otonoha.cli.fit import name_and_part
from otonoha.cli.flags import Positional, Values, flags_of, parse
from otonoha.cli.output import Output, bold, count, table
from otonoha.data.named import SPECS

ABOUT = """Measure a model: likelihood, generated music beside real music, novelty against what it learnt from; of a
codec what its levels sound like, cost and take."""
MOST_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """Options of eval."""

    model: Positional[str]
    """A model folder, or a model that comes with the package."""
    data: str
    """Pieces to measure on: a corpus with its part, as in bach-chorales:test, or a path. Without a part it is the
    test split of a corpus and of a folder that the model learnt from, and all of any other path."""
    n: int = 8
    """Pieces to generate for the comparison and the novelty report; 0 leaves both out."""
    bars: int | None = None
    """Bars of each generated piece; the checkpoint's default when unset."""
    seed: int = 0
    """Decides the generated pieces."""
    against: str | None = None
    """Real pieces to compare the generated ones with; those of --data when unset."""
    train: str | None = None
    """What the model learnt from (its train split), for the novelty report; what its card says when unset."""
    fold: Literal["pitch-class", "musegan-legacy"] | None = None
    """How pitches become pitch classes in UPC and TD (models of several tracks): correctly, or as in the published
    tables; pitch-class when unset."""
    longest: float | None = None
    """Seconds of each recording that are measured (codecs only); all when unset."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Measure and report."""
    values = parse("eval", ABOUT, flags_of(Options), argv)
    _check(values)
    output = Output(values.json)
    card = asked.described(values.model).get("card") or {}  # a wrong name is told before the data are read
    split = [*SPECS, *_parts(str(card.get("corpora", "")))]
    pieces, named = pieces_of(values.data, "test", split, output)
    against = None if values.against is None else pieces_of(values.against, "test", split, output)
    from otonoha.models.pretrained import load

    model = load(values.model)
    result: dict[str, Any] = {"model": values.model, "data": named, "pieces": len(pieces)}
    _check_model(values, model)
    if model.capabilities.codec:
        from otonoha.cli.codec import coded

        result |= coded(model, pieces, named, values.longest, output)
        output.finish(result)
        return
    if model.capabilities.likelihood:
        result["likelihood"] = _likelihood(model, pieces, named, output)
    if values.n:
        result |= _generated(model, *(against or (pieces, named)), values, output)
    output.finish(result)


def _check(values: Values) -> None:
    if values.n < 0:
        raise ValueError(f"--n must be 0 or more, got {values.n}")
    for option in ("against", "train", "bars"):
        if not values.n and getattr(values, option) is not None:
            raise ValueError(f"--{option} has no effect with --n 0: nothing is generated")
    if values.longest is not None and not values.longest > 0:
        raise ValueError(f"--longest must be above 0, got {values.longest:g}")
    if values.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {values.seed}")


def _check_model(values: Values, model: Any) -> None:
    """Options that have no effect on this model."""
    if model.capabilities.sound:
        raise ValueError(
            f"{values.model} writes sound: its priors are measured one by one (otonoha eval PRIOR)"
        )
    if model.capabilities.codec:
        for option in ("against", "train", "bars", "fold"):
            if getattr(values, option) is not None:
                raise ValueError(f"--{option} has no effect: {values.model} is a codec and writes nothing")
        return
    if values.longest is not None:
        raise ValueError(f"--longest has no effect: {values.model} is no codec of sound")
    if values.fold is not None and not (is_band(model) and values.n):
        why = (
            "nothing is generated"
            if is_band(model)
            else f"{values.model} does not write rolls of several tracks"
        )
        raise ValueError(f"--fold has no effect: {why}")
    if not values.n and not model.capabilities.likelihood:
        raise ValueError(f"nothing to measure: {values.model} has no likelihood, and --n is 0")


def pieces_of(spec: str, part: str, split: Sequence[str], output: Output) -> tuple[list[Any], str]:
    """The pieces that a text names, and the text with the part that was taken where it names none: `part` of the
    corpora and paths in `split` (valid where a small folder has no test pieces), of other paths all.
    """
    from otonoha.data.corpus import corpus, select

    name, given = name_and_part(spec)
    named = spec
    if given is None and _place(name) in {_place(name_and_part(one)[0]) for one in split}:
        lacking = part == "test" and name not in SPECS and not corpus(name, progress=output.reading).test
        named = f"{name}:{'valid' if lacking else part}"
    if name in SPECS and not SPECS[name].default:
        output.note(f"{name}: {terms(SPECS[name].licence, SPECS[name].ships)}")
    return list(select(named, progress=output.reading)), named


def _place(name: str) -> str:
    """One spelling for a corpus or path."""
    return name if name in SPECS else str(Path(name).expanduser().resolve())


def _likelihood(model: Any, pieces: list[Any], named: str, output: Output) -> dict[str, float]:
    """Nats per unit and their parts."""
    output.progress(0, 1, "likelihood")
    figures = {k: float(v) for k, v in model.likelihood(pieces).items()}
    unit = "note" if model.codec.name in ("notes", "book") else "symbol"
    units = int(figures.get("units", 0))
    output.say(bold(f"likelihood on {named}") + f"  ({count(len(pieces), 'piece')}, {count(units, unit)})")
    rows = [
        (
            "all" if name == "loss" else name.replace("_", " "),
            value,
            f"nats a {unit}",
            value / math.log(2),
            "bits",
        )
        for name, value in figures.items()
        if name != "units"
    ]
    output.say(table(rows))
    if model.skipped:
        piece, why = model.skipped[0]
        output.note(
            f"not expressed by the codec: {count(len(model.skipped), 'piece')}; the first: {piece}: {why}"
        )
    bits = {f"{name}_bits": value / math.log(2) for name, value in figures.items() if name != "units"}
    return {**figures, **bits, "left_out": len(model.skipped)}


def _generated(model: Any, real: list[Any], named: str, values: Values, output: Output) -> dict[str, Any]:
    """Metrics of generated pieces beside the real ones, and the novelty report."""
    takes = _takes(model, real, values, output)
    if not takes:
        return {}
    scores = [take.music for take in takes]
    originals = [piece.score() for piece in real]
    specs = learnt_from(model, values)
    learnt = [p for spec in specs for p in pieces_of(spec, "train", specs, output)[0]]
    output.progress(0, 1, "comparing")
    if is_band(model):
        fold = values.fold or "pitch-class"
        known = [piece.score() for piece in learnt]
        found = compared(model, takes, originals, known, named=named, fold=fold, output=output)
    else:
        found = _compared(scores, originals, named, output)
    if not specs:
        output.note(
            "no novelty report: the card names no corpus; say what the model learnt from with --train"
        )
        return found
    return {**found, **_novelty(model, scores, real, learnt, specs, output)}


def _takes(model: Any, real: list[Any], values: Values, output: Output) -> list[Any]:
    """Takes: from nothing or, of models that accompany, around the given track of real pieces."""
    from otonoha.sample.tasks import Accompany, Compose

    output.progress(0, 1, f"generating {values.n} pieces")
    turned = {} if values.bars is None else {"bars": values.bars}
    if Compose in model.capabilities.tasks:
        return list(model.sample(Compose(), seed=values.seed, n=values.n, **turned))
    if Accompany not in model.capabilities.tasks:
        output.note("no generated pieces: the model needs a prompt (--n 0 leaves this out)")
        return []
    given = expressed(model, (piece.score() for piece in real), values.n)
    return [model.sample(Accompany(s), seed=values.seed + i, **turned) for i, s in enumerate(given)]


def _compared(scores: list[Any], real: list[Any], named: str, output: Output) -> dict[str, Any]:
    """Melodies beside melodies."""
    from otonoha.metrics.compare import report, text_table

    rows = report(scores, real)
    output.say()
    output.say(bold(f"{count(len(scores), 'generated piece')} beside {len(real)} of {named}"))
    output.say(text_table(rows))
    return {"comparison": rows}


def _novelty(
    model: Any, scores: list[Any], real: list[Any], learnt: list[Any], specs: list[str], output: Output
) -> dict[str, Any]:
    """What the generated pieces share with what the model learnt from, and what other real pieces share with it:
    their melodies or, of models of several tracks, every pitched track by itself (of chords the top notes).
    """
    from otonoha.metrics.novelty import Memory, longest_match_distribution, novelty_report

    def lines(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return named if model.codec.monophonic else voices(named)

    def looked_up(named: list[tuple[str, Any]]) -> list[dict[str, object]]:
        found = lines(named)
        return novelty_report([score for _, score in found], memory, names=[name for name, _ in found])

    output.progress(0, 1, "looking for copies")
    memory = Memory(lines([(piece.id, piece.score()) for piece in learnt]))
    rows = looked_up([(str(i), score) for i, score in enumerate(scores)])
    spread = longest_match_distribution(rows)
    known = {piece.id for piece in learnt}
    others = [(piece.id, piece.score()) for piece in real if piece.id not in known]
    usual = longest_match_distribution(looked_up(others)) if others else None
    what = "passages" if model.codec.monophonic else "passages of single tracks"
    output.say()
    output.say(
        bold(f"longest {what} that occur in {', '.join(specs)}") + f"  ({count(len(learnt), 'piece')})"
    )
    shown = [
        (f"piece {r['name']}", r["longest_match"], f"of {r['notes']} notes as in {r['piece'] or 'none'}")
        for r in rows[:MOST_SHOWN]
    ]
    output.say(table(shown))
    for whose, told in (("generated pieces", spread), (f"{len(others)} other real pieces", usual)):
        if told:
            output.say(f"  {whose}: " + ", ".join(f"{k} {v:g}" for k, v in told.items()) + " notes")
    return {"novelty": rows, "longest_match": spread, "longest_match_of_real": usual}


def learnt_from(model: Any, values: Values) -> list[str]:
    """The corpora and paths of --train, or of the card where they still exist."""
    parts = _parts(values.train or str(model.card.get("corpora", "")))
    if values.train:
        return parts
    from otonoha.data.named import available

    found = []
    for part in parts:
        name, _ = name_and_part(part)
        here = available(name) if name in SPECS else Path(name).expanduser().exists()
        found += [part] if here else []
    return found


def _parts(spec: str) -> list[str]:
    """The names in a text with commas between them."""
    return [part.strip() for part in spec.split(",") if part.strip()]
