"""Lyrics as tokens: nothing is lost, positions lead back, Jukebox's characters are exactly those of the original."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.tokens import codec, from_dict
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.files import load_tokens, save_tokens
from otonoha.tokens.lyrics import END, FIRST_BYTE, FIRST_CHARACTER, STREAM, Lyrics, by_character, spans
from otonoha.tokens.lyrics_jukebox import TABLES, JukeboxLyrics

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "jukebox" / "labels_and_windows"
ANY = st.text(st.characters(), max_size=40)  # surrogates included
SCRIPTS = (
    "東京の空は青い",
    "Füße auf der Straße",
    "¿Dónde está?",
    "별이 빛나는 밤",
    "🎵 ♪ é",
    "\r\n\t\0",
    "𝄞𠮷",
)


@pytest.fixture(scope="module")
def golden() -> dict:
    if not GOLDEN.is_dir():
        pytest.skip("the golden cases are not here")
    return json.loads((GOLDEN / "case.json").read_text("utf-8"))


@settings(deadline=None)
@given(ANY, st.sampled_from(["", "abc", "の東é\n"]))
def test_every_text_comes_back(text, characters):
    made = Lyrics(characters)
    assert made.decode(made.encode(text)) == text


@pytest.mark.parametrize("text", SCRIPTS)
def test_every_script_comes_back_from_files(text, tmp_path):
    made = Lyrics()
    path = save_tokens(made.encode(text), tmp_path / "t.npz")
    assert made.decode(load_tokens(path)) == text


@settings(deadline=None)
@given(ANY)
def test_positions_lead_back_to_characters(text):
    made = Lyrics("aの")
    tokens = made.encode(text)
    where = spans(tokens)
    assert (np.diff(where[:, 0]) >= 0).all()
    assert set(where[:, 0].tolist()) == set(range(len(text)))
    for place, character in enumerate(text):
        mine = tokens.streams[STREAM][where[:, 0] == place]
        bytes_ = character.encode("utf-8", "surrogatepass")
        expected = [FIRST_CHARACTER + "aの".index(character)] if character in "aの" else list(bytes_)
        shift = 0 if character in "aの" else FIRST_BYTE
        assert mine.tolist() == [e + shift for e in expected]
    attention = np.random.default_rng(0).random((2, 3, len(tokens)))
    gathered = by_character(attention, tokens, len(text))
    assert gathered.shape == (2, 3, len(text))
    np.testing.assert_allclose(gathered.sum(-1), attention.sum(-1))


def test_attention_reaches_only_characters_that_are_there():
    with pytest.raises(ValueError, match="reach to character 3, the text has 2"):
        by_character(np.ones(3), Lyrics().encode("abc"), 2)


def test_a_vocabulary_is_learnt_most_frequent_first():
    made = Lyrics.learn(["歌う小鳥が歌う", "小鳥の歌"], size=FIRST_CHARACTER + 4)
    assert made.characters == "歌う小鳥"
    assert Lyrics.learn(["歌う小鳥が歌う", "小鳥の歌"]).characters == "歌う小鳥"  # the others are there once
    assert len(made.encode("歌う")) == 2
    assert len(made.encode("犬")) == 3
    with pytest.raises(ValueError, match="no lyrics to learn"):
        Lyrics.learn([])
    with pytest.raises(ValueError, match="size must lie in 257-"):
        Lyrics.learn(["a"], size=10)
    with pytest.raises(ValueError, match="each character once; 'a'"):
        Lyrics("aba")


@settings(deadline=None)
@given(ANY)
def test_the_grammar_allows_what_is_encoded_and_only_utf8(text):
    made = Lyrics("ab")
    text = text.encode("utf-8", "ignore").decode()
    walk = made.grammar()
    for symbol in [*made.encode(text).streams[STREAM].tolist(), END]:
        assert walk.mask(0, [])[symbol]
        walk.advance([symbol])
    assert walk.done


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_the_grammar_lets_through_is_text(random):
    made = Lyrics("a")
    walk, symbols = made.grammar(), []
    for _ in range(30):
        symbols.append(random.choice(np.flatnonzero(walk.mask(0, [])).tolist()))
        walk.advance(symbols[-1:])
        if walk.done:
            break
    while not walk.mask(0, [])[END]:
        symbols.append(int(np.flatnonzero(walk.mask(0, []))[0]))
        walk.advance(symbols[-1:])
    written = Tokens({STREAM: np.array(symbols)}, np.arange(len(symbols)), made.fingerprint)
    text = made.decode(written)
    text.encode()  # no surrogates
    assert "\ufffd" not in text or "\ufffd".encode() in bytes(
        s - FIRST_BYTE for s in symbols if FIRST_BYTE <= s < FIRST_CHARACTER
    )


def test_bytes_that_are_no_text_are_told_as_such():
    made = Lyrics("a")
    odd = np.array([FIRST_BYTE + 0xE3, FIRST_CHARACTER, FIRST_BYTE + 0xFF, END, FIRST_CHARACTER])
    assert made.decode(Tokens({STREAM: odd}, np.arange(5), made.fingerprint)) == "\ufffda\ufffd"


@pytest.mark.parametrize(
    "made", [Lyrics(), Lyrics("あい"), JukeboxLyrics(), JukeboxLyrics("v2", "unidecode")]
)
def test_it_is_a_codec_like_the_others(made):
    assert isinstance(made, Codec)
    again = from_dict({"name": made.name, **json.loads(json.dumps(made.to_dict()))})
    assert again == made
    assert again.fingerprint == made.fingerprint
    assert made.prompt(made.encode("a b")) == made.encode("a b")
    with pytest.raises(ValueError, match="these tokens are of codec"):
        made.decode(codec("lyrics", characters="xyz").encode("abc"))
    with pytest.raises(ValueError, match="takes a text, got int"):
        made.encode(3)
    with pytest.raises(ValueError, match="no constraints"):
        made.grammar("C major")


def test_other_vocabularies_have_other_fingerprints():
    made = {
        c.fingerprint for c in (Lyrics(), Lyrics("ab"), Lyrics("ba"), JukeboxLyrics(), JukeboxLyrics("v2"))
    }
    assert len(made) == 5


# -- Jukebox ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_jukebox_vocabulary_is_the_original(table, golden):
    told = golden["vocabulary"][table]
    made = JukeboxLyrics(table)
    assert made.characters == told["characters"]
    assert made.vocab[STREAM].size == told["size"]


@pytest.mark.parametrize("table", TABLES)
def test_jukebox_ids_of_ascii_are_the_original(table, golden):
    made, count = JukeboxLyrics(table), 0
    for case in golden["lyrics"]["cases"]:
        if case["text"].isascii():
            assert made.encode(case["text"]).streams[STREAM].tolist() == case[table]["ids"]
            assert made.clean(case["text"]) == case[table]["clean"]
            count += 1
    assert count > 10


@pytest.mark.filterwarnings("ignore:Unidecode reads")
@pytest.mark.parametrize("table", TABLES)
def test_jukebox_ids_of_other_scripts_are_the_original_with_unidecode(table, golden):
    pytest.importorskip(
        "unidecode", reason="Unidecode is under the GPL: not a dependency, an oracle where it is"
    )
    made = JukeboxLyrics(table, "unidecode")
    for case in golden["lyrics"]["cases"]:
        tokens = made.encode(case["text"])
        assert tokens.streams[STREAM].tolist() == case[table]["ids"], case["text"]
        assert len(tokens) == len(tokens.clock)


def test_jukebox_positions_skip_what_is_left_out():
    tokens = JukeboxLyrics().encode("a+b\\c")
    assert JukeboxLyrics().decode(tokens) == "ab\nc"
    assert spans(tokens)[:, 0].tolist() == [0, 2, 3, 4]


def test_other_scripts_are_one_clear_line(monkeypatch):
    with pytest.raises(
        ValueError, match=r"hold 'ü', and Jukebox's vocabulary is ASCII.*codec lyrics"
    ) as error:
        JukeboxLyrics().encode("Füße")
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "unidecode", None)
    with pytest.raises(
        ValueError, match=r"needs Unidecode \(GPL\), which is not installed: pip install"
    ) as error:
        JukeboxLyrics(letters="unidecode").encode("Füße")
    assert "\n" not in str(error.value)
    assert (
        JukeboxLyrics(letters="unidecode").clean("plain ASCII needs nothing") == "plain ASCII needs nothing"
    )


def test_kanji_read_as_mandarin_are_warned_of(monkeypatch):
    import types

    fake = types.SimpleNamespace(unidecode=lambda c: {"空": "Kong ", "の": "no"}.get(c, c))
    monkeypatch.setitem(sys.modules, "unidecode", fake)
    made = JukeboxLyrics(letters="unidecode")
    with pytest.warns(UserWarning, match="reads '空' as Mandarin"):
        assert made.clean("の空") == "noKong "
    assert made.clean("の") == "no"
    assert spans(made.encode("aのb"))[:, 0].tolist() == [0, 1, 1, 2]


def test_jukebox_grammar_ends_with_the_unknown():
    walk = JukeboxLyrics().grammar()
    assert walk.mask(0, []).all()
    walk.advance([5])
    assert not walk.done
    walk.advance([0])
    assert walk.done
    assert walk.context() == {}


def test_nothing_needs_unidecode(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        assert "unidecode" not in name
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert Lyrics().decode(Lyrics().encode("東京")) == "東京"
    assert JukeboxLyrics().clean("Tokyo") == "Tokyo"
