"""CPU seconds of a training step of the codec `jukebox`, and of coding: convolutions as PyTorch has them, the same as
matrix products of torch in time-major layout (nn/conv_stack.py), and these tile by tile in C (nn/conv_rows.c).

    python benchmarks/codec_speed.py              # some minutes on one core
    python benchmarks/codec_speed.py --rounds 1 --presets jukebox

A step is forward (all levels, all losses), backward and the optimiser's update, of one clip: 16,384 samples at 44.1 kHz
for `jukebox`, 32,768 at 22.05 kHz for `small_vqvae`. Coding is without gradients: all levels encoded, each decoded.
All forms take turns, one thread, CPU time; a time is the least of the rounds. The sound is noise (times do not
depend on it). Columns are seconds of sound for each second of CPU; `times faster` is against the plain form.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from _table import show
from otonoha.models.vqvae.model import VQVAE
from otonoha.nn import conv_native
from otonoha.train.objective import make_optimiser

CLIPS = {"jukebox": 16_384, "small_vqvae": 32_768}
FORMS = ("plain", "matrix products", "in C")
LANES = conv_native.lanes


class Player:
    """A model in one of the forms, and what can be timed of it."""

    def __init__(self, preset: str, form: str) -> None:
        self.lanes = LANES if form == "in C" else lambda: 0
        self.model = VQVAE(preset, plain=form == "plain", normalisers=(0.1, 0.02, 100.0))
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


def measure(rounds: int, presets: Sequence[str]) -> list[dict[str, Any]]:
    """One row for every preset and form."""
    rows = []
    for preset in presets:
        players = {form: Player(preset, form) for form in FORMS}
        seconds = CLIPS[preset] / players["plain"].model.config.rate
        least: dict[tuple[str, str], float] = {}
        for at in range(rounds + 1):
            for form, player in players.items():
                conv_native.lanes = player.lanes
                for name, act in player.timed().items():
                    began = time.process_time()
                    act()
                    spent = time.process_time() - began
                    if at:  # the first round warms up
                        least[form, name] = min(spent, least.get((form, name), spent))
        for form, player in players.items():
            row: dict[str, Any] = {"name": f"{preset}, {form}"}
            for name in player.timed():
                row[name] = round(seconds / least[form, name], 2)
            row["step, times faster"] = round(
                least["plain", "training step"] / least[form, "training step"], 2
            )
            rows.append(row)
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--presets", nargs="*", default=list(CLIPS), choices=list(CLIPS))
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not LANES():
        raise SystemExit("there is no C compiler: the form in C cannot be measured")
    rows = measure(asked.rounds, asked.presets)
    if asked.dry:
        print(*rows, sep="\n")
    else:
        show("codec_speed", rows, f"python benchmarks/codec_speed.py --rounds {asked.rounds}")


if __name__ == "__main__":
    main()
