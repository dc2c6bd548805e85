"""Artists, genres, lyric windows, blends: against the golden tables, and what the original leaves to chance."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otonoha.models.jukebox import label_tables
from otonoha.models.jukebox.blend import blend, packed
from otonoha.models.jukebox.labels import (
    Durations,
    Label,
    Names,
    Table,
    genre_names,
    lyric_window,
    normalised,
)


def golden():
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, Path(__file__).resolve().parents[4] / "shared" / "golden"]:
        path = place / "jukebox" / "labels_and_windows" / "case.json"
        if path.exists():
            return json.loads(path.read_text("utf-8"))
    pytest.skip("the golden cases (../shared/golden/jukebox) are not here")
    return None


def written(folder, entries):
    """Files in the layout of the original's, deep in a folder."""
    place = folder / "some" / "ids"
    place.mkdir(parents=True)
    for version, tables in entries.items():
        if version == "meaning":
            continue
        for kind, ids in tables.items():
            lines = [f"{name};{number}" for name, number in ids.items()]
            (place / f"{version}_{kind[:-1]}_ids.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_names_and_rows_are_the_originals(tmp_path):
    case = golden()
    folder = written(tmp_path, case["label_entries"])
    names = {v: label_tables.original_names(folder, int(v[1])) for v in ("v2", "v3")}
    assert (names["v2"].artists.size, names["v3"].genres.size) == (4111, 604)
    for song in case["labels"]["cases"]:
        for version, table in names.items():
            expected = song[version]
            assert normalised(song["artist"], version) == expected["artist_key"]
            assert genre_names(song["genre"], version) == expected["genre_keys"]
            if expected["label_row"] is None:
                with pytest.raises(ValueError, match="at most 5 fit"):
                    table.label(song["artist"], song["genre"], total=5000, strict=False)
                continue
            label = table.label(song["artist"], song["genre"], total=5000, offset=3, strict=False)
            assert label.row(4, 1000).tolist() == expected["label_row"]
            assert label.artist == expected["artist_id"]


def test_lyric_windows_are_the_originals_in_both_precisions():
    case, differ, refused = golden(), 0, 0
    for c in case["lyric_windows"]["cases"]:
        asked = (c["lyric_length"], c["window_tokens"], c["total"], c["offset"], c["duration"])
        for single, kind in ((False, "python_numbers"), (True, "label_row_numbers")):
            expected = c[kind]
            if expected.get("error"):
                refused += 1
                if c["window_tokens"] % 2:  # the original knows only even windows
                    assert len(lyric_window(*asked, single=single)) == c["window_tokens"]
                else:
                    with pytest.raises(ValueError, match="cannot begin at sample"):
                        lyric_window(*asked, single=single)
                continue
            found = lyric_window(*asked, single=single).tolist()
            there = [] if expected["first"] is None else range(expected["first"], expected["last"] + 1)
            assert found == [-1] * expected["padding"] + list(there)
        differ += c["python_numbers"] != c["label_row_numbers"]
    assert (differ, refused) == (6, 4)


@given(st.integers(0, 300), st.integers(1, 64), st.integers(1, 10**7), st.integers(0, 10**7), st.booleans())
def test_a_lyric_window_is_a_run_of_characters_around_its_time(characters, n, total, offset, single):
    if characters > n and offset >= total:
        with pytest.raises(ValueError):
            lyric_window(characters, n, total, offset, 1000, single=single)
        return
    found = lyric_window(characters, n, total, offset, 1000, single=single)
    assert len(found) == n
    there = found[found >= 0]
    assert len(there) == min(characters, n)
    assert not len(there) or (np.diff(there) == 1).all()
    if characters > n:
        middle = characters * (offset + 500) / total
        clamped = min(max(middle, n // 2), characters - n + n // 2)
        assert abs(there[0] + n // 2 - clamped) < 1.01


def test_the_characters_of_a_window_are_those_of_its_indices():
    lyrics = tuple(range(10, 70))
    label = Label(total=1000, offset=100, lyrics=lyrics)
    for at in (0, 200, 600):
        seen = lyric_window(60, 8, 1000, 100 + at, 50, single=True)
        assert label.characters(at, 50, 8).tolist() == [lyrics[i] for i in seen]
    assert Label(total=1000, lyrics=(5, 6)).characters(0, 50, 4).tolist() == [0, 0, 5, 6]
    assert Label(total=1000).characters(0, 50, 3).tolist() == [0, 0, 0]


def own():
    artists = {"": 0, "unknown": 0, "nina": 1, "the band": 2, "ōtomo": 3}
    return Names(Table("artist", artists, 4), Table("genre", {"": 0, "folk": 1, "dance": 2, "jazz": 3}, 4))


def test_unknown_names_are_refused_with_the_nearest_or_become_0():
    names = own()
    with pytest.raises(
        ValueError, match=r"unknown artist 'Nona'; did you mean 'nina'\? \(5 names are known\)"
    ):
        names.artist("Nona")
    with pytest.raises(ValueError, match=r"unknown genre 'jass'; did you mean 'jazz'"):
        names.genre("folk; jass")
    assert names.artist("Nona", strict=False) == 0
    assert names.genre("folk; jass", strict=False) == (names.genre("FOLK")[0], 0)
    assert names.artist("The band") == names.artist("THE BAND ")
    assert names.artist("") == names.artist("unknown") == 0


def test_new_names_come_behind_the_learnt_ones():
    artists = own().artists
    longer = artists.longer(["nina", "miles", "miles", "yma"])
    assert longer.size == artists.size + 2
    assert all(longer.ids[name] == number for name, number in artists.ids.items())
    assert (longer.ids["miles"], longer.ids["yma"]) == (artists.size, artists.size + 1)


def test_own_tables_in_files(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"Ana": 1, "ANA ": 1, "Bo": 2}))
    (tmp_path / "g.tsv").write_text("folk\t1\r\nrock; roll\t2\n", "utf-8")
    (tmp_path / "g.txt").write_text("folk\nrock\n")
    (tmp_path / "list.json").write_text(json.dumps(["Ana", "Bo"]))
    names = label_tables.own_names(tmp_path / "a.json", tmp_path / "g.txt", width=2)
    assert (names.artist("ana"), names.artist("bo"), names.artists.size) == (1, 2, 3)
    assert names.label("Bo", "rock", total=9).row(0, 4).tolist() == [9, 0, 4, 2, 2, -1]
    assert label_tables.read_ids(tmp_path / "list.json") == {"Ana": 1, "Bo": 2}
    assert label_tables.read_ids(tmp_path / "g.tsv") == {"folk": 1, "rock; roll": 2}
    assert label_tables.from_json(json.loads(json.dumps(label_tables.to_json(names)))) == names


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", "{", "is not JSON"),
        ("x.json", "[1, 2]", "must hold"),
        ("x.json", '{"a": true}', "must hold"),
        ("x.txt", "a;1\nb\n", "line 2: expected a name and an id"),
        ("x.txt", "a;1\na;2\n", "gives 'a' two ids, 1 and 2"),
        ("x.txt", "\udcff", "is not UTF-8"),
        ("y.txt", "A;1\na;2\n", "gives artist 'a' two ids"),
        ("y.txt", "a;-2\n", "expected a name and an id"),
    ],
)
def test_damaged_tables_are_one_clear_line(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    (tmp_path / "fine.txt").write_text("folk")
    with pytest.raises(ValueError, match=says):
        label_tables.own_names(tmp_path / name, tmp_path / "fine.txt")


def test_the_originals_tables_are_checked(tmp_path):
    with pytest.raises(ValueError, match="holds no file v2_artist"):
        label_tables.original_names(tmp_path, 2)
    (tmp_path / "v2_artist_ids.txt").write_text("somebody;7897\n")
    (tmp_path / "v2_genre_ids.txt").write_text("rock;8\n")
    with pytest.raises(ValueError, match=r"'somebody' has the id 7897; this table allows 0 … 4110"):
        label_tables.original_names(tmp_path, 2)
    with pytest.raises(ValueError, match="versions 2 and 3, not 1"):
        label_tables.original_names(tmp_path, 1)


def test_marks_that_nobody_types_stay_in_the_table(tmp_path):
    (tmp_path / "v3_artist_ids.txt").write_text("a;0\na;1\n")
    (tmp_path / "v3_genre_ids.txt").write_text("jazz\u200e;547\njazz;230\n", "utf-8")
    names = label_tables.original_names(tmp_path, 3)
    assert (names.genre("Jazz"), names.genre("jazz\u200e"), names.artist("A")) == ((230,), (547,), 1)


def test_durations_refuse_what_the_timing_tables_do_not_reach():
    known = Durations(17.84, 600)
    known.check(30 * 44100, 0, 786432, 44100)
    with pytest.raises(ValueError, match=r"songs of 17.84 up to 600 s, not of 6.00 s"):
        known.check(6 * 44100, 0, 786432, 44100)
    with pytest.raises(ValueError, match=r"not of 600.00 s"):
        known.check(600 * 44100, 0, 786432, 44100)
    with pytest.raises(ValueError, match=r"times of 0 … 600 s; the piece would go from 590.00 to 607.83 s"):
        known.check(599 * 44100, 590 * 44100, 786432, 44100)


def names_for_blends():
    table = Table("artist", {"ana": 1, "bo": 2, "cy": 3}, 4)
    return Names(table, Table("genre", {"folk": 1, "rock": 2, "roll": 3}, 4), "v2", 3)


def test_a_blend_changes_over_time():
    mix = blend([(0, "ana"), (10, {"ana": 1, "bo": 3}), (20, "cy")])
    assert mix.at(0) == mix.at(-5) == {"ana": 1}
    assert mix.at(5) == pytest.approx({"ana": 0.625, "bo": 0.375})
    assert mix.at(15) == pytest.approx({"ana": 0.125, "bo": 0.375, "cy": 0.5})
    assert mix.at(99) == {"cy": 1}
    assert mix.names() == ["ana", "bo", "cy"]


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0.01, 5), min_size=1), min_size=1, max_size=4),
    st.floats(-1, 50),
)
def test_the_weights_of_a_blend_sum_to_1_at_all_times(moments, seconds):
    mix = blend([(10.0 * i, weights) for i, weights in enumerate(moments)])
    assert sum(mix.at(seconds).values()) == pytest.approx(1)
    assert min(mix.at(seconds).values()) > 0


