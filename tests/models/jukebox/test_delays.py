"""The delay pattern: an exact inverse, and no code is known before it is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.jukebox.delays import Delays, delayed, undelayed, window

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
DELAYS = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(lambda d: [x - min(d) for x in d])
PAD = 99


def codes_of(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, PAD, shape)


@QUICK
@given(DELAYS, st.integers(0, 12), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 9))
def test_undelayed_is_the_inverse_of_delayed(delays, many, lead, seed):
    codes = codes_of(seed, *lead, many, len(delays))
    moved = delayed(codes, delays, PAD)
    assert moved.shape == (*lead, many + max(delays), len(delays))
    assert np.array_equal(undelayed(moved, delays), codes)
    tensor = delayed(torch.from_numpy(codes), delays, PAD)
    assert np.array_equal(tensor.numpy(), moved)
    assert torch.equal(undelayed(tensor, delays), torch.from_numpy(codes))


@QUICK
@given(DELAYS, st.integers(1, 8), st.integers(0, 9))
def test_every_code_stands_where_its_delay_puts_it(delays, many, seed):
    codes = codes_of(seed, many, len(delays))
    moved = delayed(codes, delays, PAD)
    for step in range(len(moved)):
        for stream, delay in enumerate(delays):
            there = 0 <= step - delay < many
            assert moved[step, stream] == (codes[step - delay, stream] if there else PAD)


@QUICK
@given(DELAYS, st.integers(0, 12), st.integers(-3, 12), st.integers(0, 9), st.integers(0, 9))
def test_a_window_is_a_slice_of_the_delayed_whole(delays, many, start, length, seed):
    codes = codes_of(seed, many, len(delays))
    whole = np.pad(delayed(codes, delays, PAD), ((9, 40), (0, 0)), constant_values=PAD)
    wanted = whole[9 + start : 9 + start + length]
    assert np.array_equal(window(codes, delays, PAD, start, start + length), wanted)


WIDTHS = st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=4).map(
    lambda f: tuple(int(x) for x in np.cumprod(f)[::-1])
)


@QUICK
@given(WIDTHS, st.integers(1, 6), st.integers(0, 9))
def test_levels_side_by_side_and_apart_again(widths, many, seed):
    pattern = Delays(widths, (PAD,) * len(widths))
    levels = [codes_of(seed + i, 2, many * w) for i, w in enumerate(widths)]
    side = pattern.side_by_side(levels)
    assert side.shape == (2, many, sum(widths))
    for found, wanted in zip(pattern.apart(side), levels, strict=True):
        assert np.array_equal(found, wanted)
    tensors = pattern.side_by_side([torch.from_numpy(z) for z in levels])
    assert np.array_equal(tensors.numpy(), side)
    stream = 0
    for level in reversed(range(len(widths))):  # the coarsest first, then in the order of time
        for place in range(widths[level]):
            assert pattern.levels[stream] == level
            assert np.array_equal(side[:, :, stream], levels[level][:, place :: widths[level]])
            stream += 1


def test_by_default_a_code_knows_all_that_come_before_it_in_its_position():
    pattern = Delays((4, 2, 1), (10, 20, 30))
    assert pattern.steps == (0, 1, 2, 3, 4, 5, 6)
    assert (pattern.streams, pattern.longest, pattern.pad) == (7, 6, 30)
    assert pattern.levels == (2, 1, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delays((2, 1), (3, 3), (0, 1)),
        lambda: Delays((2, 1), (3, 3), (1, 2, 3)),
        lambda: Delays((2, 1), (3,)),
        lambda: Delays((), ()),
        lambda: delayed(np.zeros((4, 3), int), [0, 1], 9),
        lambda: delayed(np.zeros((4, 2), int), [0, -1], 9),
        lambda: undelayed(np.zeros((2, 2), int), [0, 3]),
        lambda: Delays((2, 1), (3, 3)).side_by_side([np.zeros(5, int), np.zeros(2, int)]),
        lambda: Delays((2, 1), (3, 3)).side_by_side([np.zeros(6, int), np.zeros(2, int)]),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(ValueError, match=r"delay|streams|level|multiple|sound"):
        make()
