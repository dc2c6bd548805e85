"""The smallest family that is whole: one GRU over the streams of the codec `notes` (Cho et al. 2014).

Axes: B batch, T time, D width, K symbol streams, V symbols of a stream.

    x_t = symbols of t-1 + contexts of t           h_t = GRU(x_1 … x_t)
    p(symbols of t) = Π_k p(stream k | h_t, streams before k)

Copy this room and fill the blanks `build`, `objectives`, `generate` with something better. `device` to
`advance` is sample.engine.Step: what the engine asks of a network that writes one position after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models._template.config import PRESETS, Config, Controls
from otonoha.models.base import Capabilities, Event, Model
from otonoha.sample.choose import Choice
from otonoha.sample.engine import written
from otonoha.sample.job import Job
from otonoha.sample.tasks import Compose, Continue, Done, Request, Take
from otonoha.tokens.base import Tokens, Vocab
from otonoha.tokens.notes_grammar import NotesConstraints
from otonoha.train.batches import Batch, in_order
from otonoha.train.objective import Context, Objective


@dataclass
class Memory:
    """Where the GRU stands: h (1, B, D), the symbols (B,) of the last position, the output (B, D) at this one."""

    h: Tensor
    previous: list[Tensor]
    y: Tensor


class Network(nn.Module):
    """Streams name -> (B, T) to logits (B, T, V) of every symbol stream."""

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__()
        self.vocab, D = vocab, config.width
        self.before = nn.ModuleDict({s.name: nn.Embedding(s.size + 1, D) for s in vocab.symbols})
        self.place_of = nn.ModuleDict({s.name: nn.Embedding(s.size, D) for s in vocab.contexts})
        self.now = nn.ModuleDict({s.name: nn.Embedding(s.size, D) for s in vocab.symbols})
        self.drop, self.gru = nn.Dropout(config.dropout), nn.GRU(D, D, batch_first=True)
        self.heads = nn.ModuleDict({s.name: nn.Linear(D, s.size) for s in vocab.symbols})

    def inputs(self, previous: Sequence[Tensor], contexts: Mapping[str, Tensor]) -> Tensor:
        """(B, T) symbols of t-1 and contexts of t -> (B, T, D)."""
        x = sum(self.before[s.name](p) for s, p in zip(self.vocab.symbols, previous, strict=True))
        return self.drop(x + sum(table(contexts[name]) for name, table in self.place_of.items()))

    def run(self, state: Memory, streams: Mapping[str, Tensor]) -> Tensor:
        """Read whole streams after `state`, which moves along; outputs (B, T, D)."""
        symbols = [streams[s.name] for s in self.vocab.symbols]
        shifted = [
            torch.cat([p[:, None], s[:, :-1]], 1) for p, s in zip(state.previous, symbols, strict=True)
        ]
        y, state.h = self.gru(self.inputs(shifted, streams), state.h)
        state.previous = [s[:, -1] for s in symbols]
        return y

    def scores(self, y: Tensor, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """Logits of stream k at y, given the streams drawn before it."""
        for s, symbols in zip(self.vocab.symbols[:k], drawn, strict=False):
            y = y + self.now[s.name](symbols)
        return self.heads[self.vocab.symbols[k].name](self.drop(y))

    def forward(self, streams: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits of every symbol stream, each given the past and the streams before it."""
        symbols = [streams[s.name] for s in self.vocab.symbols]
        y = self.run(self.start(len(symbols[0])), streams)
        return [self.scores(y, k, symbols) for k in range(len(symbols))]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def start(self, batch: int) -> Memory:
        """Nothing written yet: the symbol before the first is one past the last of each stream."""
        none = [torch.full((batch,), s.size, device=self.device) for s in self.vocab.symbols]
        h = torch.zeros(1, batch, self.gru.hidden_size, device=self.device)
        return Memory(h, none, h[0])

    def prefill(self, state: Memory, streams: Mapping[str, Tensor]) -> Memory:
        """Take in a prompt in one pass."""
        self.run(state, streams)
        return state

    def place(self, state: Memory, context: Mapping[str, Tensor]) -> Memory:
        """Go to the next position."""
        contexts = {name: c[:, None] for name, c in context.items()}
        y, state.h = self.gru(self.inputs([p[:, None] for p in state.previous], contexts), state.h)
        state.y = y[:, 0]
        return state

    def logits(self, state: Memory, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of stream k."""
        return self.scores(state.y, k, drawn)

    def advance(self, state: Memory, drawn: Sequence[Tensor]) -> Memory:
        """The position is complete."""
        state.previous = list(drawn)
        return state


class Template(Model):
    """A GRU that writes melodies."""

    family = "_template"
    Config, Controls, presets = Config, Controls, PRESETS
    capabilities = Capabilities(tasks=(Compose, Continue), likelihood=True)

    def build(self) -> dict[str, nn.Module]:
        """The networks by name."""
        return {"gru": Network(self.config, self.codec.vocab)}

    def objectives(self) -> list[Objective]:
        """What `fit` minimises."""
        return [Objective("nats", self.networks.parameters(), self.loss, unit="a position")]

    def loss(self, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per position, and the figures to log."""
        each = self.nats(batch)
        return sum(each.values(), torch.zeros(())) / batch.targets, {}

    def nats(self, batch: Batch) -> dict[str, Tensor]:
        """Summed nats of each stream over the positions that exist."""
        logits = self.networks["gru"](batch.streams)
        return {
            s.name: F.cross_entropy(x[batch.mask].float(), batch.streams[s.name][batch.mask], reduction="sum")
            for s, x in zip(self.codec.vocab.symbols, logits, strict=True)
        }

    def evaluate(self, sequences: Sequence[Tokens]) -> dict[str, float]:
        """Nats per unit of the codec (a note); "loss" decides about early stopping."""
        device = self.networks["gru"].device
        totals = [sum(self.nats(b.to(device)).values()) for b in in_order(sequences, 32)]  # type: ignore[arg-type]
        units = sum(self.codec.units(t) for t in sequences)  # type: ignore[attr-defined]
        return {"loss": float(sum(totals)) / units, "units": float(units)}

    def generate(self, request: Request, n: int, job: Job) -> Iterator[Event]:
        """Carry out a request: `n` pieces at once, each kept to the rules by a grammar of its own."""
        c, codec, prompt = request.controls, self.codec, None
        asked = NotesConstraints(bars=c.bars or 8, key=c.key, metre=c.metre)
        if isinstance(request.task, Continue):
            prompt = codec.prompt(codec.encode(request.task.prompt), asked)  # type: ignore[attr-defined]
        grammars = [codec.grammar(asked, prompt) for _ in range(n)]
        choice = Choice(temperature=1.0 if c.temperature is None else c.temperature)
        most = 64 * (asked.bars or 0) + 64
        given = None if prompt is None else prompt.streams
        step: Any = self.networks["gru"]
        choices = {s.name: choice for s in codec.vocab.symbols}
        rows = yield from written(
            step, codec.vocab, grammars, choices, seed=request.seed, limit=most, prompt=given, job=job
        )
        takes = []
        for row, streams in enumerate(rows):
            tokens = Tokens(streams, np.zeros(len(streams["pitch"])), codec.fingerprint)
            takes.append(Take(codec.decode(tokens), tokens, replace(request, index=row)))
        yield Done(takes)
