"""`read` and `write` for every kind of file. What a file is, its first bytes say; its name only helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from symusic import Score

from otonoha.io.guard import MAX_BYTES, load_bytes
from otonoha.music.audio import Audio
from otonoha.music.suggest import one_of

SCORE_SUFFIXES = (".mid", ".midi", ".musicxml", ".xml", ".mxl")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
AUDIO_HEADS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")


def read(path: str | Path, *, limit: int = MAX_BYTES) -> Score | Audio:
    """Read MIDI, MusicXML (.mxl too), ABC (its first tune) or sound; `limit` is the size allowed, in bytes.

    Raises ValueError (one line, with the file's name) for anything else.
    """
    data = load_bytes(path, limit=limit)
    kind = _kind(data, Path(path).suffix.lower())
    if kind == "midi":
        from otonoha.io.midi import read_midi

        return read_midi(data, name=str(path))
    if kind == "musicxml":
        from otonoha.io.musicxml import read_musicxml

        return read_musicxml(data, name=str(path))
    if kind == "abc":
        from otonoha.io.abc import read_abc

        return read_abc(path, first=1)[0]
    if kind == "audio":
        from otonoha.io.audio_files import read_audio

        return read_audio(path, limit=limit)
    raise ValueError(f"{path}: no MIDI, MusicXML, ABC or sound file that can be read")


def _kind(data: bytes, suffix: str) -> str:
    """midi, musicxml, abc, audio or nothing; the first bytes decide, a name only where they are silent."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"MThd"):
        return "midi"
    if head.startswith((b"PK\x03\x04", b"<", b"\xff\xfe<", b"\xfe\xff\x00<", b"\0<")):
        return "musicxml"
    mpeg = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2  # sync and layer III
    if head.startswith(AUDIO_HEADS) or mpeg:
        return "audio"
    if head.startswith((b"X:", b"%abc")) or suffix == ".abc":
        return "abc"
    if suffix in AUDIO_SUFFIXES:
        return "audio"
    return {".mid": "midi", ".midi": "midi", ".mxl": "musicxml", ".musicxml": "musicxml"}.get(suffix, "")


def write(music: Any, path: str | Path) -> Path:
    """Write a Score (.mid, .musicxml, .xml, .mxl), Audio (.wav, .flac, .ogg, .opus, .mp3) or a Take's music.

    Folders are made; an earlier file is replaced only when the new one is whole. Raises ValueError for what
    the file cannot hold and OSError (one line) for trouble with the disk.
    """
    music = getattr(music, "music", music)
    suffix = Path(path).suffix.lower()
    if isinstance(music, Audio):
        if suffix in SCORE_SUFFIXES:
            raise ValueError(f"sound cannot be written as {suffix}; use {', '.join(AUDIO_SUFFIXES)}")
        from otonoha.io.audio_files import write_audio

        return write_audio(music, path)
    if not isinstance(music, type(Score(1))):
        raise ValueError(f"cannot write a {type(music).__name__}; give a Score, Audio or a Take")
    if suffix in AUDIO_SUFFIXES:
        raise ValueError(f"a score cannot be written as {suffix}; render it first (oto.render)")
    if one_of(suffix, SCORE_SUFFIXES, "score file extension") in (".mid", ".midi"):
        from otonoha.io.midi import write_midi

        return write_midi(music, path)
    from otonoha.io.musicxml import write_musicxml

    return write_musicxml(music, path)
