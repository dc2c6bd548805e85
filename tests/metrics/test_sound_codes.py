"""What codes cost: against a counting loop, and against an arithmetic coder that writes and reads them back."""

import math
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.metrics import sound_codes
from otonoha.metrics.sound_codes import adaptive_bits, code_lengths, collapsed, static_bits, usage

CODES = st.lists(st.integers(0, 4), max_size=60)


class Predictor:
    """The blend of the module's docstring, with dictionaries, one code at a time, in exact fractions."""

    def __init__(self, size, order):
        self.size, self.order, self.past = size, order, []
        self.counts = defaultdict(Counter)

    def contexts(self):
        padded = [self.size] * self.order + self.past
        return [tuple(padded[len(padded) - j :]) for j in range(self.order + 1)]

    def probability(self, code):
        likely = Fraction(1, self.size)
        for context in self.contexts():
            seen = self.counts[context]
            total, different = sum(seen.values()), len(seen)
            if total:
                likely = (seen[code] + different * likely) / (total + different)
        return likely

    def learn(self, code):
        for context in self.contexts():
            self.counts[context][code] += 1
        self.past.append(code)


def written(codes, size, order):
    """An arithmetic coder with exact fractions: the bits that name a number inside the final interval."""
    model, low, width = Predictor(size, order), Fraction(0), Fraction(1)
    for code in codes:
        low += width * sum(model.probability(c) for c in range(code))
        width *= model.probability(code)
        model.learn(code)
    bits = math.ceil(-math.log2(width)) + 1
    return bits, Fraction(math.ceil(low * 2**bits), 2**bits)


def read(number, count, size, order):
    model, low, width, found = Predictor(size, order), Fraction(0), Fraction(1), []
    for _ in range(count):
        for code in range(size):
            part = width * model.probability(code)
            if number < low + part:
                break
            low += part
        width = part
        model.learn(code)
        found.append(code)
    return found


@given(CODES, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_fast_equals_the_counting_loop(codes, order):
    model, wanted = Predictor(5, order), []
    for code in codes:
        wanted.append(-math.log2(model.probability(code)))
        model.learn(code)
    assert np.allclose(code_lengths(np.array(codes, np.int64), 5, order=order), wanted)


@given(CODES.filter(len), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_the_cost_is_that_of_a_real_file_that_can_be_read_back(codes, order):
    bits, number = written(codes, 5, order)
    promised = adaptive_bits(np.array(codes), 5, order=order)
    assert promised <= bits <= promised + 2.001
    assert read(number, len(codes), 5, order) == codes


def test_predictable_codes_are_cheap_where_the_context_tells():
    turns = np.tile(np.arange(64), 40)
    assert usage(turns, 64) == {"use": 1.0, "perplexity": 64.0, "entropy": 6.0}
    assert static_bits(turns, 64) == len(turns) * 6
    assert adaptive_bits(turns, 64, order=0) > len(turns) * 6
    assert adaptive_bits(turns, 64, order=1) < 0.25 * len(turns) * 6


def test_codes_without_pattern_cost_their_entropy():
    codes = np.random.default_rng(0).integers(0, 16, 20_000)
    assert math.isclose(static_bits(codes, 16) / len(codes), 4.0, abs_tol=0.01)
    for order in (0, 1):
        assert 4.0 < adaptive_bits(codes, 16, order=order) / len(codes) < 4.1


def test_use_and_perplexity():
    assert usage(np.array([3, 3, 3]), 10) == {"use": 0.1, "perplexity": 1.0, "entropy": 0.0}
    half = usage([np.array([0, 1]), np.array([1, 0])], 8)
    assert (half["use"], half["perplexity"]) == (0.25, 2.0)
    assert usage(np.zeros(0, np.int64), 8) == {"use": 0.0, "perplexity": 1.0, "entropy": 0.0}
    assert adaptive_bits(np.zeros(0, np.int64), 8, order=2) == 0.0


def test_a_codec_that_has_collapsed_is_told_level_by_level(monkeypatch):
    rng = np.random.default_rng(0)
    good, one = rng.integers(0, 64, 400), np.full(400, 5)
    rare = np.where(rng.random(400) < 0.02, good, 5)
    assert collapsed([[good], [good, good]], [64, 64]) == ""
    said = collapsed([[one], [good], [rare, rare]], [64, 64, 1000])
    assert said.startswith(
        "the codec tells hardly any sounds apart: of 64 codes on level 0 it uses 1, of 1,000 codes on"
    )
    assert "level 1" not in said
    assert "\n" not in said
    assert collapsed([[one[:99]]], [64]) == collapsed([[one]], [8]) == collapsed([[]], [64]) == ""
    monkeypatch.setattr(sound_codes, "ENOUGH", 50)  # of a large corpus only a part is looked at
    assert "it uses 1 " in collapsed([[one, one]], [64])
    assert collapsed([[good]], [64]) == ""


def test_recordings_are_one_archive():
    rng = np.random.default_rng(1)
    one, two = rng.integers(0, 9, 50), rng.integers(0, 9, 70).astype(np.int32)
    together = code_lengths([one, two], 9, order=2)
    assert np.array_equal(together, code_lengths(np.concatenate([one, two]), 9, order=2))
    assert np.allclose(together[:50], code_lengths(one, 9, order=2)), "nothing looks ahead"


def test_long_contexts_do_not_overflow():
    codes = np.random.default_rng(2).integers(0, 2**20, 3000)
    assert np.isfinite(code_lengths(np.concatenate([codes, codes]), 2**20, order=8)).all()


@pytest.mark.parametrize(
    ("codes", "size", "order", "words"),
    [
        (np.array([0, 5]), 5, 1, "0-4"),
        (np.array([-1]), 5, 1, "0-4"),
        (np.array([0.5]), 5, 1, "integers"),
        (np.zeros((2, 2), int), 5, 1, "integers"),
        (np.array([0]), 0, 1, "codebook"),
        (np.array([0]), 5, 9, "order"),
    ],
)
def test_wrong_codes_are_refused(codes, size, order, words):
    with pytest.raises(ValueError, match=words):
        code_lengths(codes, size, order=order)
