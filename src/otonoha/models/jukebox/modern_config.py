"""The options that only the design `modern` reads, its checks and presets. Torch-free.

A Llama-shaped body instead of factorised attention. Of `Config` it also reads width, layers, heads, context, dropout,
rate, hops, level, codes, labels, lyrics (single design) and train.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from otonoha.models.jukebox.delays import Delays
from otonoha.music.suggest import one_of
from otonoha.train.settings import Settings

RANGES: dict[str, tuple[float, float]] = {
    "kv_heads": (1, 1024),
    "feedforward": (1, 65_536),
    "forget": (0, 0.9),
}
"""What numbers may be."""
ORIGINAL_ONLY = (
    *("pattern", "blocks", "spread", "attention_share", "mlp_share", "residual_scale", "init_scale"),
    *("merged_decoder", "recompute", "conditioner"),
)
"""Options of Config that only the design `original` reads."""


@dataclass(frozen=True, kw_only=True)
class Modern:
    """What a prior of the design `modern` has of its own."""

    mode: Literal["causal", "masked", "delayed"] = "causal"
    """causal: code after code; masked: every code sees both sides, many are written at once; delayed: the codes of all
    levels by one prior of the coarsest level, several a step (delays.py)."""
    kv_heads: int = 2
    """Heads of keys and values; each serves heads / kv_heads queries."""
    feedforward: int = 512
    """Width inside of the gated unit."""
    score: bool = False
    """Whether it can be told the notes of every moment."""
    forget: float = 0.1
    """Share of the training windows without each condition (style, time, notes, lyrics), drawn one by one."""
    masks: Literal["cosine", "uniform"] = "cosine"
    """How much of a window is hidden in training: cos(π u / 2) for an even u, which hides much most of the time, or an
    even share (masked)."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(kind) is Literal:
                one_of(value, get_args(kind), name)
            if name in RANGES and not RANGES[name][0] <= value <= RANGES[name][1]:
                low, high = RANGES[name]
                raise ValueError(f"{name} must be within {low:g} … {high:g}, got {value:g}")
        if self.mode != "masked" and self.masks != "cosine":
            raise ValueError(f"masks has no effect in the mode {self.mode}")


def check(config: Any) -> None:
    """ValueError for options of a Config that do not fit together, or that this design does not read."""
    modern = config.modern
    for field in fields(config):
        if field.name in ORIGINAL_ONLY and getattr(config, field.name) != field.default:
            raise ValueError(f"{field.name} has no effect in the design modern")
    if config.width % config.heads or (config.width // config.heads) % 2 or config.heads % modern.kv_heads:
        raise ValueError(
            f"width {config.width} must be an even multiple of heads {config.heads}, and these a multiple of kv_heads "
            f"{modern.kv_heads}"
        )
    if config.lyrics is not None and not config.lyrics.single:
        raise ValueError(
            "the design modern reads lyrics in front of the codes: lyrics must be of the design single"
        )
    if modern.mode == "delayed" and config.lyrics is not None and config.lyrics.guide:
        raise ValueError("lyrics.guide has no effect in the mode delayed")
    if modern.mode == "delayed" and config.level != len(config.hops) - 1:
        top = len(config.hops) - 1
        raise ValueError(
            f"the mode delayed writes all levels, from the coarsest: level must be {top}, got {config.level}"
        )
    if modern.mode == "delayed" and config.context <= (longest := delays_of(config).longest):
        raise ValueError(
            f"context must be above {longest}, or no window of the mode delayed sees all codes of a time; got "
            f"{config.context}"
        )
    if config.ratio and config.context % config.ratio:
        raise ValueError(f"context must be a multiple of {config.ratio}, got {config.context}")


SCORE = 128 * 2 + 1
"""Numbers of a frame of notes: which pitches begin, which sound, and 1 where notes are told at all."""


def delays_of(config: Any) -> Delays:
    """The delay pattern of all levels, in the mode delayed."""
    hops = config.hops
    return Delays(tuple(hops[-1] // hop for hop in hops), (config.codes,) * len(hops))


def symbols_of(config: Any) -> int:
    """Symbols of codes: those of a level, or of all streams side by side and the pad."""
    if config.modern.mode != "delayed":
        return int(config.codes)
    return delays_of(config).streams * int(config.codes) + 1


def parameters(config: Any) -> int:
    """How many weights the network will have."""
    W, modern, labels = config.width, config.modern, config.labels
    keys = modern.kv_heads * (W // config.heads)
    layer = 2 * W * (W + keys) + 3 * W * modern.feedforward + 2 * W
    found = config.layers * layer + W + (config.shift + symbols_of(config) + 1) * W
    found += 0 if labels is None else (labels.artists + labels.genres + 3 * labels.time_bins) * W
    coarser = len(config.hops) - 1 - config.level
    return found + (coarser * config.codes + config.ratio) * W + SCORE * W * modern.score


TRAIN = Settings(
    steps=6000,
    batch=8,
    length=256,
    lr=2e-3,
    schedule="cosine",
    warmup=150,
    betas=(0.9, 0.95),
    weight_decay=0.05,
    clip=1.0,
    ema=0.998,
    transpose=False,
    eval_every=300,
    save_every=300,
)
CODES: dict[str, Any] = {"rate": 44100, "hops": (512, 1024, 2048), "codes": 1000}
TOP: dict[str, Any] = {
    **CODES,
    "level": 2,
    "width": 192,
    "layers": 5,
    "heads": 6,
    "context": 256,
    "dropout": 0.05,
    "modern": Modern(kv_heads=3, feedforward=512, score=True),
    "train": TRAIN,
}
"""Preset `modern_top`: 12 seconds at a time."""
DELAYED = Modern(mode="delayed", kv_heads=3, feedforward=512, score=True)
"""Preset `modern_delayed`: as `modern_top`, but all levels."""
UP: dict[str, Any] = {
    **CODES,
    "level": 1,
    "width": 160,
    "layers": 3,
    "heads": 5,
    "context": 256,
    "modern": Modern(mode="masked", kv_heads=5, feedforward=352, score=True),
    "train": TRAIN,
}
"""Preset `modern_up`: level 1, or with `level=0` the finest; 6 or 3 seconds at a time."""
WORDS: dict[str, Any] = {
    "rate": 16000,
    "hops": (400,),
    "codes": 1000,
    "level": 0,
    "width": 128,
    "layers": 4,
    "heads": 4,
    "context": 192,
    "dropout": 0.1,
    "modern": Modern(kv_heads=4, feedforward=352),
    "train": replace(
        TRAIN, steps=3500, length=192, lr=3e-3, warmup=100, ema=0.995, precision="bf16", eval_every=650
    ),
}
"""Preset `modern_lyrics`: 4.8 seconds at a time of a voice at 16 kHz, 40 codes a second, with the words around them."""
TINY: dict[str, Any] = {
    "rate": 8000,
    "hops": (16, 32, 64),
    "codes": 32,
    "level": 2,
    "width": 64,
    "layers": 2,
    "heads": 2,
    "context": 32,
    "modern": Modern(kv_heads=1, feedforward=64, score=True),
    "train": Settings(
        steps=20,
        batch=4,
        length=32,
        lr=5e-3,
        warmup=5,
        transpose=False,
        eval_every=10,
        save_every=10,
    ),
}
"""Preset `modern_tiny`: for tests, over the codec `modern_tiny`."""
