"""A corpus of sound that is made: a list of jobs, processes that carry them out, and a folder that grows.

    folder/corpus.json      name, terms, and the request
    folder/tracks.tsv       a row for each recording
    folder/sound/…          the recordings, and what belongs to each

The jobs follow from the request alone. Each recording appears when it is whole, then its row is written; a run that was
killed goes on where it stopped, and a run for more hours adds to what is there. What is made of scores: rendered.py
(all kinds of instruments), sung.py (words).
"""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from otonoha.data.audio_folder import TERMS
from otonoha.data.render_crew import Renderer
from otonoha.io.guard import store_bytes
from otonoha.music.piece import Piece

TABLE = "tracks.tsv"
Told = Callable[[float, float, str], None]
"""Progress: (seconds made, seconds in all, speed)."""


@dataclass(frozen=True)
class Request:
    """What every request says; more is said by each kind."""

    corpora: tuple[str, ...]
    hours: float = 1.0
    seed: int = 0

    def constant(self) -> dict[str, Any]:
        """What must be the same for a run to be the same run; hours may grow."""
        return json.loads(json.dumps({k: v for k, v in asdict(self).items() if k != "hours"}))


@dataclass(frozen=True, eq=False)
class Job:
    """One recording to be made. `row` are its labels, with its `path`; `asked` is what the process is asked, to which
    its target is added; `limit` the seconds that it may take.
    """

    key: str
    seconds: float
    row: dict[str, str]
    asked: dict[str, Any]
    limit: float


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


@dataclass(frozen=True)
class Kind:
    """A kind of made corpus: the module that answers its jobs, the columns of its table."""

    worker: str
    columns: tuple[str, ...]


def carried_out(
    kind: Kind,
    request: Request,
    jobs: Iterable[Job],
    folder: Path,
    outcome: Outcome,
    *,
    about: Mapping[str, Any],
    licences: Mapping[str, str],
    workers: int,
    told: Told | None = None,
) -> Outcome:
    """Make what is missing of a request in a folder. `about` is what corpus.json says, `licences` are those of the
    corpora's recordings. ValueError for a folder with something else in it.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    _begin(kind, request, folder, about)
    began, done, kept = time.monotonic(), read_rows(folder), 0.0
    with (folder / TABLE).open("a", encoding="utf-8", newline="") as table, _Crew(kind, workers) as crew:

        def note(job: Job, answer: dict[str, Any]) -> None:
            job.row["licence"] = licences[job.row["corpus"]]
            _note(kind, job, answer, outcome, table)
            if told:
                speed = outcome.seconds / (time.monotonic() - began)
                told(kept + outcome.seconds, request.hours * 3600, f"{speed:.1f} x real time")

        for job in jobs:
            if job.row["path"] in done:
                outcome.kept, kept = outcome.kept + 1, kept + job.seconds
                continue
            for answered in crew.take(job, folder):
                note(*answered)
        for answered in crew.rest():
            note(*answered)
    outcome.wall = time.monotonic() - began
    return outcome


class _Crew:
    """Processes, each minded by a thread; twice as many jobs are out as there are processes, at most."""

    def __init__(self, kind: Kind, workers: int) -> None:
        self.most = 2 * workers
        self.free: SimpleQueue[Renderer] = SimpleQueue()
        self.renderers = [Renderer(kind.worker) for _ in range(workers)]
        for renderer in self.renderers:
            self.free.put(renderer)
        self.pool = ThreadPoolExecutor(workers)
        self.out: dict[Future[dict[str, Any]], Job] = {}

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of what nobody has begun, and end the processes."""
        for renderer in self.renderers:
            renderer.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        for renderer in self.renderers:
            renderer.close()

    def take(self, job: Job, folder: Path) -> list[tuple[Job, dict[str, Any]]]:
        """Hand out a job; those that have come back meanwhile."""
        back = self._back() if len(self.out) >= self.most else []
        self.out[self.pool.submit(self._ask, job, str(folder / job.row["path"]))] = job
        return back

    def rest(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Those that are still out, as they come back."""
        while self.out:
            yield from self._back()

    def _back(self) -> list[tuple[Job, dict[str, Any]]]:
        ready, _ = wait(self.out, return_when=FIRST_COMPLETED)
        return [(self.out.pop(future), future.result()) for future in ready]

    def _ask(self, job: Job, target: str) -> dict[str, Any]:
        renderer = self.free.get()
        try:
            return renderer.ask({**job.asked, "target": target}, limit=job.limit)
        finally:
            self.free.put(renderer)


def _note(kind: Kind, job: Job, answer: dict[str, Any], outcome: Outcome, table: Any) -> None:
    """Write the row of a recording that is there now."""
    if "error" in answer:
        outcome.skipped.append((job.key, answer["error"]))
        return
    row = {**job.row, "seconds": f"{answer['seconds']:.4f}"}
    table.write("\t".join(" ".join(row.get(name, "").split()) for name in kind.columns) + "\n")
    table.flush()
    outcome.made += 1
    outcome.seconds += answer["seconds"]
    outcome.bytes += answer["bytes"]
    outcome.spent += answer["spent"]


# -- the folder -------------------------------------------------------------------------------------------


def _begin(kind: Kind, request: Request, folder: Path, about: Mapping[str, Any]) -> None:
    """Say in corpus.json what this is; refuse a folder that holds something else."""
    path = folder / TERMS
    if path.exists():
        said = json.loads(path.read_text("utf-8")).get("request")
        if said != request.constant():
            differs = [k for k, v in request.constant().items() if not said or said.get(k) != v]
            raise ValueError(
                f"{folder} holds another corpus (it differs in {', '.join(differs)}): choose another folder, "
                "or ask for the same with more hours"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else; choose a new folder")
    (folder / "sound").mkdir(parents=True, exist_ok=True)
    for unfinished in (folder / "sound").glob(".*"):
        unfinished.unlink()
    whole = {"name": folder.name, **about, "request": request.constant()}
    store_bytes(path, json.dumps(whole, indent=1, ensure_ascii=False).encode())
    if not (folder / TABLE).exists():
        store_bytes(folder / TABLE, ("\t".join(kind.columns) + "\n").encode())


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Path -> row of the recordings that are there; a last line that was cut short by a kill is taken away."""
    path = folder / TABLE
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        store_bytes(path, whole)
    lines = csv.DictReader(whole.decode("utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["path"]: row for row in lines if (folder / row["path"]).is_file()}


def plain_name(piece: Piece, longest: int) -> str:
    """The end of a piece's id, of characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", piece.id).strip("-")[-longest:]
