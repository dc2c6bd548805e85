"""`otonoha encode`: a recording as the codes of a learned codec."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output

ABOUT = "Turn a recording into codes with a learned codec."


@dataclass(frozen=True)
class Options:
    """Options of encode."""

    file: Positional[str]
    """A sound file of any length, rate and number of channels; it is read slice by slice."""
    with_: str = "codec"
    """The codec: a model folder or a name (otonoha models). The one that ships when unset."""
    out: str | None = None
    """An .npz file or a folder; an .npz beside the recording when unset."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Encode a file."""
    values = parse("encode", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.file).expanduser()
    path = asked.target(values.out, source, ".npz", overwrite=values.overwrite)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"--out must be an .npz file, got {path}")
    from otonoha.data.audio_recording import Opened
    from otonoha.metrics.sound_codes import collapsed
    from otonoha.tokens.files import save_tokens

    recording, model = Opened(source), codec(values.with_)
    began = time.monotonic()
    with asked.folder_for(path.parent):  # before the long part, so that nothing is coded in vain
        try:
            tokens = model.encode(
                recording, progress=lambda done, all_: output.progress(done, all_, source.name)
            )
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        save_tokens(tokens, path)
    levels = [tokens.streams[f"level{i}"] for i in range(model.levels)]
    spent, each = time.monotonic() - began, [codes.size for codes in levels]
    sizes = [model.vocab[f"level{i}"].size for i in range(model.levels)]
    if warning := collapsed([[codes.reshape(-1)] for codes in levels], sizes):
        output.note(warning)
    output.say(
        f"{asked.shown_path(path)}  ({recording.seconds:.1f} s as "
        f"{', '.join(f'{n:,}' for n in each)} codes, level 0 first; took {spent:.1f} s)"
    )
    output.finish(
        {"file": path, "seconds": recording.seconds, "codes": each, "codec": tokens.codec, "spent": spent}
    )


def codec(name: str) -> Any:
    """The model of that name, if it is a codec."""
    from otonoha.models.pretrained import load

    model = load(name)
    if not model.capabilities.codec:
        raise ValueError(f"{name} is a {model.family} model: it is no codec of sound (fit vqvae makes one)")
    return model
