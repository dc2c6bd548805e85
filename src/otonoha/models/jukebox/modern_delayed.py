"""A prior of the design `modern` that writes the codes of all levels, several a step: mode `delayed`.

Copet et al. 2023 (MusicGen, arXiv 2306.05284). A step holds a code of every stream, moved by the delay pattern
(delays.py); those of one step do not know each other, those of later steps know them. The body is the causal one with
one vocabulary for all streams, side by side:

    input t     Σ_k E[k·V + z_{t-1,k}] + c_t        E[K·V] (pad) where no code stands
    logits t    (K, V): row k those of z_{t,k}

Axes: B batch, T steps of a window, K streams, V codes, W width, S lyric characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from otonoha.models.jukebox.delays import Delays
from otonoha.models.jukebox.labels import NONE
from otonoha.models.jukebox.model import bits
from otonoha.models.jukebox.modern_config import delays_of
from otonoha.models.jukebox.modern_model import ModernJukebox, forgetful
from otonoha.models.jukebox.modern_network import Conditions, ModernNetwork
from otonoha.models.jukebox.modern_step import Asked, ModernStep, Writing
from otonoha.nn.llama import ADDED


class DelayedJukebox(ModernJukebox):
    """See the head of the file. Its codes are (B, T, K): steps, `delays.pad` where no code stands."""

    @cached_property
    def delays(self) -> Delays:
        """Which level and which place each stream has, and its delay."""
        return delays_of(self.config)

    def logits(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        score: Tensor | None = None,
    ) -> Tensor:
        """Steps (B, T, K) -> logits (B, T, K, V), given all steps before."""
        return self._both(self._asked(codes), self.told(labels, lyrics, upper, score))[1]

    def losses(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        lyrics: Tensor | None = None,
        upper: Tensor | None = None,
        score: Tensor | None = None,
        sung: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As every prior's; `bits` (B, T, K), 0 where no code stands. ValueError for `sung`: no head is guided here."""
        if sung is not None:
            raise ValueError("a prior of the mode delayed cannot be shown which word is sung (guide)")
        codes, told = self._asked(codes), self.told(labels, lyrics, upper, score)
        if self.network.training:
            told = forgetful(told, self.options.forget)
        characters, logits = self._both(codes, told)
        there = codes != self.delays.pad
        found = {"bits": bits(logits.flatten(1, 2), (codes * there).flatten(1)).view(codes.shape) * there}
        if characters is not None and told.lyrics is not None:
            found["lyric_bits"] = bits(characters, told.lyrics.expand(len(codes), -1))
        return self._summed(found, found["bits"].sum() / there.sum().clamp(min=1), codes[0].numel())

    def _both(self, codes: Tensor, told: Conditions) -> tuple[Tensor | None, Tensor]:
        """Logits of characters (B, S, all symbols), if there are any, and of codes (B, T, K, V)."""
        net, c = self.network, self.config
        ids = symbols(net, codes)
        found = net(ids[..., 0] - c.shift, net.condition(told).of(len(codes)), others(net, ids))
        return (found[:, : c.prefix] if c.prefix else None), by_stream(net, found[:, c.prefix :])

    def _window(self, asked: Asked) -> Any:
        """A Step of K streams."""
        return DelayedStep(self.network, self._decoder(), asked)

    def _asked(self, codes: Tensor) -> Tensor:
        pattern, codes = self.delays, codes.to(self.device)
        if codes.ndim != 3 or codes.shape[2] != pattern.streams or codes.dtype.is_floating_point:
            raise ValueError(
                f"steps must be whole numbers (B, T, {pattern.streams}), got {codes.dtype} of shape "
                f"{tuple(codes.shape)}"
            )
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) > pattern.pad):
            raise ValueError(
                f"codes must be within 0 … {pattern.pad - 1}, or {pattern.pad} where none stands"
            )
        if not 1 <= codes.shape[1] <= self.n_ctx:
            raise ValueError(f"a window has 1 … {self.n_ctx} steps, got {codes.shape[1]}")
        return codes.long()


def symbols(net: ModernNetwork, codes: Tensor) -> Tensor:
    """Steps (B, T, K) -> ids (B, T, K) of the one vocabulary."""
    V, K = net.config.codes, codes.shape[-1]
    ids = codes + V * torch.arange(K, device=codes.device)
    return torch.where(codes == V, K * V, ids) + net.config.shift


def others(net: ModernNetwork, ids: Tensor) -> Tensor:
    """Ids (B, n, K) -> (B, n, W): the sum of the vectors of all streams but the first; ids below 0 count nothing."""
    rest = ids[..., 1:]
    found = net.llama.model.embed_tokens.weight[rest.clamp(min=0)]
    return (found * (rest >= 0).unsqueeze(-1)).sum(-2)


def by_stream(net: ModernNetwork, logits: Tensor) -> Tensor:
    """(…, symbols) -> (…, K, V)."""
    c = net.config
    return logits[..., c.shift : c.shift + (net.symbols - 1)].unflatten(-1, (-1, c.codes))


@dataclass
class Stepping(Writing):
    """`waiting` (rows, n, K): ids, below 0 behind BEGIN and characters, which are one symbol each."""


class DelayedStep(ModernStep):
    """See sample.engine.Step; a prompt is the stream `code` (B, T, K), then there are K streams a position."""

    @torch.no_grad()
    def start(self, batch: int) -> Stepping:
        """An empty window of `batch` pieces; lyrics are known."""
        begun = super().start(batch)
        streams = delays_of(self.network.config).streams
        alone = begun.waiting.new_full((*begun.waiting.shape, streams - 1), NONE)
        waiting = torch.cat([begun.waiting.unsqueeze(-1), alone], -1)
        return Stepping(begun.condition, begun.cache, waiting)

    @torch.no_grad()
    def prefill(self, state: Writing, streams: Mapping[str, Tensor]) -> Writing:
        """Make steps (B, T, K) known."""
        more = symbols(self.network, self.asked.doubled(streams["code"].to(self.device)))
        if state.at + state.waiting.shape[1] + more.shape[1] > self._room(state) + 1:
            raise ValueError(f"{more.shape[1]} more steps do not fit into the window")
        state.waiting, state.scores = torch.cat([state.waiting, more], 1), None
        return state

    @torch.no_grad()
    def logits(self, state: Writing, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of stream k of the next step; those drawn beside it change nothing."""
        if state.scores is None:
            if state.at + state.waiting.shape[1] > self._room(state):
                raise ValueError("the window is full")
            state.scores = self.asked.leant(by_stream(self.network, self._read(state)))
        return state.scores[:, k]

    def advance(self, state: Writing, drawn: Sequence[Tensor]) -> Writing:
        """One more step, K times (B,), is known."""
        return self.prefill(state, {"code": torch.stack(list(drawn), 1)[:, None]})

    def _read(self, state: Writing) -> Tensor:
        added, ids = state.condition.added, state.waiting
        assert added is not None
        n = ids.shape[1]
        tokens, more = ids[..., 0], added[:, state.at : state.at + n] + others(self.network, ids)
        first = 0
        if state.at == 0 and n > 1:
            first = n - 1
            self.decoder.prefill(state.cache, tokens[:, :first], {ADDED: more[:, :first]})
        for i in range(first, n):
            scores = self.decoder.step(state.cache, tokens[:, i], {ADDED: more[:, i]})
        state.at, state.waiting = state.at + n, ids[:, :0]
        return scores
