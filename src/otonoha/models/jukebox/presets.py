"""Presets: the originals with their exact sizes, and small ones of ours. Torch-free, nothing is built.

Sizes: ../shared/reference/jukebox.md 2.6, from openai/jukebox. The original's small priors are trained on one's own
music; their tables of labels are as large as that music needs.
"""

from __future__ import annotations

from dataclasses import replace

from otonoha.models.jukebox import modern_config
from otonoha.models.jukebox.config import Conditioner, Config, Labels, Layers, Lyrics
from otonoha.train.settings import Settings

ORIGINAL = Settings(
    steps=300_000,
    batch=16,
    length=8192,
    lr=3e-4,
    schedule="constant",
    warmup=100,
    optimiser="jukebox",
    betas=(0.9, 0.999),
    weight_decay=0.01,
    clip=1.0,
    ema=0.99,
    transpose=False,
    eval_every=1000,
    save_every=1000,
)
TOP = replace(ORIGINAL, lr=1.5e-4, betas=(0.9, 0.925), weight_decay=0.002)
V2 = Labels(version="v2", genres=120, artists=4111, most_genres=5)
V3 = Labels(version="v3", genres=604, artists=7898, most_genres=1, time_bins=64, shortest=17.84)

UPSAMPLER = Config(
    level=0,
    width=1920,
    layers=72,
    blocks=128,
    init_scale=0.4,
    labels=V2,
    conditioner=Conditioner(),
    train=ORIGINAL,
)
JUKEBOX_5B = Config(
    width=4800,
    layers=72,
    heads=8,
    blocks=128,
    init_scale=0.1,
    merged_decoder=True,
    recompute=True,
    labels=replace(V2, time_bins=128),
    train=TOP,
)
JUKEBOX_5B_LYRICS = replace(
    JUKEBOX_5B,
    layers=79,
    pattern=10,
    labels=replace(V2, time_bins=128, shortest=23.8),
    lyrics=Lyrics(
        characters=512,
        vocabulary=80,
        encoder=Layers(width=1280, layers=18, heads=4, blocks=32, init_scale=0.7),
    ),
)
JUKEBOX_1B_LYRICS = Config(
    context=6144,
    width=2048,
    layers=72,
    heads=2,
    pattern=12,
    blocks=64,
    init_scale=0.2,
    recompute=True,
    labels=V3,
    lyrics=Lyrics(design="single", characters=384, vocabulary=79),
    train=replace(ORIGINAL, length=6144),
)
SMALL_SOUND = {"rate": 22050, "hops": (32, 256), "codes": 1024}
SMALL_PRIOR = Config(**SMALL_SOUND, level=1, train=ORIGINAL)  # type: ignore[arg-type]
SMALL_SINGLE = replace(
    SMALL_PRIOR,
    context=6144,
    heads=2,
    pattern=12,
    labels=V3,
    lyrics=Lyrics(design="single", characters=384, vocabulary=79),
    train=replace(ORIGINAL, length=6144),
)
SMALL_SEPARATE = replace(
    SMALL_SINGLE,
    layers=50,
    pattern=8,
    lyrics=Lyrics(characters=384, vocabulary=79, encoder=Layers(width=256, layers=9, heads=2, blocks=32)),
)
SMALL_UPSAMPLER = replace(SMALL_PRIOR, level=0, conditioner=Conditioner(width=512))

QUICK = Settings(
    steps=8000,
    batch=8,
    length=1024,
    lr=1e-3,
    warmup=200,
    ema=0.999,
    transpose=False,
    eval_every=500,
    save_every=500,
)
SMALL = Config(
    rate=22050,
    codes=512,
    context=1024,
    width=256,
    layers=9,
    heads=4,
    blocks=32,
    attention_share=0.5,
    train=QUICK,
)
SMALL_UP = replace(SMALL, level=1, conditioner=Conditioner(width=128, depth=4, dilation_cycle=4))
TINY = Config(
    rate=8000,
    hops=(4, 8),
    level=1,
    codes=24,
    context=64,
    width=32,
    layers=3,
    heads=2,
    blocks=8,
    train=replace(QUICK, steps=50, batch=4, length=64, lr=1e-2, warmup=5, ema=0.0, eval_every=25),
)
TINY_UP = replace(TINY, level=0, conditioner=Conditioner(width=16, depth=2, dilation_cycle=2))

OWN = Labels(time_bins=32, shortest=0.0)
MODERN_TOP = Config(labels=replace(OWN, artists=256, genres=64), **modern_config.TOP)
MODERN_UP = Config(labels=replace(OWN, artists=256, genres=64), **modern_config.UP)
MODERN_DELAYED = replace(MODERN_TOP, modern=modern_config.DELAYED)
MODERN_LYRICS = Config(
    labels=replace(OWN, artists=256, genres=64),
    lyrics=Lyrics(design="single", characters=72, vocabulary=512, guide=4.0, astray=16),
    **modern_config.WORDS,
)
MODERN_TINY = Config(labels=replace(OWN, artists=4, genres=6, most_genres=2), **modern_config.TINY)

PRESETS = {
    "tiny": TINY,
    "tiny_upsampler": TINY_UP,
    "small": SMALL,
    "small_up": SMALL_UP,
    "jukebox_1b_lyrics": JUKEBOX_1B_LYRICS,
    "jukebox_5b": JUKEBOX_5B,
    "jukebox_5b_lyrics": JUKEBOX_5B_LYRICS,
    "upsampler_0": UPSAMPLER,
    "upsampler_1": replace(UPSAMPLER, level=1, conditioner=Conditioner(residual_scale=True)),
    "small_prior": SMALL_PRIOR,
    "small_single_enc_dec_prior": SMALL_SINGLE,
    "small_sep_enc_dec_prior": SMALL_SEPARATE,
    "small_upsampler": SMALL_UPSAMPLER,
    "modern_top": MODERN_TOP,
    "modern_up": MODERN_UP,
    "modern_delayed": MODERN_DELAYED,
    "modern_lyrics": MODERN_LYRICS,
    "modern_tiny": MODERN_TINY,
}
