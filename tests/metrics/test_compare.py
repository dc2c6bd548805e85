import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tunes import EMPTY, ONE, SCALE, tune

from otonoha.metrics import compare

RNG = np.random.default_rng(1)
STEPPING = [tune(60 + np.cumsum(RNG.choice([-2, -1, 1, 2], 32)), 1) for _ in range(12)]
LEAPING = [tune(60 + RNG.integers(-12, 13, 32), RNG.choice([0.25, 3.0], 32)) for _ in range(12)]


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_a_side_beside_itself_is_equal():
    for row in compare.report(STEPPING, STEPPING):
        if row["kind"] == "number":
            assert row["difference"] == 0
        if row["kind"] == "distribution":
            assert row["divergence"] == pytest.approx(0)
            assert row["overlap"] == pytest.approx(1)


def test_what_is_different_stands_out():
    rows = by_name(compare.report(LEAPING, STEPPING))
    assert rows["mean leap"]["difference"] > 2
    assert rows["durations"]["divergence"] == pytest.approx(1)
    assert rows["intervals"]["overlap"] < 0.5
    text = compare.text_table(list(rows.values()))
    assert "mean leap" in text
    assert len(text.splitlines()) == len(rows) + 2


@pytest.mark.parametrize("sides", [([], []), ([EMPTY], [SCALE]), ([ONE], [EMPTY]), ([EMPTY, SCALE], [ONE])])
def test_nothing_is_ever_nan(sides):
    rows = compare.report(*sides)
    values = [v for row in rows for v in row.values() if isinstance(v, float)]
    assert np.isfinite(values).all()
    assert compare.text_table(rows)


def test_empty_scores_are_counted():
    assert compare.report([EMPTY, SCALE], [SCALE])[0] == {
        "name": "empty",
        "kind": "share",
        "generated": 0.5,
        "real": 0.0,
    }


def test_known_distances():
    assert compare.divergence(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1)
    assert compare.overlap(np.array([0.5, 0.5]), np.array([1.0, 0])) == 0.5
    assert compare.standardised_difference(np.array([3.0, 5.0]), np.array([1.0, 3.0])) == pytest.approx(2)
    assert compare.standardised_difference(np.array([1.0]), np.array([0.0])) == 99
    assert compare.divergence(np.zeros(2), np.array([0, 1.0])) == 1


shares = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda x: sum(x) > 0.01)


@given(shares, shares)
def test_distances_are_symmetric_and_bounded(a, b):
    a, b = np.array(a) / sum(a), np.array(b) / sum(b)
    assert compare.divergence(a, b) == pytest.approx(compare.divergence(b, a), abs=1e-9)
    assert 0 <= compare.divergence(a, b) <= 1
    assert 0 <= compare.overlap(a, b) <= 1 + 1e-9


def test_measure_has_every_number():
    assert compare.measure(SCALE).keys() == compare.NUMBERS.keys()
