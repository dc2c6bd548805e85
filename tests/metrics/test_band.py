import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_rolls import LOW, PITCHES, chorales, phrase, tied

from otonoha.metrics import band
from otonoha.metrics.played import played, scattered

SILENT = phrase([], [])


def read(roll, **options):
    return played(roll, LOW, **options)


def test_notes_of_a_roll():
    notes = read(phrase([(60, 4), (None, 2), (60, 2), ((64, 67), 8)])).notes
    assert notes.start.tolist() == [0, 6, 8, 8]
    assert notes.pitch.tolist() == [60, 60, 64, 67]
    assert notes.length.tolist() == [4, 2, 8, 8]
    assert not notes.tied.any()


def test_a_repeated_note_is_two_and_a_held_one_crosses_the_bar_line():
    found = read(phrase([(60, 12), (60, 8), (62, 12)], bars=2)).notes
    assert found.length.tolist() == [12, 8, 12]


def test_holds_without_an_onset():
    lone = phrase([(60, 4), (None, 4), (62, 8)])
    lone[0, 0, 0, 8, 62 - LOW] = 2
    found = read(tied(lone))
    assert found.notes.length.tolist() == [4, 8]
    assert found.notes.tied.tolist() == [True, False]
    assert np.flatnonzero(found.onsets).tolist() == [8]


def test_cells_and_grids_agree_with_the_roll():
    roll = np.random.default_rng(0).integers(0, 3, (3, 2, 2, 8, 5)).astype(np.uint8)
    found = played(roll, 40)
    flat = roll.reshape(3, 2, 16, 5)
    assert np.array_equal(found.sounding, (flat > 0).sum(axis=3))
    top = np.where((flat > 0).any(axis=3), 40 + 4 - (flat[..., ::-1] > 0).argmax(axis=3), -1)
    assert np.array_equal(found.top, top)


@pytest.mark.parametrize(
    ("roll", "options", "said"),
    [
        (np.zeros((2, 16, 46)), {}, "shape"),
        (SILENT, {"tracks": ("a",)}, "2 tracks"),
        (SILENT, {"beats": 3}, "3 beats"),
        (SILENT + 3, {}, "states"),
    ],
)
def test_rolls_that_cannot_be_read(roll, options, said):
    with pytest.raises(ValueError, match=said):
        played(roll, **options)


def test_empty_bars():
    roll = phrase([(60, 16)], [(None, 20), (60, 1)], [], bars=2)
    assert band.empty_bars(read(roll)).tolist() == [0.5, 0.5, 1.0]


def test_used_pitch_classes():
    octaves = [(48, 4), (60, 4), (72, 4)]
    cluster = [(p, 2) for p in range(59, 66)]
    roll = phrase(octaves, cluster, octaves[:1], bars=2)
    assert band.used_pitch_classes(read(roll)).tolist() == [1, 7, 1]
    assert band.used_pitch_classes(read(roll), "musegan-legacy").tolist() == [3, 1, 1]


def test_the_legacy_fold_is_blind_to_octaves():
    assert band.fold_pitch(np.array([24, 30, 31, 107]), "musegan-legacy").tolist() == [0, 0, 1, 11]
    with pytest.raises(ValueError, match="musegan-legacy"):
        band.fold_pitch(np.array([60]), "legacy")


@pytest.mark.parametrize(("steps", "shortest"), [(16, 2), (24, 2), (48, 2), (96, 3)])
def test_shortest_qualified_note(steps, shortest):
    assert band.shortest_qualified(steps) == shortest


def test_qualified_notes():
    sixteenths = phrase([(60, 1), (62, 1), (64, 2), (65, 12)])
    fine = phrase([(60, 2), (62, 3), (64, 91)], steps=96)
    assert band.qualified_notes(read(sixteenths)).tolist() == [0.5]
    assert band.qualified_notes(read(fine)).tolist() == pytest.approx([2 / 3])


def test_polyphonicity_and_rests():
    roll = phrase([((60, 64, 67), 4), ((60, 64), 4), (60, 4)])
    assert band.polyphonicity(read(roll)).tolist() == [0.25]
    assert band.rests(read(roll)).tolist() == [0.25]


def drum_hits(*steps):
    roll = np.zeros((1, 1, 1, 96, PITCHES), np.uint8)
    roll[0, 0, 0, list(steps), 2] = 1
    return read(roll, tracks=("drums",))


