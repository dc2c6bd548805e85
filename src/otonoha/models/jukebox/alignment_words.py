"""Words and when they are sung: cutting text into words, giving them times, and how far off times are. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from otonoha.music.recording import Recording
from otonoha.music.sung_text import Line, SungText, Word

_KANA = "ぁ-んー"
_JAPANESE = re.compile(rf"[{_KANA}ァ-ヺ\u3400-\u9fff々]")
_WORD = re.compile(r"\S+")
_PHRASE = re.compile(rf"[^\s{_KANA}]*[{_KANA}]*[、。！？]*")
QUIET = -45.0
"""Frames this far below the loudest one (dB) are silent: nothing is sung in them."""


def words_in(line: Line) -> list[tuple[int, int]]:
    """The words of a line, as first character and the one behind the last.

    Those that it already has, else what stands between spaces. In Japanese, which has none, a word begins where
    hiragana end, as in 海の|風が|歌う.
    """
    if line.words:
        return list(line.places())
    rule = _PHRASE if _JAPANESE.search(line.text) else _WORD
    return [found.span() for found in rule.finditer(line.text) if found[0]]


def all_words(text: SungText) -> Iterator[tuple[int, int]]:
    """The words of all lines, by their places in the whole text."""
    at = 0
    for line in text.lines:
        yield from ((at + first, at + stop) for first, stop in words_in(line))
        at += len(line.text) + 1


def with_times(text: SungText, spans: np.ndarray) -> SungText:
    """The same words, sung when their characters are: `spans` (L, 2) in seconds, of all characters of the text."""
    lines, at = [], 0
    for line in text.lines:
        words: list[Word] = []
        for first, stop in words_in(line):
            begin, over = float(spans[at + first, 0]), float(spans[at + stop - 1, 1])
            words.append(Word(line.text[first:stop], begin, max(begin, over)))
        at += len(line.text) + 1
        start, end = (words[0].start, words[-1].end) if words else (None, None)
        lines.append(Line(line.text, start, end, tuple(words)))
    return SungText(tuple(lines), text.about)


def onset_errors(found: SungText, truth: SungText) -> np.ndarray:
    """Seconds by which words begin too late, of all words that have a time in both. Both hold the same text.

    Where only lines of the truth have times, these are compared.
    """
    if found.text != truth.text:
        raise ValueError("these are times of other words: only times of the same text can be compared")
    when = [dict(zip(places[:, 0].tolist(), times[:, 0])) for places, times in (found.spans(), truth.spans())]
    return np.array([time - when[1][place] for place, time in when[0].items() if place in when[1]])


def sounding(recording: Recording, frames: int, seconds: float) -> np.ndarray:
    """(F,) bool: the frames in which anything sounds, and those beside them. All of them where none does."""
    power, at = np.zeros(frames), 0
    for block in recording.at(channels=1).blocks():
        place = ((at + np.arange(block.shape[1])) / (recording.rate * seconds)).astype(np.int64)
        power += np.bincount(np.minimum(place, frames), block[0] ** 2.0, frames + 1)[:frames]
        at += block.shape[1]
    loud = power > power.max(initial=0.0) * 10 ** (QUIET / 10)
    near = loud.copy()
    near[1:] |= loud[:-1]
    near[:-1] |= loud[1:]
    return near if near.any() else np.ones(frames, bool)
