"""Audio files <-> Audio: WAV, FLAC, Ogg and MP3 through libsndfile; resampling through soxr."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from otonoha.io.guard import atomic, load_bytes
from otonoha.music.audio import Audio
from otonoha.music.suggest import one_of

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
MAX_BYTES = 2**30
MAX_SAMPLES = 2**30
HEADROOM = 0.99
SLACK = 64


def read_audio(
    path: str | Path, *, start: float = 0.0, stop: float | None = None, limit: int = MAX_BYTES
) -> Audio:
    """Read a sound file, or only `start` … `stop` in seconds. Nothing is resampled or mixed.

    Raises ValueError (one line, with the file's name) for what is no sound file, is damaged or holds fewer
    frames than its header promises.
    """
    import soundfile

    data = load_bytes(path, limit=limit)
    _check_wav(path, data)
    try:
        with _quiet(), soundfile.SoundFile(io.BytesIO(data)) as file:
            first = min(max(round(start * file.samplerate), 0), file.frames)
            last = file.frames if stop is None else min(round(stop * file.samplerate), file.frames)
            wanted = max(last - first, 0)
            if wanted * file.channels > MAX_SAMPLES:
                raise ValueError(f"{path}: its header promises {wanted:,} frames; read it in pieces")
            _check_promise(path, len(data), wanted, file.channels)
            if first:
                file.seek(first)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path}: no readable sound file ({_reason(error)})") from None
    if not len(samples):
        raise ValueError(f"{path}: it holds no sound" + (" there" if start or stop is not None else ""))
    if len(samples) < wanted:
        raise ValueError(f"{path}: damaged, {len(samples):,} of {wanted:,} frames can be read")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: damaged, some samples are no numbers")
    return Audio(samples.T, rate)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the MP3 decoder's chatter about damaged frames out of the terminal (it writes to stderr itself)."""
    try:
        stderr = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device, not a path)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check_wav(path: str | Path, data: bytes) -> None:
    """Refuse a WAV file that was cut short: libsndfile would read what is left without a word."""
    at = 12
    while data[:4] == b"RIFF" and at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        missing = at + 8 + size - len(data)
        if name == b"data":
            streamed = size in (0, 0xFFFFFFFF)  # written before its length was known
            if missing > SLACK and not streamed:
                raise ValueError(f"{path}: damaged, {missing:,} of {size:,} bytes of sound are missing")
            return
        at += 8 + size + size % 2


def _check_promise(path: str | Path, size: int, frames: int, channels: int) -> None:
    """Refuse to make room for more sound than any codec could have put into the file."""
    if frames * channels > 2**16 * max(size, 2**12):
        raise ValueError(f"{path}: damaged, {size:,} bytes cannot hold {frames:,} frames")


def _reason(error: Exception) -> str:
    return str(error).removeprefix("Error opening <_io.BytesIO object").split(">: ")[-1].strip().rstrip(".")


def write_audio(audio: Audio, path: str | Path) -> Path:
    """Write by extension: .wav and .flac (16 bit), .ogg (Vorbis), .mp3.

    Samples that are no numbers are refused (ValueError); sound that would clip is scaled down to a peak of
    0.99, with a warning.
    """
    import soundfile

    path = Path(path).expanduser()
    kind, subtype = FORMATS[one_of(path.suffix.lower(), FORMATS, "sound file extension")]
    samples = audio.samples
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} not written: some samples are no numbers (NaN or infinite)")
    if audio.peak > 1.0:
        warnings.warn(f"{path}: peak {audio.peak:.2f} scaled down to {HEADROOM}", stacklevel=2)
        samples = samples * (HEADROOM / audio.peak)
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", audio.rate, audio.channels, format=kind, subtype=subtype
            ) as file:
                for at in range(0, samples.shape[1], 2**16):  # long Vorbis writes can crash libsndfile
                    file.write(samples[:, at : at + 2**16].T)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{path} cannot be written as {kind}: {_reason(error)}") from None
    return path


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at another rate in Hz (soxr, high quality)."""
    if not 1 <= rate <= 768_000:
        raise ValueError(f"rate must lie in 1-768000 Hz, got {rate}")
    if rate == audio.rate:
        return audio
    import soxr

    return Audio(soxr.resample(audio.samples.T, audio.rate, rate, quality="HQ").T, rate)
