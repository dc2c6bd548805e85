"""The options that only the design `modern` reads, and its settings of training. Torch-free.

Axes and words: levels are named from the finest (0) to the coarsest; a *step* is one code of a level, `hop` samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from otonoha.train.settings import Settings

RANGES: dict[str, tuple[float, float]] = {
    "frame": (4, 65_536),
    "kernel": (1, 63),
    "level_drop": (0, 1),
    "mel_weight": (0, 1000),
    "complex_weight": (0, 1000),
    "time_weight": (0, 1000),
    "critic_weight": (0, 1000),
    "feature_weight": (0, 1000),
    "critic_start": (0, 1),
    "critic_width": (1, 256),
    "critic_length": (2048, 1_000_000),
    "critic_every": (1, 100),
}
"""What numbers may be."""
SHORTEST = 2048
"""Samples of a training clip, at least."""
WHOLE = ("level_hops", "encoder_blocks", "decoder_blocks", "scalars")
"""Tuples of whole numbers."""
JUKEBOX_ONLY = (
    *("downs", "strides", "depth", "multipliers", "dilation_growth", "dilation_cycle"),
    *("reverse_decoder", "revive", "loss", "mix", "top"),
    *("spectral", "spectral_share", "multispectral", "normalisers", "plain"),
)
"""Options of Config that only the design `jukebox` reads."""
COSINE_ONLY = ("embedding", "commit")
"""Options of Config that finite scalars do not read."""


@dataclass(frozen=True, kw_only=True)
class ModernOptions:
    """What `Config` holds for the design `modern`. It also reads rate, channels, codes, embedding, width, hidden,
    codebook_decay, commit and train.
    """

    level_hops: tuple[int, ...] = (512, 1024, 2048)
    """Samples for a code of each level, the finest first; equal ones mean several codes for the same time (modern)."""
    frame: int = 1024
    """Samples of the frames that the networks read and write, a multiple of the finest hop (modern)."""
    encoder_blocks: tuple[int, ...] = (2, 1, 1)
    """ConvNeXt blocks of the encoder at each level (modern)."""
    decoder_blocks: tuple[int, ...] = (4, 1, 1)
    """ConvNeXt blocks of the decoder at each level (modern)."""
    kernel: int = 7
    """Positions that a block looks at (modern)."""
    quantiser: Literal["cosine", "fsq"] = "fsq"
    """cosine: the code of the nearest direction; fsq: every dimension in steps (modern)."""
    scalars: tuple[int, ...] = (8, 5, 5, 5)
    """Steps of each dimension of fsq; their product is `codes` (modern)."""
    decoder_head: Literal["noise", "polar", "cartesian"] = "noise"
    """The decoder writes magnitudes and angles, with noise where angles cannot be known, or without any; or real and
    imaginary parts (modern)."""
    level_drop: float = 0.25
    """Share of the training clips that are decoded from some of the coarser levels alone (modern)."""
    mel_weight: float = 0.5
    """Weight of the logarithms of mel bands, at several window sizes (modern)."""
    complex_weight: float = 1.0
    """Weight of the complex spectra, which know the phase (modern)."""
    time_weight: float = 10.0
    """Weight of the samples themselves: the logarithm of noise to signal (modern)."""
    critic_weight: float = 0.0
    """Weight of the opinion of a critic that learns to tell recordings from decoded sound; 0: no critic (modern)."""
    feature_weight: float = 10.0
    """Weight of what the critic sees inside, for each weight of its opinion (modern)."""
    critic_start: float = 0.7
    """Share of the training after which the critic joins (modern)."""
    critic_width: int = 16
    """Channels of the critic (modern)."""
    critic_length: int = 16_384
    """Samples of a clip that the critic hears (modern)."""
    critic_every: int = 1
    """The critic learns at every so manyth step (modern)."""


def check_effect(config: ModernOptions, design: str) -> None:
    """Raises ValueError for an option that the design does not read, and that is not as it was."""
    every = {f.name: f.default for f in fields(config)}
    deaf = JUKEBOX_ONLY if design == "modern" else tuple(f.name for f in fields(ModernOptions))
    if design == "modern" and config.quantiser == "fsq":
        deaf += COSINE_ONLY
    for name in deaf:
        if getattr(config, name) != every[name]:
            raise ValueError(f"{name} has no effect with design {design!r}")


def check(config: ModernOptions, *, codes: int, length: int) -> None:
    """Raises ValueError, with one line, for options that do not fit together."""
    levels = len(config.level_hops)
    if not 1 <= levels <= 8:
        raise ValueError(f"level_hops must name 1 … 8 levels, got {levels}")
    for name in ("encoder_blocks", "decoder_blocks"):
        blocks = getattr(config, name)
        if len(blocks) != levels or not all(0 <= b <= 64 for b in blocks):
            raise ValueError(f"{name} must have {levels} entries of 0 … 64, one for each level, got {blocks}")
    pairs = zip(config.level_hops, config.level_hops[1:])
    if config.level_hops[0] < 2 or config.level_hops[-1] > 65_536 or any(b % a for a, b in pairs):
        raise ValueError(
            f"level_hops must begin with the finest and be multiples of the one before, got {config.level_hops}"
        )
    hop = config.level_hops[0]
    if config.frame % hop or config.frame < 2 * hop or (config.frame - hop) % 2:
        raise ValueError(f"frame must be 2, 3, 4 … times the finest hop {hop}, got {config.frame}")
    if config.kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, got {config.kernel}")
    if (config.quantiser == "fsq") != bool(config.scalars):
        raise ValueError(
            f"scalars belong to fsq and to fsq alone, got {config.scalars} for {config.quantiser}"
        )
    if config.scalars and (math.prod(config.scalars) != codes or min(config.scalars) < 2):
        raise ValueError(f"the product of scalars must be the number of codes, {codes}, got {config.scalars}")
    if length < SHORTEST:
        raise ValueError(
            f"length must be at least {SHORTEST} (the longest window of the losses), got {length}"
        )


TRAIN = Settings(
    steps=36_000,
    batch=8,
    length=16_384,
    lr=1e-3,
    schedule="cosine",
    warmup=200,
    betas=(0.8, 0.99),
    weight_decay=0.01,
    clip=1.0,
    precision="bf16",
    ema=0.999,
    transpose=False,
    eval_every=1000,
    save_every=500,
)
"""How `modern` is trained: two hours of one core."""
MODERN: dict[str, Any] = {
    "codes": 1000,
    "width": 256,
    "hidden": 2.0,
    "codebook_decay": 0.99,
    "gain": 0.5,
    "train": TRAIN,
}
"""Preset `modern`: 44.1 kHz mono."""
MODERN_TINY: dict[str, Any] = {
    "rate": 8000,
    "level_hops": (16, 32, 64),
    "frame": 64,
    "encoder_blocks": (1, 1, 1),
    "decoder_blocks": (1, 1, 1),
    "kernel": 3,
    "quantiser": "cosine",
    "scalars": (),
    "codes": 32,
    "embedding": 4,
    "width": 24,
    "hidden": 2.0,
    "codebook_decay": 0.9,
    "commit": 0.25,
    "train": replace(
        TRAIN, steps=50, batch=4, length=4096, lr=3e-3, warmup=5, precision="fp32", ema=0.0, eval_every=25
    ),
}
"""Preset `modern_tiny`: for tests."""
