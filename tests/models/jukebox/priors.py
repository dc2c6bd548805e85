"""Small priors of every kind, and the golden cases (random weights, computed with the original)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from otonoha.models.jukebox import from_original
from otonoha.models.jukebox.config import Conditioner, Config, Labels, Layers, Lyrics
from otonoha.models.jukebox.model import Jukebox

GOLDEN = (
    "prior_unlabelled_dense",
    "prior_labelled_timing",
    "prior_merged_decoder",
    "prior_lyrics_single",
    "prior_lyrics_separate_8",
    "prior_lyrics_separate_10",
    "upsampler_level_1",
    "upsampler_level_0",
)


@cache
def folder() -> Path | None:
    """The cases lie beside the data for development (OTONOHA_DATA) or beside the project."""
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, Path(__file__).resolve().parents[4] / "shared" / "golden"]:
        if (place / "jukebox").is_dir():
            return place / "jukebox"
    return None


@cache
def read(case: str, name: str):
    """A file of a case: JSON, or tensors; the test is skipped where there is none."""
    if folder() is None:
        pytest.skip("the golden cases (../shared/golden/jukebox) are not here")
    path = folder() / case / name
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else load_file(path)


def original(case: str) -> Jukebox:
    """A fresh model with the case's weights."""
    return from_original(read(case, "case.json")["config"], read(case, "weights.safetensors"))


def told(case: str) -> dict:
    """What the model of a case is told."""
    tensors = read(case, "reference.safetensors")
    return {"labels": tensors.get("labels"), "upper": tensors.get("upper_codes")}


LAYERS = {"width": 24, "layers": 4, "heads": 2, "blocks": 4, "init_scale": 8.0}
SHAPE = {**LAYERS, "rate": 8000, "hops": (4, 8), "level": 1, "codes": 20, "context": 24}
OWN = Labels(genres=6, artists=7, most_genres=2, time_bins=5, shortest=0.1, longest=2.0)
ENCODER = Layers(**{**LAYERS, "width": 16, "layers": 3, "blocks": 2})
KINDS = {
    "plain": {},
    "dense": {"pattern": 0},
    "summary": {"pattern": 3},
    "spread": {"pattern": 4, "spread": 3},
    "all": {"pattern": 9},
    "labels": {"labels": OWN},
    "merged": {"labels": OWN, "merged_decoder": True, "residual_scale": True},
    "upsampler": {"level": 0, "conditioner": Conditioner(width=8, depth=3, dilation_cycle=2)},
    "told upsampler": {
        "level": 0,
        "labels": Labels(genres=6, artists=7, most_genres=2),
        "conditioner": Conditioner(width=8, depth=3, dilation_cycle=2, residual_scale=True),
    },
    "single": {
        "layers": 17,
        "pattern": 12,
        "labels": OWN,
        "lyrics": Lyrics(design="single", characters=6, vocabulary=9),
        "blocks": 5,
    },
    "single, merged": {
        "pattern": 12,
        "layers": 16,
        "merged_decoder": True,
        "lyrics": Lyrics(design="single", characters=8, vocabulary=9),
    },
    "separate": {
        "pattern": 6,
        "labels": OWN,
        "lyrics": Lyrics(characters=6, vocabulary=9, encoder=ENCODER),
    },
}


@cache
def prior(kind: str) -> Jukebox:
    """A model of a kind in double precision, shared by all tests; every weight is some random number."""
    model = Jukebox(Config(**{**SHAPE, **KINDS[kind]}))
    model.networks.double().requires_grad_(False)
    random = torch.Generator().manual_seed(1)
    for p in model.networks.parameters():
        p.copy_(p + 0.1 * torch.randn(p.shape, generator=random, dtype=torch.float64))
    return model


def window(model: Jukebox, batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, dict]:
    """Random codes (B, n_ctx), and what the model wants to be told."""
    c, random = model.config, torch.Generator().manual_seed(seed)

    def ids(size, *shape, low=0):
        return torch.randint(low, size, shape, generator=random)

    given: dict = {}
    if c.labels is not None:
        total = ids(16_000, batch, 1, low=1000)
        times = [total, ids(1000, batch, 1), torch.full((batch, 1), c.context * model.hop)]
        genres = ids(c.labels.genres, batch, c.labels.most_genres, low=-1)
        given["labels"] = torch.cat([*times, ids(c.labels.artists, batch, 1), genres], 1)
    if c.lyrics is not None:
        given["lyrics"] = ids(c.lyrics.vocabulary, batch, c.lyrics.characters)
    if c.conditioner is not None:
        given["upper"] = ids(c.codes, batch, c.context // c.ratio)
    return ids(c.codes, batch, c.context), given
