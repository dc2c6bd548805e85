"""The better melody network: LSTM layers, causal content attention over all they said, a head per stream.

Axes: B batch, T time, D width, L layers, H heads, K symbol streams, V symbols of a stream.

    x_t = symbols of t-1 + contexts of t           place in the bar, key, metre, bars left, style
    h_t = LSTM(x_1 … x_t)                          (Hochreiter & Schmidhuber 1997)
    c_t = attention of h_t over h_1 … h_t          (Vaswani et al. 2017, with distance scores)
    p(symbols of t) = Π_k p(stream k | h_t, c_t, streams before k)

Loss at every position; pitch first, then the duration given the pitch; or soprano, alto, tenor, bass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config
from otonoha.models.lstm_attention.heads import Said, Speaker
from otonoha.models.lstm_attention.inputs import NONE
from otonoha.nn.attention import CausalAttention
from otonoha.nn.cache import KVCache
from otonoha.nn.recurrent import LSTM
from otonoha.tokens.base import Vocab


@dataclass(kw_only=True)
class Memory(Said):
    """What the network remembers of the past while it writes."""

    lstm: tuple[Tensor, Tensor]
    cache: KVCache


class MelodyLSTM(Speaker):
    """Streams (B, T) -> logits of every symbol stream at every position."""

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__(config, vocab)
        width = config.width
        self.lstm = LSTM(config.embedding, width, config.layers, config.dropout)
        self.attention = CausalAttention(width, config.heads, config.dropout) if config.heads else None
        self.norm = nn.RMSNorm(width)
        self.add_heads(config)

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
        previous, pitches = self.before(streams, memory)
        x = self.drop(self.inputs(previous, streams, pitches))
        h, memory.lstm = self.lstm(x, memory.lstm)
        hidden, attention = self._attend(h, memory.cache, weights)
        return hidden, pitches, attention

    def _attend(self, h: Tensor, cache: KVCache, weights: bool = False) -> tuple[Tensor, Tensor]:
        h = self.norm(self.drop(h))
        if self.attention is None:
            return h, h.new_empty(0)
        context, attention = self.attention(h, None if self.training else cache, weights)
        return h + self.drop(context), attention

    def start(self, batch: int) -> Memory:
        """Nothing written yet."""
        lstm = self.lstm.start(batch)
        device = lstm[0].device
        references = {s.name: torch.full((batch,), NONE, device=device) for s in self.inputs.pitched}
        previous = self.inputs.start(batch, device)
        return Memory(lstm=lstm, cache=KVCache(), previous=previous, references=references)

    def prefill(self, state: Memory, streams: Mapping[str, Tensor]) -> Memory:
        """Take in a prompt in one pass."""
        self.encode(streams, state)
        return state

    def step(self, state: Said, x: Tensor) -> Tensor:
        """One step of the LSTM, and a look back over all before."""
        assert isinstance(state, Memory)
        h, state.lstm = self.lstm(x, state.lstm)
        return self._attend(h, state.cache)[0]
