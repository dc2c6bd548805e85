"""Words that are sung: lines of text and when each line, or each word, sounds. Times are seconds.

A text without times is one as well: its lines have no start. What is not known is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Word:
    """A stretch of a line that is sung from `start` to `end`: a word, or a syllable where those are known."""

    text: str
    start: float
    end: float | None = None


@dataclass(frozen=True)
class Line:
    """One line. `words`, where their times are known, stand in `text` one after the other with only spaces between."""

    text: str
    start: float | None = None
    end: float | None = None
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        if "\n" in self.text or "\r" in self.text:
            raise ValueError(f"a line of lyrics cannot hold a line break: {self.text!r}")
        said = "".join("".join(word.text.split()) for word in self.words)
        if self.words and said != "".join(self.text.split()):
            raise ValueError(f"the words of the line {self.text!r} are others: {said!r}")

    def places(self) -> Iterator[tuple[int, int]]:
        """Where each word stands in the text: its first character, and the one behind its last."""
        at = 0
        for word in self.words:
            at = self.text.index(word.text, at)
            yield at, at + len(word.text)
            at += len(word.text)


@dataclass(frozen=True)
class SungText:
    """The lines of a song in the order in which they are sung; `about` holds title, artist and the like."""

    lines: tuple[Line, ...]
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All lines, with line breaks between them."""
        return "\n".join(line.text for line in self.lines)

    @property
    def timed(self) -> bool:
        """Whether any time is known."""
        return any(line.start is not None for line in self.lines)

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """What is timed, word by word (line by line where words have no times of their own).

        Returns (n, 2) int64, first character in `text` and the one behind the last; and (n, 2) float64, start and
        end in seconds (NaN where the end is not known).
        """
        characters: list[tuple[int, int]] = []
        times: list[tuple[float, float]] = []
        at = 0
        for line in self.lines:
            if line.words:
                characters += [(at + a, at + b) for a, b in line.places()]
                times += [(w.start, np.nan if w.end is None else w.end) for w in line.words]
            elif line.start is not None and line.text:
                characters.append((at, at + len(line.text)))
                times.append((line.start, np.nan if line.end is None else line.end))
            at += len(line.text) + 1
        return np.array(characters, np.int64).reshape(-1, 2), np.array(times, np.float64).reshape(-1, 2)

    def shifted(self, by: float) -> SungText:
        """The same, `by` seconds later; nothing begins before 0."""

        def move(time: float | None) -> float | None:
            return None if time is None else max(time + by, 0.0)

        lines = []
        for line in self.lines:
            words = tuple(Word(w.text, max(w.start + by, 0.0), move(w.end)) for w in line.words)
            lines.append(Line(line.text, move(line.start), move(line.end), words))
        return replace(self, lines=tuple(lines))
