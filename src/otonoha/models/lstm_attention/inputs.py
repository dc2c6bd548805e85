"""What the networks see at each position.

Axes: B batch, T time, E embedding width, V symbols of a stream.
Position t sees the symbols of t - 1 (a START row before the first), the contexts of t, and for streams of
pitches the last one that sounded: its degree in the key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from otonoha.tokens.base import Stream, Vocab

NONE = -1
"""Reference value where nothing sounded yet."""


def carry(values: Tensor, before: Tensor) -> Tensor:
    """(B, T) values, NONE where there is none -> the latest one up to t, t included; `before` (B,) at the start."""
    T = values.shape[1]
    index = torch.where(values != NONE, torch.arange(T, device=values.device), -1).cummax(1).values
    latest = values.gather(1, index.clamp(min=0))
    return torch.where(index >= 0, latest, before[:, None])


def ordinal(stream: Stream, symbols: Tensor) -> Tensor:
    """Symbols -> their value (pitch), NONE for those without (rest, hold …)."""
    assert stream.ordinal is not None
    first, count = stream.ordinal
    inside = (symbols >= first) & (symbols < first + count)
    return torch.where(inside, symbols - first, NONE)


def numeric(values: Sequence[float], width: int) -> Tensor:
    """(V + 1, 2 + 2·8) features of durations: log2, its square, and sine and cosine against the beat."""
    quarters = torch.tensor([*(max(float(v), 1 / 96) for v in values), 1.0])
    log = torch.log2(quarters)
    turns = quarters[:, None] * torch.tensor([0.25, 0.5, 1, 2, 3, 4, 6, 8]) * 2 * math.pi
    return torch.cat([log[:, None] / 3, (log[:, None] / 3) ** 2, turns.sin(), turns.cos()], dim=1)


class Inputs(nn.Module):
    """Symbols and contexts -> (B, T, E)."""

    def __init__(
        self, vocab: Vocab, hints: Sequence[str], width: int, *, degrees: bool, numbers: bool
    ) -> None:
        super().__init__()
        self.vocab = vocab
        self.contexts = [s for s in vocab.contexts if s.name in hints]
        self.symbol = nn.ModuleDict({s.name: nn.Embedding(s.size + 1, width) for s in vocab.symbols})
        self.context = nn.ModuleDict({s.name: nn.Embedding(s.size, width) for s in self.contexts})
        self.pitched = [s for s in vocab.symbols if s.ordinal is not None]
        self.keyed = degrees and any(s.name == "key" for s in self.contexts)
        self.degree = nn.ModuleDict(
            {s.name: nn.Embedding(13, width) for s in self.pitched} if self.keyed else {}
        )
        self.measured = [s for s in vocab.symbols if s.values is not None] if numbers else []
        self.measure = nn.ModuleDict({s.name: nn.Linear(18, width) for s in self.measured})
        for s in self.measured:
            assert s.values is not None
            self.register_buffer(f"features_{s.name}", numeric(s.values, width), persistent=False)
        for table in self.modules():
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.5 / math.sqrt(len(self.symbol) + len(self.context)))

    def forward(
        self, previous: Mapping[str, Tensor], context: Mapping[str, Tensor], references: Mapping[str, Tensor]
    ) -> Tensor:
        """All arguments name -> (B, T): symbols of t - 1, contexts of t, last pitches before t."""
        parts = [self.symbol[s.name](previous[s.name]) for s in self.vocab.symbols]
        parts += [self.context[s.name](context[s.name]) for s in self.contexts]
        parts += [
            self.measure[s.name](self.get_buffer(f"features_{s.name}")[previous[s.name]])
            for s in self.measured
        ]
        for s in self.pitched if self.keyed else []:
            parts.append(self.degree[s.name](degree_of(s, references[s.name], context["key"])))
        return torch.stack(parts).sum(0)

    def start(self, batch: int, device: torch.device) -> dict[str, Tensor]:
        """The symbols "before the first": one past the last of each stream, (B,)."""
        return {s.name: torch.full((batch,), s.size, device=device) for s in self.vocab.symbols}


def degree_of(stream: Stream, reference: Tensor, key: Tensor) -> Tensor:
    """Pitch class above the tonic, 12 when the pitch or the key is unknown."""
    known = (reference != NONE) & (key < 24)
    offset = stream.base  # MIDI pitch of the stream's first value
    return torch.where(known, (reference + offset - key % 12) % 12, 12)
