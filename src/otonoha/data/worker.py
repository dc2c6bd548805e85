"""A reading process: `python -m otonoha.data.worker RECIPE`.

Reads paths from standard input, one a line as JSON; answers each with eight bytes of length and a dumped
Entry. A process of its own, because a damaged file may hang or crash a parser, and no pickle passes between.
"""

from __future__ import annotations

import json
import os
import struct
import sys

from otonoha.data.entries import dump
from otonoha.data.recipes import read_entry

LENGTH = struct.Struct("<Q")


def main(recipe: str) -> None:
    """Answer until standard input ends. Whatever a reader prints goes to standard error, not into answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin.buffer:
        data = dump(read_entry(recipe, json.loads(line)))
        answers.write(LENGTH.pack(len(data)) + data)
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
