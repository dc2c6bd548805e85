"""Table `jsb16`: exact nats per note of the JSB chorales, chronological, soprano-alto-tenor-bass per 16th.

    python benchmarks/jsb16.py [row …]

Data: Jsb16thSeparated (229 / 76 / 77 pieces; through OTONOHA_DATA), 47 classes (pitches 36-81 and rest), mean over
all notes, rests and first frames included. Trained on the 229 pieces only, transposed within the range;
chosen on the validation pieces; the test pieces are measured once per finished model. `test, new tunes` leaves out
the test pieces whose soprano shares half or more of its runs of ten intervals with the training pieces.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

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
    """Nats per note of a finished model on the test pieces whose tune it has not met."""
    model = LSTMAttention.load(_folder(row, seed))
    test = corpus("jsb-chorales").test
    return model.likelihood([piece for piece, fresh in zip(test, new, strict=True) if fresh])["loss"]


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


def main(rows: list[str]) -> None:
    """Train what is asked for and write the table of all that is finished."""
    torch.set_num_threads(1)
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
    print(write_table("jsb16", table, "python benchmarks/jsb16.py"))


if __name__ == "__main__":
    main(sys.argv[1:])
