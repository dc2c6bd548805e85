"""The grid codec: round trips, the JSB arrays, grammar and constraints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score, TextMeta, TimeSignature
from token_strategies import choirs, facts

from otonoha.music.tracks import track_of
from otonoha.tokens import codec, from_dict
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.grid import Grid
from otonoha.tokens.grid_grammar import GridConstraints
from otonoha.tokens.place import key_pitches

GRID = Grid()
JSB = Grid(low=36, high=81, holds=False)
CHOIRS = choirs(GRID.names, resolution=4, low=36, high=84)


def walk(
    grid: Grid, constraints: GridConstraints | None = None, *, prompt: Tokens | None = None, seed: int = 0
):
    """Draw evenly from the masks until the walk is done (or 200 steps)."""
    grammar, rng, rows = grid.grammar(constraints, prompt), np.random.default_rng(seed), []
    while not grammar.done and len(rows) < 200:
        context, drawn = grammar.context(), []
        for v in range(grid.voices):
            mask = grammar.mask(v, drawn)
            assert mask.any()
            drawn.append(int(rng.choice(np.flatnonzero(mask))))
        grammar.advance(drawn)
        rows.append({**dict(zip(grid.names, drawn)), **context})
    streams = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Tokens(streams, np.arange(len(rows)) / grid.steps_per_quarter, grid.fingerprint)


def sounding(grid: Grid, tokens: Tokens) -> np.ndarray:
    """(T, V) MIDI pitches, -1 for silence."""
    roll = np.full((len(tokens), grid.voices), -1)
    for v, track in enumerate(grid.decode(tokens).tracks):
        for note in track.notes:
            roll[note.time : note.time + note.duration, v] = note.pitch
    return roll


@settings(max_examples=70, deadline=None)
@given(CHOIRS)
def test_round_trip_on_the_grid(score):
    tokens = GRID.encode(score)
    decoded = GRID.decode(tokens)
    assert facts(decoded) == facts(score)
    assert GRID.encode(decoded) == tokens


@settings(max_examples=60, deadline=None)
@given(CHOIRS)
def test_without_holds_tokens_survive_and_equal_neighbours_are_one_note(score):
    grid = Grid(holds=False)
    tokens = grid.encode(score)
    assert grid.encode(grid.decode(tokens)) == tokens
    assert (sounding(grid, tokens) == sounding(GRID, GRID.encode(score))).all()


@settings(max_examples=40, deadline=None)
@given(CHOIRS)
def test_streams_stay_in_their_vocabulary(score):
    tokens = GRID.encode(score)
    for stream in GRID.vocab.streams:
        values = tokens.streams[stream.name]
        assert values.shape == tokens.clock.shape
        assert values.min() >= 0
        assert values.max() < stream.size
    assert tokens.clock.tolist() == (np.arange(score.end()) / 4).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([-1, 60, 60, 62, 40]), min_size=4, max_size=4), min_size=1, max_size=30)
)
def test_arrays_of_the_benchmark(rows):
    array = np.array(rows)
    for grid in (GRID, JSB):
        tokens = grid.encode_array(array)
        assert (sounding(grid, tokens) == array).all()
    assert JSB.vocab.symbols[0].size == 47
    restored = JSB.encode_array(array)
    assert all((restored.streams[n] == np.where(c < 0, 0, c - 35)).all() for n, c in zip(JSB.names, array.T))


def test_an_array_knows_its_place():
    tokens = GRID.encode_array(np.full((20, 4), 60), key="G", metre="3/4", pickup=1)
    assert tokens.streams["quarter"][:6].tolist() == [2, 2, 2, 2, 0, 0]
    assert tokens.streams["bar"][[0, 4, 16]].tolist() == [3, 0, 1]
    decoded = GRID.decode(tokens)
    assert decoded.markers[0].text == "pickup:1"
    assert (decoded.time_signatures[0].numerator, decoded.key_signatures[0].key) == (3, 1)
    with pytest.raises(ValueError, match="shape"):
        GRID.encode_array(np.zeros((3, 5), int))
    with pytest.raises(ValueError, match="this grid holds"):
        GRID.encode_array(np.full((3, 4), 20))


def test_a_hold_is_told_from_a_repeat():
    score = Score(4)
    score.tracks.append(track_of(np.array([0, 4, 8]), np.array([4, 4, 8]), np.array([60, 60, 62])))
    tokens = Grid(voices=1).encode(score)
    assert tokens.streams["melody"].tolist() == [26, 1, 1, 1, 26, 1, 1, 1, 28, *[1] * 7]
    assert Grid(voices=1, holds=False).encode(score).streams["melody"].tolist()[:9] == [25] * 8 + [27]


def test_voices_are_sorted_unless_they_carry_the_names():
    score = Score(4)
    for name, pitch in (("b", 40), ("s", 70), ("t", 50), ("a", 60)):
        score.tracks.append(track_of(np.array([0]), np.array([4]), np.array([pitch]), name=name))
    assert sounding(GRID, GRID.encode(score))[0].tolist() == [70, 60, 50, 40]
    named = score.copy()
    for track, name in zip(named.tracks, GRID.names):
        track.name = name.title()
    assert sounding(GRID, GRID.encode(named))[0].tolist() == [40, 70, 50, 60]


def test_what_does_not_fit_is_one_clear_line():
    score = Score(4)
    with pytest.raises(ValueError, match="4 voices, the score has 0"):
        GRID.encode(score)
    score.tracks.append(track_of(np.array([0]), np.array([4]), np.array([100]), name="melody"))
    with pytest.raises(ValueError, match="36 … 84"):
        Grid(voices=1).encode(score)
    for options, text in (
        ({"voices": 0}, "voices"),
        ({"low": 50, "high": 40}, "range"),
        ({"names": ("a",)}, "names"),
        ({"steps_per_quarter": 0}, "steps"),
    ):
        with pytest.raises(ValueError, match=text):
            codec("grid", **options)


def test_identity():
    assert isinstance(GRID, Codec)
    assert from_dict({"name": "grid", **JSB.to_dict()}) == JSB
    assert Grid(voices=2).names == ("voice1", "voice2")
    assert len({GRID.fingerprint, JSB.fingerprint, Grid(voices=2).fingerprint}) == 3


# The grammar


CONSTRAINTS = st.builds(
    GridConstraints,
    bars=st.integers(1, 4),
    key=st.sampled_from(["C", "f#"]),
    scale_only=st.booleans(),
    metre=st.sampled_from([None, "3/4", "6/8"]),
    pickup=st.sampled_from([0, "1/2", 1]),
    ranges=st.sampled_from([{}, {"soprano": (60, 81), "bass": (36, 60)}]),
    no_crossing=st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(CONSTRAINTS, st.integers(0, 2**31), st.booleans())
def test_every_walk_is_valid_music_and_keeps_the_request(constraints, seed, holds):
    grid = Grid(holds=holds)
    tokens = walk(grid, constraints, seed=seed)
    bar = {None: 16, "3/4": 12, "6/8": 12}[constraints.metre]
    assert len(tokens) == constraints.bars * bar + {0: 0, "1/2": 2, 1: 4}[constraints.pickup]
    roll = sounding(grid, tokens)
    if constraints.scale_only:
        assert key_pitches(0 if constraints.key == "C" else 18)[roll[roll >= 0]].all()
    if constraints.no_crossing:
        for row in roll:
            heard = row[row >= 0]
            assert (np.diff(heard) <= 0).all()
    for name, (low, high) in constraints.ranges.items():
        voice = roll[:, grid.names.index(name)]
        assert ((voice < 0) | ((low <= voice) & (voice <= high))).all()
    if holds:
        for name in grid.names:
            column = tokens.streams[name]
            assert column[0] != 1
            assert not ((column[1:] == 1) & (column[:-1] == 0)).any()


@settings(max_examples=40, deadline=None)
@given(CHOIRS, st.integers(0, 3), st.booleans())
def test_given_voices_are_kept_to_the_note(score, voice, no_crossing):
    tokens, name = GRID.encode(score), GRID.names[voice]
    request = GridConstraints(given={name: tokens.streams[name][:40]}, no_crossing=no_crossing)
    written = walk(GRID, request)
    assert len(written) == min(len(tokens), 40)
    assert (written.streams[name] == tokens.streams[name][:40]).all()
    roll = sounding(GRID, written)
    if no_crossing:
        for row in roll:
            assert (np.diff(row[row >= 0]) <= 0).all()


def test_a_walk_goes_on_where_its_prompt_ended():
    prompt = GRID.encode_array(np.full((6, 4), [60, 55, -1, 48]), metre="3/4", pickup="1/2", key="G")
    grammar = GRID.grammar(GridConstraints(bars=1), prompt)
    assert grammar.context() == {"key": 7, "metre": 1, "beat": 0, "quarter": 1, "bar": 0}
    assert grammar.mask(0, [])[1]
    assert not grammar.mask(2, [30, 30])[1]
    assert len(walk(GRID, GridConstraints(bars=1), prompt=prompt)) == 8 + 12
    assert not GRID.grammar(None, prompt).done


def test_without_bars_a_walk_is_endless():
    assert len(walk(GRID)) == 200


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bars": 0}, "at least 1"),
        ({"scale_only": True}, "needs a key"),
        ({"ranges": {"sopran": (60, 70)}}, "did you mean 'soprano'"),
        ({"ranges": {"bass": (20, 70)}}, "within the grid"),
        ({"given": {"alt": [0]}}, "did you mean 'alto'"),
        ({"given": {"alto": [99]}}, "symbols 0 … 50"),
        ({"given": {"alto": [0], "bass": [0, 0]}}, "equally long"),
        ({"given": {"alto": [0] * 8}, "bars": 1}, "8 steps, 1 bars need 16"),
        ({"pickup": 4}, "does not fit"),
    ],
)
def test_impossible_requests_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        GRID.grammar(GridConstraints(**options))


@settings(max_examples=40, deadline=None)
@given(CHOIRS)
def test_transposition_there_and_back(score):
    tokens = GRID.encode(score)
    shifts = GRID.transpositions(tokens)
    assert 0 in shifts
    for semitones in (shifts[0], shifts[-1]):
        moved = GRID.transpose(tokens, semitones)
        assert GRID.transpose(moved, -semitones) == tokens
        before, after = sounding(GRID, tokens), sounding(GRID, moved)
        assert (after == np.where(before < 0, -1, before + semitones)).all()
    with pytest.raises(ValueError, match="range"):
        GRID.transpose(tokens, shifts[-1] + 1)


def test_a_hold_of_nothing_decodes_as_a_rest():
    streams = {s.name: np.zeros(6, int) for s in GRID.vocab.streams}
    streams["alto"] = np.array([1, 1, 30, 1, 0, 1])
    roll = sounding(GRID, Tokens(streams, np.arange(6) / 4, GRID.fingerprint))
    assert roll[:, 1].tolist() == [-1, -1, 64, 64, -1, -1]


def test_markers_other_than_the_pickup_are_left_alone():
    score = Score(4)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.markers.append(TextMeta(0, "title:no"))
    score.tracks.append(track_of(np.array([0]), np.array([4]), np.array([60])))
    assert not GRID_OF_ONE.decode(GRID_OF_ONE.encode(score)).markers


GRID_OF_ONE = Grid(voices=1)
