"""The book's codec: chords as tokens, START, music21's chordify as the oracle."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from symusic import Score, TimeSignature
from token_strategies import choirs

from otonoha.music.tracks import track_of
from otonoha.tokens import codec, from_dict
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.book import START, Book, chordify

CHORALES = choirs(("a", "b", "c"), resolution=12, low=12, high=84)


def two_voices() -> Score:
    """G4 for two quarters over C3 - (rest) - D3, in 4/4; then silence; then a triplet."""
    score = Score(480)
    score.tracks.append(track_of(np.array([0, 1920]), np.array([960, 160]), np.array([67, 63])))
    score.tracks.append(track_of(np.array([0, 720]), np.array([480, 240]), np.array([48, 50])))
    return score


def test_slices_by_hand():
    chords, ticks = chordify(two_voices())
    assert chords == ["C3.G4", "G4", "D3.G4", "E-4"]
    assert [Fraction(int(t), 12) for t in ticks] == [1, Fraction(1, 2), Fraction(1, 2), Fraction(1, 3)]


def test_learn_encode_decode():
    score = two_voices()
    book = Book.learn([score])
    assert book.pitches == ("C3.G4", "D3.G4", "E-4", "G4", START)
    assert book.durations == ("0", "1/3", "1/2", "1")
    tokens = book.encode(score)
    assert tokens.streams["pitch"].tolist() == [0, 3, 1, 2, 4]
    assert tokens.streams["duration"].tolist() == [3, 2, 2, 1, 0]
    assert book.vocab["duration"].values == (0.0, 1 / 3, 0.5, 1.0)
    decoded = book.decode(tokens)
    assert book.encode(decoded) == tokens
    notes = sorted((n.time, n.duration, n.pitch) for n in decoded.tracks[0].notes)
    assert notes[:2] == [(0, 12, 48), (0, 12, 67)]


@settings(max_examples=60, deadline=None)
@given(CHORALES)
def test_every_training_score_can_be_written(score):
    score.time_signatures = [TimeSignature(0, 4, 4)]
    score.markers = []
    book = Book.learn([score])
    tokens = book.encode(score)
    decoded = book.decode(tokens)
    assert decoded.end() == round(tokens.clock[-1] * decoded.tpq)
    assert tokens.streams["pitch"][-1] == book.start[0]
    assert len(tokens) == len(chordify(score)[0]) + 1


def test_leading_starts_are_padding_and_the_next_one_ends():
    book = Book.learn([two_voices()])
    start, zero = book.start
    streams = {
        "pitch": np.array([start, start, 2, 3, start, 0]),
        "duration": np.array([zero, zero, 1, 2, zero, 3]),
    }
    tokens = Tokens(streams, np.zeros(6), book.fingerprint)
    assert [n.pitch for n in book.decode(tokens).tracks[0].notes] == [63, 67]
    padding = Tokens({k: v[:2] for k, v in streams.items()}, np.zeros(2), book.fingerprint)
    assert book.decode(padding).note_num() == 0


def test_unknown_tokens_are_named():
    book = Book.learn([two_voices()])
    other = Score(480)
    other.tracks.append(track_of(np.array([0]), np.array([480]), np.array([60])))
    with pytest.raises(ValueError, match=r"chord 'C4' is not among the 5 tokens"):
        book.encode(other)
    other.tracks[0] = track_of(np.array([0]), np.array([1920]), np.array([67]))
    with pytest.raises(ValueError, match="duration '4'"):
        book.encode(other)
    with pytest.raises(ValueError, match="no notes"):
        book.encode(Score(480))
    other.tracks[0] = track_of(np.array([0]), np.array([480]), np.array([11]))
    with pytest.raises(ValueError, match="C0"):
        book.encode(other)
    with pytest.raises(ValueError, match="START"):
        codec("book", pitches=("C4",))
    bad = Book(("H4", START), ("0", "1"))
    tokens = Tokens({"pitch": np.array([0]), "duration": np.array([1])}, np.zeros(1), bad.fingerprint)
    with pytest.raises(ValueError, match="cannot read the chord token"):
        bad.decode(tokens)


def test_identity_survives_json():
    book = Book.learn([two_voices()])
    assert isinstance(book, Codec)
    assert from_dict({"name": "book", **book.to_dict()}) == book
    assert from_dict({"name": "book", **book.to_dict()}).fingerprint == book.fingerprint


def test_grammar_start_ends_and_only_start_has_no_length():
    book = Book.learn([two_voices()])
    start, zero = book.start
    grammar = book.grammar()
    assert grammar.context() == {}
    assert not grammar.mask(0, [])[start]
    assert not grammar.mask(1, [0])[zero]
    grammar.advance([0, 1])
    assert grammar.mask(0, []).all()
    assert np.flatnonzero(grammar.mask(1, [start])).tolist() == [zero]
    assert not grammar.done
    grammar.advance([start, zero])
    assert grammar.done
    with pytest.raises(ValueError, match="no constraints"):
        book.grammar({"bars": 3})
    assert len(book.prompt(book.encode(two_voices()))) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bach/bwv66.6", "bach/bwv1.6", "bach/bwv26.6", "bach/bwv102.7", "bach/bwv57.8"]
)
def test_chordify_agrees_with_music21(name, tmp_path):
    music21 = pytest.importorskip("music21")
    path = tmp_path / "chorale.mid"
    music21.corpus.parse(name).write("midi", path)
    chords, ticks = chordify(Score(path))
    wanted = music21.converter.parse(path).chordify().flatten().notes
    assert [(c, Fraction(int(t), 12)) for c, t in zip(chords, ticks)] == [
        (".".join(p.nameWithOctave for p in e.pitches), Fraction(e.quarterLength)) for e in wanted
    ]
