"""The files of music21's corpus, found without importing music21 (which is slow)."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def music21_folder(part: str) -> Path:
    """The folder of one part of the corpus. Raises ValueError where music21 is not installed."""
    spec = importlib.util.find_spec("music21")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise ValueError(
            "this corpus comes with music21, which is not installed: pip install 'otonoha[scores]'"
        )
    folder = Path(places[0]) / "corpus" / part
    if not folder.is_dir():
        raise ValueError(
            f"this music21 has no corpus folder {part!r} (it may have been installed without its corpus)"
        )
    return folder
