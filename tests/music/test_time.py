from fractions import Fraction

import numpy as np
import pytest
from symusic import KeySignature, Score, Tempo, TimeSignature

from otonoha.music.score import (
    bar_table,
    key_at,
    key_map,
    metre_map,
    pickup,
    seconds,
    tempo_map,
    ticks,
    track_of,
    with_marker,
)
from otonoha.music.theory import Key


def score_of(length, *, tpq=480, metres=()):
    score = Score(tpq)
    score.tracks = [track_of([0], [length], [60])]
    score.time_signatures = [TimeSignature(*m) for m in metres]
    return score


def test_bars_default_to_common_time():
    table = bar_table(score_of(480 * 5))
    assert table.start.tolist() == [0, 1920, 3840]
    assert table.numerator.tolist() == [4, 4]
    assert not table.first_is_pickup


def test_metre_change_and_other_metres():
    table = bar_table(score_of(480 * 13, metres=[(0, 3, 4), (2880, 6, 8), (4320, 5, 8)]))
    assert table.start.tolist() == [0, 1440, 2880, 4320, 5520, 6720]
    assert table.denominator.tolist() == [4, 4, 8, 8, 8]


def test_metre_change_within_a_bar_cuts_it():
    assert bar_table(score_of(2880, metres=[(0, 4, 4), (960, 2, 4)])).start.tolist() == [0, 960, 1920, 2880]


@pytest.mark.parametrize("value", ["1/2", "0.5"])
def test_pickup_shifts_the_bar_lines(value):
    score = with_marker(score_of(480 * 4), "pickup", value)
    table = bar_table(score)
    assert pickup(score) == Fraction(1, 2)
    assert table.first_is_pickup
    assert table.start.tolist() == [0, 240, 2160]


def test_bad_pickups_are_ignored():
    assert pickup(with_marker(score_of(480), "pickup", "1/0")) == 0
    assert pickup(with_marker(score_of(480), "pickup", "-1")) == 0


def test_empty_score_has_no_bars():
    table = bar_table(Score(480))
    assert len(table) == 0
    assert table.start.tolist() == [0]


def test_bars_cover_all_notes_in_coarse_ticks():
    table = bar_table(score_of(100, tpq=1, metres=[(0, 3, 8)]))
    assert table.start[-1] >= 100
    assert (np.diff(table.start) >= 1).all()


def test_absurd_scores_are_refused():
    with pytest.raises(ValueError, match="more than"):
        bar_table(score_of(2**30, tpq=1, metres=[(0, 1, 4)]))


def test_bar_at():
    table = bar_table(score_of(480 * 8))
    assert table.bar_at(np.array([0, 1919, 1920, 99999])).tolist() == [0, 0, 1, 1]


def test_impossible_metres_are_left_out():
    score = score_of(480, metres=[(0, 0, 4), (480, 3, 4)])
    assert metre_map(score) == [(0, 4, 4), (480, 3, 4)]


def test_seconds_and_ticks_through_tempo_changes():
    score = score_of(4800)
    score.tempos = [Tempo(0, qpm=60), Tempo(960, qpm=120)]
    assert seconds(score, np.array([0, 480, 960, 1440])) == pytest.approx([0, 1, 2, 2.5])
    at = np.array([0, 7, 959, 960, 961, 4000])
    assert ticks(score, seconds(score, at)).tolist() == at.tolist()


def test_tempo_defaults_to_120():
    assert tempo_map(Score(480)) == [(0, 120.0)]
    assert seconds(Score(480), np.array([960])) == pytest.approx([1.0])


def test_keys():
    score = score_of(4800)
    assert key_at(score, 0) is None
    score.key_signatures = [KeySignature(0, -3, 1), KeySignature(1920, 3, 0)]
    assert key_map(score) == [(0, Key.parse("c")), (1920, Key.parse("A"))]
    assert key_at(score, 1919) == Key.parse("c")
    assert key_at(score, 1920) == Key.parse("A")
