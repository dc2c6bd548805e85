"""`otonoha data render`: scores as recordings with exact labels. `otonoha data sing`: melodies as songs with words.
`otonoha data pack`: recordings as shards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from otonoha.cli.flags import Positional, flags_of, parse
from otonoha.cli.output import Output, count

RENDER = "Turn a corpus of scores into recordings, in many timbres and mixes, with exact labels."
SING = "Sing melodies with words in six languages, with exact labels (needs espeak-ng and the extra singing)."
PACK = "Pack recordings, their labels and notes into shards (.tar) that are read without being unpacked."
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class RenderOptions:
    """Options of data render."""

    corpora: Positional[str]
    """Corpora of scores (otonoha data list) or folders, with commas between them."""
    out: str
    """The folder of the recordings; the same command goes on with it, one with more --hours adds to it."""
    hours: float = 1.0
    """How many hours of sound."""
    format: str = "flac"
    """flac (about 280 MB an hour), opus or ogg."""
    kbps: float | None = None
    """For opus: kbit/s of both channels together; about 120 when unset."""
    mixes: tuple[str, ...] | None = None
    """Only these mixes, with commas between them; all when unset."""
    soundfont: str = AUTO
    """SoundFonts with commas between them; every second recording is made with one by FluidSynth. auto: FluidR3_GM
    where it and FluidSynth are installed; none: the built-in synthesiser for all."""
    most: float = 120.0
    """Seconds of one piece at most; of longer ones, excerpts of whole bars are made."""
    workers: int | None = None
    """Processes; as many as there are cores when unset."""
    seed: int = 0
    """Another seed gives other recordings."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class SingOptions:
    """Options of data sing."""

    corpora: Positional[str]
    """Corpora of scores (otonoha data list) or folders, with commas between them: lieder-voice, folk, ~/midi."""
    out: str
    """The folder of the recordings; the same command goes on with it, one with more --hours adds to it."""
    hours: float = 1.0
    """How many hours of sound (about 85 MB an hour)."""
    languages: tuple[str, ...] | None = None
    """Only these languages, with commas between them: en, ja, de, es, fr, it; all when unset."""
    voices: tuple[str, ...] | None = None
    """Only these voices, with commas between them: f1, f2, f3, f5, m1, m2, m3, m4, m6, m7; all when unset."""
    most: float = 40.0
    """Seconds of one piece at most; of longer ones, excerpts of whole bars are sung."""
    workers: int | None = None
    """Processes; as many as there are cores when unset."""
    seed: int = 0
    """Another seed gives other recordings."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class PackOptions:
    """Options of data pack."""

    corpus: Positional[str]
    """A corpus of recordings or a folder; one part of it is named after a colon, as in DIR:train."""
    out: str
    """The folder of the shards."""
    size: float = 500.0
    """MB of a shard, about."""
    json: bool = False
    """Print one JSON object."""


def render(argv: Sequence[str]) -> None:
    """Render a corpus, or go on with it."""
    values = parse("data render", RENDER, flags_of(RenderOptions), argv)
    output = Output(values.json)
    from otonoha.data.mixes import MIXES
    from otonoha.data.rendered import Request, render_corpus
    from otonoha.data.soundfonts import usual_fonts

    if values.soundfont in (AUTO, NONE):
        fonts = tuple(str(path) for path in usual_fonts()) if values.soundfont == AUTO else ()
    else:
        fonts = _words(values.soundfont)
    request = Request(
        corpora=_words(values.corpora),
        hours=values.hours,
        seed=values.seed,
        format=values.format,
        kbps=values.kbps,
        mixes=tuple(values.mixes or MIXES),
        soundfonts=fonts,
        most=values.most,
    )
    workers = values.workers if values.workers is not None else os.cpu_count() or 1
    synthesisers = " and ".join(["the built-in synthesiser", *(Path(font).name for font in fonts)])
    output.note(
        f"{values.hours:g} h by {synthesisers}, {workers} {'process' if workers == 1 else 'processes'}"
    )
    done = render_corpus(
        request,
        values.out,
        workers=workers,
        reading=output.reading,
        told=lambda at, of, what: output.progress(round(at), round(of), what),
    )
    _tell(done, values.out, output)
    output.say(f"to learn from it: otonoha fit vqvae --data {values.out}")
    output.finish({"folder": values.out, **asdict(done)})


def sing(argv: Sequence[str]) -> None:
    """Sing a corpus, or go on with it."""
    values = parse("data sing", SING, flags_of(SingOptions), argv)
    output = Output(values.json)
    from otonoha.data.sung import SINGERS, Request, sing_corpus
    from otonoha.data.sung_texts import VOICES

    request = Request(
        corpora=_words(values.corpora),
        hours=values.hours,
        seed=values.seed,
        languages=tuple(values.languages or VOICES),
        voices=tuple(values.voices or SINGERS),
        most=values.most,
    )
    workers = values.workers if values.workers is not None else os.cpu_count() or 1
    output.note(
        f"{values.hours:g} h in {', '.join(request.languages)}, {workers} {'process' if workers == 1 else 'processes'}"
    )
    done = sing_corpus(
        request,
        values.out,
        workers=workers,
        told=lambda at, of, what: output.progress(round(at), round(of), what),
    )
    _tell(done, values.out, output)
    output.say(f"what is sung: {values.out}/sound/*.lrc, with the times of the words")
    output.finish({"folder": values.out, **asdict(done)})


def _tell(done: Any, folder: str, output: Output) -> None:
    """How a run went."""
    from otonoha.data.report import length

    output.say(
        f"{folder}: {count(done.made, 'recording')}, {length(done.seconds)}, {done.bytes / 1e6:.1f} MB"
    )
    if done.kept:
        output.say(f"{count(done.kept, 'recording')} of an earlier run kept")
    if done.seconds:
        output.say(
            f"{done.seconds / done.wall:.1f} x real time ({done.seconds / done.spent:.1f} per core), "
            f"{done.bytes / done.seconds * 3600 / 1e6:.0f} MB an hour"
        )
    for name, reason in done.skipped[:5]:
        output.say(f"  skipped {name}: {reason}")


def pack(argv: Sequence[str]) -> None:
    """Pack a corpus into shards."""
    values = parse("data pack", PACK, flags_of(PackOptions), argv)
    output = Output(values.json)
    from otonoha.data.audio_shards import pack_pieces
    from otonoha.data.corpus import select

    pieces = [p for p in select(values.corpus, kind="sound", progress=output.reading) if p.recording]
    paths = pack_pieces(pieces, Path(values.out).expanduser(), size=values.size)
    packed = len(pieces)
    total = sum(path.stat().st_size for path in paths)
    output.say(
        f"{values.out}: {count(packed, 'recording')} in {count(len(paths), 'shard')}, {total / 1e6:.1f} MB"
    )
    output.finish({"folder": values.out, "shards": paths, "recordings": packed, "bytes": total})


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
