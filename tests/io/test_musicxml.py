import os
import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.io import read, write
from otonoha.io.musicxml import read_musicxml
from otonoha.io.musicxml_write import musicxml_bytes, signs
from otonoha.music.score import (
    bar_table,
    key_map,
    marker,
    metre_map,
    notes,
    pickup,
    slice_bars,
    tempo_map,
    track_of,
    with_marker,
)

DATA = os.environ.get("OTONOHA_DATA", "")


def rows(track, tpq):
    n = notes(track)
    return sorted(
        (Fraction(o, tpq), Fraction(d, tpq), p, v)
        for o, d, p, v in zip(
            n.onset.tolist(), n.duration.tolist(), n.pitch.tolist(), n.velocity.tolist(), strict=True
        )
    )


def xml(measures, *, attributes="", parts=1, name="Violine", extra=""):
    """A small file; `measures` are the insides of the measures of every part."""
    head = f"<divisions>6</divisions><time><beats>3</beats><beat-type>4</beat-type></time>{attributes}"
    ids = [f"P{i}" for i in range(parts)]
    listed = "".join(f'<score-part id="{i}"><part-name>{name}</part-name>{extra}</score-part>' for i in ids)
    body = [f"<measure><attributes>{head}</attributes>{measures[0]}</measure>"]
    body += [m if m.startswith("<measure") else f"<measure>{m}</measure>" for m in measures[1:]]
    inside = "".join(f'<part id="{i}">{"".join(body)}</part>' for i in ids)
    return f"<score-partwise><part-list>{listed}</part-list>{inside}</score-partwise>".encode()


def note(step, duration, *, octave=4, more="", before="", voice="1"):
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{before}{pitch}<duration>{duration}</duration><voice>{voice}</voice>{more}</note>"


def tie(*kinds):
    return "".join(f'<tie type="{k}"/>' for k in kinds)


def test_notes_chords_rests_backup_and_grace():
    score = read_musicxml(xml([
        note("C", 6) + note("E", 6, before="<chord/>") + "<note><rest/><duration>6</duration></note>"
        + "<note><grace/><pitch><step>A</step><octave>5</octave></pitch></note>" + note("G", 6)
        + "<backup><duration>18</duration></backup><forward><duration>6</duration></forward>"
        + note("F", 12, octave=3, voice="2")
    ]))  # fmt: skip
    assert [r[:3] for r in rows(score.tracks[0], score.tpq)] == [
        (0, 1, 60),
        (0, 1, 64),
        (1, 2, 53),
        (2, 1, 67),
    ]
    assert score.tracks[0].name == "Violine"
    assert score.tracks[0].program == 40


def test_ties_across_bars_and_voices_become_one_note():
    score = read_musicxml(xml([
        note("C", 12) + note("D", 6, more=tie("start")),
        note("D", 18, more=tie("stop", "start")),
        note("D", 6, more=tie("stop"), voice="2") + note("D", 6) + note("C", 6, more=tie("stop")),
    ]))  # fmt: skip
    assert [r[:3] for r in rows(score.tracks[0], score.tpq)] == [
        (0, 2, 60),
        (2, 5, 62),
        (7, 1, 62),
        (8, 1, 60),
    ]


def test_two_tied_unisons_stay_apart():
    again = "<backup><duration>18</duration></backup>"
    score = read_musicxml(xml([
        note("C", 18, more=tie("start")) + again
        + "<forward><duration>12</duration></forward>" + note("C", 6, more=tie("start"), voice="2"),
        note("C", 6, more=tie("stop")) + "<forward><duration>12</duration></forward>" + again
        + note("C", 12, more=tie("stop"), voice="2"),
    ]))  # fmt: skip
    assert [r[:2] for r in rows(score.tracks[0], score.tpq)] == [(0, 4), (2, 3)]


def test_transposing_instruments_sound_as_they_should():
    clarinet = (
        "<key><fifths>0</fifths><mode>major</mode></key><transpose><chromatic>-2</chromatic></transpose>"
    )
    score = read_musicxml(xml([note("C", 18)], attributes=clarinet, name="Klarinette in B"))
    assert notes(score.tracks[0]).pitch.tolist() == [58]
    assert str(key_map(score)[0][1]) == "Bb major"
    assert score.tracks[0].program == 71


def test_mode_comes_from_the_notes_where_the_file_names_none():
    signature = "<key><fifths>0</fifths></key>"
    minor = read_musicxml(xml([note("A", 6) + note("E", 6) + note("A", 6)], attributes=signature))
    major = read_musicxml(xml([note("C", 6) + note("G", 6) + note("C", 6)], attributes=signature))
    assert [str(key_map(s)[0][1]) for s in (minor, major)] == ["A minor", "C major"]


