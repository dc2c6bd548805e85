from __future__ import annotations

from symusic import Score, TimeSignature

from otonoha.music.markers import pickup
from otonoha.music.silence import without_silence
from otonoha.music.tracks import track_of

TPQ = 4
BAR = 16


def song(onsets: list[int], lengths: list[int] | None = None) -> Score:
    score = Score(TPQ)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.tracks.append(track_of(onsets, lengths or [4] * len(onsets), [60 + i for i in range(len(onsets))]))
    return score


def onsets(score: Score) -> list[int]:
    return [n.time for n in score.tracks[0].notes]


def test_bars_before_the_first_note_are_cut():
    assert onsets(without_silence(song([3 * BAR, 3 * BAR + 4]))) == [0, 4]


def test_an_upbeat_stays_an_upbeat():
    cut = without_silence(song([2 * BAR + 12, 3 * BAR]))
    assert onsets(cut) == [0, 4]
    assert pickup(cut) == 1


def test_a_short_rest_at_the_start_is_music():
    cut = without_silence(song([BAR + 4, BAR + 8]))
    assert onsets(cut) == [4, 8]
    assert pickup(cut) == 0


def test_one_silent_bar_is_kept_and_more_are_cut():
    assert onsets(without_silence(song([0, 2 * BAR]))) == [0, 2 * BAR]
    assert onsets(without_silence(song([0, 5 * BAR]))) == [0, 2 * BAR]
    assert onsets(without_silence(song([0, 5 * BAR]), keep=0)) == [0, BAR]


def test_a_held_note_is_not_silence():
    held = song([0, 5 * BAR], [5 * BAR, 4])
    assert onsets(without_silence(held)) == [0, 5 * BAR]


def test_a_metre_stated_in_a_cut_bar_holds_from_the_next():
    score = song([0, 4 * BAR])
    score.time_signatures.append(TimeSignature(2 * BAR, 3, 4))
    cut = without_silence(score, keep=1)
    assert [(m.time, m.numerator) for m in cut.time_signatures] == [(0, 4), (2 * BAR, 3)]


def test_silence_alone_and_nothing_stay_as_they_are():
    assert without_silence(Score(TPQ)).note_num() == 0
    original = song([3 * BAR])
    without_silence(original)
    assert onsets(original) == [3 * BAR]  # the argument is left alone
