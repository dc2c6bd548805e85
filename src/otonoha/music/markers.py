"""What a symusic Score cannot say travels as markers `name:value` (TextMeta in `score.markers`).

The table below is the whole vocabulary; every reader, writer and codec goes by it. Ticks are the score's.
"""

from __future__ import annotations

from fractions import Fraction

from symusic import Score, TextMeta

from otonoha.music.suggest import one_of

MARKERS = {
    "pickup": "at tick 0: the first bar is a pick-up of that many quarter notes, '1/2' or '0.5'",
    "fermata": "index of the track; at the onset of the note that is held",
    "chord": "a chord symbol such as 'Am7', 'Bb/D' or 'N.C.'",
    "section": "the label of a section or rehearsal mark",
    "style": "the name of a style",
    "title": "the title, at tick 0",
    "composer": "the composer, at tick 0",
    "rhythm": "the kind of dance a tune is (ABC's R: field), at tick 0",
}


def marker(score: Score, name: str) -> list[tuple[int, str]]:
    """All (tick, value) of one name, in the order of time."""
    head = one_of(name, MARKERS, "marker") + ":"
    found = [(m.time, m.text[len(head) :].strip()) for m in score.markers if m.text.startswith(head)]
    return sorted(found, key=lambda pair: pair[0])


def with_marker(score: Score, name: str, value: str, tick: int = 0) -> Score:
    """A copy of the score with one more marker; markers stay in the order of time."""
    text = f"{one_of(name, MARKERS, 'marker')}:{value}"
    result = score.copy()
    at = sum(m.time <= tick for m in result.markers)
    result.markers.insert(at, TextMeta(tick, text))
    return result


def without_marker(score: Score, name: str) -> Score:
    """A copy of the score without the markers of one name."""
    head = one_of(name, MARKERS, "marker") + ":"
    result = score.copy()
    result.markers = [m for m in score.markers if not m.text.startswith(head)]
    return result


def pickup(score: Score) -> Fraction:
    """Length of the pick-up bar in quarter notes; 0 where there is none or the marker makes no sense."""
    for _, value in marker(score, "pickup"):
        try:
            length = Fraction(value)
        except (ValueError, ZeroDivisionError):
            continue
        if 0 < length <= 64:
            return length
    return Fraction(0)
