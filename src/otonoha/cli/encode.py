"""`otonoha encode`: a recording as the codes of a learned codec."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output
from otonoha.io.audio_scan import missing_bytes
from otonoha.io.audio_slices import Place, open_sound, read_slice
from otonoha.music.recording import Recording

ABOUT = "Turn a recording into codes with a learned codec."


class Sound(Recording):
    """A sound file that is read slice by slice. Raises ValueError for one that is none, or was cut short."""

    def __init__(self, path: Path) -> None:
        self.place = Place(path)
        sound, raw = open_sound(self.place)
        with contextlib.closing(raw), contextlib.closing(sound):
            self.rate, self.channels, self.frames = sound.samplerate, sound.channels, sound.frames
        with path.open("rb") as file:
            missing = missing_bytes(file)
        if missing:
            raise ValueError(f"{path}: damaged, at least {missing:,} bytes of sound are missing")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames of the file."""
        return (
            read_slice(self.place, start, stop) if stop > start else np.zeros((self.channels, 0), np.float32)
        )


@dataclass(frozen=True)
class Options:
    """Options of encode."""

    file: Positional[str]
    """A sound file of any length, rate and number of channels; it is read slice by slice."""
    model: str
    """The codec: a model folder or a name (otonoha models). --with is the same."""
    out: str | None = None
    """An .npz file or a folder; an .npz beside the recording when unset."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Encode a file."""
    values = parse("encode", ABOUT, flags_of(Options), with_model(argv))
    output, source = Output(values.json), Path(values.file).expanduser()
    path = asked.target(values.out, source, ".npz", overwrite=values.overwrite)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"--out must be an .npz file, got {path}")
    from otonoha.tokens.files import save_tokens

    recording, model = Sound(source), codec(values.model)
    began = time.monotonic()
    tokens = model.encode(recording, progress=lambda done, all_: output.progress(done, all_, source.name))
    spent, each = time.monotonic() - began, [tokens.streams[f"level{i}"].size for i in range(model.levels)]
    save_tokens(tokens, path)
    output.say(
        f"{asked.shown_path(path)}  ({recording.seconds:.1f} s as "
        f"{', '.join(f'{n:,}' for n in each)} codes, level 0 first; took {spent:.1f} s)"
    )
    output.finish(
        {"file": path, "seconds": recording.seconds, "codes": each, "codec": tokens.codec, "spent": spent}
    )


def with_model(argv: Sequence[str]) -> list[str]:
    """--with, which is no name in Python, as --model."""
    return ["--model" + t[len("--with") :] if t == "--with" or t.startswith("--with=") else t for t in argv]


def codec(name: str) -> Any:
    """The model of that name, if it is a codec."""
    from otonoha.models.pretrained import load

    model = load(name)
    if not model.capabilities.codec:
        raise ValueError(f"{name} is a {model.family} model: it is no codec of sound (fit vqvae makes one)")
    return model
