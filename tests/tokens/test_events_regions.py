"""Regions of the events codec: cells cut out and filled again, tracks and bars added, slices."""

from __future__ import annotations

import numpy as np
import pytest
from events_twin import bands, facts, quantised
from hypothesis import given, settings
from hypothesis import strategies as st
from test_events_codec import aaba, piece, words

from otonoha.music.time import bar_table
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events, Header
from otonoha.tokens.events_vocab import SEP

EVENTS = Events()
PLACED = Events(contexts=True)
LAYOUT = EVENTS.layout


def bars_of(tokens: Tokens) -> int:
    return int((LAYOUT.kind[tokens.streams["event"]] == LAYOUT.names.index("Bar")).sum())


def test_a_region_in_words():
    context, content = EVENTS.with_region(EVENTS.encode(aaba()), bars=[0, 7], tracks=[1])
    assert words(context).endswith("Bar 1 violin Dur 48 E4 Pos 48 D4 piano Fill 1 End Sep")
    assert words(content) == "Fill 0 Dur 96 C3 EndFill Fill 1 Dur 96 C3 EndFill"


@settings(max_examples=60, deadline=None)
@given(bands(), st.data(), st.booleans())
def test_filling_is_the_inverse_of_cutting(score, data, contexts):
    events = PLACED if contexts else EVENTS
    tokens = events.encode(score, Header(countdown=data.draw(st.booleans())))
    tracks = len(events.decode(tokens).tracks)
    rows = data.draw(st.sets(st.integers(0, bars_of(tokens) - 1), min_size=1, max_size=10))
    columns = data.draw(st.none() | st.sets(st.integers(0, tracks - 1), min_size=1))
    context, content = events.with_region(tokens, rows, columns)
    assert int(context.streams["event"][-1]) == SEP
    whole = events.infill(context, content)
    assert whole.slice(0, len(context)) == context
    assert events.filled(whole) == tokens
    assert facts(events.decode(whole)) == facts(events.decode(tokens))


@settings(max_examples=40, deadline=None)
@given(bands(), st.data())
def test_contents_of_a_region_stand_where_their_cells_do(score, data):
    tokens = PLACED.encode(score)
    rows = data.draw(st.sets(st.integers(0, bars_of(tokens) - 1), min_size=1, max_size=4))
    _, content = PLACED.with_region(tokens, rows)
    pitched = np.isin(
        LAYOUT.kind[content.streams["event"]], [LAYOUT.names.index(n) for n in ("Pitch", "Drum")]
    )
    starts = bar_table(PLACED.decode(tokens)).start
    onsets = sorted(
        o / 24
        for _, kept in quantised(PLACED.decode(tokens), 24)
        for o, _, _, _ in kept
        if np.searchsorted(starts, o, side="right") - 1 in rows
    )
    assert sorted(content.clock[pitched].tolist()) == onsets


@settings(max_examples=40, deadline=None)
@given(bands())
def test_cells_are_spans_of_single_bars_and_tracks(score):
    tokens = EVENTS.encode(score)
    cells = EVENTS.cells(tokens)
    count = 0
    for bar, track, start, stop in zip(cells.bar, cells.track, cells.start, cells.stop):
        assert int(tokens.streams["event"][start - 1]) == LAYOUT.id("Program", cells.programs[track])
        count += EVENTS.units(tokens.slice(start, stop))
        assert 0 <= bar < bars_of(tokens)
    assert count == EVENTS.units(tokens)
    assert len(set(zip(cells.bar.tolist(), cells.track.tolist()))) == len(cells.bar)


def test_repeats_are_written_out_before_a_region_is_cut():
    told = EVENTS.encode(aaba(), repeats=True)
    context, content = EVENTS.with_region(told, [2])
    assert EVENTS.filled(EVENTS.infill(context, content)) == EVENTS.encode(aaba())
    with pytest.raises(ValueError, match="expand the tokens first"):
        EVENTS.cells(told)


def test_an_unanswered_cell_is_empty():
    context, content = EVENTS.with_region(EVENTS.encode(aaba()), [0, 1], [0])
    first = EVENTS.decode(EVENTS.infill(context, content.slice(0, 4)))
    assert [n.time for n in first.tracks[0].notes][:2] == [0, 192]
    assert facts(EVENTS.decode(context))["notes"][1] == facts(aaba())["notes"][1]


def test_empty_regions_and_those_outside_are_refused():
    tokens = EVENTS.encode(aaba())
    for words_, region in {
        "the region is empty: give at least one bar": ([], None),
        "at least one track": ([0], []),
        "bar 8, but there are bars 0 … 7": ([3, 8], None),
        "track -1, but there are tracks 0 … 1": ([0], [-1]),
    }.items():
        with pytest.raises(ValueError, match=words_):
            EVENTS.with_region(tokens, *region)
    with pytest.raises(ValueError, match="cut out already"):
        EVENTS.with_region(EVENTS.with_region(tokens, [0])[0], [1])


def test_tracks_can_be_added():
    tokens = EVENTS.with_tracks(EVENTS.encode(aaba()), ["flute", "drums"])
    assert [t.name for t in EVENTS.decode(tokens).tracks] == ["violin", "piano", "flute", "drums"]
    context, content = EVENTS.with_region(tokens, [0], [2])
    assert words(content) == "Fill 0 EndFill"
    assert EVENTS.filled(EVENTS.infill(context, content)) == tokens
    without = EVENTS.encode(aaba(), Header(instruments=False))
    with pytest.raises(ValueError, match="do not declare their tracks"):
        EVENTS.with_tracks(without, ["flute"])
    with pytest.raises(ValueError, match="do not declare their tracks"):
        EVENTS.with_region(without, [0])


@settings(max_examples=40, deadline=None)
@given(bands(), st.data())
def test_bars_can_be_inserted_and_taken_out(score, data):
    tokens = EVENTS.encode(score)
    total = bars_of(tokens)
    at, count = data.draw(st.integers(1, total)), data.draw(st.integers(1, 3))
    longer = EVENTS.insert_bars(tokens, at, count)
    assert bars_of(longer) == total + count
    assert EVENTS.units(longer) == EVENTS.units(tokens)
    first = EVENTS.slice_bars(longer, 0, at)
    assert first == EVENTS.slice_bars(tokens, 0, at)
    last = data.draw(st.integers(at, total))
    parts = [EVENTS.slice_bars(tokens, a, b) for a, b in ((0, at), (at, last), (last, total)) if a < b]
    assert sum(map(EVENTS.units, parts)) == EVENTS.units(tokens)


def test_a_slice_knows_metre_key_and_tempo():
    from symusic import KeySignature, Tempo

    score = piece((40, [(i, 1, 60 + i) for i in range(9)]), metre=(3, 4))
    score.key_signatures.append(KeySignature(0, 1, 0))
    score.tempos.append(Tempo(0, 80))
    score.tempos.append(Tempo(5 * 24, 92))
    sliced = EVENTS.slice_bars(EVENTS.encode(score), 2, 3)
    assert (
        words(sliced).split("Start ")[1]
        == "Bar 1 Metre 3/4 Key G major Tempo 92 violin Dur 24 F#4 Pos 24 G4 Pos 48 G#4 End"
    )
    with pytest.raises(ValueError, match="has bars 0 to 3"):
        EVENTS.slice_bars(EVENTS.encode(score), 2, 4)
    with pytest.raises(ValueError, match="before bars 1 … 3"):
        EVENTS.insert_bars(EVENTS.encode(score), 0, 1)
