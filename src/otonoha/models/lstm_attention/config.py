"""Config, Controls and presets of the LSTM with attention. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from otonoha.sample.controls import control
from otonoha.train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Config:
    """The network and its training."""

    design: Literal["melody", "book", "encoder_decoder"] = "melody"
    """melody: the better network; book: the first edition's, exactly; encoder_decoder: phrase in, answer out."""
    codec: str = "notes"
    """The codec whose streams are written: notes, grid, or book."""
    width: int = 192
    """Units of each LSTM layer."""
    embedding: int = 96
    """Width of the input embeddings."""
    layers: int = 2
    """LSTM layers."""
    heads: int = 4
    """Attention heads over the past; 0 leaves attention out."""
    dropout: float = 0.3
    """Share of units silenced while training."""
    relative: bool = True
    """Also score a pitch by its interval to what sounded before and by its degree in the key."""
    duration_input: Literal["categorical", "numeric"] = "categorical"
    """numeric adds log2 of the duration and its place against the beat to its embedding."""
    duration_head: Literal["categorical", "mixture"] = "categorical"
    """mixture scores durations by a mixture of logistics over log2 of their length."""
    styles: tuple[str, ...] = ()
    """Values of the label `style` that the model tells apart; taken from the data when empty."""
    max_silence: int = 1
    """Silent bars in a row that a melody keeps while training; longer waits are cut."""
    openings: tuple[tuple[str, str, float, bool, int], ...] = ()
    """Usual beginnings (style, metre, pick-up, minor, count); taken from the data when empty."""
    hints: tuple[str, ...] = ("key", "metre", "beat", "quarter", "bar", "left")
    """Context streams of the codec that the network sees."""
    hint_dropout: float = 0.5
    """How often the hints `left` and `style` are hidden while training, so that they stay optional."""
    train: Settings = Settings()
    """How to train."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn."""

    bars: int | None = control(1, 512)
    """Bars to write (after the prompt, if there is one); the piece ends in the last of them."""
    on_the_line: bool | None = control()
    """End exactly on the last bar line, as a loop does; otherwise a last bar may close early, as a song's does."""
    notes: int | None = control(1, 5000)
    """Notes to write at most (design book, which knows no bars)."""
    key: str | None = control()
    """Key, such as "D minor" or "Bb"."""
    metre: str | None = control()
    """Metre, such as 4/4, 3/4 or 6/8."""
    pickup: float | None = control(0, 8)
    """Quarter notes before the first bar line."""
    style: str | None = control()
    """One of the styles the model was trained on."""
    tempo: float | None = control(20, 300)
    """Quarter notes per minute of the result."""
    program: int | None = control(0, 127)
    """General MIDI program that plays it: 0 piano, 40 violin, 73 flute …"""
    scale_only: bool | None = control()
    """Allow only pitches of the key."""
    max_rest: float | None = control(0, 64)
    """Longest rest in quarter notes; 0: none."""
    low: int | None = control(0, 127)
    """Lowest MIDI pitch."""
    high: int | None = control(0, 127)
    """Highest MIDI pitch."""
    temperature: float | None = control(0, 5)
    """Of pitches: below 1 plainer, above 1 more adventurous."""
    rhythm_temperature: float | None = control(0, 5)
    """Of durations; the same as `temperature` when unset."""
    top_k: int | None = control(0, 1000)
    """Choose among the k likeliest symbols only; 0 allows all."""
    top_p: float | None = control(0.01, 1)
    """Choose among the likeliest symbols that together have this probability."""
    min_p: float | None = control(0, 1)
    """Choose among symbols at least this share as likely as the likeliest."""
    repetition: float | None = control(-5, 5)
    """Nats taken from a pitch for each time it occurs among the last eight events."""


SMALL = Config(
    train=Settings(
        steps=3000,
        batch=32,
        length=256,
        lr=3e-3,
        warmup=100,
        ema=0.99,
        eval_every=100,
        patience=8,
        save_every=500,
    )
)
BOOK = Config(
    design="book",
    codec="book",
    width=256,
    embedding=100,
    dropout=0.0,
    heads=1,
    relative=False,
    train=Settings(
        steps=2_000_000,
        batch=32,
        length=32,
        lr=1e-3,
        schedule="constant",
        warmup=0,
        optimiser="rmsprop",
        clip=0.0,
        transpose=False,
        eval_every=700,  # a pass over the book's 22,376 windows, which is what its patience counts
        patience=10,
        monitor="train",
    ),
)
PRESETS = {
    "tiny": replace(
        SMALL,
        width=32,
        embedding=16,
        layers=1,
        heads=2,
        dropout=0.0,
        train=Settings(steps=50, batch=8, lr=1e-2),
    ),
    "small": SMALL,
    "base": replace(SMALL, width=512, embedding=256, layers=3, heads=8),
    "book": BOOK,
    "book_no_attention": replace(BOOK, heads=0),
    "encoder_decoder": replace(SMALL, design="encoder_decoder", hints=("key", "metre", "beat", "quarter")),
    "encoder_decoder_tiny": replace(
        SMALL,
        design="encoder_decoder",
        hints=("key", "metre", "beat", "quarter"),
        width=32,
        embedding=16,
        layers=1,
        dropout=0.0,
        train=Settings(steps=50, batch=8, lr=1e-2),
    ),
    "chorale": replace(SMALL, codec="grid", hints=("beat", "quarter", "key")),
}
