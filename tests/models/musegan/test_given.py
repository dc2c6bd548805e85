"""The given track: it comes back where it was, pick-up and all, and is a bar long at least (given.py)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from symusic import KeySignature, Score, TextMeta, TimeSignature

from families import CASES, fitted
from helpers import TPQ, chorale, track_alone, tune
from otonoha.models.musegan.given import begun_with, key_signatures, lead_of, silent_before, track_given
from otonoha.music.markers import pickup
from otonoha.music.time import bar_table
from otonoha.music.tracks import track_of
from otonoha.sample.tasks import Accompany
from otonoha.tokens.roll import Roll

torch.set_num_threads(1)
GIVEN = [name for name, case in CASES.items() if case.family == "musegan" and case.options.get("given")]
VOICES = Roll(steps_per_bar=16)


def line(*notes, name="soprano", marked=None):
    """(onset, length) in quarters -> a score of one track."""
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    if marked is not None:
        score.markers.append(TextMeta(0, f"pickup:{marked}"))
    onset, length = (np.array([round(Fraction(x) * 480) for x in column]) for column in zip(*notes))
    score.tracks.append(track_of(onset, length, np.full(len(onset), 60), name=name))
    return score


def heard(score, name):
    (track,) = [t for t in score.tracks if t.name == name]
    return [(n.time / score.tpq, n.duration / score.tpq, n.pitch) for n in track.notes]


# -- the pick-up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upbeat", [1, 2, 3])
@pytest.mark.parametrize("name", GIVEN)
def test_a_pickup_comes_back_where_it_was(name, upbeat):
    model, given = fitted(name), CASES[name].options["given"]
    prompt = tune(5, bars=3, pickup=upbeat, key="F" if given == "soprano" else "C")
    prompt.tracks[0].name = given
    take = model.sample(Accompany(prompt), seed=2)
    back, asked = heard(take.music, given), heard(prompt, given)
    if model.codec.steps_per_bar == 16:
        assert back == asked
    assert (back[0][0], back[0][2]) == (0, asked[0][2])
    assert pickup(take.music) == upbeat
    bars = bar_table(take.music)
    assert bars.first_is_pickup
    assert bars.start[1] == upbeat * take.music.tpq
    lead = (4 - upbeat) * model.codec.steps_per_bar // 4
    flat = model.codec.array(take.tokens).swapaxes(0, 1).reshape(4, -1, model.codec.pitches)
    assert not flat[:, :lead].any()  # nothing sounds before it …
    assert min(n.time for t in take.music.tracks for n in t.notes) == 0
    assert model.codec.encode(take.music).slice(0, len(take.tokens)) == take.tokens or not flat[:, -1].any()


def test_a_first_metre_that_is_short_is_a_pickup_too():
    prompt = line((0, 1), (1, 4), (5, 4))
    prompt.time_signatures = [TimeSignature(0, 1, 4), TimeSignature(480, 4, 4)]
    take = fitted("musegan/given").sample(Accompany(prompt), seed=2)
    assert heard(take.music, "soprano") == [(0, 1, 60), (1, 4, 60), (5, 4, 60)]
    assert pickup(take.music) == 1


def test_music_without_a_pickup_is_left_as_it_is():
    take = fitted("musegan/given").sample(Accompany(track_alone(chorale(3), "soprano")), seed=2)
    assert not take.music.markers
    rolls = np.ones((4, 2, 16, 3), np.uint8)
    assert silent_before(rolls, VOICES, Fraction(0)) is rolls


def test_what_is_held_into_the_pickup_begins_with_it():
    rolls = np.zeros((1, 2, 16, VOICES.pitches), np.uint8)
    rolls[0, 0, 2:, 5] = [1, *[2] * 13]
    rolls[0, 1, :4, 5] = 2
    found = silent_before(rolls, VOICES, Fraction(1)).reshape(32, -1)[:, 5]
    assert found.tolist() == [0] * 12 + [1] + [2] * 7 + [0] * 12
    assert rolls[0, 0, 2, 5] == 1  # the rolls that came are left alone


def test_a_pickup_beside_the_grid_is_rounded_and_never_before_the_beginning():
    upbeat = Fraction(2, 3)
    assert lead_of(VOICES, upbeat) == 13  # 3 1/3 quarters are 13 1/3 steps
    alone = Roll(("soprano",))
    back = begun_with(alone.decode(alone.encode(line(("13/4", 1), ("17/4", 4)))), alone, upbeat)
    times = [(n.time / back.tpq, n.end / back.tpq) for t in back.tracks for n in t.notes]
    assert times[0] == pytest.approx((0, 11 / 12), abs=1e-3)
    assert times[1] == pytest.approx((11 / 12, 4 + 11 / 12), abs=1e-3)


# -- at least a bar ------------------------------------------------------------------------------------------


def beside(score, quarters):
    """The score cut after so many quarters, among other voices."""
    whole = chorale(1)
    for track in whole.tracks:
        track.notes = [n for n in track.notes if n.end <= quarters * TPQ]
        track.name = ""
    return whole


@pytest.mark.parametrize("quarters", [2, 3])
def test_less_than_a_bar_is_refused_within_a_piece_too(quarters):
    message = rf"^the given track ends after {quarters} quarter notes, it needs a bar of 4/4 at least\Z"
    with pytest.raises(ValueError, match=message):
        fitted("musegan/given").sample(Accompany(beside(chorale(1), quarters)), seed=1)
    with pytest.raises(ValueError, match=message):
        track_given(line((0, quarters)), VOICES, "soprano")


def test_a_pickup_does_not_count_as_a_bar():
    with pytest.raises(ValueError, match="ends after 3 quarter notes"):
        track_given(line((0, 1), (1, 2), marked="1"), VOICES, "soprano")
    found, upbeat = track_given(line((0, 1), (1, 3), marked="1"), VOICES, "soprano")
    assert (len(found), upbeat) == (2, 1)


def test_short_notes_on_the_last_beat_fill_the_bar():
    found, _ = track_given(line((0, 1), (1, 1), (2, 1), (3, "1/4")), VOICES, "soprano")
    assert len(found) == 1
    band = Roll.band()
    drums = line((0, "1/2"), (1, "1/2"), (2, "1/2"), (3, "1/2"), name="drums")
    drums.tracks[0].is_drum = True
    keys = line((0, 4), name="piano")
    drums.tracks.append(keys.tracks[0])
    drums.tracks[0].name = "kit"
    found, _ = track_given(drums, band, "drums")
    assert found.shape == (1, 16, band.pitches)


def test_the_key_signature_is_that_of_the_prompt():
    prompt = track_alone(chorale(3, bars=4), "soprano")
    prompt.key_signatures = [KeySignature(0, 2, 0)]
    take = fitted("musegan/given").sample(Accompany(prompt), seed=1)
    assert [(k.time, k.key, k.tonality) for k in take.music.key_signatures] == [(0, 2, 0)]


def test_a_piece_has_the_key_signature_of_its_notes():
    def written(*pitches):
        score = Score(480)
        time = np.arange(len(pitches)) * 480
        score.tracks.append(track_of(time, np.full(len(pitches), 480), np.array(pitches)))
        return key_signatures(score, None)

    (flat,) = written(65, 67, 69, 70, 72, 74, 76, 77, 69, 65).key_signatures  # F major
    assert (flat.time, flat.key, flat.tonality) == (0, -1, 0)
    assert not key_signatures(Score(480), None).key_signatures
