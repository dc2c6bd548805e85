"""Packed scores and shelves: lossless, safe, forgiving."""

from __future__ import annotations

import os
import pickle
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import (
    ControlChange,
    KeySignature,
    Note,
    Pedal,
    PitchBend,
    Score,
    Tempo,
    TextMeta,
    TimeSignature,
    Track,
)

from otonoha.data.cache import load_shelf, pack, save_shelf, shelf_path, unpack

time = st.integers(0, 2**31 - 1)
byte = st.integers(0, 127)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["さくら", "Lie-", "Ё"]
)


def many(strategy):
    return st.lists(strategy, max_size=4)


@st.composite
def scores(draw):
    score = Score(draw(st.sampled_from([1, 4, 480, 960, 10080])))
    score.tempos = draw(many(st.builds(lambda t, m: Tempo(t, mspq=m), time, st.integers(1, 10**7))))
    score.time_signatures = draw(
        many(st.builds(TimeSignature, time, st.integers(1, 255), st.sampled_from([1, 2, 4, 8, 16])))
    )
    score.key_signatures = draw(many(st.builds(KeySignature, time, st.integers(-7, 7), st.integers(0, 1))))
    score.markers = draw(many(st.builds(TextMeta, time, text)))
    for _ in range(draw(st.integers(0, 3))):
        track = Track(draw(text), draw(byte), draw(st.booleans()))
        track.notes = draw(many(st.builds(Note, time, time, byte, byte)))
        track.lyrics = draw(many(st.builds(TextMeta, time, text)))
        track.controls = draw(many(st.builds(ControlChange, time, byte, byte)))
        track.pitch_bends = draw(many(st.builds(PitchBend, time, st.integers(-8192, 8191))))
        track.pedals = draw(many(st.builds(Pedal, time, time)))
        score.tracks.append(track)
    return score


@settings(max_examples=60, deadline=None)
@given(scores())
def test_a_packed_score_comes_back_the_same(score):
    again = unpack(pack(score))
    assert again == score
    assert again.tpq == score.tpq
    assert [(m.time, m.text) for m in again.markers] == [(m.time, m.text) for m in score.markers]
    for ours, theirs in zip(again.tracks, score.tracks, strict=True):
        assert (ours.name, ours.program, ours.is_drum) == (theirs.name, theirs.program, theirs.is_drum)
        assert [(w.time, w.text) for w in ours.lyrics] == [(w.time, w.text) for w in theirs.lyrics]
        for kind in ("notes", "controls", "pitch_bends", "pedals"):
            assert list(getattr(ours, kind)) == list(getattr(theirs, kind))


@settings(max_examples=40, deadline=None)
@given(scores(), st.data())
def test_damaged_bytes_are_refused_with_one_line(score, data):
    packed = bytearray(pack(score))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="not a packed score"):
        unpack(bytes(packed))
    with pytest.raises(ValueError, match="not a packed score"):
        unpack(bytes(pack(score)[:at]))


def test_a_pickle_is_refused():
    with pytest.raises(ValueError, match="not a packed score"):
        unpack(pickle.dumps({"a": 1}))


def test_only_ticks_are_packed():
    with pytest.raises(ValueError, match="ticks"):
        pack(Score(480).to("quarter"))


def test_a_shelf_keeps_what_is_put_on_it():
    entries = {"a.mid|1|2": b"one", "ü/さくら.mid|3|4": b"", "z": bytes(range(256))}
    assert save_shelf("/some/where", "v1", entries)
    assert load_shelf("/some/where", "v1") == entries
    assert load_shelf("/some/where", "v2") == {}
    assert load_shelf("/some/other", "v1") == {}


@pytest.mark.parametrize("damage", [b"", b"OTSH1", b"\x80\x04garbage" * 9])
def test_a_damaged_shelf_counts_as_absent(damage):
    save_shelf("x", "v1", {"a": b"one"})
    shelf_path("x").write_bytes(damage)
    assert load_shelf("x", "v1") == {}


def test_every_flipped_byte_of_a_shelf_is_noticed():
    save_shelf("x", "v1", {"a": b"one", "b": b"two"})
    whole = shelf_path("x").read_bytes()
    for at in range(len(whole)):
        shelf_path("x").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert load_shelf("x", "v1") == {}


def test_an_unwritable_cache_is_done_without(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("OTONOHA_CACHE", str(blocked / "cache"))
    assert save_shelf("x", "v1", {"a": b"one"}) is False
    assert load_shelf("x", "v1") == {}


def test_no_temporary_files_stay_behind(own_cache):
    save_shelf("x", "v1", {"a": b"one"})
    assert [p.name for p in own_cache.iterdir()] == [shelf_path("x").name]
    if os.name == "posix":
        assert stat.S_IMODE(shelf_path("x").stat().st_mode) & 0o400
