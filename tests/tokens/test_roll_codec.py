"""The roll codec: round trips, bars and pick-ups, families of instruments, classes, and what it refuses."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from symusic import Score, TextMeta, TimeSignature

from otonoha.data.corpus import corpus
from otonoha.music.tracks import track_of
from otonoha.tokens import codec, from_dict
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.roll import HOLD, ONSET, Roll
from otonoha.tokens.roll_tracks import program_of
from otonoha.tokens.show import show

ROLL = Roll()
DUET = Roll(("upper", "lower"), low=60, high=71)
BAND = Roll.band()
TRIO = Roll.band(("drums", "piano", "bass"), low=36, high=47, steps_per_bar=8)
BARS = st.sampled_from([("4/4", 16), ("3/4", 12), ("4/4", 96), ("6/8", 12), ("5/4", 15), ("2/4", 6)])


def a_score(*tracks, tpq: int = 4, metre: tuple[int, int] = (4, 4), upbeat: str = "") -> Score:
    """Tracks are (name, notes) with notes (onset, duration, pitch), or (name, notes, program, is_drum)."""
    score = Score(tpq)
    score.time_signatures.append(TimeSignature(0, *metre))
    if upbeat:
        score.markers.append(TextMeta(0, f"pickup:{upbeat}"))
    for name, notes, *kind in tracks:
        columns = np.array(notes, np.int64).reshape(-1, 3).T
        program, is_drum = kind or (0, False)
        score.tracks.append(track_of(*columns, name=name, program=program, is_drum=is_drum))
    return score


def choir(*notes, **options) -> Score:
    """Four named voices with the same notes."""
    return a_score(*((name, notes) for name in ROLL.tracks), **options)


def heard(score: Score) -> list[set]:
    return [{(n.time, n.duration, n.pitch) for n in t.notes} for t in score.tracks]


def classes(tracks: int, steps: int, pitches: int) -> st.SearchStrategy[np.ndarray]:
    """(M, T) classes with many holds; the last bar is never silent."""
    some = st.sampled_from([0, 1, 1, 1, 2, 3, pitches + 1])
    drawn = hnp.arrays(np.uint8, (tracks, steps), elements=some)
    return drawn.map(lambda c: np.concatenate([c[:, :-1], np.full((tracks, 1), 2, np.uint8)], axis=1))


# Round trips


@settings(max_examples=60, deadline=None)
@given(st.data(), BARS)
def test_lines_survive_the_way_to_a_score_and_back(data, bars):
    metre, steps = bars
    roll = Roll(DUET.tracks, steps_per_bar=steps, low=60, high=71, metre=metre)
    rolls = roll.rolls_of(data.draw(classes(2, 2 * steps, 12)))
    tokens = roll.from_array(rolls.swapaxes(0, 1))
    score = roll.decode(tokens)
    assert roll.encode(score) == tokens
    assert (roll.array(tokens).swapaxes(0, 1) == rolls).all()
    assert tokens.clock.tolist() == pytest.approx(
        [float(Fraction(metre) * 4 * k / steps) for k in range(2 * steps)]
    )
    assert [score.time_signatures[0].numerator, score.time_signatures[0].denominator] == [
        int(part) for part in metre.split("/")
    ]


def tidied(states: np.ndarray, drum: bool) -> np.ndarray:
    """(T, P) states as the slowest of loops would have them: holds that hold nothing begin; strokes have no hold."""
    result = states.copy()
    for t, p in np.argwhere(states == HOLD):
        result[t, p] = 0 if drum else HOLD if t and result[t - 1, p] else ONSET
    return result


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, (2, 3, 8, 12), elements=st.sampled_from([0, 0, 1, 2, 2])))
def test_bands_survive_the_way_to_a_score_and_back(rolls):
    rolls[-1, 1, -1, 3] = ONSET
    tokens = TRIO.from_array(rolls)
    again = TRIO.encode(TRIO.decode(tokens))
    for name in TRIO.tracks:
        assert (again.streams[name] == tidied(tokens.streams[name], name == "drums")).all()
    assert TRIO.encode(TRIO.decode(again)) == again
    assert TRIO.from_array(TRIO.array(again)) == again


NOTES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 40), st.integers(36, 47)), min_size=1, max_size=20
)


@settings(max_examples=60, deadline=None)
@given(NOTES, st.integers(0, 15))
def test_encoding_is_what_a_loop_over_notes_would_paint(notes, upbeat):
    """Ticks are eighths of a beat of which the grid has two; the first bar is filled up in front."""
    score = a_score(("piano", notes), tpq=4, upbeat=f"{upbeat}/4" if upbeat else "")
    painted = np.zeros((200, 12), np.uint8)
    lead = 16 - upbeat if upbeat else 0
    placed = [((t + lead + 1) // 2, (t + d + lead + 1) // 2, p - 36) for t, d, p in notes]
    for begin, end, p in placed:
        painted[begin : max(end, begin + 1), p] = HOLD
    for begin, _, p in placed:
        painted[begin, p] = ONSET
    tokens = TRIO.encode(score)
    length = len(tokens)
    assert length % 8 == 0
    assert painted[length - 8 : length].any()
    assert not painted[length:].any()
    assert (tokens.streams["piano"] == painted[:length]).all()


@settings(max_examples=80, deadline=None)
@given(classes(2, 32, 12))
def test_classes_and_rolls(drawn):
    rolls = DUET.rolls_of(drawn)
    assert rolls.shape == (2, 2, 16, 12)
    again = DUET.lines_of(rolls)
    assert (DUET.rolls_of(again) == rolls).all()
    for line, cleaned in zip(drawn.tolist(), again.tolist()):
        sounds = False
        for before, after in zip(line, cleaned):
            sounds = before >= 2 or (sounds and before == 1)
            assert after == (before if sounds else 0)


def test_classes_of_any_number_of_axes():
    drawn = np.random.default_rng(0).integers(0, 14, (3, 5, 2, 32))
    rolls = DUET.rolls_of(drawn)
    assert rolls.shape == (3, 5, 2, 2, 16, 12)
    assert (rolls[2, 4] == DUET.rolls_of(drawn[2, 4])).all()
    assert (DUET.lines_of(rolls)[1, 3] == DUET.lines_of(rolls[1, 3])).all()


def test_what_is_held_into_a_phrase_begins_there():
    tokens = DUET.encode(a_score(("upper", [(0, 20, 60), (20, 12, 62)]), ("lower", [])))
    second = DUET.array(tokens)[1:].swapaxes(0, 1)
    assert DUET.lines_of(second)[0].tolist() == [2, 1, 1, 1, 4, *[1] * 11]
    cut = tokens.slice(16)
    assert heard(DUET.decode(cut))[0] == {(0, 480, 60), (480, 1440, 62)}
    assert DUET.units(tokens) == 2
    assert DUET.units(cut) == 1


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, (2, 3, 8, 12), elements=st.sampled_from([0, 0, 0, 1, 2])))
def test_transposition_there_and_back_but_drums_stay(rolls):
    tokens = TRIO.from_array(rolls)
    shifts = TRIO.transpositions(tokens)
    assert 0 in shifts
    for k in shifts:
        moved = TRIO.transpose(tokens, k)
        assert TRIO.transpose(moved, -k) == tokens
        assert (moved.streams["drums"] == tokens.streams["drums"]).all()
        assert TRIO.units(moved) == TRIO.units(tokens)
    up = TRIO.transpose(tokens, shifts[-1])
    before, after = heard(TRIO.decode(tokens))[1:], heard(TRIO.decode(up))[1:]
    assert [{(t, d, p + shifts[-1]) for t, d, p in notes} for notes in before] == after
    with pytest.raises(ValueError, match="leave the range 36 … 47"):
        TRIO.transpose(tokens, shifts[-1] + 1)


def test_transpositions_are_as_many_as_there_is_room_for():
    tokens = DUET.encode(a_score(("upper", [(0, 4, 70)]), ("lower", [(0, 4, 63)])))
    assert DUET.transpositions(tokens) == range(-3, 2)
    assert DUET.transpositions(tokens, low=62, high=70) == range(-1, 1)
    assert TRIO.transpositions(TRIO.from_array(np.zeros((1, 3, 8, 12)))) == range(1)
    window = DUET.array(tokens)
    assert (DUET.shifted(window, -3) == DUET.array(DUET.transpose(tokens, -3))).all()
    assert not DUET.shifted(window, 99).any()


# Bars


def test_a_pickup_is_filled_up_in_front_and_the_last_bar_behind():
    tokens = ROLL.encode(choir((0, 4, 60), (4, 8, 62), upbeat="1"))
    assert len(tokens) == 32
    soprano = ROLL.lines_of(ROLL.array(tokens).swapaxes(0, 1))[0]
    assert soprano.tolist() == [*[0] * 12, 26, 1, 1, 1, 28, *[1] * 7, *[0] * 8]
    assert tokens.clock[[0, 1, 31]].tolist() == [0, 0.25, 7.75]


def test_a_short_first_metre_is_a_pickup():
    score = choir((0, 4, 60), (4, 8, 62), metre=(1, 4))
    score.time_signatures.append(TimeSignature(4, 4, 4))
    assert ROLL.encode(score) == ROLL.encode(choir((0, 4, 60), (4, 8, 62), upbeat="1"))


def test_other_metres_are_refused_or_cut_anew():
    waltz = choir((0, 4, 60), (4, 12, 62), (16, 12, 64), metre=(3, 4), upbeat="1")
    with pytest.raises(
        ValueError,
        match=r"^only bars of 4/4 are known here, the score is in 3/4; "
        r".* with --metre 3/4 --steps-per-bar 12, or --regrid, which .* of 4/4",
    ) as refused:
        ROLL.encode(waltz)
    assert "\n" not in str(refused.value)
    regridded = Roll(regrid=True).encode(waltz)
    bars = Roll(regrid=True).array(regridded)[:, 0]
    assert (np.argwhere(bars == ONSET)[:, :2] == [[0, 12], [1, 0], [1, 12]]).all()
    own = Roll(metre="3/4", steps_per_bar=12)
    assert (np.argwhere(own.array(own.encode(waltz))[:, 0] == ONSET)[:, :2] == [[0, 8], [1, 0], [2, 0]]).all()


def test_a_change_of_metre_is_named_with_its_place():
    score = choir((0, 4, 60), (16, 4, 60), (40, 4, 62))
    score.time_signatures.append(TimeSignature(32, 6, 8))
    with pytest.raises(ValueError, match=r"6/8 from quarter note 8 on; a model .* with --regrid"):
        ROLL.encode(score)
    score.time_signatures[-1] = TimeSignature(400, 6, 8)  # nothing sounds there
    assert len(ROLL.encode(score)) == 48


def test_alla_breve_counts_as_common_time_but_six_eighths_are_no_waltz():
    assert ROLL.encode(choir((0, 4, 60), metre=(2, 2))) == ROLL.encode(choir((0, 4, 60)))
    with pytest.raises(ValueError, match="6/8"):
        Roll(metre="3/4", steps_per_bar=12).encode(choir((0, 4, 60), metre=(6, 8)))


def test_what_is_finer_than_the_grid_is_rounded():
    triplets = [(0, 160, 60), (160, 160, 62), (320, 160, 64), (480, 10, 65), (490, 110, 67)]
    tokens = DUET.encode(a_score(("upper", triplets), ("lower", []), tpq=480))
    line = DUET.lines_of(DUET.array(tokens).swapaxes(0, 1))[0]
    assert line[:6].tolist() == [2, 4, 1, 6, 9, 0]  # of the two notes at the fifth step the higher stays


def test_phrases():
    tokens = ROLL.encode(choir((64, 4, 60), (130, 4, 62)))  # bars 4 and 8 of nine
    assert ROLL.phrases(tokens, 2).tolist() == [3, 4, 7]
    assert ROLL.phrases(tokens, 10).tolist() == []
    with pytest.raises(ValueError, match="a phrase has 1 bar or more, not 0"):
        ROLL.phrases(tokens, 0)


def test_a_piece_of_a_bar_is_filled_up():
    tokens = ROLL.encode(choir((0, 32, 60)))
    part = tokens.slice(4, 20)
    assert ROLL.array(part).shape == (1, 4, 16, 46)
    assert ROLL.array(tokens.slice(0, 20)).shape == (2, 4, 16, 46)
    assert not ROLL.array(tokens.slice(0, 20))[1, :, 4:].any()


# Who plays what


def test_voices_are_taken_by_name_in_any_order_or_sorted_by_pitch():
    parts = [
        ("Bass", [(0, 4, 40)]),
        ("tenor ", [(0, 4, 71)]),
        ("SOPRANO", [(0, 4, 50)]),
        ("Alto", [(0, 4, 60)]),
    ]

    def pitches(score):
        return [int(np.flatnonzero(ROLL.encode(score).streams[n][0])[0]) + 36 for n in ROLL.tracks]

    assert pitches(a_score(*parts)) == [50, 60, 71, 40]
    assert pitches(a_score(*((str(i), notes) for i, (_, notes) in enumerate(parts)))) == [71, 60, 50, 40]
    chords = [(0, 4, p) for p in (40, 50, 60, 71)]
    assert pitches(a_score(("organ", chords), ("beat", [(0, 4, 38)], 0, True))) == [71, 60, 50, 40]


def test_a_named_voice_may_be_silent_and_empty_tracks_do_not_count():
    score = choir((0, 4, 60))
    score.tracks[1].notes.clear()
    score.tracks.append(track_of(*np.zeros((3, 0), np.int64), name="alto"))
    score.tracks.append(track_of(*np.zeros((3, 0), np.int64), name="organ"))
    assert not ROLL.encode(score).streams["alto"].any()


def test_a_band_is_gathered_by_families():
    score = a_score(
        ("fretless", [(0, 4, 40)], 35, False),
        ("kit", [(0, 4, 38), (4, 8, 36)], 0, True),
        ("nylon", [(0, 4, 60)], 24, False),
        ("epiano", [(0, 4, 61)], 4, False),
        ("organ", [(0, 4, 62)], 19, False),
        ("flute", [(0, 4, 72)], 73, False),
        ("violins", [(0, 4, 73)], 48, False),
        ("Piano", [(0, 4, 74)], 73, False),
    )
    tokens = BAND.encode(score)
    found = {n: (np.flatnonzero(tokens.streams[n].any(axis=0)) + 24).tolist() for n in BAND.tracks}
    assert found == {
        "bass": [40],
        "drums": [36, 38],
        "guitar": [60],
        "piano": [61, 62, 74],
        "strings": [72, 73],
    }
    assert not (tokens.streams["drums"] == HOLD).any()
    decoded = BAND.decode(tokens)
    assert [t.program for t in decoded.tracks] == [33, 0, 25, 0, 48]
    assert [t.is_drum for t in decoded.tracks] == [False, True, False, False, False]
    assert [t.name for t in decoded.tracks] == list(BAND.tracks)


def test_bands_may_lack_tracks_and_fold_what_is_out_of_range():
    score = a_score(("b", [(0, 4, 12), (4, 4, 127)], 33, False), ("d", [(0, 4, 35), (4, 4, 110)], 0, True))
    tokens = BAND.encode(score)
    assert (np.flatnonzero(tokens.streams["bass"].any(axis=0)) + 24).tolist() == [24, 103]
    assert (np.flatnonzero(tokens.streams["drums"].any(axis=0)) + 24).tolist() == [35]
    assert not tokens.streams["piano"].any()


def test_tracks_of_a_band_may_have_any_names():
    pop = Roll.band(("melody", "bridge", "piano"))
    score = a_score(("MELODY", [(0, 4, 72)]), ("BRIDGE", [(0, 4, 64)]), ("PIANO", [(0, 4, 48), (0, 4, 52)]))
    assert [int(s.any(axis=0).sum()) for s in pop.encode(score).streams.values()] == [1, 1, 2]
    with pytest.raises(
        ValueError, match=r"'Sax' \(program 65\) fits none of the tracks melody, bridge, piano"
    ):
        pop.encode(a_score(("Sax", [(0, 4, 72)], 65, False)))
    with pytest.raises(ValueError, match=r"'kit' \(drums\) fits none"):
        pop.encode(a_score(("kit", [(0, 4, 36)], 0, True)))


def test_programs_fit_the_names():
    assert {program_of(name, lines=True) for name in ROLL.tracks} == {52}
    names = ("violin 1", "viola", "violoncello", "double bass", "bass", "bassoon", "thing")
    assert [program_of(n, lines=False) for n in names] == [40, 41, 42, 43, 33, 70, 0]


def test_double_stops_are_refused_or_the_highest_is_kept():
    score = choir((0, 4, 60), (4, 4, 62))
    score.tracks[0] = track_of([0, 0, 4], [8, 4, 4], [55, 60, 62], name="soprano")
    with pytest.raises(
        ValueError, match=r"track 'soprano' has notes that sound together.* in Python Roll\(sky"
    ):
        ROLL.encode(score)
    sky = Roll(skyline=True)
    assert (
        sky.array(sky.encode(score))[0, 0] == ROLL.array(ROLL.encode(choir((0, 4, 60), (4, 4, 62))))[0, 0]
    ).all()
    unnamed = a_score(*((str(i), [(0, 4, p), (0, 4, p - 2)]) for i, p in enumerate((40, 50, 60, 70))))
    assert [int(np.flatnonzero(s[0])[0]) + 36 for s in sky.encode(unnamed).streams.values()] == [
        70,
        60,
        50,
        40,
    ]


def test_a_played_line_may_overlap_by_less_than_half_a_step():
    score = a_score(("upper", [(0, 530, 60), (480, 480, 62)]), ("lower", []), tpq=480)
    assert DUET.lines_of(DUET.array(DUET.encode(score)).swapaxes(0, 1))[0, :8].tolist() == [
        2,
        1,
        1,
        1,
        4,
        1,
        1,
        1,
    ]


# What is refused


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score(4), "no notes to encode"),
        (choir(), "no notes to encode"),
        (choir((0, 0, 60)), "no notes to encode"),
        (a_score(("kit", [(0, 4, 36)], 0, True)), "nothing but drums; the tracks soprano, .* are lines"),
        (choir((0, 4, 90)), "pitches 90 … 90, this roll holds 36 … 81"),
        (a_score(("bass", [(0, 4, 50)])), "4 tracks of one line each .* the score has 1 voice$"),
        (a_score(*((n, [(0, 4, 50)]) for n in (*ROLL.tracks, "alto"))), "the score has 5 voices"),
        (a_score(*((n, [(0, 4, 50)]) for n in (*ROLL.tracks, "flute"))), "the score has 5 voices"),
        (choir((0, 4, 60), metre=(7, 8)), "in 7/8"),
        (choir((0, 4, 60), (10**6, 4, 60)), "62,501 bars, a roll holds at most"),
    ],
)
def test_music_that_does_not_fit_is_one_clear_line(score, text):
    with pytest.raises(ValueError, match=text) as refused:
        ROLL.encode(score)
    assert "\n" not in str(refused.value)


def test_a_band_without_notes_is_refused():
    for score in (Score(4), a_score(("piano", [])), a_score(("kit", [(0, 4, 120)], 0, True))):
        with pytest.raises(ValueError, match="no notes to encode"):
            BAND.encode(score)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tracks": ()}, "1 … 32 different names, got none"),
        ({"tracks": ("a", "A")}, "different names"),
        ({"steps_per_bar": 0}, "steps_per_bar must be 1"),
        ({"steps_per_bar": 18}, "4/4 has 4 beats: steps_per_bar must be a multiple of that, got 18"),
        ({"low": 80, "high": 60}, "0 <= low <= high"),
        ({"metre": "4/5"}, "metre"),
        ({"tracks": ("drums",)}, "Roll.band"),
        ({"lines": False, "low": 60, "high": 65}, "octave"),
        ({"lines": False, "skyline": True}, "no effect"),
        ({"regridd": True}, "did you mean 'regrid'"),
    ],
)
def test_impossible_options(options, text):
    with pytest.raises(ValueError, match=text):
        codec("roll", **options)


@pytest.mark.parametrize(
    ("metre", "beats"), [("4/4", 4), ("3/4", 3), ("6/8", 2), ("12/8", 4), ("3/8", 3), ("2/2", 2)]
)
def test_beats_of_a_bar(metre, beats):
    assert Roll(metre=metre, steps_per_bar=12).beats == beats


def test_foreign_tokens_and_arrays_are_refused():
    tokens = ROLL.encode(choir((0, 4, 60)))
    for verb in (DUET.decode, DUET.array, DUET.units, DUET.transpositions):
        with pytest.raises(ValueError, match="of codec 'roll-"):
            verb(tokens)
    with pytest.raises(ValueError, match=r"shape \('bars', 2, 16, 12\), got \(2, 16, 12\)"):
        DUET.from_array(np.zeros((2, 16, 12)))
    with pytest.raises(ValueError, match=r"0 \(silent\), 1 \(onset\) and 2 \(hold\) only"):
        DUET.from_array(np.full((1, 2, 16, 12), 3))
    with pytest.raises(ValueError, match="17 steps are no whole bars of 16"):
        DUET.rolls_of(np.zeros((2, 17), int))
    for verb in (TRIO.lines_of, TRIO.rolls_of):
        with pytest.raises(ValueError, match="lines=False"):
            verb(np.zeros((3, 8, 12), int))
    with pytest.raises(ValueError, match="no grammar"):
        ROLL.grammar()


# Identity, and what people see


def test_identity():
    assert isinstance(ROLL, Codec)
    assert from_dict({"name": "roll", **BAND.to_dict()}) == BAND
    assert len({ROLL.fingerprint, BAND.fingerprint, DUET.fingerprint, Roll(regrid=True).fingerprint}) == 4
    assert [(s.size, s.width, s.base) for s in BAND.vocab.symbols] == [(3, 84, 24)] * 5
    tokens = ROLL.encode(choir((0, 4, 60)))
    assert all(s.shape == (16, 46) and s.dtype == np.uint8 for s in tokens.streams.values())
    assert isinstance(tokens, Tokens)


def test_a_roll_in_words():
    lines = show(
        TRIO, a_score(("piano", [(2, 4, 36), (2, 4, 40), (4, 8, 47)]), ("kit", [(0, 2, 38)], 0, True))
    ).splitlines()
    assert lines[0].endswith("8 positions")
    assert lines[1].split() == ["quarter", "note", "bar", "beat", "drums", "piano", "bass"]
    assert [line.split() for line in lines[3:6]] == [
        ["0", "1", "1", "38", "rest", "rest"],
        ["1/2", "1", "1", "1/2", "rest", "C2", "E2", "rest"],
        ["1", "1", "2", "rest", "-C2", "-E2", "B2", "rest"],
    ]


def refusal(score: Score) -> str:
    """Why the score is refused; "" if it is not."""
    try:
        ROLL.encode(score)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_real_chorales_as_lines():
    scores = [p.score() for p in corpus("bach-chorales").train]
    regrid = Roll(regrid=True)
    for score in scores:
        tokens = regrid.encode(score)
        assert regrid.encode(regrid.decode(tokens)) == tokens
        rolls = regrid.array(tokens).swapaxes(0, 1)
        assert (regrid.rolls_of(regrid.lines_of(rolls)) == rolls).all()
        assert 0.98 < regrid.units(tokens) / sum(len(t.notes) for t in score.tracks) <= 1
    reasons = [refusal(score) for score in scores]
    assert all("only bars of 4/4 are known" in r for r in reasons if r)
    assert 0.8 < reasons.count("") / len(scores) < 0.9


def test_real_songs_as_a_band():
    home = os.environ.get("OTONOHA_DATA", "")
    files = sorted(Path(home, "pop909", "midi").glob("*.mid"))[:10] if home else []
    if not files:
        pytest.skip("OTONOHA_DATA with pop909 is not at hand")
    pop = Roll.band(("melody", "bridge", "piano"), steps_per_bar=48, regrid=True)
    for file in files:
        score = Score(str(file))
        tokens = pop.encode(score)
        assert pop.encode(pop.decode(tokens)) == tokens
        assert 0.9 < pop.units(tokens) / sum(len(t.notes) for t in score.tracks) <= 1
