"""Every family, and every design of a family, as the contract tests want them: tiny, with fitting pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from helpers import chorale, hum, pieces, sounds, track_alone, tune
from otonoha.models.registry import EXAMPLES, FAMILIES, family
from otonoha.sample.tasks import Answer

QUICK = {
    "batch": 4,
    "length": 64,
    "lr": 1e-2,
    "warmup": 5,
    "eval_every": 1000,
    "save_every": 1000,
    "patience": 0,
}


@dataclass(frozen=True)
class Fresh:
    """A model that has learnt nothing, as a part of another one."""

    family: str

    @property
    def model(self):
        made = family(self.family)("tiny")
        _ = made.networks
        return made


@dataclass(frozen=True)
class Case:
    """A model to test: its family, options of its constructor, what it learns from, what it needs to sample."""

    family: str
    preset: str = "tiny"
    options: dict[str, Any] = field(default_factory=dict)
    make: Callable = tune
    asked: dict[str, Any] = field(default_factory=lambda: {"bars": 3})
    overfit: dict[str, Any] = field(default_factory=dict)
    """Options for seeing a loss fall: of two adversaries one has to stand still."""
    lr: float = 1e-2
    knob: tuple[str, float] = ("temperature", 0.0)
    """A control, and a value for it, that every such model has."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of a quick training that differ from QUICK."""
    recorded: bool = False
    """Whether it learns from recordings instead of scores."""
    settle: bool = False
    """Whether batch normalisation has to see some batches before what is written depends on the noise."""

    def model(self, **options):
        own = {k: v.model if isinstance(v, Fresh) else v for k, v in self.options.items()}
        return family(self.family)(self.preset, **{**own, **options})

    @property
    def quick(self):
        return {**QUICK, **self.settings}

    def pieces(self, n=4, **options):
        return (sounds if self.recorded else pieces)(n, make=self.make, **options)

    def fitted(self, **settings):
        model = self.model()
        model.fit(self.pieces(), quiet=True, **{**self.quick, "steps": 4, "lr": self.lr, **settings})
        if self.settle:
            settle(model, self.pieces())
        return model

    def sample(self, model, **options):
        return model.sample(**{**self.asked, **options})


@torch.no_grad()
def settle(model, pieces, passes=40):
    """Let the generator write to noise, in training mode."""
    batch, random = (
        model.batches(model.prepare(pieces), model.config.train)(0),
        torch.Generator().manual_seed(0),
    )
    model.networks.train()
    for _ in range(passes):
        model.design.fake(model.design.noise(len(batch), random), model.design.given_of(batch.rolls))
    model.networks.eval()


CRITIC_ALONE = {"critic_steps": 10_000, "adversary": "r1"}

CONVOLUTIONS = {"width": 0.15, "noise": 4, "steps_per_bar": 8, "low": 36, "high": 83}
"""The networks of book and paper, narrow."""


def voices(preset: str = "tiny", given: str = "", **options: Any) -> Case:
    """A MuseGAN of four voices; `given` is the one it accompanies."""
    asked = {"prompt": track_alone(chorale(70), given)} if given else {}
    return Case(
        "musegan",
        preset,
        {"bars": 2, "given": given, **options},
        chorale,
        {"bars": 3, **asked},
        {} if preset == "lines_tiny" else CRITIC_ALONE,
        knob=("truncation", 0.5),
        **({"lr": 1e-5, "settle": True} if "design" in options else {}),
    )


CASES = {f"{name}/tiny": Case(name) for name in [*FAMILIES, *EXAMPLES]}
CASES |= {
    "musegan/tiny": voices(),
    "musegan/lines": voices("lines_tiny"),
    "musegan/given": voices(given="soprano"),
    "musegan/lines_given": voices("lines_tiny", given="bass"),
    "musegan/book": voices(design="book", adversary="wgan-gp", **CONVOLUTIONS),
    "musegan/paper": voices(design="paper", lines=False, critic_steps=2, **CONVOLUTIONS),
    "musegan/jamming": voices(given="tenor", design="paper", players="jamming", **CONVOLUTIONS),
    "musegan/binary": voices(design="binary", adversary="hinge", lines=False, **CONVOLUTIONS),
}
CASES |= {
    "lstm_attention/no_attention": Case("lstm_attention", options={"heads": 0}),
    "lstm_attention/mixture": Case(
        "lstm_attention", options={"duration_head": "mixture", "duration_input": "numeric"}
    ),
    "lstm_attention/encoder_decoder": Case(
        "lstm_attention",
        "encoder_decoder_tiny",
        asked={"task": Answer, "prompt": tune(70, bars=2), "bars": 2},
    ),
    "lstm_attention/book": Case(
        "lstm_attention", "book", {"width": 24, "embedding": 12}, asked={"notes": 12, "temperature": 1.0}
    ),
    "lstm_attention/grid": Case(
        "lstm_attention", options={"codec": "grid", "hints": ("beat", "quarter", "key")}, make=chorale
    ),
}
CASES["jukebox/tiny"] = Case("jukebox", options={"codec": Fresh("vqvae")}, make=hum, recorded=True)
CASES["vqvae/tiny"] = Case("vqvae", make=hum, recorded=True, settings={"length": 2048})
CASES["vqvae/modern_tiny"] = Case("vqvae", "modern_tiny", make=hum, recorded=True, settings={"length": 2048})
CASES["music_transformer/tiny"] = Case(
    "music_transformer", overfit={"infill": 0.0, "masked": 0.0, "control_dropout": 0.0}
)
CASES["music_transformer/chorale"] = Case("music_transformer", "chorale_tiny", make=chorale)


FITTED: dict[str, Any] = {}


def fitted(name: str) -> Any:
    """A model that has seen a few batches; shared by all tests, so leave it as it is."""
    if name not in FITTED:
        FITTED[name] = CASES[name].fitted()
    return FITTED[name]
