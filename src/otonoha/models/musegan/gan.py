"""The designs that learn by a game against a critic: book, paper, binary, onehot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from otonoha.models.musegan import adversary
from otonoha.models.musegan.design import Design
from otonoha.models.musegan.onehot import Critic, Generator, classes_of, one_hot
from otonoha.models.musegan.shape import Noise, Widths
from otonoha.models.musegan.windows import Phrases
from otonoha.music.suggest import one_of
from otonoha.train.objective import Context, Objective

if TYPE_CHECKING:
    from otonoha.models.musegan.model import MuseGAN


class Adversarial(Design):
    """Two networks, generator and critic, with an objective each."""

    def __init__(self, model: MuseGAN) -> None:
        super().__init__(model)
        one_of(self.config.adversary, get_args(adversary.Game), "adversary")

    def view(self, rolls: Tensor) -> Tensor:
        """State rolls as the critic sees them."""
        raise NotImplementedError

    def fake(self, noise: Noise, given: Tensor | None) -> Tensor:
        """Noise -> phrases as the critic sees them; `given` (B, N, S, P) states."""
        return self.networks["generator"](noise, None if given is None else self.view(given))

    def objectives(self) -> list[Objective]:
        """The critic acts at every step, the generator at every `critic_steps`-th."""
        networks = self.networks
        return [
            Objective("critic", networks["critic"].parameters(), self.critic_loss),
            Objective(
                "generator",
                networks["generator"].parameters(),
                self.generator_loss,
                every=self.config.critic_steps,
            ),
        ]

    def critic_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Tell real from generated phrases."""
        with torch.no_grad():
            fake = self.fake(self.noise(len(batch), context.generator), self.given_of(batch.rolls))
        return adversary.critic_loss(
            self.config.adversary,
            self.networks["critic"],
            self.view(batch.rolls),
            fake,
            penalty=self.config.penalty,
            step=context.step,
        )

    def generator_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Pass for real."""
        fake = self.fake(self.noise(len(batch), context.generator), self.given_of(batch.rolls))
        return adversary.generator_loss(self.config.adversary, self.networks["critic"], fake), {}

    def opinion(self, rolls: Tensor) -> np.ndarray:
        """The critic's score of the phrase, for each of its bars."""
        score = self.networks["critic"](self.view(rolls)).cpu().numpy()
        return np.repeat(score[:, None], self.shape.bars, axis=1)


class OneHot(Adversarial):
    """The better GAN for lines (onehot.py)."""

    needs_lines = True

    def __init__(self, model: MuseGAN) -> None:
        super().__init__(model)
        Z = self.config.noise
        self.widths = Widths(Z, Z, Z, Z)

    def build(self) -> dict[str, nn.Module]:
        """Generator and critic."""
        hidden, low = self.config.hidden, self.codec.low
        return {
            "generator": Generator(self.shape, self.widths, low=low, hidden=hidden, given=self.given),
            "critic": Critic(self.shape, low=low, hidden=2 * hidden // 3),
        }

    def view(self, rolls: Tensor) -> Tensor:
        """Classes, one-hot (B, M, T, C); those of the given track alone are numbers (B, T)."""
        if rolls.ndim == 4:
            return classes_of(rolls[:, None])[:, 0]
        return one_hot(classes_of(rolls), self.shape.pitches)

    def write(
        self, codes: Noise, given: Tensor | None, temperature: float, independence: float | None = None
    ) -> np.ndarray:
        """The chosen classes: all chance is in the noises."""
        heard = None if given is None else self.view(given)
        chosen = self.networks["generator"].bars(codes, heard).argmax(-1)  # type: ignore[operator]
        return self.codec.rolls_of(chosen.cpu().numpy())
