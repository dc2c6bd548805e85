"""CPU seconds of a training step of the codec `jukebox`, and of coding: convolutions as PyTorch has them against the
same as matrix products in time-major layout (nn/conv_stack.py).

    python benchmarks/codec_speed.py              # some minutes on one core
    python benchmarks/codec_speed.py --rounds 1

A step is forward (all levels, all losses), backward and the optimiser's update, of one clip: 16,384 samples at 44.1 kHz
for `jukebox`, 32,768 at 22.05 kHz for `small_vqvae`. Coding is without gradients: all levels encoded, each decoded.
Both forms take turns, one thread, CPU time; a time is the least of the rounds. The sound is noise (times do not
depend on it). Columns are seconds of sound for each second of CPU; `times faster` is against the plain form of the
same process.

What limits a step is, besides the products, memory: Linux hands out large tensors page by page and takes them back at
once. So everything is measured twice, as torch comes and with glibc told to keep what is freed (`memory kept`).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from _table import show
from otonoha.models.vqvae.model import VQVAE
from otonoha.train.objective import make_optimiser

CLIPS = {"jukebox": 16_384, "small_vqvae": 32_768}
KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**36),
    "MALLOC_TOP_PAD_": str(2**28),
}


class Player:
    """A model in one of the forms, and what can be timed of it."""

    def __init__(self, preset: str, plain: bool) -> None:
        self.model = VQVAE(preset, plain=plain, normalisers=(0.1, 0.02, 100.0))
        network = self.model.networks["vqvae"]
        random = torch.Generator().manual_seed(0)
        for level in range(self.model.levels):
            network.codebook(level).k.normal_(generator=random)
        self.model.design.restore()
        objective = self.model.objectives()[0]
        self.optimiser = make_optimiser(objective, self.model.config.train)
        self.x = 0.1 * torch.randn(1, 1, CLIPS[preset], generator=random)
        self.z = self.model.encode_codes(self.x)

    def step(self) -> None:
        """An update of the weights."""
        self.model.networks.train()
        design = self.model.design
        loss, _ = design.judged(self.x, design.coded(self.x))
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    def timed(self) -> dict[str, Callable[[], Any]]:
        """Column -> what is timed."""
        found: dict[str, Callable[[], Any]] = {
            "training step": self.step,
            "encode all levels": lambda: self.model.encode_codes(self.x),
        }
        for level in range(self.model.levels):
            found[f"decode level {level}"] = lambda level=level: self.model.decode_codes(self.z, level)
        return found


def measure(rounds: int) -> list[dict[str, Any]]:
    """One row for every preset and form."""
    rows = []
    for preset, frames in CLIPS.items():
        players = {plain: Player(preset, plain) for plain in (True, False)}
        seconds = frames / players[True].model.config.rate
        least: dict[tuple[bool, str], float] = {}
        for at in range(rounds + 1):
            for plain, player in players.items():
                for name, act in player.timed().items():
                    began = time.process_time()
                    act()
                    spent = time.process_time() - began
                    if at:  # the first round warms up
                        least[plain, name] = min(spent, least.get((plain, name), spent))
        for plain, player in players.items():
            row: dict[str, Any] = {"name": f"{preset}, {'plain' if plain else 'matrix products'}"}
            for name in player.timed():
                row[name] = round(seconds / least[plain, name], 2)
            row["step, times faster"] = round(least[True, "training step"] / least[plain, "training step"], 2)
            rows.append(row)
    return rows


def elsewhere(rounds: int, environment: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of a process of its own."""
    words = [sys.executable, __file__, "--rounds", str(rounds), "--inside"]
    done = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.inside:
        print(json.dumps(measure(asked.rounds)))
        return
    rows = elsewhere(asked.rounds, {})
    rows += [{**row, "name": f"{row['name']}, memory kept"} for row in elsewhere(asked.rounds, KEPT)]
    if asked.dry:
        print(json.dumps(rows, indent=1))
    else:
        show("codec_speed", rows, f"python benchmarks/codec_speed.py --rounds {asked.rounds}")


if __name__ == "__main__":
    main()
