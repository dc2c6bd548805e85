"""What benchmarks/codec.py puts beside each other: Opus at a bit rate, silence, and the levels of our codecs.

A coder takes a mono recording at 44.1 kHz and gives it back at that rate, with what it cost.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import otonoha as oto
from otonoha.metrics.sound_codes import adaptive_bits, usage
from otonoha.music.audio import Audio
from otonoha.music.resample import resample

RATE = 44_100
OPUS_RATE = 48_000
OPUS_KBPS = (8, 14, 24)
ORDERS = (0, 1, 2)


@dataclass
class Coded:
    """What a coder made of the recordings so far."""

    pairs: list[tuple[Audio, Audio]] = field(default_factory=list)
    bits: float = 0.0
    """Without any entropy coding of our own."""
    codes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """Stream -> its codes, a sequence for each recording."""

    @property
    def seconds(self) -> float:
        """Of the recordings."""
        return sum(reference.seconds for reference, _ in self.pairs)


@dataclass
class Coder:
    """A row of the table: how it codes, what it made, and what is timed."""

    name: str
    code: Callable[[Audio, Coded], Audio]
    """Recording -> what is left of it; notes bits and codes."""
    encode: Callable[[Audio], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    prepare: Callable[[Audio], Any] = lambda audio: audio
    """Before the clock starts: another rate."""
    threads: bool = False
    """Whether the number of threads makes a difference."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Stream -> size of its codebook."""
    made: Coded = field(default_factory=Coded)

    def __call__(self, audio: Audio) -> None:
        """Code a recording and keep what comes out."""
        self.made.pairs.append((audio, fitted(self.code(audio, self.made), audio)))

    def kbps(self) -> float:
        """As it stands: bytes of the file, or log2 of the codebooks' sizes."""
        return self.made.bits / self.made.seconds / 1000

    def coded_kbps(self) -> float | None:
        """With the best of the adaptive arithmetic coders, each stream on its own; None for what has no codes."""
        if not self.sizes:
            return None
        best = [min(costs) for costs in self.adaptive().values()]
        return sum(best) / self.made.seconds / 1000

    def adaptive(self) -> dict[str, list[float]]:
        """Bits of each stream at the ORDERS."""
        return {
            name: [adaptive_bits(self.made.codes[name], size, order=k) for k in ORDERS]
            for name, size in self.sizes.items()
        }

    def use(self) -> dict[str, dict[str, float]]:
        """Use of each codebook."""
        return {name: usage(self.made.codes[name], size) for name, size in self.sizes.items()}


def fitted(audio: Audio, like: Audio) -> Audio:
    """Mono, at the recording's rate, and as long."""
    sound = resample(audio.mono(), like.rate).samples
    length = like.samples.shape[1]
    return Audio(np.pad(sound[:, :length], ((0, 0), (0, max(length - sound.shape[1], 0)))), like.rate)


# -- Opus and silence -----------------------------------------------------------------------------------


def silence() -> Coder:
    """No sound at all."""
    return Coder("silence", lambda audio, made: Audio(np.zeros_like(audio.samples), audio.rate))


def opus(kbps: float) -> Coder:
    """libopus through soundfile, variable rate. Its codec works at 48 kHz; the container is not counted."""

    def code(audio: Audio, made: Coded) -> Audio:
        file = encode(resample(audio, OPUS_RATE))
        made.bits += 8 * opus_bytes(file)
        return opus_decode(file)

    encode = partial(opus_encode, kbps=kbps)
    return Coder(f"Opus {kbps:g} kbps", code, encode, opus_decode, lambda audio: resample(audio, OPUS_RATE))


def opus_encode(audio: Audio, kbps: float) -> bytes:
    """An Ogg Opus file. libsndfile says the rate as a level: 0 is 256 kbps for each channel, 1 is 6."""
    import soundfile

    level = (256 - kbps / audio.channels) / 250
    file = io.BytesIO()
    how = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    with soundfile.SoundFile(file, "w", audio.rate, audio.channels, **how) as out:
        out.write(audio.samples.T)
    return file.getvalue()


