"""`otonoha decode`: codes of a learned codec as sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    with_: str
    """The codec that wrote it: a model folder or a name."""
    level: int = 0
    """Which level to decode: 0 is the finest."""
    out: str | None = None
    """A .wav, .flac, .ogg or .mp3 file, or a folder; a .wav beside the codes when unset."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Decode a file."""
    values = parse("decode", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.file).expanduser()
    path = asked.target(values.out, source, ".wav", overwrite=values.overwrite)
    from otonoha.io.files import AUDIO_SUFFIXES, write
    from otonoha.music.suggest import one_of
    from otonoha.tokens.files import load_tokens

    one_of(path.suffix.lower(), AUDIO_SUFFIXES, "kind of sound file")
    tokens = load_tokens(source)
    model = codec(values.with_)
    began = time.monotonic()
    audio = model.decode(tokens, level=values.level)
    spent = time.monotonic() - began
    write(audio, path)
    output.say(
        f"{asked.shown_path(path)}  ({audio.seconds:.1f} s from level {values.level}, took {spent:.1f} s)"
    )
    output.finish(
        {"file": path, "seconds": audio.seconds, "rate": audio.rate, "level": values.level, "spent": spent}
    )
