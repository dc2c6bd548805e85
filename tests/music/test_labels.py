"""Notes, beats and chords in seconds, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score, Tempo, TextMeta, TimeSignature

from otonoha.music.labels import NO_CHORD, QUALITIES, timed
from otonoha.music.theory import SHARP_NAMES
from otonoha.music.tracks import track_of


def score_of(chords, *, qpm=120.0, metre=(4, 4)) -> Score:
    """One chord (pitches) to each quarter note."""
    score = Score(480)
    score.tempos.append(Tempo(0, qpm))
    score.time_signatures.append(TimeSignature(0, *metre))
    rows = [(480 * i, 480, p) for i, chord in enumerate(chords) for p in chord]
    onset, duration, pitch = np.array(rows).T
    score.tracks.append(track_of(onset, duration, pitch, name="piano"))
    return score


def test_times_follow_the_tempo():
    score = score_of([(60, 64, 67)] * 4, qpm=60)
    score.tempos.append(Tempo(960, 120))
    found = timed(score)
    assert found.seconds == pytest.approx(3.0)
    assert found.beats[:, 0] == pytest.approx([0, 1, 2, 2.5])
    assert found.notes[:, 0] == pytest.approx(np.repeat([0, 1, 2, 2.5], 3))
    assert found.notes[:, 1] == pytest.approx(np.repeat([1, 2, 2.5, 3], 3))
    assert found.chords == ((0.0, 3.0, "C"),)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 11), st.sampled_from(sorted(QUALITIES)), st.integers(0, 3))
def test_every_chord_is_named_in_every_position(root, quality, inversion):
    steps = QUALITIES[quality]
    pitches = [48 + root + s + 12 * (i < inversion) for i, s in enumerate(steps)]
    ((_, _, name),) = timed(score_of([pitches])).chords
    classes = {p % 12 for p in pitches}
    same = {
        SHARP_NAMES[r] + q
        for r in range(12)
        for q, shape in QUALITIES.items()
        if {(r + s) % 12 for s in shape} == classes
    }
    assert name in same  # augmented and diminished sevenths have several names
    if inversion == 0:
        assert name == SHARP_NAMES[root] + quality


def test_chord_symbols_of_the_score_win():
    score = score_of([(60, 64, 67)] * 4)
    score.markers.append(TextMeta(0, "chord:Am7"))
    score.markers.append(TextMeta(960, "chord:Dsus4"))
    assert timed(score).chords == ((0.0, 1.0, "Am7"), (1.0, 2.0, "Dsus4"))


@pytest.mark.parametrize(
    ("metre", "beats"), [((4, 4), 4), ((6, 8), 2), ((3, 8), 3), ((9, 8), 3), ((5, 4), 5), ((2, 2), 2)]
)
def test_beats_of_a_bar(metre, beats):
    score = score_of([(60,)] * 40, metre=metre)
    found = timed(score).beats
    assert (found[found[:, 1] == 0][:, 2] == np.arange(beats)).all()
    assert np.diff(found[:, 0]).min() > 0


def test_a_part_is_what_lies_in_it():
    found = timed(score_of([(60,), (62,), (64,), (65,)], qpm=60))
    part = found.between(0.5, 2.5)
    assert part.notes[:, :3].tolist() == [[0.0, 0.5, 60.0], [0.5, 1.5, 62.0], [1.5, 2.0, 64.0]]
    assert part.beats[:, 0] == pytest.approx([0.5, 1.5])
    assert part.seconds == 2.0
    assert part.chords[0][0] == 0.0


def test_silence_and_drums_are_no_chord():
    score = Score(480)
    assert timed(score).chords == ()
    assert timed(score).notes.shape == (0, 5)
    drums = track_of([0, 480], [480, 480], [36, 38], name="drums")
    drums.is_drum = True
    score.tracks.append(drums)
    found = timed(score)
    assert found.chords == ((0.0, 1.0, NO_CHORD),)
    assert found.notes[:, 2].tolist() == [164.0, 166.0]
