"""The room's network and how it writes: sizes of the Llama, its Step for the engine, guidance towards controls.

Axes: B rows (pieces), T positions, S slots of the cache, V vocabulary.

Convention of time: position t is predicted from the token of t−1 (at t = 0: `begin`) and the context streams of t.
In training that is `network([begin, x_0 … x_T−2], contexts of 0 … T−1)` against x_0 … x_T−1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from otonoha.music.suggest import one_of
from otonoha.nn.decoder import Decoder
from otonoha.nn.llama import LlamaShape
from otonoha.nn.static_cache import StaticCache
from otonoha.sample.engine import Step

SIZES = {
    "tiny": LlamaShape(vocab=1, width=32, layers=2, heads=4, kv_heads=2, feedforward=64, context=128),
    "small": LlamaShape(vocab=1, width=256, layers=8, heads=4, kv_heads=2, feedforward=704, context=1024),
    "base": LlamaShape(vocab=1, width=384, layers=8, heads=6, kv_heads=2, feedforward=1280, context=2048),
    "large": LlamaShape(vocab=1, width=768, layers=12, heads=12, kv_heads=4, feedforward=2304, context=4096),
    "relative": LlamaShape(
        vocab=1, width=256, layers=6, heads=4, kv_heads=4, feedforward=704, context=1024, attention="relative"
    ),
}
"""Name -> everything but the vocabulary: about 0.02, 6, 15, 85 and 7 million parameters."""
KEPT = 0.75
"""Share of the window (behind the header) that stays when a row is full; the rest is room to write on."""


def sized(size: str, vocab: int, **changes: Any) -> LlamaShape:
    """A shape by name, with the codec's vocabulary and whatever else is different."""
    return replace(SIZES[one_of(size, SIZES, "size of the network")], vocab=vocab, **changes)


Fed = dict[str, Tensor]
"""What the network was given: the symbol stream (its tokens one position late) and the context streams."""


@dataclass
class Writing:
    """What the step remembers."""

    cache: StaticCache
    pending: Tensor | None
    """(B,) the token before the position that is written next."""
    base: Fed
    """(B, W) taken in in one pass; of row b count the first `base_lengths[b]`."""
    base_lengths: Tensor
    since: list[Fed] = field(default_factory=list)
    """(B,) taken in after that, step by step."""
    logits: Tensor | None = None
    forgotten: int = 0
    """Positions that left the window so far, in the row that lost most."""


