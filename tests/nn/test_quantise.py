"""Cosine codes and finite scalars beside slow twins; codes that nobody uses come back to life."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.nn.quantise import CosineCodes, FiniteScalars, perplexity


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 20), st.integers(1, 6), st.integers(0, 99))
def test_the_nearest_direction(codes, width, seed):
    torch.manual_seed(seed)
    book, h = CosineCodes(codes, width), torch.randn(2, 7, width)
    found = book(h)
    for at in itertools.product(range(2), range(7)):
        row = h[at] / h[at].norm()
        distances = [float((row - k).square().sum()) for k in book.k]
        assert math.isclose(distances[int(found.codes[at])], min(distances), abs_tol=1e-5)
        assert math.isclose(float(found.error[at]), min(distances), abs_tol=1e-5)
    torch.testing.assert_close(found.vectors, book.vectors(found.codes))


def test_the_gradient_goes_straight_through():
    h = torch.randn(5, 4, requires_grad=True)
    weights = torch.randn(5, 4)
    for book in (CosineCodes(6, 4), FiniteScalars((3, 4, 5, 2))):
        (found,) = torch.autograd.grad((book(h).vectors * weights).sum(), h)
        smooth = F.normalize(h, dim=-1) if isinstance(book, CosineCodes) else torch.erf(h * math.sqrt(0.5))
        (wanted,) = torch.autograd.grad((smooth * weights).sum(), h)
        torch.testing.assert_close(found, wanted)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 99))
def test_finite_scalars_are_their_slow_twin(steps, seed):
    book, h = FiniteScalars(steps), np.random.default_rng(seed).normal(size=(9, len(steps)))
    found = book(torch.tensor(h, dtype=torch.float32))
    for row, code, vector in zip(h, found.codes.tolist(), found.vectors, strict=True):
        digits = [
            min(int(s * 0.5 * (1 + math.erf(v / math.sqrt(2)))), s - 1)
            for v, s in zip(row, steps, strict=True)
        ]
        number = 0
        for digit, s in zip(digits, steps, strict=True):
            number = number * s + digit
        assert code == number
        centres = [(2 * d + 1) / s - 1 for d, s in zip(digits, steps, strict=True)]
        np.testing.assert_allclose(vector.numpy(), centres, atol=1e-6)
    everything = torch.arange(book.codes)
    assert len({tuple(v) for v in book.vectors(everything).tolist()}) == book.codes
    again = book(torch.special.ndtri((book.vectors(everything) + 1) / 2))
    torch.testing.assert_close(again.codes, everything)


def test_steps_are_equally_likely_once_the_moments_are_known():
    book, rows = FiniteScalars((8, 5, 5)), torch.randn(20_000, 3) * torch.tensor([0.1, 4.0, 1.0]) + 3
    book.start(rows, chance())
    counts = torch.bincount(book(rows).codes, minlength=book.codes)
    assert float(perplexity(counts)) > 0.98 * book.codes


def test_moments_follow():
    rows = torch.randn(4000, 2) * 3 + 2
    for book in (FiniteScalars((4, 4), decay=0.5), CosineCodes(9, 2, decay=0.5)):
        for step in range(20):
            book.update(rows, book(rows).codes, chance(step))
        torch.testing.assert_close(book.mean, rows.mean(0), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(book.covariance, rows.t().cov(correction=0), atol=2e-2, rtol=1e-2)
        white = book.freed(rows).t().cov(correction=0)
        torch.testing.assert_close(white, torch.eye(2), atol=1e-2, rtol=1e-2)


def test_vectors_that_differ_little_from_one_another_get_different_codes():
    """As those of a fresh network: nearly one and the same direction."""
    rows = 5 + 0.01 * torch.randn(4000, 4) @ (torch.eye(4) + 0.9)
    for book in (CosineCodes(64, 4), FiniteScalars((4, 4, 2, 2))):
        book.start(rows, chance())
        assert float(perplexity(torch.bincount(book(rows).codes.flatten(), minlength=64))) > 40


def test_codes_follow_what_they_stand_for():
    """The slow twin of an update: moving sums, code by code."""
    book = CosineCodes(4, 3, decay=0.8)
    raw = torch.randn(50, 3) + 1
    book.start(raw, chance())
    codes, rows = book(raw).codes, book.shaped(raw)
    total, count = book.total.clone(), book.count.clone()
    book.update(raw, codes, chance())
    for code in range(4):
        mine = rows[codes == code]
        wanted = 0.8 * total[code] + 0.2 * mine.sum(0)
        if 0.8 * float(count[code]) + 0.2 * len(mine) > 1:
            torch.testing.assert_close(book.k[code], wanted / wanted.norm(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(book.k.norm(dim=1), torch.ones(4))


def test_a_collapsed_codebook_comes_back():
    torch.manual_seed(3)
    book, rows = CosineCodes(32, 4, decay=0.9), torch.randn(512, 4)
    book.k.copy_(book.k[:1].repeat(32, 1))  # all codes are one and the same
    book.total.copy_(book.k)
    assert float(perplexity(torch.bincount(book(rows).codes, minlength=32))) == pytest.approx(1)
    for step in range(80):
        book.update(rows, book(rows).codes, chance(step))
    assert int(book.revived) >= 15
    assert float(perplexity(torch.bincount(book(rows).codes, minlength=32))) > 20


def test_the_start_takes_vectors_of_the_sound_even_if_they_are_few():
    rows = torch.randn(3, 4)
    book = CosineCodes(8, 4)
    assert not bool(book.ready)
    book.start(rows, chance())
    assert bool(book.ready)
    assert all(any(torch.allclose(k, row) for row in book.shaped(rows)) for k in book.k)


def test_perplexity_counts_what_is_used_evenly():
    assert float(perplexity(torch.tensor([5, 5, 0, 5]))) == pytest.approx(3)
    assert float(perplexity(torch.tensor([0, 7, 0]))) == pytest.approx(1)


def test_codes_do_not_depend_on_the_precision_around():
    for book in (CosineCodes(64, 4), FiniteScalars((4, 4, 4))):
        h = torch.randn(500, book.width)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = book(h)
        assert torch.equal(found.codes, book(h).codes)
        assert found.vectors.dtype == torch.float32
