"""Table `musegan_band`: bands with drums, learnt from a folder of multi-track MIDI.

    python benchmarks/musegan_band.py [--minutes 10] [--data FOLDER]

Without a folder of yours the songs are those of the tests (tests/band_songs.py): forty, each with a key, four chords
that go round and a groove of its own. `band` and the network of the paper at a quarter of its width (hybrid,
sixteenths, the same phrases) learn for the same CPU time (one core, validation included). Measured are phrases of 4
bars, as in `otonoha eval`, beside those of the test songs; every row's distance is to them. The songs that `band`
writes lie in runs/bench-musegan-band.

    in chord           share of the steps (every second one) at which all that bass, guitar, piano and strings sound
                       belongs to one triad
    groove             share of the bars whose drums are those of the bar before
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _table import write_table
from otonoha.data.corpus import corpus
from otonoha.io.files import write
from otonoha.metrics import band_report
from otonoha.models.musegan.model import MuseGAN
from otonoha.tokens.roll import Roll

RUNS = Path("runs/bench-musegan-band")
SONGS, PHRASES, EVALUATIONS, TRIALS = 40, 128, 8, (5, 45)
TRIADS = [
    {(root + step) % 12 for step in steps}
    for root in range(12)
    for steps in ((0, 4, 7), (0, 3, 7), (0, 3, 6))
]
SHOWN = ("QN", "in-scale", "UPC", "TD", "rests", "onset coincidence", "unique")
PAPER: dict[str, Any] = {
    "width": 0.25,
    "steps_per_bar": 16,
    "adversary": "r1",
    "penalty": 1.0,
    "critic_steps": 1,
}


def songs(folder: Path | None) -> Path:
    """The folder of MIDI to learn from."""
    if folder is not None:
        return folder
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from band_songs import write_band_songs

    made = RUNS / "songs"
    return made if made.exists() else write_band_songs(made, SONGS)


def in_chord(rolls: np.ndarray, codec: Roll) -> float:
    """Rolls (B, M, N, S, P) -> share of the sounding steps that are part of a triad."""
    pitched = [m for m, name in enumerate(codec.tracks) if name != "drums"]
    sounds = (rolls[:, pitched] > 0).any(1).reshape(-1, codec.pitches)
    classes = [
        {int(row + codec.low) % 12 for row in np.flatnonzero(step)} for step in sounds[::2] if step.any()
    ]
    return float(np.mean([any(c <= triad for triad in TRIADS) for c in classes])) if classes else 0.0


def kept_groove(rolls: np.ndarray, codec: Roll) -> float:
    """Rolls -> share of the bar lines over which the drums stay as they are; of bars in which they play."""
    if "drums" not in codec.tracks:
        return float("nan")
    bars = rolls[:, codec.tracks.index("drums")] == 1
    same = [(a == b).all() for phrase in bars for a, b in itertools.pairwise(phrase) if a.any() or b.any()]
    return float(np.mean(same)) if same else 0.0


def figures(rolls: np.ndarray, real: np.ndarray, codec: Roll) -> dict[str, float]:
    """What is shown of phrases."""
    known: dict[str, Any] = {"low": codec.low, "tracks": codec.tracks, "lines": False, "beats": codec.beats}
    measured = band_report.measure(rolls, **known)
    return {
        "distance": band_report.distance(rolls, real, **known),
        "in chord": in_chord(rolls, codec),
        "groove": kept_groove(rolls, codec),
        **{name: float(measured[name]) for name in SHOWN},
    }


def affordable(name: str, options: dict[str, Any], data: Any, seconds: float, **settings: Any) -> int:
    """Updates that fit into so many CPU seconds, looks at the validation songs included."""
    spent = []
    for steps in TRIALS:
        model, began = MuseGAN(name, **options), time.process_time()
        model.fit(data.train, **settings, steps=steps)
        spent.append(time.process_time() - began)
    pieces, began = model.prepare(data.train), time.process_time()
    model.evaluate(pieces)
    looks = EVALUATIONS * (time.process_time() - began)
    each = (spent[1] - spent[0]) / (TRIALS[1] - TRIALS[0])
    return max(TRIALS[1], int((seconds - looks) / each))


def learnt(name: str, options: dict[str, Any], data: Any, seconds: float) -> tuple[MuseGAN, dict[str, float]]:
    """A model that has learnt for so long, and how; from its folder if it was made before."""
    folder, settings = RUNS / f"{name}-{seconds:g}s", {"ema": 0.99, "quiet": True}
    if (folder / "run.json").exists():
        return MuseGAN.load(folder), json.loads((folder / "run.json").read_text())
    steps = affordable(name, options, data, seconds, **settings)
    model, began = MuseGAN(name, **options), time.process_time()
    settings |= {"steps": steps, "eval_every": max(1, steps // EVALUATIONS)}
    outcome = model.fit(data.train, data.valid, **settings)
    made = {
        "updates": outcome.step,
        "best update": outcome.best_step,
        "CPU-seconds": time.process_time() - began,
    }
    model.save(folder)
    (folder / "run.json").write_text(json.dumps(made))
    return model, made


def main() -> None:
    """Train, measure, write the table."""
    parser = argparse.ArgumentParser(description="bands with drums from a folder of multi-track MIDI")
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of each training")
    parser.add_argument("--data", type=Path, help="a folder of MIDI; generated songs when unset")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = corpus(str(songs(asked.data)))
    rows: list[dict[str, Any]] = []
    for name, options in (("band", {}), ("hybrid", PAPER)):
        model, made = learnt(name, options, data, 60 * asked.minutes)
        design = model.design
        codec = design.codec
        if not rows:
            real = design.windows(model.prepare(data.test)).some(PHRASES).numpy()
            train = design.windows(model.prepare(data.train)).some(PHRASES).numpy()
            rows += [
                {"name": "songs (test)", **figures(real, real, codec)},
                {"name": "songs (train): the floor", **figures(train, real, codec)},
            ]
        noise = design.noise(PHRASES, torch.Generator().manual_seed(0))
        rolls = design.write(design.codes(noise), None, 1.0)
        rows.append({"name": name, **figures(rolls, real, codec), **made, "parameters": model.parameters})
        for seed in range(4):
            write(model.sample(bars=8, seed=seed).music, RUNS / f"{name}-{seed}.mid")
        print(rows[-1], flush=True)
    write_table("musegan_band", rows, f"python benchmarks/musegan_band.py --minutes {asked.minutes:g}")


if __name__ == "__main__":
    main()