def opus_decode(file: bytes) -> Audio:
    """The sound of it."""
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    return Audio(samples.T, rate)


def opus_bytes(file: bytes) -> int:
    """Bytes of the packets of sound: pages of the Ogg container less their heads; the pages of the two heads of
    Opus itself have the granule position 0 (RFC 3533, RFC 7845).
    """
    at = total = 0
    while at + 27 <= len(file):
        if file[at : at + 4] != b"OggS":
            raise ValueError(f"no Ogg page at byte {at}")
        segments = file[at + 26]
        body = sum(file[at + 27 : at + 27 + segments])
        total += body if any(file[at + 6 : at + 14]) else 0
        at += 27 + segments + body
    return total


# -- our codecs -----------------------------------------------------------------------------------------


def of_model(told: str) -> list[Coder]:
    """A coder for each level of a model; a level that builds upon others costs what they cost, too. NAME@SHARE: the
    finest level with this share of its noise, from 0 to 1.
    """
    name, _, share = told.partition("@")
    model: Any = oto.load(name)
    if not model.capabilities.codec:
        raise SystemExit(f"{name} is a {model.family} model, no codec of sound")
    how = {"noise": float(share)} if share else {}
    last: dict[str, Any] = {}
    coders = []
    for level in range(1 if share else model.levels):
        needed = levels_needed(model, level)
        sizes = {key: size for i in needed for key, size in books(model, i).items()}
        title = f"{name}, level {level}" + "".join(f" + {i}" for i in needed if i != level)
        title += f", noise {share}" if share else ""
        decode = partial(model.decode, level=level, **how)
        code = partial(_code, model, decode, sizes, last)
        coders.append(Coder(title, code, model.encode, decode, threads=True, sizes=sizes))
    return coders


def _code(
    model: Any,
    decode: Callable[[Any], Audio],
    sizes: dict[str, int],
    last: dict[str, Any],
    audio: Audio,
    made: Coded,
) -> Audio:
    """Encode (once for all levels: `last` holds the codes of the last recording), note the codes, decode."""
    if last.get("audio") is not audio:
        last.update(audio=audio, tokens=model.encode(audio))
    tokens = last["tokens"]
    for key, size in sizes.items():
        codes = tokens.streams[key]
        made.codes.setdefault(key, []).append(codes.reshape(-1))
        made.bits += codes.size * math.log2(size)
    return decode(tokens)


def books(model: Any, level: int) -> dict[str, int]:
    """Streams of a level (`level0`, or `level0.0`, `level0.1` … where it has several) -> size of their codebooks."""
    return {s.name: s.size for s in model.vocab.symbols if s.name.partition(".")[0] == f"level{level}"}


def levels_needed(model: Any, level: int, *, seconds: float = 0.5) -> list[int]:
    """The levels whose codes make a difference to the sound of one, by trying: each level's codes are shuffled."""
    rng = np.random.default_rng(0)
    frames = round(seconds * model.config.rate)
    tokens = model.encode(Audio(0.1 * rng.standard_normal((1, frames)), model.config.rate))
    wanted = model.decode(tokens, level=level).samples
    needed = []
    for other in range(model.levels):
        streams = dict(tokens.streams)
        for name, size in books(model, other).items():
            streams[name] = ((streams[name] + size // 2) % size).astype(streams[name].dtype)
        heard = model.decode(type(tokens)(streams, tokens.clock, tokens.codec), level=level).samples
        if other == level or not np.array_equal(heard, wanted):
            needed.append(other)
    return needed


def all_coders(models: Sequence[str]) -> list[Coder]:
    """Every row of the table."""
    return [silence(), *(opus(k) for k in OPUS_KBPS), *(c for name in models for c in of_model(name))]
