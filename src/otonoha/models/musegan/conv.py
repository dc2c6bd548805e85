"""The designs of the book and the papers: convolutional generators and critics on rolls in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan import binary, paper
from otonoha.models.musegan.book import BookCritic, BookGenerator
from otonoha.models.musegan.gan import Adversarial
from otonoha.models.musegan.shape import Noise
from otonoha.models.musegan.windows import Phrases
from otonoha.tokens.base import Tokens
from otonoha.tokens.roll import DRUMS
from otonoha.train.objective import Context, Objective

GAP = 48
"""From so many steps of a bar on, a note that is struck again is silent for the step before, as in the papers."""


class Convolutional(Adversarial):
    """What the three have in common: rolls in [-1, 1], phrases of fixed length (K = 1)."""

    listens: ClassVar[bool] = False
    """Does it hear a given track?"""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if self.given is not None and not self.listens:
            raise ValueError(
                f"design {self.config.design} writes all tracks; "
                "accompaniment needs design paper, onehot or lines"
            )

    def view(self, rolls: Tensor) -> Tensor:
        """State rolls -> 1 where a note sounds, else -1."""
        flat = rolls.flatten(-3, -2)
        sounds = flat > 0
        if self.shape.steps >= GAP:
            again = (flat[..., :-1, :] == 2) & (flat[..., 1:, :] == 1)
            sounds[..., :-1, :] &= ~again
        return sounds.reshape(rolls.shape).float() * 2 - 1

    def write(
        self, codes: Noise, given: Tensor | None, temperature: float, independence: float | None = None
    ) -> np.ndarray:
        """What is above 0 sounds, and begins where it did not sound before."""
        heard = None if given is None else self.view(given)
        states = self.states(self.networks["generator"].bars(codes, heard))  # type: ignore[operator]
        if given is not None:
            states[:, self.given] = given.cpu().numpy()
        return states

    def states(self, rolls: Tensor) -> np.ndarray:
        """Rolls (B, M, N, S, P) in [-1, 1] -> states; of a line, the loudest pitch alone."""
        above = rolls > 0
        if self.codec.lines:
            above &= F.one_hot(rolls.argmax(-1), self.shape.pitches).bool()
        sounds = above.cpu().numpy()
        flat = sounds.reshape(*sounds.shape[:2], -1, sounds.shape[-1])
        before = np.zeros_like(flat)
        before[:, :, 1:] = flat[:, :, :-1]
        for track, name in enumerate(self.codec.tracks):
            if name == DRUMS:
                before[:, track] = False
        return (flat * (1 + before)).astype(np.uint8).reshape(sounds.shape)


class Book(Convolutional):
    """The book's network: the loudest pitch of every step sounds, and is struck again on every beat."""

    needs_lines = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.widths = paper.widths_of("hybrid", self.config.noise)

    def build(self) -> dict[str, nn.Module]:
        """Generator and critic."""
        how: dict[str, Any] = {"width": self.config.width, "plain": self.config.plain}
        return {
            "generator": BookGenerator(self.shape, self.widths, **how),
            "critic": BookCritic(self.shape, **how),
        }

    def states(self, rolls: Tensor) -> np.ndarray:
        """The loudest pitch; runs are one note within a beat. There is no rest."""
        chosen = rolls.argmax(-1).flatten(2).cpu().numpy()
        struck = np.ones(chosen.shape, bool)
        struck[..., 1:] = chosen[..., 1:] != chosen[..., :-1]
        struck[..., :: max(1, self.shape.steps // 4)] = True
        states = np.zeros((*chosen.shape, self.shape.pitches), np.uint8)
        np.put_along_axis(states, chosen[..., None], np.where(struck, 1, 2)[..., None].astype(np.uint8), -1)
        return states.reshape(rolls.shape)


class Paper(Convolutional):
    """MuseGAN of the paper: hybrid, composer or jamming; from scratch or to a given track."""

    listens = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.widths = paper.widths_of(self.config.players, self.config.noise)

    def build(self) -> dict[str, nn.Module]:
        """Generator and critic."""
        c = self.config
        how: dict[str, Any] = {"given": self.given, "width": c.width, "plain": c.plain}
        return {
            "generator": paper.PaperGenerator(self.shape, self.widths, c.players, order=c.order, **how),
            "critic": paper.PaperCritic(self.shape, c.players, **how),
        }


class Binary(Convolutional):
    """BinaryMuseGAN: common noise alone (chords of a phrase, style), neurons that are on or off, a refiner."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.widths = paper.widths_of("composer", self.config.noise)
        self.per_pass = 0

    def build(self) -> dict[str, nn.Module]:
        """Generator with its refiners, and critic."""
        c = self.config
        how: dict[str, Any] = {"width": c.width, "plain": c.plain}
        refiner, stochastic = c.refiner != "none", c.neurons == "stochastic"
        own = {"refiner": refiner, "stochastic": stochastic, **how}
        return {
            "generator": binary.BinaryGenerator(self.shape, self.widths, **own),
            "critic": binary.BinaryCritic(self.shape, self.codec.low, **how),
        }

    @property
    def generator(self) -> binary.BinaryGenerator:
        """The generator with its state."""
        return cast(binary.BinaryGenerator, self.networks["generator"])

    def objectives(self) -> list[Objective]:
        """In two stages, the generator learns in the first half and its refiners in the second."""
        critic, generator = super().objectives()
        if self.config.refiner != "two-stage":
            return [critic, generator]
        half = self.config.train.steps // 2
        writer = replace(
            generator, parameters=self.generator.writer.parameters(), active=lambda step: step < half
        )
        refiner = replace(
            generator,
            name="refiner",
            parameters=self.generator.refiners.parameters(),
            active=lambda step: step >= half,
        )
        return [critic, writer, refiner]

    def critic_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Tell real from generated phrases."""
        self._enter(context)
        return super().critic_loss(batch, context)

    def generator_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Pass for real."""
        self._enter(context)
        return super().generator_loss(batch, context)

    def _enter(self, context: Context) -> None:
        """The stage of this update: the first does not round."""
        self.generator.rounds = (
            self.config.refiner != "two-stage" or context.step >= self.config.train.steps // 2
        )

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """How many updates make a pass, after which the slope grows."""
        seen = self.windows(sequences, first_only=self.config.first_only)
        self.per_pass = max(1, len(seen) // self.config.train.batch)

    def after_step(self, context: Context) -> None:
        """Slope annealing."""
        self.generator.slope.fill_(binary.slope_at(context.step, self.per_pass))
