"""Fitting a prior: what base.Model's `fit` asks for, made of the verbs of batches_lessons.py.

A prior learns from recordings, through its codec. Names of artists and genres, and the characters of lyrics, are taken
from the labels of the music and kept with the weights (lessons.json).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from otonoha.models.base import Model
from otonoha.models.jukebox.batches import CodeBatch, Windows
from otonoha.models.jukebox.batches_lessons import Lessons, held_out, learnt, loss_of, windows
from otonoha.models.jukebox.batches_loss import measured
from otonoha.models.jukebox.codes_corpus import teller
from otonoha.models.jukebox.model_codec import Unheard
from otonoha.music.piece import Piece
from otonoha.train.loop import Outcome
from otonoha.train.objective import Loss, Objective
from otonoha.train.settings import Settings

FILE = "lessons.json"
FORGET = 0.1
"""Share of training windows that are not told who plays (or what is sung): so it can also write without."""
MOST = 64
"""Held-out windows that an evaluation during training looks at, at most."""


class Learning(Model):
    """A Model that learns the codes of recordings."""

    lessons: Lessons | None = None
    losses: Callable[..., dict[str, Tensor]]
    _quiet = False

    def fit(self, *pieces: Any, **settings: Any) -> Outcome:
        """As every Model; `quiet` also of the recordings that are coded."""
        self._quiet = bool(settings.get("quiet", False))
        return super().fit(*pieces, **settings)

    def learn(self, pieces: Sequence[Piece], valid: Sequence[Piece]) -> None:
        """Names and characters, and the lengths of the songs."""
        if self.lessons is None:
            self.lessons = learnt(self.config, pieces)
        self.config = self.lessons.fitted(self.config, pieces)

    def prepare(self, pieces: Sequence[Piece]) -> list[Any]:
        """Recordings as coded songs; what is left out is counted in `skipped`."""
        if not pieces:
            return []
        if isinstance(self.codec, Unheard):
            raise ValueError(
                "a prior learns through a codec of sound: give it one (codec=…; otonoha fit --codec)"
            )
        told = self.lessons or Lessons()
        heard = [piece for piece in pieces if piece.recording is not None]
        self.skipped += [(p.id, "it is no recording") for p in pieces if p.recording is None]
        quiet = teller(quiet=self._quiet)
        found = told.songs(cast(Any, self.codec), heard, config=self.config, told=quiet)
        self.skipped += found.skipped
        return list(found.songs)

    def batches(self, sequences: Sequence[Any], settings: Settings) -> Windows:
        """Windows of codes with what belongs to them."""
        return windows(self.config, sequences, settings, forget=FORGET)

    def objectives(self) -> list[Objective]:
        """Bits per code (and per character)."""
        return [Objective("prior", self.networks.parameters(), cast(Loss, loss_of(self)), unit="a code")]

    def evaluate(self, sequences: Sequence[Any]) -> dict[str, Any]:
        """Bits per code, and per second of sound, on held-out songs."""

        def bits(batch: CodeBatch) -> Tensor:
            return self.losses(batch.codes, **batch.told)["bits"].detach()

        held = held_out(self.config, sequences, most=MOST)
        found = measured(bits, held, self.config.train.batch)
        return {**found, "says": f"{found['bits_per_second']:,.0f} bits a second of sound"}

    def keep_lessons(self, folder: Path) -> None:
        """Write them beside the weights, if there are any."""
        if self.lessons is not None:
            beside = folder / f"{FILE}.tmp"
            beside.write_text(json.dumps(self.lessons.to_json(), ensure_ascii=False), "utf-8")
            beside.replace(folder / FILE)

    def recall_lessons(self, folder: Path) -> None:
        """Read them again."""
        path = folder / FILE
        if not path.is_file():
            return
        try:
            self.lessons = Lessons.from_json(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
