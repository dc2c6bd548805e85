"""What the designs of this room share: losses, writing and the words for what a piece holds.

A design says how pieces become batches, how many nats a batch costs and how a request is carried out. The
model (model.py) looks it up by name. Axes: B batch, T events, V symbols of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from symusic import Score
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config, Controls
from otonoha.models.lstm_attention.requests import choices
from otonoha.music.piece import Piece
from otonoha.music.theory import pitch_name
from otonoha.sample.engine import written
from otonoha.sample.job import Job
from otonoha.sample.tasks import Done, Explanation, Request, Take
from otonoha.tokens.base import Grammar, Stream, Tokens, Vocab
from otonoha.train.batches import Windows
from otonoha.train.objective import Context
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Event, Model


TRANSPOSE = range(-6, 6)
"""The twelve keys around the written one."""


class Design:
    """What a design does for its model."""

    tasks: ClassVar[tuple[type, ...]]
    name: ClassVar[str]
    """Of its one network; weights carry it as a prefix."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def network(self) -> Any:
        """The one network of the design."""
        return self.model.networks[self.name]

    @property
    def vocab(self) -> Vocab:
        """The streams that the network sees."""
        return self.model.codec.vocab

    # -- blanks ----------------------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """A fresh network."""
        raise NotImplementedError

    def nats(self, batch: Any) -> dict[str, Tensor]:
        """Summed nats of each symbol stream."""
        raise NotImplementedError

    def evaluate(self, sequences: Sequence[Any]) -> dict[str, float]:
        """Nats per note and stream."""
        raise NotImplementedError

    def explain(self, score: Score) -> Explanation:
        """Attention and probabilities along a melody."""
        raise NotImplementedError

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request."""
        raise NotImplementedError

    # -- what most designs leave as it is --------------------------------------------------------------

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """Take from the data what the network's shape depends on."""

    def observe(self, sequences: Sequence[Any]) -> None:
        """Take from the encoded data what new pieces should imitate."""

    def prepare(self, piece: Piece, tokens: Tokens) -> list[Any]:
        """The sequences that a piece gives."""
        return [tokens]

    def change(self, tokens: Any, rng: np.random.Generator) -> Any:
        """Alter a training window."""
        return tokens

    def batches(self, sequences: Sequence[Any], settings: Settings) -> Any:
        """update number -> batch."""
        return Windows(
            sequences, batch=settings.batch, length=settings.length, seed=settings.seed, change=self.change
        )

    def loss(self, batch: Any, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per target, all streams together."""
        each = {n: s / batch.targets for n, s in self.nats(batch).items()}
        return torch.stack(list(each.values())).sum(), {n: v.detach() for n, v in each.items()}

    def write(
        self,
        request: Request,
        controls: Controls,
        grammars: Sequence[Grammar],
        job: Job,
        *,
        limit: int,
        decode: Callable[[Tokens], Score],
        prompt: Tokens | None = None,
    ) -> Iterator[Event]:
        """Write a piece for every grammar, behind the prompt: Progress …, Done."""
        rows = yield from written(
            self.network,
            self.vocab,
            grammars,
            choices(controls, [s.name for s in self.vocab.symbols]),
            seed=request.seed,
            limit=limit,
            prompt=None if prompt is None else prompt.streams,
            job=job,
        )
        codec = self.model.codec
        names = {s.name for s in codec.vocab.streams}
        takes = []
        for row, streams in enumerate(rows):
            clock = np.zeros(len(next(iter(streams.values()))))
            tokens = Tokens({n: s for n, s in streams.items() if n in names}, clock, codec.fingerprint)
            takes.append(Take(decode(tokens), tokens, replace(request, index=row)))
        yield Done(takes)


def chances(logits: Sequence[Tensor], vocab: Vocab) -> dict[str, np.ndarray]:
    """Logits (1, T, V) of every stream -> name -> (T, V) chances."""
    return {s.name: x[0].softmax(-1).cpu().numpy() for s, x in zip(vocab.symbols, logits, strict=True)}


def describe_events(tokens: Tokens, vocab: Vocab) -> list[str]:
    """A word for each position: the pitch, or what stands in its place."""
    stream = vocab.symbols[0]
    assert stream.ordinal is not None
    first, count = stream.ordinal
    others = ["end", "rest", "tie"] if stream.name == "pitch" else ["rest", "hold"]
    words = others[:first] + [pitch_name(stream.base + p) for p in range(count)]
    return [words[symbol] for symbol in tokens.streams[stream.name]]


def midi_chances(chances: np.ndarray, stream: Stream) -> np.ndarray:
    """(T, V) of a pitched stream -> (T, 128) of MIDI pitches."""
    assert stream.ordinal is not None
    first, count = stream.ordinal
    pitches = np.zeros((len(chances), 128))
    pitches[:, stream.base : stream.base + count] = chances[:, first : first + count]
    return pitches
