"""A rendered corpus: scores as sound, with labels that are exact because they are where the sound comes from.

    folder/corpus.json      name, terms, and the request (corpora, seed, mixes, fonts with their licences)
    folder/tracks.tsv       a row for each recording: labels, split, excerpt, mix, timing
    folder/sound/000123-….flac and .mid: the recording, and the very notes that sound in it (in seconds: music.labels)

Job n takes the next piece of an endless shuffled round and a mix of its own, until the hours are full. A piece stays in
its split. How jobs are carried out, and go on after an interruption: made.py.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otonoha.data.cache import pack
from otonoha.data.corpus import corpus
from otonoha.data.made import Job, Kind, Outcome, Told, carried_out, plain_name
from otonoha.data.made import Request as Made
from otonoha.data.mixes import MIXES, Manner, arranged
from otonoha.data.reading import Progress
from otonoha.data.soundfonts import described
from otonoha.io.audio_files import FORMATS, OPUS_KBPS
from otonoha.music.piece import Piece
from otonoha.music.suggest import one_of
from otonoha.music.time import last_tick, seconds

COLUMNS = (
    "path", "split", "piece", "corpus", "title", "artist", "composer", "genre", "style", "language", "licence",
    "seconds", "mix", "synthesiser", "seed", "tempo", "shift", "first_bar", "last_bar", "offset", "total",
)  # fmt: skip
KIND = Kind("otonoha.data.render_worker", COLUMNS)
TAIL = 1.35
"""Seconds that a recording goes on behind its last note, about."""


@dataclass(frozen=True)
class Request(Made):
    """What is to be rendered. `soundfonts` play every second recording; without any, the built-in synthesiser all."""

    format: str = "flac"
    kbps: float | None = None
    mixes: tuple[str, ...] = tuple(MIXES)
    soundfonts: tuple[str, ...] = ()
    most: float = 120.0
    """Seconds of one piece at a time; longer ones give excerpts of whole bars."""

    def __post_init__(self) -> None:
        one_of(f".{self.format}", FORMATS, "sound file extension")
        for mix in self.mixes:
            one_of(mix, MIXES, "mix")
        if not self.mixes or not self.corpora:
            raise ValueError("nothing to render: at least one corpus and one mix are needed")
        if not 0 < self.hours <= 100_000:
            raise ValueError(f"hours must be above 0 and at most 100,000, got {self.hours:g}")
        if not 1 <= self.most <= 3000:
            raise ValueError(f"most must lie in 1-3000 seconds of a piece, got {self.most:g}")
        if self.kbps is not None and self.format != "opus":
            raise ValueError("kbps is for the format opus only")
        if self.kbps is not None and not 2 * OPUS_KBPS[0] <= self.kbps <= 2 * OPUS_KBPS[1]:
            raise ValueError(
                f"kbps must lie in {2 * OPUS_KBPS[0]}-{2 * OPUS_KBPS[1]} for stereo, got {self.kbps:g}"
            )

    @property
    def rate(self) -> int:
        """Opus has 48 kHz; everything else gets 44.1 kHz."""
        return 48_000 if self.format == "opus" else 44_100


# -- the list of jobs -------------------------------------------------------------------------------------


def jobs(
    request: Request, pieces: Sequence[tuple[str, Piece]], skipped: list[tuple[str, str]]
) -> Iterator[Job]:
    """The jobs of a request, in order; pieces that cannot be used are told in `skipped`, once."""
    left, number, useless = request.hours * 3600, 0, set()
    for round_ in range(1_000_000):
        order = np.random.default_rng([request.seed, 1, round_]).permutation(len(pieces))
        for index in order:
            source, piece = pieces[index]
            if piece.id in useless:
                continue
            try:
                job = _job(request, number, source, piece, np.random.default_rng([request.seed, 2, number]))
            except ValueError as error:
                useless.add(piece.id)
                skipped.append((piece.id, " ".join(str(error).split())))
                continue
            yield job
            number, left = number + 1, left - job.seconds
            if left <= 0:
                return
        if not number:
            raise ValueError(
                f"none of the {len(pieces)} pieces can be rendered; {skipped[0][0]}: {skipped[0][1]}"
            )


def _job(request: Request, number: int, source: str, piece: Piece, rng: np.random.Generator) -> Job:
    mix = request.mixes[int(rng.integers(len(request.mixes)))]
    score, manner = arranged(piece.score(), mix, rng, most=request.most)
    fonts = request.soundfonts
    font = fonts[number // 2 % len(fonts)] if fonts and number % 2 else None
    key, seed = f"{number:06d}-{plain_name(piece, 40)}", request.seed * 1_000_003 + number
    length = float(seconds(score, np.array([last_tick(score)]))[0]) + TAIL
    row = _labels(piece, source, manner) | {
        "path": f"sound/{key}.{request.format}",
        "synthesiser": Path(font).name if font else "built-in",
        "seed": str(seed),
    }
    asked = {
        "score": base64.b64encode(pack(score)).decode(),
        "rate": request.rate,
        "soundfont": font,
        "seed": seed % 2**32,
        "kbps": request.kbps,
    }
    return Job(key, length, row, asked, limit=120 + 5 * length)


def _labels(piece: Piece, source: str, manner: Manner) -> dict[str, str]:
    """What is known of a recording before it is made."""
    known = {k: piece.labels[k] for k in ("title", "composer", "style", "language") if k in piece.labels}
    style = known.get("style", source)
    return {
        **known,
        "split": piece.split,
        "piece": piece.id,
        "corpus": source,
        "style": style,
        "genre": style,
        "artist": known.get("composer", style),
        "mix": manner.mix,
        "tempo": f"{manner.tempo:.4f}",
        "shift": str(manner.shift),
        "first_bar": str(manner.bars[0]),
        "last_bar": str(manner.bars[1]),
        "offset": f"{manner.offset:.3f}",
        "total": f"{manner.total:.3f}",
    }


# -- a run ------------------------------------------------------------------------------------------------


def render_corpus(
    request: Request,
    folder: str | Path,
    *,
    workers: int = 1,
    told: Told | None = None,
    reading: Progress | None = None,
) -> Outcome:
    """Render what is missing of a request into a folder. Raises ValueError for a folder with something else in it.

    `reading` hears of scores that are read for the first time (see `corpus`).
    """
    folder, outcome = Path(folder).expanduser(), Outcome()
    fonts = [described(Path(font)) for font in request.soundfonts]
    sources = [corpus(name, kind="scores", progress=reading) for name in request.corpora]
    terms = [f"{source.name}: {source.licence}" for source in sources]
    terms += [f"SoundFont {font['name']}: {font['licence']}" for font in fonts]
    about = {
        "licence": "rendered from " + "; ".join(terms),
        "ships": all(source.ships for source in sources),
        "source": f"otonoha data render {','.join(request.corpora)}",
        "soundfonts": fonts,
    }
    pieces = [(source.name, piece) for source in sources for piece in source.pieces]
    return carried_out(
        KIND,
        request,
        jobs(request, pieces, outcome.skipped),
        folder,
        outcome,
        about=about,
        licences={source.name: source.licence for source in sources},
        workers=workers,
        told=told,
    )
