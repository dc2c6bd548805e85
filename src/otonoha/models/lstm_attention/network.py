"""The better melody network: LSTM layers, causal content attention over all they said, a head per stream.

Axes: B batch, T time, D width, L layers, H heads, K symbol streams, V symbols of a stream.

    x_t = symbols of t-1 + contexts of t           place in the bar, key, metre, bars left, style
    h_t = LSTM(x_1 … x_t)                          (Hochreiter & Schmidhuber 1997)
    c_t = attention of h_t over h_1 … h_t          (Vaswani et al. 2017, with distance scores)
    p(symbols of t) = Π_k p(stream k | h_t, c_t, streams before k)

Loss at every position; pitch first, then the duration given the pitch; or soprano, alto, tenor, bass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config
from otonoha.models.lstm_attention.inputs import NONE, Head, Inputs, MixtureHead, carry, ordinal
from otonoha.nn.attention import CausalAttention
from otonoha.nn.cache import KVCache
from otonoha.nn.recurrent import LSTM
from otonoha.tokens.base import Vocab


class Mix(nn.Module):
    """h plus what is drawn already at this position -> y, the input of a head (gated unit, Dauphin et al. 2017)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.RMSNorm(width), nn.Dropout(dropout)
        self.gate, self.down = nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, y: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        a, b = self.gate(self.norm(y)).chunk(2, -1)
        return y + self.drop(self.down(F.silu(a) * b))


@dataclass
class Memory:
    """What the network remembers of the past while it writes."""

    lstm: tuple[Tensor, Tensor]
    cache: KVCache
    previous: dict[str, Tensor]
    """(B,) the symbols of the last position."""
    references: dict[str, Tensor]
    """(B,) the last pitch of each pitched stream, NONE before the first."""
    hidden: Tensor | None = None
    """(B, 1, D) of the position being written."""
    context: Mapping[str, Tensor] = field(default_factory=dict)
    """Context streams (B, 1) of the position being written."""


