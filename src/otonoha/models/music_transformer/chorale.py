"""The design `chorale`: four voices on the grid, frame by frame, with a motif memory of the pieces it has learnt.

How pieces become batches, what a batch costs and how whole pieces are measured; writing is in chorale_write.py, the
network in chorale_network.py, the memory in memory.py. Nats are exact: all four voices of every frame, chronological,
soprano-alto-tenor-bass. Axes: B crops, T frames, 4 voices, P classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otonoha.models.music_transformer.chorale_batches import Crops, FrameBatch, Said, Song, whole, with_said
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork
from otonoha.models.music_transformer.chorale_taught import Teacher, taught_nats
from otonoha.models.music_transformer.frames import VOICES
from otonoha.models.music_transformer.memory import Corpus, remembered
from otonoha.music.piece import Piece
from otonoha.tokens.base import Tokens
from otonoha.tokens.grid import Grid
from otonoha.train.objective import Context, Objective
from otonoha.train.settings import Settings

if TYPE_CHECKING:
    from otonoha.models.base import Model

TRANSPOSE = range(-6, 6)
"""The twelve keys around the written one."""
SATB = torch.arange(VOICES)[:, None] > torch.arange(VOICES)
"""(4, 4) bool: voice v knows voice w, from top to bottom."""
Recall = Callable[[Corpus, Sequence[np.ndarray], bool], list[tuple[Said, ...]]]
"""Corpus, pieces, are they the corpus itself (then each leaves itself out) -> what the memory says along each."""


def recall(corpus: Corpus, pieces: Sequence[np.ndarray], own: bool) -> list[tuple[Said, ...]]:
    """One telling per piece, by walking along it."""
    return [(remembered(corpus, piece, i if own else None),) for i, piece in enumerate(pieces)]


class Chorale:
    """What the design does for its model."""

    name: ClassVar[str] = "chorale"
    recall: Recall = staticmethod(recall)
    teacher: Teacher | None = None
    """Who teaches, besides the pieces; set it before `fit`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.codec: Grid = model.codec  # type: ignore[assignment]
        if not isinstance(self.codec, Grid) or self.codec.voices != VOICES or self.codec.holds:
            raise ValueError("design chorale writes four voices with the codec grid without holds")
        self._corpus: list[np.ndarray] = []
        self._told: dict[bytes, Song] = {}

    @property
    def config(self) -> ChoraleConfig:
        """The design's part of the model's config."""
        return self.model.config.chorale

    @property
    def network(self) -> ChoraleNetwork:
        """The one network of the design."""
        return self.model.networks[self.name]  # type: ignore[return-value]

    # -- blanks of the model ---------------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """A fresh network that holds the pieces it shall remember."""
        network = ChoraleNetwork(self.config, self.codec.low, self.codec.high)
        if self._corpus:  # a network that is loaded brings its own
            network.remember(self._corpus)
        return {self.name: network}

    def prepare(self, piece: Piece, tokens: Tokens) -> list[Song]:
        """The pitches of a piece and their tables."""
        return [Song.of(self.pitches(tokens))]

    def pitches(self, tokens: Tokens) -> np.ndarray:
        """(T, 4) MIDI pitches, -1 for rests."""
        symbols = np.stack([tokens.streams[name] for name in self.codec.names], axis=1)
        return np.where(
            symbols >= self.codec.first_pitch, symbols - self.codec.first_pitch + self.codec.low, -1
        )

    def observe(self, songs: Sequence[Song]) -> None:
        """Learn the pieces by heart: they are the memory's corpus."""
        if not self.config.channels:
            return
        self._corpus, self._told = [s.pitch for s in songs], {}
        frames = sum(map(len, songs))
        chorale = replace(self.config, remembered=(len(songs), frames))
        self.model.config = replace(self.model.config, chorale=chorale)
        if self.model._networks is not None:
            self.network.remember(self._corpus)

    def batches(self, songs: Sequence[Song], settings: Settings) -> Crops:
        """Crops in random keys; while learning, a piece does not remember itself."""
        shifts = [self._shifts(s) if settings.transpose else [0] for s in songs]
        if self.config.channels:
            said = self.recall(Corpus(self._corpus), [s.pitch for s in songs], True)
            songs = [with_said(s, *each) for s, each in zip(songs, said, strict=True)]
        if self.teacher is not None:
            taught = self.teacher.chances([s.pitch for s in songs])
            songs = [replace(s, taught=chances) for s, chances in zip(songs, taught, strict=True)]
        return Crops(
            songs,
            shifts,
            batch=settings.batch,
            length=settings.length,
            seed=settings.seed,
            from_start=self.config.from_start,
        )

    def _shifts(self, song: Song) -> list[int]:
        """The transpositions that keep a piece within the network's range."""
        sounding = song.pitch[song.pitch >= 0]
        if not len(sounding):
            return [0]
        margin = self.config.margin
        down, up = self.codec.low - margin - sounding.min(), self.codec.high + margin - sounding.max()
        return [s for s in TRANSPOSE if down <= s <= up] or [0]

    def objectives(self) -> list[Objective]:
        """Negative log-likelihood of every note."""
        return [Objective("nats", self.model.networks.parameters(), self.loss, unit="a note")]

    def loss(self, batch: FrameBatch, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean nats per note; voices in random order now and then, channels silenced now and then.

        A teacher is heard in the batches that have the usual order.
        """
        B, dice = len(batch), context.generator
        decided = SATB.expand(B, 1, VOICES, VOICES)
        shuffled = bool(torch.rand((), generator=dice) < self.config.any_order)
        if shuffled:
            rank = torch.rand(B, VOICES, generator=dice).argsort(dim=1)
            decided = (rank[:, :, None] > rank[:, None])[:, None]
        speak = torch.rand(B, 9, generator=dice) >= self.config.channel_dropout
        device = context.device
        logits = self.network(batch.inputs, decided.to(device), speak.to(device))
        each = nats(logits, self.network.class_of(batch.inputs.pitch), batch.mask)
        if self.teacher is not None and batch.taught is not None and not shuffled:
            each = torch.lerp(each, taught_nats(logits, batch, self.config.margin), self.teacher.share)
        return each.sum() / batch.targets, {}

    # -- measuring -------------------------------------------------------------------------------------

    def evaluate(self, songs: Sequence[Song], order: Sequence[int] = range(VOICES)) -> dict[str, float]:
        """Nats per note over whole pieces, and of each voice, given the voices before it in `order`."""
        total, notes = torch.zeros(VOICES), 0
        for batch, logits in self.scored(songs, order):
            target = torch.where(batch.inputs.pitch < 0, 0, batch.inputs.pitch - self.codec.low + 1)
            total += nats(logits / self.config.temperature, target, batch.mask).sum((0, 1)).cpu()
            notes += int(batch.mask.sum())
        each = {name: float(v) / notes for name, v in zip(self.codec.names, total, strict=True)}
        return {"loss": float(total.sum()) / (VOICES * notes), **each, "units": float(VOICES * notes)}

    def scored(self, songs: Sequence[Song], order: Sequence[int] = range(VOICES)) -> Any:
        """Batches of whole songs, short ones first, each with the logits of the codec's symbols."""
        device = next(self.network.parameters()).device
        rank = torch.tensor(order).argsort().to(device)
        for batch in whole(self.told(songs) if list(order) == [0, 1, 2, 3] else self._told_in(songs, order)):
            moved = batch.to(device)
            with torch.no_grad():
                logits = self.network(moved.inputs, (rank[:, None] > rank)[None, None])
            yield moved, self.network.symbols(logits)

    def _told_in(self, songs: Sequence[Song], order: Sequence[int]) -> list[Song]:
        """The songs with what the memory says when the voices are decided in another order."""
        if not self.config.channels:
            return list(songs)
        corpus = Corpus(self.network.memory())
        return [with_said(s, remembered(corpus, s.pitch, order=order)) for s in songs]

    def told(self, songs: Sequence[Song]) -> list[Song]:
        """The songs with what the memory says; asked once."""
        if not self.config.channels:
            return list(songs)
        new = [s for s in songs if s.pitch.tobytes() not in self._told]
        if new:
            corpus = Corpus(self.network.memory())
            for song, said in zip(new, self.recall(corpus, [s.pitch for s in new], False), strict=True):
                self._told[song.pitch.tobytes()] = with_said(song, *said)
        return [self._told[s.pitch.tobytes()] for s in songs]


def nats(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """(B, T, 4) nats of every note, 0 where no frame exists."""
    each = F.cross_entropy(logits.flatten(0, 2).float(), target.flatten(), reduction="none")
    return each.view(target.shape) * mask[..., None]
