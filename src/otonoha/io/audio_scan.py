"""What is in a sound file: read through once, in blocks, whatever its length; damage is found and named.

Each reason why a file is of no use begins with one word (`KINDS`), so that reasons can be counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from otonoha.io.audio_marks import Marks
from otonoha.io.audio_slices import Place, ogg_tail, open_bytes, open_sound, reason
from otonoha.music.audio import first_bad

KINDS = ("unreadable", "truncated", "short", "silent", "damaged")
SHORTEST = 0.01
"""Seconds that a recording must have."""
SILENT = 1e-4
"""A recording whose peak lies below this (-80 dBFS) is silent."""
RATES = (1000, 768_000)
BLOCK = 1 << 20  # samples
SLACK = 64
TAGS = ("title", "artist", "album", "genre", "date")


@dataclass(frozen=True)
class Facts:
    """A sound file: `frames` are those that can be read, `level` is its mean square in dB of full scale.

    `fingerprint` is equal for equal samples (of 16 bits), whatever the format.
    """

    rate: int
    channels: int
    frames: int
    format: str
    peak: float
    level: float
    fingerprint: str
    tags: dict[str, str] = field(default_factory=dict)


def scan(place: Place, marks: Marks | None = None) -> Facts:
    """Read a sound through; `marks` hears it on the way.

    Raises ValueError, one line that begins with one of `KINDS`, for what is of no use.
    """
    try:
        with contextlib.closing(open_bytes(place)) as raw:
            missing = missing_bytes(raw)
        if missing:
            raise ValueError(f"truncated: at least {missing:,} bytes are missing")
        sound, raw = open_sound(place)
    except ValueError as error:
        told = str(error).removeprefix(str(place.path)).removeprefix(":").strip()
        raise ValueError(told if told.startswith("truncated") else f"unreadable: {told}") from None
    with contextlib.closing(raw), contextlib.closing(sound):
        return _read_through(sound, marks)


def _read_through(sound: Any, marks: Marks | None) -> Facts:
    import soundfile

    rate, channels, promised = sound.samplerate, sound.channels, sound.frames
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"damaged: a rate of {rate:,} Hz")
    block = np.empty((max(1, BLOCK // channels), channels), np.float32)
    frames, peak, power, digest = 0, 0.0, 0.0, hashlib.sha256(f"{rate} {channels} ".encode())
    while frames < promised:
        try:
            part = sound.read(out=block)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise ValueError(f"damaged: behind {frames:,} of {promised:,} frames ({reason(error)})") from None
        if not len(part):
            break
        high = float(np.abs(part).max())
        if not np.isfinite(high):
            at = (frames + (first_bad(part.T) or 0)) / rate
            raise ValueError(
                f"damaged: some samples are no numbers (NaN or infinite), the first at {at:.3f} s"
            )
        frames, peak = frames + len(part), max(peak, high)
        power += float(np.einsum("tc,tc->", part, part, dtype=np.float64))
        if marks is not None:
            marks.feed(part, rate)
        digest.update(np.rint(np.clip(part, -1, 1) * 32767).astype("<i2").tobytes())
    if frames < promised:
        raise ValueError(f"truncated: {frames:,} of {promised:,} frames can be read")
    if frames < SHORTEST * rate:
        raise ValueError(f"short: {frames / rate:.3f} s, at least {SHORTEST} s are needed")
    if peak < SILENT:
        raise ValueError(f"silent: no sample is above {SILENT}")
    level = 10 * np.log10(max(power / (frames * channels), 1e-20))
    kind = f"{sound.format} {sound.subtype}"
    return Facts(rate, channels, frames, kind, peak, float(level), digest.hexdigest()[:32], _tags(sound))


def _tags(sound: Any) -> dict[str, str]:
    """What the file says of itself, one line each."""
    told = {}
    for name in TAGS:
        try:
            value = " ".join(str(getattr(sound, name) or "").split())
        except (UnicodeDecodeError, RuntimeError):
            continue
        if value:
            told[name] = value[:200]
    return told


# -- files that were cut short ----------------------------------------------------------------------------


def missing_bytes(file: Any) -> int:
    """How many bytes a WAV, AIFF or Ogg file lacks of what it announces; 0 where it says nothing.

    libsndfile reads what is left of such a file without a word.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _missing_of_wav(file, size)
    if head[:4] == b"FORM":
        lacks = 8 + int.from_bytes(head[4:8], "big") - size
        return lacks if lacks > SLACK else 0
    return _missing_of_ogg(file) if head[:4] == b"OggS" else 0


def _missing_of_wav(file: Any, size: int) -> int:
    at, long_size = 12, None
    while at + 8 <= size:
        file.seek(at)
        head = file.read(24)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"ds64":
            long_size = int.from_bytes(head[16:24], "little")
        if name == b"data":
            if length == 0xFFFFFFFF and long_size is not None:
                length = long_size
            elif length in (0, 0xFFFFFFFF):  # written before its length was known
                return 0
            lacks = at + 8 + length - size
            return lacks if lacks > SLACK else 0
        at += 8 + length + length % 2
    return 0


def _missing_of_ogg(file: Any) -> int:
    """What the last page lacks. A page has a header of 27 bytes, the sizes of its segments, the segments."""
    tail = ogg_tail(file)
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    page = tail[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return 27
    return max(0, 27 + page[26] + sum(page[27 : 27 + page[26]]) - len(page))
