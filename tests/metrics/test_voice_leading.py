"""Voice leading: faults made on purpose are found, and a slow twin counts the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.metrics.voice_leading import RANGES, voice_leading

CADENCE = np.array([[71, 67, 62, 55], [71, 67, 62, 55], [72, 67, 64, 48], [72, 67, 64, 48]])


def piece(seed, length=24):
    rng = np.random.default_rng(seed)
    pitch = np.array([70, 64, 58, 50]) + rng.integers(-7, 8, (length, 4))
    pitch[rng.random(pitch.shape) < 0.1] = -1
    return pitch


def test_a_cadence_has_no_fault():
    figures = voice_leading([CADENCE], quarter=1)
    assert figures == dict.fromkeys(figures, 0)


@pytest.mark.parametrize(
    ("fault", "frames"),
    [
        (
            "parallel fifths",
            [[72, 67, 60, 48], [74, 69, 60, 48]],
        ),  # alto and soprano stay a fourth, see below
        ("parallel octaves", [[72, 64, 60, 48], [74, 64, 60, 50]]),
    ],
)
def test_parallels_are_found(fault, frames):
    if fault == "parallel fifths":
        frames = [[72, 65, 60, 48], [74, 67, 60, 48]]
    figures = voice_leading([np.array(frames)], quarter=1)
    assert figures[fault] == 50  # one in two quarters
    other = ({"parallel fifths", "parallel octaves"} - {fault}).pop()
    assert figures[other] == 0


def test_contrary_motion_and_repeated_fifths_are_no_parallels():
    held = voice_leading([np.array([[72, 65, 60, 41]] * 4)])
    contrary = voice_leading(
        [np.array([[67, 64, 60, 60], [79, 64, 60, 48]])]
    )  # fifth to compound fifth, apart
    assert held["parallel fifths"] == contrary["parallel fifths"] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=1, max_size=3))
def test_the_slow_twin_counts_the_same(seeds):
    pieces = [piece(s) for s in seeds]
    fast = voice_leading(pieces)
    beats = sum(map(len, pieces)) / 4
    count = dict.fromkeys(("parallel fifths", "parallel octaves", "overlaps", "wide leaps"), 0)
    crossed = wide = outside = frames = 0
    for p in pieces:
        for t, now in enumerate(p):
            frames += 1
            crossed += any(0 <= now[v] < now[v + 1] for v in range(3))
            wide += any(now[v] >= 0 and now[v + 1] >= 0 and now[v] - now[v + 1] > 12 for v in range(2))
            outside += sum(now[v] >= 0 and not RANGES[v][0] <= now[v] <= RANGES[v][1] for v in range(4))
            if t == 0:
                continue
            old = p[t - 1]
            moved = [v for v in range(4) if old[v] >= 0 and now[v] >= 0 and old[v] != now[v]]
            count["wide leaps"] += sum(abs(now[v] - old[v]) > 12 for v in moved)
            for v in moved:
                if v and min(old[v - 1], now[v - 1]) >= 0:
                    count["overlaps"] += now[v] > old[v - 1] and now[v] > old[v]
                if v < 3 and min(old[v + 1], now[v + 1]) >= 0:
                    count["overlaps"] += now[v] < old[v + 1] and now[v] < old[v]
                for w in moved:
                    if w > v and (now[v] > old[v]) == (now[w] > old[w]):
                        first, second = (old[v] - old[w]) % 12, (now[v] - now[w]) % 12
                        count["parallel fifths"] += first == second == 7
                        count["parallel octaves"] += first == second == 0
    for name, value in count.items():
        assert fast[name] == pytest.approx(100 * value / beats)
    notes = sum(int((p >= 0).sum()) for p in pieces)
    assert fast["crossings"] == pytest.approx(crossed / frames)
    assert fast["wide spacing"] == pytest.approx(wide / frames)
    assert fast["out of range"] == pytest.approx(outside / notes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(-6, 6))
def test_another_key_changes_nothing_but_the_range(seed, shift):
    one = piece(seed)
    two = np.where(one < 0, -1, one + shift)
    a, b = voice_leading([one]), voice_leading([two])
    for name in set(a) - {
        "out of range",
        "out of key",
    }:  # keys that fit equally well are told apart by their order
        assert a[name] == pytest.approx(b[name])


def test_a_strange_note_and_a_cluster():
    scale = np.array([[72, 67, 64, 48], [74, 67, 62, 55], [76, 67, 60, 48], [72, 65, 60, 41]] * 4)
    strange = scale.copy()
    strange[2] = [66, 65, 64, 63]
    assert voice_leading([scale], quarter=1)["out of key"] == 0
    assert voice_leading([strange], quarter=1)["out of key"] == pytest.approx(2 / 64)
    assert voice_leading([strange], quarter=1)["no chord"] == pytest.approx(1 / 16)


def test_no_frames_and_other_shapes():
    assert not any(voice_leading([]).values())
    with pytest.raises(ValueError, match=r"shape \(frames, 4\)"):
        voice_leading([np.zeros((5, 3))])
