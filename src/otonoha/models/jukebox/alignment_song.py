"""What is aligned: a recording and its words, as one prior sees them. Times are never told, even where they are known.

Axes: T codes, S symbols of the text, F frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from otonoha.models.jukebox.alignment_windows import Asked, Progress
from otonoha.models.jukebox.alignment_words import all_words, sounding
from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.batches_lyrics import said as words_said
from otonoha.models.jukebox.batches_lyrics import words_of
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.codes import from_tokens
from otonoha.models.jukebox.system_config import Controls, Said
from otonoha.models.jukebox.system_labels import Telling
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held, Recording
from otonoha.music.sung_text import SungText
from otonoha.sample.tasks import Take
from otonoha.tokens.base import Tokens


@dataclass(frozen=True, eq=False)
class Heard:
    """`text`: the words, with times where these are known (to measure with); `sound`: None where only codes are."""

    asked: Asked
    text: SungText
    sound: Recording | None

    def sounding(self, frames: int, seconds: float) -> np.ndarray:
        """Numbers of the frames in which something sounds."""
        if self.sound is None:
            return np.arange(frames)
        return np.flatnonzero(sounding(self.sound, frames, seconds))


@dataclass(frozen=True, eq=False)
class Reader:
    """The prior that words are read from, its codec, and the names and characters that it knows."""

    prior: Any
    codec: Any
    lessons: Lessons


def reader_of(model: Any, level: int | None = None) -> Reader:
    """A prior that reads lyrics: of a system the coarsest one that does, or that of `level`. ValueError for none."""
    if not hasattr(model, "lessons") or not hasattr(model, "config"):
        raise ValueError(f"a {getattr(model, 'family', type(model).__name__)} model reads no lyrics")
    if not hasattr(model, "prior"):
        if level not in (None, model.level):
            raise ValueError(f"this is the prior of level {model.level}, there is none of level {level}")
        return Reader(_reading(model), model.codec, model.lessons or Lessons())
    levels = model.config.levels if level is None else [level]
    found = [model.prior(n) for n in levels if level is not None or model.prior(n).n_lyrics]
    if not found:
        raise ValueError(
            "none of the priors of this system reads lyrics, so it cannot tell when words are sung"
        )
    own = _reading(found[0])
    return Reader(own, model.codec, model.lessons.get(own.level, Lessons()))


def _reading(prior: Any) -> Any:
    if not prior.n_lyrics:
        raise ValueError(
            f"the prior of level {prior.level} reads no lyrics, so it cannot tell when words are sung"
        )
    return prior


def words_from(lyrics: SungText | str) -> SungText:
    """Lyrics as lines; a text may be LRC."""
    text = words_said(lyrics) if isinstance(lyrics, str) else lyrics
    if not any(True for _ in all_words(text)):
        raise ValueError("there are no words to align")
    return text


def heard(
    reader: Reader,
    music: Any,
    lyrics: SungText | str,
    said: Controls | None = None,
    progress: Progress | None = None,
) -> Heard:
    """A recording (Audio, Recording, Piece), a take, or codes (Tokens), with its words."""
    prior, text = reader.prior, words_from(lyrics)
    tokens, sound = _codes(reader.codec, music, progress)
    config = prior.config
    codes = from_tokens([tokens], config.hops, config.codec)
    together = config.modern is not None and config.modern.mode == "delayed"
    for level in range(0 if together else config.level, len(config.hops)):
        if not codes.written(level).all():
            raise ValueError(f"these codes lack level {level}, which the prior of level {config.level} needs")
    controls = replace(said or Controls(), lyrics=text.text)
    told = Telling({prior.level: prior}, {prior.level: reader.lessons}, Said(controls, {}), codes.samples)
    label = replace(told.label(prior.level), lyrics=(), times=None)
    song = Song("", tuple(z[0] for z in codes.levels), label, config.rate)
    return Heard(_asked(reader.lessons, song, text), text, sound)


def heard_piece(reader: Reader, piece: Piece) -> Heard:
    """A recording of a corpus with the words that belong to it; its codes are kept in the cache."""
    text = words_of(piece)
    if piece.recording is None or text is None:
        raise ValueError(f"{piece.id} is no recording with lyrics")
    found = reader.lessons.songs(reader.codec, [piece], config=reader.prior.config)
    if not found.songs:
        raise ValueError(f"{found.skipped[0][0]}: {found.skipped[0][1]}")
    song = found.songs[0]
    song = replace(song, times=None, label=replace(song.label, lyrics=(), times=None))
    return Heard(_asked(reader.lessons, song, words_from(text)), text, piece.sound())


def _asked(lessons: Lessons, song: Song, text: SungText) -> Asked:
    if lessons.lyrics is None:
        raise ValueError("this prior keeps no table of characters, so words cannot be told to it")
    symbols = lessons.lyrics.encode(text.text)
    if not len(symbols.clock):
        raise ValueError("none of these characters is known to the prior")
    return Asked(song, symbols, len(text.text))


def _codes(codec: Any, music: Any, progress: Progress | None) -> tuple[Tokens, Recording | None]:
    """The codes of music, and how it sounds."""
    if isinstance(music, Tokens):
        return music, None
    if isinstance(music, Take):
        return music.tokens, Held(music.music) if isinstance(music.music, Audio) else None
    sound = music.sound() if isinstance(music, Piece) else music
    sound = Held(sound) if isinstance(sound, Audio) else sound
    if not isinstance(sound, Recording):
        raise ValueError(f"words are aligned with a recording or its codes, got a {type(music).__name__}")
    encode = cast(Callable[..., Tokens], codec.encode)
    return (encode(sound) if progress is None else encode(sound, progress=progress)), sound
