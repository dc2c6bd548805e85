"""The home key: the network sees every piece in C major or A minor, and nobody else notices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from families import QUICK
from helpers import chorale, pieces
from otonoha.models.music_transformer.home import SHIFTS, at_home, seen_as, shift_from, shift_of
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.theory import Key
from otonoha.sample.tasks import Continue, Infill, Vary
from otonoha.tokens.events import Events
from otonoha.tokens.events_header import attributes_of

torch.set_num_threads(1)
CODEC = Events()


@pytest.fixture(scope="module")
def model():
    model = MusicTransformer("tiny", home=True)
    long_enough = {"steps": 80, "length": 96}  # to write pitches in the middle
    model.fit(pieces(3, make=chorale, bars=2), quiet=True, **{**QUICK, **long_enough})
    return model


def moved(score, semitones):
    """A score whose notes are so many semitones higher."""
    result = score.copy()
    for track in result.tracks:
        for note in track.notes:
            note.pitch = int(note.pitch + semitones) % 128
    return result


def sounding(score) -> list[tuple]:
    return sorted((i, n.time, n.duration, n.pitch) for i, t in enumerate(score.tracks) for n in t.notes)


@given(st.sampled_from(SHIFTS))
def test_symbols_are_seen_one_to_one(shift):
    seen, layout = seen_as(CODEC.layout, shift), CODEC.layout
    assert sorted(seen.tolist()) == list(range(layout.size))
    assert (seen_as(layout, -shift)[seen] == np.arange(layout.size)).all()
    for symbol in np.flatnonzero(seen != np.arange(layout.size)).tolist():
        name, value = layout.names[layout.kind[symbol]], int(layout.value[symbol])
        becomes = int(layout.value[seen[symbol]])
        assert layout.kind[seen[symbol]] == layout.kind[symbol]
        if name == "Pitch":
            assert becomes == (value + shift) % 128
        else:
            assert name == "Key"
            assert Key.from_index(becomes) == Key.from_index(value).transpose(shift)


@given(st.integers(0, 23))
def test_every_key_has_its_way_home(index):
    key = Key.from_index(index)
    assert str(key.transpose(shift_from(key))) in ("C major", "A minor")


@given(st.integers(-12, 12))
def test_home_is_the_same_wherever_a_piece_is(semitones):
    piece = CODEC.encode(chorale(3, bars=2))
    there = CODEC.transpose(piece, semitones)
    layout = CODEC.layout
    pitch = np.isin(CODEC.event(piece), layout.ids("Pitch"))
    here, far = (CODEC.event(at_home(t, CODEC)) for t in (piece, there))
    assert (here[~pitch] == far[~pitch]).all()
    assert len(set((layout.value[far[pitch]] - layout.value[here[pitch]]).tolist())) == 1  # octaves at most
    assert int(layout.value[far[pitch]][0] - layout.value[here[pitch]][0]) % 12 == 0


def test_a_piece_without_a_key_is_brought_home_by_its_notes():
    piece = CODEC.encode(moved(chorale(3, bars=4), 0))
    event = CODEC.event(piece)
    keyless = event[~np.isin(event, CODEC.layout.ids("Key"))]
    shift = shift_of(keyless, CODEC.layout)
    assert shift is not None
    up = CODEC.event(CODEC.transpose(CODEC.tokens(keyless), 2))
    assert (shift_of(up, CODEC.layout) + 2 - shift) % 12 == 0
    assert shift_of(np.zeros(0, np.int64), CODEC.layout) is None


@pytest.mark.parametrize("key", ["D major", "Eb major", "G major"])
def test_the_same_piece_comes_in_any_key(model, key):
    asked = {"instruments": "bright piano,synth bass", "bars": 2, "seed": 5, "temperature": 0.0}  # no compass
    layout = model.codec.layout
    here = model.codec.event(model.sample(**asked, key="C major").tokens)
    there = model.codec.event(at_home(model.sample(**asked, key=key).tokens, model.codec))
    pitch, value = np.isin(here, layout.ids("Pitch")), layout.value[here]
    edge = np.flatnonzero(
        pitch & ((value < 12) | (value > 115))
    )  # beyond MIDI's range nothing can be the same
    until = int(edge[0]) if len(edge) else len(here)
    assert pitch[:until].sum() > 4
    assert here[:until].tolist() == there[:until].tolist()


@pytest.mark.parametrize(
    ("task", "asked"),
    [(Continue, {"bars": 2}), (Infill, {"only_bars": "2"}), (Vary, {"strength": 0.5})],
)
def test_a_prompt_is_answered_in_its_own_key(model, task, asked):
    score = chorale(3, bars=3)
    score.key_signatures.clear()  # else both would state the same key
    told = attributes_of(score).register  # where a piece lies is not seen from home
    by = next(s for s in (1, -1) if attributes_of(moved(score, s)).register == told)
    up = moved(score, by)
    low = model.sample(task(score), seed=2, temperature=0.0, **asked).music
    high = model.sample(task(up), seed=2, temperature=0.0, **asked).music
    assert sounding(high) == sounding(moved(low, by))


def test_a_key_that_nobody_names_is_drawn_by_lot(model):
    takes = model.sample(instruments="piano", bars=1, seed=4, n=8, scale_only=None)
    again = model.sample(instruments="piano", bars=1, seed=4, n=8)
    assert [t.tokens for t in takes] == [t.tokens for t in again]
    one = model.sample(instruments="piano", bars=1, seed=4)
    assert one.tokens == takes[0].tokens
