"""Table `duration`: should the length of a note be a category or a quantity?

    python benchmarks/duration.py       # about an hour on one core; finished runs are kept

The same network (preset small, narrower) three times, everything else equal: lengths as categories; categories
whose input also carries log2 of the length and its phase against the beat; and an output that is a discretised
mixture of logistics over log2 of the length. Data: 200 sung lines of lieder-voice, chosen by the order of their
names; measured on the whole validation split, piece by piece, with three seeds. The test split is not used.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean, stdev

import torch

from _table import write_table
from otonoha.data.corpus import corpus
from otonoha.models.lstm_attention.model import LSTMAttention

RUNS = Path("runs/bench-duration")
SEEDS = (0, 1, 2)
PIECES = 200
ROWS = {
    "categorical": {},
    "categorical + numeric features": {"duration_input": "numeric"},
    "mixture of logistics": {"duration_input": "numeric", "duration_head": "mixture"},
}
SETTINGS = {"steps": 400, "batch": 16, "warmup": 50, "eval_every": 50, "patience": 4}


def train(row: str, seed: int, pieces, valid) -> dict[str, float]:
    """One run, or its result if it was made before."""
    done = RUNS / f"{row.replace(' ', '_')}-{seed}.json"
    if done.exists():
        return json.loads(done.read_text())
    model = LSTMAttention("small", width=128, embedding=64, **ROWS[row])
    began = time.process_time()
    model.fit(pieces, valid, quiet=True, seed=seed, **SETTINGS)
    pooled = model.likelihood(valid)
    by_piece = [model.likelihood([piece]) for piece in valid]
    figures = {
        "pitch": pooled["pitch"],
        "duration": pooled["duration"],
        "loss": pooled["loss"],
        "duration, mean over pieces": mean(f["duration"] for f in by_piece),
        "CPU-seconds": time.process_time() - began,
    }
    RUNS.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(figures, indent=1))
    return figures


def main() -> None:
    """All rows, seed by seed, so that an unfinished table compares equals."""
    torch.set_num_threads(1)
    data = corpus("lieder-voice")
    pieces = sorted(data.train, key=lambda p: p.id)[:PIECES]
    for seed in SEEDS:
        for row in ROWS:
            print(row, seed, train(row, seed, pieces, data.valid), flush=True)
    table = []
    for row in ROWS:
        results = [train(row, seed, pieces, data.valid) for seed in SEEDS]
        table.append(
            {
                "name": row,
                **{k: round(mean(r[k] for r in results), 4) for k in results[0] if k != "CPU-seconds"},
                "duration sd": round(stdev(r["duration"] for r in results), 4),
                "seeds": len(results),
            }
        )
    print(write_table("duration", table, "python benchmarks/duration.py"))


if __name__ == "__main__":
    main()
