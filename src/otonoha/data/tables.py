"""The command that writes the split tables of the package (split_tables.py) anew:

    OTONOHA_DATA=… python -m otonoha.data.tables

`bach_splits.tsv` says for each chorale of music21's corpus which split it inherits from the JSB benchmark;
`openscore_splits.tsv` says the same (and the languages sung) for the OpenScore corpora, so that a download
has the split of the project's own copy. Both hold names and splits only, no notes.

Chorales are matched by all four voices: the runs of eight successive intervals of each voice (repeated notes
joined, because the benchmark does not tell held notes from repeated ones). A chorale that shares half of its
runs with a piece of the benchmark *is* that piece or a version of it. Where several match, the most closely
guarded split wins (test, then valid), so that nothing leaks; the same holds among the chorales themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from otonoha.data.compare import linked, shared_runs
from otonoha.music.ngrams import intervals, ngram_hashes

MATCH = 0.5
RUN = 8
GUARD = ("train", "valid", "test")


def voice_runs(voices: Iterable[np.ndarray]) -> np.ndarray:
    """Pitches of each voice, soprano first -> the distinct runs of all voices, uint64."""
    found = [np.zeros(0, np.uint64)]
    for number, pitches in enumerate(voices):
        pitches = np.asarray(pitches, np.int64)
        line = pitches[np.append(True, np.diff(pitches) != 0)[: len(pitches)]]
        found.append(ngram_hashes(intervals(line), RUN) + np.uint64(number))
    return np.unique(np.concatenate(found))


def match(
    chorales: Sequence[np.ndarray], benchmark: Sequence[np.ndarray], splits: Sequence[str]
) -> list[str]:
    """Runs of the chorales and of the benchmark's pieces with their splits -> the chorales' splits."""
    pairs, shares = shared_runs([*chorales, *benchmark])
    pairs = pairs[shares >= MATCH]
    count = len(chorales)
    leaders = linked(count, [(int(a), int(b)) for a, b in pairs if b < count])
    guard = np.zeros(count, np.int64)
    for a, b in pairs:
        if a < count <= b:
            guard[leaders[a]] = max(guard[leaders[a]], GUARD.index(splits[b - count]))
    return [GUARD[guard[leader]] for leader in leaders]


def _write_bach() -> None:
    from otonoha.data.chorales import entries
    from otonoha.data.entries import unpacked_voices
    from otonoha.data.jsb import jsb_arrays

    found = {name: entry.records[0] for name, entry in entries().items() if entry.records}
    grids = [(split, grid) for split, pieces in jsb_arrays().items() for grid in pieces]
    benchmark = [voice_runs(voice[voice >= 0] for voice in grid.T) for _, grid in grids]
    chorales = [voice_runs(unpacked_voices(record)) for record in found.values()]
    splits = match(chorales, benchmark, [split for split, _ in grids])
    _write("bach_splits.tsv", ("id", "split"), zip(found, splits))


def _write_openscore() -> None:
    from otonoha.data.homes import need_home
    from otonoha.data.openscore import read_table

    rows = []
    for folder, name in (("openscore-lieder", "lieder"), ("openscore-quartets", "quartets")):
        table = read_table(need_home(folder, name) / "scores.tsv")
        rows += [(row["id"], row["split"], row.get("languages", "")) for row in table]
    _write("openscore_splits.tsv", ("id", "split", "languages"), sorted(rows))


def _write(table: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = ["\t".join(row) for row in (header, *rows)]
    path = Path(__file__).parent / table
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines) - 1} rows")


if __name__ == "__main__":
    _write_bach()
    _write_openscore()
