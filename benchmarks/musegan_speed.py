"""CPU seconds of a generator step of MuseGAN: convolutions against the same layers as matrix products, and `small`.

    python benchmarks/musegan_speed.py            # some minutes on one core
    python benchmarks/musegan_speed.py --rounds 1

A generator step is one update of the generator and the critic updates that come with it, through the objectives
and optimisers that the training loop uses. Designs take turns, one thread, CPU time; a step's time is the least of
the rounds. The phrases are random (times do not depend on them).

What limits a step is, besides the products, memory: Linux hands out large tensors page by page and takes them back
at once. So everything is measured twice, as torch comes (`CPU s`) and with glibc told to keep what is freed
(`CPU s, memory kept`: MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ large), each in a process of
its own. `times faster` is against the plain book of the same process.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from _table import show
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.musegan.windows import Phrases
from otonoha.train.objective import Context, Objective, make_optimiser

PLAIN = "book, plain convolutions"
BOOK_GAME = {"adversary": "wgan-gp", "penalty": 10.0, "critic_steps": 5}
ROWS: dict[str, dict[str, Any]] = {
    PLAIN: {"preset": "book", "plain": True},
    "book, matrix products": {"preset": "book"},
    "small, trained as the book": {"preset": "small", "batch": 64, **BOOK_GAME},
    "small, as it is trained": {"preset": "small", "steps": 8},
}
"""What is measured: a preset, its options, phrases of a batch, and generator steps (R1 acts at every eighth)."""
ROUNDS = 3
KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**36),
    "MALLOC_TOP_PAD_": str(2**28),
}


@dataclass
class Player:
    """A network pair in training."""

    model: MuseGAN
    batch: Phrases
    steps: int
    optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)

    @classmethod
    def of(cls, preset: str, batch: int = 0, steps: int = 1, **options: Any) -> Player:
        """A fresh one."""
        model = MuseGAN(preset, **options)
        model.networks.train()
        settings = model.config.train
        player = cls(model, phrases(model, batch or settings.batch), steps)
        player.optimisers = {o.name: make_optimiser(o, settings) for o in model.objectives()}
        return player

    def seconds(self) -> float:
        """CPU seconds of a generator step: mean of `steps`."""
        critic, generator = self.model.objectives()
        began = time.process_time()
        for step in range(self.steps * generator.every):
            self._update(critic, generator, step)
            if generator.due(step):
                self._update(generator, critic, step)
        return (time.process_time() - began) / self.steps

    def _update(self, objective: Objective, other: Objective, step: int) -> None:
        for p in other.parameters:
            p.requires_grad_(False)
        context = Context(step, 1, torch.device("cpu"), torch.Generator().manual_seed(step))
        self.optimisers[objective.name].zero_grad(set_to_none=True)
        loss, _ = objective.loss(self.batch, context)
        loss.backward()
        self.optimisers[objective.name].step()
        for p in other.parameters:
            p.requires_grad_(True)


def phrases(model: MuseGAN, batch: int) -> Phrases:
    """Random lines, held for some steps."""
    shape, codec = model.design.shape, model.design.codec
    classes = np.random.default_rng(0).integers(
        -60, shape.pitches + 2, (batch, shape.tracks, shape.bars * shape.steps)
    )
    return Phrases(torch.from_numpy(codec.rolls_of(np.where(classes < 0, 1, classes))))


def measured(rounds: int) -> dict[str, float]:
    """Row -> CPU seconds; a round to warm up is not counted."""
    players = {name: Player.of(**what) for name, what in ROWS.items()}
    best = dict.fromkeys(players, float("inf"))
    for turn in range(rounds + 1):
        for name, player in players.items():
            spent = player.seconds()
            best[name] = min(best[name], spent) if turn else best[name]
    return best


def in_a_process(rounds: int, **environment: str) -> dict[str, float]:
    """`measured`, under an environment."""
    words = [sys.executable, __file__, "--rounds", str(rounds), "--print"]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
    return json.loads(told.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times that each design takes its turn")
    parser.add_argument("--print", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.print:
        print(json.dumps(measured(options.rounds)))
        return
    usual, kept = in_a_process(options.rounds), in_a_process(options.rounds, **KEPT)
    rows = [
        {
            "name": name,
            "CPU s": usual[name],
            "times faster": usual[PLAIN] / usual[name],
            "CPU s, memory kept": kept[name],
            "times faster, memory kept": kept[PLAIN] / kept[name],
        }
        for name in ROWS
    ]
    asked = "" if options.rounds == ROUNDS else f" --rounds {options.rounds}"
    show("musegan_speed", rows, f"python benchmarks/musegan_speed.py{asked}")


if __name__ == "__main__":
    main()
