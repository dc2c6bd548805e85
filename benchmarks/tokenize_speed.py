"""Files per second: otonoha's codecs beside MidiTok's REMI, and symusic's MIDI reader beside mido.

    OTONOHA_DATA=DIR python benchmarks/tokenize_speed.py --files 100

Every file is parsed once; both sides get the same symusic Scores in memory, one thread, and take turns, 64
files at a time. Times are CPU times, and that of 64 files the least of several rounds, so that other work on
the machine disturbs neither side much. MidiTok's `encode` takes one score at a time, as do the rows `encode`
and `grid`; `encode_many` takes the 64 at once.

- melody: the score has one track (the sung line of a song). REMI writes that track, `notes` writes it too.
- all tracks: REMI writes every track, and so does `events`, bars and tracks included. `notes` writes every track
  as a melody of its own (of a chord the highest note), `grid` writes all tracks together, a voice a track, at
  sixteenths. Both keep less of a piano part than REMI does: `notes_in_per_s` counts what goes in, `notes_kept` is
  the share that is heard again. `tokens_per_note` counts every symbol.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from symusic import Score

from _table import markdown, read_table, write_table
from otonoha.data.homes import need_home
from otonoha.music.voices import melody
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.grid import Grid
from otonoha.tokens.notes import Notes

NOTES = Notes()
EVENTS = Events()
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100, help="files of each corpus")
    parser.add_argument("--rounds", type=int, default=5, help="times that each file is written")
    options = parser.parse_args()
    root = need_home("pop909", "pop909").parent
    midi = sorted((root / "pop909" / "midi").glob("*.mid"))[: options.files]
    corpora = {"pop909": [Score(path) for path in midi], "lieder": lieder(root, options.files)}
    rows = []
    for name, scores in corpora.items():
        rows += melody_rows(name, scores, options.rounds)
        rows += track_rows(name, scores, options.rounds)
    rows += parsing_rows(midi, options.rounds)
    write_table("tokenize_speed", rows, f"python benchmarks/tokenize_speed.py --files {options.files}")
    print(markdown(read_table("tokenize_speed")))


def lieder(root: Path, files: int) -> list[Score]:
    """The songs, read by otonoha once."""
    from otonoha.io.musicxml import read_musicxml

    return [read_musicxml(path) for path in sorted((root / "openscore-lieder" / "mxl").glob("*.mxl"))[:files]]


def melody_rows(corpus: str, scores: list[Score], rounds: int) -> list[dict]:
    lines = [melody(score) for score in scores]
    jobs = [each(remi_encoder()), each(NOTES.encode), NOTES.encode_many]
    kept = heard(NOTES, [NOTES.encode(line) for line in lines])
    names = ["MidiTok REMI", "notes, encode", "notes, encode_many"]
    count = sum(line.note_num() for line in lines)
    return rows_of(
        f"{corpus}, melody", names, interleaved(jobs, lines, rounds), len(lines), count, [count, kept, kept]
    )


def track_rows(corpus: str, scores: list[Score], rounds: int) -> list[dict]:
    scores = [only_sounding(score) for score in scores]
    parts = {id(score): [one_track(score, i) for i in range(len(score.tracks))] for score in scores}
    grids = {n: Grid(voices=n, low=0, high=127) for n in {len(score.tracks) for score in scores}}
    named = {id(score): with_names(score, grids[len(score.tracks)].names) for score in scores}

    def every_track(batch: list[Score]) -> list:
        return NOTES.encode_many([part for score in batch for part in parts[id(score)]])

    def whole_grid(score: Score) -> Tokens:
        return grids[len(score.tracks)].encode(named[id(score)])

    remi = remi_encoder()
    jobs = [each(remi), every_track, each(whole_grid), each(EVENTS.encode), EVENTS.encode_many]
    times = interleaved(jobs, scores, rounds)
    count = sum(score.note_num() for score in scores)
    kept = heard(NOTES, every_track(scores))
    kept_by_grid = sum(heard(grids[len(s.tracks)], [whole_grid(s)]) for s in scores)
    written = EVENTS.encode_many(scores)
    kept_all = heard(EVENTS, written)
    names = [
        "MidiTok REMI",
        "notes, each track",
        "grid, a voice a track",
        "events, encode",
        "events, encode_many",
    ]
    left = [count, kept, kept_by_grid, kept_all, kept_all]
    rows = rows_of(f"{corpus}, all tracks", names, times, len(scores), count, left)
    of_remi = sum(len(sequence) for score in scores for sequence in remi(score))
    for row, tokens in zip((rows[0], *rows[3:]), (of_remi, *[sum(map(len, written))] * 2)):
        row["tokens_per_note"] = round(tokens / count, 3)
    return rows


def each(encode: Callable[[Score], object]) -> Callable[[list[Score]], object]:
    return lambda batch: [encode(score) for score in batch]


def heard(codec: Notes | Grid | Events, pieces: list[Tokens]) -> int:
    return sum(codec.decode(tokens).note_num() for tokens in pieces)


def remi_encoder() -> Callable[[Score], object]:
    from miditok import REMI, TokenizerConfig

    return REMI(TokenizerConfig()).encode


def only_sounding(score: Score) -> Score:
    result = score.copy()
    result.tracks = [t for t in score.tracks if len(t.notes) and not t.is_drum]
    return result


def one_track(score: Score, index: int) -> Score:
    result = score.copy()
    result.tracks = [score.tracks[index]]
    return result


def with_names(score: Score, names: Iterable[str]) -> Score:
    """The tracks called as the grid's streams, so that they are taken as they are."""
    result = score.copy()
    for track, name in zip(result.tracks, names):
        track.name = name
    return result


def interleaved(jobs: list[Callable[[list], object]], items: list, rounds: int) -> list[float]:
    """Seconds that each job needs for all items; the time of a batch is the least of all rounds."""
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    best = np.full((len(jobs), len(batches)), np.inf)
    for _ in range(rounds):
        for i, batch in enumerate(batches):
            for j, job in enumerate(jobs):
                begin = time.process_time()
                job(batch)
                best[j, i] = min(best[j, i], time.process_time() - begin)
    return best.sum(axis=1).tolist()


def rows_of(
    what: str, names: list[str], times: list[float], files: int, notes: int, kept: list[int]
) -> list[dict]:
    """One row a job; `ratio` is against the first."""
    return [
        {
            "name": f"{what}: {name}",
            "files": files,
            "files_per_s": round(files / seconds, 1),
            "notes_in_per_s": round(notes / seconds),
            "notes_kept": round(left / notes, 4),
            "ratio": round(times[0] / seconds, 1),
        }
        for name, seconds, left in zip(names, times, kept)
    ]


def parsing_rows(paths: list[Path], rounds: int) -> list[dict]:
    import mido

    contents = [path.read_bytes() for path in paths[: max(10, len(paths) // 4)]]
    times = interleaved([each(read_with(mido)), each(Score.from_midi)], contents, min(rounds, 3))
    sizes = statistics.mean(len(content) for content in contents)
    return [
        {
            "name": f"parse pop909: {name}",
            "files": len(contents),
            "files_per_s": round(len(contents) / seconds, 1),
            "mean_bytes": round(sizes),
            "ratio": round(times[0] / seconds, 1),
        }
        for name, seconds in zip(("mido", "symusic"), times)
    ]


def read_with(mido: object) -> Callable[[bytes], object]:
    import io

    return lambda content: mido.MidiFile(file=io.BytesIO(content))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
