"""A Piece: what a corpus yields and what a model learns from.

A piece knows who it is, to which split it belongs and what is known of it (its labels); its music is
loaded only when asked for. Any loader of a `Score` and any `Recording` will do, so that models need neither
`io` nor `data`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from symusic import Score

from otonoha.music.audio import Audio
from otonoha.music.recording import Recording

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of music of a corpus.

    `labels` maps a condition's name (`style`, `composer`, `artist`, `genre`, `title`, …) to its value; the same
    names are used in Controls and Config. `recording` is the sound: its rate, channels and frames are known
    without a look at the sound itself, and it is read by slices.
    """

    id: str
    split: str
    load_score: Callable[[], Score] | None = None
    recording: Recording | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def score(self) -> Score:
        """The notes. Raises ValueError for a piece that has only sound."""
        if self.load_score is None:
            raise ValueError(
                f"piece {self.id!r} has no score; it has {'audio' if self.recording else 'nothing'}"
            )
        return self.load_score()

    def sound(self) -> Recording:
        """The recording. Raises ValueError for a piece that has only notes."""
        if self.recording is None:
            raise ValueError(f"piece {self.id!r} has no audio; oto.render(piece.score()) makes some")
        return self.recording

    def audio(
        self,
        start: float = 0.0,
        stop: float | None = None,
        *,
        rate: int | None = None,
        channels: int | None = None,
    ) -> Audio:
        """The sound from `start` to `stop` in seconds, and no more of the file than that is read.

        `rate` and `channels` (1 or 2) are those of the recording when unset. In frames:
        `piece.sound().at(rate, channels).slice(a, b)`. Raises ValueError for a piece that has only notes.
        """
        return self.sound().at(rate, channels).audio(start, stop)
