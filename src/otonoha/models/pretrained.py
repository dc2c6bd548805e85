"""Models that come with the package, and `load`, which takes one of their names or any model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from otonoha.models.registry import family
from otonoha.music.suggest import one_of

SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> dict[str, Path]:
    """Name -> folder of the models inside the package."""
    folders = SHIPPED.iterdir() if SHIPPED.is_dir() else ()
    return {p.name: p for p in sorted(folders) if (p / "config.json").is_file()}


def find(name: str | Path) -> Path:
    """The folder itself, or that of a shipped model (which a folder that holds no model does not hide)."""
    path = Path(name).expanduser()
    if path.is_dir() and ((path / "config.json").exists() or str(name) not in shipped()):
        return path
    if path.is_file():
        raise ValueError(f"{path} is a file; a model is a folder with config.json and model.safetensors")
    if "/" in str(name) or "\\" in str(name):
        raise ValueError(
            f"{name}: no such folder; a model is a folder that otonoha fit has made, or one that ships"
        )
    return shipped()[one_of(str(name), shipped(), "model (neither a folder nor one that ships)")]


def load(name: str | Path) -> Any:
    """The model of a shipped name or a folder, whichever family it is."""
    from otonoha.models.base import read_config

    folder = find(name)
    return family(str(read_config(folder)["family"])).load(folder)
