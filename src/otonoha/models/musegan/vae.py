"""The design `lines`: the decoder and its posterior learn together, the flows follow them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.design import Design
from otonoha.models.musegan.lines import Decoder, Encoder, Flows, Posterior, noise_widths, sounding_of
from otonoha.models.musegan.onehot import classes_of
from otonoha.models.musegan.shape import Noise
from otonoha.models.musegan.windows import Phrases
from otonoha.train.objective import Context, Objective, lr_factor

HIDDEN_STEPS = 0.15
"""Share of the steps before that the decoder does not see while it learns, so that it listens to the plan."""
SETTLED = 5 / 9
"""Share of the training in which the codes are learnt; after it they stay, and the flows learn to draw them."""
DRAWS = 4
"""Codes that the flows see of each phrase of a batch."""
CHROMA = 0.2
"""Weight of the nats of which pitch classes sound at a step: what the harmony is to say."""


class Lines(Design):
    """Networks: encoder and decoder ("generator"), and the flows ("temporal")."""

    needs_lines = draws = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.widths = noise_widths(self.shape, self.config.noise)

    def build(self) -> dict[str, nn.Module]:
        """Encoder, decoder, flows."""
        c, H = self.config, self.config.hidden
        listens = self.given is not None
        return {
            "encoder": Encoder(self.shape, c.noise, 3 * H // 4),
            "generator": Decoder(self.shape, c.noise, low=self.codec.low, hidden=H, given=listens),
            "temporal": Flows(c.noise, 6 * H // 5, H // 2 if listens else 0),
        }

    @property
    def decoder(self) -> Decoder:
        """What writes the lines."""
        return cast(Decoder, self.networks["generator"])

    def objectives(self) -> list[Objective]:
        """The bound on the nats of the lines, then the flows on what the posterior draws."""
        nets, settings = self.networks, self.config.train
        both = [*nets["encoder"].parameters(), *nets["generator"].parameters()]
        settled = max(1, round(SETTLED * settings.steps))
        first, then = (replace(settings, steps=n) for n in (settled, max(1, settings.steps - settled)))
        return [
            Objective(
                "lines",
                both,
                self.lines_loss,
                active=lambda step: step < settled,
                schedule=lambda step: lr_factor(step, first),
            ),
            Objective(
                "temporal",
                nets["temporal"].parameters(),
                self.temporal_loss,
                active=lambda step: step >= settled,
                schedule=lambda step: lr_factor(step - settled, then),
            ),
        ]

    def lines_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Nats of a phrase: its lines, and `latent` times the nats of its codes."""
        told = self.nats(batch.rolls, drop=HIDDEN_STEPS)
        codes = (
            self.config.latent * min(1.0, 0.1 + 4 * context.step / (SETTLED * context.steps)) * told["codes"]
        )
        loss = told["lines"].sum(1) + codes + CHROMA * told["chroma"]
        return loss.mean() / self.shape.bars, {
            k: v.detach().flatten(1).sum(1).mean() if v.ndim > 1 else v.detach().mean()
            for k, v in told.items()
        }

    def nats(self, rolls: Tensor, drop: float = 0.0, *, means: bool = False) -> dict[str, Tensor]:
        """Of phrases: "lines" (B, N) of the written tracks by bar, "codes" (B,), "chroma" (B,).

        Given codes that are drawn from the posterior, or its means.
        """
        classes, sounds, posterior = self.read(rolls)
        chords, style = (posterior.chords[0], posterior.style[0]) if means else posterior.drawn()
        given = None if self.given is None else classes[:, self.given]
        plan, harmony = self.decoder.plan(chords, style, given)
        each = self.decoder.nats(plan, classes, sounds, drop)
        written = [m for m in range(self.shape.tracks) if m != self.given]
        bars = each[:, written].sum(1).unflatten(-1, (self.shape.bars, -1)).sum(-1)
        sounding = F.one_hot(sounds, 1 + self.shape.pitches)[..., 1:].float() @ self.decoder.fold.T
        chroma = F.binary_cross_entropy_with_logits(
            self.decoder.chroma(harmony), sounding.amax(1), reduction="none"
        )
        return {"lines": bars, "codes": sum(posterior.nats()), "chroma": chroma.flatten(1).sum(1)}

    def read(self, rolls: Tensor) -> tuple[Tensor, Tensor, Posterior]:
        """Rolls -> classes, what sounds, the posterior of the codes."""
        classes = classes_of(rolls)
        sounds = sounding_of(classes)
        return classes, sounds, self.networks["encoder"](classes, sounds)

    def temporal_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Of the flows."""
        with torch.no_grad():
            classes, _, posterior = self.read(batch.rolls)
            heard = self._heard(None if self.given is None else classes[:, self.given])
            chords, style = (torch.cat(each) for each in zip(*(posterior.drawn() for _ in range(DRAWS))))
        heard = None if heard is None else heard.repeat(DRAWS, 1, 1)
        return self.networks["temporal"].loss(chords, style, heard), {}  # type: ignore[operator]

    def _heard(self, given: Tensor | None) -> Tensor | None:
        """What the decoder's listener makes of the given classes (B, T), which the flows hear as well."""
        if given is None or self.decoder.listen is None:
            return None
        return self.decoder.listen(given)

    def vectors(self, bars: int) -> int:
        """One for each bar."""
        return bars

    def codes(self, noise: Noise) -> Noise:
        """Noise as it is: the flows need the given track, which `write` has."""
        return noise

    def write(
        self, codes: Noise, given: Tensor | None, temperature: float, consonance: float = 0.0
    ) -> np.ndarray:
        """Flows, then note after note."""
        classes = None if given is None else classes_of(given[:, None])[:, 0]
        with torch.no_grad():
            chords, style = self.networks["temporal"](codes.chords, codes.style, self._heard(classes))
            coded = Noise(chords, style, codes.melody, codes.groove)
            written = self.decoder.write(coded, temperature=temperature, consonance=consonance, given=classes)
        if classes is not None:
            written[:, self.given] = classes
        return self.codec.rolls_of(written.cpu().numpy())

    @torch.no_grad()
    def opinion(self, rolls: Tensor) -> np.ndarray:
        """Log-likelihood of the lines given their likeliest codes, nats per bar: how much at home the decoder is."""
        return -self.nats(rolls, means=True)["lines"].cpu().numpy()
