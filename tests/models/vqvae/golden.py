"""The golden cases of the autoencoder (random weights, computed with the original; ../shared/golden/jukebox)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file

from otonoha.models.vqvae import from_original

CASES = ("vqvae_three_level", "vqvae_two_level")


@cache
def folder() -> Path | None:
    """The cases lie beside the data for development (OTONOHA_DATA) or beside the project."""
    data = os.environ.get("OTONOHA_DATA")
    root = Path(__file__).resolve().parents[4]
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, root / "shared" / "golden"]:
        if (place / "jukebox").is_dir():
            return place / "jukebox"
    return None


def skip_without() -> Path:
    """The folder; the test is skipped where there is none."""
    place = folder()
    if place is None:
        pytest.skip("the golden cases (../shared/golden/jukebox) are not here")
    return place


@cache
def read(case: str, name: str):
    """A file of a case: JSON, or tensors."""
    path = skip_without() / case / name
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else load_file(path)


def model(case: str, **changed):
    """A fresh model with the case's weights."""
    return from_original({**read(case, "case.json")["config"], **changed}, read(case, "weights.safetensors"))


def sound(tensor):
    """(B, T, 1) of the cases -> (B, 1, T)."""
    return tensor.transpose(1, 2).contiguous()


def close(found, wanted, share, what=""):
    """Within a share of the wanted tensor's largest value."""
    largest = float(wanted.abs().max())
    worst = float((found.detach().double() - wanted.double()).abs().max())
    assert worst <= share * largest, f"{what}: {worst:.3g} of {largest:.3g}"
