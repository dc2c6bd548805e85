"""Lyrics files: what is written is read again, the ways in which people write LRC, and broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.io.lrc import lrc_text, parse_lyrics, read_lyrics, write_lrc
from otonoha.music.sung_text import Line, SungText, Word

PLAIN = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Z")) | st.just("の"), min_size=1, max_size=8
).filter(lambda t: not any(c in t for c in "[]<>"))


@st.composite
def songs(draw: st.DrawFn) -> SungText:
    """Lines that follow one another, with times in thousandths, some with words; ends are known."""
    lines, at = [], 0
    for _ in range(draw(st.integers(1, 5))):
        words = draw(st.lists(PLAIN, min_size=1, max_size=5))
        gaps = draw(st.lists(st.integers(0, 900), min_size=2 * len(words) + 1, max_size=2 * len(words) + 1))
        start = at + gaps[0]
        sung, text, at = [], "", start
        for number, word in enumerate(words):
            space = draw(st.sampled_from(["", " "])) if number else ""
            begin = at + (gaps[2 * number + 1] if number else 0)
            at = begin + 1 + gaps[2 * number + 2]
            sung.append(Word(word, begin / 1000, at / 1000))
            text += space + word
        given = tuple(sung) if draw(st.booleans()) else ()
        lines.append(Line(text, start / 1000, at / 1000, given))
    about = draw(st.dictionaries(st.sampled_from(["ti", "ar", "la"]), PLAIN, max_size=3))
    return SungText(tuple(lines), about)


@settings(deadline=None)
@given(songs())
def test_what_is_written_is_read_again(sung):
    again = parse_lyrics(lrc_text(sung))
    assert again == sung
    assert lrc_text(again) == lrc_text(sung)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))), max_size=6))
def test_plain_text_stays_line_by_line(rows):
    rows = [" ".join(row.split()).replace("[", "(").replace("<", "(") for row in rows]
    sung = parse_lyrics("\n".join(rows))
    assert not sung.timed
    assert sung.text == "\n".join(rows).strip("\n")


def test_everything_at_once():
    sung = parse_lyrics(
        "\ufeff[ti: A song ]\r\n[ar:Someone]\r\n[offset:+500]\r\n\r\n"
        "[00:10.5]One line\r\n[00:12]\r\n[00:20:25][00:40.250]Twice\r\n"
        "[00:30.00]<00:30.00>Word <00:31.00>by<00:31.50> <00:32.00>word<00:33.00>\r\n".removeprefix("\ufeff")
    )
    assert dict(sung.about) == {"ti": "A song", "ar": "Someone"}
    assert [(x.text, x.start, x.end) for x in sung.lines] == [
        ("One line", 10.0, 11.5),
        ("Twice", 19.75, 29.5),
        ("Word by word", 29.5, 32.5),
        ("Twice", 39.75, None),
    ]
    assert sung.lines[2].words == (
        Word("Word", 29.5, 30.5),
        Word("by", 30.5, 31.0),
        Word("word", 31.5, 32.5),
    )
    characters, times = sung.spans()
    assert [sung.text[a:b] for a, b in characters.tolist()] == [
        "One line",
        "Twice",
        "Word",
        "by",
        "word",
        "Twice",
    ]
    assert times[1].tolist() == [19.75, 29.5]
    assert np.isnan(times[-1, 1])


def test_words_without_spaces_and_repeated_words_keep_their_places():
    sung = parse_lyrics("[00:01.00]<00:01.00>さ<00:01.50>くら<00:02.00>さ<00:02.50>くら")
    assert sung.text == "さくらさくら"
    assert sung.spans()[0].tolist() == [[0, 1], [1, 3], [3, 4], [4, 6]]
    assert sung.lines[0].words[-1].end is None


def test_a_repeated_line_takes_its_words_along():
    sung = parse_lyrics("[00:01.00][00:11.00]<00:01.00>a <00:02.00>b<00:03.00>")
    assert [w.start for w in sung.lines[1].words] == [11.0, 12.0]


def test_the_last_word_ends_with_the_line():
    sung = parse_lyrics("[00:01.00]<00:01.00>a <00:02.00>b\n[00:04.00]c")
    assert sung.lines[0].words[-1] == Word("b", 2.0, 4.0)


def test_sections_and_colons_are_text():
    sung = parse_lyrics("[ti:x]\n\n[Chorus]\nLook: here\n[Verse: two]\n")
    assert sung.text == "[Chorus]\nLook: here\n[Verse: two]"
    assert dict(sung.about) == {"ti": "x"}
    assert parse_lyrics("[00:01.00][Chorus]").lines[0].text == "[Chorus]"
    assert parse_lyrics("").lines == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[00:01.00]a\n[00:75.00]b", "line 2: '.00:75.00.' has 75 seconds"),
        ("[00:0x.00]a", "line 1: '.00:0x.00.' is no time"),
        ("[00:01.00]a\n[00:12", "line 2: '.00:12' is no time"),
        ("[00:01.00]<00:02.00>a <00:01.00>b", "line 1: the times of its words run backwards"),
        ("[00:01.00]<00:61.00>a", "has 61 seconds"),
        ("[00:01.00]a <00:02.00>b", "its first word has no time, 'a'"),
        ("[offset:soon]\n[00:01.00]a", "offset must be a whole number of milliseconds, got 'soon'"),
    ],
)
def test_broken_files_are_one_line(text, reason, tmp_path):
    path = tmp_path / "x.lrc"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason) as error:
        read_lyrics(path)
    assert "\n" not in str(error.value)
    assert "x.lrc" in str(error.value)


def test_encodings(tmp_path):
    path = tmp_path / "x.lrc"
    path.write_bytes("[00:01.00]歌".encode("utf-16"))
    assert read_lyrics(path).text == "歌"
    path.write_bytes("\ufeff[00:01.00]歌".encode())
    assert read_lyrics(path).text == "歌"
    path.write_bytes("[00:01.00]歌".encode("cp932"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_lyrics(path)
    path.write_bytes(b"[00:01.00]a\0b")
    with pytest.raises(ValueError, match="zero byte"):
        read_lyrics(path)
    with pytest.raises(ValueError, match="no such file"):
        read_lyrics(tmp_path / "y.lrc")


def test_what_lrc_cannot_hold_is_refused(tmp_path):
    for line in (Line("a <00:01.00> b", 1.0), Line("[00:01.00]", 1.0), Line("[0:x]", 1.0)):
        with pytest.raises(ValueError, match="would read as a time"):
            lrc_text(SungText((line,)))
    with pytest.raises(ValueError, match="from 0 to 999 minutes"):
        lrc_text(SungText((Line("a", 1e6),)))
    with pytest.raises(ValueError, match="cannot name a field"):
        lrc_text(SungText((), {"a]b": "c"}))
    with pytest.raises(ValueError, match="cannot hold a line break"):
        Line("a\nb")
    with pytest.raises(ValueError, match="the words of the line 'a b' are others: 'ac'"):
        Line("a b", words=(Word("a", 0.0), Word("c", 1.0)))
    path = write_lrc(SungText((Line("a", 1.0, 2.0),), {"ti": "x"}), tmp_path / "a.lrc")
    assert path.read_text("utf-8") == "[ti:x]\n[00:01.000]a\n[00:02.000]\n"
