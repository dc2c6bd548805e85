"""Words under notes, phones in time, pitch on the notes: what needs neither eSpeak NG nor WORLD."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Score, Tempo, TextMeta

from otonoha.data.sung import LEAD, SINGERS, Request, jobs, sung_score
from otonoha.data.sung_fit import (
    BREATH,
    GAP,
    MOST,
    Counted,
    Tone,
    deal,
    grouped,
    own_words,
    phrases,
    take,
    tones_of,
)
from otonoha.data.sung_texts import LICENCE, UNSPACED, VOICES, Said, line, lines_of
from otonoha.data.sung_voice import CONSONANTS, DRIFT, GLIDE, HANG, VIBRATO, contour, schedule, source_times
from otonoha.io.speech import Phone
from otonoha.music.piece import Piece
from otonoha.music.time import seconds
from otonoha.music.tracks import notes, track_of


@st.composite
def lines_of_tones(draw: st.DrawFn) -> list[Tone]:
    count = draw(st.integers(1, 14))
    tones, at = [], draw(st.floats(0.1, 1))
    for _ in range(count):
        at += draw(st.sampled_from([0.0, 0.0, 0.05, 0.4]))
        length = draw(st.floats(0.1, 1.5))
        tones.append(Tone(at, at + length, draw(st.integers(40, 80))))
        at += length
    return tones


@settings(deadline=None)
@given(lines_of_tones(), st.integers(1, 30))
def test_notes_are_dealt_out_to_all_vowels_and_none_is_lost(tones, vowels):
    groups = deal(tones, vowels)
    assert len(groups) == vowels
    assert all(groups)
    flat = [tone for group in groups for tone in group]
    assert all(a.end <= b.onset + 1e-9 for a, b in itertools.pairwise(flat))
    assert sum(t.seconds for t in flat) == pytest.approx(sum(t.seconds for t in tones))
    assert {t.onset for t in tones} <= {t.onset for t in flat}
    pitch_at = {t.onset: t.pitch for t in tones}
    starts = np.array(sorted(pitch_at))
    for tone in flat:
        assert tone.pitch == pitch_at[starts[np.searchsorted(starts, tone.onset, side="right") - 1]]


def test_long_notes_and_notes_after_rests_begin_a_vowel():
    tones = [Tone(0, 1, 60), Tone(1, 1.2, 62), Tone(1.2, 1.4, 64), Tone(1.4, 2.4, 65), Tone(2.8, 2.9, 67)]
    assert [g[0].pitch for g in deal(tones, 3)] == [60, 65, 67]
    assert [g[0].pitch for g in deal(tones, 2)] == [60, 67]
    with pytest.raises(ValueError, match="0 notes cannot be dealt out to 3 vowels"):
        deal([], 3)


@settings(deadline=None)
@given(lines_of_tones())
def test_phrases_leave_time_to_breathe(tones):
    found = phrases([(tone,) for tone in tones])
    assert [t.pitch for phrase in found for group in phrase for t in group] == [t.pitch for t in tones]
    for phrase, following in itertools.pairwise(found):
        rest = following[0][0].onset - phrase[-1][-1].end
        assert rest >= min(BREATH, 0.3 * phrase[-1][-1].seconds) - 1e-9
    for phrase in found:
        assert len(phrase) == 1 or phrase[-1][-1].end - phrase[0][0].onset <= MOST + 1e-6
        assert all(b[0].onset - a[-1].end < GAP for a, b in itertools.pairwise(phrase))


def song(*syllables: tuple[str, int], tpq: int = 480) -> Score:
    """A score at 60 a minute with these lyrics, each with as many quarters, one note a quarter."""
    score = Score(tpq)
    score.tempos.append(Tempo(0, 60.0))
    count = sum(n for _, n in syllables)
    onset = tpq * np.arange(count)
    track = track_of(onset, np.full(count, tpq), 60 + np.arange(count) % 5, name="voice")
    at = 0
    for text, quarters in syllables:
        if text:
            track.lyrics.append(TextMeta(at * tpq, text))
        at += quarters
    score.tracks.append(track)
    return score


def test_the_words_of_a_score_take_their_notes_along():
    score = song(("", 1), ("1.  Wun-", 1), ("der-", 2), ("schön!", 1), ("te‿est", 1), ("(2)", 1), ("ab-", 1))
    words = own_words(score, tones_of(score))
    assert [w.said.written for w in words] == ["Wunderschön!", "te est"]
    assert [w.said.spoken for w in words] == ["Wunderschön", "te est"]
    assert [len(g) for g in words[0].groups] == [1, 2, 1]
    assert words[0].groups[0][0].onset == 1.0  # the first note has no words
    assert [len(g) for g in grouped(words[0], 3)] == [1, 2, 1]
    assert [len(g) for g in grouped(words[0], 2)] == [1, 3]  # a mute syllable goes with the one before
    assert len(grouped(words[0], 5)) == 5
    assert own_words(song(("", 4)), tones_of(song(("", 4)))) == []


def test_grace_notes_are_left_out():
    score = Score(480)
    score.tempos.append(Tempo(0, 60.0))
    score.tracks.append(
        track_of(np.array([0, 480, 500, 980]), np.array([480, 20, 600, 20]), np.array([60, 61, 62, 63]))
    )
    assert [(t.onset, t.pitch) for t in tones_of(score)] == [(0.0, 60), (pytest.approx(500 / 480), 62)]


def test_words_are_taken_until_the_notes_are_full():
    stream = (Counted(Said(str(n), str(n)), n // 4, 2, n % 4 == 3) for n in itertools.count())
    held: list[Counted] = []
    assert [w.said.written for w in take(stream, held, 8)] == ["0", "1", "2", "3"]
    assert [w.said.written for w in take(stream, held, 3)] == ["4"]  # a second one would be too many
    assert [w.said.written for w in take(stream, held, 12)] == ["5", "6", "7", "8", "9", "10"]
    assert [w.said.written for w in take(stream, held, 1)] == ["11"]


# -- in time ----------------------------------------------------------------------------------------------


@st.composite
def spoken(draw: st.DrawFn) -> list[Phone]:
    names = draw(st.lists(st.sampled_from(["a", "iː", "n̩", "t", "s", ""]), min_size=1, max_size=12))
    names[draw(st.integers(0, len(names) - 1))] = "a"
    edges = np.cumsum([0.0, *draw(st.lists(st.floats(0.02, 0.3), min_size=len(names), max_size=len(names)))])
    return [Phone(n, float(a), float(b), 0) for n, a, b in zip(names, edges, edges[1:])]


@settings(deadline=None)
@given(spoken(), lines_of_tones(), st.floats(0, 1))
def test_vowels_begin_with_their_notes_and_nothing_overlaps(phones, tones, free):
    vowels = [i for i, p in enumerate(phones) if p.is_vowel]
    groups = deal(tones, len(vowels))
    spans = schedule(phones, groups, free * tones[0].onset)
    assert (spans[:, 1] >= spans[:, 0] - 1e-9).all()
    assert (spans[1:, 0] >= spans[:-1, 1] - 1e-9).all()
    assert spans[0, 0] >= min(free * tones[0].onset, tones[0].onset) - 1e-9
    assert spans[-1, 1] <= tones[-1].end + HANG + 1e-9
    for number, (vowel, group) in enumerate(zip(vowels, groups)):
        assert spans[vowel, 0] == pytest.approx(group[0].onset)
        until = groups[number + 1][0].onset if number + 1 < len(groups) else group[-1].end
        rest = until - spans[vowel, 1]
        assert rest <= max(CONSONANTS * (until - group[0].onset), until - group[-1].end) + 1e-9
        if spans[vowel, 1] < group[-1].end:  # consonants took no more than they need
            behind = phones[vowel + 1 : vowels[number + 1] if number + 1 < len(vowels) else None]
            assert rest <= sum(p.end - p.start for p in behind) + 1e-9
    at = np.linspace(spans[0, 0], spans[-1, 1], 200)
    heard = source_times(phones, spans, at)
    assert (np.diff(heard) >= -1e-9).all()
    assert heard[0] == pytest.approx(phones[0].start)
    assert heard[-1] == pytest.approx(phones[-1].end)


def test_vowels_and_notes_must_be_as_many():
    with pytest.raises(ValueError, match="1 vowels cannot be sung to 2 groups"):
        schedule([Phone("a", 0, 1, 0)], [(Tone(0, 1, 60),), (Tone(1, 2, 60),)], 0)


@settings(deadline=None)
@given(lines_of_tones(), st.integers(0, 99))
def test_pitch_stays_within_20_cents_of_the_notes(tones, seed):
    assert VIBRATO[1] + DRIFT < 20
    at = np.arange(0, tones[-1].end, 0.005)
    hertz = contour(tones, at, np.random.default_rng(seed))
    for tone, following in itertools.zip_longest(tones, tones[1:]):
        until = following.onset - GLIDE if following else tone.end
        mine = hertz[(at >= tone.onset) & (at < until)]
        assert np.abs(1200 * np.log2(mine / 440) - 100 * (tone.pitch - 69)).max(initial=0) < 20
    both = [t.pitch for t in tones]
    assert np.log2(hertz.min() / 440) * 12 + 69 > min(both) - 0.2
    assert np.log2(hertz.max() / 440) * 12 + 69 < max(both) + 0.2


# -- texts and jobs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", VOICES)
def test_there_are_thousands_of_lines_in_every_language(language):
    assert lines_of(language) > 10_000
    found = {line(language, np.random.default_rng(seed)) for seed in range(50)}
    assert len(found) > 45
    for words in found:
        text = "".join(w.written for w in words)
        assert "|" not in text
        assert "{" not in text
        if language == "ja":
            assert all("぀" <= c <= "ヿ" for w in words for c in w.spoken), words
            assert all(w.glued for w in words[1:])
        else:
            assert text[0].isupper()
            assert not any(w.glued for w in words)
    assert (language in UNSPACED) == (language == "ja")
    assert "CC0" in LICENCE


def test_a_tune_is_made_fit_to_be_sung(tune):
    score = tune(3, notes=300)
    for seed in range(10):
        made, told = sung_score(score, 60, np.random.default_rng(seed), most=30, own=False)
        found = notes(made.tracks[0])
        times = seconds(made, found.onset)
        assert times[0] >= LEAD - 1e-6
        assert times[-1] < 30 + 3
        assert abs((int(found.pitch.min()) + int(found.pitch.max())) / 2 - 60) <= 3
        assert 0.5 < len(found) / (times[-1] - times[0]) < 4
        cut_from = notes(score.tracks[0]).pitch + int(told["shift"])
        assert any(
            (cut_from[i : i + len(found)] == found.pitch).all() for i in range(len(cut_from) - len(found) + 1)
        )
        assert float(told["offset"]) < float(told["total"])
    with pytest.raises(ValueError, match="it has no words"):
        sung_score(score, 60, np.random.default_rng(0), most=30, own=True)
    with pytest.raises(ValueError, match="fewer than 6 notes"):
        sung_score(tune(0, notes=3), 60, np.random.default_rng(0), most=30, own=False)


def test_an_excerpt_does_not_begin_within_a_word():
    score = song(*[("ha-", 1), ("lle-", 1), ("lu-", 1), ("ja", 1)] * 0, *[("a-", 3), ("men", 2)] * 30)
    for seed in range(12):
        made, _ = sung_score(score, 60, np.random.default_rng(seed), most=20, own=True)
        words = own_words(made, tones_of(made))
        assert {w.said.written for w in words} == {"amen"}


def test_languages_take_turns_and_own_words_count(tune):
    german = song(*[("Ro-", 1), ("se", 1)] * 10)
    pieces = [("x", Piece(f"p{i}", "train", load_score=lambda i=i: tune(i, notes=30))) for i in range(3)]
    pieces.append(("x", Piece("lied", "test", load_score=lambda: german, labels={"language": "de"})))
    asked = Request(("x",), hours=0.06, languages=("de", "ja"))
    found = list(jobs(asked, pieces, []))
    assert [j.row["language"] for j in found[:4]] == ["de", "ja", "de", "ja"]
    assert [j.row["words"] for j in found[:5]] == ["own", "made", "made", "made", "own"]
    assert found[0].row["split"] == "test"
    assert {j.row["artist"] for j in found} <= set(SINGERS)
    few = list(jobs(Request(("x",), hours=0.02, languages=("de", "ja")), pieces, []))
    assert [(j.key, j.asked) for j in few] == [(j.key, j.asked) for j in found[: len(few)]]
    assert len(few) < len(found)


def test_pieces_that_cannot_be_sung_are_told_once(tune):
    bad = Piece("empty", "train", load_score=lambda: tune(0, notes=0), labels={"language": "en"})
    good = Piece("a", "train", load_score=lambda: tune(1))
    skipped: list = []
    found = list(jobs(Request(("x",), hours=0.03), [("x", bad), ("x", good)], skipped))
    assert len(found) >= 2
    assert [name for name, _ in skipped] == ["empty"]
    with pytest.raises(ValueError, match="none of the 1 pieces can be sung; empty:"):
        list(jobs(Request(("x",)), [("x", bad)], []))


def test_mistakes_are_one_line():
    for options, reason in (
        ({"languages": ("en", "jp")}, "unknown language to sing 'jp'"),
        ({"voices": ("f9",)}, "unknown voice 'f9'"),
        ({"languages": ()}, "nothing to sing"),
        ({"hours": 0}, "hours must be above 0"),
        ({"most": 1}, "most must lie in 5-600"),
    ):
        with pytest.raises(ValueError, match=reason):
            Request(("x",), **options)
