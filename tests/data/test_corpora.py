"""The named corpora, where they are at hand."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest

from otonoha.data import named
from otonoha.data.compare import near_pairs, runs, shared_runs
from otonoha.data.corpus import corpus, select
from otonoha.data.jsb import jsb_arrays, jsb_quarter_arrays, score_of
from otonoha.data.openscore import load_lieder, load_lieder_voice, load_quartets, read_table
from otonoha.data.split_tables import bach_splits, openscore_rows
from otonoha.data.tables import MATCH, match, voice_runs
from otonoha.music.markers import marker
from otonoha.music.tracks import notes
from otonoha.music.voices import is_monophonic

needs_music21 = pytest.mark.skipif(
    importlib.util.find_spec("music21") is None, reason="music21 (extra scores) is not installed"
)


def pitches(score) -> list[np.ndarray]:
    return [notes(track).pitch for track in score.tracks]


def check_splits(found) -> None:
    ids = [p.id for p in found.pieces]
    assert len(set(ids)) == len(ids) == len(found)
    for split in ("train", "valid", "test"):
        assert all(p.split == split for p in getattr(found, split))


def test_every_corpus_has_its_terms():
    specs = named.corpora()
    assert len({s.name for s in specs}) == len(specs)
    assert {s.name for s in specs if s.ships} == {
        "bach-chorales",
        "lieder-voice",
        "lieder",
        "quartets",
        "recordings",
        "librosa-data",
    }
    assert all(s.licence and s.what and s.source.startswith("https://") for s in specs)
    assert {s.name for s in specs if not s.default} == {
        "essen",
        "misc-folk",
        "recordings-all",
        "jsb-chorales",
        "librosa-data",
        "unknown-horizons",
    }
    assert all(isinstance(named.available(s.name), bool) for s in specs)


@needs_music21
def test_real_chorales_have_four_voices_and_what_belongs_to_them():
    found = corpus("bach-chorales")
    check_splits(found)
    assert found.ships
    assert (len(found.train), len(found.valid), len(found.test)) == (247, 77, 81)
    scores = [p.score() for p in found.pieces]
    assert all(len(s.tracks) == 4 and all(is_monophonic(t) for t in s.tracks) for s in scores)
    assert all(len(s.key_signatures) and len(s.time_signatures) for s in scores)
    means = np.array([[line.mean() for line in pitches(s)] for s in scores])
    assert (np.diff(means, axis=1) < 0).all()
    assert sum(bool(marker(s, "fermata")) for s in scores) > 390
    assert sum(any(len(t.lyrics) for t in s.tracks) for s in scores) > 330
    first = found.train[0].labels
    assert first["style"] == "chorale"
    assert first["composer"] == "Johann Sebastian Bach"
    assert first["title"] == "BWV 1.6"
    assert {name for name, _ in found.report.skipped} == {"bwv227.3", "bwv27.6", "bwv846"}


@needs_music21
def test_real_chorales_are_there_in_a_second_the_second_time():
    first = corpus("bach-chorales")
    start = time.perf_counter()
    again = corpus("bach-chorales")
    assert time.perf_counter() - start < 1.0
    assert [(p.id, p.split) for p in again.pieces] == [(p.id, p.split) for p in first.pieces]
    assert [p.id for p in select("bach-chorales:test")] == [p.id for p in again.test]


@needs_music21
def test_real_chorales_report_hymns_that_recur_across_the_split():
    found = corpus("bach-chorales")
    split_of = {p.id: p.split for p in found.pieces}
    soprano = [runs(p.score().tracks[0].notes.numpy()["pitch"]) for p in (*found.train, *found.test)]
    count = len(found.train)
    leaks = {(a, b) for a, b, _ in near_pairs(soprano) if a < count <= b}
    names = [p.id for p in (*found.train, *found.test)]
    reported = {frozenset(pair[:2]) for pair in found.report.near_duplicates}
    assert {frozenset((names[a], names[b])) for a, b in leaks} <= reported
    assert all(split_of[a] != split_of[b] for a, b, _ in found.report.near_duplicates)


@needs_music21
def test_real_chorales_leak_nothing_of_the_benchmark(data_folder):
    """No chorale shares half of its four-voice runs with a benchmark piece of a more guarded split."""
    found = corpus("bach-chorales")
    grids = [(split, grid) for split, pieces in jsb_arrays().items() for grid in pieces]
    ours = [voice_runs(pitches(p.score())) for p in found.pieces]
    theirs = [voice_runs(voice[voice >= 0] for voice in grid.T) for _, grid in grids]
    pairs, shares = shared_runs([*ours, *theirs])
    guard = {"train": 0, "valid": 1, "test": 2}
    count, matched = len(ours), set()
    for a, b in pairs[shares >= MATCH]:
        if a < count <= b:
            matched.add(b)
            assert guard[found.pieces[a].split] >= guard[grids[b - count][0]]
    assert len(matched) > 370


@needs_music21
def test_real_chorales_have_the_split_that_the_command_computes(data_folder):
    found = corpus("bach-chorales")
    grids = [(split, grid) for split, pieces in jsb_arrays().items() for grid in pieces]
    benchmark = [voice_runs(voice[voice >= 0] for voice in grid.T) for _, grid in grids]
    chorales = [voice_runs(pitches(p.score())) for p in found.pieces]
    table = bach_splits()
    assert match(chorales, benchmark, [s for s, _ in grids]) == [table[p.id] for p in found.pieces]


def test_the_benchmark_is_what_its_readme_says(data_folder):
    arrays = jsb_arrays()
    assert {s: len(p) for s, p in arrays.items()} == {"train": 229, "valid": 76, "test": 77}
    assert {s: sum(map(len, p)) for s, p in arrays.items()} == {"train": 55228, "valid": 18408, "test": 18900}
    assert all(a.shape[1] == 4 and a.min() >= -1 and a.max() <= 81 for p in arrays.values() for a in p)
    quarters = jsb_quarter_arrays()
    assert {s: sum(map(len, p)) for s, p in quarters.items()} == {"train": 13807, "valid": 4602, "test": 4725}
    found = corpus("jsb-chorales")
    check_splits(found)
    assert not found.ships
    score = found.test[3].score()
    grid = np.full((len(arrays["test"][3]), 4), -1)
    for voice, track in enumerate(score.tracks):
        for note in track.notes:
            grid[note.start : note.end, voice] = note.pitch
    assert np.array_equal(grid, arrays["test"][3])


def test_a_grid_becomes_held_notes():
    score = score_of(np.array([[60, 50, 40, -1], [60, 50, -1, -1], [62, 50, 40, -1]]))
    assert [len(t.notes) for t in score.tracks] == [2, 1, 2, 0]
    assert score.tpq == 4
    assert [t.name for t in score.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert score_of(np.zeros((0, 4))).note_num() == 0


def test_a_fixed_split_refuses_another():
    with pytest.raises(ValueError, match="the split of lieder is fixed"):
        corpus("lieder", seed=1)


@pytest.fixture
def few_scores(data_folder, tmp_path, monkeypatch):
    """OTONOHA_DATA with the first rows of the OpenScore corpora."""
    for folder, count in (("openscore-lieder", 12), ("openscore-quartets", 1)):
        home = tmp_path / folder
        home.mkdir()
        lines = (data_folder / folder / "scores.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (home / "scores.tsv").write_text("".join(lines[: count + 1]), encoding="utf-8")
        (home / "mxl").symlink_to((data_folder / folder / "mxl").resolve())
    monkeypatch.setenv("OTONOHA_DATA", str(tmp_path))
    return tmp_path


def test_songs_and_quartets_are_read(few_scores):
    pieces, report = load_lieder_voice()
    assert report.read == len(pieces) == 12
    for piece in pieces:
        score = piece.score()
        assert len(score.tracks) == 1
        assert is_monophonic(score.tracks[0])
        assert len(score.tracks[0].lyrics)
        assert piece.labels.keys() >= {"style", "composer", "title", "language"}
    assert pieces[0].labels["title"] == "The Bracelet"
    whole, _ = load_lieder()
    assert [p.id for p in whole] == [p.id for p in pieces]
    assert all(len(p.score().tracks) >= 2 for p in whole)
    (quartet,), _ = load_quartets()
    assert len(quartet.score().tracks) == 4
    assert quartet.labels["style"] == "quartet"


def test_the_shipped_table_is_that_of_the_provided_scores(data_folder):
    table = openscore_rows()
    for folder in ("openscore-lieder", "openscore-quartets"):
        for row in read_table(data_folder / folder / "scores.tsv"):
            assert table[row["id"]]["split"] == row["split"]


def test_a_broken_table_is_one_clear_line(tmp_path):
    (tmp_path / "scores.tsv").write_text("id\tfile\tsplit\nlc1\tmxl/lc1.mxl\ttrian\n")
    with pytest.raises(ValueError, match="a row lacks id, file or a split"):
        read_table(tmp_path / "scores.tsv")


@pytest.mark.slow
def test_real_songs_are_there_in_three_seconds_the_second_time(data_folder):
    found = corpus("lieder-voice")
    start = time.perf_counter()
    assert len(corpus("lieder-voice")) == 1444
    assert time.perf_counter() - start < 3.0
    check_splits(found)
    assert len(found.report.skipped) == 4
    assert found.report.near_duplicates == ()


@needs_music21
@pytest.mark.slow
def test_real_folk_tunes_share_no_tune_across_the_split():
    found = corpus("folk")
    check_splits(found)
    assert len(found) > 3500
    assert not found.ships
    assert found.report.near_duplicates == ()
    assert all(p.labels["style"] == "folk" for p in found.pieces)
