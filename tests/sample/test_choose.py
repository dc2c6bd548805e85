import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.sample.choose import Choice, draw, probabilities

LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


def slow(logits, choice, allowed, recent=()):
    """The same as `probabilities` for one piece, written out with loops."""
    scores = [x - choice.repetition * sum(r == i for r in recent) for i, x in enumerate(logits)]
    left = [i for i in range(len(scores)) if allowed[i]]
    weights = {i: math.exp((scores[i] - max(scores[j] for j in left)) / choice.temperature) for i in left}
    total = sum(weights.values())
    p = {i: w / total for i, w in weights.items()}
    order = sorted(left, key=lambda i: (-p[i], i))
    kept, mass = [], 0.0
    for rank, i in enumerate(order):
        in_k = not choice.top_k or rank < choice.top_k
        in_p = choice.top_p == 1 or mass < choice.top_p
        if rank == 0 or (in_k and in_p and p[i] >= choice.min_p * p[order[0]]):
            kept.append(i)
        mass += p[i]
    total = sum(p[i] for i in kept)
    return [p[i] / total if i in kept else 0.0 for i in range(len(logits))]


@settings(max_examples=200, deadline=None)
@given(
    LOGITS,
    st.floats(0.1, 5),
    st.integers(0, 6),
    st.sampled_from([1.0, 0.95, 0.7, 0.31, 0.05]),
    st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    st.sampled_from([0.0, 0.7, -0.4]),
    st.data(),
)
def test_equals_its_slow_twin(logits, temperature, top_k, top_p, min_p, repetition, data):
    size = len(logits)
    allowed = data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    recent = data.draw(st.lists(st.integers(-1, size - 1), min_size=8, max_size=8))
    choice = Choice(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition=repetition)
    fast = probabilities(np.array([logits]), choice, np.array([allowed]), np.array([recent]))[0]
    twin = slow(logits, choice, allowed, [r for r in recent if r >= 0])
    near = np.abs(fast - twin) < 1e-9
    # a symbol on the very edge of the nucleus, or as likely as another, may fall either way by rounding
    assert near.all() or len({*np.round(logits, 5)}) < size or abs(sum(sorted(twin)[::-1][:1]) - top_p) < 1e-6
    assert fast.sum() == pytest.approx(1)
    assert not fast[~np.array(allowed)].any()


def test_temperature_towards_zero_becomes_argmax():
    logits = np.random.default_rng(0).normal(size=(5, 7))
    best = np.eye(7)[logits.argmax(1)]
    for temperature in (0, 1e-3, 1e-300, 5e-324):
        assert np.allclose(probabilities(logits, Choice(temperature=temperature)), best)


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_network_that_says_nothing_is_refused(temperature, wrong):
    """A symbol drawn from NaN could be one that the grammar forbids."""
    logits = np.zeros((2, 4))
    logits[1, 2] = wrong
    with pytest.raises(ValueError, match="nothing that can be drawn from"):
        probabilities(logits, Choice(temperature=temperature))
    allowed = np.array([[True] * 4, [True, True, False, True]])
    assert probabilities(logits, Choice(temperature=temperature), allowed).sum(1) == pytest.approx(1)


def test_argmax_respects_masks():
    mask = np.array([[False, True, True]])
    assert probabilities(np.array([[9.0, 1.0, 2.0]]), Choice(temperature=0), mask).tolist() == [[0, 0, 1]]


def test_rows_do_not_see_each_other():
    logits = np.random.default_rng(1).normal(size=(6, 9))
    choice = Choice(temperature=0.8, top_k=5, top_p=0.9, min_p=0.05)
    together = probabilities(logits, choice)
    assert np.array_equal(together, np.concatenate([probabilities(row[None], choice) for row in logits]))


def test_arguments_stay_as_they_are():
    logits, mask = np.zeros((1, 4)), np.array([[True, False, True, True]])
    probabilities(logits, Choice(repetition=1.0), mask, np.array([[0, -1, 0]]))
    assert not logits.any()
    assert mask.tolist() == [[True, False, True, True]]


def test_repetition_takes_nats_for_each_occurrence():
    p = probabilities(np.zeros((1, 3)), Choice(repetition=1.0), None, np.array([[0, 0, 1, -1]]))[0]
    assert np.log(p[2] / p[0]) == pytest.approx(2)
    assert np.log(p[2] / p[1]) == pytest.approx(1)


@given(
    st.lists(st.sampled_from([0.0, 0.0, 1e-12, 0.1, 1.0]), min_size=1, max_size=8).filter(any),
    st.floats(0, 1, exclude_max=True),
)
def test_draw_never_picks_what_is_impossible(weights, uniform):
    p = np.array([weights])
    assert p[0, draw(p, np.array([uniform]))[0]] > 0


def test_draw_inverts_the_cumulative_probability():
    p = np.array([[0.25, 0.0, 0.5, 0.25]] * 5)
    assert draw(p, np.array([0.0, 0.2499, 0.25, 0.7499, 0.75])).tolist() == [0, 0, 2, 2, 3]
    assert draw(p, np.full(5, np.nextafter(1, 0))).tolist() == [3] * 5


def test_draw_has_the_right_frequencies():
    p = np.tile([[0.1, 0.6, 0.3]], (20_000, 1))
    counts = np.bincount(draw(p, np.random.default_rng(0).random(20_000)), minlength=3) / 20_000
    assert np.allclose(counts, [0.1, 0.6, 0.3], atol=0.015)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"min_p": 2.0},
        {"window": 0},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Choice(**wrong)
