"""Audio files <-> Audio: WAV, FLAC, Ogg (Vorbis, Opus) and MP3 through libsndfile. Slices: see audio_slices.py."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.io.audio_scan import missing_bytes
from otonoha.io.audio_slices import hushed, reason
from otonoha.io.guard import atomic, load_bytes
from otonoha.music.audio import Audio, first_bad
from otonoha.music.resample import resample as resample
from otonoha.music.suggest import one_of

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
MAX_BYTES = 2**30
MAX_SAMPLES = 2**30
PIECE = 2**16
"""Frames that are written at a time: long Vorbis writes can crash libsndfile."""
HEADROOM = 0.99
OPUS_KBPS = (6, 256)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


def read_audio(
    path: str | Path, *, start: float = 0.0, stop: float | None = None, limit: int = MAX_BYTES
) -> Audio:
    """Read a sound file, or only `start` … `stop` in seconds. Nothing is resampled or mixed.

    Raises ValueError (one line, with the file's name) for what is no sound file, is damaged or holds fewer
    frames than its header promises.
    """
    import soundfile

    data = load_bytes(path, limit=limit)
    if missing := missing_bytes(io.BytesIO(data)):
        raise ValueError(f"{path}: damaged, at least {missing:,} bytes of sound are missing")
    try:
        with hushed(), soundfile.SoundFile(io.BytesIO(data)) as file:
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
        raise ValueError(f"{path}: no readable sound file ({reason(error)})") from None
    if not len(samples):
        raise ValueError(f"{path}: it holds no sound" + (" there" if start or stop is not None else ""))
    if len(samples) < wanted:
        raise ValueError(f"{path}: damaged, {len(samples):,} of {wanted:,} frames can be read")
    if (bad := first_bad(samples.T)) is not None:
        at = (first + bad) / rate
        raise ValueError(
            f"{path}: damaged, some samples are no numbers (NaN or infinite), the first at {at:.3f} s"
        )
    return Audio(samples.T, rate)


def _check_promise(path: str | Path, size: int, frames: int, channels: int) -> None:
    """Refuse to make room for more sound than any codec could have put into the file."""
    if frames * channels > 2**16 * max(size, 2**12):
        raise ValueError(f"{path}: damaged, {size:,} bytes cannot hold {frames:,} frames")


def write_audio(audio: Audio, path: str | Path, *, kbps: float | None = None) -> Path:
    """Write by extension: .wav and .flac (16 bit), .ogg (Vorbis), .opus, .mp3.

    `kbps` is for .opus only: about how many kbit/s in all. Samples that are no numbers are refused (ValueError);
    sound that would clip is scaled down to a peak of 0.99, with a warning.
    """
    path = Path(path).expanduser()
    samples = _numbers(audio.samples, path)
    gain = _gain(audio.peak, path)
    with _new_file(path, audio.rate, audio.channels, kbps) as file:
        for at in range(0, samples.shape[1], PIECE):
            file.write(_scaled(samples[:, at : at + PIECE].T, gain))
    return path


def write_blocks(
    blocks: Iterable[np.ndarray], path: str | Path, rate: int, channels: int, *, kbps: float | None = None
) -> Path:
    """The same file from blocks (channels, n) that come one after the other: any length in bounded memory.

    How loud the sound is, and so what may be written, is known at its end only. Until then it waits in a file without
    a name in the folder of `path`, 4 bytes a sample, which the system takes away whatever happens.
    """
    path = Path(path).expanduser()
    with (
        _new_file(path, rate, channels, kbps) as file,
        tempfile.TemporaryFile(dir=path.parent) as waiting,
    ):
        peak = 0.0
        for block in blocks:
            peak = max(peak, float(np.abs(_numbers(block, path)).max(initial=0.0)))
            waiting.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        gain = _gain(peak, path)
        waiting.seek(0)
        while data := waiting.read(PIECE * channels * 4):
            file.write(_scaled(np.frombuffer(data, np.float32).reshape(-1, channels), gain))
    return path


@contextlib.contextmanager
def _new_file(path: Path, rate: int, channels: int, kbps: float | None) -> Iterator[Any]:
    """A soundfile.SoundFile to write (n, channels) to; it becomes `path` when the block ends well."""
    import soundfile

    kind, subtype = FORMATS[one_of(path.suffix.lower(), FORMATS, "sound file extension")]
    options = _opus_options(path, rate, channels, kbps)
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", rate, channels, format=kind, subtype=subtype, **options
            ) as file:
                yield file
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{path} cannot be written as {kind}: {reason(error)}") from None


def _numbers(samples: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} not written: some samples are no numbers (NaN or infinite)")
    return samples


def _gain(peak: float, path: Path) -> float:
    """What sound with that peak is multiplied by."""
    if peak <= 1.0:
        return 1.0
    warnings.warn(f"{path}: peak {peak:.2f} scaled down to {HEADROOM}", stacklevel=3)
    return HEADROOM / peak


def _scaled(samples: np.ndarray, gain: float) -> np.ndarray:
    return samples if gain == 1.0 else samples * gain


def _opus_options(path: Path, rate: int, channels: int, kbps: float | None) -> dict[str, Any]:
    """Opus has rates of its own, and a bit rate that libsndfile calls a level of compression from 0 to 1."""
    if path.suffix.lower() != ".opus":
        if kbps is not None:
            raise ValueError(f"{path}: kbps is for .opus only")
        return {}
    if rate not in OPUS_RATES:
        allowed = ", ".join(map(str, OPUS_RATES))
        raise ValueError(f"{path} not written: Opus has no rate of {rate} Hz, only {allowed}; resample first")
    if kbps is None:
        return {}
    low, high = OPUS_KBPS
    if not low * channels <= kbps <= high * channels:
        raise ValueError(f"kbps must lie in {low}-{high} for each channel, got {kbps:g} for {channels}")
    level = (high - kbps / channels) / (high - low)
    return {"compression_level": level}
