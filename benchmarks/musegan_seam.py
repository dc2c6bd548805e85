"""Table `musegan_seam`: is there a seam where the phrases that a model learnt would join?

    python benchmarks/musegan_seam.py [model …]    # names or folders; else choir, and the runs of small and book

64 pieces of 16 bars. Joins are the bar lines at multiples of the phrases that the model was trained on; all other bar
lines are inner ones. Measured at both (models/musegan/seam.py): share of the parts held across, mean leap, distance of
the chroma of the beats around. p: from permuting which bar lines of a piece are joins; `detectable`: the difference
at which it would be 0.05. The book's network writes phrases of 2 bars whole: it shows what a seam looks like.
Real chorales have phrases of their own, which often end at the same places.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from _musegan import finish, long_pieces, models, parser, rolls_of, trained
from otonoha.models.musegan.seam import seams

BARS = 16
USUAL = {
    "choir": ["choir", "runs/choir"],
    "small": trained("small"),
    "book": trained("book"),
}


def rows_of(name: str, rolls: np.ndarray, phrase: int, permutations: int) -> list[dict]:
    """One row for each statistic."""
    found = seams(rolls, phrase, permutations=permutations)
    return [
        {"name": f"{name}: {row['name']}", "bars of a phrase": phrase, "pieces": len(rolls)}
        | {k: v for k, v in row.items() if k != "name"}
        for row in found
    ]


def real(split: str) -> np.ndarray:
    """(B, M, 16, S, P): the first bars of the pieces that have so many."""
    return np.stack([p[:BARS].swapaxes(0, 1) for p in rolls_of(split) if len(p) >= BARS])


def main(argv: Sequence[str]) -> None:
    """Measure all models and real pieces."""
    options = parser(__doc__)
    options.add_argument("models", nargs="*")
    options.add_argument("--pieces", type=int, default=64)
    asked = options.parse_args(argv)
    torch.set_num_threads(1)
    n, permutations = (4, 99) if asked.quick else (asked.pieces, 9999)
    rows: list[dict] = []
    for name, model in models(asked.models, USUAL).items():
        rolls = long_pieces(model, n, BARS)
        rows += rows_of(name, rolls, model.config.bars, permutations)
    bach = real("train")[:n] if asked.quick else real("train")
    for phrase in (4, 2):
        rows += rows_of(f"Bach, phrases of {phrase}", bach, phrase, permutations)
    finish("musegan_seam", rows, "python benchmarks/musegan_seam.py", quick=asked.quick)


if __name__ == "__main__":
    main(sys.argv[1:])
