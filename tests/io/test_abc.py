from fractions import Fraction
from pathlib import Path

import pytest

from otonoha.io import read
from otonoha.io.abc import read_abc
from otonoha.music.score import bar_table, key_map, marker, metre_map, notes, pickup, tempo_map

HEAD = "X:1\nT:Test\nM:4/4\nL:1/8\nK:C\n"


def tune(body, head=HEAD, **options):
    return read_abc((head + body).encode(), **options)[0]


def pitches(body, head=HEAD, **options):
    return notes(tune(body, head, **options).tracks[0]).pitch.tolist()


def lengths(body, head=HEAD):
    """In eighths."""
    score = tune(body, head)
    return [Fraction(int(d) * 2, score.tpq) for d in notes(score.tracks[0]).duration]


def test_header():
    score = tune("abc", "X:7\nT:First\nT:Second\nC:Trad.\nR:jig\nM:6/8\nQ:3/8=80\nK:Em\n")
    assert [m.text for m in score.markers if m.time == 0 and "pickup" not in m.text] == [
        "title:First", "composer:Trad.", "rhythm:jig",
    ]  # fmt: skip
    assert metre_map(score) == [(0, 6, 8)]
    assert tempo_map(score) == [(0, 120.0)]
    assert str(key_map(score)[0][1]) == "E minor"


def test_pitches_octaves_and_bar_long_accidentals():
    assert pitches("C,Cc c' ^F F =F _B|F B") == [48, 60, 72, 84, 66, 66, 65, 70, 65, 71]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("G", [66, 72]), ("Ddor", [65, 72]), ("D mixolydian", [66, 72]), ("F#m", [66, 73]), ("Hp", [66, 73]),
     ("C exp ^f", [66, 72]), ("Bb", [65, 72]), ("none", [65, 72]),
     ("Eb clef=bass", [65, 72]), ("Cb", [64, 71])],
)  # fmt: skip
def test_keys_and_modes(key, expected):
    assert pitches("Fc", HEAD.replace("K:C", f"K:{key}")) == expected


def test_lengths():
    assert lengths("A A2 A/ A// A3/2 A/4 A0") == [
        1,
        2,
        Fraction(1, 2),
        Fraction(1, 4),
        Fraction(3, 2),
        Fraction(1, 4),
    ]


