"""Config, Controls and presets. Torch-free: flags, widgets and help texts are made from this file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from otonoha.models.vqvae import modern_config
from otonoha.music.suggest import one_of
from otonoha.train.settings import Settings

RANGES: dict[str, tuple[float, float]] = {
    "rate": (1000, 768_000),
    "channels": (1, 2),
    "codes": (2, 65_536),
    "embedding": (1, 4096),
    "width": (1, 4096),
    "depth": (1, 64),
    "hidden": (0.01, 16),
    "dilation_growth": (1, 9),
    "dilation_cycle": (0, 64),
    "codebook_decay": (0, 1),
    "revive": (0, 1000),
    "top": (1, 1_000_000),
    "commit": (0, 1000),
    "spectral": (0, 1000),
    "multispectral": (0, 1000),
    "gain": (0.0, 0.99),
    **modern_config.RANGES,
}
"""What numbers may be."""


@dataclass(frozen=True, kw_only=True)
class Config(modern_config.ModernOptions):
    """The networks and their training."""

    design: Literal["jukebox", "modern"] = "jukebox"
    """jukebox: the original's independent levels; modern: levels that build upon each other, spectra in and out."""
    rate: int = 44100
    """Samples per second of the sound that is coded."""
    channels: int = 1
    """1 mixes everything down to mono, 2 codes left and right together."""
    downs: tuple[int, ...] = (3, 2, 2)
    """Strided convolutions from each level to the next, the finest first; every level goes through those before it."""
    strides: tuple[int, ...] = (2, 2, 2)
    """Strides of these convolutions, level by level."""
    codes: int = 2048
    """Codes of each level."""
    embedding: int = 64
    """Width of the codes' vectors."""
    width: int = 32
    """Channels of the layers, before the multiplier of the level."""
    depth: int = 4
    """Residual units of a stack, before the multiplier of the level."""
    multipliers: tuple[int, ...] = ()
    """Factor on width and depth, level by level; all 1 when empty."""
    hidden: float = 1.0
    """Channels inside a residual unit, as a share of the width."""
    dilation_growth: int = 3
    """Dilation of each unit of a stack as a multiple of that before it."""
    dilation_cycle: int = 0
    """Units after which the dilations begin again at 1; 0: never."""
    reverse_decoder: bool = True
    """Stacks of the decoders begin with the largest dilation."""
    codebook_decay: float = 0.99
    """Decay of the moving averages that the codes follow."""
    revive: float = 1.0
    """A code that is used less often per step (a moving average) becomes a random vector of the batch."""
    loss: Literal["l1", "l2", "linf", "lmix"] = "lmix"
    """What the samples are compared by; lmix is a sum of the three others with the weights of `mix`."""
    mix: tuple[float, float, float] = (0.0, 1.0, 0.02)
    """Weights of l1, l2 and linf in lmix."""
    top: int = 2048
    """linf is the mean of so many of the largest squared errors of a clip."""
    commit: float = 0.02
    """Weight of the distance between an encoder's vectors and the codes' vectors."""
    spectral: float = 0.0
    """Weight of the spectral loss of one resolution."""
    spectral_share: bool = False
    """That loss as a share of the spectrum itself (spectral convergence)."""
    multispectral: float = 1.0
    """Weight of the spectral loss of three resolutions."""
    normalisers: tuple[float, float, float] | None = None
    """Mean |x|, variance of x and mean norm of a clip's spectrogram, which the losses are divided by; measured from the
    training sound when unset."""
    shift: bool = True
    """Cut clips at random places, not on a fixed grid."""
    blend: bool = True
    """Mix channels down with random weights (mono only)."""
    gain: float = 0.0
    """How much quieter a clip may become by chance, as a share; 0 leaves it."""
    plain: bool = False
    """Convolutions as PyTorch has them instead of the equal matrix products: the slow twin."""
    train: Settings = Settings(length=262_144)
    """How to train; `length` is that of a clip in samples."""

    def __post_init__(self) -> None:
        self._whole("downs", "strides", "multipliers", *modern_config.WHOLE)
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(kind) is Literal:
                one_of(value, get_args(kind), name)
            if name in RANGES:
                _check(name, value, whole=kind is int)
        modern_config.check_effect(self, self.design)
        if self.design == "modern":
            modern_config.check(self, codes=self.codes, length=self.train.length)
        else:
            self._check_levels()
        if self.train.length % self.hops[-1]:
            raise ValueError(
                f"length must be a multiple of {self.hops[-1]} (samples for a code of the coarsest level), "
                f"got {self.train.length}"
            )

    def _whole(self, *names: str) -> None:
        """Command lines bring 3.0 for 3."""
        for name in names:
            values = getattr(self, name)
            if not all(isinstance(v, int | float) and v == int(v) for v in values):
                raise ValueError(f"{name} must be whole numbers, got {values}")
            object.__setattr__(self, name, tuple(int(v) for v in values))

    def _check_levels(self) -> None:
        levels = len(self.downs)
        if not 1 <= levels <= 8 or not all(1 <= d <= 12 for d in self.downs):
            raise ValueError(f"downs must name 1 … 8 levels with 1 … 12 steps each, got {self.downs}")
        for name in ("strides", "multipliers"):
            values = getattr(self, name)
            if len(values) != levels and (name == "strides" or values):
                raise ValueError(f"{name} must have {levels} entries, one for each level, got {values}")
        if not all(s in (2, 4, 6, 8) for s in self.strides):
            raise ValueError(f"strides must be 2, 4, 6 or 8, got {self.strides}")
        if not all(1 <= m <= 16 for m in self.multipliers):
            raise ValueError(f"multipliers must be within 1 … 16, got {self.multipliers}")
        if self.hops[-1] > 65_536:
            raise ValueError(
                f"a code of the coarsest level would stand for {self.hops[-1]:,} samples; 65,536 is most"
            )
        if int(self.hidden * self.width) < 1:
            raise ValueError(f"hidden {self.hidden:g} leaves no channel of width {self.width}")
        if self.normalisers is not None and not all(math.isfinite(v) and v > 0 for v in self.normalisers):
            raise ValueError(f"normalisers must be positive numbers, got {self.normalisers}")

    @property
    def hops(self) -> tuple[int, ...]:
        """Samples for a code of each level; the finest first."""
        if self.design == "modern":
            return self.level_hops
        sizes = [s**n for n, s in zip(self.downs, self.strides, strict=True)]
        return tuple(math.prod(sizes[: level + 1]) for level in range(len(sizes)))

    @property
    def factors(self) -> tuple[int, ...]:
        """The multipliers of all levels."""
        return self.multipliers or (1,) * len(self.downs)


