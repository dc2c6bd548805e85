"""The notes codec: round trips, grammar, transposition, odd input."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import KeySignature, Score, TextMeta, TimeSignature
from token_strategies import facts, melodies

from otonoha.music.time import bar_table
from otonoha.music.tracks import track_of
from otonoha.tokens import codec
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.notes import Notes, duration_table
from otonoha.tokens.notes_grammar import END, FIRST_PITCH, LEFT_NONE, REST, TIE, NotesConstraints
from otonoha.tokens.place import METRES, key_pitches

NOTES = Notes()
Q = NOTES.resolution


def tune(*notes: tuple[float, float, int], metre: tuple[int, int] = (4, 4), pickup: str = "", tpq: int = 480):
    """A score of (onset, length, pitch) in quarter notes."""
    onset, length, pitch = (np.array(column) for column in zip(*notes))
    score = Score(tpq)
    score.time_signatures.append(TimeSignature(0, *metre))
    if pickup:
        score.markers.append(TextMeta(0, f"pickup:{pickup}"))
    score.tracks.append(track_of(np.rint(onset * tpq), np.rint(length * tpq), pitch))
    return score


def scale(n: int, length: float = 1.0, **options):
    return tune(*((i * length, length, 60 + i % 12) for i in range(n)), **options)


def walk(grammar, seed: int = 0, most: int = 400) -> dict[str, np.ndarray]:
    """Draw evenly from the masks until the walk is done: streams as a model would have made them."""
    rng, rows = np.random.default_rng(seed), []
    while not grammar.done and len(rows) < most:
        context, drawn = grammar.context(), []
        for k in range(2):
            mask = grammar.mask(k, drawn)
            assert mask.any()
            drawn.append(int(rng.choice(np.flatnonzero(mask))))
        grammar.advance(drawn)
        rows.append({"pitch": drawn[0], "duration": drawn[1], **context})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def as_tokens(streams: dict[str, np.ndarray]) -> Tokens:
    ticks = NOTES.durations[streams["duration"]]
    return Tokens(streams, (np.cumsum(ticks) - ticks) / Q, NOTES.fingerprint)


@settings(max_examples=100, deadline=None)
@given(melodies())
def test_round_trip_on_the_grid(score):
    tokens = NOTES.encode(score)
    decoded = NOTES.decode(tokens)
    assert facts(decoded) == facts(score)
    assert NOTES.encode(decoded) == tokens


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([1, 4, 10, 480]))
def test_round_trip_at_other_resolutions(data, resolution):
    score = data.draw(melodies(resolution))
    other = Notes(resolution=resolution)
    assert facts(other.decode(other.encode(score))) == facts(score)


@settings(max_examples=60, deadline=None)
@given(st.lists(melodies(), max_size=20))
def test_many_at_once_are_as_one_by_one(scores):
    assert NOTES.encode_many(scores) == [NOTES.encode(score) for score in scores]


@settings(max_examples=60, deadline=None)
@given(melodies())
def test_streams_stay_in_their_vocabulary_and_the_clock_runs(score):
    tokens = NOTES.encode(score)
    for stream in NOTES.vocab.streams:
        values = tokens.streams[stream.name]
        assert values.shape == tokens.clock.shape
        assert values.min() >= 0
        assert values.max() < stream.size
    assert tokens.clock[0] == 0
    assert (np.diff(tokens.clock) > 0).all()
    assert tokens.clock[-1] * Q == score.end()


@settings(max_examples=60, deadline=None)
@given(melodies())
def test_contexts_agree_with_the_bar_table(score):
    tokens = NOTES.encode(score)
    bars = bar_table(score)
    ticks = np.rint(tokens.clock[:-1] * Q).astype(int)
    line = bars.start[bars.bar_at(ticks)]
    place = tokens.streams["quarter"][:-1] * Q + tokens.streams["beat"][:-1]
    full = np.array([4 * Q * n // d for n, d in METRES])[tokens.streams["metre"][:-1]]
    lead = np.where(bars.first_is_pickup & (line == 0), full - bars.start[1], 0)
    # The table restarts a bar at a repeated statement of the same metre, the codec does not; the codec cuts a
    # pick-up at a change of metre, the table does not.
    changes = [s.time for s in score.time_signatures if s.time < score.end()]
    upbeat = bars.start[1] if bars.first_is_pickup else 0
    if len(facts(score)["metre"]) == len(changes) and not any(0 < t < upbeat for t in changes):
        assert (place == ticks - line + lead).all()


def test_an_example_by_hand():
    score = tune((0, 1, 67), (1, 1.5, 72), (3, 4, 71), metre=(3, 4), pickup="1")
    score.key_signatures.append(KeySignature(0, 1, 0))
    tokens = NOTES.encode(score)
    names = ["pitch", "key", "metre", "beat", "quarter", "bar", "left"]
    rows = list(zip(*(tokens.streams[n].tolist() for n in names)))
    assert tokens.clock.tolist() == [0, 1, 2.5, 3, 7]
    assert rows == [
        (FIRST_PITCH + 67, 7, 1, 0, 2, 7, 3),
        (FIRST_PITCH + 72, 7, 1, 0, 0, 0, 2),
        (REST, 7, 1, 12, 1, 0, 2),
        (FIRST_PITCH + 71, 7, 1, 0, 2, 0, 2),
        (END, 7, 1, 0, 0, 2, LEFT_NONE),
    ]


def test_ordinary_lengths_are_one_symbol_and_every_length_can_be_written():
    table = duration_table(24)
    assert table[0] == 1
    assert set(Q * np.array([0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 1 / 3, 2 / 3])) <= set(table)
    for quarters in (0.25, 1 / 3, 1.5, 3, 2.5):
        assert len(NOTES.encode(tune((0, quarters, 60)))) == 2
    for ticks in range(1, 500):
        tokens = NOTES.encode(_one_note(ticks))
        assert len(tokens) <= 2 + 4 * (1 + ticks // int(table[-1]))


def _one_note(ticks: int) -> Score:
    score = Score(Q)
    score.tracks.append(track_of(np.array([0]), np.array([ticks]), np.array([60])))
    return score


def test_overlaps_are_cut_and_chords_keep_their_highest_note():
    tokens = NOTES.encode(tune((0, 3, 60), (0, 3, 64), (1, 1, 62), (1.5, 2, 65)))
    decoded = NOTES.decode(tokens)
    assert [(n.time, n.duration, n.pitch) for n in decoded.tracks[0].notes] == [
        (0, 24, 64),
        (24, 12, 62),
        (36, 48, 65),
    ]


def test_times_are_rounded_so_that_touching_notes_still_touch():
    score = tune((0, 0.51, 60), (0.51, 0.49, 62), (1.003, 1, 64))
    notes = NOTES.decode(NOTES.encode(score)).tracks[0].notes
    assert [(n.time, n.duration) for n in notes] == [(0, 12), (12, 12), (24, 24)]


def test_notes_without_length_are_left_out():
    tokens = NOTES.encode(tune((0, 0, 72), (0, 1, 60), (1, 0, 71), (1, 1, 62), (2, 0, 60)))
    assert [(n.time, n.duration, n.pitch) for n in NOTES.decode(tokens).tracks[0].notes] == [
        (0, 24, 60),
        (24, 24, 62),
    ]
    with pytest.raises(ValueError, match="no notes"):
        NOTES.encode(tune((0, 0, 72)))


def test_of_several_tracks_the_sung_one_is_taken():
    score = scale(4)
    score.tracks.append(track_of(np.array([0]), np.array([480]), np.array([90]), name="flute"))
    score.tracks[0].lyrics.append(TextMeta(0, "la"))
    assert len(NOTES.encode(score)) == 5


def test_no_notes_is_one_clear_line():
    empty, drums = Score(480), Score(480)
    empty.tracks.append(track_of(*np.zeros((3, 0), int)))
    drums.tracks.append(track_of(np.array([0]), np.array([9]), np.array([36]), is_drum=True))
    for score in (Score(480), empty, drums):
        with pytest.raises(ValueError, match=r"no pitched notes|no notes"):
            NOTES.encode(score)


def test_a_metre_outside_the_table_is_another_one():
    tokens = NOTES.encode(scale(12, metre=(13, 8)))
    assert set(tokens.streams["metre"].tolist()) == {len(METRES)}
    assert NOTES.decode(tokens).note_num() == 12
    with pytest.raises(ValueError, match="metre"):
        NOTES.grammar(None, tokens)


def test_codec_protocol_identity_and_registry():
    assert isinstance(NOTES, Codec)
    assert codec("notes") == NOTES
    assert codec("notes", resolution=12).fingerprint != NOTES.fingerprint
    with pytest.raises(ValueError, match="did you mean 'notes'"):
        codec("note")
    with pytest.raises(ValueError, match="resolution"):
        codec("notes", resolutoin=3)
    with pytest.raises(ValueError, match="ticks"):
        Notes(resolution=0)
    with pytest.raises(ValueError, match="codec"):
        Notes(resolution=12).decode(NOTES.encode(scale(3)))


# The grammar


CONSTRAINTS = st.builds(
    NotesConstraints,
    bars=st.none() | st.integers(1, 20),
    key=st.sampled_from([None, "C", "f#", "Bb"]),
    low=st.integers(40, 60),
    high=st.integers(72, 90),
    metre=st.sampled_from([None, "3/4", (6, 8), "2/2", (5, 4), "3/16"]),
    pickup=st.sampled_from([0, "1/2", "1/3"]),
    max_rest=st.sampled_from([None, 0, 0.5, 2]),
)


@settings(max_examples=100, deadline=None)
@given(CONSTRAINTS, st.integers(0, 2**31))
def test_every_walk_decodes_to_valid_music(constraints, seed):
    streams = walk(NOTES.grammar(constraints), seed)
    pitch = streams["pitch"]
    assert pitch[0] not in (END, TIE)
    assert not ((pitch[1:] == TIE) & (pitch[:-1] == REST)).any()
    score = NOTES.decode(as_tokens(streams))
    assert score.note_num() > 0
    found = {n.pitch for n in score.tracks[0].notes}
    assert constraints.low <= min(found)
    assert max(found) <= constraints.high
    if pitch[-1] == END:
        assert (pitch[:-1] != END).all()
        end = as_tokens(streams).clock[-1]
        if constraints.bars:
            numerator, denominator = METRES[streams["metre"][0]]
            lead = float(NotesConstraints(pickup=constraints.pickup).pickup and _quarters(constraints.pickup))
            assert end == pytest.approx(lead + constraints.bars * 4 * numerator / denominator)
    again = NOTES.encode(score)
    assert facts(NOTES.decode(again)) == facts(score)


def _quarters(text: str | int) -> float:
    from fractions import Fraction

    return float(Fraction(text))


@settings(max_examples=60, deadline=None)
@given(melodies())
def test_the_grammar_allows_what_encode_writes_and_tells_the_same_contexts(score):
    if len(facts(score)["metre"]) > 1 or len(facts(score)["key"]) > 1:
        return
    tokens = NOTES.encode(score)
    first = {name: int(stream[0]) for name, stream in tokens.streams.items()}
    metre = METRES[first["metre"]]
    place = first["quarter"] * Q + first["beat"]
    lead = (4 * Q * metre[0] // metre[1] - place) / Q if place else 0
    key = None if first["key"] == 24 else facts_key(first["key"])
    grammar = NOTES.grammar(NotesConstraints(metre=metre, pickup=lead, key=key))
    for i in range(len(tokens)):
        assert {**grammar.context(), "left": 0} == {
            **{s.name: int(tokens.streams[s.name][i]) for s in NOTES.vocab.contexts},
            "left": 0,
        }
        drawn = [int(tokens.streams["pitch"][i]), int(tokens.streams["duration"][i])]
        assert grammar.mask(0, [])[drawn[0]]
        assert grammar.mask(1, drawn[:1])[drawn[1]]
        grammar.advance(drawn)
    assert grammar.done


def facts_key(index: int):
    from otonoha.music.theory import Key

    return Key.from_index(index)


def test_left_counts_down_to_the_end_as_encode_counts_it():
    streams = walk(NOTES.grammar(NotesConstraints(bars=5, max_rest=0, pickup=1)), seed=3)
    encoded = NOTES.encode(NOTES.decode(as_tokens(streams)))
    assert streams["left"][0] == 6
    assert streams["left"][-1] == LEFT_NONE
    assert encoded.streams["left"][0] == 6
    assert encoded.streams["left"][-1] == LEFT_NONE
    assert (walk(NOTES.grammar())["left"] == 0).all()


def test_only_the_scale_when_asked():
    streams = walk(NOTES.grammar(NotesConstraints(bars=20, key="f#", scale_only=True)))
    pitches = streams["pitch"][streams["pitch"] >= FIRST_PITCH] - FIRST_PITCH
    assert key_pitches(18)[pitches].all()
    assert set(streams["key"].tolist()) == {18}


def test_a_walk_goes_on_where_its_prompt_ended():
    prompt = NOTES.encode(scale(6, metre=(3, 4), pickup="1"))
    grammar = NOTES.grammar(NotesConstraints(bars=2), prompt)
    context = grammar.context()
    assert (context["quarter"], context["beat"], context["bar"], context["left"]) == (2, 0, 1, 3)
    assert grammar.mask(0, [])[TIE]
    streams = walk(grammar, seed=1)
    assert NOTES.durations[streams["duration"][:-1]].sum() == Q * (1 + 6)
    asked = NOTES.prompt(prompt, NotesConstraints(bars=2))
    assert len(asked) == 6
    assert asked.streams["left"].tolist() == [5, 4, 4, 4, 3, 3]
    assert (NOTES.prompt(prompt).streams["left"] == 0).all()


def test_rests_before_a_walk_count_against_the_longest_rest():
    prompt = NOTES.encode(tune((0, 1, 60), (3, 1, 60))).slice(0, 2)
    grammar = NOTES.grammar(NotesConstraints(max_rest=3), prompt)
    assert not grammar.mask(0, [])[TIE]
    assert NOTES.durations[grammar.mask(1, [REST])].max() == Q


def test_no_end_before():
    streams = walk(NOTES.grammar(NotesConstraints(no_end_before=8, metre="2/4")), seed=5)
    assert NOTES.durations[streams["duration"][:-1]].sum() >= 8 * 2 * Q


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bars": 0}, "at least 1"),
        ({"low": 70, "high": 60}, "range"),
        ({"max_rest": -1}, "negative"),
        ({"bars": 4, "no_end_before": 2}, "no effect"),
        ({"key": "H"}, "key"),
        ({"metre": "4/5"}, "did you mean"),
        ({"scale_only": True}, "needs a key"),
        ({"key": "C", "scale_only": True, "low": 61, "high": 61}, "no pitch"),
        ({"pickup": 4}, "does not fit"),
    ],
)
def test_impossible_requests_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        NOTES.grammar(NotesConstraints(**options))


def test_a_prompt_fixes_metre_and_pickup():
    prompt = NOTES.encode(scale(4, metre=(3, 4)))
    with pytest.raises(ValueError, match="3/4"):
        NOTES.grammar(NotesConstraints(metre="4/4"), prompt)
    with pytest.raises(ValueError, match="pick-up"):
        NOTES.grammar(NotesConstraints(pickup=1), prompt)


def test_masks_are_fast():
    grammar = NOTES.grammar(NotesConstraints(bars=2000, low=48, high=72))
    begin = time.perf_counter()
    for _ in range(3000):
        grammar.context()
        grammar.mask(0, [])
        grammar.mask(1, [FIRST_PITCH + 60])
        grammar.advance([FIRST_PITCH + 60, 11])
    assert (time.perf_counter() - begin) / 3000 < 50e-6  # about 3 µs on a free core


# Transposition


@settings(max_examples=40, deadline=None)
@given(melodies(), st.integers(-11, 11))
def test_transposition_there_and_back(score, semitones):
    tokens = NOTES.encode(score)
    if semitones not in NOTES.transpositions(tokens, 0, 127):
        with pytest.raises(ValueError, match="range"):
            NOTES.transpose(tokens, semitones)
        return
    moved = NOTES.transpose(tokens, semitones)
    assert NOTES.transpose(moved, -semitones) == tokens
    assert [n.pitch - semitones for n in NOTES.decode(moved).tracks[0].notes] == [
        n.pitch for n in score.tracks[0].notes
    ]


def test_transpositions_keep_the_range():
    tokens = NOTES.encode(scale(12))
    assert NOTES.transpositions(tokens) == range(-24, 26)
    assert 0 in NOTES.transpositions(tokens, 62, 65)


def test_ungrammatical_tokens_decode_too():
    rng = np.random.default_rng(0)
    for _ in range(50):
        streams = {s.name: rng.integers(0, s.size, 20) for s in NOTES.vocab.streams}
        NOTES.decode(Tokens(streams, np.arange(20) / 1.0, NOTES.fingerprint))
