"""Config, Controls and presets of the Music Transformer. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.sample.controls import control
from otonoha.train.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Config:
    """The network and its training."""

    design: Literal["events", "chorale"] = "events"
    """events: any tracks, written symbol by symbol; chorale: four voices frame by frame, with a motif memory."""
    codec: str = "events"
    """The codec whose streams are written: events, or grid (chorale)."""
    size: Literal["tiny", "small", "base", "large", "relative"] = "small"
    """About 0.02, 6, 15 or 85 million parameters; relative: Music Transformer's attention, 7 million (events)."""
    dropout: float = 0.1
    """Share of units silenced while training (events)."""
    hints: bool = False
    """Also tell the network the place in the bar, the bars that remain and the track (events). Without them the
    weights are those of a plain Llama, which can be exported."""
    standing: bool = False
    """Tell the network style, density, register and polyphony at every symbol, not only before the music (events).
    Without it, networks of these sizes hardly obey them; with it, an exported Llama has one choice of them."""
    home: bool = False
    """Let the network see every piece as if it stood in C major or A minor, whatever key it is in (events): it then
    learns from much less music. Without it, pieces are learnt in twelve keys."""
    styles: tuple[str, ...] = ()
    """Values of the label `style` that can be asked for; taken from the data when empty (events)."""
    infill: float = 0.4
    """Share of the training excerpts with cells cut out that are written at the end (events)."""
    masked: float = 0.1
    """Share of the training batches in which notes are masked and guessed from both sides (events)."""
    control_dropout: float = 0.3
    """How often each control before the music is hidden while training, so that it stays optional (events)."""
    chorale: ChoraleConfig = field(default_factory=ChoraleConfig)
    """Of design chorale."""
    train: Settings = Settings()
    """How to train."""

    def __post_init__(self) -> None:
        for name in ("dropout", "infill", "masked", "control_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be within 0 … 1 (below 1), got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn."""

    bars: int | None = control(1, 512)
    """Bars to write (after the prompt, if there is one); the piece ends in the last of them."""
    instruments: str | None = control()
    """The tracks, such as "violin,viola,cello" or "piano,drums": each of them plays, and no other. With a given track,
    those that accompany it."""
    key: str | None = control()
    """Key, such as "D minor" or "Bb"."""
    metre: str | None = control()
    """Metre, such as 4/4, 3/4 or 6/8."""
    pickup: float | None = control(0, 8)
    """Quarter notes before the first bar line."""
    tempo: float | None = control(10, 1000)
    """Quarter notes per minute."""
    style: str | None = control()
    """One of the styles the model was trained on."""
    density: int | None = control(0, 7)
    """How many notes: 0 sparse … 7 dense. Kept by feedback in what is composed or continued, as register and polyphony
    are; how well is measured (docs/music_transformer.md)."""
    register: int | None = control(0, 7)
    """How high: 0 low … 7 high."""
    polyphony: int | None = control(0, 5)
    """How many notes together: 0 one … 5 many."""
    guidance: float | None = control(0, 10)
    """How strictly style, density, register, polyphony and the other controls before the music are obeyed: 1 as
    learnt, more obeys more (classifier-free guidance)."""
    form: str | None = control()
    """Sections of equal length, such as AABA; A' is a varied A. Bars are divided among them."""
    scale_only: bool | None = control()
    """Allow only pitches of the key."""
    only_bars: str | None = control(scope="bar", tasks=("infill", "vary"))
    """Bars to write anew, such as "5-8" or "3,7" (infill, vary); all when unset."""
    only_tracks: str | None = control(scope="track", tasks=("infill", "vary"))
    """Tracks to write anew, by name or number, such as "alto,tenor" (infill, vary); all when unset."""
    strength: float | None = control(0, 1, tasks=("vary",))
    """How much to change: the share of notes that are written anew (vary)."""
    temperature: float | None = control(0, 5)
    """Below 1 plainer, above 1 more adventurous; 0 takes the likeliest."""
    top_k: int | None = control(0, 1000)
    """Choose among the k likeliest symbols only; 0 allows all."""
    top_p: float | None = control(0.01, 1)
    """Choose among the likeliest symbols that together have this probability."""
    min_p: float | None = control(0, 1)
    """Choose among symbols at least this share as likely as the likeliest."""


SMALL = Config(
    standing=True,
    home=True,
    train=Settings(
        steps=20_000,
        batch=16,
        length=1024,
        lr=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        warmup=500,
        ema=0.999,
        eval_every=500,
        save_every=500,
    ),
)
CHORALE = Config(
    design="chorale",
    codec="grid",
    train=Settings(
        steps=600,
        batch=8,
        length=192,
        lr=2e-3,
        betas=(0.9, 0.98),
        weight_decay=0.3,
        warmup=100,
        schedule="constant",
        precision="bf16",
        ema=0.999,
        eval_every=30,
        save_every=120,
    ),
)
PRESETS = {
    "tiny": replace(
        SMALL,
        size="tiny",
        dropout=0.0,
        train=Settings(steps=50, batch=4, length=128, lr=1e-2, warmup=5),
    ),
    "small": SMALL,
    "base": replace(SMALL, size="base", train=replace(SMALL.train, length=2048, lr=6e-4)),
    "large": replace(SMALL, size="large", train=replace(SMALL.train, length=4096, lr=3e-4)),
    "relative": replace(SMALL, size="relative", masked=0.0),
    "chorale": CHORALE,
    "chorale_tiny": replace(
        CHORALE,
        chorale=ChoraleConfig(
            width=32,
            layers=1,
            heads=2,
            hidden=64,
            window=8,
            voice_layers=1,
            voice_hidden=32,
            channels=(0, 1, 5),
        ),
        train=Settings(steps=40, batch=4, length=32, lr=1e-2, warmup=5),
    ),
}
