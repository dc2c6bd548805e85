"""`otonoha show`: what a codec makes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output

ABOUT = "Print what a codec makes of a file."


@dataclass(frozen=True)
class Options:
    """Options of show."""

    codec: Positional[str]
    """notes, grid, roll, events or book."""
    file: Positional[str]
    """MIDI, MusicXML or ABC."""
    limit: int | None = None
    """Positions to print; all when unset."""


def run(argv: Sequence[str]) -> None:
    """Encode and print."""
    values = parse("show", ABOUT, flags_of(Options), argv)
    if values.limit is not None and values.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {values.limit}")
    from otonoha.tokens import codec
    from otonoha.tokens.show import show

    chosen: Any = codec(values.codec)
    Output().say(show(chosen, asked.score_from(values.file), limit=values.limit))
