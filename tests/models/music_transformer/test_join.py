"""Joining two pieces: both stay as they are, to the tick, and the bars between them are written."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from any_scores import scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from symusic import Score, Tempo, TextMeta, TimeSignature

from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import bar_lines
from otonoha.models.music_transformer.joined import between
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.markers import pickup
from otonoha.music.time import bar_table, metre_map, tempo_map
from otonoha.music.tracks import notes, track_of
from otonoha.sample.tasks import Join
from otonoha.tokens.events import Events

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return MusicTransformer("tiny")


def piece(bars, tpq=480, tracks=(("tune", 40), ("bass", 42)), low=60, metre=4):
    score = Score(tpq)
    score.time_signatures.append(TimeSignature(0, metre, 4))
    for t, (name, program) in enumerate(tracks):
        beats = np.arange(metre * bars)
        score.tracks.append(
            track_of(
                beats * tpq + 7 * t,
                np.full(len(beats), tpq // 2),
                low + beats % 5 - 12 * t,
                name=name,
                program=program,
            )
        )
    return score


def listed(track, shift=0):
    n = notes(track)
    return list(zip(n.onset - shift, n.duration, n.pitch, n.velocity, strict=True))


@pytest.mark.parametrize(("bars", "tpq"), [(None, 480), (1, 480), (3, 96)])
def test_both_pieces_stay_and_the_gap_is_written(model, bars, tpq):
    first, second = piece(3), piece(2, tpq=tpq, low=72)
    take = model.sample(Join(first, second), seed=1, **({} if bars is None else {"bars": bars}))
    assert [t.name for t in take.music.tracks] == ["tune", "bass"]
    end, begin = 3 * 4 * 480, (3 + (bars or 2)) * 4 * 480
    for mine, a, b in zip(take.music.tracks, first.tracks, second.resample(480).tracks, strict=True):
        found = listed(mine)
        assert [n for n in found if n[0] < end] == listed(a)
        assert [n for n in listed(mine, begin) if n[0] >= 0] == listed(b)
        assert any(end <= n[0] < begin for n in found)
    again = model.sample(Join(first, second), seed=1, **({} if bars is None else {"bars": bars}))
    assert again.tokens == take.tokens


def test_other_instruments_come_in_with_their_own_tracks(model):
    first, second = piece(1), piece(1, tracks=(("horn", 60), ("low strings", 42)))
    take = model.sample(Join(first, second), seed=2, bars=1)
    assert [(t.name, t.program) for t in take.music.tracks] == [("tune", 40), ("bass", 42), ("horn", 60)]


def test_the_metre_of_the_second_begins_with_it(model):
    take = model.sample(Join(piece(2), piece(2, metre=3)), seed=3, bars=1)
    assert [(t.time, t.numerator) for t in take.music.time_signatures] == [(0, 4), (3 * 4 * 480, 3)]


@pytest.mark.parametrize("empty", [0, 1])
def test_nothing_cannot_be_joined(model, empty):
    pieces = [piece(1), piece(1)]
    pieces[empty] = Score(480)
    with pytest.raises(ValueError, match="the prompt has no notes"):
        model.sample(Join(*pieces), seed=1)


def test_controls_of_other_tasks_are_refused(model):
    with pytest.raises(ValueError, match="strength has no effect on the task join"):
        model.sample(Join(piece(1), piece(1)), seed=1, strength=0.5)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=scores(), second=scores(), bars=st.integers(1, 2))
def test_whatever_is_joined_stays_to_the_tick(first, second, bars):
    """Of the place itself, before anything is written: all notes are there, and none of them in an open bar."""
    codec = Events()
    place = between(codec, first, second, Controls(bars=bars))
    tpq = place.score.tpq
    assert tpq == math.lcm(first.tpq, second.tpq)
    lines = bar_lines(codec, place.tokens)
    assert place.bars == list(range(place.bars[0], place.bars[0] + bars))
    sides = []
    for piece_, by in ((first, tpq // first.tpq), (second, tpq // second.tpq)):
        sides.append(
            sorted(
                (by * n.time, by * n.duration, n.pitch, n.velocity) for t in piece_.tracks for n in t.notes
            )
        )
    found = sorted((n.time, n.duration, n.pitch, n.velocity) for t in place.score.tracks for n in t.notes)
    early, late = found[: len(sides[0])], found[len(sides[0]) :]
    shift = late[0][0] - sides[1][0][0]
    assert early == sides[0]
    assert [(time - shift, *rest) for time, *rest in late] == sides[1]
    onsets = nearest_ticks(np.array([time for time, *_ in found]), tpq)
    assert not np.isin(np.searchsorted(lines, onsets, side="right") - 1, place.bars).any()
    begin = shift + int(pickup(second) * tpq)
    assert [(t - begin, *m) for t, *m in metre_map(place.score) if t >= begin] == [
        (max(0, tpq * t // second.tpq - (begin - shift)), *m) for t, *m in metres_within(second)
    ]


def nearest_ticks(ticks, tpq):
    return (2 * 24 * ticks + tpq) // (2 * tpq)


def metres_within(score):
    end = max(n.end for t in score.tracks for n in t.notes)
    return [
        m
        for m in metre_map(score)
        if not m[0] or nearest_ticks(m[0], score.tpq) < nearest_ticks(end, score.tpq)
    ]


def beats(count, metre, low, **more):
    score = piece(1, tracks=(("tune", 40),), low=low)
    score.time_signatures = [TimeSignature(0, *metre)] if metre else []
    onset = np.arange(count) * 480
    score.tracks[0] = track_of(
        onset, np.full(count, 480), low + np.arange(count) % 5, name="tune", program=40
    )
    for tick, tempo in more.get("tempos", ()):
        score.tempos.append(Tempo(tick, tempo))
    return score


ODD = {
    "a metre behind the notes": (lambda: with_metre(beats(8, (4, 4), 60), 9 * 480), (4, 4)),
    "beats that a program counted": (lambda: beats(8, (1, 4), 60), (4, 4)),
    "no metre": (lambda: beats(8, None, 60), (4, 4)),
    "three": (lambda: beats(9, (3, 4), 60), (3, 4)),
}


def with_metre(score, tick):
    score.time_signatures.append(TimeSignature(tick, 3, 4))
    return score


@pytest.mark.parametrize("one", ODD)
@pytest.mark.parametrize("other", ODD)
def test_the_bars_between_are_whole_bars_of_the_first_piece(one, other):
    (make, metre), (make_other, metre_other) = ODD[one], ODD[other]
    place = between(Events(), make(), make_other(), Controls(bars=2))
    lines = bar_lines(Events(), place.tokens)
    assert np.diff(lines)[place.bars].tolist() == [24 * metre[0]] * 2
    assert len(lines) == place.bars[-1] + 1 + len(bar_table(make_other())) // (
        4 if other.startswith("beats") else 1
    )
    assert metre_map(place.score)[-1][1:] == metre_other


def test_what_a_file_takes_for_granted_is_said_where_it_would_be_another():
    place = between(
        Events(), beats(4, (3, 4), 60, tempos=[(0, 60.0), (9999, 200.0)]), beats(4, None, 70), Controls()
    )
    assert metre_map(place.score) == [(0, 3, 4), (4 * 3 * 480, 4, 4)]
    assert tempo_map(place.score) == [(0, 60.0), (4 * 3 * 480, 120.0)]


def test_a_pick_up_of_the_second_piece_stands_before_its_first_full_bar():
    second = beats(9, (4, 4), 70)
    second.markers.append(TextMeta(0, "pickup:1"))
    place = between(Events(), beats(8, (4, 4), 60), second, Controls(bars=1))
    lines = bar_lines(Events(), place.tokens) / 96
    assert lines.tolist() == [0, 1, 2, 3, 4, 5]
    assert place.bars == [2]
    late = [n.time for n in place.score.tracks[0].notes if n.pitch >= 70]
    assert late[:2] == [4 * 4 * 480 - 480, 4 * 4 * 480]


def test_words_chords_and_fermatas_of_the_second_piece_come_along():
    second = piece(1, tracks=(("bass", 42), ("horn", 60)))
    second.tracks[1].lyrics.append(TextMeta(480, "la"))
    for text in ("title:mine", "chord:Am", "fermata:0", "fermata:1"):
        second.markers.append(TextMeta(480, text))
    place = between(Events(), piece(1), second, Controls(bars=1))
    begin = 2 * 4 * 480
    assert [(w.time, w.text) for w in place.score.tracks[2].lyrics] == [(begin + 480, "la")]
    told = [(m.time - begin, m.text) for m in place.score.markers]
    assert told == [(480, "chord:Am"), (480, "fermata:1"), (480, "fermata:2")]


def test_bars_that_cannot_be_written_are_refused():
    with pytest.raises(ValueError, match="ends in 4/1, whose bars are longer than 12 quarter notes"):
        between(Events(), beats(20, (4, 1), 60), beats(4, (4, 4), 60), Controls())
