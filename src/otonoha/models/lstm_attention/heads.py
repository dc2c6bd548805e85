"""How the networks of this room speak: a head per stream, each given the streams before it at its position.

Axes: B batch, T time, D width, K symbol streams, V symbols of a stream.

    p(symbols of t) = Π_k p(stream k | y_t, streams before k)        y_t: hidden state (B, T, D)

`Speaker` is what the melody and the answer share: inputs, heads, and the half of sample.engine.Step that
knows what was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.lstm_attention.config import Config
from otonoha.models.lstm_attention.inputs import NONE, Inputs, carry, ordinal
from otonoha.tokens.base import Stream, Vocab


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


class Head(nn.Module):
    """Scores the symbols of one stream: y (B, T, D) -> logits (B, T, V).

    Besides the plain score of each symbol, a pitch gets scores for its interval to the last (or already
    decided) pitch of every pitched stream, and for its degree in the key. They start at zero.
    """

    span = 24

    def __init__(self, stream: Stream, vocab: Vocab, width: int, *, relative: bool, keyed: bool) -> None:
        super().__init__()
        self.stream = stream
        self.plain = nn.Linear(width, stream.size)
        others = [s for s in vocab.symbols if s.ordinal is not None] if relative and stream.ordinal else []
        self.others = others
        self.interval = nn.ModuleDict({s.name: nn.Linear(width, 2 * self.span + 2) for s in others})
        self.degree = nn.Linear(width, 12, bias=False) if others and keyed else None
        for layer in [*self.interval.values(), *([self.degree] if self.degree else [])]:
            for p in layer.parameters():
                nn.init.zeros_(p)

    def forward(self, y: Tensor, references: Mapping[str, Tensor], key: Tensor | None) -> Tensor:
        """`references` name -> (B, T) pitches to measure intervals from; `key` (B, T)."""
        logits = self.plain(y)
        if not self.others or self.stream.ordinal is None:
            return logits
        first, count = self.stream.ordinal
        pitches = torch.arange(count, device=y.device) + self.stream.base
        extra = y.new_zeros(*y.shape[:-1], count)
        for s in self.others:
            reference = references[s.name][..., None]
            gap = (pitches - reference - s.base).clamp(-self.span, self.span) + self.span
            gap = torch.where(reference == NONE, 2 * self.span + 1, gap)
            extra = extra + self.interval[s.name](y).gather(-1, gap)
        if self.degree is not None and key is not None:
            classes = (pitches - (key % 12)[..., None]) % 12
            extra = extra + self.degree(y).gather(-1, classes) * (key < 24)[..., None]
        return torch.cat(
            [logits[..., :first], logits[..., first : first + count] + extra, logits[..., first + count :]],
            -1,
        )


class MixtureHead(nn.Module):
    """Durations as a quantity: a mixture of logistics over log2 of the length, cut at the bins' borders.

    y (B, T, D) -> log-probabilities (B, T, V); Salimans et al. 2017 (PixelCNN++) did this for brightness.
    """

    def __init__(self, stream: Stream, width: int, parts: int = 12) -> None:
        super().__init__()
        assert stream.values is not None
        log = torch.log2(torch.tensor(stream.values, dtype=torch.float32).clamp(min=1 / 96))
        order = log.argsort()
        edges = (log[order][1:] + log[order][:-1]) / 2
        far = torch.tensor([1e4])  # stands for infinity, which would make gradients 0 · inf
        lower, upper = torch.cat([-far, edges]), torch.cat([edges, far])
        back = order.argsort()
        self.register_buffer("lower", lower[back], persistent=False)
        self.register_buffer("upper", upper[back], persistent=False)
        self.parts, self.project = parts, nn.Linear(width, 3 * parts)
        with torch.no_grad():
            self.project.bias[parts : 2 * parts] = torch.linspace(-3, 2, parts)
            self.project.bias[2 * parts :] = -1.5

    def forward(self, y: Tensor, references: Mapping[str, Tensor], key: Tensor | None) -> Tensor:
        """`references` and `key` do not matter to durations."""
        weight, mean, log_scale = self.project(y).float().unsqueeze(-1).chunk(3, dim=-2)  # (B, T, parts, 1)
        scale = torch.exp(-log_scale.clamp(-7, 3))
        above = torch.sigmoid((self.get_buffer("upper") - mean) * scale)
        below = torch.sigmoid((self.get_buffer("lower") - mean) * scale)
        share = (above - below).clamp(min=1e-9).log()
        return torch.logsumexp(share + weight.log_softmax(-2), dim=-2)


Before = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Symbols of the position before, and last pitches (B, T) before it, by stream."""


@dataclass(kw_only=True)
class Said:
    """What a speaker remembers of what it wrote."""

    previous: dict[str, Tensor]
    """(B,) the symbols of the last position."""
    references: dict[str, Tensor]
    """(B,) the last pitch of each pitched stream, NONE before the first."""
    hidden: Tensor | None = None
    """(B, 1, D) of the position being written."""
    context: Mapping[str, Tensor] = field(default_factory=dict)
    """Context streams (B, 1) of the position being written."""


