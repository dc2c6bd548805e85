"""Simple lines to sing in six languages, written for otonoha (CC0 1.0): thousands of them from a few words each.

`sung_words.tsv` beside this file holds for each language who, does, where and when, and lines with places for them; any
combination is a correct sentence. Japanese words stand there with their reading behind a bar, `山の|やまの`, because
the voice reads kana only; in a line no spaces stand between them.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otonoha.music.suggest import one_of

LICENCE = "words written for otonoha (CC0 1.0)"
VOICES = {"en": "en-us", "ja": "ja", "de": "de", "es": "es", "fr": "fr", "it": "it"}
"""Language -> what eSpeak NG calls it."""
UNSPACED = ("ja",)
_TABLE = Path(__file__).with_name("sung_words.tsv")


@dataclass(frozen=True)
class Said:
    """A word as it is written, and as it is to be spoken. `glued`: no space stands before it."""

    written: str
    spoken: str
    glued: bool = False


@functools.cache
def _lexicon() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Language -> part -> texts."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            parts = found.setdefault(row["language"], {})
            parts[row["part"]] = (*parts.get(row["part"], ()), row["text"])
    return found


def line(language: str, rng: np.random.Generator) -> tuple[Said, ...]:
    """A line, word by word."""
    lexicon = _lexicon()[one_of(language, VOICES, "language to sing")]

    def one(part: str) -> str:
        return lexicon[part][int(rng.integers(len(lexicon[part])))]

    text = re.sub(r"{(\w+)}", lambda place: one(place[1]), one("line"))
    words = []
    for number, word in enumerate(text.split()):
        written, _, spoken = word.partition("|")
        written = written if number else written[:1].upper() + written[1:]
        words.append(Said(written, spoken or written, glued=language in UNSPACED and number > 0))
    return tuple(words)


def lines_of(language: str) -> int:
    """How many lines there are."""
    lexicon = _lexicon()[one_of(language, VOICES, "language to sing")]
    places = (re.findall(r"{(\w+)}", pattern) for pattern in lexicon["line"])
    return sum(int(np.prod([len(lexicon[place]) for place in found])) for found in places)
