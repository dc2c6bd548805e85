"""What the benchmarks of MuseGAN share: real phrases, written ones, models by name.

Axes: B phrases, M tracks, N bars, S steps of a bar, P pitches; state rolls hold 0 silent, 1 onset, 2 hold.
All are compared on one canvas, MIDI pitches 0-83, whatever a network writes on. What is tied over into a phrase
begins there, in real phrases too: no model can write it otherwise.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _table import RESULTS, markdown, read_table, write_table
from otonoha.data.corpus import corpus
from otonoha.models.musegan.config import VOICES, Controls
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.musegan.windows import Windows
from otonoha.models.pretrained import load, shipped
from otonoha.sample.controls import filled
from otonoha.tokens.base import Tokens
from otonoha.tokens.roll import Roll

CANVAS = 84
KNOWN: dict[str, Any] = {"low": 0, "tracks": VOICES}
"""How the metrics read a canvas."""
QUICK = Path(tempfile.gettempdir()) / "otonoha-bench"
"""Where trials write, instead of results/ and runs/."""


@functools.cache
def pieces(split: str) -> list[Tokens]:
    """The chorales of a split that are in 4/4 and have four voices within the range."""
    codec, found = Roll(), []
    for piece in getattr(corpus("bach-chorales"), split):
        try:
            found.append(codec.encode(piece.score()))
        except ValueError:  # another metre or range
            continue
    return found


def rolls_of(split: str) -> list[np.ndarray]:
    """(N, M, S, P) of every piece, on the pitches of the codec."""
    return [Roll().array(t) for t in pieces(split)]


@functools.cache
def phrases(split: str, bars: int, most: int | None = None) -> np.ndarray:
    """(B, M, N, S, 84): all phrases of so many bars, or some, in their own keys."""
    windows = Windows(pieces(split), Roll(), bars=bars, batch=1, transpose=False)
    return canvas(windows.some(most or len(windows)).numpy(), Roll().low)


def canvas(rolls: np.ndarray, low: int) -> np.ndarray:
    """Rolls (B, M, N, S, P) from MIDI pitch `low` up -> (B, M, N, S, 84)."""
    result = np.zeros((*rolls.shape[:-1], CANVAS), np.uint8)
    result[..., low : low + rolls.shape[-1]] = rolls
    first = result[:, :, 0, 0]
    first[first > 0] = 1
    return result


@torch.no_grad()
def written(
    model: MuseGAN,
    n: int,
    *,
    bars: int = 2,
    seed: int = 1000,
    temperature: float = 1.0,
    independence: float | None = None,
) -> np.ndarray:
    """(n, M, bars, S, 84): the first bars of n phrases of the trained length."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for at in range(0, n, 128):
        codes = model.design.codes(model.design.noise(min(128, n - at), generator))
        parts.append(model.design.write(codes, None, temperature, independence)[:, :, :bars])
    return canvas(np.concatenate(parts), model.config.low)


def long_pieces(model: MuseGAN, n: int, bars: int, *, seed: int = 0) -> np.ndarray:
    """(n, M, bars, S, P): pieces of any length as the model comes, one for each seed from `seed` on."""
    controls = filled(Controls(), model.defaults)
    return np.stack([model.rolls(controls, seed + i, 0, bars) for i in range(n)])


def own_temperature(model: MuseGAN) -> float:
    """The temperature that a model comes with."""
    return float(model.defaults.get("temperature", 1.0))


def models(asked: Sequence[str], usual: Mapping[str, Sequence[str]]) -> dict[str, MuseGAN]:
    """The models asked for (names or folders); else of each usual one the first place where there is one."""
    places = {Path(a).name: [a] for a in asked} or usual
    found = {}
    for name, candidates in places.items():
        there = [
            c for c in candidates if asked or c in shipped() or (Path(c) / "model.safetensors").is_file()
        ]
        if there:
            found[name] = load(there[0])
            print(f"{name}: {there[0]}", flush=True)
        else:
            print(f"{name}: not there yet (looked in {', '.join(candidates)})", flush=True)
    return found


def trained(row: str) -> list[str]:
    """Folders of the runs of a row of table musegan, those with the largest budget first."""
    folders = Path("runs/bench-musegan").glob(f"*min/{row}-0")
    done = [f for f in folders if (f / "run.json").is_file()]
    return [str(f) for f in sorted(done, key=lambda f: -float(f.parent.name.removesuffix("min")))]


def finish(table: str, rows: Sequence[Mapping[str, Any]], command: str, *, quick: bool) -> None:
    """Write and print the table; of a trial beside the other trials."""
    tidy = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    folder = QUICK / "results" if quick else RESULTS
    path = write_table(table, tidy, command, folder=folder)
    print(markdown(read_table(table, folder=folder)), path, sep="\n")


def parser(story: str | None) -> argparse.ArgumentParser:
    """Options that all have."""
    made = argparse.ArgumentParser(description=(story or "").partition("\n")[0])
    made.add_argument(
        "--quick", action="store_true", help="a trial of some seconds; writes to the temporary folder"
    )
    return made
