"""A prior and the codec whose codes it writes: what is asked of one, and what stands in for one. Torch-free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from otonoha.models.jukebox.config import Config
from otonoha.tokens.base import Codec, Stream, Tokens, Vocab


def fitting(config: Config, codec: Codec) -> Config:
    """The config with rate, hops and codes of a codec of sound, and its fingerprint."""
    told: Any = getattr(codec, "config", None)
    if not all(hasattr(told, name) for name in ("rate", "hops", "codes")):
        raise ValueError(f"a prior needs a codec of sound with levels, got {type(codec).__name__}")
    if len(told.hops) <= config.level:
        raise ValueError(f"level {config.level} does not exist: the codec has {len(told.hops)} levels")
    return replace(
        config,
        rate=told.rate,
        hops=tuple(told.hops),
        codes=told.codes,
        codec=codec.fingerprint,
    )


class Unheard:
    """The place of a codec that is not there: codes can be written, but not heard."""

    name = "unheard"
    monophonic: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def vocab(self) -> Vocab:
        """The streams of a codec of sound, the coarsest level first."""
        hops = self.config.hops
        streams = [
            Stream(f"level{i}", self.config.codes, width=hops[-1] // hop) for i, hop in enumerate(hops)
        ]
        return Vocab(tuple(reversed(streams)))

    @property
    def fingerprint(self) -> str:
        """That of the codec whose codes these are, if it is known."""
        return self.config.codec

    def encode(self, music: Any) -> NoReturn:
        """Not without a codec."""
        raise ValueError(
            "this prior has no codec: give it one (codec=…, or attach) to hear and to learn from sound"
        )

    def decode(self, tokens: Tokens) -> NoReturn:
        """Not without a codec."""
        self.encode(tokens)

    def grammar(self, constraints: Any = None, prompt: Tokens | None = None) -> NoReturn:
        """Not without a codec."""
        self.encode(prompt)

    def to_dict(self) -> dict[str, Any]:
        """All of it stands in the prior's config."""
        return {}
