"""Config, Controls and presets of MuseGAN. Torch-free."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from otonoha.music.suggest import one_of
from otonoha.sample.controls import control
from otonoha.train.settings import Settings

VOICES = ("soprano", "alto", "tenor", "bass")
BAND = ("bass", "drums", "guitar", "piano", "strings")
CONVOLUTIONS = ("book", "paper", "binary")
GAMES = (*CONVOLUTIONS, "onehot")
READ_BY = {
    "players": ("paper",),
    "order": ("paper",),
    "hidden": ("onehot", "lines"),
    "width": CONVOLUTIONS,
    "plain": CONVOLUTIONS,
    "neurons": ("binary",),
    "refiner": ("binary",),
    "latent": ("lines",),
    "divisi": ("lines",),
    "adversary": GAMES,
    "penalty": GAMES,
    "critic_steps": GAMES,
}
"""Option -> the designs that read it; all designs read the others."""
RANGES: dict[str, tuple[float, float]] = {
    "bars": (1, 512),
    "noise": (1, 4096),
    "hidden": (4, 16384),
    "width": (0.001, 16),
    "latent": (0, 100),
    "divisi": (1, 16),
    "penalty": (0, 10_000),
    "critic_steps": (1, 100_000),
}
"""Option -> the smallest and the largest number that makes sense."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The network and its training."""

    design: Literal["book", "paper", "binary", "onehot", "lines"] = "onehot"
    """book: the book's network; paper: MuseGAN's; binary: BinaryMuseGAN's; onehot: the better GAN for lines;
    lines: the same four noises before an autoregressive decoder, for lines and for bands."""
    players: Literal["hybrid", "composer", "jamming"] = "hybrid"
    """Who shares noise (paper). hybrid: common and private noises; composer: common only; jamming: private only,
    and a critic for every track."""
    order: Literal["tripling last", "tripling first", "sixfold first"] = "tripling last"
    """When time is tripled as a bar grows (paper); sixfold: tripled and doubled at once. The others than the first
    need bars of 12, 24, 36, 48 … steps."""
    codec: str = "roll"
    """The codec of the phrases."""
    tracks: tuple[str, ...] = VOICES
    """Names of the tracks."""
    lines: bool = True
    """Tracks are lines of single notes; False: chords too."""
    steps_per_bar: int = 16
    """Steps of a bar."""
    low: int = 36
    """Lowest MIDI pitch of the rolls."""
    high: int = 81
    """Highest MIDI pitch of the rolls."""
    metre: str = "4/4"
    """Metre of the bars."""
    regrid: bool = False
    """Cut music in other metres anew into bars of `metre`, instead of leaving it out."""
    bars: int = 2
    """Bars of a training phrase."""
    first_only: bool = False
    """Learn from the first phrase of every piece only, as the book does."""
    noise: int = 32
    """Width of each of the four noises."""
    hidden: int = 384
    """Width of the layers (onehot, lines)."""
    width: float = 1.0
    """Width of the layers, as a share of the original's (book, paper, binary)."""
    given: str = ""
    """The track that is given, for accompaniment; "" writes all of them."""
    plain: bool = False
    """Layers as plain convolutions instead of the equal matrix products: the slow twin."""
    neurons: Literal["deterministic", "stochastic"] = "deterministic"
    """How design binary rounds to notes."""
    refiner: Literal["none", "joint", "two-stage"] = "two-stage"
    """How design binary trains its refiner: not at all, with the generator, or after it."""
    divisi: int = 4
    """Lines that each track with chords is divided into: the notes that it can play at once (lines)."""
    latent: float = 0.35
    """Weight of the nats of the codes (lines): smaller lets codes say more."""
    adversary: Literal["wgan-gp", "r1", "hinge"] = "r1"
    """wgan-gp: Wasserstein with gradient penalty; r1: non-saturating with R1; hinge: hinge with R1."""
    penalty: float = 10.0
    """Weight of the gradient penalty."""
    critic_steps: int = 1
    """Updates of the critic for every update of the generator."""
    train: Settings = Settings()
    """How to train."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(kind) is Literal:
                one_of(value, get_args(kind), name)
            if name not in RANGES:
                continue
            low, high = RANGES[name]
            if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
                raise ValueError(f"{name} must be {'a whole' if kind is int else 'a'} number, got {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low:g} … {high:g}, got {value:g}")

    def check_effect(self, asked: Collection[str]) -> None:
        """Raise ValueError for one of the options asked for that was changed and that the design does not read.

        What a preset brings along and another design leaves unread is no mistake of the person who asks.
        """
        if "divisi" in asked and self.lines and self.design == "lines" and self.divisi != type(self).divisi:
            raise ValueError(
                "divisi has no effect on tracks that are lines already; it divides chords (lines=False)"
            )
        for field in fields(self):
            readers = READ_BY.get(field.name, (self.design,))
            if (
                field.name in asked
                and self.design not in readers
                and getattr(self, field.name) != field.default
            ):
                raise ValueError(
                    f"{field.name} has no effect on design {self.design}; it is read by {', '.join(readers)}"
                )


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn: four noises, each between that of `seed` and that of a seed of its own."""

    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "only_tracks": ("melody", "groove"),
        "only_bars": ("chords", "melody"),
    }
    """Controls that say where knobs are turned, and those knobs."""
    bars: int | None = control(1, 512)
    """Bars to write."""
    chords_seed: int | None = control(0)
    """Another seed for what the bars have in common across tracks: harmony, bar by bar."""
    chords_mix: float | None = control(0, 1, scope="bar")
    """How far to go to the chords of chords_seed: 0 stays, 1 arrives."""
    style_seed: int | None = control(0)
    """Another seed for what all bars and tracks have in common."""
    style_mix: float | None = control(0, 1)
    """How far to go to the style of style_seed."""
    melody_seed: int | None = control(0)
    """Another seed for what each track does in each bar."""
    melody_mix: float | None = control(0, 1, scope="bar")
    """How far to go to the melodies of melody_seed."""
    groove_seed: int | None = control(0)
    """Another seed for what each track keeps up through all bars."""
    groove_mix: float | None = control(0, 1, scope="track")
    """How far to go to the grooves of groove_seed."""
    only_tracks: str | None = control(scope="track")
    """Tracks whose melody and groove are turned, such as "soprano,bass"; all when unset."""
    only_bars: str | None = control(scope="bar")
    """Bars in which chords and melody are turned, such as "3-4" or "1,5"; all when unset."""
    medley_seed: int | None = control(0)
    """Travel bar by bar from the noises of `seed` to those of this seed: a medley of two pieces."""
    truncation: float | None = control(0.1, 10)
    """Keep every number of the noises within so many standard deviations: smaller is less varied."""
    temperature: float | None = control(0, 5)
    """Of the drawn notes, for designs that draw: 0 takes the likeliest."""
    independence: float | None = control(0, 1)
    """How often each track leaves what all tracks agreed on and follows its own noises, melody and groove, for designs
    that draw: at 0 never, and these two have no effect; at 1 it writes every note anew."""
    tempo: float | None = control(20, 300)
    """Quarter notes per minute of the result."""


