"""Tracks divided into lines, and back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from band_songs import band_song
from otonoha.models.musegan.divisi import Divisi
from otonoha.tokens.roll import FIRST_PITCH, HOLD, HOLD_CLASS, ONSET, SILENT, Roll

torch.set_num_threads(1)
CODEC = Roll(("drums", "piano"), False, steps_per_bar=8, low=35, high=60)
P, S = CODEC.pitches, 8


def rolls_of_notes(notes, steps=2 * S):
    """(begin, length, row) -> states (T, P); a later note cuts one of its pitch."""
    states = np.zeros((steps, P), np.uint8)
    for begin, length, row in sorted(notes):
        later = [b for b, _, r in notes if r == row and b > begin]
        end = min([begin + length, steps, *later])
        states[begin:end, row] = HOLD
        states[begin, row] = ONSET
    return states


def phrase(drums, piano):
    both = np.stack([np.where(drums == HOLD, SILENT, drums), piano]).reshape(1, 2, -1, S, P)
    return torch.from_numpy(both.astype(np.uint8))


def slow(piano, count):
    """Written out, note after note: which pitch begins or sounds in which line."""
    T, lines = len(piano), [None] * count
    classes = np.zeros((count, T), int)
    for t in range(T):
        lines = [r if r is not None and piano[t, r] == HOLD else None for r in lines]
        for line, row in enumerate(lines):
            classes[line, t] = HOLD_CLASS if row is not None else 0
        new = [r for r in range(P) if piano[t, r] == ONSET or (t == 0 and piano[t, r] == HOLD)]
        free = [line for line in range(count) if lines[line] is None]
        low = len(free) // 2
        kept = new if len(new) <= len(free) else [*new[:low], *new[len(new) - (len(free) - low) :]]
        for line, row in zip(free, sorted(kept, reverse=True), strict=False):
            lines[line], classes[line, t] = row, FIRST_PITCH + row
    return classes


NOTES = st.lists(
    st.tuples(st.integers(0, 2 * S - 1), st.integers(1, 6), st.integers(0, P - 1)),
    max_size=25,
    unique_by=lambda n: (n[0], n[2]),
)


@settings(max_examples=60, deadline=None)
@given(NOTES, st.integers(1, 5), st.booleans())
def test_chords_are_divided_as_written_out(notes, count, held_over):
    piano = rolls_of_notes(notes)
    if held_over:
        piano[0][piano[0] == ONSET] = HOLD
    found = Divisi(CODEC, count).classes(phrase(np.zeros_like(piano), piano))
    assert found.shape == (1, 2 * count, 2 * S)
    np.testing.assert_array_equal(found[0, count:].numpy(), slow(piano, count))


@settings(max_examples=60, deadline=None)
@given(NOTES, NOTES, st.integers(1, 5))
def test_what_is_divided_comes_together_again(drums, piano, count):
    before = phrase(rolls_of_notes(drums), rolls_of_notes(piano))
    divisi = Divisi(CODEC, count)
    after = divisi.rolls(divisi.classes(before))
    assert ((after == before) | (after == SILENT)).all()  # nothing new
    assert torch.equal(divisi.rolls(divisi.classes(after)), after)
    sounding = (before[0, 1] > SILENT).sum(-1).max()
    if sounding <= count:
        assert torch.equal(after[:, 1], before[:, 1])


def test_strokes_have_lines_of_their_own():
    drums = np.zeros((2 * S, P), np.uint8)
    kick, snare, hat, tom = (n - CODEC.low for n in (36, 38, 42, 45))
    for row in (kick, snare, hat, tom):
        drums[3, row] = ONSET
    drums[5, kick] = drums[5, kick - 1] = ONSET  # two bass drums at once
    found = Divisi(CODEC, 4).classes(phrase(drums, np.zeros_like(drums)))[0, :4]
    assert (found[:, 3] - FIRST_PITCH).tolist() == [kick, snare, hat, tom]
    assert found[:, 5].tolist() == [FIRST_PITCH + kick - 1, 0, 0, 0]
    assert (found == HOLD_CLASS).sum() == 0
    one = Divisi(CODEC, 1).classes(phrase(drums, np.zeros_like(drums)))[0, 0]
    assert one[3] == FIRST_PITCH + kick
    assert not Divisi(CODEC, 6).classes(phrase(drums, np.zeros_like(drums)))[0, 4:6].any()


def test_a_band_is_divided_without_loss():
    codec = Roll.band()
    rolls = codec.array(codec.encode(band_song(3)))
    phrases = torch.from_numpy(rolls.swapaxes(0, 1).copy())[None]
    divisi = Divisi(codec, 4)
    assert divisi.struck().nonzero()[:, 0].tolist() == list(divisi.of_track(codec.tracks.index("drums")))
    assert torch.equal(divisi.rolls(divisi.classes(phrases)), phrases)


def test_a_hold_that_holds_nothing_is_a_rest_and_strokes_are_not_held():
    classes = torch.zeros(1, 4, S, dtype=torch.long)
    classes[0, 2, 1] = HOLD_CLASS
    classes[0, 0, 2], classes[0, 0, 3] = FIRST_PITCH + 1, HOLD_CLASS
    classes[0, 2, 4] = classes[0, 3, 4] = FIRST_PITCH + 5  # two lines on one pitch
    classes[0, 2, 5] = HOLD_CLASS
    rolls = Divisi(CODEC, 2).rolls(classes)[0, :, 0]
    assert [tuple(x) for x in rolls.nonzero().tolist()] == [(0, 2, 1), (1, 4, 5), (1, 5, 5)]
    assert rolls[1, 4, 5] == ONSET
    assert rolls[1, 5, 5] == HOLD


def test_voices_are_lines_already():
    codec = Roll(("high", "low"), steps_per_bar=4, low=60, high=72)
    rng = np.random.default_rng(0)
    classes = codec.lines_of(codec.rolls_of(rng.integers(0, 15, (3, 2, 8))))
    rolls = torch.from_numpy(codec.rolls_of(classes))
    divisi = Divisi(codec, 1)
    assert torch.equal(divisi.classes(rolls), torch.from_numpy(classes).long())
    assert torch.equal(divisi.rolls(divisi.classes(rolls)), rolls)
