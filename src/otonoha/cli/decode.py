"""`otonoha decode`: codes of a learned codec as sound."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.encode import codec
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output

ABOUT = "Turn codes of a learned codec into sound."


@dataclass(frozen=True)
class Options:
    """Options of decode."""

    file: Positional[str]
    """An .npz file that otonoha encode has written."""
    with_: str = "codec"
    """The codec that wrote it: a model folder or a name."""
    level: int = 0
    """Which level to decode: 0 is the finest."""
    noise: float | None = None
    """How much is added of what the decoder cannot foresee: 0 (none: nearer to the waveform, and duller) … 1 (when
    unset); for codecs that write it apart, as codec does."""
    out: str | None = None
    """A .wav, .flac, .ogg, .opus or .mp3 file, or a folder; a .wav beside the codes when unset."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Decode a file, piece by piece: the sound is never in memory as a whole."""
    values = parse("decode", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.file).expanduser()
    path = asked.target(values.out, source, ".wav", overwrite=values.overwrite)
    from otonoha.io.audio_files import FORMATS, write_blocks
    from otonoha.music.suggest import one_of
    from otonoha.tokens.files import load_tokens

    one_of(path.suffix.lower(), FORMATS, "kind of sound file")
    tokens = load_tokens(source)
    model = codec(values.with_)
    rate, channels, most = model.config.rate, model.config.channels, len(tokens) * model.config.hops[-1]
    # what is wrong with the codes shows here, before anything is written
    parts = model.decode_stream(tokens, level=values.level, noise=values.noise)
    began, frames = time.monotonic(), 0

    def blocks() -> Iterator[Any]:
        nonlocal frames
        for part in parts:
            frames += part.samples.shape[1]
            output.progress(frames, most, source.name)
            yield part.samples

    with asked.folder_for(path.parent):
        write_blocks(blocks(), path, rate, channels)
    spent = time.monotonic() - began
    output.say(
        f"{asked.shown_path(path)}  ({frames / rate:.1f} s from level {values.level}, took {spent:.1f} s)"
    )
    output.finish(
        {
            "file": path,
            "seconds": frames / rate,
            "rate": rate,
            "level": values.level,
            "noise": values.noise,
            "spent": spent,
        }
    )
