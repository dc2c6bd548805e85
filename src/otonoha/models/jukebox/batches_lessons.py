"""Lessons: all that a prior needs beside its weights to learn from music, in a few verbs for `fit`.

    lessons = learnt(config, pieces)           tables of names and characters, from the music
    config  = lessons.fitted(config, pieces)   their sizes, and the range of times, for the network
    …         lessons.extended(other pieces).fitted(config)       to go on with other music: more names, same times
    songs   = lessons.songs(codec, pieces)     recordings -> codes -> songs
    windows(config, songs, settings)           update -> batch
    held_out(config, songs)                    for evaluation
    loss_of(model)                             for an Objective

Torch only passes through here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor

from otonoha import tokens as codecs
from otonoha.models.jukebox import label_tables, vocabulary
from otonoha.models.jukebox.batches import CodeBatch, HeldOut, Telling, Windows
from otonoha.models.jukebox.batches_loss import codes_per_second, masked_loss
from otonoha.models.jukebox.batches_lyrics import LyricCodec, words_of
from otonoha.models.jukebox.batches_songs import Song, Songs, durations_of, seconds_of, songs
from otonoha.models.jukebox.batches_views import DelayView, LevelView
from otonoha.models.jukebox.codes_corpus import SoundCodec, Told, coded
from otonoha.models.jukebox.config import Config
from otonoha.models.jukebox.labels import Names
from otonoha.models.jukebox.modern_config import delays_of
from otonoha.models.jukebox.windows import Shape
from otonoha.music.piece import Piece
from otonoha.tokens.lyrics import FIRST_CHARACTER, Lyrics
from otonoha.train.objective import Context
from otonoha.train.settings import Settings

MOST_CHARACTERS = 4096
"""Ids of lyrics that are learnt from music, the 256 bytes among them."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """Tables of names, and the characters of lyrics; None where a prior is told none of it."""

    names: Names | None = None
    lyrics: LyricCodec | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, to be saved with the model."""
        lyrics = self.lyrics
        return {
            "names": None if self.names is None else label_tables.to_json(self.names),
            "lyrics": None if lyrics is None else {"name": lyrics.name, **lyrics.to_dict()},
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> Lessons:
        """What was saved. ValueError for anything else."""
        names, lyrics = described.get("names"), described.get("lyrics")
        return cls(
            None if names is None else label_tables.from_json(names),
            None if lyrics is None else cast(LyricCodec, codecs.from_dict(lyrics)),
        )

    def extended(self, pieces: Sequence[Piece], *, least: int = 1) -> Lessons:
        """With the names of other music behind the known ones; the network needs more rows (vocabulary_rows)."""
        if self.names is None:
            return self
        told = [piece.labels for piece in pieces]
        return replace(self, names=vocabulary.extended(self.names, told, least=least))

    def fitted(self, config: Config, pieces: Sequence[Piece] = ()) -> Config:
        """The config with as many rows as these tables have, and times that span the songs.

        Without `pieces` times stay as they are: a prior that has learnt already knows them so.
        """
        labels, lyrics = config.labels, config.lyrics
        if labels is not None and self.names is not None:
            labels = replace(
                labels,
                version=self.names.rule,
                artists=self.names.artists.size,
                genres=self.names.genres.size,
                most_genres=self.names.width,
            )
            lengths = [seconds_of(piece) for piece in pieces if piece.recording is not None]
            if lengths:
                shortest, longest = durations_of(lengths, bins=max(1, labels.time_bins))
                labels = replace(labels, shortest=shortest, longest=longest)
        if lyrics is not None and self.lyrics is not None:
            lyrics = replace(lyrics, vocabulary=self.lyrics.vocab.symbols[0].size)
        return replace(config, labels=labels, lyrics=lyrics)

    def songs(
        self,
        codec: SoundCodec,
        pieces: Sequence[Piece],
        *,
        config: Config | None = None,
        told: Told | None = None,
    ) -> Songs:
        """The songs of pieces: coded where that has not been done, labelled. What is left out is told and counted.

        `config` is that of the prior that reads them; one with labels but without names here has to be given.
        """
        corpus = coded(codec, pieces, told=told)
        genres = 1 if config is None or config.labels is None else config.labels.most_genres
        found = songs(corpus, self.names, lyrics=self.lyrics, genres=genres)
        skipped = (*corpus.skipped, *found.skipped)
        if told is not None:
            for note in found.notes:
                told(note, True)
            if skipped:
                left = vocabulary.many(len(skipped), "recording")
                told(f"{left} left out; the first: {skipped[0][0]}: {skipped[0][1]}", True)
        return replace(found, skipped=skipped)


def learnt(config: Config, pieces: Sequence[Piece], *, least: int = 1) -> Lessons:
    """Tables from the music that a prior is to learn from. `least`: pieces that a name must occur in to be known."""
    names, lyrics = None, None
    if config.labels is not None:
        told = [piece.labels for piece in pieces]
        names = vocabulary.names_from(told, least=least, width=config.labels.most_genres)
    if config.lyrics is not None:
        texts = [words.text for piece in pieces if (words := words_of(piece)) is not None]
        size = max(FIRST_CHARACTER, min(MOST_CHARACTERS, FIRST_CHARACTER + sum(map(len, texts))))
        lyrics = Lyrics.learn(texts, size=size, least=1) if any(texts) else Lyrics()
    return Lessons(names, lyrics)


def view_of(config: Config) -> LevelView | DelayView:
    """What a prior writes; upper codes only where it looks at them."""
    modern = config.modern is not None
    if config.modern is not None and config.modern.mode == "delayed":
        return DelayView(delays_of(config), Shape(config.context, config.hops[-1]))
    ratio = config.ratio if modern or config.conditioner is not None else 0
    return LevelView(config.level, Shape(config.context, config.hops[config.level], ratio), every=modern)


def telling_of(config: Config) -> Telling:
    """What a prior is told."""
    own, score = config.lyrics, config.modern is not None and config.modern.score
    labels = config.labels is not None
    if own is None:
        return Telling(labels=labels, score=score)
    return Telling(labels, own.characters, score, sung=own.guide > 0, astray=own.astray)


def windows(config: Config, found: Sequence[Song], settings: Settings, *, forget: float = 0.0) -> Windows:
    """update -> batch."""
    return Windows(
        found,
        view_of(config),
        telling_of(config),
        batch=settings.batch,
        seed=settings.seed,
        forget=forget,
    )


def held_out(
    config: Config, found: Sequence[Song], *, hop: int | None = None, most: int | None = None
) -> HeldOut:
    """Windows in which every code counts once."""
    return HeldOut(found, view_of(config), telling_of(config), hop=hop, most=most)


def loss_of(model: Any) -> Callable[[CodeBatch, Context], tuple[Tensor, dict[str, Tensor]]]:
    """The loss of an Objective: what `model.losses` says of the codes that count."""

    def loss(batch: CodeBatch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        config: Config = model.config
        own = config.lyrics
        share, guide = (0.0, 0.0) if own is None else (own.loss_share, own.guide)
        found = model.losses(batch.codes, **batch.told, **({"sung": batch.sung} if guide else {}))
        per_second = codes_per_second(view_of(config), config.rate)
        return masked_loss(found, batch, share=share, guide=guide, per_second=per_second)

    return loss
