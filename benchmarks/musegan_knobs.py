"""Table `musegan_knobs`: what changes, and where, when one knob is redrawn and all others are locked.

    python benchmarks/musegan_knobs.py [model …]    # names or folders; else choir, and the run of small

Takes of 4 bars. A knob goes a quarter, half and all of the way to the noise of another seed; melody and groove of the
highest and of the lowest track. `changed`: share of the steps that differ, over all and in every track. The other
columns: mean absolute change of what one hears (of the turned track, or of all together;
models/musegan/effects.py). `everything` is another seed altogether: as far as takes are apart.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from _musegan import finish, models, parser, trained
from otonoha.models.musegan.effects import MIXES, REDRAWN, Band, effects
from otonoha.models.musegan.model import MuseGAN

USUAL = {"choir": ["choir", "runs/choir"], "small": trained("small")}
BARS = 4
SHOWN = ("mix", "changed", "moved/pitch", "moved/density", "moved/leap", "moved/pitch classes")


def rows_of(name: str, model: MuseGAN, seeds: Sequence[int]) -> list[dict]:
    """All knobs, then everything at once."""
    band = Band.of(model, bars=BARS)
    shown = [_shown(name, row) for row in effects(band, seeds, mixes=MIXES)]
    inner = tuple(f" of {track}" for track in band.tracks[1:-1])
    rows = [row for row in shown if not str(row["name"]).endswith(inner)]
    return [*rows, everything(name, band, seeds)]


def everything(name: str, band: Band, seeds: Sequence[int]) -> dict:
    """Other takes beside the first."""
    one, other = (band.rolls(band.codes([s + by for s in seeds])) for by in (0, REDRAWN))
    changed = (one != other).any(-1).mean((0, 2, 3))
    return {
        "name": f"{name}: everything",
        "mix": 1.0,
        "changed": float(changed.mean()),
        **{f"changed/{track}": float(c) for track, c in zip(band.tracks, changed)},
    }


def _shown(name: str, row: dict) -> dict:
    """Without what the docs have no room for: changes bar by bar, most of what one hears."""
    kept = {k: v for k, v in row.items() if k in SHOWN or k.startswith("changed/")}
    shown = {k.removeprefix("moved/"): v for k, v in kept.items() if not k.startswith("changed/bar ")}
    return {"name": f"{name}: {str(row['name']).rpartition(' at ')[0]}", **shown}


def main(argv: Sequence[str]) -> None:
    """Measure all models."""
    options = parser(__doc__)
    options.add_argument("models", nargs="*")
    options.add_argument("--seeds", type=int, default=64)
    asked = options.parse_args(argv)
    torch.set_num_threads(1)
    seeds = range(4 if asked.quick else asked.seeds)
    rows: list[dict] = []
    for name, model in models(asked.models, USUAL).items():
        rows += rows_of(name, model, seeds)
    if not rows:
        sys.exit("there is no model to measure yet: train one, or name a folder")
    command = " ".join(["python benchmarks/musegan_knobs.py", *asked.models])
    finish("musegan_knobs", rows, command, quick=asked.quick)


if __name__ == "__main__":
    main(sys.argv[1:])
