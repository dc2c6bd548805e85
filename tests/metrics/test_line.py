import numpy as np
from metric_tunes import EMPTY, SCALE, TPQ, tune
from symusic import Score, TimeSignature

from otonoha.metrics.line import line
from otonoha.music.score import track_of


def test_places_in_bars():
    found = line(tune([60, 62, 64, 65], 1.5))
    assert found.onset.tolist() == [0, 1.5, 3, 4.5]
    assert found.bar.tolist() == [0, 0, 0, 1]
    assert found.place.tolist() == [0, 1.5, 3, 0.5]
    assert found.beat.tolist() == [1] * 4
    assert found.bar_time.tolist() == [0, 0.375, 0.75, 1.125]


def test_a_pick_up_counts_from_where_a_full_bar_would_begin():
    found = line(tune([67, 72, 74, 76, 72], 1, metre=(3, 4), pickup="1"))
    assert found.bar.tolist() == [0, 1, 1, 1, 2]
    assert found.place.tolist() == [2, 0, 1, 2, 0]
    assert found.bar_length.tolist() == [3] * 5


def test_compound_metres_have_dotted_beats():
    assert line(tune([60] * 6, 0.5, metre=(6, 8))).beat.tolist() == [1.5] * 6
    assert line(tune([60] * 3, 0.5, metre=(3, 8))).beat.tolist() == [0.5] * 3


def test_changes_of_metre():
    score = tune([60] * 7, 1)
    score.time_signatures.append(TimeSignature(4 * TPQ, 3, 4))
    assert line(score).bar.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert line(score).bar_length.tolist() == [4] * 4 + [3] * 3


def test_nothing_to_hear():
    drums = Score(TPQ)
    drums.tracks.append(track_of([0], [24], [36], is_drum=True))
    for score in (EMPTY, Score(TPQ), drums):
        assert len(line(score)) == 0
    assert line(line(SCALE)) is not None
    assert np.array_equal(line(line(SCALE)).pitch, line(SCALE).pitch)