def test_pickup_split_bars_and_irregular_bars():
    score = read_musicxml(xml([
        note("C", 6), note("D", 18), note("E", 12), '<measure implicit="yes">' + note("F", 6) + "</measure>",
        note("G", 30), note("A", 18), note("C", 12),
    ]))  # fmt: skip
    assert pickup(score) == 1
    assert (bar_table(score).start / score.tpq).tolist() == [0, 1, 4, 7, 12, 15, 18]
    assert [(t / score.tpq, n, d) for t, n, d in metre_map(score)] == [(0, 3, 4), (7, 5, 4), (12, 3, 4)]


def test_measures_are_aligned_between_parts():
    first = xml([note("C", 18), note("D", 18)], parts=1).decode()
    second = '<part id="P1"><measure><attributes><divisions>4</divisions></attributes></measure>' \
             "<measure>" + note("E", 12) + "</measure></part></score-partwise>"  # fmt: skip
    score = read_musicxml(first.replace("</score-partwise>", second).encode())
    assert [r[0] for r in rows(score.tracks[1], score.tpq)] == [3]


def test_lyrics_first_verse_with_hyphens():
    def sung(text, syllabic, number="1"):
        return f'<lyric number="{number}"><syllabic>{syllabic}</syllabic><text>{text}</text></lyric>'

    score = read_musicxml(xml([
        note("C", 6, more=sung("1. さ", "begin") + sung("zwei", "single", "2"))
        + note("D", 6, more=sung("く", "middle")) + note("E", 6, more=sung("ら", "end")),
        note("C", 18, more=sung("zwei", "single", "2")),
    ]))  # fmt: skip
    words = [(t.time / score.tpq, t.text) for t in score.tracks[0].lyrics]
    assert words == [(0, "さ-"), (1, "く-"), (2, "ら")]


def test_directions_dynamics_and_markers():
    def direction(inside):
        return f"<direction><direction-type>{inside}</direction-type></direction>"

    metronome = (
        "<metronome><beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>40</per-minute></metronome>"
    )
    harmony = "<harmony><root><root-step>B</root-step><root-alter>-1</root-alter></root>" \
              "<kind>minor-seventh</kind><bass><bass-step>D</bass-step></bass></harmony>"  # fmt: skip
    score = read_musicxml(xml([
        direction(metronome) + direction("<rehearsal>A</rehearsal>") + direction("<dynamics><p/></dynamics>")
        + harmony + note("C", 6) + direction("<dynamics><ff/></dynamics>") + '<sound tempo="75"/>'
        + note("D", 12, more="<notations><fermata/></notations>"),
    ], parts=2))  # fmt: skip
    assert tempo_map(score) == [(0, 60.0), (score.tpq, 75.0)]
    assert notes(score.tracks[0]).velocity.tolist() == [50, 110]
    assert marker(score, "section") == [(0, "A")]
    assert marker(score, "chord") == [(0, "Bbm7/D")]
    assert marker(score, "fermata") == [(score.tpq, "0"), (score.tpq, "1")]


def test_repeats_are_played_out_only_when_asked():
    forward = '<barline><repeat direction="forward"/></barline>'
    first = '<barline><ending number="1" type="start"/></barline>'
    close = '<barline><ending number="1" type="stop"/><repeat direction="backward"/></barline>'
    second = '<barline><ending number="2" type="start"/></barline>'
    end = '<barline><ending number="2" type="stop"/></barline>'
    data = xml([note("C", 18), forward + note("D", 18), first + note("E", 18) + close,
                second + note("F", 18) + end, note("G", 18)])  # fmt: skip
    assert notes(read_musicxml(data).tracks[0]).pitch.tolist() == [60, 62, 64, 65, 67]
    assert notes(read_musicxml(data, repeats=True).tracks[0]).pitch.tolist() == [60, 62, 64, 62, 65, 67]


def test_drums_keep_their_instruments():
    drum = "<midi-channel>10</midi-channel><midi-unpitched>37</midi-unpitched>"
    extra = f'<midi-instrument id="P0-I36">{drum}</midi-instrument>'
    hit = '<note><unpitched/><duration>18</duration><instrument id="P0-I36"/></note>'
    score = read_musicxml(xml([hit], extra=extra))
    assert score.tracks[0].is_drum
    assert notes(score.tracks[0]).pitch.tolist() == [36]