def test_default_length_follows_the_metre():
    head = "X:1\nM:2/4\nK:C\n"
    score = tune("AA", head)
    assert notes(score.tracks[0]).duration.tolist() == [score.tpq // 4] * 2


def test_broken_rhythm_and_tuplets():
    assert lengths("A>B A<B A>>B (A>.B)") == [
        Fraction(3, 2), Fraction(1, 2), Fraction(1, 2), Fraction(3, 2), Fraction(7, 4), Fraction(1, 4),
        Fraction(3, 2), Fraction(1, 2),
    ]  # fmt: skip
    assert lengths("(3ABc (3:2:2A2B d") == [Fraction(2, 3)] * 3 + [Fraction(4, 3), Fraction(2, 3), 1]
    assert lengths("(2AB c", HEAD.replace("4/4", "6/8")) == [Fraction(3, 2)] * 2 + [1]


def test_broken_rhythm_after_a_tie_lengthens_the_last_note_only():
    assert lengths("A4 B2-B>c|d2-|d>e f2 g4|") == [4, Fraction(7, 2), Fraction(1, 2), Fraction(7, 2),
                                                   Fraction(1, 2), 2, 4]  # fmt: skip
    assert lengths("A2 z>B c4|") == [2, 1, 4]


@pytest.mark.parametrize(("metre", "fills"), [("6/8", 3), ("9/8", 3), ("3/4", 2), ("5/8", 2), ("3/2", 2)])
def test_quintuplets_fill_three_units_in_compound_metres(metre, fills):
    assert lengths("(5ABcde f", f"X:1\nM:{metre}\nL:1/8\nK:C\n")[:5] == [Fraction(fills, 5)] * 5


def test_ties_merge_equal_pitches_only():
    assert lengths("A2-A2 B-c ^f4-|f4 f") == [4, 1, 1, 8, 1]
    assert pitches("^f4-|f4 f") == [78, 77]


def test_rests_chords_grace_notes_and_decorations():
    score = tune('z2 [CEG]2 {ag}A2 !fermata!~B2 | Z2 | "Am7"uc2 "^slow"!trill!d x4 +accent+e H[ce]2')
    track = notes(score.tracks[0])
    assert track.pitch.tolist() == [67, 69, 71, 72, 74, 76, 76]
    assert (track.onset / score.tpq).tolist() == [1, 2, 3, 12, 13, 15.5, 16]
    assert marker(score, "chord") == [(12 * score.tpq, "Am7")]
    assert marker(score, "fermata") == [(3 * score.tpq, "0"), (16 * score.tpq, "0")]


def test_pickup_and_split_bars():
    score = tune("G2|c8|d6:|\n|:G2|e8|f8|]")
    assert pickup(score) == 1
    assert metre_map(score) == [(0, 4, 4)]
    assert (bar_table(score).start / score.tpq).tolist() == [0, 1, 5, 9, 13, 17]


def test_repeats_are_played_out_only_when_asked():
    body = "|:C8|[1 D8:|[2 E8||\nF8:|"
    assert pitches(body) == [60, 62, 64, 65]
    assert pitches("C8|D8:|:E8:|", repeats=True) == [60, 62, 60, 62, 64, 64]
    assert pitches("|:C8|1 D8:|2 E8|]", repeats=True) == [60, 62, 60, 64]


def test_fields_within_the_tune():
    score = tune("A8|[M:3/4][L:1/4][K:D]F3|\nM:2/4\nK:Eb\n[Q:60]BB % comment BBB\nP:B\n|BB|")
    assert notes(score.tracks[0]).pitch.tolist() == [69, 66, 70, 70, 70, 70]
    beat = score.tpq
    assert metre_map(score) == [(0, 4, 4), (4 * beat, 3, 4), (7 * beat, 2, 4)]
    assert [str(k) for _, k in key_map(score)] == ["C major", "D major", "D# major".replace("D#", "Eb")]


def test_words():
    score = tune("C2D2 E2F2|G8|\nw:さ-く-ら *|so_\n")
    beat = score.tpq
    words = [(t.time // beat, t.text) for t in score.tracks[0].lyrics]
    assert words == [(0, "さ-"), (1, "く-"), (2, "ら"), (4, "so")]


def test_voices_become_tracks():
    score = tune('V:1 name="Tune"\nc8|d8|\nV:2\nC8|D8|\n')
    assert [t.name for t in score.tracks] == ["Tune", "2"]
    assert [notes(t).pitch.tolist() for t in score.tracks] == [[72, 74], [48 + 12, 62]]


def test_file_of_tunes(tmp_path):
    path = tmp_path / "tunes.abc"
    path.write_text(
        "% a book\n\nX:1\nT:One\nK:C\nC8|\n\nnotes about it: abcd\n\nX:2\nT:bad\n\nX:3\nT:Three\nK:G\nF8\n"
    )
    scores = read_abc(path)
    assert [marker(s, "title")[0][1] for s in scores] == ["One", "Three"]
    assert marker(read(path), "title") == [(0, "One")]
    assert len(read_abc(path, first=1)) == 1


def test_latin_1_text(tmp_path):
    path = tmp_path / "old.abc"
    path.write_bytes("X:1\nT:Näcken\nK:C\nC8\n".encode("latin-1"))
    assert marker(read(path), "title") == [(0, "Näcken")]


@pytest.mark.slow
def test_agrees_with_music21_on_its_tunes():
    """music21 lets accidentals, dotted pairs and some ties go astray; where they agree, all must."""
    music21 = pytest.importorskip("music21")
    paths = sorted(p for p in music21.corpus.getPaths() if "ryansMammoth" in str(p))[::25]
    same_rhythm = same = 0
    for path in map(Path, paths):
        ours = notes(read(path).tracks[0])
        theirs = music21.converter.parse(path, forceSource=True).parts[0].stripTies().flatten().notes
        found = [(n.quarterLength, max(p.midi for p in n.pitches)) for n in theirs if not n.duration.isGrace]
        found = [f for f in found if f[0]]
        tpq = read(path).tpq
        same_rhythm += [f[0] for f in found] == pytest.approx((ours.duration / tpq).tolist())
        same += [f[1] for f in found] == ours.pitch.tolist()
    assert same_rhythm / len(paths) > 0.7
    assert same / len(paths) > 0.7
