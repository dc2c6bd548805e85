"""Lyrics beside a recording: `song.lrc` or `song.txt` of one name with `song.flac` become its labels.

`lyrics` is the text, line by line, and `lrc` the file as it is, where it holds times (`io.lrc.parse_lyrics` reads it).
"""

from __future__ import annotations

from pathlib import Path

from otonoha.io.lrc import lrc_text, read_lyrics

SUFFIXES = (".lrc", ".txt")
MOST = 1 << 20
"""Characters of lyrics that become a label."""


def lyrics_beside(path: Path) -> dict[str, str]:
    """The labels that a file of lyrics beside a recording gives. Raises ValueError, one line, for a broken one."""
    beside = next((p for suffix in SUFFIXES if (p := path.with_suffix(suffix)).is_file()), None)
    if beside is None:
        return {}
    sung = read_lyrics(beside)
    if len(sung.text) > MOST:
        raise ValueError(f"{beside}: {len(sung.text):,} characters are no lyrics; at most {MOST:,} are read")
    labels = {"lyrics": sung.text} if sung.text else {}
    return {**labels, "lrc": lrc_text(sung)} if sung.timed else labels
