"""Table `jsb16`: exact nats per note of the JSB chorales, chronological, soprano-alto-tenor-bass per 16th.

    python benchmarks/jsb16.py

Data: Jsb16thSeparated (229 / 76 / 77 pieces; through OTONOHA_DATA), 47 classes (pitches 36-81 and rest), mean over
all notes, rests and first frames included. Trained on the 229 pieces only, transposed within the range;
chosen on the validation pieces; the test pieces are measured once per finished model.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean, stdev

import torch

from _table import write_table
from baselines import jsb_backoff
from otonoha.data.corpus import corpus
from otonoha.data.jsb import jsb_arrays
from otonoha.models.lstm_attention.model import LSTMAttention
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


def train(row: str, seed: int) -> dict[str, float]:
    """One run, or its result if it was made before."""
    folder = RUNS / f"{row.replace(' ', '_')}-{seed}"
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


def main() -> None:
    """All rows."""
    torch.set_num_threads(1)
    arrays = jsb_arrays()
    began = time.process_time()
    counted = jsb_backoff(arrays["train"], arrays["valid"], arrays["test"])
    spent = round(time.process_time() - began)
    table = [{"name": "count back-off", **{k: round(v, 4) for k, v in counted.items()}, "CPU-seconds": spent}]
    for row in ROWS:
        results = [train(row, seed) for seed in SEEDS]
        print(row, results, flush=True)
        table.append(
            {
                "name": row,
                **{s: round(mean(r[s] for r in results), 4) for s in ("valid", "test")},
                "valid sd": round(stdev(r["valid"] for r in results), 4),
                "test sd": round(stdev(r["test"] for r in results), 4),
                "CPU-seconds": round(mean(r["CPU-seconds"] for r in results)),
                "seeds": len(results),
                "parameters": results[0]["parameters"],
            }
        )
    print(write_table("jsb16", table, "python benchmarks/jsb16.py"))


if __name__ == "__main__":
    main()