def test_a_label_with_a_blend_names_its_heaviest_part_and_gives_all_weights():
    names = names_for_blends()
    label = names.label({"ana": 1, "bo": 3}, [(0, "rock roll"), (8, {"rock": 1, "folk": 1})], total=100)
    assert label.row(0, 10).tolist() == [100, 0, 10, 2, 2, 3, -1]
    assert label.mix.artists.at(3) == {1: 0.25, 2: 0.75}
    assert label.mix.genres.at(0) == {2: 1, 3: 1}
    assert label.mix.genres.at(4) == pytest.approx({2: 0.75, 3: 0.5, 1: 0.25})
    plain = names.label("bo", "rock roll", total=100)
    assert plain.mix is None
    assert (plain.blended().artists.at(1), plain.blended().genres.at(1)) == ({2: 1}, {2: 1, 3: 1})


def test_packed_weights_are_padded_with_nothing():
    ids, weights = packed([{3: 1.0}, {1: 0.25, 2: 0.75}, {}])
    assert ids.tolist() == [[3, 0], [1, 2], [0, 0]]
    assert weights.tolist() == [[1, 0], [0.25, 0.75], [0, 0]]
    assert (ids.dtype, weights.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize(
    "described",
    [5, [], [(3, "a"), (1, "b")], [(-1, "a")], {}, {"a": 0}, {"a": -1, "b": 3}, [(0, "a"), (0, "b")], [1]],
)
def test_what_is_no_blend_is_refused(described):
    with pytest.raises(ValueError):
        blend(described)


def test_a_blend_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown artist 'anna'; did you mean 'ana'"):
        names_for_blends().label({"anna": 1, "bo": 1}, "rock", total=100)
