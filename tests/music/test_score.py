import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.music.score import (
    bar_table,
    concatenate,
    key_at,
    marker,
    melody,
    merge,
    metre_map,
    notes,
    pickup,
    quantise,
    rescale,
    select_tracks,
    slice_bars,
    tempo_map,
    track_of,
    transpose,
    voices,
    with_marker,
    without_marker,
)
from otonoha.music.theory import Key
from otonoha.music.voices import is_monophonic

NOTE = st.tuples(st.integers(0, 4000), st.integers(1, 2000), st.integers(0, 127), st.integers(1, 127))


def song(*, upbeat="1"):
    """Three bars of 3/4 after an upbeat, sung; a second, lower track."""
    score = Score(4)
    onset = np.arange(0, 40, 4)
    tune = track_of(onset, np.full(10, 4), 60 + np.arange(10), 90, name="Voice", program=52)
    tune.lyrics = [TextMeta(0, "さ-"), TextMeta(4, "くら"), TextMeta(16, "や-")]
    bass = track_of([4, 16, 28], [12, 12, 12], [40, 41, 42], name="Bass", program=32)
    score.tracks = [tune, bass]
    score.time_signatures = [TimeSignature(0, 3, 4)]
    score.key_signatures = [KeySignature(0, 2, 0)]
    score.tempos = [Tempo(0, qpm=75), Tempo(16, qpm=60)]
    score.markers = [TextMeta(0, "title:桜"), TextMeta(28, "fermata:1"), TextMeta(36, "fermata:0")]
    return with_marker(score, "pickup", upbeat) if upbeat else score


def columns(track):
    found = notes(track)
    return list(
        zip(
            found.onset.tolist(),
            found.duration.tolist(),
            found.pitch.tolist(),
            found.velocity.tolist(),
            strict=True,
        )
    )


@given(st.lists(NOTE, max_size=20))
def test_notes_and_track_of_are_inverse(rows):
    rows = sorted(rows, key=lambda r: (r[0], r[2]))
    track = track_of(*(np.array(rows).reshape(-1, 4).T), name="x", program=3)
    assert sorted(columns(track)) == sorted(rows)
    assert [r[0] for r in columns(track)] == [r[0] for r in rows]


@pytest.mark.parametrize(
    ("bad", "what"),
    [(([0], [1], [128]), "pitches"), (([-1], [1], [60]), "onsets"), (([0], [-1], [60]), "durations"),
     (([0], [1], [60], [200]), "velocities"), (([0, 1], [1], [60]), "shape")],
)  # fmt: skip
def test_track_of_refuses_what_midi_cannot_hold(bad, what):
    with pytest.raises(ValueError, match=what):
        track_of(*bad)


def test_markers():
    score = with_marker(with_marker(Score(4), "chord", "Am7", 8), "chord", "G: odd", 4)
    assert marker(score, "chord") == [(4, "G: odd"), (8, "Am7")]
    assert marker(without_marker(score, "chord"), "chord") == []
    with pytest.raises(ValueError, match="did you mean 'fermata'"):
        with_marker(score, "fermatta", "0")


def test_functions_leave_their_argument_alone():
    score = song()
    before = score.copy()
    for act in (
        lambda s: transpose(s, 3),
        lambda s: slice_bars(s, 1, 3),
        lambda s: concatenate(s, s),
        lambda s: merge([s, s]),
        lambda s: quantise(s, 2),
        melody,
        voices,
        lambda s: select_tracks(s, [1]),
        lambda s: without_marker(s, "title"),
    ):
        act(score)
        assert score == before
    result = slice_bars(score, 0, 1)
    result.tracks[0].notes[0].pitch = 1
    result.tracks[0].lyrics[0].text = "!"
    assert score == before


def test_slice_keeps_what_is_in_force():
    score = song()
    part = slice_bars(score, 2, 4)
    assert columns(part.tracks[0]) == [(4 * i, 4, 64 + i, 90) for i in range(6)]
    assert columns(part.tracks[1]) == [(0, 12, 41, 80), (12, 12, 42, 80)]
    assert [(t.time, t.text) for t in part.tracks[0].lyrics] == [(0, "や-")]
    assert metre_map(part) == [(0, 3, 4)]
    assert tempo_map(part) == [(0, 60.0)]
    assert key_at(part) == Key.parse("D")
    assert pickup(part) == 0
    assert marker(part, "title") == [(0, "桜")]
    assert marker(part, "fermata") == [(12, "1"), (20, "0")]


def test_slice_from_the_start_keeps_the_pickup():
    part = slice_bars(song(), 0, 2)
    assert pickup(part) == 1
    assert bar_table(part).start.tolist() == [0, 4, 16]


def test_slice_cuts_long_notes():
    score = Score(4)
    score.tracks = [track_of([0], [40], [60])]
    assert columns(slice_bars(score, 0, 1).tracks[0]) == [(0, 16, 60, 80)]


@pytest.mark.parametrize(("first", "last"), [(0, 9), (-1, 1), (2, 2)])
def test_slice_refuses_bars_that_are_not_there(first, last):
    with pytest.raises(ValueError, match="the score has bars 0 to 4"):
        slice_bars(song(), first, last)


