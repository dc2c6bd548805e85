"""What the designs of this room share: phrases to learn from, the distance that chooses, and the critic's opinion.

A design says which networks it is made of, what each minimises, and how codes become rolls. The model (model.py)
looks it up by name. Axes: B phrases, M tracks, N bars, S steps, P pitches; rolls hold 0 silent, 1 onset, 2 hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from otonoha.metrics import band_report
from otonoha.metrics.copies import unique_share
from otonoha.models.musegan.shape import Noise, Shape, Widths, draw
from otonoha.models.musegan.windows import Windows
from otonoha.tokens.base import Tokens
from otonoha.tokens.roll import Roll
from otonoha.train.objective import Context, Objective

if TYPE_CHECKING:
    from otonoha.models.musegan.config import Config
    from otonoha.models.musegan.model import MuseGAN

MEASURED = 384
"""Phrases, real and generated, that an evaluation compares."""
COLLAPSED = 0.9
"""A smaller share of different phrases is called a collapse."""


class Design:
    """What a design does for its model."""

    needs_lines: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    """Does it draw notes, so that a temperature has an effect?"""

    def __init__(self, model: MuseGAN) -> None:
        self.model = model
        codec, config = self.codec, self.config
        self.shape = Shape(len(codec.tracks), config.bars, codec.steps_per_bar, codec.pitches)
        if self.needs_lines and not codec.lines:
            raise ValueError(
                f"design {config.design!r} writes lines of single notes; "
                "tracks with chords need design lines, binary or paper"
            )

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def codec(self) -> Roll:
        """The model's codec."""
        return self.model.codec  # type: ignore[return-value]

    @property
    def given(self) -> int | None:
        """The number of the track that is given."""
        return self.codec.tracks.index(self.config.given) if self.config.given else None

    @property
    def networks(self) -> nn.ModuleDict:
        """The model's networks."""
        return self.model.networks

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks.parameters()).device

    # -- blanks ----------------------------------------------------------------------------------------

    widths: Widths
    """Of the four noises."""

    def build(self) -> dict[str, nn.Module]:
        """Fresh networks; "generator" is among them."""
        raise NotImplementedError

    def objectives(self) -> list[Objective]:
        """What is minimised."""
        raise NotImplementedError

    def write(
        self, codes: Noise, given: Tensor | None, temperature: float, independence: float | None = None
    ) -> np.ndarray:
        """Codes -> state rolls (B, M, N, S, P); `given` (B, N, S, P) states of the given track."""
        raise NotImplementedError

    def opinion(self, rolls: Tensor) -> np.ndarray:
        """(B, N) what the critic thinks of the bars of phrases: higher is more like music that it knows."""
        raise NotImplementedError

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """Take note of the encoded pieces."""

    def after_step(self, context: Context) -> None:
        """What changes after an update without a gradient."""

    # -- what the designs leave as it is ---------------------------------------------------------------

    def vectors(self, bars: int) -> int:
        """Temporal noise vectors for so many bars."""
        return self.networks["generator"].vectors(bars)  # type: ignore[operator]

    def codes(self, noise: Noise) -> Noise:
        """Noise -> codes of the bars."""
        return self.networks["generator"].codes(noise)  # type: ignore[operator]

    def noise(self, batch: int, generator: torch.Generator | None = None) -> Noise:
        """Standard normal noise for phrases of the trained length."""
        found = draw(batch, self.shape.tracks, self.vectors(self.shape.bars), self.widths, generator)
        return found.to(self.device)

    def given_of(self, rolls: Tensor) -> Tensor | None:
        """The given track (B, N, S, P) of phrases."""
        return None if self.given is None else rolls[:, self.given]

    def write_some(self, real: Tensor, seed: int = 0) -> np.ndarray:
        """A phrase for every real one, whose given track it receives; rolls (B, M, N, S, P)."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for rows in real.to(self.device).split(128):
            codes = self.codes(self.noise(len(rows), generator))
            parts.append(self.write(codes, self.given_of(rows), 1.0))
        return np.concatenate(parts)

    def windows(self, sequences: Sequence[Tokens], *, batch: int = 1, seed: int = 0, **how: Any) -> Windows:
        """Phrases of the trained length."""
        return Windows(sequences, self.codec, bars=self.shape.bars, batch=batch, seed=seed, **how)

    @torch.no_grad()
    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, Any]:
        """Metrics of generated phrases; "loss" is their distance to the real ones; a collapse is said."""
        real = self.windows(sequences).some(MEASURED)
        generated = self.write_some(real)
        known: dict[str, Any] = {
            "low": self.codec.low,
            "tracks": self.codec.tracks,
            "lines": self.codec.lines,
            "beats": self.codec.beats,
        }
        written = [m for m in range(self.shape.tracks) if m != self.given]
        unique = unique_share(generated[:, written])
        figures: dict[str, Any] = {
            "loss": band_report.distance(generated, real.numpy(), **known),
            "unique": unique,
        }
        measured = band_report.measure(generated, **known)
        figures |= {name: value for name, value in measured.items() if "/" not in name and name != "unique"}
        if unique < COLLAPSED:
            figures["says"] = f"the generator has collapsed: only {unique:.0%} of its phrases differ"
        return figures

    @torch.no_grad()
    def opinions(self, rolls: np.ndarray) -> np.ndarray:
        """Rolls of a piece (n, M, S, P) -> (n,) the critic's score of each bar: mean over the phrases it is in."""
        N = self.shape.bars
        windows = np.stack([rolls[b : b + N] for b in range(len(rolls) - N + 1)])
        each = self.opinion(torch.from_numpy(windows.swapaxes(1, 2)).to(self.device))
        total, count = np.zeros(len(rolls)), np.zeros(len(rolls))
        for start, score in enumerate(each):
            total[start : start + N] += score  # (N,)
            count[start : start + N] += 1
        return total / count
