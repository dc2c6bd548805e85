"""Vocabularies made from music, and songs with their labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from codes_fakes import FakeCodec, piece
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.jukebox import vocabulary
from otonoha.models.jukebox.batches_songs import durations_of, seconds_of, songs
from otonoha.models.jukebox.codes_corpus import coded
from otonoha.models.jukebox.label_tables import from_json, to_json
from otonoha.models.jukebox.labels import Names, Table
from otonoha.models.jukebox.vocabulary_rows import grown, with_more_names

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
TOLD = [
    *[{"artist": "Zoë", "genre": "Jazz, Blues"}] * 3,
    *[{"artist": "  zoë ", "genre": "blues"}] * 2,
    *[{"artist": "Ann", "genre": "folk; jazz"}] * 2,
    {"composer": "Bach", "style": "chorale"},
    {"artist": "once", "genre": ""},
    {"title": "nobody's"},
]
NAMES = st.lists(
    st.builds(
        lambda a, g: {"artist": a, "genre": g},
        st.sampled_from(["", "a", "A", "b", "c d", "unknown", "é"]),
        st.sampled_from(["", "x", "y, x", "z;y;x", "X"]),
    ),
    max_size=12,
)


def test_the_most_frequent_name_comes_first():
    names = vocabulary.names_from(TOLD)
    assert names.artists.ids == {"": 0, "unknown": 0, "zoë": 1, "ann": 2, "bach": 3, "once": 4}
    assert names.genres.ids == {"": 0, "unknown": 0, "blues": 1, "jazz": 2, "folk": 3, "chorale": 4}
    assert (names.artists.size, names.genres.size) == (5, 5)


def test_rare_names_are_left_to_the_unknown():
    names = vocabulary.names_from(TOLD, least=2)
    assert set(names.artists.ids) == {"", "unknown", "zoë", "ann"}
    line = vocabulary.unknown(names, TOLD)
    assert line == (
        "not known to this model, told to it as unknown: 2 artists in 2 pieces: bach (1), once (1); "
        "1 genre in 1 piece: chorale (1)"
    )
    assert vocabulary.unknown(vocabulary.names_from(TOLD), TOLD) == ""
    with pytest.raises(ValueError, match="at least once"):
        vocabulary.names_from(TOLD, least=0)


@QUICK
@given(NAMES, NAMES, st.integers(1, 3))
def test_tables_grow_at_the_end_only_and_survive_json(first, second, least):
    names = vocabulary.names_from(first, least=least)
    longer = vocabulary.extended(names, second, least=least)
    for before, after in ((names.artists, longer.artists), (names.genres, longer.genres)):
        assert {n: after.ids[n] for n in before.ids} == before.ids
        assert sorted(set(after.ids.values())) == list(range(after.size))
        assert all(i >= before.size for n, i in after.ids.items() if n not in before.ids)
    if least == 1:
        assert vocabulary.unknown(longer, [*first, *second]) == ""
    assert vocabulary.extended(longer, second, least=least) == longer
    assert from_json(to_json(longer)) == longer
    counted = Counter(vocabulary.artists_in(first))
    ids = sorted((i, n) for n, i in names.artists.ids.items() if i)
    assert all(counted[a] >= counted[b] for (_, a), (_, b) in pairwise(ids))


def test_tables_of_the_original_can_be_extended_too():
    v3 = Names(Table("artist", {"unknown": 0, "queen": 7}, 10), Table("genre", {"unknown": 0}, 1), "v3", 1)
    longer = vocabulary.extended(v3, [{"artist": "Queen"}, {"artist": "Me", "genre": "Odd Pop"}])
    assert longer.artists.ids == {"unknown": 0, "queen": 7, "me": 10}
    assert longer.genres.ids == {"unknown": 0, "odd pop": 1}


# -- songs ------------------------------------------------------------------------------------------------


def made(tmp_path, *pieces, **how):
    corpus = coded(FakeCodec(sizes=(60_000, 60_000, 60_000)), pieces, folder=tmp_path)
    return songs(corpus, vocabulary.names_from([p.labels for p in pieces]), **how)


def test_a_song_is_cut_to_the_positions_that_are_full_of_sound(tmp_path):
    (song,) = made(tmp_path, piece("p", 8 * 5 + 3)).songs
    assert [len(z) for z in song.levels] == [20, 10, 5]
    assert (song.label.total, song.label.offset) == (43, 0)


def test_an_excerpt_knows_its_song(tmp_path):
    table = {"offset": "12.5", "total": "1:05"}
    whole, late = made(tmp_path, piece("a", 100, **table), piece("b", 2000, offset="64", total="65")).songs
    assert (whole.label.offset, whole.label.total) == (12_500, 65_000)
    assert (late.label.offset, late.label.total) == (64_000, 66_000)  # a recording rings on behind its song
    pieces = [piece("a", 100, **table), piece("b", 2000, offset="64", total="65"), piece("c", 500)]
    lengths = [seconds_of(p) for p in pieces]
    assert lengths == [65, 66, 0.5]
    assert durations_of(lengths[:2]) == (65, 67)
    assert durations_of(lengths, bins=16) == (0, 71)


def test_what_cannot_be_told_is_skipped_with_a_reason(tmp_path):
    bad = [piece("x", 100, start=1, total="long"), piece("y", 100, start=2, offset="-3"), piece("z", 7)]
    found = made(tmp_path, piece("ok", 100), *bad)
    assert [s.id for s in found.songs] == ["ok"]
    reasons = dict(found.skipped)
    assert reasons["x"] == "its label total must be seconds or h:m:s, 0 or more; got 'long'"
    assert reasons["y"] == "its label offset must be seconds or h:m:s, 0 or more; got '-3'"
    assert reasons["z"] == "it is shorter than a code of the coarsest level, 8 samples"


def test_ids_are_those_of_the_tables_and_said_once(tmp_path):
    pieces = [
        piece("p", 100, artist="Ann", genre="jazz; folk; blues"),
        piece("q", 100, artist="Bob", genre="folk"),
        piece("r", 100, artist="Bob", genre="new"),
    ]
    corpus = coded(FakeCodec(), pieces, folder=tmp_path)
    names = vocabulary.names_from([p.labels for p in pieces[:2]], width=2, least=1)
    found = songs(corpus, names)
    ann, bob = names.artist("ann"), names.artist("bob")
    assert [s.label.artist for s in found.songs] == [ann, bob, bob]
    jazz, folk = names.genre("jazz")[0], names.genre("folk")[0]
    assert [s.label.genres for s in found.songs] == [(jazz, folk), (folk, -1), (0, -1)]
    assert found.notes == (
        "not known to this model, told to it as unknown: 1 genre in 1 piece: new (1)",
        "more genres than fit in 1 piece, the rest is left out: p (jazz; folk; blues)",
    )


def test_without_songs_there_is_nothing_to_measure():
    with pytest.raises(ValueError, match="no songs"):
        durations_of([])


# -- room for new names -----------------------------------------------------------------------------------


def test_a_prior_with_more_names_says_the_same_of_the_old_ones():
    from otonoha.models.jukebox.config import Config, Labels
    from otonoha.models.jukebox.network import Network

    torch.manual_seed(0)
    config = Config(
        rate=8000, hops=(4, 8), level=1, codes=24, context=16, width=16, layers=3, heads=2, blocks=4,
        labels=Labels(artists=4, genres=3, most_genres=2),
    )  # fmt: skip
    old = Network(config)
    longer = Network(replace(config, labels=Labels(artists=6, genres=3, most_genres=2)))
    longer.load_state_dict(with_more_names(old.state_dict(), artists=6, genres=3))
    codes = torch.randint(0, 24, (3, 16))
    rows = torch.tensor([[9000, 0, 128, a, 1, -1] for a in (0, 1, 3)])
    for found, wanted in zip(*(n(codes, n.condition(rows, None, None)) for n in (longer, old))):
        assert torch.equal(found, wanted)
    tables = [n.y_emb.artist_emb.emb.weight for n in (longer, old)]
    assert torch.allclose(tables[0][4:], tables[1][1:].mean(0).expand(2, -1))
    assert torch.equal(grown(torch.ones(1, 2), 3), torch.ones(3, 2))
    with pytest.raises(ValueError, match="cannot shrink"):
        grown(torch.ones(3, 2), 2)
    with pytest.raises(ValueError, match="knows no labels"):
        with_more_names({}, artists=1, genres=1)
