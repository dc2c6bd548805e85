"""The design `lines`: the decoder and its posterior learn together, the flows follow them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.musegan.decoder import ONSET, Decoder, sounding_of, uniform
from otonoha.models.musegan.design import Design
from otonoha.models.musegan.divisi import Divisi
from otonoha.models.musegan.lines import Encoder, Flows, Posterior
from otonoha.models.musegan.shape import Noise, Widths
from otonoha.models.musegan.windows import Phrases
from otonoha.tokens.base import Tokens
from otonoha.tokens.roll import ONSET as ONSET_STATE
from otonoha.train.objective import Context, Objective, lr_factor

HIDDEN_STEPS = 0.15
"""Share of the steps before that the decoder does not see while it learns, so that it listens to the plan."""
WAYS = (0.5, 0.4, 0.1)
"""How often a line hears, while learning, the lines before it, all others, or none."""
SETTLED = 0.4
"""Share of the training in which the codes are learnt; after it they stay, and the flows learn to draw them."""
DRAWS = 4
"""Codes that the flows see of each phrase of a batch."""
CHROMA = 0.2
"""Weight of the nats of which pitch classes sound at a step: what the harmony is to say."""
MANY = 0.01
"""A share of notes left out that is worth a word."""
INDEPENDENCE = 0.5
"""How often a track follows its own noises, when nothing is said."""


class Lines(Design):
    """Networks: encoder and decoder ("generator"), and the flows ("temporal")."""

    draws = True
    lost = 0.0
    """Share of the notes that did not fit into the lines, until it is told."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        count = 1 if self.codec.lines else self.config.divisi
        self.divisi = Divisi(self.codec, count)
        self.whole = replace(self.shape, tracks=self.divisi.lines)
        steps, Z = self.shape.steps, self.config.noise
        common, own = self.divisi.lines * steps, count * steps  # numbers that draw a bar
        self.widths = Widths(Z + common, Z + common, own, own, coded=Z)

    def build(self) -> dict[str, nn.Module]:
        """Encoder, decoder, flows."""
        c, H = self.config, self.config.hidden
        listens, struck = self.given is not None, self.divisi.struck()
        decoder = Decoder(
            self.whole,
            c.noise,
            low=self.codec.low,
            hidden=H,
            count=self.divisi.count,
            struck=struck,
            given=listens,
        )
        return {
            "encoder": Encoder(self.whole, c.noise, 3 * H // 4),
            "generator": decoder,
            "temporal": Flows(c.noise, H, H // 2 if listens else 0),
        }

    @property
    def decoder(self) -> Decoder:
        """What writes the lines."""
        return cast(Decoder, self.networks["generator"])

    @functools.cached_property
    def order(self) -> tuple[list[int], list[int]]:
        """Lines that are given, and those that are written, in the order of the sketch: of voices the lowest first."""
        given = [] if self.given is None else [*self.divisi.of_track(self.given)]
        lines = [v for v in range(self.divisi.lines) if v not in given]
        return given, [lines[-1], *lines[:-1]] if self.codec.lines else lines

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

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """How many notes do not fit into the lines."""
        rolls = [torch.from_numpy(self.codec.array(t).swapaxes(0, 1).copy())[None] for t in sequences]
        kept = sum(int((self.divisi.classes(r) >= ONSET).sum()) for r in rolls)
        self.lost = 1 - kept / max(1, sum(int((r == ONSET_STATE).sum()) for r in rolls))

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, Any]:
        """As all designs; and once what was left out."""
        figures = super().evaluate(sequences)
        if self.lost > MANY and "says" not in figures:
            figures["says"] = (
                f"{self.lost:.0%} of the notes are left out: tracks play more than {self.divisi.count} notes "
                f"at a time; --divisi {2 * self.divisi.count} keeps more of them"
            )
            self.lost = 0.0
        return figures

    # -- learning --------------------------------------------------------------------------------------

    def lines_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Nats of a phrase: its lines, and `latent` times the nats of its codes."""
        B = len(batch.rolls)
        told = self.nats(batch.rolls, self.heard_while_learning(B), drop=HIDDEN_STEPS)
        codes = (
            self.config.latent * min(1.0, 0.1 + 4 * context.step / (SETTLED * context.steps)) * told["codes"]
        )
        loss = told["lines"].sum(1) + codes + CHROMA * told["chroma"]
        return loss.mean() / self.shape.bars, {
            k: v.detach().flatten(1).sum(1).mean() if v.ndim > 1 else v.detach().mean()
            for k, v in told.items()
        }

    def heard(self, before: bool) -> Tensor:
        """(V, V) which others (columns) each line hears: those before it in the order, or all."""
        written = self.order[1]
        place = torch.zeros(self.divisi.lines, device=self.device)
        place[written] = torch.arange(1.0, len(written) + 1, device=self.device)
        if before:
            return (place[None] < place[:, None]).float()
        return 1 - torch.eye(len(place), device=self.device)

    def heard_while_learning(self, batch: int) -> Tensor:
        """(B, V, V) for every line of every phrase: those before it, or all, or none but what is given."""
        V, (given, _) = self.divisi.lines, self.order
        none = torch.zeros(V, V, device=self.device)
        none[:, given] = 1
        ways = torch.stack([self.heard(before=True), self.heard(before=False), none])
        chosen = torch.multinomial(torch.tensor(WAYS), batch * V, replacement=True).to(self.device)
        return ways[chosen, torch.arange(V, device=self.device).repeat(batch)].view(batch, V, V)

    def nats(
        self, rolls: Tensor, seen: Tensor | None = None, drop: float = 0.0, *, means: bool = False
    ) -> dict[str, Tensor]:
        """Of phrases: "lines" (B, N) of the written tracks by bar, "codes" (B,), "chroma" (B,).

        Given codes that are drawn from the posterior, or its means. Every line hears those that it has `seen`, by
        default those before it: then the nats are those of all lines together.
        """
        classes, sounds, posterior = self.read(rolls)
        if seen is None:
            seen = self.heard(before=True).expand(len(rolls), -1, -1)
        chords, style = (posterior.chords[0], posterior.style[0]) if means else posterior.drawn()
        plan, harmony = self.decoder.plan(chords, style, self._given_line(classes))
        each = self.decoder.nats(plan, classes, sounds, seen, drop)
        bars = each[:, self.order[1]].sum(1).unflatten(-1, (self.shape.bars, -1)).sum(-1)
        sounding = F.one_hot(sounds, 1 + self.shape.pitches)[..., 1:].float() @ self.decoder.fold.T
        sounding = sounding * self.decoder.pitched[:, None, None]
        chroma = F.binary_cross_entropy_with_logits(
            self.decoder.chroma(harmony), sounding.amax(1), reduction="none"
        )
        return {"lines": bars, "codes": sum(posterior.nats()), "chroma": chroma.flatten(1).sum(1)}

    def read(self, rolls: Tensor) -> tuple[Tensor, Tensor, Posterior]:
        """Rolls -> classes, what sounds, the posterior of the codes."""
        classes = self.divisi.classes(rolls)
        sounds = sounding_of(classes)
        return classes, sounds, self.networks["encoder"](classes, sounds)

    def temporal_loss(self, batch: Phrases, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Of the flows."""
        with torch.no_grad():
            classes, _, posterior = self.read(batch.rolls)
            heard = self._listened(self._given_line(classes))
            chords, style = (torch.cat(each) for each in zip(*(posterior.drawn() for _ in range(DRAWS))))
        heard = None if heard is None else heard.repeat(DRAWS, 1, 1)
        return self.networks["temporal"].loss(chords, style, heard), {}  # type: ignore[operator]

    def _given_line(self, classes: Tensor) -> Tensor | None:
        """The (highest) line of the given track (B, T)."""
        return None if self.given is None else classes[:, self.order[0][0]]

    def _listened(self, given: Tensor | None) -> Tensor | None:
        """What the decoder's listener makes of the given classes (B, T), which the flows hear as well."""
        if given is None or self.decoder.listen is None:
            return None
        return self.decoder.listen(given)

    # -- writing ---------------------------------------------------------------------------------------

    def vectors(self, bars: int) -> int:
        """One for each bar."""
        return bars

    def codes(self, noise: Noise) -> Noise:
        """Noise as it is: the flows need the given track, which `write` has."""
        return noise

    @torch.no_grad()
    def write(
        self, codes: Noise, given: Tensor | None, temperature: float, independence: float | None = None
    ) -> np.ndarray:
        """Flows; the sketch, line after line; then some notes of every line anew, hearing the sketch of the others."""
        Z, (known, lines) = self.config.noise, self.order
        B, N, _ = codes.chords.shape
        V, T = self.divisi.lines, N * self.shape.steps
        classes = torch.zeros(B, V, T, dtype=torch.long, device=codes.chords.device)
        if given is not None:
            alone = given.new_zeros(B, self.shape.tracks, *given.shape[1:])
            alone[:, self.given] = given
            classes[:, known] = self.divisi.classes(alone)[:, known]
        line = self._given_line(classes)
        chords, style = self.networks["temporal"](
            codes.chords[..., :Z], codes.style[..., :Z], self._listened(line)
        )
        plan, _ = self.decoder.plan(chords, style, line)
        common, own = self._numbers(codes)
        before, others = self.heard(before=True), self.heard(before=False)
        anew = INDEPENDENCE if independence is None else independence
        for v in lines:
            chances = uniform(common[0][:, [v]]), uniform(common[1][:, [v]])
            classes[:, [v]] = self.decoder.write(
                plan, classes, before[[v]], [v], chances, temperature=temperature
            )
        chances = uniform(own[0][:, lines]), uniform(own[1][:, lines])
        classes[:, lines] = self.decoder.write(
            plan, classes, others[lines], lines, chances, temperature=temperature, anew=anew
        )
        rolls = self.divisi.rolls(classes)
        if given is not None:
            rolls[:, self.given] = given.to(rolls.dtype)
        return rolls.cpu().numpy()

    def _numbers(self, codes: Noise) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The normal numbers (B, V, T) that choose kinds and pitches: common ones, and those of each track."""
        B, N, _ = codes.chords.shape
        Z, S, V = self.config.noise, self.shape.steps, self.divisi.lines

        def by_line(x: Tensor) -> Tensor:  # (B, N, V S), or (B, M, N, L S)
            if x.ndim == 3:
                return x.view(B, N, V, S).transpose(1, 2).flatten(2)
            return x.unflatten(-1, (-1, S)).transpose(2, 3).reshape(B, V, N * S)

        style = codes.style if codes.style.ndim == 3 else codes.style[:, None].expand(B, N, -1)
        groove = codes.groove if codes.groove.ndim == 4 else codes.groove[:, :, None].expand_as(codes.melody)
        return (
            (by_line(style[..., Z:].contiguous()), by_line(codes.chords[..., Z:].contiguous())),
            (by_line(groove), by_line(codes.melody)),
        )

    @torch.no_grad()
    def opinion(self, rolls: Tensor) -> np.ndarray:
        """Log-likelihood of the lines given their likeliest codes, nats per bar: how much at home the decoder is."""
        return -self.nats(rolls, means=True)["lines"].cpu().numpy()
