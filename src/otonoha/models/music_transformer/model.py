"""Music Transformer: one decoder for several tracks, with controls, infilling, accompaniment and variation; and a
frame-wise network for chorales with a motif memory.

Huang et al. 2018 (Music Transformer), Payne 2019 (MuseNet), Huang et al. 2017 (Coconet), Ens & Pasquier 2020 (MMM).
README.md of this room teaches both designs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, ClassVar

from torch import nn

from otonoha.models.base import Capabilities, Event, Model
from otonoha.models.music_transformer.config import PRESETS, Config, Controls
from otonoha.music.piece import Piece
from otonoha.music.suggest import one_of
from otonoha.sample.job import Job
from otonoha.sample.tasks import Request
from otonoha.tokens.base import Codec
from otonoha.tokens.events import Events
from otonoha.tokens.grid import Grid
from otonoha.train.objective import Objective
from otonoha.train.settings import Settings

DESIGNS = {"events": "events:EventsDesign", "chorale": "chorale_design:ChoraleDesign"}
"""Design -> module of this room and class; a model reads only its own."""
CODECS = {"events": "events", "chorale": "grid"}
"""Design -> name of its codec."""


class MusicTransformer(Model):
    """Any tracks (codec `events`), or four voices frame by frame (codec `grid`)."""

    family = "music_transformer"
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: Any = "small", *, codec: Codec | str | None = None, **options: Any) -> None:
        super().__init__(config, codec=codec, **options)
        design = one_of(self.config.design, DESIGNS, "design")
        if self.config.codec == CODECS[design] and (codec is None or isinstance(codec, str)):
            self.codec = self._usual_codec()
        module, _, kind = DESIGNS[design].partition(":")
        self.design: Any = getattr(import_module(f"{__package__}.{module}"), kind)(self)
        self.capabilities = Capabilities(  # type: ignore[misc]
            tasks=self.design.tasks, likelihood=True, measure="nats a note"
        )

    def _usual_codec(self) -> Codec:
        """The codec as the design wants it."""
        if self.config.design == "chorale":
            return Grid(low=36, high=81, holds=False)
        return Events(contexts=self.config.hints, styles=tuple(self.config.styles))

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """What the design's vocabulary depends on (events: the styles)."""
        self.design.learn(pieces)

    def build(self) -> dict[str, nn.Module]:
        """The design's network."""
        return self.design.build()

    def prepare(self, pieces: Sequence[Piece]) -> list[Any]:
        """What the design learns from; a piece that the codec cannot express is left out and counted in `skipped`."""
        found: list[Any] = []
        for piece in pieces:
            try:
                found += self.design.encoded(piece)
            except ValueError as error:
                self.skipped.append((piece.id, str(error)))
        return found

    def observe(self, sequences: Sequence[Any]) -> None:
        """What the design keeps of the pieces beside its weights (chorale: the library of its memory)."""
        self.design.observe(sequences)

    def batches(self, sequences: Sequence[Any], settings: Settings) -> Any:
        """The design's own kind."""
        return self.design.batches(sequences, settings)

    def objectives(self) -> list[Objective]:
        """Negative log-likelihood."""
        return self.design.objectives()

    def evaluate(self, sequences: Sequence[Any]) -> dict[str, float]:
        """Nats per note."""
        return self.design.evaluate(sequences)

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request."""
        yield from self.design.generate(request, n, job)
