"""One window of a prior, code by code: static memories, prompts in one pass. Axes: B batch, T codes, V vocabulary.

`WindowStep` obeys sample.engine.Step. Codes that are made known wait until somebody asks what comes next, and are then
read together, however many they are: a prompt, the codes of an interrupted job, or the one that was just drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from otonoha.models.jukebox.conditioning import Condition
from otonoha.models.jukebox.network import Network
from otonoha.models.jukebox.network_single import Single, TorchPrior
from otonoha.nn.factorised_memory import Memory

CODE = "code"
"""The one stream that a prior writes."""


@dataclass
class Window:
    """Where a window stands: `at` positions are read, the tokens `waiting` (B, n) are not yet.

    `scores` (B, V): logits of the next position, once they have been asked for. `seen`: layer -> recorded attention.
    """

    condition: Condition
    memories: list[Memory]
    waiting: Tensor
    at: int = 0
    scores: Tensor | None = None
    seen: dict[int, list[Tensor]] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """Tokens that are known: the position after them is read with the last of them as its input."""
        return max(0, self.at - 1) + self.waiting.shape[1]


class WindowStep:
    """See sample.engine.Step. `record`: layers whose attention to the lyrics is kept; then all is exact.

    `single` carries out steps of one position each.
    """

    def __init__(
        self,
        network: Network,
        condition: Condition,
        record: Iterable[int] = (),
        single: Single | None = None,
    ) -> None:
        self.network, self.condition, self.record = network, condition, tuple(record)
        self.single = None if self.record else single or TorchPrior(network.prior)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.prior.x_emb.weight.device

    @torch.inference_mode()
    def start(self, batch: int) -> Window:
        """An empty window of `batch` rows; in the single design the lyrics are known."""
        condition = self.condition.of(batch)
        memories = self.network.prior.transformer.memories(batch, condition.states)
        waiting = torch.zeros(batch, 0, dtype=torch.long, device=self.device)
        if condition.characters is not None:
            waiting = condition.characters
        return Window(condition, memories, waiting, seen={layer: [] for layer in self.record})

    @torch.inference_mode()
    def prefill(self, state: Window, streams: Mapping[str, Tensor]) -> Window:
        """Make codes (B, T) known."""
        return self.add(state, streams[CODE] + self.network.config.shift)

    def place(self, state: Window, context: Mapping[str, Tensor]) -> Window:
        """There are no context streams."""
        return state

    @torch.inference_mode()
    def logits(self, state: Window, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, codes) of the next code.

        In the single design the vocabulary also holds characters; their logits are left out. (The original may draw
        one, and turns it into code 0.)
        """
        return self.scores(state)[:, self.network.config.shift :]

    @torch.inference_mode()
    def advance(self, state: Window, drawn: Sequence[Tensor]) -> Window:
        """One more code (B,) is known."""
        return self.add(state, drawn[0][:, None] + self.network.config.shift)

    # -- in the vocabulary of the network ----------------------------------------------------------------

    def add(self, state: Window, tokens: Tensor) -> Window:
        """Make tokens (B, n) known."""
        room = self.network.prior.length - state.known
        if tokens.shape[1] > room:
            raise ValueError(f"{tokens.shape[1]} codes do not fit into a window with room for {room}")
        state.waiting = torch.cat([state.waiting, tokens], 1) if state.waiting.shape[1] else tokens
        if tokens.shape[1]:
            state.scores = None
        return state

    def scores(self, state: Window) -> Tensor:
        """Logits (B, V) of the next position."""
        if state.scores is None:
            if state.known >= self.network.prior.length:
                raise ValueError(f"the window of {self.network.prior.length} positions is full")
            if self.single is not None and state.at and state.waiting.shape[1] == 1:
                state.scores = self._single(self.single, state)
            else:
                hidden = self.read(state, state.known + 1)[:, -1]
                state.scores = self.network.prior.scores(hidden, state.condition.at(state.at - 1))
        return state.scores

    def _single(self, single: Single, state: Window) -> Tensor:
        """Read the one token that waits; logits (B, V)."""
        prior, added = self.network.prior, state.condition.at(state.at)
        x = prior.x_emb(state.waiting[:, 0]) + prior.pos_emb.pos_emb[state.at]
        hidden = single.hidden(x if added is None else x + added, state.memories, state.at)
        state.at, state.waiting = state.at + 1, state.waiting[:, 1:]
        return single.scores(hidden if added is None or prior.merged else hidden + added)

    def read(self, state: Window, stop: int) -> Tensor:
        """Read the positions before `stop`, at most that behind the last known token: (B, n, W) behind the layers."""
        prior, first = self.network.prior, state.at == 0
        used = stop - state.at - first
        before = prior.x_emb(state.waiting[:, :used])
        if first:
            before = torch.cat([prior.beginning(state.condition.start, len(before)), before], 1)
        x = prior.inputs(before, state.at, state.condition.slice(state.at, stop))
        hidden = prior.transformer.read(x, state.memories, state.at, state.seen)
        state.at, state.waiting = stop, state.waiting[:, used:]
        return hidden

    @torch.inference_mode()
    def attention(self, state: Window, layer: int) -> Tensor:
        """(B, H, T, S): how the position of every known code looked at the lyrics, in a layer that is recorded."""
        config = self.network.config
        if layer not in state.seen or config.lyrics is None:
            raise ValueError(f"the attention of layer {layer} is not recorded; that of {self.record} is")
        if state.at < state.known:
            self.read(state, state.known)
        weights = torch.cat([w[..., : config.lyrics.characters] for w in state.seen[layer]], 2)
        return weights[:, :, config.prefix : state.known]