def _check(name: str, value: Any, *, whole: bool) -> None:
    low, high = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ValueError(f"{name} must be {'a whole' if whole else 'a'} number, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be within {low:g} … {high:g}, got {value:g}")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """A codec has nothing to turn: it writes nothing of its own."""


ORIGINAL = Settings(
    steps=300_000,
    batch=4,
    length=262_144,
    lr=3e-4,
    schedule="constant",
    warmup=100,
    optimiser="jukebox",
    betas=(0.9, 0.999),
    weight_decay=0.0,
    clip=1.0,
    ema=0.9995,
    transpose=False,
    eval_every=1000,
    save_every=1000,
)
JUKEBOX = Config(multipliers=(2, 1, 1), train=ORIGINAL)
SMALL_VQVAE = Config(rate=22050, downs=(5, 3), strides=(2, 2), codes=1024, loss="l2", train=ORIGINAL)
SMALL = Config(
    rate=22050,
    codes=512,
    embedding=32,
    width=24,
    depth=3,
    train=replace(ORIGINAL, steps=8000, batch=4, length=16_384, lr=1e-3, ema=0.999, eval_every=500),
)
TINY = Config(
    rate=8000,
    downs=(2, 1),
    strides=(2, 2),
    codes=24,
    embedding=8,
    width=8,
    depth=2,
    top=64,
    train=replace(ORIGINAL, steps=50, batch=4, length=2048, lr=3e-3, warmup=5, ema=0.0, eval_every=25),
)
MODERN = Config(design="modern", **modern_config.MODERN)
MODERN_TINY = Config(design="modern", **modern_config.MODERN_TINY)
PRESETS = {
    "tiny": TINY,
    "small": SMALL,
    "jukebox": JUKEBOX,
    "small_vqvae": SMALL_VQVAE,
    "modern": MODERN,
    "modern_tiny": MODERN_TINY,
}
