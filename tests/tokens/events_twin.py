"""Scores for tests of the events codec, and a slow twin of it that writes and reads one note after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from symusic import KeySignature, Score, Tempo, TextMeta, TimeSignature

from otonoha.music.markers import pickup
from otonoha.music.theory import Key
from otonoha.music.tracks import track_of
from otonoha.tokens.events_vocab import CUT, END, PICKUP, TEMPI, VELOCITIES, VELOCITY_EDGES, Layout
from otonoha.tokens.place import METRES

SIMPLE = [(n, d) for n, d in METRES if 96 * n % d == 0]


@st.composite
def bands(draw: st.DrawFn, *, tpq: int = 24, drums: bool = True, simple: bool = False) -> Score:
    """A score of several tracks with everything that the codec can write, and overlaps that it must cut."""
    score = Score(tpq)
    programs = draw(st.lists(st.sampled_from([0, 0, 40, 41, 52] + [128] * drums), min_size=1, max_size=4))
    for program in programs:
        size = draw(st.integers(1, 10))
        time = st.integers(0, draw(st.sampled_from([10, 100, 600])) * tpq // 24)
        column = [
            draw(st.lists(kind, min_size=size, max_size=size))
            for kind in (
                time,
                st.integers(1, 20) | st.integers(1, 900),
                st.integers(50, 62),
                st.integers(1, 127),
            )
        ]
        onset, length, pitch, velocity = (np.array(c) for c in column)
        score.tracks.append(
            track_of(onset, length, pitch, velocity, program=program % 128, is_drum=program == 128)
        )
    end = score.end()
    places = st.lists(st.integers(1, max(end, 1)), max_size=0 if simple else 3, unique=True)
    metre = st.sampled_from(SIMPLE if simple else [*SIMPLE, (15, 8), (1, 8), (11, 4), (22, 4)])
    first = draw(metre)
    score.time_signatures = [TimeSignature(0, *first)]
    score.time_signatures.extend([TimeSignature(t, *draw(metre)) for t in sorted(draw(places))])
    for tick in sorted({*draw(places), *draw(st.sampled_from([[], [0]]))}):
        key = Key.from_index(draw(st.integers(0, 23)))
        score.key_signatures.append(KeySignature(tick, key.signature(), int(key.mode == "minor")))
    for tick in sorted({*draw(places), *draw(st.sampled_from([[], [0]]))}):
        score.tempos.append(Tempo(tick, draw(st.floats(25, 300))))
    bar = Fraction(4 * tpq * first[0], first[1])
    if 2 < bar <= 12 * tpq and draw(st.booleans()):
        score.markers.append(TextMeta(0, f"pickup:{draw(st.integers(1, int(bar) - 1))}/{tpq}"))
    return score


def rounded(tick: int, tpq: int, resolution: int) -> int:
    return (2 * resolution * tick + tpq) // (2 * tpq)


def quantised(score: Score, resolution: int) -> list[tuple[int, list[tuple[int, int, int, int]]]]:
    """Of each sounding track: its program (128 for drums) and (onset, end, pitch, loudness) as the codec keeps them:
    on the grid, cut where the same pitch begins again, one loudness for what begins together. Drums end at once.
    """
    found = []
    for track in score.tracks:
        best: dict[tuple[int, int], tuple[int, int]] = {}
        for note in track.notes:
            onset = rounded(note.time, score.tpq, resolution)
            end = max(rounded(note.time + note.duration, score.tpq, resolution), onset + 1)
            end = onset + 1 if track.is_drum else end
            best[onset, note.pitch] = max(best.get((onset, note.pitch), (0, 0)), (end, note.velocity))
        highest: dict[int, int] = {}
        for onset, pitch in best:
            highest[onset] = max(highest.get(onset, 0), pitch)
        kept, following = [], {}
        for onset, pitch in sorted(best, reverse=True):
            end, loud = best[onset, pitch][0], best[onset, highest[onset]][1]
            level = sum(loud >= edge for edge in VELOCITY_EDGES)
            kept.append((onset, min(end, following.get(pitch, end)), pitch, level))
            following[pitch] = onset
        if kept:
            found.append((128 if track.is_drum else track.program, sorted(kept)))
    return found


def bars(score: Score, resolution: int, end: int) -> list[tuple[int, int, int, tuple[int, int], bool]]:
    """(tick, length, place at which it begins, metre, whether it is cut) of each bar, one after the other."""
    metres = {
        rounded(m.time, score.tpq, resolution): (m.numerator, m.denominator) for m in score.time_signatures
    }
    metres.setdefault(0, (4, 4))
    if all(m == (1, 4) for t, m in metres.items() if t < end or not t):
        metres = {0: (4, 4)}
    changes = sorted(t for t in metres if 0 < t < end)
    metre = metres[0]
    full = -(-4 * resolution * metre[0] // metre[1])
    upbeat = round(pickup(score) * resolution) % full
    found, tick = [], 0
    if upbeat:
        found.append((0, upbeat, full - upbeat, metre, False))
        tick = upbeat
    while tick < end:
        metre = metres[max([0, *(t for t in changes if t <= tick)])]
        length = -(-4 * resolution * metre[0] // metre[1])
        stop = min([t for t in changes if t > tick and t > upbeat], default=end + length)
        begin = max([upbeat, *(t for t in changes if t <= tick)])
        full = min(8 * resolution, length - (tick - begin) % length)
        if length > 12 * resolution:
            stop = min(stop, tick + full, end if tick + full >= end else stop)
            found.append((tick, stop - tick, 0, metre, stop < end))
        else:
            cut = stop < tick + length
            found.append((tick, stop - tick if cut else length, 0, metre, cut))
        tick = min(stop, tick + length)
    return found


def twin(score: Score, layout: Layout, *, velocities: bool = True) -> list[int]:
    """The symbols from the first `Bar ?` to End, written one after the other."""
    r = layout.resolution
    tracks = quantised(score, r)
    end = max(e for _, kept in tracks for _, e, _, _ in kept)
    tokens, metre = [], None
    frame = bars(score, r, end)
    told = changes(score, layout, end)
    for tick, length, origin, now, cut in frame:
        tokens.append(layout.id("Bar", 0))
        if now != metre:
            tokens += metre_words(now, layout)
            metre = now
        tokens += [PICKUP, layout.id("Pos", origin)] if origin else []
        tokens += [CUT, layout.id("Pos", length)] if cut else []
        place = origin
        for at, token in told:
            if tick <= at < tick + length:
                if at - tick + origin != place:
                    place = at - tick + origin
                    tokens.append(layout.id("Pos", place))
                tokens.append(token)
        inside = [[n for n in kept if tick <= n[0] < tick + length] for _, kept in tracks]
        for i, (program, _) in enumerate(tracks):
            copies = [inside[k] for k in range(i + 1, len(tracks)) if tracks[k][0] == program]
            if inside[i] or any(copies):
                tokens.append(layout.id("Program", program))
                tokens += cell(inside[i], tick - origin, origin, layout, program == 128, velocities)
    return [*tokens, END]


def changes(score: Score, layout: Layout, end: int) -> list[tuple[int, int]]:
    """(tick, symbol) of every change of key and tempo before the end, keys first."""
    r = layout.resolution
    keys = {
        rounded(k.time, score.tpq, r): layout.id("Key", Key.from_signature(k.key, bool(k.tonality)).index)
        for k in score.key_signatures
    }
    tempi = {
        rounded(t.time, score.tpq, r): layout.id(
            "Tempo", int(np.argmin(np.abs(np.log(np.array(TEMPI) / t.qpm))))
        )
        for t in score.tempos
    }
    found = []
    for order, timeline in enumerate((keys, tempi)):
        before = None
        for tick in sorted(timeline):
            if tick < end and timeline[tick] != before:
                found.append((tick, order, timeline[tick]))
                before = timeline[tick]
    return [(tick, token) for tick, _, token in sorted(found)]


def metre_words(metre: tuple[int, int], layout: Layout) -> list[int]:
    if metre in METRES:
        return [layout.id("Metre", METRES.index(metre))]
    return [layout.id("Over", (1, 2, 4, 8, 16, 32, 64).index(metre[1])), layout.id("Num", metre[0])]


def cell(inside: list, start: int, place: int, layout: Layout, drum: bool, velocities: bool) -> list[int]:
    """The content of one cell: `inside` notes, `start` the tick of place 0."""
    tokens, loud, length = [], VELOCITIES.index(80), None
    for onset, end, pitch, level in sorted(inside, key=lambda n: (n[0], -n[2])):
        if onset - start != place:
            place = onset - start
            tokens.append(layout.id("Pos", place))
        if velocities and level != loud:
            loud = level
            tokens.append(layout.id("Vel", level))
        if drum:
            tokens.append(layout.id("Drum", pitch))
            continue
        if end - onset != length:
            length = end - onset
            wholes, rest = divmod(length - 1, 4 * layout.resolution)
            while wholes:
                # The last one says what is left, those before it the most that one can say.
                step = wholes if wholes <= 15 else 15
                first = (wholes - 1) // 15
                tokens += [layout.id("Long", 15)] * first + [layout.id("Long", wholes - 15 * first)]
                wholes -= step + (wholes - step)
            tokens.append(layout.id("Dur", rest + 1))
        tokens.append(layout.id("Pitch", pitch))
    return tokens


def facts(score: Score) -> dict[str, object]:
    """What must survive, of a score on the codec's grid."""
    return {
        "notes": quantised(score, score.tpq),
        "tempo": [(t.time, round(t.qpm, 2)) for t in score.tempos],
        "key": [(k.time, k.key, k.tonality) for k in score.key_signatures],
        "pickup": pickup(score),
        "metre": [(m.time, m.numerator, m.denominator) for m in score.time_signatures],
    }