ONE_HOT = Config(
    penalty=1.0,
    train=Settings(
        steps=20_000,
        batch=32,
        lr=5e-4,
        optimiser="adam",
        betas=(0.0, 0.99),
        schedule="cosine",
        warmup=0,
        clip=0.0,
        ema=0.999,
        eval_every=500,
        save_every=1000,
    ),
)
LINES = Config(
    design="lines",
    hidden=160,
    bars=4,
    train=Settings(
        steps=12_500,
        batch=24,
        lr=2e-3,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        warmup=100,
        clip=5.0,
        ema=0.998,
        eval_every=500,
        save_every=1000,
    ),
)
BOOK = Config(
    design="book",
    first_only=True,
    low=0,
    high=83,
    adversary="wgan-gp",
    critic_steps=5,
    train=Settings(
        steps=30_000,  # critic updates; the generator acts at every fifth, as in the book's 6,000
        batch=64,
        lr=1e-3,
        optimiser="adam",
        betas=(0.5, 0.9),
        schedule="constant",
        warmup=0,
        clip=0.0,
        transpose=False,
        eval_every=500,
        save_every=1000,
    ),
)
PAPER = replace(
    BOOK,
    design="paper",
    first_only=False,
    tracks=BAND,
    lines=False,
    steps_per_bar=96,
    low=24,
    high=107,
    bars=4,
    train=replace(BOOK.train, lr=2e-4),
)
BINARY = replace(PAPER, design="binary", train=replace(BOOK.train, lr=2e-3, batch=32))
BAND_RECIPE = replace(
    LINES,
    tracks=BAND,
    lines=False,
    low=24,
    high=107,
    regrid=True,
    train=replace(LINES.train, steps=5_000, batch=12),
)
QUICK = Settings(
    steps=50, batch=8, lr=1e-3, optimiser="adam", betas=(0.5, 0.9), warmup=0, clip=0.0, eval_every=25
)
PRESETS = {
    "tiny": replace(ONE_HOT, noise=8, hidden=48, train=QUICK),
    "small": ONE_HOT,
    "lines": LINES,
    "lines_tiny": replace(LINES, noise=8, hidden=32, train=QUICK),
    "book": BOOK,
    "band": BAND_RECIPE,
    "hybrid": PAPER,
    "composer": replace(PAPER, players="composer"),
    "jamming": replace(PAPER, players="jamming"),
    "bmusegan": BINARY,
}