def song():
    score = Score(12)
    tune = track_of(
        [0, 12, 16, 20, 24, 30, 33, 48, 96, 96, 96], [12, 4, 4, 4, 6, 3, 15, 40, 12, 12, 30],
        [60, 61, 62, 63, 64, 66, 67, 68, 60, 64, 48], [80, 64, 80, 80, 90, 80, 80, 80, 80, 80, 80],
        name="Stimme <1>", program=52,
    )  # fmt: skip
    tune.lyrics = [TextMeta(0, "さ-"), TextMeta(12, "く-"), TextMeta(16, "ら"), TextMeta(20, "& so")]
    drums = track_of([12, 24], [12, 12], [36, 42], name="Drums", is_drum=True)
    score.tracks = [tune, drums]
    score.time_signatures = [TimeSignature(0, 3, 4), TimeSignature(84, 6, 8)]
    score.key_signatures = [KeySignature(0, -3, 1), KeySignature(84, 4, 0)]
    score.tempos = [Tempo(0, qpm=75), Tempo(30, qpm=60)]
    score.markers = [
        TextMeta(0, t) for t in ("pickup:1", "title:荒城の月", "composer:Taki & Co", "chord:Am7b5/Eb")
    ] + [TextMeta(24, "section:A"), TextMeta(48, "fermata:0"), TextMeta(84, "chord:N.C.")]
    return score


@pytest.mark.parametrize("suffix", [".musicxml", ".xml", ".mxl"])
def test_a_song_survives(tmp_path, suffix):
    before = song()
    after = read(write(before, tmp_path / f"song{suffix}"))
    assert [rows(t, after.tpq) for t in after.tracks] == [rows(t, 12) for t in before.tracks]
    assert [(t.name, t.program, t.is_drum) for t in after.tracks] == [
        (t.name, t.program, t.is_drum) for t in before.tracks
    ]
    scale = after.tpq // 12
    assert (bar_table(after).start / scale).tolist() == bar_table(before).start.tolist()
    for track_a, track_b in zip(after.tracks, before.tracks, strict=True):
        assert [(t.time / scale, t.text) for t in track_a.lyrics] == [
            (t.time, t.text) for t in track_b.lyrics
        ]
    assert [(m.time / scale, m.text) for m in after.markers] == [(m.time, m.text) for m in before.markers]
    assert [(t / scale, k) for t, k in key_map(after)] == key_map(before)
    assert [(t / scale, q) for t, q in tempo_map(after)] == tempo_map(before)
    assert [(t / scale, *m) for t, *m in metre_map(after)] == metre_map(before)


def test_written_file_is_notation():
    """Triplets as tuplets with brackets, a pick-up without a number of its own, ties, two voices."""
    text = musicxml_bytes(song()).decode()
    assert '<measure number="0" implicit="yes">' in text
    assert text.count('<tuplet type="start"/>') == text.count('<tuplet type="stop"/>') > 0
    assert "<type>eighth</type><time-modification><actual-notes>3</actual-notes><normal-notes>2" in text
    assert "<step>E</step><alter>-1</alter>" in text  # E flat, not D sharp, in C minor
    assert text.count('<tie type="start"/>') == text.count('<tie type="stop"/>') > 0
    assert "<voice>2</voice>" in text


@given(st.integers(0, 48), st.integers(1, 60), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 24]))
def test_signs_fill_the_time_exactly(start, length, divisions):
    assert sum(s.ticks for s in signs(start, start + length, divisions)) == length


@pytest.mark.parametrize(
    ("start", "end", "divisions", "types"),
    [(0, 4, 1, ["whole"]), (0, 5, 2, ["half", "eighth"]), (1, 6, 2, ["eighth", "half"]),
     (0, 1, 3, ["eighth"]), (0, 2, 3, ["quarter"]), (2, 4, 3, ["quarter"]),
     (0, 3, 4, ["eighth"]), (0, 1, 5, ["16th"])],
)  # fmt: skip
def test_signs(start, end, divisions, types):
    assert [s.type for s in signs(start, end, divisions)] == types


