"""Train, measure and pack the Music Transformer that comes with the package: `ensemble`, any tracks (design `events`).

    python benchmarks/ship_transformer.py            # one core: about five hours; goes on where it stopped
    python benchmarks/ship_transformer.py --pack     # measures and packs what there is

Data: OpenScore Lieder and String Quartets (CC0) and the chorales of music21 in their own split. The validation pieces
choose the weights, the test pieces are measured once, when it is packed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from otonoha.data.corpus import corpus
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.models.pretrained import SHIPPED, load

NAME = "ensemble"
CORPORA = ("lieder", "quartets", "bach-chorales")
SETTINGS: dict[str, Any] = {
    "batch": 6,
    "length": 768,
    "lr": 1e-3,
    "precision": "bf16",
    "ema": 0.995,
    "eval_every": 200,
    "save_every": 100,
}
TWELVE: dict[str, Any] = {"steps": 1600, "warmup": 150, "schedule": "cosine"}
"""First in twelve keys, where rhythm and texture are learnt. The weights that ship had this part in three sittings with
cosines planned for 4,000, 2,600 and 2,200 steps, broken off at 1,600."""
HOME: dict[str, Any] = {"steps": 1150, "warmup": 50, "schedule": "cosine"}
"""Then at home: every piece as if it stood in C major or A minor."""
AGAIN: dict[str, Any] = {"steps": 500, "warmup": 30, "schedule": "cosine", "lr": 6e-4, "eval_every": 100}
"""Once more at home, with a smaller step size."""
TOLD: dict[str, Any] = {"steps": 600, "warmup": 30, "schedule": "cosine", "lr": 6e-4, "eval_every": 100}
"""With density, register and polyphony measured on each excerpt. (Ours was planned for 1,000 and broken off at 600.)"""
STANDING: dict[str, Any] = {"steps": 900, "warmup": 30, "schedule": "cosine", "lr": 6e-4, "eval_every": 100}
"""With the controls at every symbol (`standing`); a network that begins today has them from the start."""
SITTINGS = (
    "4,750 updates: the first 1,600 in three, with another plan of the step size; controls beside every symbol "
    "in the last 900 (see the command)"
)
"""How the weights that ship came about."""
STAGES = (
    (Path("runs/ensemble-keys"), TWELVE),
    (Path("runs/ensemble"), HOME),
    (Path("runs/ensemble-again"), AGAIN),
    (Path("runs/ensemble-told"), TOLD),
    (Path("runs/ensemble-standing"), STANDING),
)
RUN = STAGES[-1][0]
MEASURED = 12
"""Pieces of each split, about, that the card's figures are of."""
VALID = 24
"""Validation pieces that the training looks at; the quartets are long."""


def pieces(split: str) -> list[Any]:
    """Of all corpora."""
    return [piece for name in CORPORA for piece in getattr(corpus(name), split)]


def some(name: str, split: str) -> list[Any]:
    """A share of a split's pieces that is measured in minutes."""
    found = list(getattr(corpus(name), split))
    return found[:: max(1, len(found) // MEASURED)]


def train() -> None:
    """Begin, or go on where it stopped: in the last stage that has begun."""
    train_on, held = pieces("train"), pieces("valid")
    held = held[:: len(held) // VALID]
    begun = [at for at, (run, _) in enumerate(STAGES) if (run / "config.json").exists()]
    first = max(begun, default=0)
    model = load(STAGES[first][0]) if begun else MusicTransformer("small", home=False)
    for at, (run, settings) in enumerate(STAGES[first:], first):
        model = with_standing(model) if settings is STANDING else model
        model.config = replace(model.config, home=at > 0)
        model.fit(train_on, held, out=run, resume=at in begun, **{**SETTINGS, **settings})


def with_standing(model: MusicTransformer) -> MusicTransformer:
    """The same network with further embeddings for its controls, which say nothing yet, if it has none."""
    if model.config.standing:
        return model
    wider = MusicTransformer(replace(model.config, standing=True), codec=model.codec)
    found = wider.networks.load_state_dict(model.networks.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(".contexts." in name for name in found.missing_keys)
    for name in found.missing_keys:
        torch.nn.init.zeros_(wider.networks.get_parameter(name))
    return wider


def pack() -> None:
    """Measure, and write the model to the package."""
    model = load(RUN)
    model.card |= {
        "name": NAME,
        "summary": "Writes, continues, fills in and accompanies music for any instruments (Music Transformer).",
        "data": "OpenScore Lieder and String Quartets (CC0), and bach-chorales (public-domain music, encodings "
        "distributed with music21 by permission), train splits",
        "licence": "Apache-2.0 for the weights; the data is CC0 or public-domain music",
        "corpora": ",".join(CORPORA),
        "command": "python benchmarks/ship_transformer.py",
        "measured on": f"every n-th piece of each split, about {MEASURED}",
        "sittings": SITTINGS,
        "seed": model.config.train.seed,
        "metrics": {
            f"{name} {split} nats a note": model.evaluate(model.prepare(some(name, split)))["loss"]
            for name in CORPORA
            for split in ("valid", "test")
        },
    }
    model.defaults = {"bars": 16, "temperature": 1.0, "min_p": 0.03}
    folder = model.save(SHIPPED / NAME, half=True, int8=True)
    print(folder, f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    if "--pack" not in sys.argv:
        train()
    pack()
