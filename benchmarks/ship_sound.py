"""Train, measure and pack priors for sound: the design `modern` over a learned codec, all levels at most 10 MB.

    python benchmarks/ship_sound.py --codec runs/codec --rendered DIR        # one core; goes on where it stopped
    python benchmarks/ship_sound.py --rendered DIR --minutes 40 15 15   # CPU minutes of the top and the upsamplers
    python benchmarks/ship_sound.py --rendered DIR --pack               # measures and packs what there is

Data: train splits of folders that `otonoha data render` made (sound with the notes that it was made from). The timbre
of a rendering counts as a genre beside that of the piece. Figures are of validation pieces; no test piece is touched.
Everything stands in the run's folder: codes are cached, every level trains in `levelN`, figures go to `figures.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from otonoha.data.corpus import corpus
from otonoha.models.jukebox.batches import CodeBatch, HeldOut
from otonoha.models.jukebox.batches_lessons import Lessons, held_out, learnt, loss_of, view_of, windows
from otonoha.models.jukebox.batches_loss import codes_per_second, measured
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.codes_corpus import teller
from otonoha.models.jukebox.codes_ngram import CodeNgrams
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_batches import scored
from otonoha.models.pretrained import SHIPPED, load, shipped
from otonoha.music.piece import Piece
from otonoha.train import loop
from otonoha.train.objective import Objective

NAME = "sound"
PAST = (0, 1, 2)
"""Codes before that n-grams look at; the best of them is told."""
WRITTEN_IN = (4, 8, 16)
"""Steps of writing in parallel whose cost is told."""
COOLER = "0.7"
"""Default temperature of the finer levels: takes with the notes of validation pieces are as loud as recordings so."""
PILOT = 4
"""Updates that are timed in order to know how many fit into the minutes."""


@dataclass(frozen=True)
class Recipe:
    """Presets of the top and of the upsamplers, options of all configs, settings of training that differ."""

    top: str = "modern_top"
    up: str = "modern_up"
    up_options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    minutes: tuple[float, ...] = (40.0, 15.0, 15.0)
    checked: int = 24
    """Held-out windows that are looked at while training."""


RECIPES = {
    "core": Recipe(),
    "tiny": Recipe(
        top="modern_tiny",
        up="modern_tiny",
        settings={"steps": 6, "eval_every": 3, "save_every": 3},
        minutes=(0.0, 0.0, 0.0),
        checked=4,
    ),
}
"""core: about 70 minutes of one core; tiny: only to see the script work, with a codec of the preset modern_tiny."""


def pieces(split: str, folders: Sequence[str]) -> list[Piece]:
    """Of all corpora, those that can be heard; the timbre of a rendering is one of its genres."""
    found = [p for folder in folders for p in getattr(corpus(folder), split) if p.recording is not None]
    return [replace(p, labels=_with_timbre(p.labels)) for p in found]


def _with_timbre(labels: Mapping[str, str]) -> dict[str, str]:
    genre = labels.get("genre") or labels.get("style") or ""
    return {**labels, "genre": ", ".join(part for part in (genre, labels.get("mix", "")) if part)}


@dataclass(frozen=True)
class Material:
    """What there is to learn from, and to measure with."""

    codec: Any
    lessons: Lessons
    pieces: list[Piece]
    train: list[Song]
    valid: list[Song]

    @classmethod
    def of(cls, codec: Any, recipe: Recipe, train: list[Piece], valid: list[Piece]) -> Material:
        """Coded, labelled, with notes."""
        lessons = learnt(Jukebox(recipe.top).config, train)
        told = teller()
        found = [scored(lessons.songs(codec, some, told=told).songs, some) for some in (train, valid)]
        return cls(codec, lessons, train, *found)

    def prior(self, recipe: Recipe, level: int) -> Jukebox:
        """An untrained one for this material."""
        top = level == len(self.codec.config.hops) - 1
        options: dict[str, Any] = {"level": level}
        if not top:
            options |= recipe.up_options
        base = Jukebox(recipe.top if top else recipe.up, **options).config
        if not top and base.modern is not None:
            base = replace(base, modern=replace(base.modern, mode="masked"))
        config = self.lessons.fitted(replace(base, train=replace(base.train, **recipe.settings)), self.pieces)
        model = Jukebox(config, codec=self.codec)
        model.lessons = self.lessons
        return model


def train(
    model: Jukebox, material: Material, folder: Path, minutes: float, recipe: Recipe, quiet: bool
) -> Jukebox:
    """Begin, or go on; the trained prior."""
    resume = (folder / "config.json").exists()
    if resume:
        model = Jukebox.load(folder)
    elif minutes:
        steps = max(20, int(minutes * 60 / seconds_an_update(model, material)))
        model.config = replace(model.config, train=replace(model.config.train, steps=steps))
    settings = model.config.train
    draws = windows(model.config, material.train, settings)
    held = held_out(model.config, material.valid, most=recipe.checked)
    training = loop.Training(
        networks=model.networks,
        objectives=[Objective("prior", model.networks.parameters(), loss_of(model))],
        batches=lambda name, update: draws(update),
        validate=lambda: evaluated(model, held),
        on_save=lambda: (model.save(folder), None)[1],
    )
    if not resume:
        model.save(folder)
    loop.fit(training, settings, folder=folder, resume=resume, quiet=quiet)
    model.networks.eval()
    model.save(folder)
    return model


def seconds_an_update(model: Jukebox, material: Material) -> float:
    """CPU seconds, of a fresh copy; the first update is not counted."""
    copy, settings = Jukebox(model.config), model.config.train
    draws, loss = windows(model.config, material.train, settings), loss_of(copy)
    optimiser = torch.optim.AdamW(copy.networks.parameters())
    copy.networks.train()
    for update in range(PILOT + 1):
        if update == 1:
            began = time.process_time()
        loss(draws(update), None)[0].backward()  # type: ignore[arg-type]
        optimiser.step()
        optimiser.zero_grad()
    return (time.process_time() - began) / PILOT


@torch.no_grad()
def evaluated(model: Jukebox, held: HeldOut) -> dict[str, float]:
    """Bits per code and per second as told, while training."""
    return measured(lambda b: model.losses(b.codes, **b.told)["bits"], held, model.config.train.batch)


@torch.no_grad()
def figures(model: Any, material: Material, most: int) -> dict[str, float]:
    """Bits per second on held-out pieces: as told, with each condition exchanged and taken away, beside n-grams."""
    held, batch = held_out(model.config, material.valid, most=most), model.config.train.batch

    def bits(b: CodeBatch, **how: Any) -> torch.Tensor:
        return (
            model.bound(b.codes, **how, **b.told) if model.masked else model.losses(b.codes, **b.told)["bits"]
        )

    def rate(**how: Any) -> float:
        steps = how.pop("steps", None)
        asked = (lambda b: bits(b, steps=steps)) if steps else bits
        return round(measured(asked, held, batch, **how)["bits_per_second"], 2)

    found = {"codes a second": round(codes_per_second(view_of(model.config), model.config.rate), 2)}
    found["bits a second"] = rate()
    for condition in held.conditions:
        found[f"{condition} exchanged"] = rate(exchange=[condition])
        if condition in ("style", "lyrics", "score"):
            found[f"{condition} taken away"] = rate(without=[condition])
    if model.masked:
        found |= {f"written in {steps} steps": rate(steps=steps) for steps in WRITTEN_IN}
    return found | {"n-gram": round(ngram(model, material), 2)}


def ngram(model: Any, material: Material) -> float:
    """Bits per second of the best n-gram prior of this level."""
    view = view_of(model.config)
    view = replace(view, every=False)
    found = [
        CodeNgrams(view, model.config.codes, past=past).fit(material.train).bits_per_code(material.valid)
        for past in PAST
    ]
    return min(found) * codes_per_second(view, model.config.rate)


def pack(run: Path, priors: Sequence[Any], material: Material, told: Mapping[str, Any], place: Path) -> Path:
    """The priors with weights of half precision and their codec as one system that writes sound."""
    from otonoha.models.jukebox.system import JukeboxSystem

    system = JukeboxSystem(priors, codec=material.codec)
    system.defaults = {"temperatures": ",".join(["1"] + [COOLER] * (len(priors) - 1))}
    system.card = {
        "name": NAME,
        "summary": "Writes sound: codes of three rates, the coarsest one after the other, finer ones in parallel. "
        "What one hears is a noisy murmur in which the harmonies of the notes that it is told can be made out.",
        **told,
    }
    shared = next(
        (name for name, at in shipped().items() if load(at).fingerprint == material.codec.fingerprint), None
    )
    return system.save(place, half=True, codec=shared)


def made(said: Any) -> dict[str, Any]:
    """Train, measure, pack."""
    recipe, run = RECIPES[said.recipe], Path(said.run)
    codec = load(said.codec)
    material = Material.of(codec, recipe, pieces("train", said.rendered), pieces("valid", said.rendered))
    levels = len(codec.config.hops)
    minutes = tuple(said.minutes or recipe.minutes)
    if len(minutes) != levels:
        raise SystemExit(
            f"--minutes takes {levels} numbers, one for each level from the coarsest, got {minutes}"
        )
    priors, found = [], {}
    for level, some in zip(range(levels - 1, -1, -1), minutes, strict=True):
        folder = run / f"level{level}"
        model = material.prior(recipe, level)
        if said.pack:
            model = Jukebox.load(folder)
        else:
            model = train(model, material, folder, some, recipe, said.quiet)
        priors.append(model)
        found[f"level {level}"] = figures(model, material, said.windows)
        (run / "figures.json").write_text(json.dumps(found, indent=1), "utf-8")
        print(f"level {level}", found[f"level {level}"], flush=True)
    told = {
        "data": "renderings of songs, string quartets and chorales (lieder, quartets, bach-chorales), train splits: "
        f"{sum(p.recording.seconds for p in material.pieces) / 3600:.1f} hours",
        "licence": "Apache-2.0 for the weights; the scores are CC0 or in the public domain (corpus.json)",
        "command": f"python benchmarks/ship_sound.py --codec {said.codec} --recipe {said.recipe} --rendered DIR "
        "--minutes " + " ".join(f"{m:g}" for m in minutes),
        "seed": priors[0].config.train.seed,
        "metrics": {f"{level} {name}": x for level, those in found.items() for name, x in those.items()},
    }
    place = pack(run, priors, material, told, Path(said.out) if said.out else SHIPPED / NAME)
    print(place, f"{sum(p.stat().st_size for p in place.rglob('level*/*')) / 1e6:.2f} MB without the codec")
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """The command."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--codec", default="runs/codec", help="name or folder of a codec of sound")
    asked.add_argument("--rendered", nargs="+", required=True, help="folders of rendered scores")
    asked.add_argument("--recipe", choices=list(RECIPES), default="core")
    asked.add_argument("--minutes", nargs="*", type=float, help="of CPU time, the coarsest level first")
    asked.add_argument("--run", default="runs/sound")
    asked.add_argument("--out", help="where the system goes; into the package unless given")
    asked.add_argument("--windows", type=int, default=100, help="held-out windows that are measured, at most")
    asked.add_argument("--pack", action="store_true", help="train no further")
    asked.add_argument("--quiet", action="store_true")
    return made(asked.parse_args(arguments))


if __name__ == "__main__":
    main()
