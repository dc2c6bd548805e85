import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tunes import EMPTY, ONE, tune

from otonoha.metrics import structure
from otonoha.music.score import transpose

A, B = [60, 62, 64, 65], [67, 65, 64, 62]
ABAB = tune(A + B + A + B, 1)


def test_returning_bars():
    matrix = structure.bar_similarity(ABAB)
    assert matrix.shape == (4, 4)
    assert np.array_equal(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1)
    assert matrix[0].tolist() == [1, 0.25, 1, 0.25]  # A and B share the E on the third beat … and no more
    assert structure.lag_similarity(ABAB) == {1: 0.25, 2: 1.0, 4: 0.0, 8: 0.0}


def test_up_to_transposition():
    moved = tune(A + [p + 7 for p in A], 1)
    assert structure.bar_similarity(moved)[0, 1] == 0
    assert structure.bar_similarity(moved, up_to_transposition=True)[0, 1] == 1


def test_bars_without_onsets_are_left_out():
    held = tune([*A, 60, *A], [1] * 4 + [8] + [1] * 4)  # bars: A, a breve over two bars, A
    assert structure.lag_similarity(held, [3]) == {3: 1.0}
    assert structure.bar_similarity(held)[2, 2] == 0


def test_repeats_by_length():
    found = structure.repeat_distribution(ABAB)
    assert found[structure.REPEAT_LENGTHS.index(8)] == 1  # the second AB, eight notes
    assert structure.repeated_share(ABAB) == pytest.approx(7 / 15)


def test_transposed_repeats_count():
    again = tune(A + B + [p + 5 for p in A + B], 1)
    assert structure.repeat_distribution(again)[structure.REPEAT_LENGTHS.index(8)] == 1


def test_phrases_end_with_fermatas():
    score = tune([60] * 16, 1, fermatas=[7, 15])
    assert structure.phrase_starts(score).tolist() == [0, 8]
    assert structure.phrase_lengths(score).tolist() == [2.0]
    assert structure.phrase_distribution(score)[3] == 1  # the bin of two bars
    assert structure.whole_bar_phrases(score) == 1


def test_phrases_end_with_long_notes_and_rests():
    long = tune([60] * 10, [1, 1, 1, 1, 4, 1, 1, 1, 1, 4])
    assert structure.phrase_starts(long).tolist() == [0, 5]
    rests = tune([60] * 8, 1, gaps=[0, 0, 1, 0, 0, 1, 0, 0])
    assert structure.phrase_starts(rests).tolist() == [0, 3, 6]
    assert structure.phrase_lengths(rests).tolist() == [1.0, 1.0]


def test_upbeats_do_not_blur_phrase_lengths():
    score = tune([60] * 17, 1, pickup="1", fermatas=[7, 15])
    assert structure.phrase_lengths(score).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("score", [EMPTY, ONE])
def test_too_little(score):
    assert set(structure.lag_similarity(score).values()) == {0.0}
    assert structure.repeat_distribution(score).sum() == 0
    assert structure.phrase_distribution(score).sum() == 0
    assert structure.repeated_share(score) == structure.whole_bar_phrases(score) == 0
    assert len(structure.phrase_lengths(score)) == 0
    assert structure.bar_similarity(score).shape == (len(score.tracks[0].notes),) * 2


@given(st.lists(st.integers(50, 70), min_size=2, max_size=40), st.integers(-12, 12))
def test_transposition_changes_nothing(pitches, shift):
    here, there = tune(pitches, 0.5), transpose(tune(pitches, 0.5), shift)
    assert np.array_equal(structure.bar_similarity(here), structure.bar_similarity(there))
    assert np.array_equal(structure.repeat_distribution(here), structure.repeat_distribution(there))
    assert structure.repeated_share(here) == structure.repeated_share(there)
    more = structure.bar_similarity(here, up_to_transposition=True)
    assert (more >= structure.bar_similarity(here) - 1e-12).all()
    assert (more <= 1).all()
