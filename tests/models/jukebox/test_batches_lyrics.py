"""Lyrics of songs: from labels or from under the notes, with times where they are known; what a window sees."""

from __future__ import annotations

import numpy as np
import pytest
from codes_fakes import RATE, FakeCodec, piece
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Score, Tempo, TextMeta, Track

from otonoha.io.lrc import lrc_text, parse_lyrics
from otonoha.models.jukebox.batches_lyrics import (
    SILENT,
    Sung,
    character_times,
    plain,
    sung,
    timed,
    under_notes,
    words_of,
)
from otonoha.models.jukebox.batches_songs import songs
from otonoha.models.jukebox.codes_corpus import coded
from otonoha.models.jukebox.labels import lyric_window, sung_window
from otonoha.music.piece import Piece
from otonoha.tokens.lyrics import Lyrics
from otonoha.tokens.lyrics_jukebox import JukeboxLyrics

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
ABC = Lyrics()
TEXT = "abcdefghijklmnopqrst"
LRC = "[00:02.00]<00:02.00>one <00:04.00>two<00:06.00>\n[00:10.00]three\n[00:12.00]"


def ids(text: str) -> list[int]:
    return ABC.encode(text).streams["lyrics"].tolist()


def score_of(words: list[tuple[int, str]], *, bars: int = 2, bpm: float = 120) -> Score:
    """A note and a syllable on each of these quarter notes."""
    score, track = Score(480), Track(program=52)
    score.tempos.append(Tempo(0, bpm))
    for at, text in words:
        track.notes.append(Note(480 * at, 480, 60, 64))
        track.lyrics.append(TextMeta(480 * at, text))
    track.notes.append(Note(480 * (4 * bars - 1), 480, 60, 64))
    score.tracks.append(track)
    return score


def with_score(score: Score, seconds: float) -> Piece:
    base = piece("p", round(seconds * RATE))
    return Piece("p", "train", load_score=lambda: score, recording=base.recording)


# -- where words come from --------------------------------------------------------------------------------


def test_syllables_under_the_notes_become_words_with_times():
    score = score_of([(0, "Al-"), (1, "le-"), (2, "lu-"), (3, "ia"), (5, "sing"), (6, "-")])
    found = words_of(with_score(score, 4.5))
    assert found.text == "Alleluia sing -"
    assert [w.start for w in found.lines[0].words] == [0.0, 2.5, 3.0]
    assert under_notes(Score(480)) is None
    assert words_of(piece("p", 100)) is None


def test_another_performance_tells_the_words_but_not_when():
    score = score_of([(0, "la"), (4, "lo")])
    assert words_of(with_score(score, 4.5)).timed
    away = words_of(with_score(score, 60))
    assert (away.text, away.timed) == ("la lo", False)


def test_the_label_wins_over_the_notes():
    base = with_score(score_of([(0, "la")]), 4)
    told = Piece("p", "train", base.load_score, base.recording, {"lyrics": "from\nthe table"})
    assert words_of(told).text == "from\nthe table"
    assert not words_of(told).timed


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.lists(st.sampled_from(["la", "東京", "no-o", "a.b"]), max_size=4)),
        max_size=6,
    ),
    st.booleans(),
)
def test_lyrics_with_times_are_read_as_the_reader_of_files_does(lines, by_word):
    rows = []
    for number, (at, words) in enumerate(lines):
        begin = 10 * number + at / 1000
        stamps = [f"{int((begin + i) // 60):02d}:{(begin + i) % 60:06.3f}" for i in range(len(words) + 1)]
        text = "".join(f"<{t}>{w} " for t, w in zip(stamps, words)) if by_word else " ".join(words)
        rows.append(f"[{stamps[0]}]{text}" + (f"<{stamps[-1]}>" if by_word and words else ""))
    wanted = parse_lyrics("[ti:x]\n" + "\n".join(rows))
    if not wanted.lines:
        return
    label = lrc_text(wanted)
    found = timed(label)
    assert found.text == wanted.text
    assert found.spans()[0].tolist() == wanted.spans()[0].tolist()
    assert found.spans()[1][:, 0].tolist() == pytest.approx(wanted.spans()[1][:, 0].tolist())
    if by_word:
        assert np.allclose(character_times(found), character_times(wanted))
    both = Piece("p", "train", labels={"lyrics": wanted.text, "lrc": label})
    assert words_of(both).spans()[0].tolist() == wanted.spans()[0].tolist()
    other = Piece("p", "train", labels={"lyrics": "other words", "lrc": label})
    assert (words_of(other).text, words_of(other).timed) == ("other words", False)


