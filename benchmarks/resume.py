"""Table `resume`: kill -9 at ten random moments of a training, at least one of them during a save.

    python benchmarks/resume.py

One process trains without interruption; another one is killed and started again until it is through. All
logged losses and all weights must be the same, bit for bit.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _table import show

KILLS = 10
SETTINGS = {
    "steps": 150, "batch": 8, "length": 64, "lr": 0.01, "warmup": 10, "ema": 0.9,
    "eval_every": 20, "save_every": 6, "patience": 100, "seed": 5, "device": "cpu",
}  # fmt: skip


def train(folder: Path) -> None:
    """The process that is killed: goes on from what it finds."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from helpers import pieces
    from otonoha.models.lstm_attention.model import LSTMAttention

    there = (folder / "config.json").exists()
    model = LSTMAttention.load(folder) if there else LSTMAttention("tiny", dropout=0.3)
    model.fit(pieces(12), pieces(3, split="valid"), out=folder, resume=there, quiet=True, **SETTINGS)


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, __file__, str(folder)], env=environment)


def saving(folder: Path) -> bool:
    """Is a state half-way to the disk?"""
    return any((folder / "state").glob("step-*.tmp"))


def lines(folder: Path) -> int:
    path = folder / "log.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def kill_once(folder: Path, rng: random.Random, during_save: bool) -> tuple[bool, bool]:
    """Let it work for a random while and kill it: (was it still at work?, was it saving?)."""
    process, before = start(folder), lines(folder)
    goal = before + rng.randint(3, 16)
    while process.poll() is None and lines(folder) < goal:
        time.sleep(0.002)
    while during_save and process.poll() is None and not saving(folder):
        time.sleep(0.0002)
    at_work = process.poll() is None
    if at_work:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return at_work, saving(folder)


def compare(whole: Path, cut: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    a, b = (load_file(f / "model.safetensors") for f in (whole, cut))
    logs = [(f / "log.jsonl").read_text() for f in (whole, cut)]
    return {
        "logged losses": logs[0].count("\n"),
        "losses identical": logs[0] == logs[1],
        "weights identical": a.keys() == b.keys() and all(a[n].equal(b[n]) for n in a),
    }


def main() -> None:
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        whole, cut = Path(name) / "whole", Path(name) / "cut"
        assert start(whole).wait() == 0
        kills = saves = 0
        while kills < KILLS:
            at_work, in_save = kill_once(cut, rng, during_save=kills % 3 == 1)
            if not at_work:
                break
            kills, saves = kills + 1, saves + in_save
        assert start(cut).wait() == 0
        row = {
            "name": "kill -9 at random moments",
            "kills": kills,
            "during a save": saves,
            **compare(whole, cut),
        }
    show("resume", [row], "python benchmarks/resume.py")
    if not (row["losses identical"] and row["weights identical"] and kills == KILLS and saves):
        sys.exit("the resumed run differs from the uninterrupted one, or too few kills met it at work")


if __name__ == "__main__":
    train(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
