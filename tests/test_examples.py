"""The stories in examples/ run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import otonoha as oto
from helpers import tune

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *args: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compose_a_tune(tmp_path):
    assert "notes in" in run("compose_a_tune.py", cwd=tmp_path)
    written = {p.suffix for p in (tmp_path / "songs" / "example").iterdir()}
    assert written == {".mid", ".musicxml", ".wav", ".png"}


def test_look_inside(tmp_path):
    oto.write(tune(1, bars=8), tmp_path / "tune.mid")
    assert "least certain" in run("look_inside.py", "tune.mid", cwd=tmp_path)
    assert (tmp_path / "attention.png").stat().st_size > 5_000


def test_turn_a_knob(tmp_path):
    told = run("turn_a_knob.py", cwd=tmp_path)
    assert "as it was" in told
    assert "groove of the bass 1" in told
    assert {p.name for p in (tmp_path / "songs" / "knobs").glob("*.mid")} >= {"first.mid", "accompanied.mid"}


@pytest.mark.slow
def test_learn_from_a_folder(tmp_path):
    for seed in range(20):
        oto.write(tune(seed, bars=8), tmp_path / "midi" / f"{seed}.mid")
    told = run("learn_from_a_folder.py", "midi", "runs/mine", "10", cwd=tmp_path)
    assert "nats per note" in told
    assert len(list((tmp_path / "runs" / "mine" / "takes").glob("*.mid"))) == 4
