"""One window of a prior of the design `modern`: code after code with a cached decoder, or asked about all at once.

Guidance (Ho & Salimans 2022): every piece is two rows, as told (c) and told nothing (u); codes are drawn from
u + scale · (c − u). 1 changes nothing. Axes: B batch, T codes, V codes of the codebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from otonoha.models.jukebox.conditioning import Condition
from otonoha.models.jukebox.modern_network import ModernNetwork
from otonoha.nn.decoder import Decoder
from otonoha.nn.llama import ADDED
from otonoha.nn.static_cache import StaticCache


@dataclass(frozen=True)
class Asked:
    """The conditions of windows, and those without what can be left out, for guidance."""

    condition: Condition
    blank: Condition | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not -100 <= self.guidance <= 100:
            raise ValueError(f"guidance must be a moderate number (1 changes nothing), got {self.guidance}")

    @property
    def guided(self) -> bool:
        """Whether rows are double."""
        return self.blank is not None and self.guidance != 1

    def of(self, batch: int) -> Condition:
        """The conditions of `batch` pieces; when guided, of twice as many rows."""
        asked = self.condition.of(batch)
        if not self.guided or self.blank is None:
            return asked
        free = self.blank.of(batch)
        pairs = [(asked.added, free.added), (asked.characters, free.characters)]
        added, characters = (None if a is None or b is None else torch.cat([a, b]) for a, b in pairs)
        return Condition(added=added, characters=characters)

    def doubled(self, codes: Tensor) -> Tensor:
        """Rows of pieces -> rows of the network."""
        return torch.cat([codes, codes]) if self.guided else codes

    def leant(self, logits: Tensor) -> Tensor:
        """Logits of the network's rows -> of the pieces."""
        if not self.guided:
            return logits
        asked, free = logits.chunk(2)
        return free + self.guidance * (asked - free)


@dataclass
class Writing:
    """Where a window stands: `at` positions are read, the tokens `waiting` (rows, n) are not yet."""

    condition: Condition
    cache: StaticCache
    waiting: Tensor
    at: int = 0
    scores: Tensor | None = None


class ModernStep:
    """See sample.engine.Step; its stream is `code`."""

    def __init__(self, network: ModernNetwork, decoder: Decoder, asked: Asked) -> None:
        self.network, self.decoder, self.asked = network, decoder, asked

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    @torch.no_grad()
    def start(self, batch: int) -> Writing:
        """An empty window of `batch` pieces; lyrics are known."""
        condition = self.asked.of(batch)
        rows = 2 * batch if self.asked.guided else batch
        nothing = torch.zeros(rows, 0, dtype=torch.long, device=self.device)
        return Writing(condition, self.decoder.start(rows), self.network.begun(nothing, condition))

    def prefill(self, state: Writing, streams: Mapping[str, Tensor]) -> Writing:
        """Make codes (B, T) known."""
        more = self.asked.doubled(streams["code"].to(self.device)) + self.network.config.shift
        if state.at + state.waiting.shape[1] + more.shape[1] > self._room(state) + 1:
            raise ValueError(f"{more.shape[1]} more codes do not fit into the window")
        state.waiting, state.scores = torch.cat([state.waiting, more], 1), None
        return state

    def place(self, state: Writing, context: Mapping[str, Tensor]) -> Writing:
        """There are no context streams."""
        return state

    @torch.no_grad()
    def logits(self, state: Writing, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) of the next code."""
        if state.scores is None:
            if state.at + state.waiting.shape[1] > self._room(state):
                raise ValueError("the window is full")
            c = self.network.config
            state.scores = self.asked.leant(self._read(state)[:, c.shift : c.shift + c.codes])
        return state.scores

    def advance(self, state: Writing, drawn: Sequence[Tensor]) -> Writing:
        """One more code (B,) is known."""
        return self.prefill(state, {"code": drawn[0][:, None]})

    def _room(self, state: Writing) -> int:
        assert state.condition.added is not None
        return state.condition.added.shape[1]

    def _read(self, state: Writing) -> Tensor:
        """Read all that waits: a prompt in one pass, what comes later one by one. Logits behind the last."""
        added, tokens = state.condition.added, state.waiting
        assert added is not None
        n = tokens.shape[1] - 1
        if state.at == 0 and n:
            self.decoder.prefill(state.cache, tokens[:, :n], {ADDED: added[:, :n]})
            state.at, tokens = n, tokens[:, n:]
        for token in tokens.unbind(1):
            scores = self.decoder.step(state.cache, token, {ADDED: added[:, state.at]})
            state.at += 1
        state.waiting = state.waiting[:, :0]
        return scores


class MaskedWindow:
    """A window that is asked about all its codes at once."""

    def __init__(self, network: ModernNetwork, asked: Asked) -> None:
        self.network, self.asked = network, asked

    @torch.no_grad()
    def logits(self, codes: Tensor) -> Tensor:
        """Codes (B, T), negative where they are not known -> (B, T, V), given those that are."""
        codes = codes.to(self.network.device)
        condition = self.asked.of(len(codes))
        return self.asked.leant(self.network.masked(self.asked.doubled(codes), condition))
