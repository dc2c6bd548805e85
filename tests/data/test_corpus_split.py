"""Splits, duplicates and near-duplicates."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score

from otonoha.data.compare import linked, melody_runs, near_pairs, runs, shared_runs, signature
from otonoha.data.split import assign, split_of
from otonoha.music.tracks import track_of

names = st.lists(st.text(max_size=8), min_size=2, max_size=30)


def test_the_rule_is_the_one_of_the_provided_tables(data_folder):
    with (data_folder / "openscore-lieder" / "scores.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) > 1000
    assert all(split_of(row["group"]) == row["split"] for row in rows)


def test_the_rule_is_fixed():
    assert [split_of(g) for g in ("lc321919", "lc4904021", "sq")] == ["train", "valid", "train"]


@settings(max_examples=50, deadline=None)
@given(names, st.integers(0, 5))
def test_train_and_valid_are_never_empty_and_groups_stay_together(groups, seed):
    splits, _ = assign(groups, seed=seed)
    assert splits == assign(groups, seed=seed)[0]
    assert {"train", "valid"} <= set(splits)
    if len(set(groups)) > 1:
        assert all(len({s for g, s in zip(groups, splits) if g == name}) == 1 for name in groups)


def test_shares_are_kept_to():
    groups = [str(i) for i in range(4000)]
    for shares in ((0.5, 0.25, 0.25), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0), (0.33, 0.33, 0.34)):
        splits, _ = assign(groups, shares=shares)
        found = [splits.count(s) / len(groups) for s in ("train", "valid", "test")]
        assert np.allclose(found, shares, atol=0.03)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.3, -0.1), (1, 1, 1)])
def test_odd_shares_are_refused(shares):
    with pytest.raises(ValueError, match="add up to 1"):
        assign(["a", "b"], shares=shares)


def test_one_piece_is_for_training():
    assert all(assign([str(i)])[0] == ["train"] for i in range(30))


def test_a_signature_ignores_key_speed_resolution_and_names(tune):
    one = signature(tune(1))
    assert one == signature(tune(1, shift=5)) == signature(tune(1, tpq=96, qpm=60))
    twice = tune(1)
    found = twice.tracks[0].notes.numpy()
    slow = Score(twice.tpq)
    slow.tracks.append(track_of(found["time"] * 2 + 960, found["duration"] * 2, found["pitch"], 30, name="x"))
    assert one == signature(slow)
    assert one != signature(tune(2))
    assert signature(Score(480)) == ""


def test_drums_are_not_transposed():
    def kit(pitch: int) -> Score:
        score = Score(4)
        score.tracks.append(track_of(np.arange(8), np.ones(8), np.full(8, pitch), is_drum=True))
        return score

    assert signature(kit(36)) != signature(kit(38))
    assert len(melody_runs(kit(36))) == 0


def test_runs_survive_transposition_and_ignore_repeated_notes():
    pitches = np.random.default_rng(0).integers(50, 80, 60)
    assert np.array_equal(runs(pitches), runs(pitches + 7))
    assert len(runs(np.full(100, 60))) == 0
    assert len(runs(pitches[:12])) == 0
    assert len(runs(pitches[:13])) == 1


def test_shared_runs_agree_with_comparing_all_with_all():
    rng = np.random.default_rng(3)
    pieces = [np.unique(rng.integers(0, 60, rng.integers(0, 30)).astype(np.uint64)) for _ in range(25)]
    pairs, shares = shared_runs(pieces)
    found = {(int(a), int(b)): float(s) for (a, b), s in zip(pairs, shares)}
    for a in range(25):
        for b in range(a + 1, 25):
            common = len(np.intersect1d(pieces[a], pieces[b]))
            assert found.get((a, b), 0.0) == pytest.approx(
                common / max(min(len(pieces[a]), len(pieces[b])), 1)
            )


def test_a_quotation_of_a_third_is_a_near_duplicate():
    rng = np.random.default_rng(0)
    a, b = rng.integers(50, 80, 113), rng.integers(50, 80, 113)
    b[:46] = a[30:76] + 3
    assert near_pairs([runs(a), runs(b)]) == [(0, 1, pytest.approx(0.34, abs=0.02))]
    b[30:46] = rng.integers(50, 80, 16)
    assert near_pairs([runs(a), runs(b)]) == []


def test_many_pieces_take_linear_time():
    rng = np.random.default_rng(0)
    hit = np.arange(100, dtype=np.uint64)  # a phrase that every piece holds: the worst case of an index
    pieces = [np.concatenate([hit, rng.integers(2**32, 2**63, 100).astype(np.uint64)]) for _ in range(2000)]
    start = time.perf_counter()
    groups = linked(len(pieces), [(a, b) for a, b, _ in near_pairs(pieces)])
    assert time.perf_counter() - start < 8
    assert set(groups) == {0}


def test_linked_names_the_first_piece():
    assert linked(6, [(1, 3), (3, 5), (2, 4)]) == [0, 1, 2, 1, 2, 1]
