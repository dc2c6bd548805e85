"""A prior of the design `modern`: what `Jukebox` becomes when its config says so.

It is asked as every prior is, and for more: `upper` may hold the codes of all coarser levels (B, U, L), `score` (B, T,
257) the notes of every code (modern_score.py), styles may be mixed and change within a window, and nothing but upper
codes has to be told. A masked one takes −1 for a code that is not known. Axes: B batch, T codes, V codes of the
codebook, S lyric characters, U codes of the next coarser level, L coarser levels, K ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from otonoha.models.jukebox import guide, modern_masks
from otonoha.models.jukebox.alignment_attention import watched, watching
from otonoha.models.jukebox.batches import Windows
from otonoha.models.jukebox.batches_lessons import windows
from otonoha.models.jukebox.labels import NONE
from otonoha.models.jukebox.model import Ids, Jukebox, bits
from otonoha.models.jukebox.modern_batches import scored
from otonoha.models.jukebox.modern_config import SCORE, Modern
from otonoha.models.jukebox.modern_network import Conditions, ModernNetwork
from otonoha.models.jukebox.modern_step import Asked, MaskedWindow, ModernStep
from otonoha.music.piece import Piece
from otonoha.nn.decoder import Decoder
from otonoha.nn.engines import decoder_for
from otonoha.train.settings import Settings


class ModernJukebox(Jukebox):
    """See the head of the file."""

    _made: tuple[Any, Decoder] | None = None

    @property
    def options(self) -> Modern:
        """Those of the design."""
        assert self.config.modern is not None
        return self.config.modern

    @property
    def masked(self) -> bool:
        """Whether windows are written in parallel."""
        return self.options.mode == "masked"

    @property
    def coarser(self) -> int:
        """How many coarser levels it sees: all."""
        return len(self.config.hops) - 1 - self.level

    @property
    def scored(self) -> bool:
        """Whether it can be told notes."""
        return self.options.score

    @property
    def network(self) -> ModernNetwork:  # type: ignore[override]
        """The only network."""
        return cast(ModernNetwork, self.networks["prior"])

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    @property
    def lyric_layers(self) -> tuple[int, ...]:
        """All: every layer looks at everything. While a window is written, none of them keeps its attention."""
        return () if self.config.lyrics is None else tuple(range(self.config.layers))

    def build(self) -> dict[str, nn.Module]:
        """The network, freshly drawn."""
        return {"prior": ModernNetwork(self.config)}

    # -- learning ----------------------------------------------------------------------------------------

    def prepare(self, pieces: Sequence[Piece]) -> list[Any]:
        """As every prior, with the notes of the pieces where these are known."""
        found = super().prepare(pieces)
        return scored(found, pieces) if self.scored else found

    def batches(self, sequences: Sequence[Any], settings: Settings) -> Windows:
        """Windows with all that is known of them; conditions are forgotten in `losses`."""
        return windows(self.config, sequences, settings)

    # -- whole windows -----------------------------------------------------------------------------------

    def logits(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        score: Tensor | None = None,
    ) -> Tensor:
        """Codes (B, T) -> logits. Causal: as every prior's. Masked: (B, T, V), given the codes that are not −1."""
        codes = self._asked(codes)
        condition = self.network.condition(self.told(labels, lyrics, upper, score)).of(len(codes))
        return self.network.masked(codes, condition) if self.masked else self.network(codes, condition)

    def losses(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        score: Tensor | None = None,
        sung: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As every prior's. Of a masked one `bits` (B, T) are an estimate whose mean is, while it learns, the cross
        entropy of hidden codes under the training's masks, and otherwise the bound (modern_masks.py). Where it is told
        when words are `sung` (B, S, 2), seconds from the beginning of the window: also `guide_bits` (guide.py).
        """
        told, codes = self.told(labels, lyrics, upper, score), self._asked(codes)
        if self.network.training:
            told = forgetful(told, self.options.forget)
        layer, head = guide.place(self.config)
        with watching(self, () if sung is None else (layer,)) as looks:
            if self.masked:
                found = {"bits": self._hidden_bits(codes, told)}
            else:
                found = self._causal_bits(codes, told)
        if sung is not None and told.lyrics is not None:
            known = (told.lyrics > 0).any(1, keepdim=True)  # others have forgotten their lyrics
            sung = sung.to(self.device).masked_fill(~known[..., None], torch.nan)
            code, behind = (
                self.hop / self.config.rate,
                0 if self.masked else 1,
            )  # a causal one hears it one code later
            found["guide_bits"] = guide.guide_bits(looks[layer][:, head], sung, code, behind)
        return self._summed(found, found["bits"].mean(), codes.shape[1])

    def bound(
        self, codes: Tensor, *, draws: int = 4, steps: int | None = None, **told: Tensor | None
    ) -> Tensor:
        """(B, T) bits whose mean bounds those of a masked prior: a mean over `draws` masks a window. With `steps`:
        what writing in so many steps costs.
        """
        if not self.masked:
            raise ValueError("a causal prior needs no bound: its losses are exact")
        codes, known = self._asked(codes), self.told(**told)
        found = [self._hidden_bits(codes, known, draw, draws, steps) for draw in range(draws)]
        return torch.stack(found).mean(0)

    def _causal_bits(self, codes: Tensor, told: Conditions) -> dict[str, Tensor]:
        S, shift = self.config.prefix, self.config.shift
        condition = self.network.condition(told).of(len(codes))
        logits = self.network(codes, condition)
        found = {"bits": bits(logits[:, S:], codes + shift)}
        if condition.characters is not None:
            found["lyric_bits"] = bits(logits[:, :S], condition.characters)
        return found

    def _hidden_bits(
        self, codes: Tensor, told: Conditions, draw: int = 0, draws: int = 1, steps: int | None = None
    ) -> Tensor:
        """(B, T) bits of hidden codes, weighed so that the mean over all is an estimate; 0 of the others."""
        (B, T), learning = codes.shape, self.network.training
        # a measurement is the same every time, also when other conditions are told
        chance = None if learning else torch.Generator().manual_seed(int(codes.sum()) + draw)
        spread = torch.randperm(B, generator=chance) + (torch.rand(B, generator=chance) + draw) / draws
        shares, noise = spread / B, torch.rand(B, T, generator=chance)
        if learning:
            numbers = modern_masks.trained(shares, T, self.options.masks)
        else:
            numbers = modern_masks.counts(shares, T, steps)
        hidden = modern_masks.hidden(numbers, noise).to(codes.device)
        condition = self.network.condition(told).of(B)
        logits = self.network.masked(codes.masked_fill(hidden, NONE), condition)
        weight = numbers.sum() / B if learning else numbers[:, None]
        return bits(logits, codes) * hidden * (T / weight.to(codes.device))

    def lyric_attention(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        *,
        layers: Iterable[int] | None = None,
        score: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """As every prior's; column s is the attention to character s itself, also where the network reads the text
        shifted by one (see alignment_attention.py).
        """
        asked = self.lyric_layers if layers is None else tuple(layers)
        if strange := [layer for layer in asked if layer not in self.lyric_layers]:
            raise ValueError(
                f"layer {strange[0]} does not look at lyrics; those that do: {self.lyric_layers or 'none'}"
            )
        told = {"labels": labels, "lyrics": lyrics, "upper": upper, "score": score}
        return watched(self, codes, told, asked)

    # -- windows that are written ------------------------------------------------------------------------

    def step(
        self,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        *,
        score: Tensor | None = None,
        artists: Ids | None = None,
        genres: Ids | None = None,
        guidance: float = 1.0,
        record: Iterable[int] = (),
    ) -> Any:
        """One window: a sample.engine.Step, or, of a masked prior, a MaskedWindow. `artists` and `genres`: ids (B, K)
        and weights (B, K) or (B, T, K) in place of those in the labels. `guidance` leans towards all that is told.
        """
        if tuple(record):
            raise ValueError(
                "the design modern records no attention while it writes: lyric_attention tells it afterwards"
            )
        told = replace(self.told(labels, lyrics, upper, score), artists=artists, genres=genres)
        with torch.no_grad():
            blank = self.network.condition(told.blank()) if guidance != 1 else None
            asked = Asked(self.network.condition(told), blank, guidance)
        return self._window(asked)

    def _window(self, asked: Asked) -> Any:
        if self.masked:
            return MaskedWindow(self.network, asked)
        return ModernStep(self.network, self._decoder(), asked)

    def blended(
        self,
        labels: Tensor,
        lyrics: Tensor | None,
        upper: Tensor | None,
        artists: Ids,
        genres: Ids,
        **rest: Any,
    ) -> Any:
        """As `step`."""
        return self.step(labels, lyrics, upper, artists=artists, genres=genres, **rest)

    def _decoder(self) -> Decoder:
        """Made anew when weights have changed."""
        state = [(p.data_ptr(), p._version) for p in self.network.parameters()]
        key = (self.engine, state)
        if self._made is None or self._made[0] != key:
            engine: Any = self.engine
            with torch.no_grad():
                self._made = (key, decoder_for(self.network.llama, engine, slots=self.config.length))
        return self._made[1]

    # -- conditions, checked -----------------------------------------------------------------------------

    def told(
        self,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        score: Tensor | None = None,
    ) -> Conditions:
        """What windows are told, checked. ValueError for what this prior does not know, or must know."""
        upper = self._above(upper, needed=bool(self.config.ratio))
        upper = upper[..., None] if upper is not None and upper.ndim == 2 else upper
        if labels is not None:
            if self.config.labels is None:
                raise ValueError("this prior takes no labels")
            labels, lyrics = self._told(labels, lyrics)
        elif lyrics is not None:
            lyrics = self._characters(lyrics, len(lyrics))
        if score is not None:
            if not self.scored:
                raise ValueError("this prior cannot be told notes")
            if score.ndim != 3 or score.shape[2] != SCORE:
                raise ValueError(f"score must be (B, T, {SCORE}), got {tuple(score.shape)}")
        return Conditions(labels, lyrics, upper, score)

    def _asked(self, codes: Tensor) -> Tensor:
        return self._checked(codes, lowest=NONE if self.masked else 0)


def forgetful(told: Conditions, share: float) -> Conditions:
    """Without some of the conditions in a share of the rows, each drawn by itself."""

    def keeps(x: Tensor, *shape: int) -> Tensor:
        return (torch.rand(len(x)) >= share).to(x.device).view(-1, *shape)

    labels, lyrics, score = told.labels, told.lyrics, told.score
    if labels is not None:
        nobody = torch.full_like(labels[:, 5:], NONE)
        unknown = torch.cat([torch.zeros_like(labels[:, 3:5]), nobody], 1)
        style = torch.where(keeps(labels, 1), labels[:, 3:], unknown)
        labels = torch.cat([labels[:, :3] * keeps(labels, 1), style], 1)
    if lyrics is not None:
        lyrics = lyrics * keeps(lyrics, 1)
    if score is not None:
        score = score * keeps(score, 1, 1)
    return replace(told, labels=labels, lyrics=lyrics, score=score)
