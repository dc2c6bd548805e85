"""Table `musegan`: the designs at equal training time, beside real chorales.

    python benchmarks/musegan.py                             # all rows, and the table on the test pieces
    python benchmarks/musegan.py --rows small lines          # some rows; a second process can train others
    python benchmarks/musegan.py --rows lines --valid        # while developing: on the validation pieces, no table
    python benchmarks/musegan.py --table-only                # of all runs that are finished

Every run has the same CPU time (--minutes on one core, validation included), so many updates as fit in; the preset's
schedule is stretched over them, and of EVALUATIONS looks at the validation pieces the best weights stay. Data:
bach-chorales in 4/4, all windows in 12 keys unless a row says otherwise. Measured: 512 phrases of 2 bars (of designs
with longer phrases, their first 2 bars) against 512 of the test pieces; see `_musegan.py` for how both are read.
Numbers are means over tracks or pairs of tracks, then over seeds; the line below a row is their standard deviation.

    distance           to real phrases (metrics.band_report); that of training phrases is what equality looks like
    nearest learnt     mean distance to the nearest training phrase, in the nearest of 12 keys; 0 is a copy
    nearer than book   of EB, UPC, QN, in-scale, voice crossing and mean leap (gaps track by track), seed by seed
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

import otonoha.models.musegan as room
from _musegan import KNOWN, QUICK, finish, own_temperature, parser, phrases, written
from otonoha.data.corpus import corpus
from otonoha.metrics import band_report
from otonoha.metrics.copies import KEYS, nearest_distance
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.pretrained import load, shipped
from otonoha.tokens.roll import Roll
from otonoha.train import checkpoint, loop

BARS, EVALUATIONS = 2, 12
ISSUE = ("EB", "UPC", "QN", "in-scale", "voice crossing", "mean leap")
APART = ("effects", "given", "knobs", "seam")
"""Files of the room that change no training."""
FIRST = ("distance", "nearer than book", *ISSUE, "TD", "clashes", "parallels", "unique", "nearest learnt")
"""Columns that come first."""


def _code() -> str:
    """Changes with the files that decide what is trained."""
    files = sorted(p for p in Path(room.__path__[0]).glob("*.py") if p.stem not in APART)
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()[:12]


CODE = _code()
"""As this process began with."""


@dataclass(frozen=True)
class Row:
    """How a row of the table is made."""

    preset: str
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    of: str = ""
    """The row whose networks it plays, where it has none of its own."""


FOUR_VOICES = {"codec": Roll(low=36, high=83), "bars": BARS}
ROWS = {
    "book": Row("book"),
    "book network, all windows, 12 keys": Row("book", {"first_only": False}, {"transpose": True}),
    "small": Row("small"),
    "jamming": Row("jamming", FOUR_VOICES, {"transpose": True}),
    "composer": Row("composer", FOUR_VOICES, {"transpose": True}),
    "hybrid": Row("hybrid", FOUR_VOICES, {"transpose": True}),
    "lines": Row("lines"),
    "lines, temperature 0.8": Row("lines", temperature=0.8, of="lines"),
}


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    minutes: float
    seeds: int
    n: int
    split: str
    quick: bool

    def folder(self, row: str, seed: int) -> Path:
        """Of a run; other budgets have other folders."""
        runs = QUICK / "runs" if self.quick else Path("runs/bench-musegan")
        name = (ROWS[row].of or row).replace(", ", "-").replace(" ", "_")
        return runs / f"{self.minutes:g}min" / f"{name}-{seed}"

    def done(self, row: str) -> list[int]:
        """Seeds whose runs are finished."""
        return [s for s in range(self.seeds) if (self.folder(row, s) / "run.json").exists()]


# -- training ----------------------------------------------------------------------------------------------


def train(row: str, seed: int, plan: Plan) -> None:
    """One run, unless it was made before; an unfinished one goes on."""
    folder = plan.folder(row, seed)
    if (folder / "run.json").exists():
        return
    data, resume = corpus("bach-chorales"), (folder / "config.json").exists()
    model = MuseGAN.load(folder) if resume else fresh(row)
    settings = {} if resume else affordable(row, plan.minutes * 60) | {"seed": seed}
    before = max((step for step, _ in checkpoint.steps_saved(folder / "state")), default=0)
    began = time.process_time()
    outcome = model.fit(data.train, data.valid, out=folder, resume=resume, quiet=True, **settings)
    own = outcome.step - before  # of a run that was interrupted, the time of these stands for that of all
    spent = (time.process_time() - began) * outcome.step / own if own else plan.minutes * 60
    figures = {
        "updates": outcome.step,
        "best update": outcome.best_step,
        "CPU-seconds": spent,
        "parameters": model.parameters,
        "code": CODE,
    }
    (folder / "run.json").write_text(json.dumps(figures, indent=1))
    print(row, seed, figures, flush=True)


def fresh(row: str) -> MuseGAN:
    """An untrained model with the settings of its row, but for the number of updates."""
    model = MuseGAN(ROWS[row].preset, **ROWS[row].options)
    changed = dataclasses.replace(model.config.train, **ROWS[row].settings)
    model.config = dataclasses.replace(model.config, train=changed)
    return model


def affordable(row: str, seconds: float) -> dict[str, int]:
    """So many updates as fit into the CPU seconds, measured on a model that is thrown away."""
    model, data = fresh(row), corpus("bach-chorales")
    learnt, held = model.prepare(data.train), model.prepare(data.valid)
    settings = model.config.train
    model.observe(learnt)
    draws = {o.name: model.batches(learnt, settings) for o in model.objectives()}
    training = loop.Training(
        networks=model.networks,
        objectives=model.objectives(),
        batches=lambda name, update: draws[name](update),
    )
    # whole rounds of the game: the generator may act at every 5th update, R1 at every 8th
    around = model.config.critic_steps * (1 if model.config.adversary == "wgan-gp" else 8)
    loop.fit(training, dataclasses.replace(settings, steps=around), quiet=True)
    rounds = 0
    began = time.process_time()
    while rounds < 2 or time.process_time() - began < min(10.0, seconds / 20):
        loop.fit(training, dataclasses.replace(settings, steps=around), quiet=True)
        rounds += 1
    update = (time.process_time() - began) / (rounds * around)
    began = time.process_time()
    model.evaluate(held)
    left = seconds - EVALUATIONS * (time.process_time() - began)
    steps = max(around, round(max(left, seconds / 4) / update))
    print(f"{row}: {update:.3f} CPU-seconds an update, {steps} updates", flush=True)
    every = max(1, -(-steps // EVALUATIONS))
    return {"steps": steps, "eval_every": every, "save_every": max(every, steps // 4)}


# -- measuring ---------------------------------------------------------------------------------------------


class Ruler:
    """Measures phrases against those of a split."""

    def __init__(self, plan: Plan) -> None:
        self.real = phrases(plan.split, BARS, plan.n)
        self.learnt = phrases("train", BARS, 200 if plan.quick else None)
        self.yardstick = band_report.yardstick(self.real, **KNOWN)

    def figures(self, rolls: np.ndarray, *, near: bool = True) -> dict[str, float]:
        """Every metric, the distance, and the gaps as "gap/…"."""
        gaps = self.yardstick.gaps(rolls)
        found = {"distance": band_report.overall(gaps)} | _means(rolls)
        if near:
            found["nearest learnt"] = float(nearest_distance(rolls, self.learnt, shifts=KEYS).mean())
        return found | {f"gap/{name}": gap for name, gap in gaps.items()}


def _means(rolls: np.ndarray) -> dict[str, float]:
    return {k: v for k, v in band_report.measure(rolls, **KNOWN).items() if "/" not in k}


def references(ruler: Ruler, plan: Plan) -> list[dict[str, Any]]:
    """Real phrases, what equality looks like, and what tracks without each other look like."""
    rng = np.random.default_rng(0)
    apart = np.stack([track[rng.permutation(len(track))] for track in ruler.real.swapaxes(0, 1)], 1)
    real = ruler.figures(ruler.real)
    sides = {
        f"real phrases ({plan.split})": real | {"distance": None},
        "real phrases (train): the floor": ruler.figures(phrases("train", BARS, plan.n), near=False),
        "real tracks of different phrases": ruler.figures(apart),
    }
    return [{"name": name, **_columns([figures])} for name, figures in sides.items()]


def measured(row: str, seed: int, plan: Plan, ruler: Ruler) -> dict[str, float]:
    """Figures of a finished run, kept beside it."""
    folder, how = plan.folder(row, seed), ROWS[row]
    kept = folder / f"{plan.split}-{plan.n}-{how.temperature:g}.json"
    if not kept.exists():
        model = MuseGAN.load(folder)
        rolls = written(model, plan.n, bars=BARS, seed=1000 + seed, temperature=how.temperature)
        np.savez_compressed(kept.with_suffix(".npz"), rolls=rolls)
        kept.write_text(json.dumps(ruler.figures(rolls), indent=1))
    return json.loads(kept.read_text())


def as_shipped(plan: Plan, ruler: Ruler) -> list[dict[str, Any]]:
    """The model in the package, which had more time."""
    if "choir" not in shipped():
        return []
    model = load("choir")
    made = {"updates": model.card.get("steps"), "parameters": model.parameters}
    warmth, own = own_temperature(model), model.defaults["independence"]
    rows = []
    for share in (own, 0.0, 1.0):
        rolls = written(model, plan.n, bars=BARS, temperature=warmth, independence=share)
        name = "choir, as shipped" if share == own else "choir"
        name = f"{name} (temperature {warmth:g}, independence {share:g})"
        rows.append({"name": name, **_columns([ruler.figures(rolls)]), **made})
    return rows


# -- the table ---------------------------------------------------------------------------------------------


def table(plan: Plan) -> list[dict[str, Any]]:
    """All that is finished."""
    ruler = Ruler(plan)
    rows = references(ruler, plan)
    books = {s: measured("book", s, plan, ruler) for s in plan.done("book")}
    for row in ROWS:
        seeds = plan.done(row)
        figures = [measured(row, s, plan, ruler) for s in seeds]
        if row != "book":
            for seed, found in zip(seeds, figures):
                found |= _nearer(found, books.get(seed, {}))
        rows += _summary(row, seeds, figures, plan)
        print(f"measured: {row}, {len(seeds)} seeds", flush=True)
    return rows + as_shipped(plan, ruler)


def _nearer(ours: dict[str, float], book: dict[str, float]) -> dict[str, float]:
    """How many of the issue's metrics are nearer to real phrases than the book's run of the same seed."""
    if not book:
        return {}
    return {"nearer than book": float(sum(ours[f"gap/{m}"] < book[f"gap/{m}"] for m in ISSUE))}


def _summary(row: str, seeds: Sequence[int], figures: list[dict[str, float]], plan: Plan) -> list[dict]:
    """A row, and below it the standard deviation over seeds."""
    if not figures:
        return []
    runs = [json.loads((plan.folder(row, s) / "run.json").read_text()) for s in seeds]
    if others := {r["code"] for r in runs} - {CODE}:
        print(f"{row}: trained with other code ({', '.join(sorted(others))}; now {CODE}): train it again?")
    made: dict[str, Any] = {key: round(mean(r[key] for r in runs)) for key in runs[0] if key != "code"}
    rows = [{"name": row, **_columns(figures), **made, "seeds": len(seeds)}]
    if len(seeds) > 1:
        rows.append({"name": f"{row} ± sd", **_columns(figures, stdev)})
    return rows


def _columns(figures: list[dict[str, Any]], of: Any = mean) -> dict[str, Any]:
    """Mean (or deviation) of every figure that all seeds have."""
    names = [*FIRST, *(k for k in figures[0] if "/" not in k and k not in FIRST)]
    return {
        k: of([f[k] for f in figures]) if all(f.get(k) is not None for f in figures) else None for k in names
    }


def main(argv: Sequence[str]) -> None:
    """Train what is asked for, then measure all that is finished."""
    options = parser(__doc__)
    options.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    options.add_argument("--minutes", type=float, default=10.0, help="CPU minutes of every run")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument(
        "--valid", action="store_true", help="measure on validation pieces and write no table"
    )
    options.add_argument("--table-only", action="store_true", help="train nothing")
    asked = options.parse_args(argv)
    torch.set_num_threads(1)
    split = "valid" if asked.valid or asked.quick else "test"
    plan = Plan(asked.minutes, asked.seeds, 512, split, asked.quick)
    if asked.quick:
        plan = dataclasses.replace(plan, minutes=min(asked.minutes, 0.1), seeds=min(asked.seeds, 2), n=64)
    for seed in range(plan.seeds if not asked.table_only else 0):
        for row in asked.rows:
            if not ROWS[row].of or ROWS[row].of not in asked.rows:
                train(ROWS[row].of or row, seed, plan)
    rows = table(plan)
    if asked.valid:
        for row in rows:
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
    else:
        command = f"python benchmarks/musegan.py --minutes {plan.minutes:g} --seeds {plan.seeds}"
        finish("musegan", rows, command, quick=asked.quick)


if __name__ == "__main__":
    main(sys.argv[1:])
