"""`otonoha eval`: likelihood on pieces, generated music beside real music, and how new the generated music is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.data import terms
from otonoha.cli.fit import name_and_part
from otonoha.cli.flags import Positional, Values, flags_of, parse
from otonoha.cli.output import Output, bold, count, table

ABOUT = "Measure a model: likelihood, generated music beside real music, novelty against what it learnt from."
MOST_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """Options of eval."""

    model: Positional[str]
    """A model folder, or a model that comes with the package."""
    data: str
    """Pieces to measure on: a corpus with its part, as in bach-chorales:test (test when unset), or a path."""
    n: int = 8
    """Pieces to generate for the comparison and the novelty report; 0 leaves both out."""
    bars: int | None = None
    """Bars of each generated piece; the checkpoint's default when unset."""
    seed: int = 0
    """Decides the generated pieces."""
    against: str | None = None
    """Real pieces to compare the generated ones with; those of --data when unset."""
    train: str | None = None
    """What the model learnt from, for the novelty report; what its card says when unset."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Measure and report."""
    values = parse("eval", ABOUT, flags_of(Options), argv)
    _check(values)
    output = Output(values.json)
    asked.described(values.model)  # a wrong name is told before the data are read
    pieces, named = pieces_of(values.data, "test", output)
    from otonoha.models.pretrained import load

    model = load(values.model)
    result: dict[str, Any] = {"model": values.model, "data": named, "pieces": len(pieces)}
    result["likelihood"] = _likelihood(model, pieces, named, output)
    if values.n:
        result |= _generated(model, pieces, values, output)
    output.finish(result)


def _check(values: Values) -> None:
    if values.n < 0:
        raise ValueError(f"--n must be 0 or more, got {values.n}")
    for option in ("against", "train", "bars"):
        if not values.n and getattr(values, option) is not None:
            raise ValueError(f"--{option} has no effect with --n 0: nothing is generated")
    if values.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {values.seed}")


def pieces_of(spec: str, part: str, output: Output) -> tuple[list[Any], str]:
    """The pieces that a text names, and the text with the part that was taken where a corpus names none."""
    from otonoha.data.corpus import select
    from otonoha.data.named import SPECS

    name, given = name_and_part(spec)
    named = f"{name}:{part}" if given is None and name in SPECS else spec
    if name in SPECS and not SPECS[name].default:
        output.note(f"{name}: {terms(SPECS[name].licence, SPECS[name].ships)}")
    return list(select(named, progress=output.progress)), named


def _likelihood(model: Any, pieces: list[Any], named: str, output: Output) -> dict[str, float]:
    """Nats per unit and their parts."""
    output.progress(0, 1, "likelihood")
    figures = {k: float(v) for k, v in model.likelihood(pieces).items()}
    unit = "note" if model.codec.name in ("notes", "book") else "symbol"
    units = int(figures.get("units", 0))
    output.say(bold(f"likelihood on {named}") + f"  ({count(len(pieces), 'piece')}, {count(units, unit)})")
    rows = [
        (f"{'all' if name == 'loss' else name}", value, f"nats a {unit}", value / math.log(2), "bits")
        for name, value in figures.items()
        if name != "units"
    ]
    output.say(table(rows))
    if model.skipped:
        piece, why = model.skipped[0]
        output.note(
            f"{len(model.skipped)} pieces cannot be expressed by the codec; the first: {piece}: {why}"
        )
    bits = {f"{name}_bits": value / math.log(2) for name, value in figures.items() if name != "units"}
    return {**figures, **bits, "left_out": len(model.skipped)}


def _generated(model: Any, pieces: list[Any], values: Values, output: Output) -> dict[str, Any]:
    """Metrics of generated pieces beside the real ones, and the novelty report."""
    from otonoha.metrics.compare import report, text_table
    from otonoha.sample.tasks import Compose

    if Compose not in model.capabilities.tasks:
        output.note("no generated pieces: the model needs a prompt (--n 0 leaves this out)")
        return {}
    output.progress(0, 1, f"generating {values.n} pieces")
    turned = {} if values.bars is None else {"bars": values.bars}
    scores = [take.music for take in model.sample(Compose(), seed=values.seed, n=values.n, **turned)]
    real, named = pieces, values.data
    if values.against is not None:
        real, named = pieces_of(values.against, "test", output)
    output.progress(0, 1, "comparing")
    rows = report(scores, [piece.score() for piece in real])
    output.say()
    output.say(bold(f"{count(values.n, 'generated piece')} beside {len(real)} of {named}"))
    output.say(text_table(rows))
    return {"comparison": rows, **_novelty(model, scores, values, output)}


def _novelty(model: Any, scores: list[Any], values: Values, output: Output) -> dict[str, Any]:
    """What the generated pieces share with what the model learnt from."""
    from otonoha.metrics.novelty import longest_match_distribution, novelty_report

    specs = learnt_from(model, values)
    if not specs:
        output.note(
            "no novelty report: the card names no corpus; say what the model learnt from with --train"
        )
        return {}
    learnt = [(p.id, p) for spec in specs for p in pieces_of(spec, "train", output)[0]]
    output.progress(0, 1, "looking for copies")
    rows = novelty_report(scores, ((name, piece.score()) for name, piece in learnt))
    spread = longest_match_distribution(rows)
    output.say()
    output.say(
        bold(f"longest passages that occur in {', '.join(specs)}") + f"  ({count(len(learnt), 'piece')})"
    )
    shown = [
        (f"piece {r['name']}", r["longest_match"], f"of {r['notes']} notes as in {r['piece'] or 'none'}")
        for r in rows[:MOST_SHOWN]
    ]
    output.say(table(shown))
    output.say("  " + ", ".join(f"{name} {value:g}" for name, value in spread.items()) + " notes")
    return {"novelty": rows, "longest_match": spread}


def learnt_from(model: Any, values: Values) -> list[str]:
    """The corpora and paths of --train, or of the card where they still exist."""
    spec = values.train or str(model.card.get("corpora", ""))
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if values.train:
        return parts
    from otonoha.data.named import SPECS, available

    found = []
    for part in parts:
        name, _ = name_and_part(part)
        here = available(name) if name in SPECS else Path(name).expanduser().exists()
        found += [part] if here else []
    return found
