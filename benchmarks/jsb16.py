"""Table `jsb16`: exact nats per note of the JSB chorales, chronological, soprano-alto-tenor-bass per 16th.

    python benchmarks/jsb16.py [row …]   # train what is asked for ("ours:1": one seed), choose on the validation pieces
    python benchmarks/jsb16.py --test    # measure every finished row on the test pieces, write the table

Data: Jsb16thSeparated (229 / 76 / 77 pieces; through OTONOHA_DATA), 47 classes (pitches 36-81 and rest), mean over
all notes, rests and first frames included. Trained on the 229 pieces only, transposed within the range;
chosen on the validation pieces; the test pieces are measured once per finished model. `test, new tunes` leaves out
the test pieces whose soprano shares half or more of its runs of ten intervals with the training pieces.

The rows `ours` are the design `chorale` of the Music Transformer room (_jsb_rows.py). Its motif memory searches the
training pieces and the piece's own past while it predicts: a system with retrieval. `without memory` is the same
network alone. Ensembles are marked; what they and the temperatures fit, they fit on the validation pieces.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from _jsb_ensemble import average, fitted, lengths, nats, product, scores, warmed
from _jsb_model import folder, trained
from _jsb_rows import CHORALES, ENSEMBLES
from _table import write_table
from baselines import jsb_backoff
from otonoha.data.corpus import corpus
from otonoha.data.jsb import jsb_arrays
from otonoha.models.lstm_attention.model import LSTMAttention
from otonoha.music.ngrams import NgramIndex, intervals
from otonoha.tokens.grid import Grid

RUNS = Path("runs/bench-jsb16")
SEEDS = (0, 1, 2)
CODEC = Grid(low=36, high=81, holds=False)
ROWS = {
    "LSTM + attention": {},
    "LSTM without attention": {"heads": 0},
}
SETTINGS = {
    "steps": 1600,
    "batch": 8,
    "length": 192,
    "lr": 2e-3,
    "warmup": 50,
    "weight_decay": 0.3,
    "ema": 0.98,
    "eval_every": 100,
    "patience": 3,
    "schedule": "constant",
}
OPTIONS = {"hints": ("beat", "quarter"), "dropout": 0.35}


def _folder(row: str, seed: int) -> Path:
    return RUNS / f"{row.replace(' ', '_')}-{seed}"


def train(row: str, seed: int) -> dict[str, float]:
    """One run, or its result if it was made before."""
    folder = _folder(row, seed)
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    data = corpus("jsb-chorales")
    model = LSTMAttention("chorale", codec=CODEC, **OPTIONS, **ROWS[row])
    began = time.process_time()
    outcome = model.fit(data.train, data.valid, quiet=True, seed=seed, **SETTINGS)
    figures = {"CPU-seconds": time.process_time() - began, "best step": outcome.best_step}
    for split in ("valid", "test"):
        measured = model.likelihood(getattr(data, split))
        figures |= {split: measured["loss"], f"{split} notes": measured["units"]}
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    done.write_text(json.dumps(figures | {"parameters": model.parameters}, indent=1))
    return json.loads(done.read_text())


def on_new_tunes(row: str, seed: int, new: np.ndarray) -> float:
    """Nats per note of a finished model on the test pieces whose tune it has not met; kept with its result."""
    done = _folder(row, seed) / "result.json"
    result = json.loads(done.read_text())
    if "test, new tunes" not in result:
        model = LSTMAttention.load(_folder(row, seed))
        test = corpus("jsb-chorales").test
        fresh = [piece for piece, is_new in zip(test, new, strict=True) if is_new]
        result["test, new tunes"] = model.likelihood(fresh)["loss"]
        done.write_text(json.dumps(result, indent=1))
    return result["test, new tunes"]


def new_tunes(arrays: dict[str, list[np.ndarray]], run: int = 10) -> np.ndarray:
    """(77,) bool: test pieces whose soprano shares less than half of its runs with a training piece."""
    index = NgramIndex(
        [_tune(piece) for piece in arrays["train"]], list(map(str, range(len(arrays["train"]))))
    )
    shared = []
    for tune in map(_tune, arrays["test"]):
        begins = max(1, len(tune) - run + 1)
        shared.append((index.match_lengths(tune)[:begins] >= run).mean())
    return np.array(shared) < 0.5


def _tune(piece: np.ndarray) -> np.ndarray:
    """The intervals of a soprano; the file does not tell a repeated note from a held one."""
    soprano = piece[:, 0][piece[:, 0] >= 0]
    return intervals(soprano[np.append(True, soprano[1:] != soprano[:-1])])


# -- the chorale design -----------------------------------------------------------------------------------------------


def new_notes(new: np.ndarray) -> np.ndarray:
    """(N,) bool: which test notes belong to pieces whose tune is new."""
    return np.repeat(new, lengths("test"))


def figures(log_chances: dict[str, torch.Tensor], new: np.ndarray) -> dict[str, float]:
    """Nats per note of both splits, and of the test pieces whose tune is new."""
    test = nats(log_chances["test"], "test").double().numpy()
    valid = float(nats(log_chances["valid"], "valid").double().mean())
    return {"valid": valid, "test": float(test.mean()), "test, new tunes": float(test[new_notes(new)].mean())}


def chorale_rows(name: str, seeds: list[int], new: np.ndarray) -> list[dict]:
    """A row, mean over its finished seeds: with the temperature that fits the validation pieces, and without.

    CPU-seconds are those of the run that took longest: one that was broken off has counted its last part only.
    """
    plain, warm, results = [], [], []
    for seed in seeds:
        place = folder(name, seed)
        results.append(json.loads((place / "result.json").read_text()))
        found = {split: scores(place, split) for split in ("valid", "test")}
        plain.append(figures(found, new))
        weight = fitted([found["valid"]])
        warm.append(figures({s: product([x], weight) for s, x in found.items()}, new))
    about = {"seeds": len(plain), "parameters": results[0]["parameters"]}
    about["CPU-seconds"] = max(r["CPU-seconds"] for r in results)
    return [_spread(name, warm) | about, _spread(f"{name}, temperature 1", plain) | about]


def _spread(name: str, each: list[dict[str, float]]) -> dict:
    row = {"name": name} | {key: round(mean(e[key] for e in each), 4) for key in each[0]}
    if len(each) > 1:
        row |= {f"{key} sd": round(stdev(e[key] for e in each), 4) for key in ("valid", "test")}
    return row


def ensemble_rows(name: str, members: list[tuple[str, int]], new: np.ndarray) -> list[dict]:
    """Mean of the chances, and weighted product, of finished runs."""
    found = {split: [scores(folder(*m), split) for m in members] for split in ("valid", "test")}
    weights = fitted(found["valid"])
    about = {"models": len(members)}
    mixed = {split: average(x) for split, x in found.items()}
    fit = {split: product(x, weights) for split, x in found.items()}
    return [
        _spread(f"{name}, mean of chances", [figures(mixed, new)]) | about,
        _spread(f"{name}, weighted product", [figures(fit, new)]) | about,
    ]


def tested(new: np.ndarray) -> list[dict]:
    """The rows of all finished chorale runs: the only place that looks at the test pieces."""

    def finished(name: str, seed: int) -> bool:
        return (folder(name, seed) / "result.json").exists()

    rows = []
    for name, row in CHORALES.items():
        if seeds := [seed for seed in row.seeds if finished(name, seed)]:
            rows += chorale_rows(name, seeds, new)
    for name, members in ENSEMBLES.items():
        if len(there := [m for m in members if finished(*m)]) > 1:
            rows += ensemble_rows(name, there, new)
    return rows


def main(rows: list[str]) -> None:
    """Train what is asked for and write the table of all that is finished."""
    torch.set_num_threads(1)
    for row in rows:
        name, _, one = row.partition(":")
        for seed in (int(one),) if one else CHORALES[name].seeds if name in CHORALES else ():
            print(name, seed, trained(name, CHORALES[name], seed), flush=True)
            print(f"temperature {warmed(folder(name, seed))}", flush=True)
    if rows and "--test" not in rows and not set(rows) & set(ROWS):
        return
    arrays = jsb_arrays()
    new = new_tunes(arrays)
    print(f"{new.sum()} of {len(new)} test pieces have a tune of their own")
    began = time.process_time()
    counted = jsb_backoff(arrays["train"], arrays["valid"], arrays["test"])
    spent = round(time.process_time() - began)
    fresh = [piece for piece, is_new in zip(arrays["test"], new, strict=True) if is_new]
    counted["test, new tunes"] = jsb_backoff(arrays["train"], arrays["valid"], fresh)["test"]
    table = [{"name": "count back-off", **{k: round(v, 4) for k, v in counted.items()}, "CPU-seconds": spent}]
    for row in ROWS:
        finished = all((_folder(row, seed) / "result.json").exists() for seed in SEEDS)
        if rows and row not in rows and not finished:
            continue
        results = [train(row, seed) for seed in SEEDS]
        print(row, results, flush=True)
        table.append(
            {
                "name": row,
                **{s: round(mean(r[s] for r in results), 4) for s in ("valid", "test")},
                "test, new tunes": round(mean(on_new_tunes(row, seed, new) for seed in SEEDS), 4),
                "valid sd": round(stdev(r["valid"] for r in results), 4),
                "test sd": round(stdev(r["test"] for r in results), 4),
                "CPU-seconds": round(mean(r["CPU-seconds"] for r in results)),
                "seeds": len(results),
                "parameters": results[0]["parameters"],
            }
        )
    print(write_table("jsb16", table + tested(new), "python benchmarks/jsb16.py --test"))


if __name__ == "__main__":
    main(sys.argv[1:])
