import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.io import read, write
from otonoha.io.midi import midi_bytes, read_midi, write_midi
from otonoha.music.score import (
    bar_table,
    key_map,
    marker,
    metre_map,
    notes,
    tempo_map,
    track_of,
    with_marker,
)


def rows(track):
    return np.stack([getattr(notes(track), c) for c in ("onset", "duration", "pitch", "velocity")]).tolist()


def words(track):
    return [(t.time, t.text) for t in track.lyrics]


def song():
    score = Score(480)
    for i, (name, program, drum) in enumerate(
        [
            ("ソプラノ", 52, False),
            ("Alto", 52, False),
            ("Alto", 52, False),
            ("太鼓", 0, True),
            ("Klavier", 0, False),
        ]
    ):
        track = track_of([0, 480, 960], [480, 480, 960], [60 + i, 62 + i, 64 + i], 70 + i, name=name,
                         program=program, is_drum=drum)  # fmt: skip
        if i < 3:
            track.lyrics = [TextMeta(0, f"さ{i}-"), TextMeta(480, "くら"), TextMeta(960, f"é{i}")]
        score.tracks.append(track)
    score.tempos = [Tempo(0, qpm=75), Tempo(960, qpm=60)]
    score.time_signatures = [TimeSignature(0, 6, 8), TimeSignature(960, 3, 4)]
    score.key_signatures = [KeySignature(0, -3, 1), KeySignature(960, 5, 0)]
    score.markers = [TextMeta(0, "pickup:1/2"), TextMeta(0, "title:荒城の月"), TextMeta(960, "fermata:0")]
    return score


def test_everything_survives_a_midi_file(tmp_path):
    before = song()
    after = read(write(before, tmp_path / "new" / "folder" / "song.mid"))
    assert after.tpq == 480
    assert [(t.name, t.program, t.is_drum) for t in after.tracks] == [
        (t.name, t.program, t.is_drum) for t in before.tracks
    ]
    assert [rows(t) for t in after.tracks] == [rows(t) for t in before.tracks]
    assert [words(t) for t in after.tracks] == [words(t) for t in before.tracks]
    assert [(m.time, m.text) for m in after.markers] == [(m.time, m.text) for m in before.markers]
    assert tempo_map(after) == tempo_map(before)
    assert metre_map(after) == metre_map(before)
    assert key_map(after) == key_map(before)


def test_twenty_tracks_keep_their_lyrics():
    score = Score(96)
    for i in range(20):
        track = track_of([0, 96], [96, 96], [40 + i, 41 + i], name=f"声{i}", program=i)
        track.lyrics = [TextMeta(0, f"la{i}"), TextMeta(96, "li")]
        score.tracks.append(track)
    after = read_midi(midi_bytes(score))
    assert [(t.name, t.program, words(t)) for t in after.tracks] == [
        (t.name, t.program, words(t)) for t in score.tracks
    ]


