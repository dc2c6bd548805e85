"""The network of the design `encoder_decoder`: it hears a phrase and speaks its answer (Bahdanau et al. 2015).

Axes: B batch, S events of the question, T events of the answer, D width.
    h_1 … h_S      both directions of an LSTM over the question
    e_{t,s}        v·tanh(W s_{t-1} + U h_s),   α_t = softmax over s,   c_t = Σ α_{t,s} h_s
    s_t            LSTM([events of t-1, place of t, c_t], s_{t-1})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config
from otonoha.models.lstm_attention.heads import Said, Speaker
from otonoha.models.lstm_attention.inputs import NONE, carry, ordinal
from otonoha.nn.recurrent import LSTM
from otonoha.tokens.base import Vocab
from otonoha.train.batches import Batch


@dataclass(kw_only=True)
class Listening(Said):
    """What the decoder heard, keys and values (B, S, D) and mask (B, S), and where it stands."""

    keys: Tensor
    values: Tensor
    mask: Tensor
    lstm: tuple[Tensor, Tensor]


class AnswerLSTM(Speaker):
    """Question and answer -> logits of every symbol stream of the answer."""

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__(config, vocab)
        width, half = config.width, config.width // 2
        self.forth, self.back = LSTM(config.embedding, half), LSTM(config.embedding, half)
        self.key, self.query = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)
        self.begin = nn.Linear(width, 2 * width)
        self.cell = LSTM(config.embedding + width, width)
        self.join = nn.Linear(2 * width, width)
        self.add_heads(config)

    def listen(self, question: Mapping[str, Tensor], mask: Tensor) -> Listening:
        """Read the question (B, S) in both directions; nothing is hidden, it sees each event itself."""
        symbols = {s.name: question[s.name] for s in self.vocab.symbols}
        B = mask.shape[0]
        nothing = torch.full((B,), NONE, device=mask.device)
        pitches = {s.name: carry(ordinal(s, question[s.name]), nothing) for s in self.inputs.pitched}
        x = self.drop(self.inputs(symbols, question, pitches))
        flip = _reversal(mask)
        forth, _ = self.forth(x)
        back, _ = self.back(x.gather(1, flip[..., None].expand_as(x)))
        back = back.gather(1, flip[..., None].expand_as(back))
        values = self.drop(torch.cat([forth, back], -1))
        summary = (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        h, c = torch.tanh(self.begin(summary)).chunk(2, -1)
        rows, last = torch.arange(B, device=mask.device), mask.sum(1) - 1
        return Listening(
            keys=self.key(values),
            values=values,
            mask=mask,
            lstm=(h[None].contiguous(), c[None].contiguous()),
            previous={n: p[rows, last] for n, p in symbols.items()},
            references={n: p[rows, last] for n, p in pitches.items()},
        )

    def attend(self, state: Listening) -> tuple[Tensor, Tensor]:
        """Context (B, D) and weights (B, S) for the decoder's last hidden state."""
        query = self.query(state.lstm[0][-1])[:, None]
        energy = self.energy(torch.tanh(state.keys + query)).squeeze(-1)
        weights = energy.masked_fill(~state.mask, float("-inf")).softmax(-1)
        return (weights[..., None] * state.values).sum(1), weights

    def move(self, state: Listening, x: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the decoder: input (B, E) -> hidden (B, D), attention (B, S)."""
        context, weights = self.attend(state)
        h, state.lstm = self.cell(torch.cat([x, context], -1)[:, None], state.lstm)
        return self.join(self.drop(torch.cat([h[:, 0], context], -1))), weights

    def forward(self, question: Batch, answer: Batch) -> tuple[list[Tensor], Tensor]:
        """Logits (B, T, V) of each stream and the attention (B, T, S)."""
        state = self.listen(question.streams, question.mask)
        previous, pitches = self.before(answer.streams, state)
        x = self.drop(self.inputs(previous, answer.streams, pitches))
        steps = [self.move(state, x[:, t]) for t in range(x.shape[1])]
        hidden = torch.stack([h for h, _ in steps], 1)
        weights = torch.stack([w for _, w in steps], 1)
        return self.score(hidden, answer.streams, pitches), weights

    # -- sample.engine.Step: the question is the prompt ------------------------------------------------

    def start(self, batch: int) -> None:
        """It has nothing to say before it has heard the question."""

    def prefill(self, state: None, streams: Mapping[str, Tensor]) -> Listening:
        """Hear the question (B, S)."""
        first = next(iter(streams.values()))
        return self.listen(streams, torch.ones_like(first, dtype=torch.bool))

    def step(self, state: Said, x: Tensor) -> Tensor:
        """Move the decoder to the next event."""
        assert isinstance(state, Listening)
        return self.move(state, x[:, 0])[0][:, None]


def _reversal(mask: Tensor) -> Tensor:
    """(B, S) index that turns each row's events round and leaves its padding in place."""
    S = mask.shape[1]
    place = torch.arange(S, device=mask.device).expand_as(mask)
    turned = mask.sum(1, keepdim=True) - 1 - place
    return torch.where(turned >= 0, turned, place)
