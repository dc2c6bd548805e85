import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tunes import EMPTY, ONE, SCALE, tune

from otonoha.metrics.novelty import Memory, longest_match_distribution, novelty_report

RNG = np.random.default_rng(0)
LEARNT = [(f"tune {i}", tune(RNG.integers(50, 80, 40), RNG.choice([0.5, 1.0], 40))) for i in range(20)]
MEMORY = Memory(LEARNT)


def pitches_of(score):
    return [note.pitch for note in score.tracks[0].notes]


def durations_of(score):
    return [note.duration / score.tpq for note in score.tracks[0].notes]


def test_a_stolen_phrase_is_named():
    source = LEARNT[7][1]
    stolen = tune(
        [61, 80, 54, *(p + 3 for p in pitches_of(source)[10:30]), 40],
        [2, 2, 2, *durations_of(source)[10:30], 3],
    )
    found = Memory(LEARNT).look_up(stolen)
    assert (found.piece, found.longest, found.start, found.start_there) == ("tune 7", 20, 3, 10)
    assert found.share == pytest.approx(13 / 17)  # 13 of the 17 eight-note passages lie in the phrase


def test_rhythm_counts_unless_told_otherwise():
    source = LEARNT[3][1]
    other_rhythm = tune(pitches_of(source), [3] * 40)
    assert Memory(LEARNT).look_up(other_rhythm).longest < 40
    assert Memory(LEARNT, rhythm=False).look_up(other_rhythm).longest == 40


def test_report_puts_the_least_original_first():
    rows = novelty_report([SCALE, LEARNT[2][1], EMPTY], LEARNT, names=["scale", "copy", "nothing"])
    assert rows[0]["name"] == "copy"
    assert rows[0]["piece"] == "tune 2"
    assert rows[0]["known_share"] == 1
    assert rows[-1] == {
        **dict.fromkeys(["notes", "longest_match", "at_note", "at_note_there", "known_share"], 0),
        "name": "nothing",
        "piece": "",
    }
    assert longest_match_distribution(rows)["largest"] == 40
    assert longest_match_distribution([]) == {"median": 0.0, "90 %": 0.0, "largest": 0.0}


@pytest.mark.parametrize("score", [EMPTY, ONE])
def test_too_little(score):
    found = Memory(LEARNT).look_up(score)
    assert (found.longest, found.share, found.piece) == (0, 0.0, "")
    assert Memory([]).look_up(SCALE).longest == 0


@given(st.integers(0, 19), st.integers(-20, 20))
def test_transposition_hides_nothing(which, shift):
    copied = tune(np.array(pitches_of(LEARNT[which][1])) + shift, durations_of(LEARNT[which][1]))
    found = MEMORY.look_up(copied)
    assert (found.longest, found.share, found.piece) == (40, 1.0, f"tune {which}")
