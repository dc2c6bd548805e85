import numpy as np
import pytest
from metric_rolls import LOW, VOICES, chorales, mixed, phrase, tied

from otonoha.metrics import together
from otonoha.metrics.band import FOLDS
from otonoha.metrics.played import played


def read(roll, tracks=("a", "b"), **options):
    return played(roll, LOW, tracks[: roll.shape[1]], **options)


def beats(*pitches):
    return [(p, 4) for p in pitches]


def test_tonal_centroids():
    c, g, f_sharp = together.tonal_centroids(np.eye(12)[[0, 7, 6]])
    assert c == pytest.approx([0, 1, 0, 1, 0, 0.5])
    assert np.linalg.norm(c - g) < np.linalg.norm(c - f_sharp)


def test_tonal_distance():
    tune = beats(60, 64, 67, 60)
    same, octave = phrase(tune, tune), phrase(tune, beats(48, 52, 55, 48))
    assert together.tonal_distance(read(same)) == {"a-b": pytest.approx(0)}
    assert together.tonal_distance(read(octave)) == {"a-b": pytest.approx(0)}
    assert together.tonal_distance(read(octave), "musegan-legacy")["a-b"] > 1
    fifth = together.tonal_distance(read(phrase(beats(60, 60, 60, 60), beats(67, 67, 67, 67))))["a-b"]
    third = np.linalg.norm(np.diff(together.tonal_centroids(np.eye(12)[[0, 4]]), axis=0))
    mixed_bar = together.tonal_distance(read(phrase(beats(60, 60, 60, 60), beats(67, 67, 64, 64))))["a-b"]
    assert mixed_bar == pytest.approx((fifth + third) / 2)


def test_a_bar_with_a_silent_beat_does_not_count():
    roll = phrase(beats(*[60] * 8), [*beats(60, 60, 60, 60), (61, 8)], bars=2)
    assert together.tonal_distance(read(roll)) == {"a-b": 0}
    assert together.tonal_distance(read(phrase(beats(60), beats(62)))) == {"a-b": 0}


def test_drums_have_no_harmony():
    roll = phrase(beats(60), beats(62), beats(64))
    assert set(together.tonal_distance(read(roll, ("bass", "drums", "piano")))) == {"bass-piano"}


def test_onset_coincidence():
    roll = phrase([(60, 4), (62, 4), (64, 8)], [(48, 8), (50, 4), (52, 4)])
    assert together.onset_coincidence(read(roll))["a-b"] == pytest.approx(2 * 2 / 6)
    assert together.onset_coincidence(read(tied(roll)))["a-b"] == pytest.approx(2 * 1 / 4)
    assert together.onset_coincidence(read(phrase([], [])))["a-b"] == 0


def test_syncopation_agreement():
    anticipates_beat_2 = [(60, 2), (62, 4), (64, 10)]
    by_a_sixteenth = [(60, 3), (62, 2), (64, 3), (65, 8)]
    straight = beats(60, 62, 64, 65)
    agree = together.syncopation_agreement(read(phrase(anticipates_beat_2, by_a_sixteenth)))["a-b"]
    assert agree == pytest.approx(2 * 1 / 3)  # the first also anticipates beat 3
    assert together.syncopation_agreement(read(phrase(anticipates_beat_2, straight)))["a-b"] == 0
    assert together.syncopation_agreement(read(phrase(straight, straight)))["a-b"] == 0


def test_there_are_24_keys():
    scales = together.keys()
    assert len(np.unique(scales, axis=0)) == 24
    assert set(scales.sum(axis=1)) == {7}


def test_in_scale():
    d_major = beats(62, 66, 69, 61)
    a_minor = beats(57, 68, 60, 65)
    assert together.in_scale(read(phrase(d_major))) == 1
    assert together.in_scale(read(phrase(a_minor))) == 1
    chromatic = [(p, 1) for p in range(60, 72)]
    assert together.in_scale(read(phrase(chromatic))) == pytest.approx(7 / 12)
    half_silent = np.concatenate([phrase(chromatic), phrase([])])
    assert together.in_scale(read(half_silent)) == pytest.approx(7 / 12)
    assert together.in_scale(read(phrase([]))) == 0


def test_voice_crossing():
    roll = phrase([(60, 8), (None, 4), (60, 4)], [(59, 4), (61, 8), (60, 4)])
    assert together.voice_crossing(read(roll)) == pytest.approx(4 / 12)
    assert together.voice_crossing(read(phrase([]))) == 0


@pytest.mark.parametrize(
    ("lower", "clashing"),
    [
        (59, True),
        (61, True),  # voices crossed
        (49, True),
        (71, True),
        (47, True),
        (60, False),
        (48, False),
        (58, False),
        (54, False),
    ],
)
def test_a_clash_is_a_minor_second_major_seventh_or_minor_ninth(lower, clashing):
    assert together.clashes(read(phrase(beats(60), beats(lower)))) == clashing


def test_clashes_are_counted_on_beats_where_two_sound():
    upper = [(60, 4), (60, 4), (None, 4), (60, 4)]
    assert together.clashes(read(phrase(upper, beats(61, 64, 61, 61)))) == pytest.approx(2 / 3)
    passing = phrase(beats(60, 64), [(64, 2), (61, 2), (60, 2), (63, 2)])
    assert together.clashes(read(passing)) == 0  # between the beats
    held = phrase([(60, 8)], [(64, 4), (61, 4)])
    assert together.clashes(read(held)) == pytest.approx(1 / 2)
    assert together.clashes(read(phrase(beats(60, 61), []))) == 0  # one after the other, alone
    assert together.clashes(read(phrase([], []))) == 0


