"""Fixed codecs by name. Importing this module is cheap: the registry holds strings only."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otonoha.music.suggest import one_of

if TYPE_CHECKING:
    from otonoha.tokens.base import FixedCodec

CODECS = {
    "notes": "otonoha.tokens.notes:Notes",
    "grid": "otonoha.tokens.grid:Grid",
    "roll": "otonoha.tokens.roll:Roll",
    "book": "otonoha.tokens.book:Book",
    "events": "otonoha.tokens.events:Events",
    "lyrics": "otonoha.tokens.lyrics:Lyrics",
    "jukebox_lyrics": "otonoha.tokens.lyrics_jukebox:JukeboxLyrics",
}


def codec(name: str, **options: Any) -> FixedCodec:
    """The codec of that name with its options. Raises ValueError for an unknown name or option."""
    module, _, class_name = CODECS[one_of(name, CODECS, "codec")].partition(":")
    kind = getattr(import_module(module), class_name)
    for option in options:
        one_of(option, kind.__dataclass_fields__, f"option of codec {name!r}")
    return kind(**{option: _frozen(value) for option, value in options.items()})


def from_dict(description: Mapping[str, Any]) -> FixedCodec:
    """The codec that `{"name": codec.name, **codec.to_dict()}` describes."""
    options = dict(description)
    if "name" not in options:
        raise ValueError("a description of a codec needs its name")
    return codec(options.pop("name"), **options)


def _frozen(value: Any) -> Any:
    """JSON lists -> tuples, so that the options can be hashed."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
