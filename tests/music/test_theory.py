import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otonoha.music.theory import Key, estimate_key, in_key_share, parse_pitch, pitch_name, spell


@pytest.mark.parametrize(
    ("text", "tonic", "mode"),
    [("F# minor", 6, "minor"), ("f#", 6, "minor"), ("Bb", 10, "major"), ("b", 11, "minor"),
     ("Am", 9, "minor"), ("E♭ major", 3, "major"), ("bb minor", 10, "minor"), ("C", 0, "major")],
)  # fmt: skip
def test_parse_key(text, tonic, mode):
    assert Key.parse(text) == Key(tonic, mode)


def test_unknown_key_is_one_clear_line():
    with pytest.raises(ValueError, match="cannot read key 'H moll'") as error:
        Key.parse("H moll")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", range(24))
def test_key_survives_its_names(index):
    key = Key.from_index(index)
    assert key.index == index
    assert Key.parse(str(key)) == key
    assert Key.from_signature(key.signature(), key.mode == "minor") == key


def test_signatures_of_common_keys():
    signatures = {"C": 0, "G": 1, "F": -1, "Eb": -3, "A": 3, "a": 0, "c": -3, "f#": 3, "F#": 6, "Db": -5}
    assert {name: Key.parse(name).signature() for name in signatures} == signatures


@pytest.mark.parametrize("index", range(24))
def test_estimated_key_of_a_scale(index):
    key = Key.from_index(index)
    histogram = np.zeros(12)
    histogram[list(key.scale)] = 1
    histogram[[key.tonic, (key.tonic + 7) % 12, key.scale[2]]] += (3, 2, 1.5)
    assert estimate_key(histogram) == key


def test_estimate_among_two():
    pair = [Key.parse("C"), Key.parse("a")]
    assert estimate_key(np.bincount([9, 9, 9, 0, 4, 4, 8], minlength=12), among=pair) == pair[1]
    assert estimate_key(np.zeros(12), among=pair) == pair[0]


def test_in_key_share():
    assert in_key_share(np.array([60, 62, 61, 66]), Key(0)) == 0.5
    assert in_key_share(np.array([68, 66, 69]), Key.parse("a")) == 1.0
    assert np.isnan(in_key_share(np.array([]), Key(0)))


@given(st.integers(0, 127), st.booleans())
def test_pitch_names_round_trip(pitch, flats):
    assert parse_pitch(pitch_name(pitch, flats=flats)) == pitch


@pytest.mark.parametrize("text", ["H4", "C", "", "C99", "128", "Cb-1"])
def test_bad_pitch(text):
    with pytest.raises(ValueError, match="pitch"):
        parse_pitch(text)


@given(st.integers(0, 127), st.integers(-7, 7))
def test_spelling_keeps_the_pitch(pitch, sharps):
    letter, alter, octave = spell(pitch, sharps)
    assert (
        12 * (octave + 1) + {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[letter] + alter == pitch
    )
    assert abs(alter) <= 2


def test_spelling_follows_the_key():
    assert spell(61, 2) == ("C", 1, 4)
    assert spell(61, -4) == ("D", -1, 4)
    assert spell(60, 7) == ("B", 1, 3)
    assert spell(59, -7) == ("C", -1, 4)
