"""The network of the design `modern`: a Llama over codes, told everything else position by position.

Body: nn/llama.py. Masked: Chang et al. 2022 (MaskGIT). Axes: B batch, T codes of a window, W width, V vocabulary, S
lyric characters, U codes of the next coarser level, L coarser levels, N numbers of a frame of notes, K ids.

    input t      E[z_{t-1}] + c_t    causal: logits at t are those of code t;  z_{-1} is BEGIN
                 E[z_t or MASK] + c_t   masked: every position sees every other, logits at t are those of code t
    c_t          Σ w_a(t) E_artist[a] + Σ w_g(t) E_genre[g]       weights may change within a window
               + E_total + E_place(t) + E_share(t)                 times, where they are told
               + Σ_l E_l[code of level l over t] + E[t mod ratio]  all coarser levels
               + A notes(t)                                        pitches that begin, and that sound
    vocabulary   [characters of lyrics | codes | BEGIN or MASK];   lyrics stand in front of the codes, with c = 0

Positions are rotary: a window needs no place within its song.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.jukebox.conditioning import Condition, LabelConditioner
from otonoha.models.jukebox.config import Config
from otonoha.models.jukebox.modern_config import SCORE, symbols_of
from otonoha.nn.llama import ADDED, Llama, LlamaShape

STD = 0.02
"""Spread of first weights."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """What windows are told, all of it optional but upper codes: `labels` (B, 4 + genres), `lyrics` (B, S), `upper`
    (B, U) or (B, U, L), `score` (B, T, N); `artists` and `genres` in place of those in the labels: ids (B, K) and
    weights (B, K) or (B, T, K).
    """

    labels: Tensor | None = None
    lyrics: Tensor | None = None
    upper: Tensor | None = None
    score: Tensor | None = None
    artists: tuple[Tensor, Tensor] | None = None
    genres: tuple[Tensor, Tensor] | None = None

    @property
    def rows(self) -> int:
        """B; 1 where nothing is told."""
        return max(
            (len(x) for x in (self.labels, self.lyrics, self.upper, self.score) if x is not None), default=1
        )

    def blank(self) -> Conditions:
        """Only what cannot be left out."""
        return Conditions(upper=self.upper)


class ModernNetwork(nn.Module):
    """See the head of the file."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.modern is not None
        self.config, W = config, config.width
        self.llama = Llama(
            LlamaShape(
                vocab=config.shift + symbols_of(config) + 1,
                width=W,
                layers=config.layers,
                heads=config.heads,
                kv_heads=config.modern.kv_heads,
                feedforward=config.modern.feedforward,
                context=config.length,
                dropout=config.dropout,
            )
        )
        if config.labels is not None:
            self.y_emb = LabelConditioner(config.labels, W, config.rate, STD)
        if config.ratio:
            coarser = len(config.hops) - 1 - config.level
            self.uppers = nn.ModuleList(nn.Embedding(config.codes, W) for _ in range(coarser))
            self.phase = nn.Embedding(config.ratio, W)
            for table in [*self.uppers, self.phase]:
                nn.init.normal_(table.weight, std=STD)
        if config.modern.score:
            self.notes = nn.Linear(SCORE, W, bias=False)
            nn.init.normal_(self.notes.weight, std=STD)

    @property
    def special(self) -> int:
        """The symbol BEGIN, or MASK."""
        return self.config.shift + self.symbols

    @property
    def symbols(self) -> int:
        """How many symbols of codes there are."""
        return symbols_of(self.config)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.llama.model.norm.weight.device

    # -- conditions --------------------------------------------------------------------------------------

    def condition(self, told: Conditions) -> Condition:
        """Everything that windows are told, computed once: `added` (B, S + T, W), `characters` (B, S)."""
        c, B = self.config, told.rows
        T = c.context if told.upper is None else told.upper.shape[1] * c.ratio
        added = torch.zeros(B, T, c.width, device=self.device)
        if told.labels is not None and c.labels is not None:
            added = added + self._labelled(told, told.labels.to(self.device), T)
        if told.upper is not None:
            added = added + self._over(told.upper.to(self.device))
        if told.score is not None:
            notes = told.score[:, :T].to(self.device, added.dtype)
            added = added + F.pad(self.notes(notes), (0, 0, 0, T - notes.shape[1]))
        characters = None
        if c.lyrics is not None:
            S = c.lyrics.characters
            characters = torch.zeros(B, S, dtype=torch.long, device=self.device)
            if told.lyrics is not None:
                characters = told.lyrics.to(self.device).expand(B, S)
            added = F.pad(added, (0, 0, S, 0))
        return Condition(added=added, characters=characters)

    def _labelled(self, told: Conditions, labels: Tensor, T: int) -> Tensor:
        """(B, T, W), or (B, 1, W): who, which style, when."""
        c = self.config
        assert c.labels is not None
        if told.artists is None or told.genres is None:
            found = self.y_emb.start(labels)[:, None]
        else:
            found = self._mixed(self.y_emb.artist_emb.emb, *told.artists)
            found = found + self._mixed(self.y_emb.bow_genre_emb.emb, *told.genres)
        if c.labels.time_bins:
            known = (labels[:, :1] > 0).unsqueeze(-1)
            safe = torch.cat([labels[:, :1].clamp(min=1), labels[:, 1:]], 1)
            found = found + self.y_emb.timing(safe, c.context)[:, :T] * known
        return found

    def _mixed(self, table: nn.Embedding, ids: Tensor, weights: Tensor) -> Tensor:
        """Ids (B, K), weights (B, K) or (B, T, K) -> (B, 1, W) or (B, T, W)."""
        weights = weights if weights.ndim == 3 else weights[:, None]
        return weights.to(self.device, table.weight.dtype) @ table(ids.to(self.device))

    def _over(self, upper: Tensor) -> Tensor:
        """Codes of the coarser levels (B, U, L) -> (B, T, W)."""
        upper = upper if upper.ndim == 3 else upper[..., None]
        if upper.shape[2] != len(self.uppers):
            raise ValueError(
                f"the prior of level {self.config.level} sees {len(self.uppers)} coarser levels, got {upper.shape[2]}"
            )
        found = sum(table(upper[..., i]) for i, table in enumerate(self.uppers))
        assert isinstance(found, Tensor)
        return (found[:, :, None] + self.phase.weight).flatten(1, 2)

    # -- logits ------------------------------------------------------------------------------------------

    def forward(self, codes: Tensor, condition: Condition, more: Tensor | None = None) -> Tensor:
        """Causal: codes (B, T) -> logits (B, S + T, V - 1) of characters and codes, each given those before. `more`
        (B, T, W): what is added to the vectors of the codes.
        """
        tokens = self.begun(codes + self.config.shift, condition)[:, :-1]
        added = self._cut(condition, tokens)
        if more is not None:
            added = added + F.pad(more[:, :-1], (0, 0, tokens.shape[1] - more.shape[1] + 1, 0))
        hidden = self.llama.hidden(tokens, {ADDED: added})
        return F.linear(hidden, self.llama.model.embed_tokens.weight[: self.special])

    def begun(self, tokens: Tensor, condition: Condition) -> Tensor:
        """BEGIN, the lyrics, and these tokens (B, n)."""
        first = torch.full((len(tokens), 1), self.special, device=self.device)
        parts = [first, tokens] if condition.characters is None else [first, condition.characters, tokens]
        return torch.cat(parts, 1)

    def masked(self, codes: Tensor, condition: Condition) -> Tensor:
        """Codes (B, T), negative where they are hidden -> logits (B, T, codes), given all that are not."""
        shift, S = self.config.shift, self.config.prefix
        tokens = torch.where(codes < 0, self.special, codes + shift)
        if condition.characters is not None:
            tokens = torch.cat([condition.characters, tokens], 1)
        n = tokens.shape[1]
        everything = torch.ones(1, 1, n, n, dtype=torch.bool, device=self.device)
        hidden = self.llama.hidden(tokens, {ADDED: self._cut(condition, tokens)}, everything)
        return F.linear(hidden[:, S:], self.llama.model.embed_tokens.weight[shift : self.special])

    def _cut(self, condition: Condition, tokens: Tensor) -> Tensor:
        assert condition.added is not None
        if tokens.shape[1] > condition.added.shape[1]:
            raise ValueError(
                f"{tokens.shape[1]} positions are more than the {condition.added.shape[1]} that conditions reach"
            )
        return condition.added[:, : tokens.shape[1]]
