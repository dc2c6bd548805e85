"""Songs: coded recordings with what a prior is told of them. Torch-free.

A recording may be an excerpt of its song: the labels `offset` and `total` (seconds, or h:m:s) say where it lies and how
long the song is; without them it is the whole song. Lyrics are those of the whole song. Axes: T codes of a level, S
characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from otonoha.models.jukebox.batches_lyrics import (
    SILENT,
    LyricCodec,
    sung,
    words_of,
)
from otonoha.models.jukebox.codes_corpus import Coded, CodedCorpus
from otonoha.models.jukebox.codes_store import Layout
from otonoha.models.jukebox.labels import (
    NONE,
    Label,
    Names,
    genre_names,
    lyric_window,
    normalised,
    sung_window,
)
from otonoha.models.jukebox.modern_config import SCORE
from otonoha.models.jukebox.modern_score import roll
from otonoha.models.jukebox.vocabulary import many, style_of, unknown
from otonoha.music.piece import Piece

Style = tuple[int, tuple[int, ...]]
"""Ids of an artist, and of genres."""


@dataclass(frozen=True, eq=False)
class Song:
    """`levels`: (T,) codes of every level, the finest first, of all positions that are full of sound."""

    id: str
    levels: tuple[np.ndarray, ...]
    label: Label
    rate: int
    times: np.ndarray | None = None
    """(S,) when the characters of the lyrics are sung, in seconds of the song."""
    words: np.ndarray | None = None
    """(S, 2) when the word of each of them begins and ends; NaN between words."""

    def characters(self, at: int, length: int, n: int, astray: int = 0) -> np.ndarray:
        """(n,) ids of the lyrics that a window sees, `at` samples into the recording, `length` samples long; `astray`:
        characters by which it sees later ones.
        """
        return self._ids[self._seen(at, length, n, astray)]

    def sung(self, at: int, length: int, n: int, astray: int = 0) -> np.ndarray:
        """(n, 2) seconds from `at` to where the word of each character begins and ends; NaN where that is not known."""
        if self.words is None:
            return np.full((n, 2), np.nan, np.float32)
        since = self.words - (self.label.offset + at) / self.rate
        return np.pad(since, ((0, 1), (0, 0)), constant_values=np.nan)[
            self._seen(at, length, n, astray)
        ].astype(np.float32)

    def _seen(self, at: int, length: int, n: int, astray: int) -> np.ndarray:
        """(n,) which of the characters these are; −1 for none."""
        label = self.label
        if self.times is None:
            seen = lyric_window(len(label.lyrics), n, label.total, label.offset + at, length)
        else:
            start = (label.offset + at) / self.rate
            seen = sung_window(self.times, n, start, start + length / self.rate)
        if seen[0] == NONE or not astray:
            return seen
        return seen + np.clip(astray, -seen[0], len(label.lyrics) - 1 - seen[-1])

    def roll(self, at: int, hop: int, many: int) -> np.ndarray:
        """(many, 257) the notes of so many codes, `at` samples into the recording; zeros where none are known."""
        notes = self.label.notes
        if notes is None:
            return np.zeros((many, SCORE), np.uint8)
        return roll(notes, (self.label.offset + at) / self.rate, hop / self.rate, many)

    @cached_property
    def _ids(self) -> np.ndarray:
        """The lyrics, and behind them the 0 that the index −1, no character, finds."""
        return np.array([*self.label.lyrics, 0], np.int64)


@dataclass(frozen=True, eq=False)
class Songs:
    """What can be learnt from. `skipped`: (id, reason); `notes`: lines for the person who trains."""

    songs: tuple[Song, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Notes:
    """What is said once however often it occurs."""

    crowded: list[str] = field(default_factory=list)

    def lines(self) -> tuple[str, ...]:
        if not self.crowded:
            return ()
        pieces, some = many(len(self.crowded), "piece"), " …" if len(self.crowded) > 1 else ""
        return (f"more genres than fit in {pieces}, the rest is left out: {self.crowded[0]}{some}",)


def songs(
    corpus: CodedCorpus, names: Names | None = None, *, lyrics: LyricCodec | None = None, genres: int = 1
) -> Songs:
    """The songs of a corpus; without `names` nobody is told who they are of, without `lyrics` nothing of these.

    `genres`: how many a row of labels has room for; `names` know that themselves.
    """
    unnamed = (0, (0, *[NONE] * (genres - 1)))
    found, skipped, notes = [], [], _Notes()
    for piece in corpus.pieces:
        try:
            style = unnamed if names is None else _style(piece, names, notes)
            found.append(_song(piece, corpus.layout, style, lyrics))
        except ValueError as error:
            skipped.append((piece.id, " ".join(str(error).split())))
    strange = "" if names is None else unknown(names, [piece.labels for piece in corpus.pieces])
    return Songs(tuple(found), tuple(skipped), (*([strange] if strange else []), *notes.lines()))


def _song(piece: Coded, layout: Layout, style: Style, lyrics: LyricCodec | None) -> Song:
    full = min(piece.samples // layout.top, len(piece.levels[-1]))
    if not full:
        raise ValueError(f"it is shorter than a code of the coarsest level, {layout.top} samples")
    levels = tuple(codes[: full * width] for codes, width in zip(piece.levels, layout.widths))
    total, offset = _timing(piece, layout)
    words = None if lyrics is None else words_of(piece.piece)
    text = SILENT
    if lyrics is not None and words is not None:
        text = sung(words, lyrics, offset=_seconds(piece.labels, "offset"))
    label = Label(total, offset, *style, tuple(text.ids.tolist()))
    return Song(piece.id, levels, label, layout.rate, text.times, text.words)


def _timing(piece: Coded, layout: Layout) -> tuple[int, int]:
    """Samples of the song, and those of it before the recording."""
    offset = round(_seconds(piece.labels, "offset") * layout.rate)
    total = round(_seconds(piece.labels, "total") * layout.rate)
    return max(total, offset + piece.samples), offset


def _seconds(labels: Mapping[str, str], name: str) -> float:
    """A time among the labels; 0 if it is not there."""
    text = labels.get(name, "") or "0"
    try:
        parts = [float(part) for part in text.split(":")]
        found = sum(part * 60**i for i, part in enumerate(reversed(parts)))
        if len(parts) > 3 or not math.isfinite(found) or min(parts) < 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"its label {name} must be seconds or h:m:s, 0 or more; got {text!r}") from None
    return found


def _style(piece: Coded, names: Names, notes: _Notes) -> Style:
    """Ids of artist and genres, 0 for what is not known; as many genres as fit, padded."""
    artist, genre = style_of(piece.labels)
    parts = genre_names(genre, names.rule)
    if len(parts) > names.width:
        notes.crowded.append(f"{piece.id} ({genre})")
    ids = [names.genres.ids.get(part, 0) for part in parts[: names.width]]
    return names.artists.ids.get(normalised(artist, names.rule), 0), (
        *ids,
        *[NONE] * (names.width - len(ids)),
    )


def seconds_of(piece: Piece) -> float:
    """How long the song of a recording is."""
    length = piece.sound().seconds
    return max(_seconds(piece.labels, "total"), _seconds(piece.labels, "offset") + length)


def durations_of(lengths: Sequence[float], *, bins: int = 64) -> tuple[float, float]:
    """What tables of times should span for songs of these lengths: the shortest, a little more than the longest."""
    if not len(lengths):
        raise ValueError("there are no songs to measure")
    shortest, longest = min(lengths), max(lengths)
    return math.floor(shortest), math.ceil(longest + max(1.0, (longest - shortest) / bins))
