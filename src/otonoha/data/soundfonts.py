"""SoundFonts on this machine, and their terms: what is rendered with one is told whose sounds it uses."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from otonoha.io.fluid import check, missing

PLACES = (
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)
OWN = "OTONOHA_SOUNDFONT"
LICENCES = {
    "FluidR3_GM.sf2": "MIT (Frank Wen and others)",
    "TimGM6mb.sf2": "GPL-2 (Tim Brechbill)",
    "GeneralUser GS.sf2": "GeneralUser GS licence 2.0 (S. Christian Collins)",
}
"""What the fonts' own packages say."""
USUAL = ("FluidR3_GM.sf2",)
"""Fonts that are used unasked: their terms are known and permissive."""
HEAD = 1 << 16


def usual_fonts() -> list[Path]:
    """The fonts used when none are named: OTONOHA_SOUNDFONT, or a permissive one; none without FluidSynth."""
    if missing():
        return []
    if own := os.environ.get(OWN):
        return [Path(own).expanduser()]
    found = (Path(place) / name for place in PLACES for name in USUAL)
    return next(([path] for path in found if path.is_file()), [])


def described(font: Path) -> dict[str, str]:
    """Name, checksum and licence of a SoundFont. Raises ValueError where it cannot be used."""
    check(font)
    with font.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": font.name, "sha256": digest, "licence": LICENCES.get(font.name) or _own_words(font)}


def _own_words(font: Path) -> str:
    """The copyright line that the font carries, else that nothing is known."""
    with font.open("rb") as file:
        head = file.read(HEAD)
    at = head.find(b"ICOP")
    size = int.from_bytes(head[at + 4 : at + 8], "little") if at >= 0 else 0
    text = head[at + 8 : at + 8 + min(size, 300)].split(b"\0")[0].decode("latin-1")
    return f"not known to otonoha; the font says: {' '.join(text.split()) or 'nothing'}"
