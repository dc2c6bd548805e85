"""The `lyrics` codec: text in any language, nothing of it ever lost.

One symbol stream `lyrics`, (T,):   0 END   1 … 256 the bytes 0 … 255   257 … the characters of the vocabulary

A character of the vocabulary is one symbol, any other is the bytes of its UTF-8. The vocabulary is learnt from a
corpus of lyrics (`Lyrics.learn`): its most frequent characters, kana and kanji as they are. Nothing is normalised, so
`decode(encode(text)) == text` for every text. `clock` holds for each symbol the character of the text to which it
belongs (the bytes of one character share it); `spans` and `by_character` lead from symbols back to characters.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from otonoha.tokens.base import FixedCodec, Stream, Tokens, Vocab

END = 0
FIRST_BYTE, BYTES = 1, 256
FIRST_CHARACTER = FIRST_BYTE + BYTES
STREAM = "lyrics"
MOST = 60_000
"""Characters that a vocabulary may hold."""

USUAL = (
    "\n !\"'(),-.0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz"
    "¡¿«»ÄÖÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüýœ‘’“”–—…"
    + "".join(map(chr, range(0x3041, 0x3094)))
    + "".join(map(chr, range(0x30A1, 0x30F7)))
    + "、。「」ー・！？　"
)
"""The vocabulary before any is learnt: letters of Western Europe and kana."""


@dataclass(frozen=True)
class Lyrics(FixedCodec):
    """Text with a vocabulary of `characters`, in the order of their symbols."""

    characters: str = USUAL
    name = "lyrics"

    def __post_init__(self) -> None:
        if len(set(self.characters)) < len(self.characters):
            twice = next(c for c, n in Counter(self.characters).items() if n > 1)
            raise ValueError(f"a vocabulary holds each character once; {twice!r} is there twice")
        if len(self.characters) > MOST:
            raise ValueError(f"a vocabulary holds at most {MOST:,} characters, got {len(self.characters):,}")

    @classmethod
    def learn(cls, texts: Iterable[str], *, size: int = 4096, least: int = 2) -> Lyrics:
        """The characters that occur `least` times or more in the texts, the most frequent first, as many as make
        `size` symbols with the bytes. Raises ValueError where there is nothing to learn from.
        """
        room = size - FIRST_CHARACTER
        if room < 0 or room > MOST:
            raise ValueError(f"size must lie in {FIRST_CHARACTER}-{FIRST_CHARACTER + MOST}, got {size}")
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        if not counts:
            raise ValueError("there are no lyrics to learn a vocabulary from")
        found = sorted((-n, c) for c, n in counts.items() if n >= least)
        return cls("".join(c for _, c in found[:room]))

    @functools.cached_property
    def vocab(self) -> Vocab:
        """One stream."""
        return Vocab((Stream(STREAM, FIRST_CHARACTER + len(self.characters)),))

    @functools.cached_property
    def _symbol(self) -> dict[str, int]:
        return {c: FIRST_CHARACTER + i for i, c in enumerate(self.characters)}

    def encode(self, music: str) -> Tokens:
        """A text as symbols, without END; `prompt` and `encode` are the same thing here."""
        if not isinstance(music, str):
            raise ValueError(f"the codec lyrics takes a text, got {type(music).__name__}")
        symbols: list[int] = []
        places: list[int] = []
        for place, character in enumerate(music):
            found = self._symbol.get(character)
            if found is not None:
                symbols.append(found)
                places.append(place)
            else:
                data = character.encode("utf-8", "surrogatepass")
                symbols += [FIRST_BYTE + byte for byte in data]
                places += [place] * len(data)
        return Tokens({STREAM: np.array(symbols, np.int64)}, np.array(places, np.float64), self.fingerprint)

    def decode(self, tokens: Tokens) -> str:
        """The text up to the first END. Bytes that are no UTF-8 (a model may write such) become U+FFFD."""
        self.check(tokens)
        symbols = np.asarray(tokens.streams[STREAM]).tolist()
        if END in symbols:
            symbols = symbols[: symbols.index(END)]
        parts: list[str] = []
        data = bytearray()
        for symbol in symbols:
            if FIRST_BYTE <= symbol < FIRST_CHARACTER:
                data.append(symbol - FIRST_BYTE)
                continue
            parts += [_from_bytes(data), self.characters[symbol - FIRST_CHARACTER]]
            data.clear()
        return "".join([*parts, _from_bytes(data)])

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> _Utf8Walk:
        """Bytes only in such an order that they are UTF-8; END between characters. There are no constraints."""
        if constraints is not None:
            raise ValueError(f"lyrics know no constraints, got {constraints!r}")
        walk = _Utf8Walk(self.vocab[STREAM].size)
        if prompt is not None:
            self.check(prompt)
            for symbol in np.asarray(prompt.streams[STREAM]).tolist():
                walk.advance([symbol])
        return walk


def _from_bytes(data: bytearray) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def spans(tokens: Tokens) -> np.ndarray:
    """(T, 2) int64: the character of the text that each symbol belongs to, and the one behind it."""
    place = np.asarray(tokens.clock).astype(np.int64)
    return np.stack([place, place + 1], axis=1)


def by_character(values: np.ndarray, tokens: Tokens, length: int) -> np.ndarray:
    """(…, T) values of symbols, attention say, summed over the symbols of each of `length` characters: (…, length).

    Characters that no symbol stands for get 0.
    """
    place = spans(tokens)[:, 0]
    if len(place) and not (place.min() >= 0 and place.max() < length):
        raise ValueError(f"these tokens reach to character {place.max() + 1}, the text has {length}")
    result = np.zeros((length, *values.shape[:-1]), values.dtype)
    np.add.at(result, place, np.moveaxis(values, -1, 0))
    return np.moveaxis(result, 0, -1)


SECOND = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
"""What may follow some first bytes; all others 0x80-0xBF."""


class _Utf8Walk:
    """Which symbols may follow: Unicode's table of well-formed byte sequences."""

    def __init__(self, size: int) -> None:
        self.size, self.done = size, False
        self.missing, self.allowed = 0, (0x80, 0xBF)

    def context(self) -> dict[str, int]:
        """There are none."""
        return {}

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(size,) bool."""
        if self.missing:
            mask = np.zeros(self.size, bool)
            low, high = self.allowed
            mask[FIRST_BYTE + low : FIRST_BYTE + high + 1] = True
            return mask
        mask = np.ones(self.size, bool)
        mask[FIRST_BYTE + 0x80 : FIRST_BYTE + 0xC2] = False
        mask[FIRST_BYTE + 0xF5 : FIRST_BYTE + 0x100] = False
        return mask

    def advance(self, drawn: Sequence[int]) -> None:
        """One symbol on."""
        byte = drawn[0] - FIRST_BYTE
        if drawn[0] == END:
            self.done = True
        elif self.missing:
            self.missing, self.allowed = self.missing - 1, (0x80, 0xBF)
        elif 0xC2 <= byte < 0xF5:
            self.missing = 1 + (byte >= 0xE0) + (byte >= 0xF0)
            self.allowed = SECOND.get(byte, (0x80, 0xBF))
