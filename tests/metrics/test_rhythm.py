import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tunes import EMPTY, ONE, SCALE, tune

from otonoha.metrics import rhythm


def test_durations_fall_into_the_nearest_note_value():
    found = rhythm.duration_distribution(tune([60] * 4, [1, 0.5, 0.5, 1.45]))
    values = dict(zip(rhythm.NOTE_VALUES, found))
    assert (values[1], values[0.5], values[1.5]) == (0.25, 0.5, 0.25)


def test_density_and_rests():
    assert rhythm.note_density(SCALE) == 1
    gapped = tune([60, 62, 64], [1, 0.5, 1], gaps=[1, 0.5, 0])
    assert rhythm.note_density(gapped) == pytest.approx(3 / 4)
    assert rhythm.rest_share(gapped) == pytest.approx(1.5 / 4)
    assert rhythm.rest_share(SCALE) == 0


def test_onsets_on_the_grid():
    found = rhythm.onset_shares(tune([60] * 6, [1, 0.5, 0.25, 0.25, 1 / 3, 2 / 3]))
    assert found == pytest.approx({"beat": 3 / 6, "half": 1 / 6, "quarter": 1 / 6, "other": 1 / 6})


def test_onsets_in_compound_metre():
    found = rhythm.onset_shares(tune([60] * 6, 0.5, metre=(6, 8)))
    assert found == pytest.approx({"beat": 2 / 6, "half": 4 / 6, "quarter": 0, "other": 0})


def test_syncopation():
    straight = tune([60] * 8, 0.5)
    anticipated = tune([60, 62, 64, 65], [0.5, 1, 1, 1.5])
    assert rhythm.syncopation(straight) == 0
    assert rhythm.syncopation(anticipated) == pytest.approx(3 / 4)


@pytest.mark.parametrize("score", [EMPTY, ONE])
def test_too_little(score):
    one = float(score is ONE)
    assert rhythm.duration_distribution(score).sum() == one
    assert rhythm.note_density(score) == one
    assert rhythm.rest_share(score) == rhythm.syncopation(score) == 0
    assert sum(rhythm.onset_shares(score).values()) == one


@given(st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5]), min_size=1, max_size=20), st.integers(-10, 10))
def test_pitch_does_not_matter(durations, shift):
    here, there = tune([60] * len(durations), durations), tune([60 + shift] * len(durations), durations)
    assert np.array_equal(rhythm.duration_distribution(here), rhythm.duration_distribution(there))
    assert rhythm.onset_shares(here) == rhythm.onset_shares(there)
    assert 0 <= rhythm.syncopation(here) <= 1
    assert sum(rhythm.onset_shares(here).values()) == pytest.approx(1)
