"""Priors over codes of sound: Jukebox. README.md of this room teaches it."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`from_original`, looked up when it is used: importing this room's config needs no torch."""
    if name != "from_original":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from otonoha.models.jukebox.original import from_original

    return from_original
