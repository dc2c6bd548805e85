"""What design `events` learns from: whole bars, the right targets, the kinds in the asked shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Track

from helpers import chorale, tune
from otonoha.models.music_transformer.events_place import read
from otonoha.models.music_transformer.events_windows import excerpt, header_size, spans
from otonoha.models.music_transformer.excerpts import HIDDEN, MEASURED, Excerpts, in_turn
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_header import attributes_of
from otonoha.tokens.events_vocab import BEGIN, END, PAD, SEP

CODEC = Events(styles=("a", "b"), contexts=True)


def with_drums(seed: int, bars: int):
    score = chorale(seed, bars=bars)
    drums = Track("drums", 0, True)
    for beat in range(4 * bars):
        drums.notes.append(Note(24 * beat, 6, 36 + beat % 3, 100))
    score.tracks.append(drums)
    return score


PIECES = [read(CODEC, with_drums(i, 3 + 5 * i), "ab"[i % 2]) for i in range(3)]


def made(**options):
    usual = {"batch": 4, "length": 200, "seed": 1, "infill": 0.4, "masked": 0.2, "control_dropout": 0.3}
    return Excerpts(PIECES, CODEC, **{**usual, **options})


def symbols(batch, row: int) -> np.ndarray:
    return batch.streams["event"][row, : int(batch.lengths[row])].numpy().astype(np.int32)


def family(event: np.ndarray, *names: str) -> np.ndarray:
    return np.isin(CODEC.layout.kind[event], [CODEC.layout.names.index(n) for n in names])


@settings(max_examples=20, deadline=None)
@given(update=st.integers(0, 1000), seed=st.integers(0, 20))
def test_a_batch_follows_from_seed_and_update(update, seed):
    one, again = made(seed=seed)(update), made(seed=seed)
    again(update + 1)  # what was drawn before does not matter
    same = again(update)
    assert (one.counts == same.counts).all()
    assert all((one.streams[n] == same.streams[n]).all() for n in one.streams)
    assert (one.given is None) == (same.given is None)


def test_the_right_symbols_count():
    seen = set()
    draw = made()
    for update in range(40):
        batch = draw(update)
        for row in range(len(batch)):
            event, counts = symbols(batch, row), batch.counts[row].numpy()
            size = len(event)
            assert size <= 200
            assert event[0] == BEGIN
            assert not counts[0]
            assert not counts[size:].any()
            assert not (counts[:size] & (event == PAD)).any()
            if batch.given is not None:
                seen.add("masked")
                given = batch.given[row, :size].numpy()
                assert (given[counts[:size]] == PAD).all()
                assert (given == event)[~counts[:size]].all()
                assert CODEC.layout.among(*HIDDEN)[event[counts[:size]]].all()
                assert not (event == SEP).any()
            elif (event == SEP).any():
                seen.add("infill")
                sep = int(np.flatnonzero(event == SEP)[0])
                assert (counts[:size] == (np.arange(size) > sep)).all()
            else:
                seen.add("causal")
                assert (counts[1:size] == (event[1:] != PAD)).all()
    assert seen == {"masked", "infill", "causal"}


def test_the_kinds_have_about_the_asked_shares():
    draw = made(batch=8, length=400)
    batches = [draw(u) for u in range(60)]
    masked = np.mean([b.given is not None for b in batches])
    assert abs(masked - 0.2) < 0.15
    causal = [b for b in batches if b.given is None]
    infill = np.mean([(symbols(b, r) == SEP).any() for b in causal for r in range(8)])
    assert abs(infill - 0.4) < 0.1


def test_excerpts_are_whole_bars_of_their_piece_and_end_where_it_does():
    draw = made(infill=0.0, masked=0.0, control_dropout=0.0, transpose=False)
    ends = 0
    for update in range(20):
        batch = draw(update)
        for row in range(len(batch)):
            event = symbols(batch, row)
            header = event[: header_size(CODEC, CODEC.tokens(event))]
            kept = ~family(header, *MEASURED)  # what is measured on the excerpt may differ
            (piece,) = [p for p in PIECES if (CODEC.event(p)[: len(header)] == header)[kept].all()]
            starts, stops = spans(CODEC, piece)
            total, left = len(starts), int(CODEC.layout.value[event[len(header)]])
            first = next(b for b in range(total) if CODEC.layout.value[CODEC.event(piece)[starts[b]]] == left)
            own, its = CODEC.event(piece), spans(CODEC, CODEC.tokens(event))
            for k, (a, b) in enumerate(zip(*its)):
                bar = own[starts[first + k] : stops[first + k]].tolist()
                found = event[a:b].tolist()
                assert found[0] == bar[0]  # it is counted to the end of the whole piece
                assert found[-1] == bar[-1]
                assert found == bar or k == 0
            ended = event[-1] == END
            ends += bool(ended)
            assert ended == (first + len(its[0]) == total)
    assert ends


def test_transposition_leaves_drums_and_reaches_twelve_keys():
    draw = made(infill=0.0, masked=0.0, control_dropout=0.0)
    drums, keys = set(), set()
    for update in range(30):
        batch = draw(update)
        for row in range(len(batch)):
            event = symbols(batch, row)
            drums |= set(CODEC.layout.value[event[family(event, "Drum")]].tolist())
            keys |= set(CODEC.layout.value[event[family(event, "Key")]].tolist())
    assert drums == {36, 37, 38}
    assert len(keys) == 12


def test_hidden_controls_are_left_out_or_blank():
    draw = made(infill=0.0, masked=0.0, control_dropout=0.5, transpose=False)
    sizes, blanks, shown = set(), 0, []
    for update in range(60):
        batch = draw(update)
        for row in range(len(batch)):
            event = symbols(batch, row)
            head = event[: header_size(CODEC, CODEC.tokens(event))]
            sizes.add(len(head))
            blanks += bool((head == PAD).any())
            shown.append(family(head, "Density").any())
            assert family(head, "Program").sum() == 5  # instruments stay
    assert len(sizes) > 3
    assert 60 < blanks < 180
    assert abs(np.mean(shown) - 0.5) < 0.12


def test_a_bar_that_is_longer_than_the_length_is_cut():
    score = tune(1, bars=2)
    for i in range(90):
        score.tracks[0].notes.append(Note(i, 1, 40 + i % 50, 80))
    piece = read(CODEC, score)
    draw = Excerpts([piece], CODEC, batch=2, length=64, infill=0.5)
    for update in range(10):
        assert draw(update).streams["event"].shape[1] <= 64
    assert all(len(part) <= 64 for part, _ in in_turn([piece], CODEC, 64))


@settings(max_examples=10, deadline=None)
@given(length=st.integers(60, 400))
def test_in_turn_says_every_bar_once(length):
    for piece in PIECES:
        parts = in_turn([piece], CODEC, length)
        bars = [len(spans(CODEC, part)[0]) for part, _ in parts]
        total = len(spans(CODEC, piece)[0])
        if all(len(part) < length for part, _ in parts):
            assert sum(bars) == total
            assert sum(CODEC.units(part) for part, _ in parts) == CODEC.units(piece)
        for part, counts in parts:
            header = header_size(CODEC, part)
            assert not counts[:header].any()
            assert counts[header:].all()
            assert len(part) <= length
        assert CODEC.event(parts[-1][0])[-1] == END or len(parts[-1][0]) == length
        assert not any((CODEC.event(part) == END).any() for part, _ in parts[:-1])


def test_an_excerpt_counts_to_the_end_of_the_whole_piece():
    piece = PIECES[2]
    event = CODEC.event(excerpt(CODEC, piece, 2, 5))
    left = CODEC.layout.value[event[family(event, "Bar")]].tolist()
    assert left == [11, 10, 9]
    assert not (event == END).any()
    whole = excerpt(CODEC, piece, 0, 13)
    assert isinstance(whole, Tokens)
    assert whole == piece


def test_without_pieces_there_is_nothing_to_learn_from():
    with pytest.raises(ValueError, match="nothing to learn from"):
        Excerpts([], CODEC, batch=1, length=10)


@pytest.mark.parametrize("home", [False, True])
def test_what_the_header_says_of_the_notes_is_true_of_the_excerpt(home):
    """Density, register and polyphony are those of its own bars, in the key that the piece has."""
    draw, seen = (
        made(home=home, infill=0.0, masked=0.0, control_dropout=0.0, transpose=False, length=120),
        set(),
    )
    for update in range(12):
        batch = draw(update)
        for row, length in enumerate(batch.lengths.tolist()):
            tokens = CODEC.tokens(batch.streams["event"][row, :length].numpy())
            said, found = CODEC.header(tokens), attributes_of(CODEC.decode(tokens))
            assert (said.density, said.polyphony) == (found.density, found.polyphony)
            assert home or said.register == found.register
            seen.add((said.density, said.register))
    assert len(seen) > 1