class Speaker(nn.Module):
    """A network that sees symbols and contexts and scores the next symbols, stream after stream.

    Its rooms fill `step`; in `__init__` they call `add_heads` last.
    """

    def __init__(self, config: Config, vocab: Vocab) -> None:
        super().__init__()
        self.vocab = vocab
        numbers = config.duration_input == "numeric"
        self.inputs = Inputs(vocab, config.hints, config.embedding, degrees=config.relative, numbers=numbers)
        self.drop = nn.Dropout(config.dropout)

    def add_heads(self, config: Config) -> None:
        """A head for every symbol stream, and what the later ones are told of the earlier ones."""
        symbols, width = self.vocab.symbols, config.width
        self.drawn = nn.ModuleDict({s.name: nn.Embedding(s.size, width) for s in symbols[:-1]})
        for table in self.drawn.values():
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.3)
        self.mix = nn.ModuleDict({s.name: Mix(width, config.dropout) for s in symbols})
        self.head = nn.ModuleDict({s.name: self._head(config, s) for s in symbols})

    def _head(self, config: Config, stream: Stream) -> nn.Module:
        if config.duration_head == "mixture" and stream.values is not None:
            return MixtureHead(stream, config.width)
        return Head(stream, self.vocab, config.width, relative=config.relative, keyed=self.inputs.keyed)

    # -- whole sequences -------------------------------------------------------------------------------

    def before(self, streams: Mapping[str, Tensor], said: Said) -> Before:
        """What lies before each position of streams (B, T) that follow what was said; that moves behind them."""
        previous, pitches = {}, {}
        for s in self.vocab.symbols:
            previous[s.name] = torch.cat([said.previous[s.name][:, None], streams[s.name][:, :-1]], 1)
            said.previous[s.name] = streams[s.name][:, -1]
        for s in self.inputs.pitched:
            latest = carry(ordinal(s, streams[s.name]), said.references[s.name])
            pitches[s.name] = torch.cat([said.references[s.name][:, None], latest[:, :-1]], 1)
            said.references[s.name] = latest[:, -1]
        return previous, pitches

    def score(
        self, hidden: Tensor, streams: Mapping[str, Tensor], before: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Logits (B, T, V) of every stream; each knows the streams before it at its own position."""
        references, out, y = dict(before), [], hidden
        for s in self.vocab.symbols:
            out.append(self.head[s.name](self.mix[s.name](y), references, streams.get("key")))
            y = self._told(y, references, s, streams[s.name])
        return out

    def _told(self, y: Tensor, references: dict[str, Tensor], stream: Stream, symbols: Tensor) -> Tensor:
        """y and `references` (changed in place) once the symbols of a stream are known."""
        _note(references, stream, symbols)
        return y + self.drawn[stream.name](symbols) if stream.name in self.drawn else y

    # -- one position at a time (sample.engine.Step) ---------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def step(self, state: Said, x: Tensor) -> Tensor:
        """Input (B, 1, E) of the next position -> its hidden state (B, 1, D); `state` moves there."""
        raise NotImplementedError

    def place(self, state: Said, context: Mapping[str, Tensor]) -> Said:
        """Compute the hidden state of the next position."""
        state.context = {n: c[:, None] for n, c in context.items()}
        previous = {n: p[:, None] for n, p in state.previous.items()}
        references = {n: r[:, None] for n, r in state.references.items()}
        state.hidden = self.step(state, self.inputs(previous, state.context, references))
        return state

    def logits(self, state: Said, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of stream k."""
        assert state.hidden is not None
        y, references = state.hidden, {n: r[:, None] for n, r in state.references.items()}
        for s, symbols in zip(self.vocab.symbols, drawn, strict=False):
            y = self._told(y, references, s, symbols[:, None])
        name = self.vocab.symbols[k].name
        return self.head[name](self.mix[name](y), references, state.context.get("key"))[:, 0]

    def advance(self, state: Said, drawn: Sequence[Tensor]) -> Said:
        """The position is complete."""
        for s, symbols in zip(self.vocab.symbols, drawn, strict=True):
            state.previous[s.name] = symbols
            _note(state.references, s, symbols)
        return state


def _note(references: dict[str, Tensor], stream: Stream, symbols: Tensor) -> None:
    """The last pitch of a stream after `symbols`: theirs, or the one before where they are rests."""
    if stream.name in references:
        now = ordinal(stream, symbols)
        references[stream.name] = torch.where(now != NONE, now, references[stream.name])


def nats(logits: Sequence[Tensor], targets: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """Summed negative log-likelihood of each stream over the positions that exist."""
    return [
        F.cross_entropy(scores.float().flatten(0, 1), symbols.flatten(), reduction="none")[
            mask.flatten()
        ].sum()
        for scores, symbols in zip(logits, targets, strict=True)
    ]