def test_slices_put_together_give_the_whole():
    score = song(upbeat="")
    score.tracks[1] = track_of([0, 16, 28], [12, 8, 12], [40, 41, 42], name="Bass", program=32)
    whole = concatenate(slice_bars(score, 0, 1), slice_bars(score, 1, 4))
    assert [columns(t) for t in whole.tracks] == [columns(t) for t in score.tracks]
    assert tempo_map(whole)[0] == (0, 75.0)
    assert bar_table(whole).start.tolist() == bar_table(score).start.tolist()


def test_concatenate_gives_the_upbeat_its_bar():
    whole = concatenate(song(), song())
    bars = bar_table(whole)
    assert bars.start.tolist() == [0, 4, 16, 28, 40, 52, 64, 76, 88]
    assert columns(whole.tracks[0])[10] == (48, 4, 60, 90)
    assert len(whole.tracks) == 2
    assert marker(whole, "pickup") == [(0, "1")]
    assert tempo_map(whole) == [(0, 75.0), (16, 60.0), (48, 75.0), (64, 60.0)]


def test_concatenate_rescales_and_adds_tracks():
    other = Score(3)
    other.tracks = [track_of([0], [3], [70], name="Flute")]
    whole = concatenate(song(upbeat=""), other)
    assert whole.tpq == 12
    assert [t.name for t in whole.tracks] == ["Voice", "Bass", "Flute"]
    assert columns(whole.tracks[2])[0][:2] == (144, 12)
    assert metre_map(whole) == [(0, 3, 4), (144, 4, 4)]


def test_merge_moves_fermatas_with_their_tracks():
    both = merge([song(), rescale(song(), 8)])
    assert both.tpq == 8
    assert len(both.tracks) == 4
    assert [v for _, v in marker(both, "fermata")] == ["1", "3", "0", "2"]
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])


@given(st.integers(-12, 12))
def test_transpose_and_back(semitones):
    score = song()
    there = transpose(score, semitones)
    assert key_at(there) == Key.parse("D").transpose(semitones)
    assert [columns(t) for t in transpose(there, -semitones).tracks] == [columns(t) for t in score.tracks]


def test_transpose_leaves_drums_and_refuses_the_impossible():
    score = song()
    score.tracks.append(track_of([0], [4], [36], is_drum=True))
    assert columns(transpose(score, 5).tracks[2]) == [(0, 4, 36, 80)]
    with pytest.raises(ValueError, match="span 61-70, outside of 0-69"):
        transpose(score, 1, high=69)


@settings(max_examples=50)
@given(st.lists(NOTE, max_size=20), st.sampled_from([4, 6, 12, 24]))
def test_quantised_notes_lie_on_the_grid_and_near(rows, resolution):
    score = Score(480)
    rows = sorted(set(rows), key=lambda r: (r[0], r[2]))
    score.tracks = [track_of(*np.array(rows, np.int64).reshape(-1, 4).T)]
    result = quantise(score, resolution)
    assert result.tpq == resolution
    before, after = notes(score.tracks[0]), notes(result.tracks[0])
    assert (after.duration >= 1).all()
    assert np.allclose(np.sort(after.onset) * 480 / resolution, np.sort(before.onset), atol=240 / resolution)
    assert quantise(result, resolution) == result


def test_quantised_neighbours_still_touch():
    score = Score(480)
    score.tracks = [track_of([3, 470, 965], [467, 495, 480], [60, 62, 64])]
    assert columns(quantise(score, 4).tracks[0]) == [(0, 4, 60, 80), (4, 4, 62, 80), (8, 4, 64, 80)]


def test_voices_of_monophonic_tracks_are_ordered():
    score = song()
    score.tracks = [score.tracks[1], score.tracks[0]]
    assert [t.name for t in voices(score)] == ["Voice", "Bass"]


def test_polyphonic_track_is_separated():
    score = Score(4)
    score.tracks = [track_of([0, 0, 4, 4, 8, 8], [4, 4, 4, 4, 4, 8], [72, 60, 74, 59, 76, 57])]
    upper, lower = voices(score)
    assert notes(upper).pitch.tolist() == [72, 74, 76]
    assert notes(lower).pitch.tolist() == [60, 59, 57]


@given(st.lists(NOTE, min_size=1, max_size=25))
def test_voices_lose_nothing_and_never_overlap(rows):
    score = Score(480)
    score.tracks = [track_of(*np.array(rows).T)]
    found = voices(score)
    assert all(is_monophonic(t) for t in found)
    assert sorted(r for t in found for r in columns(t)) == sorted(rows)


def test_melody_prefers_lyrics_then_names_then_height():
    score = song()
    tune = melody(score)
    assert [t.name for t in tune.tracks] == ["Voice"]
    assert marker(tune, "fermata") == [(36, "0")]
    score.tracks[0].lyrics = []
    score.tracks[1].name = "Lead vocal"
    score.tracks[0].name = "x"
    assert melody(score).tracks[0].name == "Lead vocal"
    score.tracks[1].name = "y"
    assert melody(score).tracks[0].name == "x"
    with pytest.raises(ValueError, match="no pitched notes"):
        melody(Score(4))


def test_melody_of_chords_is_their_top():
    score = Score(4)
    score.tracks = [track_of([0, 0, 4], [8, 4, 4], [60, 64, 67])]
    assert columns(melody(score).tracks[0]) == [(0, 4, 64, 80), (4, 4, 67, 80)]
