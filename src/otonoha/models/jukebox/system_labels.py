"""What the levels of a system are told of a song: from names, words and times to label rows.

Every level may have tables of its own (in the original, the top knows other artists than the upsamplers). The top must
know every name that is asked for; to a finer level that does not, it is the unknown one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.blend import read_blend
from otonoha.models.jukebox.labels import NONE, Durations, Label, Names, genre_names, normalised
from otonoha.models.jukebox.system_config import Said
from otonoha.tokens.lyrics import STREAM

QUICKEST = 40
"""Characters a second: nobody sings more."""
STYLE, TIMES = ("artist", "genre"), ("song_seconds", "offset")


class Telling:
    """What the priors of some levels are told of one song. `samples`: how long the piece is."""

    def __init__(
        self, priors: Mapping[int, Any], lessons: Mapping[int, Lessons], said: Said, samples: int
    ) -> None:
        self.priors, self.lessons, self.said, self.samples = priors, lessons, said, samples
        self.top = max(priors)
        self.rate = next(iter(priors.values())).config.rate
        self._check()
        self.offset = round((said.offset or 0.0) * self.rate)
        self.total = self._total()

    def labels(self, n: int) -> dict[int, list[Label]]:
        """Level -> the label of each of `n` pieces; levels that are told nothing are left out."""
        told = [level for level, prior in self.priors.items() if prior.labelled or prior.n_lyrics]
        return {level: [self.label(level)] * n for level in told}

    def label(self, level: int) -> Label:
        """What one level is told."""
        prior, own = self.priors[level], self.lessons.get(level, Lessons())
        lyrics = self._characters(level, own) if prior.n_lyrics else ()
        if not prior.labelled:
            return Label(self.total, self.offset, lyrics=lyrics)
        known = prior.config.labels
        if known.time_bins:
            span = Durations(known.shortest, known.longest)
            span.check(self.total, self.offset, self.samples, self.rate)
        if own.names is None:
            padding = (NONE,) * (known.most_genres - 1)
            return Label(self.total, self.offset, 0, (0, *padding), lyrics)
        artist, genre = (_style(getattr(self.said, what) or "", what, own.names) for what in STYLE)
        return own.names.label(
            artist,
            genre,
            total=self.total,
            offset=self.offset,
            lyrics=lyrics,
            strict=level == self.top,
        )

    # -- lengths and words ---------------------------------------------------------------------------------

    def _check(self) -> None:
        """Controls that none of these priors hears are refused."""
        said, every = self.said, self.priors.values()
        if not any(prior.labelled for prior in every):
            said.refuse((*STYLE, *TIMES), "on this system: its priors know no artists, genres and times")
        if not any(prior.n_lyrics for prior in every):
            said.refuse(("lyrics",), "on this system: its priors know no lyrics")
        unnamed = all(self.lessons.get(level, Lessons()).names is None for level in self.priors)
        if unnamed:
            said.refuse(STYLE, "on this system: it keeps no tables of names")

    def _total(self) -> int:
        """Samples of the whole song: as it was said; else of the piece, or of the shortest song that a prior knows."""
        end = self.offset + self.samples
        if self.said.song_seconds is not None:
            total = round(self.said.song_seconds * self.rate)
            if total < end:
                raise ValueError(
                    f"the piece ends at {end / self.rate:.2f} s of a song of {self.said.song_seconds:g} s; "
                    "song_seconds must be at least that"
                )
            return total
        timed = [p.config.labels for p in self.priors.values() if p.labelled and p.config.labels.time_bins]
        shortest = max((labels.shortest for labels in timed), default=0.0)
        return max(end, math.ceil(shortest * self.rate))

    def _characters(self, level: int, own: Lessons) -> tuple[int, ...]:
        text = self.said.lyrics
        if not text:
            return ()
        if own.lyrics is None:
            raise ValueError(f"lyrics has no effect: the prior of level {level} keeps no table of characters")
        seconds = self.total / self.rate
        if len(text) > QUICKEST * seconds:
            raise ValueError(
                f"lyrics of {len(text):,} characters are longer than the song of {seconds:.1f} s (at most {QUICKEST} "
                "a second can be sung); shorten them, or say how long the whole song is (song_seconds)"
            )
        return tuple(int(i) for i in own.lyrics.encode(text).streams[STREAM])


def _style(text: str, what: str, names: Names) -> str | Sequence[Any]:
    """A name, or a mix; a text that is a name in the table is that name, whatever it looks like."""
    if what == "artist":
        known = normalised(text, names.rule) in names.artists.ids
    else:
        known = all(part in names.genres.ids for part in genre_names(text, names.rule))
    return text if known else read_blend(text)
