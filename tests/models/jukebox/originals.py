"""Published files in small: the golden cases' weights and a random codec as .pth.tar, laid out as the original's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from priors import read

from otonoha.models.jukebox import presets as prior_presets
from otonoha.models.jukebox.original import config_of
from otonoha.models.vqvae import config as codec_presets
from otonoha.models.vqvae.model import VQVAE

CASES = {
    "jukebox_1b_lyrics": "prior_lyrics_single",
    "jukebox_5b": "prior_merged_decoder",
    "jukebox_5b_lyrics": "prior_lyrics_separate_10",
    "upsampler_0": "upsampler_level_0",
    "upsampler_1": "upsampler_level_1",
}
"""Preset -> the case that stands for it: the same design, tiny."""
CODEC = codec_presets.Config(codes=64, width=4, depth=2, multipliers=(2, 1, 1), train=codec_presets.ORIGINAL)


def small(monkeypatch) -> None:
    """The published presets get the shapes of the golden cases."""
    for preset, case in CASES.items():
        config = config_of(read(case, "case.json")["config"])
        monkeypatch.setitem(prior_presets.PRESETS, preset, config)
    monkeypatch.setitem(codec_presets.PRESETS, "jukebox", CODEC)


@cache
def codec() -> VQVAE:
    """Weights as they begin."""
    model = VQVAE(CODEC)
    model.design.restore()  # as a codec without moving averages begins
    return model


def put(path: Path, tensors, *, archive: bool = False, ddp: bool = False, **beside) -> Path:
    """A checkpoint file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {("module." if ddp else "") + name: t for name, t in tensors.items()}
    content = {
        "hps": {"name": path.parent.name, "lr": 3e-4},
        "model": state,
        "opt": None,
        "step": 7,
        "bpd": 1.5,
    }
    torch.save({**content, **beside}, path, _use_new_zipfile_serialization=archive)
    return path


def weights(preset: str) -> dict[str, torch.Tensor]:
    """Under the original's keys."""
    return dict(read(CASES[preset], "weights.safetensors"))


def put_codec(path: Path, **how) -> Path:
    """vqvae.pth.tar."""
    return put(path, codec().networks["vqvae"].state_dict(), **how)


def put_tables(folder: Path, *, artists: int = 23, genres: int = 14) -> None:
    """Lists of names for both versions, of this many rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in ("v2", "v3"):
        rows = [f"{version}_singer_{i};{i}" for i in range(1, artists)]
        (folder / f"{version}_artist_ids.txt").write_text("\n".join(["unknown;0", *rows]) + "\n")
        styles = [f"{version}style{i};{i}" for i in range(1, genres)]
        (folder / f"{version}_genre_ids.txt").write_text("\n".join(["unknown;0", *styles]) + "\n")


def published(folder: Path, top: str = "jukebox_1b_lyrics", levels=(2, 1, 0), *, tables: bool = True) -> Path:
    """A folder of folders, as the original keeps its files."""
    put_codec(folder / "5b" / "vqvae.pth.tar")
    for level in levels:
        preset = top if level == 2 else f"upsampler_{level}"
        place = folder / (top.removeprefix("jukebox_") if level == 2 else "5b")
        put(place / f"prior_level_{level}.pth.tar", weights(preset), ddp=level == 1, archive=level == 0)
    if tables:
        put_tables(folder / "ids")
    return folder
