"""Windows of codes: pure in (seed, update), every condition is that of the window, held-out codes count once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from codes_fakes import RATE, FakeCodec, piece
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.jukebox import windows
from otonoha.models.jukebox.batches import HeldOut, Spot, Telling, Windows
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import DelayView, LevelView
from otonoha.models.jukebox.codes_store import Layout
from otonoha.models.jukebox.delays import delayed
from otonoha.models.jukebox.labels import Label, lyric_window

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
LAYOUT = Layout("fake-1", RATE, (2, 4, 8), (60_000, 60_000, 60_000))
CODEC = FakeCodec(sizes=LAYOUT.sizes)
APART = 10_000
"""The codes of song n begin at n · APART, so a code says of which song and sample it is."""


def song(number: int, positions: int, *, offset: int = 0, total: int = 0, lyrics: int = 0) -> Song:
    levels, _ = CODEC.codes(piece("x", positions * LAYOUT.top, start=APART * number).sound())
    words = tuple(range(1, lyrics + 1))
    length = max(total, offset + positions * LAYOUT.top)
    label = Label(length, offset, number + 1, (2 * number + 1, 2 * number + 2, -1), words)
    return Song(f"s{number}", tuple(levels), label, RATE)


SONGS = [
    song(0, 40, offset=96, total=1000, lyrics=50),
    song(1, 7, lyrics=9),
    song(2, 3),
    song(3, 25, lyrics=300),
    song(4, 1),
]
TELLING = Telling(lyrics=12)


def check_row(batch, row: int, view: LevelView, songs=SONGS) -> tuple[int, int]:
    """Everything of a window against what its codes say; gives its song and its start in codes."""
    hop, ratio, n_ctx = view.shape.hop, view.shape.ratio, view.shape.n_ctx
    codes, mask = batch.codes[row].numpy(), batch.mask[row].numpy()
    number, sample = divmod(int(codes[0]) - view.level, APART)
    one = songs[number]
    start = sample // hop
    there = min(n_ctx, len(one.levels[view.level]) - start)
    assert there > 0
    assert codes[:there].tolist() == [number * APART + view.level + (start + t) * hop for t in range(there)]
    assert not codes[there:].any()
    assert not mask[there:].any()
    assert start % max(1, ratio) == 0
    if ratio:
        real = -(-there // ratio)
        above = [number * APART + view.level + 1 + (start // ratio + u) * hop * ratio for u in range(real)]
        assert batch.upper[row].tolist() == above + above[-1:] * (n_ctx // ratio - real)
    label, at = one.label, start * hop
    wanted = [label.total, label.offset + at, n_ctx * hop, label.artist, *label.genres]
    assert batch.labels[row].tolist() == wanted
    seen = lyric_window(len(label.lyrics), 12, label.total, label.offset + at, n_ctx * hop)
    assert batch.lyrics[row].tolist() == (seen + 1).tolist()
    return number, start


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("n_ctx", [8, 24, 64])
def test_conditions_belong_to_exactly_their_window(level, n_ctx):
    view = LevelView.of(LAYOUT, level, n_ctx)
    stream, starts = Windows(SONGS, view, TELLING, batch=5, seed=3), set()
    for update in range(30):
        batch = stream(update)
        assert batch.codes.dtype == batch.labels.dtype == batch.lyrics.dtype == torch.int64
        assert batch.mask.all(1).any() or batch.mask.any(1).all()
        starts |= {check_row(batch, row, view) for row in range(5)}
    assert len({n for n, _ in starts}) >= 4
    held = HeldOut(SONGS, view, TELLING)
    for batch in held.batches(4):
        for row in range(len(batch)):
            check_row(batch, row, view)


@QUICK
@given(st.integers(0, 5), st.integers(0, 200), st.integers(1, 6), st.floats(0, 0.9))
def test_a_batch_follows_from_seed_and_update_alone(seed, update, batch, forget):
    view = LevelView.of(LAYOUT, 0, 16)
    how = {"batch": batch, "seed": seed, "forget": forget}
    stream, other = Windows(SONGS, view, TELLING, **how), Windows(SONGS, view, TELLING, **how)
    other(update + 3)
    one, two = stream(update), other(update)
    for name in ("codes", "mask", "upper", "labels", "lyrics"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    part = one.rows(slice(0, 1)).to(torch.device("cpu"))
    assert (len(one), len(part)) == (batch, 1)
    assert torch.equal(part.lyrics, one.lyrics[:1])
    assert one.targets == float(one.mask.sum())


def test_seeds_differ():
    view = LevelView.of(LAYOUT, 0, 16)
    one, two = (Windows(SONGS, view, TELLING, batch=4, seed=s)(0) for s in (0, 1))
    assert not torch.equal(one.codes, two.codes)


def test_a_pass_visits_songs_by_their_length():
    view = LevelView.of(LAYOUT, 2, 4)
    stream = Windows(SONGS, view, Telling(), batch=1)
    many = 200 * len(stream)
    seen = np.bincount([int(stream(i).labels[0, 3]) - 1 for i in range(many)], minlength=5)
    sizes = np.array([len(s.levels[2]) for s in SONGS])
    assert np.abs(seen / many - sizes / sizes.sum()).max() < 0.02
    assert stream.seconds == pytest.approx(sizes.sum() * 8 / RATE)


def test_windows_may_begin_at_every_upper_code():
    view = LevelView.of(LAYOUT, 0, 16)
    stream = Windows(SONGS[:1], view, Telling(), batch=50)
    starts = {int(c[0]) // 2 for i in range(20) for c in stream(i).codes}
    assert starts == set(range(0, 160 - 16 + 1, 2))


@QUICK
@given(
    st.lists(st.integers(20, 60), min_size=1, max_size=5),
    st.integers(4, 20),
    st.integers(0, 1000),
    st.integers(-10, 10),
)
def test_inside_of_a_song_a_window_lies_where_the_original_has_it(lengths, size, number, shift):
    """The original (windows.chunk) moves what reaches over an edge by half a window, we as little as needed."""
    view = LevelView.of(LAYOUT, 2, size)
    some = [song(i, n) for i, n in enumerate(lengths)]
    stream = Windows(some, view, Telling(), batch=1)
    number, shift = number % len(stream), max(-(size // 2), min(size // 2, shift))
    middle = number * size + size // 2 + shift
    wanted = windows.chunk(number, lengths, size, shift)
    if middle < sum(lengths):
        spot = stream.place(middle)
        begin = middle - size // 2 - sum(lengths[: spot.song])
        assert spot.song == wanted[0]
        assert spot.start == min(max(begin, 0), lengths[spot.song] - size)
        if 0 <= begin <= lengths[spot.song] - size:
            assert (spot.song, spot.start) == wanted


@pytest.mark.parametrize("level", [0, 1, 2, None])
@pytest.mark.parametrize(("n_ctx", "hop"), [(8, None), (16, 4), (24, 24), (400, None)])
def test_held_out_codes_count_once(level, n_ctx, hop):
    view = DelayView.of(LAYOUT, n_ctx) if level is None else LevelView.of(LAYOUT, level, n_ctx)
    held = HeldOut(SONGS, view, Telling(), hop=hop)
    found = [b.codes[b.mask] for b in held.batches(3)]
    wanted = [z for s in SONGS for i, z in enumerate(s.levels) if level in (i, None)]
    assert sorted(torch.cat(found).tolist()) == sorted(np.concatenate(wanted).tolist())
    if hop == 4 and level is not None:  # what counts knows at least a window less a hop of its past
        for batch in held.batches(3):
            for mask, label in zip(batch.mask, batch.labels):
                first = int(mask.int().argmax())
                assert first >= 12 or int(label[1]) == SONGS[int(label[3]) - 1].label.offset


def test_some_of_the_held_out_windows():
    view = LevelView.of(LAYOUT, 0, 8)
    every, some = HeldOut(SONGS, view, Telling()), HeldOut(SONGS, view, Telling(), most=7)
    assert len(some) == 7
    assert set(some.spots) <= set(every.spots)
    assert {some.spots[0], some.spots[-1]} == {every.spots[0], every.spots[-1]}


# -- conditions taken away and exchanged ------------------------------------------------------------------


def test_forgotten_windows_are_otherwise_the_same():
    view = LevelView.of(LAYOUT, 1, 8)
    plain = Windows(SONGS[:1], view, TELLING, batch=40)
    some = Windows(SONGS[:1], view, TELLING, batch=40, forget=0.3)
    counts = np.zeros(4)
    for update in range(20):
        one, two = plain(update), some(update)
        if update == 0:  # the first window of an update is drawn before anything is forgotten
            assert torch.equal(one.codes[0], two.codes[0])
        unknown = two.labels[:, 3] == 0
        assert (two.labels[unknown, 3:] == torch.tensor([0, 0, -1, -1])).all()
        assert (two.labels[~unknown, 3:] == torch.tensor([1, 1, 2, -1])).all()
        mute = ~two.lyrics.any(1)
        counts += [unknown.sum(), mute.sum(), (unknown & mute).sum(), len(two)]
    shares = counts[:3] / counts[3]
    assert shares == pytest.approx([0.3, 0.3, 0.09], abs=0.05)


def test_forgetting_does_not_move_the_windows():
    view = LevelView.of(LAYOUT, 1, 8)
    some = [Windows(SONGS, view, TELLING, batch=6, forget=f)(5) for f in (0.0, 0.5)]
    assert torch.equal(some[0].codes, some[1].codes)
    assert torch.equal(some[0].labels[:, :3], some[1].labels[:, :3])


@pytest.mark.parametrize("condition", ["style", "timing", "lyrics", "upper"])
def test_an_exchanged_condition_is_that_of_another_song(condition):
    view = LevelView.of(LAYOUT, 1, 8)
    held = HeldOut([replace(s, id=s.id) for s in SONGS[:4]], view, TELLING)
    assert held.conditions == ("style", "timing", "lyrics", "upper")
    told = zip(held.batches(3), held.batches(3, exchange=[condition], seed=1), strict=True)
    for true, false in told:
        assert torch.equal(true.codes, false.codes)
        assert torch.equal(true.mask, false.mask)
        same = {
            "style": torch.equal(true.labels[:, 3:], false.labels[:, 3:]),
            "timing": torch.equal(true.labels[:, :2], false.labels[:, :2]),
            "lyrics": torch.equal(true.lyrics, false.lyrics),
            "upper": torch.equal(true.upper, false.upper),
        }
        assert [name for name, equal in same.items() if not equal] == [condition]
        assert torch.equal(true.labels[:, 2], false.labels[:, 2])
        if condition == "style":
            assert (true.labels[:, 3] != false.labels[:, 3]).all()
        if condition == "upper":
            assert (true.upper // APART != false.upper // APART).all()


def test_conditions_taken_away():
    held = HeldOut(SONGS, LevelView.of(LAYOUT, 1, 8), TELLING)
    for batch in held.batches(4, without=["style", "lyrics"]):
        assert not batch.lyrics.any()
        assert (batch.labels[:, 3:] == torch.tensor([0, 0, -1, -1])).all()
    with pytest.raises(ValueError, match="upper cannot be taken away, only exchanged"):
        next(held.batches(4, without=["upper"]))
    top = HeldOut(SONGS, LevelView.of(LAYOUT, 2, 8), Telling(labels=False))
    assert top.conditions == ()
    batch = next(top.batches(4))
    assert (batch.labels, batch.lyrics, batch.upper) == (None, None, None)
    with pytest.raises(ValueError, match="unknown condition of these windows 'lyric'"):
        next(held.batches(4, exchange=["lyric"]))


def test_one_song_borrows_from_another_window_of_its_own():
    held = HeldOut(SONGS[:1], LevelView.of(LAYOUT, 1, 8), TELLING)
    true, false = (torch.cat([b.upper for b in held.batches(4, exchange=e)]) for e in ([], ["upper"]))
    assert not (true == false).all(1).any()


# -- delays -----------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 4), st.integers(0, 40), st.sampled_from([4, 9, 50]))
def test_windows_of_a_delay_pattern_are_slices_of_the_delayed_song(number, start, n_ctx):
    view, one = DelayView.of(LAYOUT, n_ctx), SONGS[number]
    start = min(start, view.many(one) - 1)
    cut = view.cut(one, start)
    whole = delayed(view.delays.side_by_side(one.levels), view.delays.steps, view.delays.pad)
    wanted = np.full((n_ctx, 7), view.delays.pad)
    part = whole[start : start + n_ctx]
    wanted[: len(part)] = part
    assert np.array_equal(cut.codes, wanted)
    assert np.array_equal(cut.mask, wanted != view.delays.pad)
    assert (cut.upper, view.per_code) == (None, 7)


def test_batches_of_a_delay_pattern():
    view = DelayView.of(LAYOUT, 10, steps=(0, 1, 1, 2, 2, 2, 2))
    stream = Windows(SONGS, view, TELLING, batch=3)
    for update in range(10):
        batch = stream(update)
        assert batch.codes.shape == batch.mask.shape == (3, 10, 7)
        assert batch.upper is None
        for row in range(3):
            step, stream_number = (int(n) for n in batch.mask[row].nonzero()[0])
            number, sample = divmod(int(batch.codes[row, step, stream_number]) - 2, APART)
            if stream_number == 0:  # a code of the coarsest level stands at its own step
                at = sample - 8 * step
                assert int(batch.labels[row, 1]) == SONGS[number].label.offset + at
                assert batch.labels[row, 2] == 80


# -- mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v: Windows([], v, TELLING, batch=1), "nothing to learn from"),
        (lambda v: HeldOut([], v, TELLING), "nothing to measure"),
        (lambda v: Windows(SONGS, v, TELLING, batch=0), "batch must be at least 1"),
        (lambda v: Windows(SONGS, v, TELLING, batch=1, forget=1.0), "forget within 0"),
        (lambda v: HeldOut(SONGS, v, TELLING, hop=1), r"windows hop by 2 … 16 codes"),
        (lambda v: HeldOut(SONGS, v, TELLING, hop=18), r"windows hop by 2 … 16 codes, got 18"),
        (lambda v: LevelView.of(LAYOUT, 3, 16), r"level must be within 0 … 2, got 3"),
        (lambda v: LevelView.of(LAYOUT, 0, 15), "multiple of the codes of an upper code"),
    ],
)
def test_mistakes_are_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message):
        make(LevelView.of(LAYOUT, 0, 16))


def test_songs_form_a_ring():
    stream = Windows(SONGS, LevelView.of(LAYOUT, 2, 4), Telling(), batch=1)
    assert stream.place(0) == stream.place(76) == Spot(0, 0)
    assert stream.place(-1) == stream.place(75) == Spot(4, 0)
    assert stream.place(20) == Spot(0, 18)
