import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.plots import tsne as maps
from otonoha.plots.tsne import affinities, checked, components, cost, gradient, kept, nearest, tsne


def clusters(sizes, width=20, spread=0.15, seed=0):
    """Vectors around one centre for each size, and whose they are."""
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(sizes), width))[which] + spread * rng.normal(size=(len(which), width)), which


def slow_affinities(x, perplexity):
    """The formulas, pair by pair, β by halving."""
    n = len(x)
    conditional = np.zeros((n, n))
    for i in range(n):
        d = np.array([((x[i] - x[j]) ** 2).sum() for j in range(n)])
        low, high = 1e-9, 1e9
        for _ in range(200):
            beta = np.sqrt(low * high)
            p = np.exp(-beta * np.maximum(d - np.delete(d, i).min(), 0))
            p[i] = 0
            p /= p.sum()
            entropy = -sum(v * np.log(v) for v in p if v > 0)
            low, high = (beta, high) if entropy > np.log(perplexity) else (low, beta)
        conditional[i] = p
    return (conditional + conditional.T) / (2 * n)


def slow_cost(p, y):
    w = np.array(
        [[0 if i == j else 1 / (1 + ((a - b) ** 2).sum()) for j, b in enumerate(y)] for i, a in enumerate(y)]
    )
    q = w / w.sum()
    return sum(
        p[i, j] * np.log(p[i, j] / q[i, j]) for i in range(len(y)) for j in range(len(y)) if p[i, j] > 0
    )


@given(
    st.integers(5, 40),
    st.integers(1, 8),
    st.floats(1.5, 12),
    st.integers(0, 99),
    st.sampled_from([7, 1 << 18]),
)
@settings(max_examples=25, deadline=None)
def test_affinities_are_a_distribution_of_the_wanted_perplexity(n, width, perplexity, seed, block):
    x = checked(np.random.default_rng(seed).normal(size=(n, width)))
    perplexity = min(perplexity, (n - 1) / 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "BLOCK", block)
        p = affinities(x, perplexity)
    assert np.array_equal(p, p.T)
    assert not p.diagonal().any()
    assert p.sum() == pytest.approx(1, abs=1e-5)
    d = np.square(x[:, None] - x).sum(-1)
    row = maps._conditional(d, np.arange(n), perplexity)
    entropy = -np.where(row > 0, row * np.log(np.maximum(row, 1e-300)), 0).sum(1)
    assert np.allclose(np.exp(entropy), perplexity, rtol=1e-4)


def test_affinities_and_cost_equal_the_formulas_written_out():
    x = checked(np.random.default_rng(1).normal(size=(12, 3)))
    p = affinities(x, 4.0)
    assert np.allclose(p, slow_affinities(x, 4.0), atol=1e-6)
    y = np.random.default_rng(2).normal(size=(12, 2))
    assert cost(p, y) == pytest.approx(slow_cost(p.astype(float), y), rel=1e-5)


@pytest.mark.parametrize("block", [9, 1 << 18])
def test_the_gradient_equals_finite_differences(monkeypatch, block):
    monkeypatch.setattr(maps, "BLOCK", block)
    rng = np.random.default_rng(3)
    p, y, h = affinities(checked(rng.normal(size=(15, 4))), 4.0).astype(float), rng.normal(size=(15, 2)), 1e-6
    for i, j in np.ndindex(15, 2):
        step = np.zeros_like(y)
        step[i, j] = h
        numeric = (cost(p, y + step) - cost(p, y - step)) / (2 * h)
        assert gradient(p, y)[i, j] == pytest.approx(numeric, abs=1e-7)


def test_clusters_stay_together_and_apart():
    x, which = clusters([8, 14, 20, 11, 17])
    layout = tsne(x)
    d = np.linalg.norm(layout.places[:, None] - layout.places, axis=-1)
    same = which[:, None] == which
    assert d[same].max() < d[~same].min()
    assert (which[nearest(layout.places, 5)] == which[:, None]).all()
    assert layout.cost < 0.5
    assert layout.perplexity == pytest.approx(14)


def test_a_map_is_better_than_its_start_and_needs_no_luck():
    x = clusters([9, 9, 9], spread=0.8)[0]
    told = []
    first = tsne(x, perplexity=6, told=lambda *step: told.append(step))
    p = affinities(checked(x), 6)
    assert first.cost < 0.7 * cost(p, maps._start(checked(x)))
    assert np.array_equal(first.places, tsne(x * 1024, perplexity=6).places)
    assert np.array_equal(first.places, tsne(x, perplexity=6).places)
    assert told[-1] == (maps.STEPS, maps.STEPS)
    assert kept(x, first.places, 5) > kept(x, components(x)[0], 5)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_few_points_and_equal_ones(n):
    assert np.isfinite(tsne(np.random.default_rng(n).normal(size=(n, 3))).places).all()
    assert not tsne(np.ones((n, 3))).places.any()
    twice = np.repeat(np.random.default_rng(n).normal(size=(n, 3)), 2, axis=0)
    places = tsne(twice).places
    assert np.allclose(places[::2], places[1::2], atol=1e-3 * np.abs(places).max())


@pytest.mark.parametrize(("n", "width"), [(30, 5), (6, 40), (9, 1), (8, 2)])
def test_components_are_those_of_a_singular_value_decomposition(n, width):
    x = np.random.default_rng(n).normal(size=(n, width)) + 3
    places, shares = components(x)
    u, s, _ = np.linalg.svd(checked(x), full_matrices=False)
    wanted = (u * s)[:, :2] if width > 1 else np.pad(u * s, ((0, 0), (0, 1)))
    assert np.allclose(np.abs(places), np.abs(wanted), atol=1e-8)
    assert np.allclose(shares, np.append(s**2, 0)[:2] / (s**2).sum())
    assert (places[np.abs(places).argmax(axis=0), [0, 1]] >= 0).all()


def test_nearest_and_kept_are_what_they_say():
    x = np.array([[0.0], [1.0], [3.0], [7.0], [7.5]])
    assert nearest(x, 2).tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    assert kept(x, x * 3, 2) == 1
    assert kept(x, -x[[0, 1, 2, 4, 3]], 1) == 1  # the two last ones are each other's nearest
    assert kept(x, x[[4, 3, 2, 1, 0]], 1) < 1
    assert nearest(x, 99).shape == (5, 4)


@pytest.mark.parametrize(
    ("vectors", "options", "said"),
    [
        (np.zeros((3, 2)), {}, "4 to 10,000 points, got 3"),
        (np.zeros((5, 0)), {}, r"got shape \(5, 0\)"),
        (np.zeros(5), {}, "got shape"),
        (np.full((5, 2), np.nan), {}, "NaN or infinite"),
        (np.eye(9), {"perplexity": 5}, "perplexity of 9 points must be above 1, at most 4; got 5"),
        (np.eye(9), {"perplexity": 1.0}, "above 1"),
    ],
)
def test_what_cannot_be_mapped_is_refused(vectors, options, said):
    with pytest.raises(ValueError, match=said):
        tsne(vectors, **options)
