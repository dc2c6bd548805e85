"""The form of made-up pieces whose form is known, and what must not change it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score, Tempo, TextMeta, TimeSignature

from otonoha.music.form import ALIKE, Part, bar_features, sections, similarity
from otonoha.music.time import bar_table
from otonoha.music.tracks import Notes, notes, track_of, with_notes
from otonoha.tokens.events import Events, Header, Section

TPQ = 24
BAR = 4 * TPQ
Bar = list[tuple[int, int, int, int]]  # track, place, pitch, length


def bars(seed: int, count: int, *, beats: int = 4) -> list[Bar]:
    """Two tracks of random notes, no two bars alike."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        bar: Bar = [(0, 0, int(rng.integers(60, 80)), 12)]
        for track, low in ((0, 60), (1, 40)):
            places = np.sort(rng.choice(2 * beats, size=beats + 1, replace=False)) * (TPQ // 2)
            bar += [(track, int(p), int(rng.integers(low, low + 20)), 12) for p in places]
        made.append(sorted(set(bar)))
    return made


def piece(content: list[Bar], *, pickup: int = 0, beats: int = 4, tpq: int = TPQ) -> Score:
    """A score of these bars; `pickup` quarter notes before them, filled with one note."""
    score = Score(tpq)
    factor = tpq // TPQ
    score.time_signatures.append(TimeSignature(0, beats, 4))
    notes_of: list[list[tuple[int, int, int]]] = [[], []]
    if pickup:
        score.markers.append(TextMeta(0, f"pickup:{pickup}"))
        notes_of[0].append((0, pickup * TPQ, 72))
    for n, bar in enumerate(content):
        for track, place, pitch, length in bar:
            notes_of[track].append((pickup * TPQ + n * beats * TPQ + place, length, pitch))
    for name, found in zip(("high", "low"), notes_of):
        onset, length, pitch = np.array(found, np.int64).reshape(-1, 3).T
        score.tracks.append(track_of(onset * factor, length * factor, pitch, name=name))
    return score


def planned(plan: str, *, length: int = 8, seed: int = 0) -> list[Bar]:
    """Bars of a plan such as AABA, each letter `length` bars, always the same."""
    made = {label: bars(100 * seed + ord(label), length) for label in plan}
    return [bar for label in plan for bar in made[label]]


MARKS = {"new": "", "exact": "=", "varied": "~"}


def word(parts: list[Part]) -> str:
    return " ".join(f"{p.label}{p.bars}{MARKS[p.repeat]}" for p in parts)


def changed(content: list[Bar], share: float, seed: int = 1) -> list[Bar]:
    """Some pitches are others."""
    rng = np.random.default_rng(seed)
    return [[(t, p, q + 1 if rng.random() < share else q, n) for t, p, q, n in bar] for bar in content]


@pytest.mark.parametrize(
    ("plan", "form"),
    [
        ("AABA", "A8 A8= B8 A8="),
        ("ABAB", "A8 B8 A8= B8="),
        ("ABACA", "A8 B8 A8= C8 A8="),
        ("AAB", "A8 A8= B8"),
        ("ABA", "A8 B8 A8="),
        ("AAAA", "A8 A8= A8= A8="),
        ("AAAAAA", "A8 A8= A8= A8= A8= A8="),
        ("ABCABC", "A24 A24="),
        ("ABCD", "A32"),
        ("A", "A8"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plans_of_literal_copies_are_found(plan, form, seed):
    assert word(sections(piece(planned(plan, seed=seed)))) == form


@pytest.mark.parametrize("length", [4, 5, 6, 7, 9, 12, 20])
def test_sections_of_any_length_are_found(length):
    found = sections(piece(planned("AABA", length=length)))
    assert word(found) == f"A{length} A{length}= B{length} A{length}="


def test_sixteen_bars_that_come_again_are_two_times_eight():
    assert word(sections(piece(planned("ABA", length=16)))) == "A8 B8 C16 A8= B8="


@given(st.text("ABCD", min_size=1, max_size=6), st.integers(0, 5), st.sampled_from([4, 8]))
@settings(max_examples=25, deadline=None)
def test_what_is_called_exact_is_literal_and_bars_add_up(plan, seed, length):
    content = planned(plan, length=length, seed=seed)
    found = sections(piece(content))
    assert sum(p.bars for p in found) == len(content)
    first: dict[str, int] = {}
    for part, at in zip(found, itertools.accumulate((p.bars for p in found), initial=0)):
        model = first.setdefault(part.label, at)
        same = content[model : model + part.bars] == content[at : at + part.bars]
        assert (part.repeat == "exact") == (same and model != at)
        assert (part.repeat == "new") == (model == at)
    if length == 8:  # two shorter sections may be told as one, and its half may be another
        assert sum(p.bars for p in found if p.repeat == "new") == length * len(set(plan))


def test_a_varied_repeat_is_varied_and_another_piece_is_new():
    a, b = bars(1, 8), bars(2, 8)
    assert word(sections(piece([*a, *b, *changed(a, 0.15)]))) == "A8 B8 A8~"
    assert word(sections(piece([*a, *a, *b, *changed(a, 0.15)]))) == "A8 A8= B8 A8~"
    assert word(sections(piece([*a, *b, *changed(a, 1.0)[::-1]]))) == "A24"


def test_one_other_length_of_a_note_makes_a_repeat_varied():
    a, b = bars(1, 8), bars(2, 8)
    other = [list(bar) for bar in a]
    other[5][0] = (*other[5][0][:3], 11)
    assert word(sections(piece([*a, *b, *other]))) == "A8 B8 A8~"


@pytest.mark.parametrize("shift", [-12, -5, 1, 2, 7])
def test_a_transposed_repeat_is_varied(shift):
    a, b = bars(1, 8), bars(2, 8)
    moved = [[(t, p, q + shift, n) for t, p, q, n in bar] for bar in a]
    assert word(sections(piece([*a, *b, *moved]))) == "A8 B8 A8~"


def test_a_transposition_counts_where_four_bars_hold_it():
    a = bars(1, 3)
    moved = [[(t, p, q + 2, n) for t, p, q, n in bar] for bar in a]
    score = piece([*a, *bars(2, 6), *moved])
    assert (similarity(score, up_to_transposition=True) == similarity(score)).all()


def moved_by(score: Score, semitones: int) -> Score:
    result = score.copy()
    for i, track in enumerate(score.tracks):
        found = notes(track)
        result.tracks[i] = with_notes(
            track, Notes(found.onset, found.duration, found.pitch + semitones, found.velocity)
        )
    return result


@given(st.sampled_from(["AABA", "ABACA", "ABCA"]), st.integers(-20, 20), st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_transposition_tempo_resolution_and_track_order_change_nothing(plan, semitones, factor):
    content = planned(plan)
    content[-8:] = changed(content[-8:], 0.1)
    found = sections(piece(content))
    assert sections(moved_by(piece(content), semitones)) == found
    assert sections(piece(content, tpq=TPQ * factor)) == found
    slow, turned = piece(content), piece(content)
    slow.tempos.append(Tempo(0, qpm=30.0 + factor))
    turned.tracks = turned.tracks[::-1]
    assert sections(slow) == found
    assert sections(turned) == found


@pytest.mark.parametrize("beats", [2, 3, 4, 5])
@pytest.mark.parametrize("pickup", [0, 1])
def test_metre_and_pickup(beats, pickup):
    a, b = bars(1, 8, beats=beats), bars(2, 8, beats=beats)
    score = piece([*a, *a, *b, *a], beats=beats, pickup=pickup)
    assert word(sections(score)) == "A8 A8= B8 A8="
    assert len(bar_table(score)) == 32 + pickup


def test_a_change_of_metre_divides_new_sections():
    score = piece(bars(3, 32))
    score.time_signatures.append(TimeSignature(16 * BAR, 2, 4))
    assert word(sections(score)) == "A16 B32"
    assert word(sections(piece(bars(3, 32)))) == "A32"


def test_bars_of_another_metre_are_not_literally_equal():
    content = [[(0, 0, 60, 12)], [(0, 0, 60, 12)]]
    score = piece(content)
    assert len(set(bar_features(score).literal.tolist())) == 1
    score.time_signatures.append(TimeSignature(BAR, 3, 4))
    assert len(set(bar_features(score).literal.tolist())) == 2


def test_nothing_one_bar_and_a_pickup_alone():
    assert sections(Score(TPQ)) == []
    assert sections(piece(bars(1, 1))) == [Part("A", 1, "new")]
    alone = piece([])
    alone.markers.append(TextMeta(0, "pickup:1"))
    alone.tracks.append(track_of([0], [TPQ], [60]))
    assert sections(alone) == []


def test_long_and_restless_pieces_keep_to_eight_labels():
    content = [bar for n in range(12) for bar in (*bars(n, 8), *bars(n, 8), *bars(50 + n, 9))]
    found = sections(piece(content))
    assert sum(p.bars for p in found) == len(content)
    assert {p.label for p in found} == set("ABCDEFGH")
    assert max(p.bars for p in found) <= 128
    assert all(p.repeat == "new" for p in found if p.label == "H")
    assert sections(piece(bars(9, 300)))[0].bars <= 128


def slow_likeness(one: Bar, two: Bar) -> float:
    """The formula, bar by bar."""

    def share(a: set, b: set) -> float:
        return 2 * len(a & b) / (len(a) + len(b))

    def chroma(bar: Bar) -> np.ndarray:
        return np.array([sum(n for _, _, q, n in bar if q % 12 == c) for c in range(12)], float)

    a, b = chroma(one), chroma(two)
    pitches = share({(p, q) for _, p, q, _ in one}, {(p, q) for _, p, q, _ in two})
    onsets = share({p for _, p, _, _ in one}, {p for _, p, _, _ in two})
    return 0.5 * pitches + 0.25 * onsets + 0.25 * float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_similarity_is_its_formula(seed):
    content = bars(seed, 6)
    content += changed(content[:3], 0.4, seed)
    slow = np.array([[slow_likeness(a, b) for b in content] for a in content])
    fast = similarity(piece(content))
    np.testing.assert_allclose(fast, slow, atol=1e-6)
    up = similarity(piece(content), up_to_transposition=True)
    assert (up == up.T).all()
    assert (up >= fast).all()
    assert up.max() <= 1.0


def test_silent_bars_are_alike_but_speak_for_no_repeat():
    a = bars(1, 8)
    score = piece([*a, *[[]] * 16, *bars(2, 1)])
    alike = similarity(score)
    assert (alike[8:24, 8:24] == 1).all()
    assert (alike[:8, 8:24] == 0).all()
    assert word(sections(score)) == "A25"


def test_unrelated_bars_are_well_below_the_threshold():
    alike = similarity(piece(bars(5, 60)))
    assert np.percentile(alike[np.triu_indices(60, 1)], 99) < ALIKE


def test_strict_copies_are_what_the_codec_can_tell_as_copies():
    a, b = bars(1, 8), bars(2, 8)
    score = piece([*a, *b, *a, *b])
    assert word(sections(score, strict=True)) == "A8 B8 A8= B8="
    score.tempos.append(Tempo(0, qpm=100.0))
    score.tempos.append(Tempo(20 * BAR, qpm=80.0))
    score.tracks[0].notes[-1].velocity = 33
    assert word(sections(score)) == "A8 B8 A8= B8="
    assert word(sections(score, strict=True)) == "A8 B8 A8~ B8~"


@pytest.mark.parametrize("plan", ["AABA", "ABACA", "AABB"])
def test_found_forms_are_headers_of_the_events_codec(plan):
    score = piece(planned(plan), pickup=1)
    form = tuple(Section(*part) for part in sections(score, strict=True))
    codec = Events()
    tokens = codec.encode(score, Header(form=form))
    assert codec.header(tokens).form == form
    again = codec.decode(tokens)
    assert [(n.time, n.pitch) for n in again.tracks[0].notes] == [
        (n.time, n.pitch) for n in score.resample(again.tpq, min_dur=0).tracks[0].notes
    ]


def test_a_thousand_bars():
    content = [bar for n in range(25) for bar in (*bars(n % 5, 20), *bars(30 + n, 20))]
    found = sections(piece(content))
    assert sum(p.bars for p in found) == 1000
    assert any(p.repeat == "exact" for p in found)
