"""The `jukebox_lyrics` codec: the characters of Jukebox's released models, for use with their weights.

One symbol stream `lyrics`, (T,):   0 unknown and padding   1 … the characters of `table`

`v2` (the 5 billion models) has 79 characters, `v3` (the 1 billion model) lacks the plus sign. Text is ASCII; a
backslash is a line break, other characters outside the table are left out. Text in other scripts needs Unidecode,
which is under the GPL and therefore never installed with this package: `letters="unidecode"` uses it where the user has
it. It reads Chinese characters as Mandarin, which is wrong for Japanese, so it warns of them. Everything else:
tokens/lyrics.py.

Source: Dhariwal et al., Jukebox (arXiv 2005.00341), in the reading of reference/jukebox.md 2.4.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from otonoha.music.suggest import one_of
from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab
from otonoha.tokens.lyrics import STREAM

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?-"
_REST = "'\"()[] \t\n"
TABLES = {"v2": f"{_LETTERS}+{_REST}", "v3": _LETTERS + _REST}
UNKNOWN = 0
LETTERS = ("ascii", "unidecode")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True)
class JukeboxLyrics(FixedCodec):
    """The characters of `table`. `letters`: `ascii` refuses others, `unidecode` spells them in ASCII."""

    table: str = "v3"
    letters: str = "ascii"
    name = "jukebox_lyrics"

    def __post_init__(self) -> None:
        one_of(self.table, TABLES, "table of Jukebox's lyrics")
        one_of(self.letters, LETTERS, "way with letters")

    @property
    def characters(self) -> str:
        """The characters of symbols 1, 2, …"""
        return TABLES[self.table]

    @functools.cached_property
    def vocab(self) -> Vocab:
        """One stream; with the unknown, v2 has 80 symbols and v3 has 79."""
        return Vocab((Stream(STREAM, 1 + len(self.characters)),))

    def encode(self, music: str) -> Tokens:
        """A text as symbols; `clock` holds the character of the given text that each of them comes from.

        Raises ValueError for text beyond ASCII, unless Unidecode is asked for and there.
        """
        if not isinstance(music, str):
            raise ValueError(f"the codec jukebox_lyrics takes a text, got {type(music).__name__}")
        spelt = self._spelling(music)
        symbol = {c: i for i, c in enumerate(self.characters, 1)}
        found = [
            (symbol[c], place)
            for place, character in enumerate(music)
            for c in spelt(character).replace("\\", "\n")
            if c in symbol
        ]
        ids, places = zip(*found) if found else ((), ())
        return Tokens({STREAM: np.array(ids, np.int64)}, np.array(places, np.float64), self.fingerprint)

    def clean(self, text: str) -> str:
        """The text as the models see it."""
        return self.decode(self.encode(text))

    def decode(self, tokens: Tokens) -> str:
        """The characters; symbol 0 stands for none."""
        self.check(tokens)
        symbols = np.asarray(tokens.streams[STREAM]).tolist()
        return "".join(self.characters[s - 1] for s in symbols if s != UNKNOWN)

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> _AnyCharacter:
        """Any character may follow any other. There are no constraints."""
        if constraints is not None:
            raise ValueError(f"lyrics know no constraints, got {constraints!r}")
        if prompt is not None:
            self.check(prompt)
        return _AnyCharacter(self.vocab[STREAM].size)

    def _spelling(self, text: str) -> Callable[[str], str]:
        """How one character is spelt in ASCII."""
        if text.isascii():
            return str
        beyond = next(c for c in text if not c.isascii())
        ours = "our own models take it as it is (codec lyrics)"
        if self.letters == "ascii":
            raise ValueError(
                f"the lyrics hold {beyond!r}, and Jukebox's vocabulary is ASCII: spell them so, or install "
                f"Unidecode and ask for letters='unidecode'; {ours}"
            )
        try:
            from unidecode import unidecode
        except ImportError:
            raise ValueError(
                f"the lyrics hold {beyond!r}: letters='unidecode' needs Unidecode (GPL), which is not installed: "
                f"pip install Unidecode, or spell them in ASCII; {ours}"
            ) from None
        if han := _HAN.search(text):
            warnings.warn(
                f"Unidecode reads {han[0]!r} as Mandarin ({unidecode(han[0]).strip()!r}): write Japanese in kana",
                stacklevel=3,
            )
        return unidecode


class _AnyCharacter:
    """The walk in which everything is allowed, but for the symbol that stands for nothing: it ends the text."""

    def __init__(self, size: int) -> None:
        self.size, self.done = size, False

    def context(self) -> dict[str, int]:
        """There are none."""
        return {}

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(size,) bool."""
        return np.ones(self.size, bool)

    def advance(self, drawn: Sequence[int]) -> None:
        """One symbol on."""
        self.done = self.done or drawn[0] == UNKNOWN
