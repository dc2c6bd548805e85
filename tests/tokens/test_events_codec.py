"""The events codec: what it writes, that nothing is lost, headers, repeats, clear refusals."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from events_twin import bands, facts, quantised, twin
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score, TextMeta, TimeSignature

from otonoha.music.tracks import track_of
from otonoha.tokens import codec, from_dict
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.events import Attributes, EventConstraints, Events, Header, Section
from otonoha.tokens.events_read import body_of
from otonoha.tokens.events_vocab import TEMPI, nearest_tempo
from otonoha.tokens.notes import Notes

EVENTS = Events()
PLACED = Events(contexts=True)
LAYOUT = EVENTS.layout


def words(tokens: Tokens) -> str:
    return " ".join(LAYOUT.word(int(s)) for s in tokens.streams["event"])


def piece(*tracks: tuple[int, list[tuple[int, int, int]]], metre=(4, 4)) -> Score:
    """Tracks (program, [(onset, length, pitch) in quarter notes])."""
    score = Score(24)
    score.time_signatures.append(TimeSignature(0, *metre))
    for program, notes in tracks:
        onset, length, pitch = np.array(notes).T
        made = track_of(24 * onset, 24 * length, pitch, program=program % 128, is_drum=program == 128)
        score.tracks.append(made)
    return score


def test_a_small_piece_in_words():
    score = piece((40, [(0, 1, 67), (1, 1, 72), (1, 1, 64), (6, 10, 60)]), (128, [(0, 1, 36), (1, 1, 36)]))
    assert words(EVENTS.encode(score)) == (
        "Begin Ensemble violin drums Start "
        "Bar 4 Metre 4/4 violin Dur 24 G4 Pos 24 C5 E4 drums Drum 36 Pos 24 Drum 36 "
        "Bar 3 violin Pos 48 Long 2 Dur 48 C4 Bar 2 Bar 1 End"
    )
    assert EVENTS.units(EVENTS.encode(score)) == 6


def test_copies_of_a_program_are_told_apart_by_their_order():
    score = piece((0, [(0, 1, 72)]), (0, [(0, 1, 60), (4, 1, 60)]), (40, [(0, 1, 50)]))
    tokens = EVENTS.encode(score, Header(countdown=False))
    assert words(tokens).split("Bar ?")[1:] == [
        " Metre 4/4 piano Dur 24 C5 piano Dur 24 C4 violin Dur 24 D3 ",
        " piano piano Dur 24 C4 End",
    ]
    assert [t.name for t in EVENTS.decode(tokens).tracks] == ["piano 1", "piano 2", "violin"]


@settings(max_examples=60, deadline=None)
@given(bands(), st.booleans())
def test_written_as_the_slow_twin_writes(score, velocities):
    events = Events(velocities=velocities)
    event = events.encode(score, Header(countdown=False)).streams["event"]
    assert event[body_of(event) :].tolist() == twin(score, LAYOUT, velocities=velocities)


@settings(max_examples=20, deadline=None)
@given(st.lists(bands(tpq=480), min_size=1, max_size=6), st.booleans())
def test_many_at_once_are_what_each_is_alone(scores, contexts):
    events = PLACED if contexts else EVENTS
    assert events.encode_many(scores) == [events.encode(score) for score in scores]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_batch_of_all_kinds_is_written_as_the_slow_twin_writes(data):
    scores = [data.draw(bands(tpq=data.draw(st.sampled_from([24, 96, 100])))) for _ in range(3)]
    headers = [
        Header(countdown=data.draw(st.booleans()), instruments=data.draw(st.booleans())) for _ in scores
    ]
    for score, header, tokens in zip(scores, headers, EVENTS.encode_many(scores, headers)):
        assert tokens == EVENTS.encode(score, header)
        if not header.countdown:
            event = EVENTS.event(tokens)
            assert event[body_of(event) :].tolist() == twin(score, LAYOUT)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), min_size=1, max_size=12))
def test_unisons_are_cut_and_the_longest_stays(notes):
    """In whatever order a file has them: the last bar is that of the last note that is kept."""
    score = piece((40, [(12 * onset, length, 60) for onset, length in notes]), metre=(1, 4))
    event = EVENTS.encode(score, Header(countdown=False)).streams["event"]
    assert event[body_of(event) :].tolist() == twin(score, LAYOUT)


def test_a_note_may_last_for_hours():
    score = piece((40, [(0, 4 * 15 * 3 + 7, 60), (0, 4 * 16, 59), (800, 4 * 100, 62)]))
    event = EVENTS.encode(score, Header(countdown=False)).streams["event"]
    assert event[body_of(event) :].tolist() == twin(score, LAYOUT)


@settings(max_examples=60, deadline=None)
@given(bands())
def test_round_trip_on_the_grid(score):
    tokens = EVENTS.encode(score)
    decoded = EVENTS.decode(tokens)
    assert quantised(decoded, 24) == quantised(score, 24)
    assert EVENTS.encode(decoded) == tokens
    again = facts(EVENTS.decode(EVENTS.encode(decoded)))
    assert again == facts(decoded)
    assert facts(decoded)["pickup"] == facts(score)["pickup"] or facts(score)["pickup"] * 24 % 1


@settings(max_examples=60, deadline=None)
@given(bands(tpq=10), st.sampled_from([4, 12, 24, 48]))
def test_any_resolution_and_any_division(score, resolution):
    events = Events(resolution=resolution)
    tokens = events.encode(score)
    decoded = events.decode(tokens)
    assert quantised(decoded, resolution) == quantised(score, resolution)
    assert events.encode(decoded) == tokens


@settings(max_examples=60, deadline=None)
@given(bands())
def test_streams_stay_in_their_vocabulary_and_the_clock_runs(score):
    tokens = PLACED.encode(score)
    for stream in PLACED.vocab.streams:
        values = tokens.streams[stream.name]
        assert values.shape == tokens.clock.shape
        assert values.min() >= 0
        assert values.max() < stream.size
    recomputed = PLACED.tokens(tokens.streams["event"])
    assert np.array_equal(recomputed.clock, tokens.clock)
    pitched = LAYOUT.kind[tokens.streams["event"]] == LAYOUT.names.index("Pitch")
    onsets = sorted(o / 24 for p, kept in quantised(score, 24) if p < 128 for o, _, _, _ in kept)
    assert sorted(tokens.clock[pitched].tolist()) == onsets


HEADERS = st.builds(
    Header,
    key=st.sampled_from([None, "F# minor", "C"]),
    metre=st.sampled_from([None, "3/4"]),
    pace=st.sampled_from([None, "slow", "very fast"]),
    density=st.none() | st.integers(0, 7),
    register=st.none() | st.integers(0, 7),
    polyphony=st.none() | st.integers(0, 5),
    bars=st.none() | st.integers(1, 128),
    style=st.sampled_from([None, "Bach", "Clara Schumann"]),
    instruments=st.booleans(),
    countdown=st.booleans(),
)


@settings(max_examples=30, deadline=None)
@given(bands(simple=True), HEADERS, HEADERS)
def test_headers_are_read_back_and_changed(score, header, other):
    events = Events(styles=("Bach", "Clara Schumann"))
    tokens = events.encode(score, header)
    assert events.header(tokens) == header
    if header.instruments:
        assert events.with_header(tokens, other) == events.encode(score, other)
        assert quantised(events.decode(tokens), 24) == quantised(score, 24)
    assert events.drop(tokens, "key", "countdown") == events.with_header(
        tokens, header.without("key", "countdown")
    )


def test_without_declaration_tracks_stand_as_they_come():
    score = piece((40, [(4, 1, 60)]), (0, [(0, 1, 60)]))
    tokens = EVENTS.encode(score, Header(instruments=False))
    assert [t.program for t in EVENTS.decode(tokens).tracks] == [0, 40]


# -- repeats and form -------------------------------------------------------------------------------------


def aaba() -> Score:
    a, b = [(0, 1, 60), (4, 2, 64), (6, 2, 62)], [(0, 4, 67), (4, 4, 65)]
    melody = [(o + 8 * i, d, p) for i, part in enumerate((a, a, b, a)) for o, d, p in part]
    return piece((40, melody), (0, [(4 * i, 4, 48) for i in range(8)]))


def test_literal_repeats_are_one_word_each():
    tokens = EVENTS.encode(aaba(), repeats=True)
    assert "Bar 6 Repeat 2 Num 2 Bar 4 violin" in words(tokens)
    assert words(tokens).endswith("Bar 2 Repeat 4 Num 2 End")
    assert EVENTS.expand(tokens) == EVENTS.encode(aaba())
    assert facts(EVENTS.decode(tokens)) == facts(aaba())
    assert len(tokens) < 0.65 * len(EVENTS.encode(aaba()))


@settings(max_examples=30, deadline=None)
@given(bands(simple=True), st.integers(2, 4))
def test_repeats_are_lossless(score, times):
    length = -(-score.end() // 288) * 288
    for track in score.tracks:
        columns = track.notes.numpy()
        repeated = [np.tile(columns[n].astype(int), times) for n in ("time", "duration", "pitch", "velocity")]
        repeated[0] += np.repeat(np.arange(times) * length, len(columns["time"]))
        track.notes = track_of(*repeated).notes
    plain = PLACED.encode(score)
    told = PLACED.encode(score, repeats=True)
    assert PLACED.expand(told) == plain
    assert facts(PLACED.decode(told)) == facts(PLACED.decode(plain))


FORM = (Section("A", 2), Section("A", 2, "exact"), Section("B", 2), Section("A", 2, "varied"))


def test_form_is_told_before_and_in_the_music():
    header = Header(form=FORM, bars=8)
    tokens = EVENTS.encode(aaba(), header)
    assert EVENTS.header(tokens) == header
    assert "Form Section A Num 2 Section A Num 2 Exact Section B Num 2 Section A Num 2 Vary" in words(tokens)
    assert "Bar 6 Section A Repeat 2 Num 2 Bar 4 Section B violin" in words(tokens)
    assert "Bar 2 Section A Vary Num 6 violin" in words(tokens)
    decoded = EVENTS.decode(tokens)
    assert [m.text for m in decoded.markers] == [f"section:{s.label}" for s in FORM]
    assert EVENTS.encode(decoded, header) == tokens


def test_a_form_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="sections have 6 bars, the music has 8"):
        EVENTS.encode(aaba(), Header(form=FORM[:3]))
    wrong = (Section("A", 4), Section("A", 4, "exact"))
    with pytest.raises(ValueError, match="bars 5 to 8 are no exact repeat"):
        EVENTS.encode(aaba(), Header(form=wrong))
    with pytest.raises(ValueError, match="there is none before it"):
        Header(form=(Section("B", 2, "exact"),))
    with pytest.raises(ValueError, match="A has 2 bars"):
        Header(form=(Section("A", 2), Section("A", 3, "exact")))


def test_a_repeat_of_nothing_is_refused():
    event = [LAYOUT.id("Special", 1), LAYOUT.id("Special", 2)]
    event += [LAYOUT.id("Bar", 0), LAYOUT.id("Repeat", 3), LAYOUT.id("Num", 1)]
    with pytest.raises(ValueError, match="does not exist"):
        EVENTS.decode(EVENTS.tokens(np.array(event)))


# -- measures ---------------------------------------------------------------------------------------------


def test_attributes_of_a_piece():
    found = EVENTS.attributes(aaba())
    assert isinstance(found, Attributes)
    assert (found.bars, found.metre, found.instruments, found.pace) == (8, (4, 4), (40, 0), "lively")
    assert found.sounding_key == found.key == "C major"
    assert found.notes_per_quarter == pytest.approx(19 / 32)
    assert found.mean_polyphony == pytest.approx((8 * 4 + 5 * 3 + 8) / 32)
    assert EVENTS.attributes(EVENTS.encode(aaba())) == found
    header = Header.of(found, style=None)
    assert (header.density, header.register, header.polyphony) == (0, 2, 1)
    assert EVENTS.header(EVENTS.encode(aaba(), header)) == header


@settings(max_examples=60, deadline=None)
@given(bands(), st.integers(-24, 24))
def test_transposing_tokens_is_transposing_music(score, semitones):
    plain = EVENTS.encode(score)
    tokens = EVENTS.with_header(plain, Header.of(EVENTS.attributes(plain)))
    moved = EVENTS.transpose(tokens, semitones)
    assert EVENTS.transpose(moved, -semitones).streams["event"].tolist() == tokens.streams["event"].tolist()
    before, after = quantised(EVENTS.decode(tokens), 24), quantised(EVENTS.decode(moved), 24)
    shift = [0 if program == 128 else semitones for program, _ in before]
    assert after == [
        (program, [(o, e, p + s, v) for o, e, p, v in kept]) for (program, kept), s in zip(before, shift)
    ]
    if any(program < 128 for program, _ in before):
        assert semitones in EVENTS.transpositions(tokens)


def test_transposing_moves_register_and_key():
    tokens = EVENTS.encode(aaba(), Header(register=2, key="G"))
    moved = EVENTS.transpose(tokens, 24)
    assert EVENTS.header(moved).register == EVENTS.attributes(moved).register == 7
    assert EVENTS.header(EVENTS.transpose(tokens, 2)).key == "A major"
    with pytest.raises(ValueError, match="leaves MIDI's range"):
        EVENTS.transpose(tokens, 70)


def test_tempi_are_the_nearest():
    for qpm in np.geomspace(15, 400, 500):
        assert TEMPI[int(nearest_tempo(qpm))] == min(TEMPI, key=lambda t: abs(np.log(t / qpm)))


# -- refusals, identity, real files -----------------------------------------------------------------------


def test_refusals_are_one_clear_line():
    with pytest.raises(ValueError, match="no notes to encode"):
        EVENTS.encode(Score(24))
    with pytest.raises(ValueError, match="40 tracks with notes; at most 32"):
        EVENTS.encode(piece(*[(0, [(0, 1, 60)])] * 40))
    with pytest.raises(ValueError, match="metre 3/128 cannot be written"):
        EVENTS.encode(piece((0, [(0, 1, 60)]), metre=(3, 128)))
    for metre in ((4, 4), (1, 64), (100, 1)):  # a file of a hundred bytes must not fill the memory
        with pytest.raises(ValueError, match="more than 1,000,000 bars"):
            EVENTS.encode(piece((0, [(0, 1, 60), (8 * 10**7, 1, 60)]), metre=metre))
    with pytest.raises(ValueError, match="are of codec"):
        EVENTS.decode(Notes().encode(aaba()))
    with pytest.raises(ValueError, match="knows no styles"):
        EVENTS.encode(aaba(), Header(style="Bach"))
    with pytest.raises(ValueError, match="did you mean 'Bach'"):
        Events(styles=("Bach",)).encode(aaba(), Header(style="Bahc"))
    with pytest.raises(ValueError, match="density must be a class 0 … 7, got 9"):
        Header(density=9)
    with pytest.raises(ValueError, match="resolution must be"):
        Events(resolution=0)


def test_identity_and_layout():
    assert isinstance(EVENTS, Codec)
    assert codec("events") == EVENTS
    styled = Events(styles=("Bach",), contexts=True)
    assert from_dict({"name": "events", **styled.to_dict()}) == styled
    assert styled.fingerprint != EVENTS.fingerprint
    assert styled.layout.ids("Drum") == LAYOUT.ids("Drum")
    assert styled.layout.size == LAYOUT.size + 1
    for number in range(LAYOUT.size):
        family = LAYOUT.names[LAYOUT.kind[number]]
        assert LAYOUT.id(family, int(LAYOUT.value[number])) == number
    assert len({LAYOUT.word(i) for i in range(LAYOUT.size)}) == LAYOUT.size
    with pytest.raises(ValueError, match="Pitch holds 0 … 127, got 128"):
        LAYOUT.id("Pitch", 128)


def test_a_pickup_stands_where_its_beats_are():
    score = piece((40, [(0, 1, 67), (1, 2, 72)]), metre=(3, 4))
    score.markers.append(TextMeta(0, "pickup:1"))
    tokens = PLACED.encode(score)
    assert "Bar 2 Metre 3/4 Pickup Pos 48 violin Dur 24 G4 Bar 1 violin" in words(tokens)
    at = next(i for i, s in enumerate(tokens.streams["event"]) if LAYOUT.word(int(s)) == "G4")
    assert (tokens.streams["quarter"][at], tokens.streams["left"][at], tokens.clock[at]) == (2, 2, 0)


@pytest.mark.skipif("OTONOHA_DATA" not in os.environ, reason="the provided files are not there")
def test_real_files_need_few_tokens_and_come_back():
    root = Path(os.environ["OTONOHA_DATA"]) / "pop909" / "midi"
    paths = sorted(root.glob("*.mid"))[::100]
    if not paths:
        pytest.skip("no pop909 files")
    size = count = 0
    for path in paths:
        score = Score(path)
        tokens = EVENTS.encode(score)
        assert quantised(EVENTS.decode(tokens), 24) == quantised(score, 24)
        size, count = size + len(tokens), count + score.note_num()
    assert size / count <= 3.2


def test_constraints_from_what_a_person_says():
    assert EVENTS.constraints(bars=4, key=None) == EventConstraints(bars=4)
    with pytest.raises(ValueError, match="unknown constraint"):
        EVENTS.constraints(bar=4)
