"""The grammar of codes of sound: every code may follow every other, and nothing ever ends by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otonoha.tokens.base import Vocab


class Anything:
    """A walk (tokens.base.Grammar) that allows everything; whoever writes decides when to stop."""

    done = False

    def __init__(self, vocab: Vocab, hop: int) -> None:
        self.vocab, self.hop = vocab, hop

    def context(self) -> dict[str, int]:
        """Positions that are written are full of sound."""
        return {s.name: self.hop for s in self.vocab.contexts}

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """All codes."""
        return np.ones(self.vocab.symbols[k].size, bool)

    def advance(self, drawn: Sequence[int]) -> None:
        """Nothing to take note of."""