# -- times of characters ----------------------------------------------------------------------------------


def test_characters_of_words_and_lines_have_times():
    words = parse_lyrics(LRC)
    assert words.text == "one two\nthree"
    times = character_times(words)
    assert times[[0, 2]].tolist() == [2.0, 4.0]
    assert times[[4, 6]].tolist() == [4.0, 6.0]
    assert times[words.text.index("three")] == 10.0
    assert times[words.text.index("three") + 4] == 12.0
    assert character_times(plain("no times")) is None


def test_bytes_of_one_character_are_sung_at_one_time():
    found = sung(parse_lyrics("[00:01.00]a漢b\n[00:04.00]"), ABC, offset=100.0)
    assert len(found.ids) == 5  # a kanji beyond the vocabulary is three bytes
    assert found.times.tolist() == pytest.approx([101, 102.5, 102.5, 102.5, 104])
    assert SILENT.ids.shape == (0,)
    with pytest.raises(ValueError, match="times must not go back"):
        Sung(np.arange(2), np.array([1.0, 0.5]))


# -- what a window sees -----------------------------------------------------------------------------------


def made(tmp_path, *pieces, **how):
    return songs(coded(FakeCodec(), pieces, folder=tmp_path), None, **{"lyrics": ABC, **how})


def test_lyrics_belong_to_the_whole_song(tmp_path):
    (song,) = made(tmp_path, piece("p", 4000, lyrics=TEXT, offset="10", total="20")).songs
    seen = lyric_window(20, 6, 20_000, 11_000, 800)
    assert song.characters(1000, 800, 6).tolist() == [ids(TEXT)[i] for i in seen]
    assert song.characters(0, 800, 30).tolist() == [0] * 10 + ids(TEXT)
    (silent,) = made(tmp_path, piece("p", 4000)).songs
    assert silent.characters(0, 800, 4).tolist() == [0] * 4


def test_times_count_where_they_are_known(tmp_path):
    """A character a second; the recording begins 100 s into its song, but words are timed with the recording."""
    text = "".join(f"[00:{s:02d}.00]{c}\n" for s, c in enumerate(TEXT))
    table = {"lyrics": text, "offset": "100", "total": "300"}
    (song,) = made(tmp_path, piece("p", 20_000, **table)).songs
    whole = "\n".join(TEXT)
    assert song.label.lyrics == tuple(ids(whole))
    assert song.characters(9000, 4000, 7).tolist() == ids("\nk\nl\nm\n")
    assert song.characters(0, 2000, 4).tolist() == ids("a\nb\n")


def test_a_text_that_the_vocabulary_cannot_spell_is_a_reason(tmp_path):
    found = made(tmp_path, piece("p", 400, lyrics="東京"), piece("q", 400), lyrics=JukeboxLyrics())
    assert [s.id for s in found.songs] == ["q"]
    assert "Jukebox's vocabulary is ASCII" in found.skipped[0][1]


@QUICK
@given(
    st.lists(st.floats(0, 100), max_size=40).map(sorted),
    st.integers(1, 12),
    st.floats(0, 100),
    st.floats(0.1, 20),
)
def test_a_window_of_timed_lyrics_holds_what_is_sung_in_it(times, n, start, length):
    found = sung_window(np.array(times), n, start, start + length)
    assert len(found) == n
    real = found[found >= 0]
    assert np.array_equal(real, np.arange(real[0], real[-1] + 1)) if len(real) else not times
    inside = [i for i, t in enumerate(times) if start <= t < start + length]
    if len(inside) <= n:
        assert set(inside) <= set(found.tolist())
    else:
        assert set(found.tolist()) <= set(inside)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["la", "lo-", "-", " ", "o"])), max_size=12))
def test_words_under_notes_keep_all_letters_in_order(events):
    events = sorted(events, key=lambda e: e[0])
    found = under_notes(score_of(events))
    letters = "".join(text.strip().removesuffix("-") if len(text) > 1 else text.strip() for _, text in events)
    assert ("" if found is None else found.text.replace(" ", "")) == letters
    if found is not None:
        starts = [w.start for w in found.lines[0].words]
        assert starts == sorted(starts)
        assert len(character_times(found)) == len(found.text)
