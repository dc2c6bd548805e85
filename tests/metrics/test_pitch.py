import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tunes import EMPTY, ONE, SCALE, tune

from otonoha.metrics import pitch
from otonoha.music.score import transpose
from otonoha.music.theory import Key

melodies = st.lists(st.integers(48, 72), min_size=1, max_size=30)


def test_known_values_of_a_scale():
    assert pitch.pitch_classes(SCALE)[[0, 2, 4]].tolist() == [0.25, 0.125, 0.125]
    assert pitch.pitch_range(SCALE) == 12
    assert pitch.mean_leap(SCALE) == pytest.approx(12 / 7)
    assert pitch.repeated_note_rate(SCALE) == 0
    assert pitch.in_key(SCALE) == 1
    assert pitch.in_key(SCALE, Key.parse("Db")) == pytest.approx(3 / 8)  # C, F and C again
    assert pitch.interval_distribution(SCALE)[12 + 2] == pytest.approx(5 / 7)
    assert pitch.pitch_class_entropy(SCALE) == pytest.approx(-0.25 * np.log2(0.25) - 0.75 * np.log2(0.125))


def test_durations_can_weigh():
    two = tune([60, 62], [3, 1])
    assert pitch.pitch_classes(two, by_duration=True)[[0, 2]].tolist() == [0.75, 0.25]


def test_repeated_and_wide():
    assert pitch.repeated_note_rate(tune([60, 60, 60, 62], 1)) == pytest.approx(2 / 3)
    assert pitch.interval_distribution(tune([40, 80], 1))[-1] == 1


def test_minor_allows_its_raised_degrees():
    assert pitch.in_key(tune([69, 71, 72, 74, 76, 78, 80, 81], 1), Key.parse("a")) == 1


@pytest.mark.parametrize("score", [EMPTY, ONE])
def test_too_little_is_zero_and_never_nan(score):
    one = float(score is ONE)
    assert pitch.pitch_classes(score).sum() == one
    assert pitch.interval_distribution(score).sum() == 0
    numbers = [pitch.pitch_range, pitch.mean_leap, pitch.repeated_note_rate, pitch.pitch_class_entropy]
    assert [number(score) for number in numbers] == [0] * 4
    assert pitch.in_key(score) == one


@given(melodies, st.integers(-12, 12))
def test_transposition_changes_nothing_but_the_pitch_classes(pitches, shift):
    here = tune(pitches, 1)
    there = transpose(here, shift)
    for number in (pitch.pitch_range, pitch.mean_leap, pitch.repeated_note_rate, pitch.pitch_class_entropy):
        assert number(here) == pytest.approx(number(there))
    assert np.allclose(pitch.interval_distribution(here), pitch.interval_distribution(there))
    assert np.allclose(np.roll(pitch.pitch_classes(here), shift % 12), pitch.pitch_classes(there))
    degrees = [
        pitch.pitch_classes(here, key=Key(0, "major")),
        pitch.pitch_classes(there, key=Key(shift % 12, "major")),
    ]
    assert np.allclose(*degrees)
