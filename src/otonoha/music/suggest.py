"""One clear line for a name that is not known: what was given, what is allowed, the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_of(value: str, allowed: Iterable[str], what: str) -> str:
    """Return `value` if it is allowed, else raise ValueError naming the nearest match."""
    names = sorted(allowed)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {what} {value!r}{hint} (known: {', '.join(names) or 'none'})")
