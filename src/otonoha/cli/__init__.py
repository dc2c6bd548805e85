"""The command `otonoha`. Importing this costs nothing; each verb lives in its own file."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's); returns the exit status."""
    from otonoha.cli.app import run

    return run(argv)
