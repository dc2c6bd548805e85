"""Phrases to learn from: all of them, in twelve keys, a pure function of (seed, update)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from helpers import chorale
from otonoha.models.musegan.windows import KEYS, Phrases, Windows
from otonoha.tokens.roll import Roll

STEPS, PITCHES, TRACKS = 4, 24, ("high", "low")
CODEC = Roll(TRACKS, steps_per_bar=STEPS, low=48, high=71)


def piece(bars, *, row=10, silent=(), codec=CODEC):
    """A note on `row` begins every bar, one row higher in the second track; its place in the bar tells the bar."""
    rolls = np.zeros((bars, len(codec.tracks), STEPS, codec.pitches), np.uint8)
    for bar in set(range(bars)) - set(silent):
        for track in range(len(codec.tracks)):
            rolls[bar, track, bar % STEPS, row + track + bar // STEPS] = 1
    return codec.from_array(rolls)


def contents(phrases):
    return [x.tobytes() for x in phrases.rolls.numpy()]


def test_a_batch_follows_from_seed_and_update():
    made = [Windows([piece(5), piece(7)], CODEC, bars=2, batch=3, seed=4) for _ in range(2)]
    there, back = [made[0](u).rolls for u in range(6)], [made[1](u).rolls for u in reversed(range(6))]
    assert all(torch.equal(a, b) for a, b in zip(there, reversed(back), strict=True))
    other = Windows([piece(5), piece(7)], CODEC, bars=2, batch=3, seed=5)
    assert any(not torch.equal(other(u).rolls, there[u]) for u in range(6))


def test_a_pass_visits_every_window_once():
    pieces = [piece(5, row=2), piece(3, row=12)]
    windows = Windows(pieces, CODEC, bars=2, batch=3, transpose=False)
    assert len(windows) == 4 + 2
    wanted = Counter()
    for tokens in pieces:
        rolls = CODEC.array(tokens)
        wanted.update(rolls[b : b + 2].swapaxes(0, 1).tobytes() for b in range(len(rolls) - 1))
    for first in (0, 2, 4):  # two updates of three are a pass
        seen = Counter(contents(windows(first)) + contents(windows(first + 1)))
        assert seen == wanted
    assert contents(windows(0)) + contents(windows(1)) != contents(windows(2)) + contents(windows(3))


def test_batches_may_be_larger_than_the_data():
    windows = Windows([piece(3)], CODEC, bars=2, batch=5, transpose=False)
    counts = Counter(contents(windows(0)) + contents(windows(1)))
    assert sorted(counts.values()) == [5, 5]
    assert len(windows(0)) == windows(0).targets == 5


def lowest_rows(windows, updates):
    return Counter(
        int(np.flatnonzero(x.any(axis=(0, 1, 2))).min())
        for u in range(updates)
        for x in windows(u).rolls.numpy()
    )


def test_twelve_keys_equally_often():
    windows = Windows([piece(1, row=10)], CODEC, bars=1, batch=50)
    counts = lowest_rows(windows, 24)
    assert set(counts) == {10 + k for k in KEYS}
    assert len(KEYS) == 12
    expected = 24 * 50 / 12
    chi = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi < 31.3  # chi square of 11 degrees of freedom, p = 0.001


def test_keys_stay_within_the_range_and_drums_stay():
    windows = Windows([piece(1, row=2)], CODEC, bars=1, batch=60)
    assert set(lowest_rows(windows, 4)) == set(range(8))  # two down, five up
    plain = Windows([piece(1, row=2)], CODEC, bars=1, batch=60, transpose=False)
    assert set(lowest_rows(plain, 4)) == {2}
    band = Roll.band(("drums", "bass"), steps_per_bar=STEPS, low=24, high=59)
    shaken = Windows([piece(1, row=12, codec=band)], band, bars=1, batch=40)
    rolls = shaken(0).rolls.numpy()
    assert (rolls[:, 0, 0, 0, 12] == 1).all()
    assert len(np.unique(rolls[:, 1, 0, 0].argmax(-1))) > 6


def test_the_first_phrase_of_every_piece():
    pieces = [piece(6, row=2, silent=[0, 1]), piece(5, row=12)]
    windows = Windows(pieces, CODEC, bars=2, batch=2, transpose=False, first_only=True)
    wanted = [CODEC.array(pieces[0])[1:3], CODEC.array(pieces[1])[:2]]  # the first with a note
    assert Counter(contents(windows(0))) == Counter(w.swapaxes(0, 1).tobytes() for w in wanted)


def test_silent_phrases_are_left_out():
    windows = Windows([piece(6, silent=[1, 2, 3])], CODEC, bars=2, batch=3)
    assert sorted(windows.places[:, 1].tolist()) == [0, 3, 4]
    assert all(windows(u).rolls.flatten(1).any(1).all() for u in range(4))
    with pytest.raises(ValueError, match="none of 2 pieces has a phrase of 4 bars with a note"):
        Windows([piece(6, silent=range(6)), piece(3)], CODEC, bars=4, batch=3)


def test_some_are_different_and_in_their_own_keys():
    windows = Windows([piece(9)], CODEC, bars=2, batch=3)
    some = windows.some(5)
    own = {CODEC.array(piece(9))[b : b + 2].swapaxes(0, 1).tobytes() for b in range(8)}
    found = [x.numpy().tobytes() for x in some]
    assert len(set(found)) == 5
    assert set(found) <= own
    assert torch.equal(some, windows.some(5))
    assert not torch.equal(some, windows.some(5, seed=1))
    assert len(windows.some(100)) == 8


def test_axes_are_those_of_the_room():
    codec = Roll()
    tokens = codec.encode(chorale(3, bars=4))
    phrases = Windows([tokens], codec, bars=4, batch=1, transpose=False)(0)
    assert phrases.rolls.shape == (1, 4, 4, 16, 46)
    assert phrases.rolls.dtype == torch.uint8
    np.testing.assert_array_equal(phrases.rolls[0].numpy().swapaxes(0, 1), codec.array(tokens))


def test_phrases_can_be_split():
    phrases = Phrases(torch.arange(6 * 2, dtype=torch.uint8).view(6, 1, 1, 1, 2))
    part = phrases.rows(slice(2, 5)).to(torch.device("cpu"))
    assert len(part) == part.targets == 3
    assert torch.equal(part.rolls, phrases.rolls[2:5])
