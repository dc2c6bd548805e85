"""Train what benchmarks/sung_alignment.py measures: a codec of sung sound, and a prior that reads its lyrics.

    otonoha data sing lieder-voice --hours 3 --out runs/sung
    python benchmarks/sung_prior.py --corpus runs/sung      # runs/sung-codec, runs/lyrics; goes on where it stopped

The codec is small and judged by mel bands alone: these hold the words, phases do not. The codec that ships was trained
on instruments and carries no words (a probe names 13 to 16 % of the phones of its codes, 38 % of these, 61 % of
log-mel bands). Both take about 20 minutes of one core together; no test piece is touched.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is loaded

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from otonoha.data.corpus import corpus
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.pretrained import load
from otonoha.models.vqvae.config import PRESETS
from otonoha.models.vqvae.model import VQVAE

HEARD = 6
"""Held-out recordings that the codec is measured on while it learns."""
CODEC: dict[str, Any] = {
    "rate": 16000,
    "level_hops": (400,),
    "frame": 800,
    "encoder_blocks": (3,),
    "decoder_blocks": (3,),
    "width": 192,
    "decoder_head": "polar",
    "level_drop": 0.0,
    "mel_weight": 1.0,
    "complex_weight": 0.0,
    "time_weight": 0.0,
}
TRAINED: dict[str, Any] = {
    "steps": 2400,
    "length": 8000,
    "lr": 2e-3,
    "warmup": 100,
    "precision": "fp32",
    "ema": 0.998,
    "eval_every": 2400,
}


def codec_of(run: Path, music: Any, steps: int | None) -> VQVAE:
    """Begin, or go on."""
    resume, usual = (run / "config.json").exists(), PRESETS["modern"]
    train = replace(usual.train, **{**TRAINED, **({"steps": steps, "eval_every": steps} if steps else {})})
    model = load(run) if resume else VQVAE(replace(usual, **CODEC, train=train))
    held = sorted(music.valid, key=lambda piece: piece.id)[:HEARD]
    model.fit(list(music.train), held, out=run, resume=resume)
    return model


def main() -> None:
    """The command."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--corpus", type=Path, default=Path("runs/sung"), help="otonoha data sing")
    asked.add_argument("--codec", type=Path, default=Path("runs/sung-codec"))
    asked.add_argument("--run", type=Path, default=Path("runs/lyrics"))
    asked.add_argument("--steps", type=int, help="of both, to see the script work")
    said = asked.parse_args()
    music = corpus(said.corpus)
    codec = codec_of(said.codec, music, said.steps)
    resume = (said.run / "config.json").exists()
    prior = load(said.run) if resume else Jukebox("modern_lyrics", codec=codec)
    settings = {"steps": said.steps} if said.steps else {}
    prior.fit(list(music.train), list(music.valid), out=said.run, resume=resume, **settings)


if __name__ == "__main__":
    main()