def test_lyrics_of_other_programs_files():
    """All in one chunk, as in format 0; and in a chunk of their own, as in karaoke files."""
    for kind in (0, 1):
        file = mido.MidiFile(type=kind)
        chunk = mido.MidiTrack()
        for delta, note, channel in ((0, 40, 1), (0, 60, 0), (240, 62, 0), (240, 41, 1)):
            chunk.append(mido.Message("note_on", note=note, velocity=60, channel=channel, time=delta))
        for note, channel in ((60, 0), (62, 0), (40, 1), (41, 1)):
            chunk.append(mido.Message("note_off", note=note, channel=channel, time=100))
        sung = mido.MidiTrack() if kind else chunk
        if not kind:
            chunk.insert(0, mido.MetaMessage("lyrics", text="la"))
            chunk.insert(4, mido.MetaMessage("lyrics", text="li"))
        else:
            sung.append(mido.MetaMessage("track_name", name="Words"))
            sung.append(mido.MetaMessage("lyrics", text="la", time=0))
            sung.append(mido.MetaMessage("lyrics", text="li", time=240))
        file.tracks = [chunk, sung] if kind else [chunk]
        buffer = io.BytesIO()
        file.save(file=buffer)
        tracks = read_midi(buffer.getvalue()).tracks
        assert len(tracks) == 2
        singer = next(t for t in tracks if len(t.lyrics))
        assert notes(singer).pitch.tolist() == [60, 62]
        assert words(singer) == [(0, "la"), (240, "li")]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 900), st.integers(0, 126), st.integers(1, 127)),
             unique_by=lambda r: r[2], max_size=30),
    st.integers(1, 9600),
    st.text(st.characters(min_codepoint=32, exclude_categories=("Cs",)), max_size=20),
)  # fmt: skip
def test_any_notes_and_names_survive(found, tpq, name):
    score = Score(tpq)
    score.tracks = [track_of(*np.array([*found, (0, 1, 127, 9)]).T, name=name)]
    after = read_midi(midi_bytes(score))
    assert after.tpq == tpq
    assert after.tracks[0].name == name
    assert sorted(map(tuple, np.array(rows(after.tracks[0])).T)) == sorted(
        map(tuple, np.array(rows(score.tracks[0])).T)
    )


@pytest.mark.parametrize(
    ("encoding", "name", "syllables"),
    [
        ("cp932", "ソプラノ", ["さ", "く", "ら"]),
        ("latin-1", "Mélodie", ["É", "té", "là"]),
        ("utf-8", "声", ["é", "ソ", "x"]),
    ],
)
def test_texts_in_old_encodings(encoding, name, syllables):
    file = mido.MidiFile(type=1, charset=encoding)
    chunk = mido.MidiTrack(
        [mido.MetaMessage("track_name", name=name), mido.Message("program_change", program=3)]
    )
    for syllable in syllables:
        chunk.append(mido.MetaMessage("lyrics", text=syllable))
        chunk.append(mido.Message("note_on", note=60, velocity=60))
        chunk.append(mido.Message("note_off", note=60, time=16_383))
    file.tracks.append(chunk)
    buffer = io.BytesIO()
    file.save(file=buffer)
    track = read_midi(buffer.getvalue()).tracks[0]
    assert (track.name, track.program) == (name, 3)
    assert words(track) == [(16_383 * i, text) for i, text in enumerate(syllables)]


def test_resolution_that_midi_cannot_hold(tmp_path):
    score = Score(40_000)
    with pytest.raises(ValueError, match="MIDI holds 1 to 32767 ticks per quarter note"):
        write_midi(score, tmp_path / "x.mid")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("metre", "upbeat", "short"), [((3, 4), "1", (1, 4)), ((6, 8), "1/2", (1, 8))])
def test_a_pickup_has_its_bar_lines_in_other_programs_too(metre, upbeat, short):
    score = Score(480)
    score.tracks = [track_of(np.arange(9) * 240, np.full(9, 240), np.full(9, 60))]
    score.time_signatures = [TimeSignature(0, *metre)]
    score = with_marker(score, "pickup", upbeat)
    data = midi_bytes(score)
    plain = Score.from_midi(data)
    assert [(m.numerator, m.denominator) for m in plain.time_signatures] == [short, metre]
    again = read_midi(data)
    assert (metre_map(again), marker(again, "pickup")) == (metre_map(score), marker(score, "pickup"))
    plain.markers = []  # as another program writes it
    told = read_midi(plain.dumps_midi())
    assert bar_table(told).first_is_pickup
    assert bar_table(told).start.tolist() == bar_table(score).start.tolist()


def test_a_metre_that_changes_after_two_bars_is_no_pickup():
    score = Score(480)
    score.tracks = [track_of(np.arange(9) * 480, np.full(9, 480), np.full(9, 60))]
    score.time_signatures = [TimeSignature(0, 2, 4), TimeSignature(1920, 3, 4)]
    again = read_midi(midi_bytes(score))
    assert metre_map(again) == [(0, 2, 4), (1920, 3, 4)]
    assert not marker(again, "pickup")
