from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import tokens_of
from otonoha.train.batches import Batch, Windows, collate, in_order


def visited(batch: Batch) -> list[int]:
    return batch.streams["x"][batch.mask].tolist()


def same(a: Batch, b: Batch) -> bool:
    return (a.streams["x"].equal(b.streams["x"])) and a.mask.equal(b.mask) and a.first.equal(b.first)


def test_a_batch_is_a_function_of_seed_and_update():
    data = tokens_of(40, 7, 100, 3)
    one, two = (Windows(data, batch=3, length=16, seed=5) for _ in range(2))
    forth = [one(u) for u in range(12)]
    back = [two(u) for u in reversed(range(12))][::-1]
    assert all(same(a, b) for a, b in zip(forth, back, strict=True))
    other = Windows(data, batch=3, length=16, seed=6)
    assert not all(same(a, other(u)) for u, a in enumerate(forth))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 24),
    st.integers(0, 9),
)
def test_every_pass_visits_every_position_once(lengths, batch, length, seed):
    windows = Windows(tokens_of(*lengths), batch=batch, length=length, seed=seed)
    passes = 3
    updates = -(-passes * windows.per_pass // batch)
    rows = [row for u in range(updates) for row in range(batch)]
    batches = [windows(u) for u in range(updates)]
    shown = [batches[i // batch].streams["x"][r][batches[i // batch].mask[r]] for i, r in enumerate(rows)]
    assert all(len(b) == batch for b in batches)
    assert all(1 <= len(s) <= length for s in shown)
    for p in range(passes):
        here = shown[p * windows.per_pass : (p + 1) * windows.per_pass]
        counted = Counter(x for s in here for x in s.tolist())
        assert counted == Counter(range(sum(lengths)))


def test_windows_are_cut_elsewhere_in_every_pass():
    windows = Windows(tokens_of(1000), batch=1, length=100, seed=0)
    starts = [
        frozenset(int(windows(p * windows.per_pass + i).streams["x"][0, 0]) for i in range(11))
        for p in range(4)
    ]
    assert len(set(starts)) == 4


def test_first_marks_the_beginnings_of_pieces():
    windows = Windows(tokens_of(50, 20), batch=4, length=16, seed=1)
    for u in range(6):
        batch = windows(u)
        assert batch.first.tolist() == [int(x) in (0, 50) for x in batch.streams["x"][:, 0]]


def test_windows_of_like_length_share_a_batch():
    rng = np.random.default_rng(0)
    windows = Windows(tokens_of(*rng.integers(4, 64, 400)), batch=16, length=64, seed=0)
    share = np.mean([float(windows(u).mask.float().mean()) for u in range(20)])
    assert share > 0.85


def test_change_is_reproducible_and_differs_between_updates():
    def shift(tokens, rng):
        return type(tokens)(
            {"x": tokens.streams["x"] + 1000 * int(rng.integers(1, 50))}, tokens.clock, tokens.codec
        )

    one, two = (Windows(tokens_of(8, 8), batch=2, length=8, seed=0, change=shift) for _ in range(2))
    assert same(one(4), two(4))
    assert len({tuple(one(u).streams["x"].flatten().tolist()) for u in range(8)}) == 8


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="nothing to learn from"):
        Windows(tokens_of(0), batch=1, length=4)


def test_collate_pads_behind():
    batch = collate(tokens_of(2, 4))
    assert batch.streams["x"].tolist() == [[0, 1, 0, 0], [2, 3, 4, 5]]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.targets == 6
    assert batch.rows(slice(0, 1)).targets == 2


def test_in_order_shows_every_sequence_once_and_whole():
    data = tokens_of(5, 2, 9, 1)
    seen = [row[m].tolist() for b in in_order(data, 2) for row, m in zip(b.streams["x"], b.mask, strict=True)]
    assert sorted(seen) == sorted(d.streams["x"].tolist() for d in data)
