"""The lyrics of a song as ids, and which of them a window sees. Torch-free.

The words come from the labels `lrc` (lyrics with times) and `lyrics` of a recording, else from under the notes of its
score. Where it is known when they are sung, a window sees the characters around the middle of those that are sung in
it (labels.sung_window); else the text is taken to be sung evenly (labels.lyric_window). Axis: S characters of a song.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from symusic import Score

from otonoha.music.piece import Piece
from otonoha.music.sung_text import Line, SungText, Word
from otonoha.music.time import last_tick, seconds
from otonoha.tokens.base import Tokens, Vocab
from otonoha.tokens.lyrics import STREAM

_ROW = re.compile(r"\[(\d{1,3}):(\d{1,2}(?:\.\d{1,3})?)\](.*)")
_WORD = re.compile(r"<(\d{1,3}):(\d{1,2}(?:\.\d{1,3})?)>")
_FIELD = re.compile(r"\[[A-Za-z#][\w #-]*:.*\]")
SLACK = (5.0, 0.1)
"""The notes of a score tell when words are sung if they last as long as the recording, up to so many seconds and such
a share of it: else they are another performance."""


class LyricCodec(Protocol):
    """Text <-> ids: tokens.lyrics.Lyrics for all languages, or the characters of the original."""

    name: str

    def to_dict(self) -> dict[str, Any]:
        """Its options, as JSON values."""

    @property
    def vocab(self) -> Vocab:
        """One stream, `lyrics`."""

    def encode(self, music: str) -> Tokens:
        """ids, and in `clock` the character of the text that each belongs to. ValueError for what it cannot spell."""


@dataclass(frozen=True, eq=False)
class Sung:
    """The lyrics of a song as ids (S,), and, in seconds of the song, when each character is sung (S,) and when its word
    begins and ends (S, 2), NaN between words, if known.
    """

    ids: np.ndarray
    times: np.ndarray | None = None
    words: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.times is not None and (
            self.times.shape != self.ids.shape or not (np.diff(self.times) >= 0).all()
        ):
            raise ValueError("every character of lyrics needs a time, and times must not go back")


SILENT = Sung(np.zeros(0, np.int64))


def plain(text: str) -> SungText:
    """A text without times."""
    return SungText(tuple(Line(line) for line in text.splitlines()))


def timed(lrc: str) -> SungText:
    """The text of a label `lrc`, as data.audio_lyrics writes it: a line begins with its time, a word with its own."""
    lines: list[Line] = []
    for row in lrc.splitlines():
        found = _ROW.fullmatch(row.strip())
        if found is None:
            lines += [] if _FIELD.fullmatch(row.strip()) else [Line(row.strip())]
            continue
        start = 60 * int(found[1]) + float(found[2])
        parts = _WORD.split(found[3])  # text, then minutes, seconds and text of every word
        text, times = "".join(parts[::3]).strip(), [60 * int(m) + float(s) for m, s in _pairs(parts)]
        ends = [*times[1:], None]
        words = (Word(w.strip(), a, b) for w, a, b in zip(parts[3::3], times, ends) if w.strip())
        if text:
            lines.append(Line(text, start, None, tuple(words)))
        elif lines:  # a time alone ends the line before
            lines[-1] = replace(lines[-1], end=start)
    return SungText(tuple(lines))


def said(text: str) -> SungText:
    """Words as a person gives them: LRC where any line begins with a time, else plain text."""
    return timed(text) if any(_ROW.match(row) for row in text.splitlines()) else plain(text)


def _pairs(parts: list[str]) -> zip:
    return zip(parts[1::3], parts[2::3])


def words_of(piece: Piece) -> SungText | None:
    """What is sung in a piece, in seconds of the recording; None where nothing is known of it."""
    text, lrc = (piece.labels.get(name, "").strip() for name in ("lyrics", "lrc"))
    if lrc and (not text or timed(lrc).text.split() == text.split()):
        return timed(
            lrc
        )  # else the lyrics are another's: a table knows better than the file beside the recording
    if text:
        return said(text)
    if piece.load_score is None:
        return None
    score = piece.score()
    found = under_notes(score)
    if found is None or piece.recording is None:
        return found
    end, length = float(seconds(score, np.array([last_tick(score)]))[0]), piece.recording.seconds
    return plain(found.text) if abs(end - length) > SLACK[0] + SLACK[1] * length else found


def under_notes(score: Score) -> SungText | None:
    """The words of the first track that has any; a syllable that ends in a hyphen is joined to the next."""
    for track in score.tracks:
        lyrics = sorted(track.lyrics, key=lambda lyric: lyric.time)
        if not lyrics:
            continue
        times = seconds(score, np.array([lyric.time for lyric in lyrics])).tolist()
        words: list[Word] = []
        begun, start = "", 0.0
        for lyric, time in zip(lyrics, times):
            text = " ".join(lyric.text.split())
            start = start if begun else time
            begun += text.removesuffix("-") if len(text) > 1 else text
            if begun and not (text.endswith("-") and len(text) > 1):
                words.append(Word(begun, start))
                begun = ""
        words += [Word(begun, start)] if begun else []
        if words:
            return SungText(
                (Line(" ".join(word.text for word in words), words[0].start, None, tuple(words)),)
            )
    return None


def sung(words: SungText, codec: LyricCodec, *, offset: float = 0.0) -> Sung:
    """Words as ids; the recording begins `offset` seconds into the song."""
    tokens = codec.encode(words.text)
    ids = np.asarray(tokens.streams[STREAM], np.int64)
    times, at = character_times(words), np.asarray(tokens.clock).astype(np.int64)
    if times is None:
        return Sung(ids)
    return Sung(ids, times[at] + offset, word_times(words)[at] + offset)


def word_times(words: SungText) -> np.ndarray:
    """(L, 2) when the word of each character of the text begins and ends; NaN between words. A word whose end is not
    known lasts until the next one begins, the last one as long as it likes.
    """
    places, times = words.spans()
    found = np.full((len(words.text), 2), np.nan)
    following = np.append(times[1:, 0], np.inf)
    ends = np.where(np.isnan(times[:, 1]), np.maximum(times[:, 0], following), times[:, 1])
    for (first, stop), begin, end in zip(places.tolist(), times[:, 0].tolist(), ends.tolist()):
        found[first:stop] = begin, end
    return found


def character_times(words: SungText) -> np.ndarray | None:
    """When each character of the text is sung: between the beginnings (and ends, where known) of words it goes evenly.

    None for a text without times.
    """
    places, times = words.spans()
    if not len(places):
        return None
    known = np.concatenate([places[:, 0], places[:, 1] - 1]).astype(float)
    when = np.concatenate([times[:, 0], np.where(places[:, 1] - places[:, 0] > 1, times[:, 1], np.nan)])
    known, when = known[~np.isnan(when)], when[~np.isnan(when)]
    order = np.argsort(known, kind="stable")
    found = np.interp(np.arange(len(words.text)), known[order], when[order])
    return np.maximum.accumulate(found)
