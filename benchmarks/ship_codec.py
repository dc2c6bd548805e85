"""Train, measure and pack the codec that comes with the package: design `modern`, 44.1 kHz mono, at most 8 MB.

    python benchmarks/ship_codec.py --rendered DIR              # one core, three hours; goes on where it stopped
    python benchmarks/ship_codec.py --rendered DIR --recipe h200     # one H200, about 20 minutes
    python benchmarks/ship_codec.py --pack                      # measures and packs what there is

Data: the corpus `recordings` (CC0, CC BY, public domain) and, with --rendered, folders that `otonoha data render` made;
beside these the few recordings are visited more often (`MORE`). The validation pieces are measured at the end, in the
card; no test piece is touched (benchmarks/codec.py does that).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from otonoha.data.corpus import corpus
from otonoha.metrics.sound_report import report
from otonoha.models.pretrained import SHIPPED, load
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece

NAME = "codec"
FIGURES = ("mel", "stft", "si_sdr", "onset_f1", "chroma")
SITTINGS = (
    "40,000 updates in four, each with its own cosine: 18,000 before there was a noise part, 6,000 with it, "
    "12,000 after its losses were parted, 4,000 with noise in bands. The command does as many in one, with today's code"
)
"""How the weights that ship came about."""
MORE = 20
"""So many times are real recordings in the list of pieces, beside rendered ones."""
HEARD = 60.0
"""Seconds of each held-out piece that are measured, at most."""


@dataclass(frozen=True)
class Recipe:
    """A preset, options of its config that differ, and settings of its training."""

    preset: str = "modern"
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "core": Recipe(settings={"steps": 40_000}),
    "core-critic": Recipe(
        options={"critic_weight": 0.1, "critic_start": 0.8, "critic_length": 8192, "critic_every": 2},
        settings={"steps": 30_000},
    ),
    "h200": Recipe(
        options={"critic_weight": 0.1, "critic_start": 0.5, "critic_width": 32, "critic_length": 32_768},
        settings={"steps": 14_000, "batch": 64, "length": 32_768, "warmup": 500},
    ),
    "polar": Recipe(options={"decoder_head": "polar"}, settings={"steps": 18_000}),
    "fine": Recipe(
        options={"decoder_head": "polar", "level_hops": (256, 512, 1024)}, settings={"steps": 8000}
    ),
    "jukebox": Recipe(
        preset="jukebox",
        settings={"steps": 3000, "batch": 4, "length": 8192, "lr": 1e-3, "schedule": "cosine", "ema": 0.999},
    ),
    "tiny": Recipe(
        preset="modern_tiny", options={"critic_weight": 0.1}, settings={"steps": 4, "eval_every": 4}
    ),
}
"""core: three hours of one core; core-critic: 30,000, a critic for the last fifth; h200: 20 minutes of an H200;
polar, fine and jukebox: for the table, `modern` without noise, the same with twice as many codes, and the original's
design, an hour of one core each; tiny:
only to see the script work."""


def pieces(split: str, rendered: Sequence[str]) -> list[Piece]:
    """Of all corpora; real recordings several times over while training on rendered ones."""
    made = [piece for folder in rendered for piece in getattr(corpus(folder, kind="sound"), split)]
    real = list(getattr(corpus("recordings"), split))
    return made + real * (MORE if made and split == "train" else 1)


def train(
    run: Path, recipe: Recipe, sounds: Sequence[Any], held: Sequence[Any], *, quiet: bool = False
) -> None:
    """Begin, or go on."""
    resume = (run / "config.json").exists()
    model = load(run) if resume else VQVAE(recipe.preset, **recipe.options)
    model.fit(sounds, held, out=run, resume=resume, quiet=quiet, **recipe.settings)


def measured(model: VQVAE, held: Sequence[Piece]) -> dict[str, float]:
    """Figures of every level on held-out pieces: means over clips of ten seconds."""
    rate, channels = model.config.rate, model.config.channels
    found = {}
    originals = [piece.sound().at(rate, channels).audio(0.0, HEARD) for piece in held]
    codes = [model.encode(audio) for audio in originals]
    for level in range(model.levels):
        pairs = [(a, _cut(model.decode(z, level=level), a)) for a, z in zip(originals, codes, strict=True)]
        figures = report(pairs)
        found |= {f"valid level {level} {name}": round(figures[name], 3) for name in FIGURES}
    return found


def _cut(sound: Audio, like: Audio) -> Audio:
    return Audio(sound.samples[:, : like.samples.shape[1]], sound.rate)


def pack(run: Path, held: Sequence[Piece], command: str, place: Path = SHIPPED / NAME) -> Path:
    """Measure, leave the critic behind, and write the model with weights of half precision."""
    trained = load(run)
    model = VQVAE(replace(trained.config, critic_weight=0.0))
    model.networks["codec"].load_state_dict(trained.networks["codec"].state_dict())
    model.save(place, half=True)
    model = load(place)  # what is shipped is what is measured
    model.card = {
        "name": NAME,
        "summary": "Codes 44.1 kHz sound at three rates, of which every prefix decodes alone (VQ-VAE, design modern).",
        "data": "the corpus `recordings` (CC0, CC BY, public domain; credits: its labels) and renderings of scores "
        "in the public domain, train splits",
        "licence": "Apache-2.0 for the weights; credits of the CC BY recordings are in the corpus' table",
        "command": command,
        "sittings": SITTINGS,
        "seed": model.config.train.seed,
        "metrics": measured(model, held),
    }
    return model.save(place, half=True)


def main() -> None:
    """The command."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rendered", nargs="*", default=[], help="folders of rendered scores")
    asked.add_argument("--recipe", choices=list(RECIPES), default="core")
    asked.add_argument("--run", type=Path, default=Path("runs/codec"))
    asked.add_argument("--pack", action="store_true", help="train no further")
    said = asked.parse_args()
    held = pieces("valid", said.rendered)
    if not said.pack:
        train(said.run, RECIPES[said.recipe], pieces("train", said.rendered), held)
    if said.recipe in ("polar", "fine", "jukebox"):
        return  # for benchmarks/codec.py; they do not ship
    command = f"python benchmarks/ship_codec.py --recipe {said.recipe}"
    folder = pack(said.run, held, command + (" --rendered DIR" if said.rendered else ""))
    print(folder, f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
