"""Config, Controls and presets. Torch-free: flags, widgets and help texts are made from this file."""

from __future__ import annotations

from dataclasses import dataclass, field

from otonoha.sample.controls import control
from otonoha.train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Config:
    """The network and its training."""

    codec: str = "notes"
    """The codec whose streams are written."""
    width: int = 128
    """Units of the GRU, and width of the embeddings."""
    dropout: float = 0.1
    """Share of units silenced while training."""
    train: Settings = field(default_factory=Settings)
    """How to train."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn. None leaves it to the checkpoint's defaults, then to the model."""

    bars: int | None = control(1, 512)
    """Bars to write, after the prompt if there is one."""
    key: str | None = control()
    """Key, such as "D minor"."""
    metre: str | None = control()
    """Metre, such as 3/4."""
    temperature: float | None = control(0, 5)
    """Below 1 plainer, above 1 more adventurous."""


PRESETS = {
    "tiny": Config(width=32, dropout=0.0, train=Settings(steps=50, batch=8, length=64, lr=1e-2, warmup=5)),
    "small": Config(),
}