GRID = st.sampled_from([2, 4, 6, 8, 10, 12, 14, 24])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(30, 90), st.integers(1, 127)),
             min_size=1, max_size=25, unique_by=lambda r: (r[0], r[2])),
    GRID, st.sampled_from([(4, 4), (3, 4), (6, 8), (5, 4), (2, 2), (7, 8)]),
    st.integers(0, 3), st.integers(-5, 5),
)  # fmt: skip
def test_any_notes_survive(found, tpq, metre, upbeat, sharps):
    score = Score(tpq)
    score.tracks = [track_of(*np.array(found).T)]
    score.time_signatures = [TimeSignature(0, *metre)]
    score.key_signatures = [KeySignature(0, sharps, 0)]
    if 0 < upbeat < 4 * metre[0] / metre[1]:
        score.markers = [TextMeta(0, f"pickup:{upbeat}")]
    after = read_musicxml(musicxml_bytes(score))
    assert rows(after.tracks[0], after.tpq) == rows(score.tracks[0], tpq)
    first = bar_table(score).start / tpq
    again = bar_table(after).start / after.tpq
    assert np.allclose(first[: len(again)], again[: len(first)])


@pytest.mark.parametrize(
    ("symbol", "inside"),
    [
        ("Bb", '<root-step>B</root-step><root-alter>-1</root-alter></root><kind text="">major</kind>'),
        ("F#m", '<root-step>F</root-step><root-alter>1</root-alter></root><kind text="m">minor</kind>'),
        ("Am7/Eb", "<bass-step>E</bass-step><bass-alter>-1</bass-alter>"),
        ("Tacet & so\x01 on", '<kind text="Tacet &amp; so on">none</kind>'),
    ],
)
def test_chord_symbols_are_written_by_root_and_kind(symbol, inside):
    score = Score(4)
    score.tracks = [track_of([0], [4], [60])]
    data = musicxml_bytes(with_marker(score, "chord", symbol))
    assert inside in data.decode()
    assert marker(read_musicxml(data), "chord") == [(0, symbol.replace("\x01", ""))]


@pytest.mark.parametrize(("sharps", "minor"), [(-7, 0), (-6, 0), (-6, 1), (6, 0), (7, 1)])
def test_flat_keys_stay_flat(sharps, minor):
    score = Score(4)
    score.tracks, score.key_signatures = [track_of([0], [4], [61])], [KeySignature(0, sharps, minor)]
    data = musicxml_bytes(slice_bars(score, 0, 1))
    assert [(k.key, k.tonality) for k in read_musicxml(data).key_signatures] == [(sharps, minor)]
    assert (b"<step>D</step><alter>-1</alter>" in data) == (sharps < 0)


def test_performed_music_is_rounded_to_what_can_be_notated():
    score = Score(480)
    score.tracks = [track_of([3, 481, 1003], [470, 500, 430], [60, 62, 64])]
    after = read_musicxml(musicxml_bytes(score))
    twentyfourths = [(o * 24, d * 24) for o, d, *_ in rows(after.tracks[0], after.tpq)]
    assert twentyfourths == [(0, 24), (24, 25), (50, 22)]


def test_archive_names_its_score(tmp_path):
    path = write(song(), tmp_path / "a.mxl")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["META-INF/container.xml", "score.musicxml"]
    assert path.read_bytes() == write(song(), tmp_path / "b.mxl").read_bytes()


@pytest.mark.skipif(
    not Path(DATA, "openscore-lieder").is_dir(), reason="OTONOHA_DATA has no openscore-lieder"
)
def test_real_songs_survive():
    for path in sorted(Path(DATA, "openscore-lieder", "mxl").glob("*.mxl"))[10::400]:
        before = read(path)
        after = read_musicxml(musicxml_bytes(before))
        for a, b in zip(after.tracks, before.tracks, strict=True):
            assert rows(a, after.tpq) == rows(b, before.tpq)
            assert [t.text for t in a.lyrics] == [t.text for t in b.lyrics]
        assert np.allclose(bar_table(after).start / after.tpq, bar_table(before).start / before.tpq)
        assert [m.text for m in after.markers] == [m.text for m in before.markers]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bach/bwv269", "bach/bwv10.7", "bach/bwv1.6", "bach/bwv253", "bach/bwv66.6"]
)
def test_agrees_with_music21(name):
    music21 = pytest.importorskip("music21")
    path = music21.corpus.getWork(name)
    ours = read(path)
    theirs = music21.converter.parse(path, forceSource=True)
    expected = Counter(
        (
            Fraction(n.offset).limit_denominator(5000),
            Fraction(n.quarterLength).limit_denominator(5000),
            p.midi,
        )
        for part in theirs.parts
        for n in part.stripTies().flatten().notes
        if not n.duration.isGrace
        for p in n.pitches
    )
    assert Counter(r[:3] for t in ours.tracks for r in rows(t, ours.tpq)) == expected
