"""Windows: the golden plans, and what holds for any lengths at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otonoha.models.jukebox.windows import (
    Shape,
    Window,
    at_the_end,
    chunk,
    chunks,
    hop_of,
    plan,
    repairs,
    side_by_side,
    window_starts,
)


def golden(name):
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, Path(__file__).resolve().parents[4] / "shared" / "golden"]:
        path = place / "jukebox" / "labels_and_windows" / "case.json"
        if path.exists():
            return json.loads(path.read_text("utf-8"))[name]["cases"]
    pytest.skip("the golden cases (../shared/golden/jukebox) are not here")
    return None


def test_window_starts_are_the_originals():
    for c in golden("window_starts"):
        shape = Shape(c["window"], 128)
        assert hop_of(shape, c["hop_fraction"]) == c["hop"]
        assert window_starts(shape, c["total"], c["hop"]) == c["starts"]


def shape_and_hops(c):
    """The level of a golden plan, and how many upper codes there are."""
    factors, level = c["factors"], c["level"]
    hop = 1
    for factor in factors[: level + 1]:
        hop *= factor
    ratio = factors[level + 1] if level + 1 < len(factors) else 0
    return Shape(c["window"], hop, ratio), -(-c["total"] // ratio) if ratio else 0


def test_sampling_plans_are_the_originals_but_for_its_faults():
    better = 0
    for c in golden("sampling_plan"):
        shape, uppers = shape_and_hops(c)
        found = plan(shape, c["known"], c["total"], total=c["total"], hop=c["hop"], history=c["known"])
        assert not found or found[-1].stop == c["total"]
        if c.get("error") or c["resulting_length"] != c["total"]:
            better += 1  # refused by the original, or written too far
            continue
        told = [
            {
                "start": w.start,
                "given": w.given,
                "sampled": w.new,
                "label_offset": w.offset(shape, c["base_offset"]),
                "label_length": shape.n_ctx * shape.hop,
                "upper_range": None if w.upper(shape, uppers) is None else list(w.upper(shape, uppers)),
            }
            for w in found
        ]
        assert told == c["windows"]
    assert better == 3


def test_partial_windows_are_the_originals():
    shape = Shape(128, 128)
    for c in golden("partial_window"):
        own = Shape(c["window"], 128)
        w = at_the_end(own, c["current"], c["new"])
        assert (w.start, w.given, w.new) == (c["start"], c["given"], c["sampled"])
        assert w.offset(own) == c["label_offset"]
    for new in (0, 129):
        with pytest.raises(ValueError, match=r"one window adds 1 … 128 codes"):
            at_the_end(shape, 10, new)


def test_training_chunks_are_the_originals():
    for c in golden("training_chunks"):
        lengths, size = c["song_lengths"], c["chunk_length"]
        assert chunks(lengths, size) == c["number_of_chunks"]
        for one in c["chunks"]:
            found = chunk(one["chunk"], lengths, size, one["shift"])
            assert found == (one["song"], one["offset"]), one


@given(st.integers(2, 50), st.lists(st.integers(0, 200), min_size=1, max_size=5), st.data())
def test_a_chunk_lies_within_its_song(size, more, data):
    lengths = [size + m for m in more]
    index = data.draw(st.integers(0, chunks(lengths, size) - 1))
    shift = data.draw(st.integers(-(size // 2), (size - 1) // 2))
    song, offset = chunk(index, lengths, size, shift)
    assert 0 <= offset <= lengths[song] - size
    # the sample in the middle of the unmoved chunk belongs to that song, or lies behind the end
    middle = index * size + shift + size // 2
    assert sum(lengths[:song]) <= middle < sum(lengths[: song + 1]) or song == len(lengths) - 1
    assert abs(sum(lengths[:song]) + offset - (index * size + shift)) <= size


def test_songs_that_are_too_short_for_a_chunk_are_named():
    with pytest.raises(ValueError, match="do not fit into song 1, which has 9"):
        chunks([20, 9, 30], 10)
    with pytest.raises(ValueError, match="must hold samples"):
        chunks([20], 0)
    with pytest.raises(ValueError, match="at most half its size"):
        chunk(0, [20], 10, 6)


shapes = st.builds(
    lambda ratio, many, hop: Shape((ratio or 1) * many, hop, ratio),
    st.sampled_from([0, 1, 2, 4]),
    st.integers(2, 12),
    st.sampled_from([1, 8]),
)


@st.composite
def requests(draw):
    """A shape, a hop, and a part of a piece of which what is before it is known as far as `history`."""
    shape = draw(shapes)
    hop = hop_of(shape, draw(st.sampled_from([0.125, 0.33, 0.5, 1.0])))
    total = draw(st.integers(1, 5 * shape.n_ctx))
    anchor = shape.down(draw(st.integers(0, total - 1)))
    first = draw(st.integers(anchor, total - 1))
    last = draw(st.integers(first + 1, total))
    return shape, hop, total, anchor, first, last


@given(requests())
def test_a_plan_writes_every_code_once_in_order_behind_known_ones(request):
    shape, hop, total, anchor, first, last = request
    cursor = first
    for w in plan(shape, first, last, total=total, hop=hop, history=first - anchor):
        assert w.start % shape.step == 0
        assert w.start >= anchor
        assert w.start + w.given == w.first == cursor
        assert w.new > 0
        assert w.given + w.new <= shape.n_ctx
        cursor = w.stop
    assert cursor == last


@given(requests())
def test_a_window_knows_as_much_as_its_hop_allows(request):
    """All but the first one are given at least what a hop leaves, less what keeping in step costs."""
    shape, hop, total, anchor, first, last = request
    for w in plan(shape, first, last, total=total, hop=hop, history=first - anchor):
        if w.start > anchor:
            assert w.given >= shape.n_ctx - hop - shape.step + 1


@given(requests(), st.data())
def test_parts_are_written_by_the_windows_of_the_whole(request, data):
    shape, hop, total, anchor, first, last = request
    middle = data.draw(st.integers(first, last))
    whole = plan(shape, first, last, total=total, hop=hop, history=first - anchor)
    parts = [
        *plan(shape, first, middle, total=total, hop=hop, history=first - anchor),
        *plan(shape, middle, last, total=total, hop=hop, history=middle - anchor),
    ]

    def starts(windows):
        return {place: w.start for w in windows for place in range(w.first, w.stop)}

    assert starts(parts) == starts(whole)


@given(requests())
def test_upper_codes_cover_what_is_written(request):
    shape, hop, total, anchor, first, last = request
    available = -(-total // shape.ratio) if shape.ratio else 0
    for w in plan(shape, first, last, total=total, hop=hop, history=first - anchor):
        found = w.upper(shape, available)
        if not shape.ratio:
            assert found is None
            continue
        assert found[0] * shape.ratio == w.start
        assert w.stop <= found[1] * shape.ratio
        assert found[1] - found[0] <= shape.n_ctx // shape.ratio


def test_what_cannot_be_planned_is_refused():
    shape = Shape(16, 8, 4)
    with pytest.raises(ValueError, match="from multiples of 4 on; 6 is none"):
        plan(shape, 6, 20, total=20, hop=8)
    with pytest.raises(ValueError, match="from multiples of 4 on; 6 is none"):
        plan(shape, 6, 20, total=20, hop=8, history=1)
    assert plan(shape, 6, 20, total=20, hop=8, history=2)[0] == Window(4, 2, 14)
    with pytest.raises(ValueError, match="cannot write codes"):
        plan(shape, 4, 24, total=20, hop=8)
    with pytest.raises(ValueError, match="hop must be above 0"):
        hop_of(shape, 0)
    with pytest.raises(ValueError, match="must be a multiple"):
        Shape(15, 8, 4)


@given(requests(), st.integers(0, 20))
def test_side_by_side_every_code_is_kept_once_and_repaired_behind_every_seam(request, length):
    shape, _, total, anchor, first, last = request
    apart = side_by_side(shape, first, last, total=total)
    cursor = first
    for w in apart:
        assert w.start % shape.step == 0
        assert (w.given, w.first) == (0, cursor)
        assert w.new <= shape.n_ctx
        cursor = w.stop
    assert cursor == last
    again = repairs(shape, apart, history=first - anchor, length=length)
    half = shape.down(shape.n_ctx // 2)
    for w in again:
        assert w.start % shape.step == 0
        assert w.start >= anchor
        assert 0 < w.given <= half
        assert 0 < w.new <= (length or half)
        assert w.given + w.new <= shape.n_ctx
    seams = [w.first for w in apart[1:]]
    assert [w.first for w in again if w.first in seams] == (seams if half else [])
    # nothing that one is given is written by another
    for a in again:
        for b in again:
            if a is not b:
                assert not set(range(a.start, a.first)) & set(range(b.first, b.stop))
