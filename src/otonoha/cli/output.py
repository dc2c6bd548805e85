"""How a verb speaks: sentences and tables for people, one JSON object for machines, progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MANY = 100
"""So many files take long enough to say so."""


class Output:
    """With `machine` stdout carries one JSON object and nothing else; otherwise the sentences."""

    def __init__(self, machine: bool = False) -> None:
        self.machine = machine
        self._shown = 0.0
        self._told = False
        self._open = False

    def say(self, text: str = "") -> None:
        """A line (or several) for a person."""
        self.clear()
        if not self.machine:
            print(text)

    def note(self, text: str) -> None:
        """A remark beside the result, on stderr."""
        self.clear()
        sys.stderr.write(text + "\n")

    def finish(self, result: Mapping[str, Any]) -> None:
        """The result for a machine."""
        self.clear()
        if self.machine:
            print(json.dumps(_plain(result), ensure_ascii=False, allow_nan=False))

    def progress(self, done: int, total: int, what: str = "") -> None:
        """A line that is written over, on a terminal only; at most ten times a second."""
        now = time.monotonic()
        if not sys.stderr.isatty() or (done < total and now - self._shown < 0.1):
            return
        self._shown, self._open = now, True
        share = min(1.0, done / max(1, total))
        sys.stderr.write(f"\r\x1b[K{bar(share)} {share:4.0%}  {what[:60]}")
        sys.stderr.flush()

    def reading(self, done: int, total: int, file: str) -> None:
        """Progress of files that are read for the first time; many are announced, where no bar can be seen as well."""
        if total >= MANY and not self._told:
            self.note(f"reading {total:,} files; what is read is kept, so that the next time is quick")
            self._told = True
        self.progress(done, total, file)

    def clear(self) -> None:
        """Take the progress line away."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False


def bar(share: float, width: int = 24) -> str:
    """A bar that is so far full."""
    full = round(share * width)
    return "[" + "=" * full + " " * (width - full) + "]"


def count(number: int, noun: str) -> str:
    """Such as "1 bar" or "1,200 notes"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def bold(text: str) -> str:
    """Bold on a terminal that can, plain elsewhere."""
    can = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[1m{text}\x1b[0m" if can else text


def table(rows: Sequence[Sequence[Any]], *, indent: str = "  ") -> str:
    """Aligned columns; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    right = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(widths))]
    lines = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        for row in cells
    ]
    return "\n".join(indent + line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: Any) -> Any:
    """What JSON can say: paths as text, NumPy as numbers, figures that are none as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
