"""The store of codes: what was added is read back at any range, whatever happened to the files in between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.jukebox import codes_store
from otonoha.models.jukebox.codes_store import Layout, Store

LAYOUT = Layout("fake-1", 1000, (2, 4, 8), (50, 300, 30))
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


@pytest.fixture(scope="module", autouse=True)
def _quick_disk():
    """Waiting for the disk is for power cuts; these tests end files by hand."""
    with mock.patch.object(codes_store.os, "fsync"):
        yield


def codes(seed: int, positions: int, layout: Layout = LAYOUT) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, s, (positions, w)) for s, w in zip(layout.sizes, layout.widths)]


def add(folder: Path, numbers, layout: Layout = LAYOUT) -> Store:
    store = Store(folder, layout)
    assert store.writable()
    with store.writing() as writer:
        for n in numbers:
            writer.add(f"key{n}", codes(n, 1 + n % 7), n)
    return store


def check(store: Store, numbers) -> None:
    """Every recording that the store claims to have is right; those of `numbers` are there."""
    assert set(store.entries) >= {f"key{n}" for n in numbers}
    for key, entry in store.entries.items():
        n = int(key.removeprefix("key"))
        assert (entry.positions, entry.samples) == (1 + n % 7, n)
        for found, wanted in zip(store.levels(key), codes(n, 1 + n % 7), strict=True):
            assert np.array_equal(found, wanted.reshape(-1))


@pytest.mark.parametrize("sizes", [(50, 40, 30), (50, 300, 30), (70_000, 2, 2)])
def test_what_was_added_is_read_back_at_any_range(tmp_path, sizes):
    layout = Layout("fake-1", 1000, (2, 4, 8), sizes)
    wanted = codes(5, 100, layout)
    with Store(tmp_path, layout).writing() as writer:
        writer.add("a", codes(1, 3, layout), 24)
        writer.add("b", wanted, 799)
    store = Store(tmp_path, layout)
    for found, one in zip(store.levels("b"), wanted):
        assert np.array_equal(found[17:58], one.reshape(-1)[17:58])
        assert not found.flags.writeable
        assert found.base is not None  # a view: nothing was copied
    assert sum(p.stat().st_size for p in tmp_path.glob("*.codes")) == 103 * 7 * layout.dtype.itemsize


def test_shards_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(codes_store, "SHARD_BYTES", 100)
    store = add(tmp_path, range(20))
    assert len(list(tmp_path.glob("*.codes"))) > 5
    check(store, range(20))
    check(add(tmp_path, range(20, 30)), range(30))


@QUICK
@given(
    cut=st.floats(0, 1),
    which=st.sampled_from(["index", "shard"]),
    rubbish=st.binary(max_size=40),
    more=st.integers(0, 4),
)
def test_files_that_were_cut_short_cost_only_what_was_lost(tmp_path_factory, cut, which, rubbish, more):
    folder = tmp_path_factory.mktemp("store")
    add(folder, range(8))
    path = folder / ("index.jsonl" if which == "index" else "00000.codes")
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))] + (rubbish if which == "index" else b""))
    damaged = Store(folder, LAYOUT)
    lost = set(range(8)) - {int(k[3:]) for k in damaged.entries}
    if which == "shard":  # the first recordings are whole
        assert lost == set(range(8 - len(lost), 8))
    check(damaged, ())
    check(add(folder, range(8, 8 + more)), range(8, 8 + more))
    check(add(folder, sorted(lost)), range(8 + more))
    check(Store(folder, LAYOUT), range(8 + more))
    shutil.rmtree(folder)


def test_what_no_line_speaks_of_is_cut_off(tmp_path):
    add(tmp_path, range(3))
    with (tmp_path / "00000.codes").open("ab") as file:
        file.write(b"half a recording")
    store = add(tmp_path, [3])
    check(store, range(4))
    ends = [store.end(entry) for entry in store.entries.values()]
    assert (tmp_path / "00000.codes").stat().st_size == 2 * max(ends)


def test_the_store_of_other_codes_is_begun_anew(tmp_path):
    add(tmp_path, range(3))
    other = Layout("fake-1", 1000, (2, 4, 8), (50, 301, 30))
    assert not Store(tmp_path, other).entries
    with Store(tmp_path, other).writing() as writer:
        writer.add("x", codes(1, 2, other), 16)
    assert set(Store(tmp_path, other).entries) == {"x"}
    assert not Store(tmp_path, LAYOUT).entries


def test_wrong_codes_are_refused_and_cost_nothing_else(tmp_path):
    store = Store(tmp_path, LAYOUT)
    with store.writing() as writer:
        writer.add("key1", codes(1, 2), 1)
        wrong = codes(1, 2)
        wrong[1][0, 0] = 300
        with pytest.raises(ValueError, match="level 1 has codes outside of 0 … 299"):
            writer.add("no", wrong, 16)
        with pytest.raises(ValueError, match="level 0 has 7 codes for 2 positions, not 4 for each"):
            writer.add("no", [np.zeros(7, int), *codes(1, 2)[1:]], 16)
        with pytest.raises(ValueError, match="there are no codes"):
            writer.add("no", codes(1, 0), 0)
    check(Store(tmp_path, LAYOUT), [1])


def test_a_full_disk_is_one_line_and_keeps_what_is_there(tmp_path, monkeypatch):
    add(tmp_path, range(3))
    monkeypatch.setattr(codes_store, "COMMIT_SECONDS", -1.0)
    calls = []

    def full(file):
        calls.append(file)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(codes_store, "_to_disk", full)
    with pytest.raises(
        OSError, match=r"codes cannot be kept in .*: No space left on device; what is there is"
    ):
        add(tmp_path, range(3, 6))
    monkeypatch.undo()
    check(Store(tmp_path, LAYOUT), range(4))
    check(add(tmp_path, range(4, 6)), range(6))


def test_a_line_is_written_when_its_codes_are_on_the_disk(tmp_path, monkeypatch):
    real, seen = codes_store._to_disk, []

    def watched(file):
        real(file)
        if file.name.endswith("index.jsonl"):
            store = Store(tmp_path, LAYOUT)  # as a reader, or the next run, would find it
            assert len(store.entries) == len((tmp_path / "index.jsonl").read_text().splitlines()) - 1
            check(store, ())
            seen.append(len(store.entries))

    monkeypatch.setattr(codes_store, "COMMIT_SECONDS", -1.0)
    monkeypatch.setattr(codes_store, "_to_disk", watched)
    add(tmp_path, range(4))
    assert seen == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("hops", "sizes"), [((2, 5), (3, 3)), ((2, 4), (3,)), ((), ()), ((0, 4), (3, 3)), ((2, 4), (3, 0))]
)
def test_levels_that_cannot_be_are_refused(hops, sizes):
    with pytest.raises(ValueError, match="hops"):
        Layout("fake", 1000, hops, sizes)


def test_the_index_can_be_read_by_people(tmp_path):
    add(tmp_path, [2])
    head, line = (json.loads(x) for x in (tmp_path / "index.jsonl").read_text().splitlines())
    assert (head["codec"], head["hops"]) == ("fake-1", [2, 4, 8])
    assert line == {"key": "key2", "shard": 0, "at": 0, "positions": 3, "samples": 2}
