"""The network of a prior: a transformer over codes, or over lyrics and codes, with factorised attention.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B batch, T positions, W width, V vocabulary, S lyric characters.

    layer        h = x + a + m          a = Attention(LN(x))   m = MLP(LN(x + a))     no norm behind the last layer
    MLP          W → gelu → W           gelu(u) = u · sigmoid(1.702 u)
    input  t     E[z_{t-1}] + P[t] + c_t      E[z_{-1}] is the start vector, c the conditioning (timing or upper codes)
    logits t     (h_t + c_t) Eᵀ               merged decoder: h_t Oᵀ

Parameters have the names of the original's state dict, matrices are (in, out). What looks odd here (c twice, no last
norm, the lyric encoder that sees only earlier characters) is so in the released weights and stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from otonoha.models.jukebox.conditioning import Condition, LabelConditioner, UpperConditioner
from otonoha.models.jukebox.config import Config, Layers
from otonoha.nn.factorised import CROSS, FactorisedAttention, Fold, Norm, Projection
from otonoha.nn.factorised_memory import Memory, memory_of, read

STD, STD_PLACE = 0.02, 0.01
"""Spread of first weights; of those of places and labels."""
Record = Mapping[int, list[Tensor]]
"""Layer -> where its attention weights are to be put."""


class MLP(nn.Module):
    """(…, W) -> (…, W)."""

    def __init__(self, layers: Layers, std: float, last: float) -> None:
        super().__init__()
        self.c_fc = Projection(layers.width, layers.hidden_width, std)
        self.c_proj = Projection(layers.hidden_width, layers.width, last)

    def forward(self, x: Tensor) -> Tensor:
        """A gelu that was quick to compute once, and that the weights have learnt with."""
        u = self.c_fc(x)
        return self.c_proj(u * torch.sigmoid(1.702 * u))


class Layer(nn.Module):
    """(B, T, W) -> (B, T, W)."""

    def __init__(self, layers: Layers, fold: Fold, dropout: float) -> None:
        super().__init__()
        std = STD * layers.init_scale
        self.ln_0 = Norm(layers.width)
        self.attn = FactorisedAttention(fold, layers.width, layers.inner, layers.heads, std)
        self.ln_1 = Norm(layers.width)
        # a layer that looks at lyrics begins as nothing, so that it can be put into a trained prior
        self.mlp = MLP(layers, std, 0.0 if fold.function == CROSS else std)
        self.drop = nn.Dropout(dropout)
        self.share = 1 / layers.layers if layers.residual_scale else 1.0

    def forward(self, x: Tensor, states: Tensor | None, record: list[Tensor] | None = None) -> Tensor:
        """Whole sequences; states (B, S, W) for cross attention."""
        return self.added(x, self.attn(self.ln_0(x), states, record))

    def read(self, x: Tensor, memory: Memory, at: int, record: list[Tensor] | None = None) -> Tensor:
        """The positions at, at + 1 … (B, n, W)."""
        return self.added(x, read(self.attn, self.ln_0(x), memory, at, record))

    def added(self, x: Tensor, a: Tensor) -> Tensor:
        """x + a + m."""
        a = self.drop(a)
        m = self.drop(self.mlp(self.ln_1(x + a)))
        return x + self.share * (a + m)


class Transformer(nn.Module):
    """All layers."""

    def __init__(
        self, layers: Layers, length: int, prefix: int = 0, dropout: float = 0.0, recompute: bool = False
    ):
        super().__init__()
        self.recompute = recompute
        rows = layers.blocks if set(layers.functions) - {0, CROSS} else 1
        self._attn_mods = nn.ModuleList(
            Layer(
                layers,
                Fold(function=function, length=length, rows=rows, spread=layers.spread, prefix=prefix),
                dropout,
            )
            for function in layers.functions
        )

    @property
    def layers(self) -> list[Layer]:
        """The first below."""
        return list(self._attn_mods)  # type: ignore[arg-type]

    def forward(self, x: Tensor, states: Tensor | None = None, record: Record | None = None) -> Tensor:
        """Whole sequences (B, T, W)."""
        for number, layer in enumerate(self.layers):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, states, use_reentrant=False)
            else:
                x = layer(x, states, (record or {}).get(number))
        return x

    def memories(self, batch: int, states: Tensor | None = None) -> list[Memory]:
        """One empty memory a layer."""
        return [memory_of(layer.attn, batch, states) for layer in self.layers]

    def read(self, x: Tensor, memories: list[Memory], at: int, record: Record | None = None) -> Tensor:
        """The positions at, at + 1 … (B, n, W), all before them having been read."""
        for number, (layer, memory) in enumerate(zip(self.layers, memories, strict=True)):
            x = layer.read(x, memory, at, (record or {}).get(number))
        return x


class Places(nn.Module):
    """Learned vectors of absolute positions."""

    def __init__(self, length: int, width: int, std: float) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.empty(length, width).normal_(std=std))


class Autoregressive(nn.Module):
    """tokens (B, T) -> hidden states, or logits, at every position given those before it."""

    def __init__(
        self,
        layers: Layers,
        vocab: int,
        length: int,
        *,
        prefix: int = 0,
        start: bool = True,
        own_output: bool = False,
        dropout: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.merged = own_output
        W, s = layers.width, layers.init_scale
        self.x_emb = table(vocab, W, STD * s)
        self.pos_emb = Places(length, W, STD_PLACE * s)
        if start:
            self.start_token = nn.Parameter(torch.empty(1, W).normal_(std=STD_PLACE * s))
        self.drop = nn.Dropout(dropout)
        self.transformer = Transformer(layers, length, prefix, dropout, recompute)
        if own_output:
            self.x_out = nn.Linear(W, vocab, bias=False)
            nn.init.normal_(self.x_out.weight, std=STD * s)

    @property
    def length(self) -> int:
        """Positions there is room for."""
        return len(self.pos_emb.pos_emb)

    def beginning(self, start: Tensor | None, batch: int) -> Tensor:
        """(B, 1, W): what stands in the place of the token before the first."""
        return self.start_token.expand(batch, 1, -1) if start is None else start[:, None]

    def inputs(self, before: Tensor, at: int, condition: Tensor | None) -> Tensor:
        """Embeddings (B, n, W) of the tokens before the positions at, at + 1 … -> what goes into the layers."""
        x = self.drop(before) + self.drop(self.pos_emb.pos_emb[at : at + before.shape[1]])
        return x if condition is None else x + condition

    def hidden(
        self,
        tokens: Tensor,
        start: Tensor | None = None,
        condition: Tensor | None = None,
        states: Tensor | None = None,
        record: Record | None = None,
    ) -> Tensor:
        """(B, T, W) behind the last layer. `start` (B, W), `condition` (B, T, W), `states` (B, S, W)."""
        before = torch.cat([self.beginning(start, len(tokens)), self.x_emb(tokens[:, :-1])], 1)
        return self.transformer(self.inputs(before, 0, condition), states, record)

    def scores(self, hidden: Tensor, condition: Tensor | None) -> Tensor:
        """(…, W) -> logits (…, V)."""
        if self.merged:
            return self.x_out(hidden)
        if condition is not None:  # the second time
            hidden = hidden + condition
        return F.linear(hidden, self.x_emb.weight)


def table(rows: int, width: int, std: float) -> nn.Embedding:
    """An embedding with first weights of this spread."""
    found = nn.Embedding(rows, width)
    nn.init.normal_(found.weight, std=std)
    return found


class Network(nn.Module):
    """A prior with its conditioners and its lyric encoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        W, s = config.width, config.init_scale
        if config.labels is not None:
            self.y_emb = LabelConditioner(config.labels, W, config.rate, STD_PLACE * s)
        if config.conditioner is not None:
            self.conditioner_blocks = nn.ModuleList(
                [UpperConditioner(config.conditioner, config.codes, W, config.ratio, STD * s)]
            )
        if config.lyrics is not None and config.lyrics.encoder is not None:
            encoder, characters = config.lyrics.encoder, config.lyrics.characters
            self.prime_prior = Autoregressive(encoder, config.lyrics.vocabulary, characters)
            self.prime_state_proj = Projection(encoder.width, W, STD * s)
            self.prime_state_ln = Norm(W)
            self.prime_x_out = nn.Linear(W, config.lyrics.vocabulary, bias=False)
            nn.init.normal_(self.prime_x_out.weight, std=STD * s)
        self.prior = Autoregressive(
            config,
            config.shift + config.codes,
            config.length,
            prefix=config.prefix,
            start=config.labels is None,
            own_output=config.merged_decoder,
            dropout=config.dropout,
            recompute=config.recompute,
        )

    def condition(self, labels: Tensor | None, lyrics: Tensor | None, upper: Tensor | None) -> Condition:
        """Everything that a window is told, computed once. Labels (B, 4 + genres), lyrics (B, S), upper (B, U)."""
        c, start, added, states, characters = self.config, None, None, None, None
        if c.labels is not None and labels is not None:
            start = self.y_emb.start(labels)
            if c.labels.time_bins:
                added = self.y_emb.timing(labels, c.context)
        if c.conditioner is not None and upper is not None:
            added = self.conditioner_blocks[0](upper)
        if c.lyrics is not None and lyrics is not None:
            if c.lyrics.single:
                characters = lyrics
            else:
                states = self.states(lyrics)
        if added is not None and c.prefix:  # nothing is added to the lyrics in front
            added = F.pad(added, (0, 0, c.prefix, 0))
        return Condition(start, added, states, characters)

    def states(self, lyrics: Tensor) -> Tensor:
        """Characters (B, S) -> (B, S, W). State i has seen the characters before i only: the encoder is causal."""
        return self.prime_state_ln(self.prime_state_proj(self.prime_prior.hidden(lyrics)))

    def joined(self, codes: Tensor, condition: Condition) -> Tensor:
        """The sequence that the transformer models: lyrics and codes in the single design, else the codes."""
        if condition.characters is None:
            return codes
        return torch.cat([condition.characters, codes + self.config.shift], 1)

    def forward(self, codes: Tensor, condition: Condition, record: Record | None = None) -> Tensor:
        """codes (B, T) -> logits (B, T, V); in the single design (B, S + T, V) of lyrics and codes."""
        tokens = self.joined(codes, condition)
        added = condition.added[:, : tokens.shape[1]] if condition.added is not None else None
        hidden = self.prior.hidden(tokens, condition.start, added, condition.states, record)
        return self.prior.scores(hidden, added)
