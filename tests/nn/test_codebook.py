"""Codebooks: nearest codes, moving averages and revival against a slow twin in NumPy."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.nn import codebook
from otonoha.nn.codebook import Averages, Codebook, Draw, Seen, draw, joined, offered

QUICK = settings(max_examples=20, deadline=None, derandomize=True)


def book(codes, width, seed=0):
    made = Codebook(codes, width)
    made.k.copy_(torch.randn(codes, width, generator=torch.Generator().manual_seed(seed)))
    return made


@QUICK
@given(rows=st.integers(0, 30), codes=st.integers(1, 9), width=st.integers(1, 5), at_once=st.integers(1, 8))
def test_the_nearest_code(rows, codes, width, at_once):
    made, h = book(codes, width), torch.randn(rows, width, generator=torch.Generator().manual_seed(rows))
    before, codebook.ROWS = codebook.ROWS, at_once
    try:
        z, distance = made.nearest(h)
    finally:
        codebook.ROWS = before
    every = ((h[:, None] - made.k[None]) ** 2).sum(-1)
    assert torch.equal(z, every.argmin(1))
    torch.testing.assert_close(distance, every.gather(1, z[:, None])[:, 0], rtol=1e-4, atol=1e-5)
    assert torch.equal(made.vectors(z), made.k[z])


@QUICK
@given(rows=st.integers(1, 40), codes=st.integers(1, 12), seed=st.integers(0, 9))
def test_an_update_equals_its_definition(rows, codes, seed):
    made, rng = book(codes, 3, seed), np.random.default_rng(seed)
    averages = Averages(codes, 3, decay=0.9, threshold=1.0)
    averages.restore(made, 1.0)
    h = torch.from_numpy(rng.standard_normal((rows, 3)).astype(np.float32))
    seen = Seen(h, made.nearest(h)[0])
    chance = draw(rows, codes, 3, torch.Generator().manual_seed(seed))
    old, fresh = made.k.clone(), offered(h, chance).numpy()
    averages.update(made, seen, chance)
    for j in range(codes):
        mine = h[seen.z == j].numpy()
        total = 0.9 * old[j].numpy() + 0.1 * mine.sum(0)
        count = np.float32(0.9) + np.float32(0.1) * len(mine)
        np.testing.assert_allclose(averages.k_sum[j], total, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(averages.k_elem[j], count, rtol=1e-6)
        alive = bool(averages.alive[j])
        assert alive == (len(mine) > 0) or len(mine) == 1  # 0.9 + 0.1 lies on the threshold
        np.testing.assert_allclose(made.k[j], total / count if alive else fresh[j], rtol=1e-4, atol=1e-5)
    assert float(averages.dk) == np.float32(((made.k - old) ** 2).mean().sqrt())


def test_vectors_are_repeated_with_noise_where_there_are_too_few():
    chance = draw(3, 8, 2, torch.Generator().manual_seed(0))
    assert chance.noise.shape == (9, 2)
    assert len(set(chance.rows.tolist())) == 8
    h = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = offered(h, chance)
    torch.testing.assert_close(found, h[chance.rows % 3], rtol=0, atol=0.05)
    assert not torch.equal(found, h[chance.rows % 3])
    assert draw(8, 3, 2).noise is None
    assert torch.equal(offered(h, Draw(torch.tensor([2, 0]))), h[[2, 0]])


def test_choosing_and_restoring():
    made, averages = Codebook(2, 2), Averages(2, 2, decay=0.99)
    assert not averages.ready
    h = torch.arange(8.0).view(4, 2)
    averages.choose(made, h, Draw(torch.tensor([3, 1])))
    assert torch.equal(made.k, h[[3, 1]])
    assert torch.equal(averages.k_sum, made.k)
    averages.restore(made, 7.5)
    assert torch.equal(averages.k_sum, 7.5 * made.k)
    assert averages.ready
    assert averages.alive.all()


def test_figures_of_use():
    averages = Averages(4, 2, decay=0.99)
    averages.k_elem.copy_(torch.tensor([2.0, 1.0, 0.5, 0.0]))
    seen = joined([Seen(torch.zeros(1, 2), torch.tensor([0])), Seen(torch.ones(1, 2), torch.tensor([3]))])
    found = averages.figures(seen, torch.tensor([1.0, 3.0]))
    assert {n: round(float(v), 5) for n, v in found.items()} == {
        "fit": 2.0, "pn": 0.5, "entropy": round(float(np.log(2)), 5), "used": 2.0, "usage": 2.0, "dk": 0.0,
    }  # fmt: skip
