"""What a prior is told of a song: who, which style, how long, where in it, which lyrics. Torch-free.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). A label row is [total, offset, length, artist, genre …]: lengths in
samples, ids from tables of names, genres padded with −1 to a width. Id 0 stands for what is unknown. Version 2 of the
original's tables (5b, upsamplers) and version 3 (1b) are read from the user's own copy (`label_tables`).
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from otonoha.models.jukebox.blend import Blend, Mix, blend

Rule = Literal["v2", "v3", "own"]
NONE = -1
"""Pads the genres of a label row; as an index into the lyrics: no character."""


@dataclass(frozen=True)
class Table:
    """Names and their ids, 0 … size - 1. Several names may share an id; 0 is the unknown one."""

    what: str
    ids: Mapping[str, int]
    size: int

    def __post_init__(self) -> None:
        for name, number in self.ids.items():
            if not 0 <= number < self.size:
                raise ValueError(
                    f"{self.what} {name!r} has the id {number}; this table allows 0 … {self.size - 1}"
                )

    def find(self, name: str, *, said: str | None = None, strict: bool = True) -> int:
        """The id of a name; of one that is not known: ValueError with the nearest, or 0 when not `strict`."""
        found = self.ids.get(name)
        if found is not None:
            return found
        if not strict:
            return 0
        near = difflib.get_close_matches(name, [n for n in self.ids if n], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {self.what} {said or name!r}{hint} ({len(self.ids)} names are known)")

    def longer(self, names: Sequence[str]) -> Table:
        """With new names at the end: what a model has learnt of the others stays in its place."""
        new = [name for name in dict.fromkeys(names) if name not in self.ids]
        more = {name: self.size + i for i, name in enumerate(new)}
        return Table(self.what, {**self.ids, **more}, self.size + len(new))


def normalised(name: str, rule: Rule) -> str:
    """A name as it stands in a table. v2: only a-z, 0-9 and single _ between; v3: lower case, nothing else."""
    if rule == "v2":
        return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    if rule == "v3":
        return name.lower()
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def genre_names(genre: str, rule: Rule) -> list[str]:
    """What a genre is made of. v2: its words; v3: itself; own: what stands between commas and semicolons."""
    whole = normalised(genre, rule)
    if rule == "v3":
        return [whole]
    return whole.split("_") if rule == "v2" else [part.strip() for part in re.split("[,;]", whole)]


@dataclass(frozen=True)
class Names:
    """The tables of a model. `width`: the most genres of one song."""

    artists: Table
    genres: Table
    rule: Rule = "own"
    width: int = 5

    def artist(self, name: str, *, strict: bool = True) -> int:
        """The id of an artist; "" is nobody in particular."""
        if not name:
            return 0
        return self.artists.find(normalised(name, self.rule), said=name, strict=strict)

    def genre(self, name: str, *, strict: bool = True) -> tuple[int, ...]:
        """The ids of a genre's words, not padded; "" is none in particular. ValueError for more words than a label
        row has room for.
        """
        if not name:
            return (0,)
        words = genre_names(name, self.rule)
        if len(words) > self.width:
            raise ValueError(
                f"genre {name!r} has {len(words)} parts ({', '.join(words)}); at most {self.width} fit"
            )
        said = name if len(words) == 1 else None
        return tuple(self.genres.find(word, said=said, strict=strict) for word in words)

    def label(
        self,
        artist: str | Mapping[str, float] | Sequence[Any] | Blend[str],
        genre: str | Mapping[str, float] | Sequence[Any] | Blend[str],
        *,
        total: int,
        offset: int = 0,
        lyrics: Sequence[int] = (),
        strict: bool = True,
    ) -> Label:
        """The label of a song `total` samples long, of a piece that begins `offset` samples into it.

        Artist and genre are names, or blends of names (see `blend`). `lyrics`: ids of all its characters.
        """
        rest: dict[str, Any] = {"total": total, "offset": offset, "lyrics": tuple(lyrics)}
        if not (isinstance(artist, str) and isinstance(genre, str)):
            singers, styles = blend(artist), blend(genre)
            artists = singers.mapped(lambda name: [self.artist(name, strict=strict)])
            rest["mix"] = Mix(artists, styles.mapped(lambda name: self.genre(name, strict=strict)))
            artist, genre = _heaviest(singers.at(0.0)), _heaviest(styles.at(0.0))
        genres = self.genre(genre, strict=strict)
        padded = genres + (NONE,) * (self.width - len(genres))
        return Label(artist=self.artist(artist, strict=strict), genres=padded, **rest)


def _heaviest(weights: Mapping[str, float]) -> str:
    return max(weights, key=lambda name: weights[name])


@dataclass(frozen=True)
class Label:
    """A song as one prior sees it; see the head of the file. `lyrics`: ids of all its characters."""

    total: int
    offset: int = 0
    artist: int = 0
    genres: tuple[int, ...] = (0,)
    lyrics: tuple[int, ...] = ()
    mix: Mix | None = None
    """A blend of styles in place of artist and genres (which then name its heaviest part)."""
    notes: np.ndarray | None = field(default=None, compare=False)
    """(N, 3) the notes that sound: begin and end in seconds of the song, pitch (design modern)."""
    times: np.ndarray | None = field(default=None, compare=False)
    """(S,) when each character of the lyrics is sung, in seconds of the song, where that is known."""

    def row(self, at: int, length: int) -> np.ndarray:
        """The label row of a window of `length` samples, `at` samples into the piece: int64."""
        return np.array([self.total, self.offset + at, length, self.artist, *self.genres], np.int64)

    def blended(self) -> Mix:
        """Artist and genres as a blend, whether they are one or not."""
        if self.mix is not None:
            return self.mix
        words = tuple((genre, 1.0) for genre in self.genres if genre != NONE)
        return Mix(Blend(((0.0, ((self.artist, 1.0),)),)), Blend(((0.0, words),)))

    def characters(self, at: int, length: int, n: int, rate: int = 44100) -> np.ndarray:
        """(n,) ids of the lyrics that such a window sees; `rate`: samples per second."""
        if self.times is None:
            seen = lyric_window(len(self.lyrics), n, self.total, self.offset + at, length, single=True)
        else:
            start = (self.offset + at) / rate
            seen = sung_window(self.times, n, start, start + length / rate)
        ids = np.array([*self.lyrics, 0], np.int64)
        return ids[seen]  # the index −1, no character, finds the 0 at the end


def lyric_window(
    characters: int, n: int, total: int, offset: int, length: float, *, single: bool = False
) -> np.ndarray:
    """(n,) indices into the lyrics that a window of a song sees; −1 where there is no character.

    The text is taken to be sung evenly: `n` characters around the middle of the window. `single` computes the middle
    in single precision, as the original does for the windows of a piece that is sampled; otherwise in double, as it
    does for a training label. The two differ now and then by one character.
    """
    if characters <= n:
        return np.concatenate([np.full(n - characters, NONE), np.arange(characters)])
    if not 0 <= offset < total:
        raise ValueError(f"a window cannot begin at sample {offset} of a song of {total} samples")
    number: Callable[[float], Any] = np.float32 if single else float
    middle = int(number(characters) * (number(offset) + number(length / 2)) / number(total))
    first = min(max(middle - n // 2, 0), characters - n)
    return np.arange(first, first + n)


def sung_window(times: np.ndarray, n: int, start: float, stop: float) -> np.ndarray:
    """(n,) indices into lyrics whose characters have times: `n` around the middle of those that are sung from `start`
    to `stop` (seconds); −1, in front, where there is no character.
    """
    if len(times) <= n:
        return np.concatenate([np.full(n - len(times), NONE), np.arange(len(times))])
    begin, end = np.searchsorted(times, [start, stop])
    first = min(max(int(begin + end) // 2 - n // 2, 0), len(times) - n)
    return np.arange(first, first + n)


@dataclass(frozen=True)
class Durations:
    """How long the songs were that a prior with timing has learnt from, in seconds: shortest <= total < longest."""

    shortest: float
    longest: float

    def check(self, total: int, offset: int, length: int, rate: int) -> None:
        """Refuse a song that the timing tables do not reach. All in samples; the piece ends at offset + length."""
        seconds = total / rate
        if not self.shortest <= seconds < self.longest:
            raise ValueError(
                f"this prior knows songs of {self.shortest:g} up to {self.longest:g} s, not of {seconds:.2f} s "
                "(the total length is a label: it may be longer than what is sampled)"
            )
        if offset < 0 or offset + length > self.longest * rate:
            raise ValueError(
                f"this prior knows times of 0 … {self.longest:g} s; the piece would go from "
                f"{offset / rate:.2f} to {(offset + length) / rate:.2f} s"
            )
