"""A Piece: what a corpus yields and what a model learns from.

A piece knows who it is, to which split it belongs and what is known of it (its labels); its music is
loaded only when asked for. Any loader of a `Score` will do, so that models need neither `io` nor `data`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from symusic import Score

from otonoha.music.audio import Audio

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of music of a corpus.

    `labels` maps a condition's name (`style`, `composer`, `title`, …) to its value; the same names are
    used in Controls and Config.
    """

    id: str
    split: str
    load_score: Callable[[], Score] | None = None
    load_audio: Callable[[float, float | None], Audio] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def score(self) -> Score:
        """The notes. Raises ValueError for a piece that has only sound."""
        if self.load_score is None:
            raise ValueError(
                f"piece {self.id!r} has no score; it has {'audio' if self.load_audio else 'nothing'}"
            )
        return self.load_score()

    def audio(self, start: float = 0.0, stop: float | None = None) -> Audio:
        """The sound from `start` to `stop` in seconds. Raises ValueError for a piece that has only notes."""
        if self.load_audio is None:
            raise ValueError(f"piece {self.id!r} has no audio; oto.render(piece.score()) makes some")
        return self.load_audio(start, stop)
