"""The codec of the original (openai/jukebox) from its published file, vqvae.pth.tar, as a Model of this room.

The file is a pickle, which is read without running it (models/torch_files.py); every tensor has to be there, none else,
and all of the right shape. Which preset it is follows from the shapes.
"""

from __future__ import annotations

from pathlib import Path

from otonoha.models.state_dicts import Shapes, matching
from otonoha.models.torch_files import open_torch
from otonoha.models.vqvae.config import PRESETS
from otonoha.models.vqvae.model import VQVAE
from otonoha.models.vqvae.original import filled

FILE = "vqvae.pth.tar"
PUBLISHED = ("jukebox", "small_vqvae")
"""Presets that a file may hold."""


def codec_from(path: str | Path) -> tuple[str, VQVAE]:
    """The preset of the codec in a file, and the codec. ValueError (one line) for a file that holds none."""
    file = open_torch(path)
    state = file.state()
    found = {name: entry.shape for name, entry in state.items()}
    try:
        preset = matching({name: _shapes(name) for name in PUBLISHED}, found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    tensors = {name: file.tensor(entry) for name, entry in state.items()}
    broken = [n for n, t in tensors.items() if not t.is_floating_point() or not t.isfinite().all()]
    if broken:
        raise ValueError(f"{path} holds weights that are no finite numbers ({broken[0]}): it is damaged")
    return preset, filled(VQVAE(PRESETS[preset]), tensors)


def _shapes(preset: str) -> Shapes:
    network = VQVAE(PRESETS[preset]).networks["vqvae"]
    return {name: tuple(t.shape) for name, t in network.state_dict().items()}