class MelodyLSTM(nn.Module):
    """Streams (B, T) -> logits of every symbol stream at every position."""

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__()
        self.vocab, width = vocab, config.width
        numbers = config.duration_input == "numeric"
        self.inputs = Inputs(vocab, config.hints, config.embedding, degrees=config.relative, numbers=numbers)
        self.lstm = LSTM(config.embedding, width, config.layers, config.dropout)
        self.drop = nn.Dropout(config.dropout)
        self.attention = CausalAttention(width, config.heads, config.dropout) if config.heads else None
        self.norm = nn.RMSNorm(width)
        symbols = vocab.symbols
        self.drawn = nn.ModuleDict({s.name: nn.Embedding(s.size, width) for s in symbols[:-1]})
        for table in self.drawn.values():
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.3)
        self.mix = nn.ModuleDict({s.name: Mix(width, config.dropout) for s in symbols})
        self.head = nn.ModuleDict({s.name: self._head(config, s, vocab) for s in symbols})

    def _head(self, config: Config, stream, vocab: Vocab) -> nn.Module:
        if config.duration_head == "mixture" and stream.values is not None:
            return MixtureHead(stream, config.width)
        return Head(stream, vocab, config.width, relative=config.relative, keyed=self.inputs.keyed)

    # -- whole sequences -------------------------------------------------------------------------------

    def forward(self, streams: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits (B, T, V) of each symbol stream, each given the past and the streams before it."""
        memory = self.start(next(iter(streams.values())).shape[0])
        hidden, before, _ = self.encode(streams, memory)
        return self.score(hidden, streams, before)

    def encode(
        self, streams: Mapping[str, Tensor], memory: Memory, weights: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Hidden states (B, T, D), the pitches before each position, and the attention (B, H, T, S) if asked.

        `memory` is moved behind the sequence.
        """
        previous = {
            s.name: torch.cat([memory.previous[s.name][:, None], streams[s.name][:, :-1]], 1)
            for s in self.vocab.symbols
        }
        before = {}
        for s in self.inputs.pitched:
            latest = carry(ordinal(s, streams[s.name]), memory.references[s.name])
            before[s.name] = torch.cat([memory.references[s.name][:, None], latest[:, :-1]], 1)
            memory.references[s.name] = latest[:, -1]
        x = self.drop(self.inputs(previous, streams, before))
        h, memory.lstm = self.lstm(x, memory.lstm)
        hidden, attention = self._attend(h, memory.cache, weights)
        memory.previous = {s.name: streams[s.name][:, -1] for s in self.vocab.symbols}
        return hidden, before, attention

    def _attend(self, h: Tensor, cache: KVCache | None, weights: bool = False) -> tuple[Tensor, Tensor]:
        h = self.norm(self.drop(h))
        if self.attention is None:
            return h, h.new_empty(0)
        context, attention = self.attention(h, None if self.training else cache, weights)
        return h + self.drop(context), attention

    def score(
        self, hidden: Tensor, streams: Mapping[str, Tensor], before: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """The heads, stream by stream; each knows the streams before it at its own position."""
        references, out, y = dict(before), [], hidden
        for s in self.vocab.symbols:
            out.append(self.head[s.name](self.mix[s.name](y), references, streams.get("key")))
            if s.name in self.drawn:
                y = y + self.drawn[s.name](streams[s.name])
            if s.name in references:
                now = ordinal(s, streams[s.name])
                references[s.name] = torch.where(now != NONE, now, references[s.name])
        return out

    # -- one position at a time (sample.engine.Step) -----------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def start(self, batch: int) -> Memory:
        """Nothing written yet."""
        lstm = self.lstm.start(batch)
        device = lstm[0].device
        references = {s.name: torch.full((batch,), NONE, device=device) for s in self.inputs.pitched}
        return Memory(lstm, KVCache(), self.inputs.start(batch, device), references)

    def prefill(self, state: Memory, streams: Mapping[str, Tensor]) -> Memory:
        """Take in a prompt in one pass."""
        self.encode(streams, state)
        return state

    def place(self, state: Memory, context: Mapping[str, Tensor]) -> Memory:
        """Compute the hidden state of the next position."""
        state.context = {n: c[:, None] for n, c in context.items()}
        previous = {n: p[:, None] for n, p in state.previous.items()}
        references = {n: r[:, None] for n, r in state.references.items()}
        h, state.lstm = self.lstm(self.inputs(previous, state.context, references), state.lstm)
        state.hidden, _ = self._attend(h, state.cache)
        return state

    def logits(self, state: Memory, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of stream k."""
        assert state.hidden is not None
        y, references = state.hidden, {n: r[:, None] for n, r in state.references.items()}
        for s, symbols in zip(self.vocab.symbols, drawn, strict=False):
            y = y + self.drawn[s.name](symbols[:, None])
            if s.name in references:
                now = ordinal(s, symbols[:, None])
                references[s.name] = torch.where(now != NONE, now, references[s.name])
        name = self.vocab.symbols[k].name
        return self.head[name](self.mix[name](y), references, state.context.get("key"))[:, 0]

    def advance(self, state: Memory, drawn: Sequence[Tensor]) -> Memory:
        """The position is complete."""
        for s, symbols in zip(self.vocab.symbols, drawn, strict=True):
            state.previous[s.name] = symbols
            if s.name in state.references:
                now = ordinal(s, symbols)
                state.references[s.name] = torch.where(now != NONE, now, state.references[s.name])
        return state


def nats(logits: Sequence[Tensor], targets: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """Summed negative log-likelihood of each stream over the positions that exist."""
    return [
        F.cross_entropy(scores.float().flatten(0, 1), symbols.flatten(), reduction="none")[
            mask.flatten()
        ].sum()
        for scores, symbols in zip(logits, targets, strict=True)
    ]
