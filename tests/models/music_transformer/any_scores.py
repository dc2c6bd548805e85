"""Scores as they come: for tests of what happens to the notes that nobody asked to change."""

from __future__ import annotations

from hypothesis import strategies as st
from symusic import Note, Score, Tempo, TextMeta, TimeSignature, Track


def rows(track: Track) -> list[tuple[int, int, int, int]]:
    return [(n.time, n.duration, n.pitch, n.velocity) for n in track.notes]


def look(track: Track) -> tuple:
    return track.name, track.program, track.is_drum


BAR_OF = {(4, 4): 4, (3, 4): 3, (6, 8): 3, (5, 4): 5}


@st.composite
def scores(draw, least: int = 1):
    """Tracks with notes anywhere, some off the grid, held over bar lines; empty ones, drums, doubled programs."""
    tpq = draw(st.sampled_from([24, 96, 480, 10080, 15]))
    score = Score(tpq)
    metre = draw(st.sampled_from(list(BAR_OF)))
    score.time_signatures.append(TimeSignature(0, *metre))
    bar = BAR_OF[metre] * tpq
    upbeat = draw(st.sampled_from([0, 0, 1])) * tpq
    if upbeat:
        score.markers.append(TextMeta(0, "pickup:1"))
    bars = draw(st.integers(2, 4))
    if draw(st.booleans()):
        score.time_signatures.append(TimeSignature(upbeat + bar, *draw(st.sampled_from(list(BAR_OF)))))
    if draw(st.booleans()):
        score.tempos.append(Tempo(0, draw(st.sampled_from([60.0, 93.5]))))
    for number in range(draw(st.integers(least, 3))):
        program = draw(st.sampled_from([0, 40, 40, 128]))
        track = Track(
            draw(st.sampled_from(["", "lead", "x"])), 0 if program == 128 else program, program == 128
        )
        for _ in range(draw(st.integers(1, 8))):
            onset = draw(st.integers(0, bars * bar - 1))
            onset = onset if draw(st.booleans()) else onset // (tpq // 3) * (tpq // 3)
            length, pitch = draw(st.integers(1, 2 * bar)), draw(st.integers(40, 70))
            track.notes.append(Note(onset, length, pitch, draw(st.integers(1, 127))))
        score.tracks.append(track)
        if not number:
            score.tracks.append(Track("words only", 52, False))
    return score