def test_drum_pattern():
    on_grid, beside = drum_hits(0, 6, 12, 18), drum_hits(0, 6, 12, 13)
    assert band.drum_pattern(on_grid).tolist() == [1.0]
    assert band.drum_pattern(beside).tolist() == pytest.approx([(3 + 0.3) / 4])
    assert band.drum_pattern(drum_hits(2, 8, 14)).tolist() == [1.0]  # the best of six shifts
    assert band.drum_pattern(drum_hits(*range(0, 96, 3))).tolist() == pytest.approx([0.5])
    with pytest.raises(ValueError, match="got 16"):
        band.drum_pattern(read(SILENT))


def test_onset_shares():
    found = band.onset_shares(read(phrase([(60, 4), (62, 2), (64, 1), (65, 9)])))
    assert {name: value[0] for name, value in found.items()} == {"beat": 0.5, "half": 0.25, "elsewhere": 0.25}


def test_tied_notes_are_no_onsets():
    roll = phrase([(60, 2), (62, 14)])
    assert np.flatnonzero(band.onset_places(read(roll))[0]).tolist() == [0, 2]
    assert np.flatnonzero(band.onset_places(read(tied(roll)))[0]).tolist() == [2]


def test_leaps_and_repeats():
    found = read(phrase([(60, 4), (64, 4), (64, 2), (60, 2)], [((48, 60), 4), ((48, 62), 4)]))
    assert band.mean_leap(found).tolist() == pytest.approx([8 / 3, 2])
    assert band.repeated_notes(found).tolist() == pytest.approx([1 / 3, 0])
    assert np.flatnonzero(band.intervals(found)[0]).tolist() == [8, 12, 16]


def test_leaps_do_not_cross_phrases():
    two = np.concatenate([phrase([(60, 16)]), phrase([(72, 16)])])
    assert band.mean_leap(read(two)).tolist() == [0]


def test_held_bar_lines():
    roll = phrase([(60, 12), (62, 8)], [(60, 16), (60, 16)], bars=2)
    assert band.held_bar_lines(read(roll)).tolist() == [1, 0]
    assert band.held_bar_lines(read(phrase([(60, 16)]))).tolist() == [0]


def test_histograms():
    found = read(phrase([(36, 1), (37, 3), (36, 4)]))
    assert band.lengths(found)[0][[0, 2, 3]] == pytest.approx([1 / 3] * 3)
    assert band.pitches(found)[0][:2] == pytest.approx([5 / 8, 3 / 8])


METRICS = (
    band.empty_bars,
    band.used_pitch_classes,
    band.qualified_notes,
    band.polyphonicity,
    band.rests,
    band.mean_leap,
    band.repeated_notes,
    band.held_bar_lines,
)


@pytest.mark.parametrize("metric", METRICS)
def test_silence_is_no_accident(metric):
    expected = float(metric in (band.empty_bars, band.rests))
    assert metric(read(SILENT)).tolist() == [expected] * 2


@given(
    st.lists(st.tuples(st.integers(48, 70), st.integers(1, 6)), min_size=1, max_size=5), st.integers(-12, 12)
)
def test_transposition_does_not_matter(notes, shift):
    here, there = read(phrase(notes, bars=2)), read(phrase([(p + shift, n) for p, n in notes], bars=2))
    for metric in METRICS:
        assert np.array_equal(metric(here), metric(there))


def test_scattered_notes_keep_what_sounds_and_lose_the_order():
    notes = read(phrase([((60, 64), 4), (62, 4), (None, 8)], [(48, 16)]))
    random = scattered(notes)
    assert np.array_equal(band.pitches(random), band.pitches(notes))
    assert np.array_equal(np.sort(random.sounding, axis=2), np.sort(notes.sounding, axis=2))
    assert band.qualified_notes(random).tolist() == [0, 0]
    assert not np.array_equal(random.sounding, notes.sounding)


def test_real_chorales():
    """The 3,383 bars of the training split in which all four voices sound throughout."""
    bars = chorales(1)
    found = read(bars[(bars > 0).any(axis=4).all(axis=(1, 2, 3))])
    assert found.phrases == 3383
    assert band.used_pitch_classes(found) == pytest.approx([2.97, 3.03, 3.26, 3.78], abs=0.006)
    legacy = band.used_pitch_classes(found, "musegan-legacy")
    assert legacy == pytest.approx([1.50, 1.55, 1.63, 1.98], abs=0.006)
    assert band.qualified_notes(found).mean() == pytest.approx(0.974, abs=0.005)
