"""The rows of the table `jsb16` that the chorale design fills: what each is made of."""

from __future__ import annotations

from _jsb_model import Row

PAST = (0, 1, 2, 8)
"""Channels of the memory that search the piece's own past only."""
LONG = {"eval_every": 40, "patience": 3, "steps": 800}

CHORALES: dict[str, Row] = {
    "ours": Row(train={"eval_every": 30, "patience": 3}, seeds=(0, 1, 2)),
    "ours without memory": Row({"channels": (), "absolute": False}, seeds=(0, 1, 2)),
    "ours, own past only": Row({"channels": PAST}),
    "ours, no absolute inputs": Row({"absolute": False}),
    "ours, bagged": Row({"absolute": False}, LONG, bags=3, seeds=(0, 1, 2)),
}
"""Name -> row; each is trained once per seed."""
ENSEMBLES: dict[str, list[tuple[str, int]]] = {
    "ensemble of three": [("ours", seed) for seed in (0, 1, 2)],
    "ensemble": [
        (row, seed) for row in ("ours", "ours, bagged", "ours without memory") for seed in (0, 1, 2)
    ],
}
"""Name -> the runs (row, seed) that vote."""
