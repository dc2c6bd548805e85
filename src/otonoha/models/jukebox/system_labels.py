"""What the levels of a system are told of a song: from names, words and times to label rows.

Every level may have tables of its own (in the original, the top knows other artists than the upsamplers). The top must
know every name that is asked for; to a finer level that does not, it is the unknown one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.batches_lyrics import SILENT, Sung, character_times, sung
from otonoha.models.jukebox.batches_lyrics import said as words_said
from otonoha.models.jukebox.blend import read_blend
from otonoha.models.jukebox.labels import NONE, Durations, Label, Names, genre_names, normalised
from otonoha.models.jukebox.system_config import Said
from otonoha.models.jukebox.system_notes import notes_read

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
        self.offset = round((said.offset or 0.0) * self.rate)
        self._check()
        self.words = words_said(said.lyrics) if said.lyrics else None
        self.notes = self._notes()
        self.total = self._total()

    def labels(self, n: int) -> dict[int, list[Label]]:
        """Level -> the label of each of `n` pieces; levels that are told nothing are left out."""
        hears = {level: prior.labelled or prior.n_lyrics for level, prior in self.priors.items()}
        told = [level for level in hears if hears[level] or (self.notes is not None and self._scored(level))]
        return {level: [self.label(level)] * n for level in told}

    def label(self, level: int) -> Label:
        """What one level is told."""
        prior, own = self.priors[level], self.lessons.get(level, Lessons())
        words = self._sung(level, own) if prior.n_lyrics else SILENT
        lyrics = tuple(words.ids.tolist())
        if prior.labelled:
            found = self._styled(level, own, lyrics)
        else:
            found = Label(self.total, self.offset, lyrics=lyrics)
        return replace(found, times=words.times, notes=self.notes if self._scored(level) else None)

    def _styled(self, level: int, own: Lessons, lyrics: tuple[int, ...]) -> Label:
        known = self.priors[level].config.labels
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

    def _scored(self, level: int) -> bool:
        return getattr(self.priors[level], "scored", False)

    def _check(self) -> None:
        """Controls that none of these priors hears are refused."""
        said, every = self.said, self.priors.values()
        if not any(prior.n_lyrics for prior in every):
            said.refuse(("lyrics",), "on this system: its priors know no lyrics")
        if not any(map(self._scored, self.priors)):
            said.refuse(("notes",), "on this system: its priors know no notes")
        if not any(prior.labelled for prior in every):
            # words and notes have a place in the song, even where no prior is told of it in other ways
            heard = {"song_seconds": said.lyrics, "offset": said.lyrics or said.notes}
            deaf = [name for name in TIMES if not heard[name]]
            said.refuse((*STYLE, *deaf), "on this system: its priors know no artists, genres and times")
        unnamed = all(self.lessons.get(level, Lessons()).names is None for level in self.priors)
        if unnamed:
            said.refuse(STYLE, "on this system: it keeps no tables of names")

    def _total(self) -> int:
        """Samples of the whole song: as it was said; else of the piece, or up to the last of the words that have times,
        or of the shortest song that a prior knows.
        """
        end, times = self.offset + self.samples, None if self.words is None else character_times(self.words)
        sung = 0.0 if times is None else float(times[-1])
        if self.said.song_seconds is not None:
            total = round(self.said.song_seconds * self.rate)
            if total < end:
                raise ValueError(
                    f"the piece ends at {end / self.rate:.2f} s of a song of {self.said.song_seconds:g} s; "
                    "song_seconds must be at least that"
                )
            if sung * self.rate > total:
                raise ValueError(
                    f"the words go on up to {sung:.2f} s of a song of {self.said.song_seconds:g} s; song_seconds "
                    "must be at least that"
                )
            return total
        timed = [p.config.labels for p in self.priors.values() if p.labelled and p.config.labels.time_bins]
        shortest = max((labels.shortest for labels in timed), default=0.0)
        return max(end, math.ceil(max(shortest, sung) * self.rate))

    def _notes(self) -> np.ndarray | None:
        """(N, 3) the notes of the song."""
        if not self.said.notes:
            return None
        notes, begin = notes_read(self.said.notes), self.offset / self.rate
        if (end := notes[:, 1].max()) <= begin:
            raise ValueError(
                f"notes has no effect: they end at {end:.2f} s, and the piece begins at {begin:.2f} s"
            )
        return notes

    def _sung(self, level: int, own: Lessons) -> Sung:
        if self.words is None:
            return SILENT
        if own.lyrics is None:
            raise ValueError(f"lyrics has no effect: the prior of level {level} keeps no table of characters")
        seconds, text = self.total / self.rate, self.words.text
        if len(text) > QUICKEST * seconds:
            raise ValueError(
                f"lyrics of {len(text):,} characters are longer than the song of {seconds:.1f} s (at most {QUICKEST} "
                "a second can be sung); shorten them, or say how long the whole song is (song_seconds)"
            )
        return sung(self.words, own.lyrics)


def _style(text: str, what: str, names: Names) -> str | Sequence[Any]:
    """A name, or a mix; a text that is a name in the table is that name, whatever it looks like."""
    if what == "artist":
        known = normalised(text, names.rule) in names.artists.ids
    else:
        known = all(part in names.genres.ids for part in genre_names(text, names.rule))
    return text if known else read_blend(text)
