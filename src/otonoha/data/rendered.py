"""A rendered corpus: scores as sound, with labels that are exact because they are where the sound comes from.

    folder/corpus.json      name, terms, and the request (corpora, seed, mixes, fonts with their licences)
    folder/tracks.tsv       a row for each recording: labels, split, excerpt, mix, timing
    folder/sound/000123-….flac and .mid: the recording, and the very notes that sound in it (in seconds: music.labels)

The list of jobs follows from the request alone: job n takes the next piece of an endless shuffled round and a mix of
its own, until the hours are full. Each recording appears when it is whole, then its row is written; a run that was
killed goes on where it stopped, and a run for more hours adds to what is there. A piece stays in its split.
"""

from __future__ import annotations

import base64
import csv
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from otonoha.data.audio_folder import TERMS
from otonoha.data.cache import pack
from otonoha.data.corpus import corpus
from otonoha.data.mixes import MIXES, Manner, arranged
from otonoha.data.reading import Progress
from otonoha.data.render_crew import Renderer
from otonoha.data.report import Corpus
from otonoha.data.soundfonts import described
from otonoha.io.audio_files import FORMATS, OPUS_KBPS
from otonoha.io.guard import store_bytes
from otonoha.music.piece import Piece
from otonoha.music.suggest import one_of
from otonoha.music.time import last_tick, seconds

TABLE = "tracks.tsv"
COLUMNS = (
    "path", "split", "piece", "corpus", "title", "artist", "composer", "genre", "style", "language", "licence",
    "seconds", "mix", "synthesiser", "seed", "tempo", "shift", "first_bar", "last_bar", "offset", "total",
)  # fmt: skip
TAIL = 1.35
"""Seconds that a recording goes on behind its last note, about."""
Told = Callable[[float, float, str], None]
"""Progress: (seconds rendered, seconds in all, name)."""


@dataclass(frozen=True)
class Request:
    """What is to be rendered. `soundfonts` play every second recording; without any, the built-in synthesiser all."""

    corpora: tuple[str, ...]
    hours: float = 1.0
    seed: int = 0
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

    def constant(self) -> dict[str, Any]:
        """What must be the same for a run to be the same run; hours may grow."""
        return json.loads(json.dumps({k: v for k, v in asdict(self).items() if k != "hours"}))


@dataclass(frozen=True, eq=False)
class Job:
    """One recording to be made. `row` are its labels; `score` what is to sound, packed."""

    key: str
    score: bytes
    seconds: float
    soundfont: str | None
    seed: int
    row: dict[str, str]


@dataclass
class Outcome:
    """How a run went. Times are of processors, `wall` of the clock; `kept` counts recordings of earlier runs."""

    made: int = 0
    kept: int = 0
    seconds: float = 0.0
    bytes: int = 0
    spent: float = 0.0
    wall: float = 0.0
    skipped: list[tuple[str, str]] = field(default_factory=list)


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
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", piece.id).strip("-")[-40:]
    key, seed = f"{number:06d}-{plain}", request.seed * 1_000_003 + number
    length = float(seconds(score, np.array([last_tick(score)]))[0]) + TAIL
    row = _labels(piece, source, manner) | {
        "path": f"sound/{key}.{request.format}",
        "synthesiser": Path(font).name if font else "built-in",
        "seed": str(seed),
    }
    return Job(key, pack(score), length, font, seed, row)


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
    folder, began = Path(folder).expanduser(), time.monotonic()
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    fonts = [described(Path(font)) for font in request.soundfonts]
    sources = [corpus(name, kind="scores", progress=reading) for name in request.corpora]
    _begin(request, folder, sources, fonts)
    done, outcome = read_rows(folder), Outcome()
    pieces = [(source.name, piece) for source in sources for piece in source.pieces]
    terms = {source.name: source.licence for source in sources}
    todo: queue.Queue[Job | None] = queue.Queue(2 * workers)
    answers: queue.SimpleQueue[tuple[Job, dict[str, Any]]] = queue.SimpleQueue()
    crew = [
        threading.Thread(target=_mind, args=(todo, answers, request, folder), daemon=True)
        for _ in range(workers)
    ]
    for minder in crew:
        minder.start()
    waiting, kept = 0, 0.0

    def report(outcome: Outcome) -> None:
        if told:
            speed = outcome.seconds / (time.monotonic() - began)
            told(kept + outcome.seconds, request.hours * 3600, f"{speed:.1f} x real time")

    try:
        with (folder / TABLE).open("a", encoding="utf-8", newline="") as table:
            for job in jobs(request, pieces, outcome.skipped):
                if job.row["path"] in done:
                    outcome.kept += 1
                    kept += job.seconds
                    continue
                job.row["licence"] = terms[job.row["corpus"]]
                todo.put(job)
                waiting += 1
                while not answers.empty():
                    waiting -= 1
                    _take(*answers.get(), outcome, table)
                    report(outcome)
            for _ in crew:
                todo.put(None)
            for _ in range(waiting):
                _take(*answers.get(), outcome, table)
                report(outcome)
    finally:
        _stop(todo, len(crew))
    outcome.wall = time.monotonic() - began
    return outcome