class LlamaStep:
    """`sample.engine.Step` of a decoder, for a vocabulary with one symbol stream.

    A piece may be longer than the cache. When a row is full, its first `header` positions (where controls stand)
    and the newest three quarters of the others are taken in again in one pass, and writing goes on: what it writes
    is what the network says of exactly those tokens. A prompt that does not fit is cut in the same way.
    """

    def __init__(self, decoder: Decoder, stream: str, *, begin: int | None = None, header: int = 0) -> None:
        """`stream` names the symbol stream; `begin` is fed before its first symbol.

        Without `begin`, streams bring their own beginning: there must be a prompt, whose first symbol the network
        never had to predict.
        """
        self.decoder, self.stream, self.begin, self.header = decoder, stream, begin, header
        self.names = [name for name, _ in decoder.network.shape.contexts]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.decoder.network.model.norm.weight.device

    def start(self, batch: int) -> Writing:
        """The state before anything is written."""
        cache = self.decoder.start(batch)
        if not 0 <= self.header <= cache.slots // 2:
            raise ValueError(
                f"a header of {self.header} positions leaves no room in a window of {cache.slots}"
            )
        pending = None if self.begin is None else torch.full((batch,), self.begin, device=self.device)
        nothing = torch.zeros(batch, 0, dtype=torch.long, device=self.device)
        return Writing(
            cache, pending, dict.fromkeys([self.stream, *self.names], nothing), cache.length.clone()
        )

    def prefill(
        self, state: Writing, streams: Mapping[str, Tensor], lengths: Tensor | None = None
    ) -> Writing:
        """Take in a whole prompt, streams (B, T), in one pass; of each row count `lengths` (B,) positions, or all."""
        symbols = streams[self.stream]
        B, T = symbols.shape
        if T == 0:
            return state
        if lengths is None:
            lengths = torch.full((B,), T, device=self.device)
        state.pending = symbols.gather(1, (lengths - 1)[:, None])[:, 0]
        fed = {n: streams[n] for n in self.names}
        if self.begin is None:
            fed = {n: context[:, 1:] for n, context in fed.items()}
            fed[self.stream], lengths = symbols[:, :-1], lengths - 1
        else:
            fed[self.stream] = torch.cat([symbols.new_full((B, 1), self.begin), symbols[:, :-1]], 1)
        if fed[self.stream].shape[1]:
            self._take_in(state, fed, lengths)
        return state

    def place(self, state: Writing, context: Mapping[str, Tensor]) -> Writing:
        """Go to the next position, whose context streams are (B,) each."""
        if state.pending is None:
            raise ValueError(
                "this network needs a prompt: it was not told what stands before the first symbol"
            )
        if state.cache.full:
            self._take_in(state, *_together(state))
        state.since.append({self.stream: state.pending, **{n: context[n] for n in self.names}})
        state.logits = self.decoder.step(state.cache, state.pending, context)
        return state

    def logits(self, state: Writing, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of the symbol of this position; there is one stream, so k is 0."""
        assert state.logits is not None
        return state.logits

    def advance(self, state: Writing, drawn: Sequence[Tensor]) -> Writing:
        """Take note of a complete position."""
        state.pending = drawn[0]
        return state

    def _take_in(self, state: Writing, fed: Fed, lengths: Tensor) -> None:
        """Replace what the state knows by streams (B, T), or by as much of them as leaves room to go on."""
        slots, T = state.cache.slots, fed[self.stream].shape[1]
        most = slots if int(lengths.max()) < slots else self.header + int((slots - self.header) * KEPT)
        kept = lengths.clamp(max=most)
        lost = (lengths - kept)[:, None]
        column = torch.arange(int(kept.max()), device=self.device)
        source = torch.where(column < self.header, column, column + lost).clamp(max=T - 1)
        state.base = {name: stream.gather(1, source) for name, stream in fed.items()}
        state.base_lengths, state.since = kept, []
        state.forgotten += int(lost.max())
        contexts = {name: state.base[name] for name in self.names}
        self.decoder.prefill(state.cache, state.base[self.stream], contexts, kept)


def _together(state: Writing) -> tuple[Fed, Tensor]:
    """All that a state was fed, (B, T), and how much of it counts in each row."""
    steps = len(state.since)
    place = state.base_lengths[:, None] + torch.arange(steps, device=state.base_lengths.device)
    fed = {}
    for name, base in state.base.items():
        later = torch.stack([step[name] for step in state.since], 1)
        room = torch.cat([base, torch.zeros_like(later)], 1)
        fed[name] = room.scatter(1, place, later)
    return fed, state.base_lengths + steps


class Guided:
    """A Step that leans towards its controls: classifier-free guidance (Ho & Salimans 2022).

    Each piece is two rows of one batch: as asked (c), and with its controls blank (u), as the network saw some pieces
    in training. Symbols are drawn from u + scale · (c − u) and both rows take note of them: 1 changes nothing, more
    obeys more, 0 ignores the controls.
    """

    def __init__(
        self, step: Step, scale: float, blank: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    ) -> None:
        """`blank` maps streams to their uncontrolled form, same shapes: those of a prompt (B, T), or contexts (B,)."""
        if not -100 <= scale <= 100:
            raise ValueError(f"guidance must be a moderate number (1 changes nothing), got {scale}")
        self.step, self.scale, self.blank = step, scale, blank

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.step.device

    def start(self, batch: int) -> Any:
        """The state before anything is written."""
        return self.step.start(2 * batch)

    def prefill(self, state: Any, streams: Mapping[str, Tensor]) -> Any:
        """Take in a whole prompt, streams (B, T), in one pass."""
        return self.step.prefill(state, self._both(streams))

    def place(self, state: Any, context: Mapping[str, Tensor]) -> Any:
        """Go to the next position, whose context streams are (B,) each."""
        return self.step.place(state, self._both(context))

    def logits(self, state: Any, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) for the k-th stream of this position, given the streams drawn already."""
        asked, free = self.step.logits(state, k, [torch.cat([d, d]) for d in drawn]).chunk(2)
        return free + self.scale * (asked - free)

    def advance(self, state: Any, drawn: Sequence[Tensor]) -> Any:
        """Take note of a complete position."""
        return self.step.advance(state, [torch.cat([d, d]) for d in drawn])

    def _both(self, streams: Mapping[str, Tensor]) -> dict[str, Tensor]:
        free = self.blank(streams)
        return {name: torch.cat([asked, free[name]]) for name, asked in streams.items()}
