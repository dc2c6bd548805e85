"""Joining two pieces: both stay as they are, to the tick, and the bars between them are written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symusic import Score, TimeSignature

from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.tracks import notes, track_of
from otonoha.sample.tasks import Join

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
