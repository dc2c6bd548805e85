"""benchmarks/ship_codec.py at tiny size: it trains, goes on, measures, and leaves the critic behind."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import ship_codec
from otonoha.models.pretrained import load
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held


def heard(seed, seconds=1.5):
    """A piece of noise that swells."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, round(seconds * 8000))) * np.linspace(0, 0.2, round(seconds * 8000))
    return Piece(f"noise-{seed}", "train", recording=Held(Audio(noise.astype(np.float32), 8000)))


def test_trains_goes_on_and_packs(tmp_path):
    recipe, sounds, held = ship_codec.RECIPES["tiny"], [heard(1), heard(2)], [heard(3)]
    ship_codec.train(tmp_path / "run", recipe, sounds, held, quiet=True)
    longer = replace(recipe, settings={**recipe.settings, "steps": 6})
    ship_codec.train(tmp_path / "run", longer, sounds, held, quiet=True)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert sum('"objective": "codec"' in line for line in lines) == 6
    folder = ship_codec.pack(tmp_path / "run", held, "a command", tmp_path / "shipped")
    model = load(folder)
    assert list(model.networks) == ["codec"]
    assert list(load(tmp_path / "run").networks) == ["codec", "critic"]
    assert model.card["command"] == "a command"
    for level in range(3):
        assert np.isfinite(
            [model.card["metrics"][f"valid level {level} {name}"] for name in ship_codec.FIGURES]
        ).all()
