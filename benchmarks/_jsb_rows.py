"""The rows of the table `jsb16` that the chorale design fills: what each is made of."""

from __future__ import annotations

from _jsb_model import Row
from _jsb_teacher import hired

PAST = (0, 1, 2, 8)
"""Channels of the memory that search the piece's own past only."""
LONG = {"steps": 420, "eval_every": 60, "save_every": 60}
CALM = {"steps": 120, "eval_every": 60, "save_every": 60, "schedule": "cosine", "warmup": 10}
"""A second round, which ends with small steps."""
LIGHT = {"any_order": 0.0, "dropout": 0.15, "input_dropout": 0.08, "channel_dropout": 0.15}
"""A teacher and bags keep a network from learning by heart; it needs less dropout."""
WIDE = {"steps": 900, "batch": 6, "length": 256, "eval_every": 60, "save_every": 60, "patience": 3}
"""Longer crops: there is more to copy from."""
BOTH = WIDE | {"steps": 300, "schedule": "cosine", "warmup": 20, "patience": 0}
"""A round in which a network that copies gets a memory besides."""
ALL = tuple(range(9))
"""Channels of the memory."""

CHORALES: dict[str, Row] = {
    "ours": Row(train={"eval_every": 30, "patience": 3}, seeds=(0, 1, 2)),
    "ours without memory": Row(
        {"channels": (), "absolute": False, "copies": 6, "any_order": 0.0},
        WIDE,
        teacher=hired("three", share=0.8, temperature=1.15),
        seeds=(0, 1, 2),
    ),
    "ours without memory, short attention": Row({"channels": (), "absolute": False}),
    "ours, own past only": Row({"channels": PAST}),
    "ours, no absolute inputs": Row({"absolute": False}),
    "ours, bagged": Row({"absolute": False}, LONG, bags=2, seeds=(0, 1, 2)),
    "ours, bagged and taught": Row(
        {"absolute": False},
        LONG,
        bags=2,
        teacher=hired("three", share=0.8, temperature=1.15),
        seeds=(0, 1, 2),
    ),
    "ours, second round": Row(
        LIGHT,
        CALM,
        bags=2,
        teacher=hired("three", share=0.8),
        after="ours, bagged and taught",
        seeds=(0, 1, 2),
    ),
    "ours, memory and copying": Row(
        LIGHT | {"channels": ALL, "copy_dropout": 0.1},
        BOTH,
        bags=2,
        teacher=hired("nine", share=0.8, temperature=1.05),
        after="ours without memory",
        seeds=(0, 1, 2),
    ),
}
"""Name -> row; each is trained once per seed."""
ENSEMBLES: dict[str, list[tuple[str, int]]] = {
    "ensemble of three": [("ours", seed) for seed in (0, 1, 2)],
    "ensemble": [
        (row, seed)
        for row in (
            "ours",
            "ours, second round",
            "ours, memory and copying",
            "ours without memory",
            "ours without memory, short attention",
        )
        for seed in CHORALES[row].seeds
    ],
}
"""Name -> the runs (row, seed) that vote."""
