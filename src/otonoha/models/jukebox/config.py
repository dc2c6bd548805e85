"""Config, Controls and presets of one prior. Torch-free: flags, help texts and lists are made from this file.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Nothing is allocated here: even the parameters are counted by formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from otonoha.models.jukebox import modern_config
from otonoha.sample.controls import control
from otonoha.train.settings import Settings

ROW_COLUMN_PREVIOUS = (1, 2, 3)
PATTERNS: dict[int, tuple[int, ...]] = {
    0: (0,),
    1: (1, 2),
    2: ROW_COLUMN_PREVIOUS,
    3: (1, 4),
    4: (1, 5),
    5: (1, 4, 1, 1),
    6: (*ROW_COLUMN_PREVIOUS, 6),
    7: (*5 * ROW_COLUMN_PREVIOUS, 6),
    8: (*3 * ROW_COLUMN_PREVIOUS, 6),
    9: (*ROW_COLUMN_PREVIOUS, 0),
    10: (*3 * ROW_COLUMN_PREVIOUS, *7 * (*3 * ROW_COLUMN_PREVIOUS, 6)),
}
"""Attention functions (nn/factorised.py) of the first layers; they begin again after the last. Two more patterns are
written out in `functions`."""
LYRIC_LAYER_EVERY = 16
RANGES: dict[str, tuple[float, float]] = {
    "width": (1, 65_536),
    "layers": (1, 1024),
    "heads": (1, 1024),
    "pattern": (0, 12),
    "blocks": (1, 65_536),
    "spread": (1, 65_536),
    "attention_share": (0.001, 4),
    "mlp_share": (0.01, 16),
    "init_scale": (0.0001, 100),
    "rate": (1000, 768_000),
    "level": (0, 7),
    "codes": (2, 65_536),
    "context": (1, 1_048_576),
    "dropout": (0, 0.95),
    "genres": (1, 1_000_000),
    "artists": (1, 10_000_000),
    "most_genres": (1, 64),
    "time_bins": (0, 4096),
    "characters": (1, 65_536),
    "vocabulary": (2, 1_000_000),
    "loss_share": (0, 100),
    "guide": (0, 100),
    "astray": (0, 65_536),
    "depth": (1, 64),
    "hidden": (0.01, 16),
    "dilation_growth": (1, 9),
    "dilation_cycle": (0, 64),
    "stride": (2, 8),
}
"""What numbers may be."""


def functions(pattern: int, layers: int) -> tuple[int, ...]:
    """The attention function of every layer."""
    if pattern in PATTERNS:
        cycle = PATTERNS[pattern]
        return tuple(cycle[layer % len(cycle)] for layer in range(layers))
    lyrics = {11: 6, 12: 7}[pattern]  # cross attention, or the lyrics in front of the codes
    return tuple(
        (lyrics, lyrics, 0)[layer % 3]
        if layer % LYRIC_LAYER_EVERY == LYRIC_LAYER_EVERY - 1
        else ROW_COLUMN_PREVIOUS[layer % 3]
        for layer in range(layers)
    )


def check(options: Any) -> None:
    """ValueError for a number of a dataclass that lies outside of its range."""
    for name, (low, high) in RANGES.items():
        value = getattr(options, name, None)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must be within {low:g} … {high:g}, got {value:g}")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A stack of factorised attention."""

    width: int = 1024
    """Width of the residual stream."""
    layers: int = 48
    """Layers."""
    heads: int = 1
    """Attention heads."""
    pattern: int = 2
    """Which attention functions take turns: number of a pattern of the original, 0 … 12."""
    blocks: int = 64
    """Rows that the sequence is folded into."""
    spread: int = 1
    """Positions of a row that attention function 5 looks at."""
    attention_share: float = 0.25
    """Width of queries, keys and values as a share of the width."""
    mlp_share: float = 1.0
    """Width inside of the MLP as a share of the width."""
    residual_scale: bool = False
    """Divide what a layer adds by the number of layers."""
    init_scale: float = 0.7
    """Factor on the spread of all first weights."""

    def __post_init__(self) -> None:
        check(self)
        if self.inner < 1 or self.inner % self.heads:
            raise ValueError(
                f"attention of width {self.inner} (attention_share × width) cannot be split into {self.heads} heads"
            )
        if self.hidden_width < 1:
            raise ValueError(f"mlp_share {self.mlp_share:g} leaves nothing of width {self.width}")

    @property
    def inner(self) -> int:
        """Width of queries, keys and values."""
        return int(self.attention_share * self.width)

    @property
    def hidden_width(self) -> int:
        """Width inside of the MLP."""
        return int(self.mlp_share * self.width)

    @property
    def functions(self) -> tuple[int, ...]:
        """The attention function of every layer."""
        return functions(self.pattern, self.layers)

    @property
    def layer_parameters(self) -> int:
        """Weights of all layers: 3 W² + 7.75 W each, with the usual shares."""
        W, E, M = self.width, self.inner, self.hidden_width
        attention = W * 3 * E + 3 * E + E * W + W
        return self.layers * (attention + W * M + M + M * W + W + 4 * W)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a prior is told of a song."""

    version: Literal["v2", "v3", "own"] = "own"
    """How names become ids: v2 and v3 are the original's tables, own those of the user's music."""
    genres: int = 120
    """Rows of the table of genres (their words, in v2)."""
    artists: int = 4111
    """Rows of the table of artists."""
    most_genres: int = 5
    """Genres that a label row has room for."""
    time_bins: int = 0
    """Rows of each table of times: length of the song, place in it, share of it that is over; 0: no timing."""
    shortest: float = 60.0
    """Seconds of the shortest song."""
    longest: float = 600.0
    """Seconds of the longest song."""

    def __post_init__(self) -> None:
        check(self)
        if not 0 <= self.shortest < self.longest:
            raise ValueError(f"songs cannot be {self.shortest:g} … {self.longest:g} s long")

    @property
    def columns(self) -> int:
        """Numbers of a label row: total length, offset, length of the window (samples), artist, genres."""
        return 4 + self.most_genres


@dataclass(frozen=True, kw_only=True)
class Lyrics:
    """How a prior reads lyrics."""

    design: Literal["single", "separate"] = "separate"
    """single: characters and codes are one sequence of one vocabulary; separate: an encoder and cross attention."""
    characters: int = 512
    """Characters of a window."""
    vocabulary: int = 80
    """Character ids."""
    loss_share: float = 0.4
    """Weight of predicting the lyrics themselves."""
    guide: float = 0.0
    """Weight of guided attention where it is known when words are sung (guide.py; design modern); 0: none."""
    astray: int = 0
    """Characters by which the text that a training window is shown may lie beside what is sung in it, to either side:
    as it does where nobody knows yet when words are sung."""
    encoder: Layers | None = None
    """The layers of the separate encoder."""

    def __post_init__(self) -> None:
        check(self)
        if (self.encoder is None) != (self.design == "single"):
            raise ValueError(
                "the separate design needs the layers of an encoder"
                if self.encoder is None
                else "an encoder has no effect in the single design"
            )
        _check_fold(self.characters, self.encoder)

    @property
    def single(self) -> bool:
        """Whether the lyrics stand in front of the codes."""
        return self.design == "single"


@dataclass(frozen=True, kw_only=True)
class Conditioner:
    """The convolutions that bring the codes of the next coarser level to the rate of this one."""

    width: int = 1024
    """Channels."""
    depth: int = 16
    """Residual units before each transposed convolution."""
    hidden: float = 1.0
    """Channels inside a residual unit, as a share of the width."""
    dilation_growth: int = 3
    """Dilation of each unit as a multiple of that before it."""
    dilation_cycle: int = 8
    """Units after which the dilations begin again at 1; 0: never."""
    residual_scale: bool = False
    """Multiply what a unit adds by 1 / √depth."""
    stride: int = 2
    """Stride of each transposed convolution."""

    def __post_init__(self) -> None:
        check(self)
        if int(self.hidden * self.width) < 1:
            raise ValueError(f"hidden {self.hidden:g} leaves no channel of width {self.width}")
        if self.stride % 2:
            raise ValueError(f"stride must be even, got {self.stride}")

    def steps(self, ratio: int) -> int:
        """Transposed convolutions for a ratio of rates."""
        steps = round(math.log(ratio, self.stride))
        if self.stride**steps != ratio or not steps:
            raise ValueError(f"{ratio} codes of an upper code cannot be reached in strides of {self.stride}")
        return steps


@dataclass(frozen=True, kw_only=True)
class Config(Layers):
    """The prior of one level, and its training."""

    codec: str = ""
    """The codec whose codes are written: a model folder or a name; the model keeps its fingerprint."""
    rate: int = 44100
    """Samples per second of the sound."""
    hops: tuple[int, ...] = (8, 32, 128)
    """Samples for a code of every level, the finest first."""
    level: int = 2
    """The level that is written; 0 is the finest."""
    codes: int = 2048
    """Codes of each level."""
    context: int = 8192
    """Codes of a window."""
    merged_decoder: bool = False
    """Give the output a matrix of its own, and do not add the conditioning a second time behind the layers."""
    dropout: float = 0.0
    """Share of what is silenced while training."""
    recompute: bool = False
    """Compute every layer again in the backward pass instead of keeping what it held: less memory, a third slower."""
    labels: Labels | None = None
    """Artist, genre and timing; None: no labels."""
    lyrics: Lyrics | None = None
    """Lyrics; None: none."""
    conditioner: Conditioner | None = None
    """How the codes of the next coarser level come in; None at the top."""
    modern: modern_config.Modern | None = None
    """Options of the design `modern`; None: the original's design."""
    train: Settings = Settings()
    """How to train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hops", tuple(int(h) for h in self.hops))
        if not self.hops or any(a < 1 or b % a for a, b in zip(self.hops, [*self.hops[1:], 0])):
            raise ValueError(f"hops must be multiples of each other, the finest first, got {self.hops}")
        together = self.modern is not None and self.modern.mode == "delayed"
        if len(set(self.hops)) < len(self.hops) and not together:
            raise ValueError(
                f"hops must differ, got {self.hops}: several codes for the same time take a prior of the mode delayed"
            )
        if self.level >= len(self.hops):
            raise ValueError(f"level must be within 0 … {len(self.hops) - 1}, got {self.level}")
        if self.modern is not None:
            modern_config.check(self)
            return
        if self.lyrics is not None and self.lyrics.guide:
            raise ValueError("lyrics.guide has no effect in the design original")
        self._check_conditions()
        _check_fold(self.length, self)

    def _check_conditions(self) -> None:
        asked, labels = set(self.functions), self.labels
        single = self.lyrics is not None and self.lyrics.single
        if 6 in asked and (self.lyrics is None or single):
            raise ValueError(
                f"pattern {self.pattern} looks at lyrics: it needs lyrics in the separate design"
            )
        if 7 in asked and not single:
            raise ValueError(f"pattern {self.pattern} looks at lyrics: it needs lyrics in the single design")
        if self.conditioner is not None:
            if not self.ratio:
                raise ValueError("a conditioner has no effect at the coarsest level")
            self.conditioner.steps(self.ratio)
            if self.context % self.ratio:
                raise ValueError(f"context must be a multiple of {self.ratio}, got {self.context}")
        if self.conditioner is not None and labels is not None and labels.time_bins:
            raise ValueError("a prior has either a conditioner or timing (time_bins)")

    @property
    def design(self) -> Literal["original", "modern"]:
        """Which network it is."""
        return "original" if self.modern is None else "modern"

    @property
    def ratio(self) -> int:
        """Codes for one of the next coarser level; 0 at the top."""
        return 0 if self.level == len(self.hops) - 1 else self.hops[self.level + 1] // self.hops[self.level]

    @property
    def prefix(self) -> int:
        """Characters in front of the codes."""
        return self.lyrics.characters if self.lyrics and self.lyrics.single else 0

    @property
    def shift(self) -> int:
        """What is added to a code in the vocabulary: characters come first."""
        return self.lyrics.vocabulary if self.lyrics and self.lyrics.single else 0

    @property
    def length(self) -> int:
        """Positions of the whole sequence."""
        return self.prefix + self.context

    @property
    def parameters(self) -> int:
        """How many weights the networks will have."""
        if self.modern is not None:
            return modern_config.parameters(self)
        W, labels = self.width, self.labels
        found = (self.shift + self.codes + self.length) * W + self.layer_parameters
        found += (self.shift + self.codes) * W if self.merged_decoder else 0
        found += W if labels is None else (labels.artists + labels.genres + 3 * labels.time_bins) * W
        return found + self._conditioner_parameters() + self._encoder_parameters()

    def _conditioner_parameters(self) -> int:
        c = self.conditioner
        if c is None:
            return 0
        W, D, H = self.width, c.width, int(c.hidden * c.width)
        steps, unit = c.steps(self.ratio), D * H * 3 + H + H * D + D
        rises = (steps - 1) * (D * D * 2 * c.stride + D) + D * W * 2 * c.stride + W
        return self.codes * W + W * D * 3 + D + steps * c.depth * unit + rises + 2 * W

    def _encoder_parameters(self) -> int:
        if self.lyrics is None or self.lyrics.encoder is None:
            return 0
        encoder, W, V = self.lyrics.encoder, self.width, self.lyrics.vocabulary
        inside = (V + self.lyrics.characters + 1) * encoder.width + encoder.layer_parameters
        return inside + encoder.width * W + W + 2 * W + V * W


def _check_fold(length: int, layers: Layers | None) -> None:
    """ValueError where a sequence cannot be folded as the layers want it."""
    if layers is None or set(layers.functions) <= {0, 6}:
        return
    if length % layers.blocks:
        raise ValueError(f"{length} positions cannot be folded into {layers.blocks} blocks of equal length")
    if layers.spread > length // layers.blocks:
        raise ValueError(f"spread must be at most {length // layers.blocks} (a row), got {layers.spread}")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn. None leaves it to the checkpoint's defaults, then to the model."""

    temperature: float | None = control(0, 5)
    """Below 1 plainer, above 1 more adventurous."""


def __getattr__(name: str) -> Any:
    """PRESETS live in a file of their own."""
    if name != "PRESETS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from otonoha.models.jukebox.presets import PRESETS

    return PRESETS
