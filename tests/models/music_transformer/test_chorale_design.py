"""Requests to design `chorale`: four voices come back, and what was given comes back as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from symusic import Note, Score, TimeSignature, Track

from families import QUICK
from helpers import chorale, pieces, played
from otonoha.models.music_transformer import chorale_design, chorale_write
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.music.time import bar_table
from otonoha.sample.tasks import Continue, Harmonise, Infill

torch.set_num_threads(1)
NAMES = ["soprano", "alto", "tenor", "bass"]


@pytest.fixture(scope="module")
def model():
    model = MusicTransformer("chorale_tiny")
    model.fit(pieces(3, make=chorale), quiet=True, **{**QUICK, "steps": 3, "length": 32})
    return model


def rows(track: Track) -> list[tuple[int, int, int, int]]:
    return [(n.time, n.duration, n.pitch, n.velocity) for n in track.notes]


def only(score: Score, *names: str) -> Score:
    result = score.copy()
    result.tracks = [t for t in score.tracks if t.name in names]
    return result


def outside() -> Score:
    """A soprano with a note in its second bar that nobody sings."""
    score = only(chorale(1), "soprano")
    bar = 4 * score.tpq
    next(note for note in score.tracks[0].notes if bar <= note.time < 2 * bar).pitch = 108
    return score


def repeated(tpq: int = 480) -> Score:
    """Four voices with repeated notes, of uneven loudness, a little off the grid."""
    score = chorale(5).resample(tpq)
    for track in score.tracks:
        for i, note in enumerate(track.notes):
            note.pitch, note.velocity = track.notes[i // 2 * 2].pitch, 50 + i
            note.duration -= 3
    return score


def heard(music: Score) -> np.ndarray:
    """(T, 4): does a voice sound in each sixteenth?"""
    step, end = music.tpq // 4, max(n.end for t in music.tracks for n in t.notes)
    found = np.zeros((round(end / step), 4), bool)
    for voice, track in enumerate(music.tracks):
        for n in track.notes:
            found[round(n.time / step) : round(n.end / step), voice] = True
    return found


@pytest.mark.parametrize("given", [["soprano"], ["bass"], ["alto", "bass"], ["soprano", "alto", "tenor"]])
@pytest.mark.parametrize("tpq", [480, 10080])
def test_harmonising_keeps_what_is_given(model, given, tpq):
    prompt = only(repeated(tpq), *given)
    take = model.sample(Harmonise(prompt), seed=1)
    assert take.music.tpq == tpq
    assert [t.name for t in take.music.tracks] == NAMES
    for track in prompt.tracks:
        assert rows(take.music.tracks[NAMES.index(track.name)]) == rows(track)
    assert heard(take.music).all()


def test_a_single_track_is_the_soprano(model):
    prompt = only(repeated(), "alto")
    prompt.tracks[0].name = ""
    take = model.sample(Harmonise(prompt), seed=1)
    assert [t.name for t in take.music.tracks] == ["", *NAMES[1:]]
    assert rows(take.music.tracks[0]) == rows(prompt.tracks[0])


@pytest.mark.parametrize(
    "asked", [{"only_bars": "2"}, {"only_tracks": "alto,bass"}, {"only_bars": "3-4", "only_tracks": "tenor"}]
)
def test_infilling_keeps_the_rest(model, asked):
    score = repeated()
    take = model.sample(Infill(score), seed=2, **asked)
    first, last = {"2": (1, 2), "3-4": (2, 4)}.get(asked.get("only_bars", ""), (0, 4))
    edges = bar_table(score).start
    for track, new in zip(score.tracks, take.music.tracks, strict=True):
        asked_for = track.name in asked.get("only_tracks", ",".join(NAMES)).split(",")
        stays = [r for r in rows(track) if not (asked_for and edges[first] <= r[0] < edges[last])]
        left = rows(new)
        for row in stays:
            left.remove(row)
        assert bool(left) == asked_for
        assert all(edges[first] <= r[0] and r[0] + r[1] <= edges[last] for r in left)
    assert heard(take.music).all()


def test_bars_are_those_of_the_metre(model):
    score = repeated()
    score.time_signatures = [TimeSignature(0, 3, 4)]
    take = model.sample(Infill(score), only_bars="2", only_tracks="bass", seed=1)
    assert [r for r in rows(take.music.tracks[3]) if not 1440 <= r[0] < 2880] == [
        r for r in rows(score.tracks[3]) if not 1440 <= r[0] < 2880
    ]
    longer = model.sample(Continue(score), bars=1, seed=1)
    assert max(n.end for t in longer.music.tracks for n in t.notes) == 6 * 1440 + 1440


def test_going_on_keeps_the_prompt(model):
    score = repeated()
    takes = model.sample(Continue(score), bars=2, seed=1, n=2)
    for take in takes:
        for track, new in zip(score.tracks, take.music.tracks, strict=True):
            assert rows(new)[: len(track.notes)] == rows(track)
            assert new.notes[len(track.notes)].time == 4 * 1920
        assert len(bar_table(take.music)) == 6
    assert played(takes[0].music) != played(takes[1].music)
    assert played(model.sample(Continue(score), bars=2, seed=1).music) == played(takes[0].music)


def test_composing(model):
    take = model.sample(bars=3, tempo=72.0, seed=1)
    assert heard(take.music).all()
    assert len(bar_table(take.music)) == 3
    assert take.music.tempos[0].qpm == pytest.approx(72)


@pytest.mark.parametrize("task", [None, Harmonise(only(chorale(1), "soprano"))])
def test_an_interrupted_job_goes_on_to_the_same(model, task, tmp_path, monkeypatch):
    asked = {"bars": 2} if task is None else {}
    whole = model.sample(task, seed=4, n=3, **asked)
    stream = model.stream(task, seed=4, n=3, job=tmp_path / "job", **asked)
    assert [next(stream).done, next(stream).done] == [1, 2]
    stream.close()
    asked_for = []
    monkeypatch.setattr(
        chorale_design, "fill", lambda *a, **k: asked_for.append(k["seed"]) or chorale_write.fill(*a, **k)
    )
    again = model.sample(task, seed=4, n=3, job=tmp_path / "job", **asked)
    assert asked_for == [4 * 1009 + 2]
    assert [played(t.music) for t in again] == [played(t.music) for t in whole]
    assert [played(t.music) for t in model.sample(task, seed=4, n=3, job=tmp_path / "job", **asked)] == [
        played(t.music) for t in whole
    ]
    assert len(asked_for) == 1


def chord() -> Score:
    score = only(chorale(1), "soprano")
    score.tracks[0].notes.append(Note(0, 24, 60, 80))
    return score


@pytest.mark.parametrize(
    ("task", "asked", "message"),
    [
        (None, {"key": "C"}, "key has no effect; to compose"),
        (None, {"only_bars": "1"}, "only_bars has no effect"),
        (Harmonise(only(chorale(1), "bass")), {"bars": 3}, "bars has no effect; to harmonise"),
        (Harmonise(chorale(1)), {}, "to harmonise, give one voice"),
        (Harmonise(Score(480)), {}, "no notes"),
        (Harmonise(chord()), {}, "sound together"),
        (
            Harmonise(outside()),
            {},
            r"'soprano' has C8 in bar 2; the model knows C2 … A5: transpose the piece down",
        ),
        (Infill(chorale(1)), {}, "only_bars or only_tracks"),
        (Infill(chorale(1)), {"only_bars": "9"}, "within 1 … 4"),
        (Infill(chorale(1)), {"only_tracks": "viola"}, "there is no voice 'viola'"),
        (Infill(Score(480)), {"only_bars": "1"}, "no notes"),
        (Continue(only(chorale(1), "bass", "alto")), {}, "needs four voices"),
    ],
)
def test_a_wrong_request_is_one_clear_line(model, task, asked, message):
    with pytest.raises(ValueError, match=message) as error:
        model.sample(task, **asked)
    assert "\n" not in str(error.value)
