"""Tokens and the Codec protocol: music <-> integers.

A codec turns music into *streams* of integers and back. A tokenizer with fixed rules and a learned
VQ-VAE are the same noun, so that one engine and one loop serve both.

Axes: T positions in time. A *symbol* stream is predicted; a *context* stream (metre, key, place in the
bar, …) is known before the symbols of the same position are drawn: from the past, or from the request.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from otonoha.music.suggest import one_of


@dataclass(frozen=True)
class Stream:
    """One stream of integers in [0, size): one of them at every position, or `width` of them side by side (a
    piano roll has as many as pitches).

    `ordinal` = (first, count): the symbols first … first + count - 1 stand for consecutive values (pitches,
    say) from `base` on, so a network may look at differences between them; None where no such order exists.
    `values`: what each symbol measures (a duration in quarter notes, say), for streams that are quantities.
    """

    name: str
    size: int
    role: Literal["symbol", "context"] = "symbol"
    ordinal: tuple[int, int] | None = None
    base: int = 0
    values: tuple[float, ...] | None = None
    width: int = 1


@dataclass(frozen=True)
class Vocab:
    """All streams of a codec; symbol streams in the order in which they are drawn."""

    streams: tuple[Stream, ...]

    @property
    def symbols(self) -> tuple[Stream, ...]:
        """The predicted streams, in drawing order."""
        return tuple(s for s in self.streams if s.role == "symbol")

    @property
    def contexts(self) -> tuple[Stream, ...]:
        """The streams known before a position is drawn."""
        return tuple(s for s in self.streams if s.role == "context")

    def __getitem__(self, name: str) -> Stream:
        return {s.name: s for s in self.streams}[one_of(name, [s.name for s in self.streams], "stream")]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Encoded music: `streams` name -> (T,) integers, or (T, width) where a stream is wider; `clock` (T,) onset
    of each position in quarter notes (musical codecs) or seconds (audio codecs); `codec` the fingerprint of the
    codec that made them.
    """

    streams: Mapping[str, np.ndarray]
    clock: np.ndarray
    codec: str

    def __len__(self) -> int:
        return len(self.clock)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return (
            self.codec == other.codec
            and self.streams.keys() == other.streams.keys()
            and all(np.array_equal(a, other.streams[n]) for n, a in self.streams.items())
            and np.array_equal(self.clock, other.clock)
        )

    __hash__ = None  # type: ignore[assignment]

    def slice(self, start: int, stop: int | None = None) -> Tokens:
        """Positions start … stop - 1."""
        cut = slice(start, stop)
        return Tokens({n: a[cut] for n, a in self.streams.items()}, self.clock[cut], self.codec)


class Grammar(Protocol):
    """Walks through a piece being written and says what may come next.

    The engine asks `mask(k, drawn)` before it draws the k-th symbol of a position and calls `advance`
    when the position is complete. A walk is cheap to make; every piece of a batch has its own.
    """

    done: bool

    def context(self) -> dict[str, int]:
        """The context streams of the position to be written next."""

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(size,) bool: which symbols the k-th stream may take, given those drawn at this position."""

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of a complete position."""


@runtime_checkable
class Codec(Protocol):
    """Music <-> Tokens. `name` is the key of the registry (`otonoha.tokens.CODECS`)."""

    name: str
    monophonic: ClassVar[bool]

    @property
    def vocab(self) -> Vocab:
        """The streams, with sizes."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the meaning of a token changes."""

    def encode(self, music: Any) -> Tokens:
        """Music -> Tokens. Raises ValueError (one line) for music that it cannot express."""

    def decode(self, tokens: Tokens) -> Any:
        """Tokens -> music. Refuses tokens of a foreign codec."""

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> Grammar:
        """A fresh walk; after `prompt`, if one is given."""


class FixedCodec:
    """What all fixed codecs (frozen dataclasses of options) share: identity, JSON, the check of tokens."""

    name: str
    monophonic: ClassVar[bool] = False
    """Does it write one melody, whatever the score holds?"""
    version: int = 1
    """Raised when the meaning of a token changes though no option did."""

    @functools.cached_property
    def fingerprint(self) -> str:
        """`name-` and ten hex digits of the options' hash."""
        text = json.dumps([self.name, self.version, self.to_dict()], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def to_dict(self) -> dict[str, Any]:
        """The options, as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[call-overload]

    def prompt(self, tokens: Tokens, constraints: Any = None) -> Tokens:
        """The tokens as the beginning of something longer: no end mark, contexts as the request has them."""
        self.check(tokens)
        return tokens

    def units(self, tokens: Tokens) -> int:
        """What likelihoods are counted per: here every symbol; codecs of notes count notes."""
        return len(tokens) * sum(name in tokens.streams for name in (s.name for s in self.vocab.symbols))  # type: ignore[attr-defined]

    def check(self, tokens: Tokens) -> None:
        """Raise ValueError for tokens of another codec."""
        if tokens.codec != self.fingerprint:
            raise ValueError(f"these tokens are of codec {tokens.codec!r}, this one is {self.fingerprint!r}")
