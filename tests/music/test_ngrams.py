import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.music.ngrams import (
    BackOff,
    Match,
    NgramIndex,
    fold,
    intervals,
    longest_match,
    ngram_hashes,
    repeat_lengths,
    repeats,
)

few = st.lists(st.integers(-2, 2), max_size=24).map(lambda x: np.array(x, dtype=np.int64))


def slow_longest(a, b):
    """Length of the longest common run, the obvious way."""
    return max(
        (n for n in range(1, len(a) + 1) for i in range(len(a) - n + 1) if occurs(a[i : i + n], b)), default=0
    )


def occurs(run, sequence):
    return any(np.array_equal(run, sequence[j : j + len(run)]) for j in range(len(sequence) - len(run) + 1))


def test_intervals_forget_the_transposition():
    tune = np.array([60, 62, 64, 60])
    assert intervals(tune).tolist() == [2, 2, -4]
    assert np.array_equal(intervals(tune), intervals(tune + 5))


def test_fold_tells_rows_apart():
    rows = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    assert len(np.unique(fold(*rows.T))) == len(rows)
    with pytest.raises(ValueError, match="at least one column"):
        fold()


@given(few, st.integers(1, 6))
def test_equal_hashes_are_equal_windows(sequence, n):
    hashes = ngram_hashes(sequence, n)
    assert hashes.dtype == np.uint64
    assert len(hashes) == max(len(sequence) - n + 1, 0)
    windows = [tuple(sequence[i : i + n]) for i in range(len(hashes))]
    for (i, one), (j, other) in itertools.combinations(enumerate(windows), 2):
        assert (hashes[i] == hashes[j]) == (one == other)


def test_hashes_do_not_depend_on_the_place():
    tune = np.array([3, 1, 4, 1, 5])
    assert ngram_hashes(np.concatenate([[9, 9, 9], tune]), 5)[-1] == ngram_hashes(tune, 5)[0]
    with pytest.raises(ValueError, match="n = 0"):
        ngram_hashes(tune, 0)


@given(few, few)
def test_longest_match_against_the_slow_way(a, b):
    length, at_a, at_b = longest_match(a, b)
    assert length == slow_longest(a, b)
    assert np.array_equal(a[at_a : at_a + length], b[at_b : at_b + length])


@settings(max_examples=60)
@given(few, st.lists(few, max_size=4))
def test_index_against_the_slow_way(query, corpus):
    index = NgramIndex(corpus, [str(i) for i in range(len(corpus))])
    found = index.longest(query)
    assert found.length == max((slow_longest(query, sequence) for sequence in corpus), default=0)
    if found.length:
        there = corpus[int(found.id)][found.start_there : found.start_there + found.length]
        assert np.array_equal(query[found.start : found.start + found.length], there)
    for i, length in enumerate(index.match_lengths(query)):
        assert not length or any(occurs(query[i : i + length], sequence) for sequence in corpus)
        longer = query[i : i + length + 1]
        assert len(longer) == length or not any(occurs(longer, sequence) for sequence in corpus)


def test_matches_do_not_cross_pieces():
    index = NgramIndex([np.array([1, 2, 3]), np.array([4, 5, 6])], ["a", "b"])
    assert index.longest(np.array([2, 3, 4, 5])) == Match(2, "a", 0, 1)
    assert index.longest(np.array([7, 8])) == Match(0, "", 0, 0)
    assert len(index) == 6


def test_index_wants_an_id_for_each_sequence():
    with pytest.raises(ValueError, match="2 sequences but 1 ids"):
        NgramIndex([np.arange(3), np.arange(3)], ["a"])


def test_index_finds_a_stolen_phrase_in_a_large_corpus():
    rng = np.random.default_rng(0)
    corpus = [rng.integers(-5, 6, 100) for _ in range(1000)]
    query = np.concatenate([rng.integers(-5, 6, 20), corpus[321][17:47], rng.integers(-5, 6, 20)])
    found = NgramIndex(corpus, [f"tune {i}" for i in range(1000)]).longest(query)
    assert (found.id, found.start, found.start_there) == ("tune 321", 20, 17)
    assert found.length >= 30


def test_repeats():
    tune = np.array([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3, 4])
    assert repeats(tune) == [(4, 3), (8, 4)]
    assert repeats(tune, at_least=4) == [(8, 4)]
    assert repeat_lengths(np.zeros(6, int)).tolist() == [0, 1, 2, 3, 2, 1]
    assert repeats(np.zeros(0, int)) == []


@given(few)
def test_repeats_were_heard_before(tune):
    for start, length in repeats(tune, at_least=1):
        assert occurs(tune[start : start + length], tune[:start])


# --- back-off -------------------------------------------------------------------------------------------


def some_data(count=400, seed=0):
    rng = np.random.default_rng(seed)
    contexts = rng.integers(0, 4, (count, 3))
    symbols = (contexts[:, 0] + (rng.random(count) < 0.2)) % 5
    return symbols, contexts


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 9))
def test_probabilities_sum_to_one_everywhere(count, seed):
    symbols, contexts = some_data(count, seed)
    model = BackOff(5, [(0, 1, 2), (0, 1), (0,)]).fit(symbols, contexts)
    unseen = np.array([[9, 9, 9], [0, 9, 9], [0, 0, 0], [3, 2, 1]])
    chances = model.probabilities(unseen)
    assert chances.shape == (4, 5)
    assert (chances > 0).all()
    assert np.allclose(chances.sum(axis=1), 1.0, atol=1e-12)


def test_nats_are_the_logarithms_of_the_probabilities():
    symbols, contexts = some_data()
    model = BackOff(5, [(0, 1), (2,)]).fit(symbols, contexts)
    chances = model.probabilities(contexts)
    assert np.allclose(model.nats(symbols, contexts), -np.log(chances[np.arange(len(symbols)), symbols]))


def test_the_context_that_matters_is_learnt():
    symbols, contexts = some_data(4000)
    fresh_symbols, fresh = some_data(2000, seed=1)
    true = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    with_context = BackOff(5, [(0,)]).fit(symbols, contexts).nats(fresh_symbols, fresh).mean()
    without = BackOff(5, []).fit(symbols, contexts).nats(fresh_symbols, fresh).mean()
    assert with_context == pytest.approx(true, abs=0.06)
    assert without > 1.5


def test_nothing_counted_means_uniform():
    model = BackOff(4, [(0,)]).fit(np.zeros(0, int), np.zeros((0, 1), int))
    assert np.allclose(model.probabilities(np.array([[7]])), 0.25)


def test_back_off_says_what_is_wrong():
    with pytest.raises(ValueError, match="call fit first"):
        BackOff(4, [(0,)]).nats(np.array([1]), np.array([[1]]))
    with pytest.raises(ValueError, match="0 … 3, got 4"):
        BackOff(4, [(0,)]).fit(np.array([4]), np.array([[1]]))
    with pytest.raises(ValueError, match=r"\(2, columns\)"):
        BackOff(4, [(0,)]).fit(np.array([1, 1]), np.array([[1]]))
    with pytest.raises(ValueError, match="size = 0"):
        BackOff(0, [])
