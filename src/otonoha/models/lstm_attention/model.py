"""LSTM with attention: one model class, three designs (melody, book, encoder_decoder).

The book's network: Foster, Generative Deep Learning (2019), chapter 7; encoder-decoder attention: Bahdanau
et al. 2015. README.md of this room teaches all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, ClassVar

from symusic import Score
from torch import nn

from otonoha.models.base import Capabilities, Event, Model
from otonoha.models.lstm_attention.config import PRESETS, Config, Controls
from otonoha.models.lstm_attention.design import Design
from otonoha.music.piece import Piece
from otonoha.music.silence import without_silence
from otonoha.music.voices import melody
from otonoha.sample.job import Job
from otonoha.sample.tasks import Explanation, Request
from otonoha.tokens.base import Tokens
from otonoha.train.objective import Objective
from otonoha.train.settings import Settings

DESIGNS = {"melody": "melody:Melody", "book": "book:BookRecipe", "encoder_decoder": "answer:QuestionAnswer"}
"""Design -> module of this room and class; a model reads only its own."""


class LSTMAttention(Model):
    """Melodies (codec `notes`), chorale voices (codec `grid`), or the book's own recipe (codec `book`)."""

    family = "lstm_attention"
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: Any = "small", **options: Any) -> None:
        super().__init__(config, **options)
        module, _, kind = DESIGNS[self.config.design].partition(":")
        self.design: Design = getattr(import_module(f"{__package__}.{module}"), kind)(self)
        self.capabilities = Capabilities(  # type: ignore[misc]
            tasks=self.design.tasks, likelihood=True, explain=True, measure="nats a note"
        )

    def build(self) -> dict[str, nn.Module]:
        """One network, named after the design."""
        return {self.design.name: self.design.build()}

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """Styles, or the book's vocabularies."""
        self.design.learn(pieces, valid)

    def arrange(self, score: Score) -> Score:
        """A melody without the bars in which it only waits."""
        if not self.codec.monophonic:
            return score
        return without_silence(melody(score), keep=self.config.max_silence)

    def prepare(self, pieces: Sequence[Piece]) -> list[Any]:
        """Encoded pieces with their labels (question and answer pairs for the encoder_decoder)."""
        found: list[Any] = []
        for piece in pieces:
            tokens = self._encoded(piece)
            if tokens is not None:
                found.extend(self.design.prepare(piece, tokens))
        return found

    def observe(self, sequences: Sequence[Tokens]) -> None:
        """The usual openings."""
        self.design.observe(sequences)

    def batches(self, sequences: Sequence[Tokens], settings: Settings) -> Any:
        """Windows of the design's own kind."""
        return self.design.batches(sequences, settings)

    def objectives(self) -> list[Objective]:
        """Negative log-likelihood."""
        return [Objective("nats", self.networks.parameters(), self.design.loss, unit="a note")]

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per note and stream."""
        return self.design.evaluate(sequences)

    def explained(self, score: Score) -> Explanation:
        """Attention and probabilities along a melody."""
        return self.design.explain(score)

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request."""
        yield from self.design.generate(request, n, job)
