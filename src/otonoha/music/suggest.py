"""One clear line for a name that is not known: what was given, what is allowed, the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST = 40
"""Names that are listed; of more, the nearest three and how many there are."""


def one_of(value: str, allowed: Iterable[str], what: str) -> str:
    """Return `value` if it is allowed, else raise ValueError naming the nearest match."""
    names = sorted(allowed)
    if value in names:
        return value
    many = len(names) > MOST
    near = difflib.get_close_matches(str(value), names, n=3 if many else 1, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    known = f"{len(names)} are known" if many else f"known: {', '.join(names) or 'none'}"
    raise ValueError(f"unknown {what} {value!r}{hint} ({known})")