def test_a_beat_clashes_once_however_many_voices_do():
    roll = phrase(beats(60, 60), beats(61, 64), beats(62, 67))
    assert together.clashes(read(roll, ("a", "b", "c"))) == pytest.approx(1 / 2)


def test_parallels_are_counted_of_the_steps_in_which_two_move():
    fifths_then_a_third = phrase(beats(67, 69, 72), beats(60, 62, 69))
    assert together.parallels(read(fifths_then_a_third)) == pytest.approx(1 / 2)
    fifths_then_one_moves = phrase(beats(67, 69, 69), beats(60, 62, 65))
    assert together.parallels(read(fifths_then_one_moves)) == 1
    assert together.parallels(read(phrase(beats(67, 69), []))) == 0
    assert together.parallels(read(phrase([], []))) == 0


@pytest.mark.parametrize(
    ("upper", "lower", "parallel"),
    [
        ((67, 69), (60, 62), True),
        ((72, 67), (60, 55), True),  # octaves, by leap
        ((60, 62), (60, 62), True),  # unisons
        ((79, 81), (60, 62), True),  # a twelfth
        ((67, 67), (60, 60), False),  # both are held
        ((67, 72), (60, 57), False),  # contrary motion
        ((67, 60), (60, 67), False),  # contrary, and the voices change places
        ((67, 74), (60, 62), False),  # fifth to octave
        ((64, 65), (60, 61), False),  # thirds
        ((65, 67), (60, 62), False),  # fourths
        ((67, None), (60, 62), False),
        ((None, 69), (60, 62), False),
    ],
)
def test_parallels_are_the_same_perfect_interval_in_the_same_direction(upper, lower, parallel):
    assert together.parallels(read(phrase(beats(*upper), beats(*lower)))) == parallel


def test_parallels_look_from_beat_to_beat():
    struck_again = phrase(beats(67, 67, 69), [(60, 8), (62, 4)])
    assert together.parallels(read(struck_again)) == 1
    between = phrase([(67, 2), (69, 6)], [(60, 2), (62, 2), (64, 4)])
    assert together.parallels(read(between)) == 0
    over_a_rest = phrase([(67, 4), (None, 4), (69, 4)], [(60, 4), (None, 4), (62, 4)])
    assert together.parallels(read(over_a_rest)) == 0
    ends_with_phrases = np.concatenate([phrase(beats(*[p] * 4), beats(*[p - 7] * 4)) for p in (67, 69)])
    assert together.parallels(read(ends_with_phrases)) == 0


def test_drums_neither_clash_nor_run_parallel():
    roll = phrase(beats(60, 62), beats(61, 63), beats(67, 69))
    assert together.clashes(read(roll, ("bass", "drums", "piano"))) == 0
    assert together.clashes(read(roll[:, :2], ("bass", "drums"))) == 0
    with_fifths = phrase(beats(60, 62), beats(67, 69), beats(64, 65))
    assert together.parallels(read(with_fifths, ("bass", "drums", "piano"))) == 0
    assert together.parallels(read(with_fifths, ("bass", "guitar", "piano"))) == 1


def test_vertical_intervals():
    found = together.vertical_intervals(read(phrase([((60, 64), 8), (48, 8)], [(52, 12)])))["a-b"]
    assert {int(i) - together.FARTHEST: found[i] for i in np.flatnonzero(found)} == {
        12: pytest.approx(2 / 3),
        -4: pytest.approx(1 / 3),
    }


@pytest.fixture(scope="module")
def bars():
    return chorales(1)


def test_tonal_distance_of_chorales(bars):
    found = together.tonal_distance(read(bars, VOICES))
    assert list(found.values()) == pytest.approx([1.754, 1.619, 1.452, 1.711, 1.440, 1.438], abs=0.002)
    legacy = together.tonal_distance(read(bars, VOICES), "musegan-legacy")
    assert legacy["soprano-alto"] == pytest.approx(1.715, abs=0.002)
    assert legacy["soprano-tenor"] == pytest.approx(2.366, abs=0.002)


def test_harmony_is_lost_when_tracks_are_mixed_and_only_the_correct_fold_hears_it(bars):
    for fold, rises in zip(FOLDS, (True, False)):
        real = together.tonal_distance(read(bars, VOICES), fold)
        random = together.tonal_distance(read(mixed(bars), VOICES), fold)
        assert {pair: random[pair] > real[pair] for pair in real} == dict.fromkeys(real, rises)


def test_real_voices_move_together_and_keep_their_order(bars):
    real, random = read(bars, VOICES), read(mixed(bars), VOICES)
    together_now, apart = together.onset_coincidence(real), together.onset_coincidence(random)
    assert all(together_now[pair] > apart[pair] for pair in apart)
    assert together.voice_crossing(real) < 0.01 < 0.05 < together.voice_crossing(random)
    assert together.in_scale(read(chorales(2), VOICES)) == pytest.approx(0.963, abs=0.002)


def test_real_voices_hardly_clash_or_run_parallel():
    real, random = read(chorales(2), VOICES), read(mixed(chorales(2)), VOICES)
    assert 0.01 < together.clashes(real) < 0.06 < 0.3 < together.clashes(random)
    assert 0.005 < together.parallels(real) < 0.06 < together.parallels(random)
