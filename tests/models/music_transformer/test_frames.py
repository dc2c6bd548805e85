"""Frames: every table against a plain definition, and nothing looks ahead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.frames import (
    APART,
    NO_DEGREE,
    UNKNOWN,
    frame_row,
    frames,
    hold_bucket,
)

PITCH = st.one_of(st.just(-1), st.integers(36, 81))


@st.composite
def pieces(draw, most=20):
    return np.array(draw(st.lists(st.lists(PITCH, min_size=4, max_size=4), max_size=most)), np.int16).reshape(
        -1, 4
    )


@settings(max_examples=60, deadline=None)
@given(pieces())
def test_tables_say_what_they_claim(piece):
    table = frames(piece)
    reference = NO_DEGREE
    for t, frame in enumerate(piece.tolist()):
        assert table.reference[t] == reference
        sounding = [p for p in frame if p >= 0]
        if reference == NO_DEGREE and sounding:
            reference = sounding[-1] % 12
        for v, pitch in enumerate(frame):
            before = piece[t - 1, v] if t else -1
            step = UNKNOWN if pitch < 0 or before < 0 else min(12, max(-12, pitch - before)) + 12
            assert table.motion[t, v] == step
            assert table.degree[t, v] == (NO_DEGREE if pitch < 0 else (pitch - reference) % 12)
            held = 1
            while held <= t and piece[t - held, v] == pitch:
                held += 1
            assert table.held[t, v] == held
        for v in range(3):
            a, b, s = frame[v], frame[v + 1], frame[0]
            assert table.spacing[t, v] == (APART if min(a, b) < 0 else a - b)
            assert table.below[t, v] == (APART if min(s, b) < 0 else s - b)


@settings(max_examples=40, deadline=None)
@given(pieces())
def test_one_frame_at_a_time_gives_the_same_rows(piece):
    table, rows = frames(piece), frames(piece).rows()
    before = np.full(4, -1, np.int16)
    for t, frame in enumerate(piece):
        assert np.array_equal(frame_row(before, frame, int(table.reference[t])), rows[t])
        before = frame


@settings(max_examples=40, deadline=None)
@given(pieces(), st.integers(0, 19), st.integers(-12, 12))
def test_the_future_changes_nothing_and_keys_do_not_matter(piece, cut, shift):
    table = frames(piece)
    for name in ("motion", "spacing", "below", "degree", "held"):
        early = getattr(frames(piece[:cut]), name)
        assert np.array_equal(getattr(table, name)[:cut], early)
        moved = frames(np.where(piece < 0, -1, piece + shift))
        assert np.array_equal(getattr(table, name), getattr(moved, name))
    assert np.array_equal(table.reference[: cut + 1], frames(piece[: cut + 1]).reference)


def test_hold_buckets_are_exact_up_to_a_bar_and_then_coarse():
    assert hold_bucket(np.arange(1, 17)).tolist() == list(range(16))
    assert hold_bucket(np.array([17, 22, 23, 31, 32, 45, 64, 10_000])).tolist() == [
        16,
        16,
        17,
        17,
        18,
        18,
        20,
        23,
    ]


def test_other_than_four_voices_is_refused():
    with pytest.raises(ValueError, match="frames of 4 voices"):
        frames(np.zeros((3, 5)))
