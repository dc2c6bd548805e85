"""A tiny system: a codec of two levels, a prior with names, times and words above an upsampler with names."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from priors import ENCODER, LAYERS

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.config import Conditioner, Config, Labels, Lyrics
from otonoha.models.jukebox.labels import Names, Table
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.tokens.lyrics import Lyrics as Text

RATE, HOPS = 8000, (4, 8)
SHAPE = {**LAYERS, "rate": RATE, "hops": HOPS, "codes": 20, "context": 48, "blocks": 6}
RISE = Conditioner(width=8, depth=2, dilation_cycle=2)
SAID = {"seconds": 0.05, "hop": "0.5"}


def names(*artists: str) -> Names:
    """Tables with these artists and two genres."""
    return Names(
        Table("artist", {"": 0} | {name: i for i, name in enumerate(artists, 1)}, 7),
        Table("genre", {"": 0, "folk": 1, "rock": 2}, 6),
        "own",
        2,
    )


def prior(level: int, **options) -> Jukebox:
    """A prior whose weights are some random numbers; who plays is heard."""
    model = Jukebox(Config(**{**SHAPE, "level": level, **options}))
    random = torch.Generator().manual_seed(level)
    with torch.no_grad():
        for p in model.networks.parameters():
            p.copy_(p + 0.1 * torch.randn(p.shape, generator=random))
        if model.config.labels is not None:
            model.network.y_emb.artist_emb.emb.weight.mul_(30)
            model.network.y_emb.bow_genre_emb.emb.weight.mul_(30)
    return model


@cache
def codec() -> VQVAE:
    """Weights and codebooks as they begin."""
    model = VQVAE("tiny")
    _ = model.networks
    return model


def lessons() -> dict[int, Lessons]:
    """Bo is known to the top only."""
    return {1: Lessons(names("ana", "bo"), Text()), 0: Lessons(names("ana"))}


def built(*, times: bool = False) -> JukeboxSystem:
    """A fresh system."""
    c = codec().config
    shape = {"rate": c.rate, "hops": tuple(c.hops), "codes": c.codes}
    bins = {"time_bins": 5, "shortest": 0.1, "longest": 2.0} if times else {}
    top = {
        "pattern": 6,
        "labels": Labels(genres=6, artists=7, most_genres=2, **bins),
        "lyrics": Lyrics(characters=6, vocabulary=Text().vocab.symbols[0].size, encoder=ENCODER),
    }
    lower = {"labels": Labels(genres=6, artists=7, most_genres=2), "conditioner": RISE}
    parts = [prior(1, **shape, **top), prior(0, **shape, **lower)]
    return JukeboxSystem(parts, codec=codec(), lessons=lessons())


@cache
def system() -> JukeboxSystem:
    """One shared by all tests: leave it as it is."""
    return built()


def sound(seconds: float = 0.06, rate: int = RATE, seed: int = 0) -> Audio:
    """Some noise with a tone."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    return Audio((0.3 * np.sin(2 * np.pi * 440 * t) + 0.1 * rng.standard_normal(len(t)))[None], rate)


def same(a, b) -> bool:
    """Equal tokens and equal sound."""
    return a.tokens == b.tokens and np.array_equal(a.music.samples, b.music.samples)