def _mind(todo: queue.Queue, answers: queue.SimpleQueue, request: Request, folder: Path) -> None:
    """Feed one rendering process until there is nothing more to do."""
    renderer = Renderer()
    try:
        while (job := todo.get()) is not None:
            asked = {
                "score": base64.b64encode(job.score).decode(),
                "target": str(folder / job.row["path"]),
                "rate": request.rate,
                "soundfont": job.soundfont,
                "seed": job.seed % 2**32,
                "kbps": request.kbps,
            }
            answers.put((job, renderer.ask(asked, limit=120 + 5 * job.seconds)))
    finally:
        renderer.close()


def _stop(todo: queue.Queue, count: int) -> None:
    """After an interruption: forget what nobody has begun, and let the minders go."""
    while not todo.empty():
        todo.get_nowait()
    for _ in range(count):
        todo.put(None)


def _take(job: Job, answer: dict[str, Any], outcome: Outcome, table: Any) -> None:
    """Write the row of a recording that is there now."""
    if "error" in answer:
        outcome.skipped.append((job.key, answer["error"]))
        return
    row = {**job.row, "seconds": f"{answer['seconds']:.4f}"}
    table.write("\t".join(plain(row.get(name, "")) for name in COLUMNS) + "\n")
    table.flush()
    outcome.made += 1
    outcome.seconds += answer["seconds"]
    outcome.bytes += answer["bytes"]
    outcome.spent += answer["spent"]


def plain(text: str) -> str:
    """On one line, without tabs."""
    return " ".join(text.split())


# -- the folder -------------------------------------------------------------------------------------------


def _begin(request: Request, folder: Path, sources: Sequence[Corpus], fonts: list[dict[str, str]]) -> None:
    """Say in corpus.json what this is; refuse a folder that holds something else."""
    path = folder / TERMS
    if path.exists():
        said = json.loads(path.read_text("utf-8")).get("request")
        if said != request.constant():
            differs = [k for k, v in request.constant().items() if not said or said.get(k) != v]
            raise ValueError(
                f"{folder} holds another rendering (it differs in {', '.join(differs)}): choose another folder, "
                "or ask for the same with more hours"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else; choose a new folder")
    terms = [f"{source.name}: {source.licence}" for source in sources]
    terms += [f"SoundFont {font['name']}: {font['licence']}" for font in fonts]
    about = {
        "name": folder.name,
        "licence": "rendered from " + "; ".join(terms),
        "ships": all(source.ships for source in sources),
        "source": f"otonoha data render {','.join(request.corpora)}",
        "request": request.constant(),
        "soundfonts": fonts,
    }
    (folder / "sound").mkdir(parents=True, exist_ok=True)
    for unfinished in (folder / "sound").glob(".*"):
        unfinished.unlink()
    store_bytes(path, json.dumps(about, indent=1, ensure_ascii=False).encode())
    if not (folder / TABLE).exists():
        store_bytes(folder / TABLE, ("\t".join(COLUMNS) + "\n").encode())


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Path -> row of the recordings that are there; a last line that was cut short by a kill is taken away."""
    path = folder / TABLE
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        store_bytes(path, whole)
    lines = csv.DictReader(whole.decode("utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["path"]: row for row in lines if (folder / row["path"]).is_file()}
