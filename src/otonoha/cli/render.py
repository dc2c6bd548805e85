"""`otonoha render`: a score as sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otonoha.cli import asked
from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output

ABOUT = "Turn a score into sound."


@dataclass(frozen=True)
class Options:
    """Options of render."""

    file: Positional[str]
    """MIDI, MusicXML or ABC."""
    out: str | None = None
    """A .wav, .flac, .ogg or .mp3 file, or a folder; a .wav beside the score when unset."""
    soundfont: str | None = None
    """A SoundFont (.sf2, .sf3) to play with by FluidSynth instead of the built-in synthesiser."""
    rate: int = 44100
    """Samples per second."""
    overwrite: bool = False
    """Replace an existing --out."""
    json: bool = False
    """Print one JSON object."""


def run(argv: Sequence[str]) -> None:
    """Render a file."""
    values = parse("render", ABOUT, flags_of(Options), argv)
    output, source = Output(values.json), Path(values.file).expanduser()
    score = asked.score_from(values.file)
    path = asked.target(values.out, source, ".wav", overwrite=values.overwrite)
    from otonoha.io.files import AUDIO_SUFFIXES, write
    from otonoha.io.render import choose, render
    from otonoha.music.suggest import one_of

    one_of(path.suffix.lower(), AUDIO_SUFFIXES, "kind of sound file")
    began = time.monotonic()
    audio = render(score, rate=values.rate, soundfont=values.soundfont)
    spent, synthesiser = time.monotonic() - began, choose(values.soundfont)
    write(audio, path)
    output.say(f"{asked.shown_path(path)}  ({audio.seconds:.1f} s in {spent:.1f} s, by {synthesiser})")
    output.finish(
        {
            "file": path,
            "seconds": audio.seconds,
            "rate": audio.rate,
            "synthesiser": synthesiser,
            "spent": spent,
        }
    )
