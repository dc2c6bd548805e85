"""Score -> MusicXML 4.0 (score-partwise). Times are whole ticks of the score, re-scaled so that the quarter
note has as few divisions as the notes need.

Each bar of `bar_table` becomes a measure. Overlapping notes of a track become voices, equal onsets and
durations chords. A note that no single sign can show is tied; what lies between the quarters of 2, 4, 8 …
is written as a tuplet of 3, 5 or 7. Keys change at bar lines.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from symusic import Score, Track

from otonoha.io.musicxml_parts import CHORD_KINDS
from otonoha.music.score import bar_table, marker, metre_map, pickup, quantise, signatures, tempo_map
from otonoha.music.theory import spell
from otonoha.music.time import BarTable
from otonoha.music.tracks import Notes, notes
from otonoha.music.voices import separate

FINEST, COARSE = 64, 24
"""Where a note begins or ends at a place finer than 1/FINEST of a quarter, the score is performed rather
than notated, and is rounded to 1/COARSE of a quarter."""
MAX_DIVISIONS = 16_383
DEFAULT_VELOCITY = 80
TYPES = {
    Fraction(8): "breve", Fraction(4): "whole", Fraction(2): "half", Fraction(1): "quarter",
    Fraction(1, 2): "eighth", Fraction(1, 4): "16th", Fraction(1, 8): "32nd", Fraction(1, 16): "64th",
    Fraction(1, 32): "128th",
}  # fmt: skip
SIGNS = sorted(
    ((value * (2 - Fraction(1, 2**dots)), name, dots) for value, name in TYPES.items() for dots in (0, 1, 2)),
    reverse=True,
)
"""(quarters, type, dots) of every note value, longest first."""
TUPLETS = {1: (1, 1), 3: (3, 2), 5: (5, 4), 7: (7, 4)}
FORBIDDEN = r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""Control characters that XML cannot hold."""
HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" \
"http://www.musicxml.org/dtds/partwise.dtd">
<score-partwise version="4.0">
"""
CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container><rootfiles><rootfile full-path="score.musicxml" \
media-type="application/vnd.recordare.musicxml+xml"/></rootfiles></container>
"""


@dataclass(frozen=True)
class _Chord:
    """Notes that begin and end together (ticks); `first` is their index among the track's chords."""

    onset: int
    end: int
    pitches: tuple[int, ...]
    velocities: tuple[int, ...]


@dataclass(frozen=True)
class _Sign:
    """One written note or rest: ticks, its type and dots (None: no sign shows it) and tuplet ratio."""

    ticks: int
    type: str | None
    dots: int
    ratio: tuple[int, int]


def musicxml_bytes(score: Score) -> bytes:
    """The score as uncompressed MusicXML 4.0 in UTF-8."""
    score = _notatable(score)
    bars = bar_table(score)
    parts = [_PartWriter(score, i, bars).xml() for i in range(len(score.tracks))]
    head = "".join(_part_head(track, i) for i, track in enumerate(score.tracks))
    text = [HEADER, _titles(score), "<part-list>\n", head, "</part-list>\n", *parts, "</score-partwise>\n"]
    return "".join(text).encode()


def compress(data: bytes) -> bytes:
    """MusicXML packed as .mxl."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("META-INF/container.xml", CONTAINER.encode()), ("score.musicxml", data)):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _notatable(score: Score) -> Score:
    """The score at the coarsest resolution that holds its notes and bar lines; a performed one is rounded."""
    if not any(len(t.notes) for t in score.tracks):
        raise ValueError("the score has no notes to write")
    times = np.concatenate([np.concatenate([n.onset, n.end]) for n in map(notes, score.tracks)])
    parts = np.unique(score.tpq // np.gcd(times, score.tpq))
    bars = [score.tpq // math.gcd(tick, score.tpq) for tick, _, _ in metre_map(score)]
    bars += [max(den // 4, 1) for _, _, den in metre_map(score)] + [pickup(score).denominator]
    needed = math.lcm(*parts.tolist(), *bars)
    performed = parts.max() > FINEST or needed > MAX_DIVISIONS
    return quantise(score, COARSE if performed else needed)


def _clean(text: str) -> str:
    """Text for XML: escaped, without what XML cannot hold."""
    return escape(re.sub(FORBIDDEN, "", text))


def _titles(score: Score) -> str:
    title = "".join(f"<movement-title>{_clean(v)}</movement-title>\n" for _, v in marker(score, "title")[:1])
    composer = "".join(
        f'<creator type="composer">{_clean(v)}</creator>' for _, v in marker(score, "composer")[:1]
    )
    made = "<encoding><software>otonoha</software></encoding>"
    return f"{title}<identification>{composer}{made}</identification>\n"


def _part_head(track: Track, index: int) -> str:
    part, name = f"P{index + 1}", _clean(track.name)
    pitches = sorted(set(notes(track).pitch.tolist())) if track.is_drum else [None]
    instruments, midi = [], []
    for pitch in pitches:
        tag = f"{part}-I{1 if pitch is None else pitch}"
        channel = 10 if track.is_drum else index % 15 + 1 + (index % 15 >= 9)
        unpitched = "" if pitch is None else f"<midi-unpitched>{pitch + 1}</midi-unpitched>"
        instruments.append(
            f'<score-instrument id="{tag}"><instrument-name>{name}</instrument-name></score-instrument>'
        )
        midi.append(
            f'<midi-instrument id="{tag}"><midi-channel>{channel}</midi-channel>'
            f"<midi-program>{track.program + 1}</midi-program>{unpitched}</midi-instrument>"
        )
    body = "".join(instruments) + "".join(midi)
    return f'<score-part id="{part}"><part-name>{name}</part-name>{body}</score-part>\n'


def _chords(found: Notes) -> list[_Chord]:
    """Notes with equal onset and duration together, in the order of time."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for onset, end, pitch, velocity in zip(
        found.onset.tolist(), found.end.tolist(), found.pitch.tolist(), found.velocity.tolist(), strict=True
    ):
        groups.setdefault((onset, max(end, onset + 1)), []).append((pitch, velocity))
    return [
        _Chord(onset, end, *zip(*sorted(members), strict=True))
        for (onset, end), members in sorted(groups.items())
    ]


def _voices(chords: list[_Chord]) -> list[list[_Chord]]:
    """Chords dealt to voices that do not overlap themselves."""
    columns = [(c.onset, c.end - c.onset, c.pitches[-1], 80) for c in chords]
    table = np.array(columns, np.int64).reshape(-1, 4).T
    voice_of = separate(Notes(*table)).tolist()
    return [
        [c for c, v in zip(chords, voice_of, strict=True) if v == k]
        for k in range(max(voice_of, default=-1) + 1)
    ]


def signs(start: int, end: int, divisions: int) -> Iterator[_Sign]:
    """The written values of what sounds from `start` to `end` (ticks from the bar line)."""
    while start < end:
        stop = _first_cut(start, end, divisions)
        yield from _same_tuplet(start, stop, divisions)
        start = stop


def _tuplet_of(start: int, stop: int, divisions: int) -> int:
    """The odd number (1: none) by which the quarters of 2, 4, 8 … are divided at these places."""
    odd = math.lcm(Fraction(start, divisions).denominator, Fraction(stop, divisions).denominator)
    while odd % 2 == 0:
        odd //= 2
    return odd


def _first_cut(start: int, end: int, divisions: int) -> int:
    """Where to tie: nowhere if one sign shows it all, else at the next quarter or before the last one."""
    kind = _tuplet_of(start, end, divisions)
    if (
        kind in TUPLETS
        and _sign(end - start, kind, divisions)
        and (kind == 1 or _within_group(start, end, kind))
    ):
        return end
    beat = (start // divisions + 1) * divisions
    if start % divisions or kind == 1:
        return min(beat, end) if start % divisions else end
    whole = end // divisions * divisions
    return whole if whole > start else end


def _within_group(start: int, end: int, kind: int) -> bool:
    """Whether a tuplet note stays within one group of `kind` notes of its own length."""
    group = kind * (end - start)
    return start // group == (end - 1) // group


def _sign(ticks: int, kind: int, divisions: int) -> _Sign | None:
    actual, normal = TUPLETS[kind]
    written = Fraction(ticks * actual, divisions * normal)
    for value, name, dots in SIGNS:
        if value == written:
            return _Sign(ticks, name, dots, (actual, normal))
    return None


def _same_tuplet(start: int, stop: int, divisions: int) -> Iterator[_Sign]:
    """Signs for a stretch within one kind of tuplet, longest first."""
    kind = _tuplet_of(start, stop, divisions)
    if kind not in TUPLETS:
        yield _Sign(stop - start, None, 0, (1, 1))
        return
    actual, normal = TUPLETS[kind]
    rest = stop - start
    for value, name, dots in SIGNS:
        ticks = value * normal * divisions / actual
        while ticks.denominator == 1 and ticks <= rest:
            yield _Sign(int(ticks), name, dots, (actual, normal))
            rest -= int(ticks)
    if rest:
        yield _Sign(rest, None, 0, (1, 1))


class _PartWriter:
    """Writes one track, measure by measure."""

    def __init__(self, score: Score, index: int, bars: BarTable):
        self.score, self.index, self.bars = score, index, bars
        self.track = score.tracks[index]
        self.divisions = score.tpq
        self.voices = _voices(_chords(notes(self.track)))
        self.reading = [0] * len(self.voices)
        self.lyrics = _syllables(self.track)
        self.fermatas = {t for t, v in marker(score, "fermata") if v == str(index)}
        self.keys = signatures(score)
        self.sharps = 0
        self.directions = self._directions() if index == 0 else []

    def xml(self) -> str:
        """The whole <part>."""
        measures = [self._measure(i) for i in range(len(self.bars))]
        return f'<part id="P{self.index + 1}">\n' + "".join(measures) + "</part>\n"

    def _measure(self, i: int) -> str:
        begin, end = int(self.bars.start[i]), int(self.bars.start[i + 1])
        upbeat = self.bars.first_is_pickup
        implicit = ' implicit="yes"' if upbeat and not i else ""
        text = [f'<measure number="{i + (not upbeat)}"{implicit}>\n', self._attributes(i, begin, end)]
        text += self._offset_directions(begin, end)
        written = False
        for v in range(len(self.voices)):
            chords = self._sounding(v, begin, end)
            if not chords and (v or written):
                continue
            if written:
                text.append(f"<backup><duration>{end - begin}</duration></backup>\n")
            text.append(self._voice(chords, begin, end, v + 1))
            written = True
        if not self.voices:
            text.append(self._voice([], begin, end, 1))
        return "".join(text) + "</measure>\n"

    def _attributes(self, i: int, begin: int, end: int) -> str:
        metre = (int(self.bars.numerator[i]), int(self.bars.denominator[i]))
        before = (int(self.bars.numerator[i - 1]), int(self.bars.denominator[i - 1])) if i else None
        text = f"<divisions>{self.divisions}</divisions>" if i == 0 else ""
        changes = [said for tick, said in self.keys if begin <= tick < end]
        if changes:
            self.sharps, minor = changes[-1]
            mode = "minor" if minor else "major"
            text += f"<key><fifths>{self.sharps}</fifths><mode>{mode}</mode></key>"
        if metre != before:
            text += f"<time><beats>{metre[0]}</beats><beat-type>{metre[1]}</beat-type></time>"
        if i == 0:
            text += _clef(self.track)
        return f"<attributes>{text}</attributes>\n" if text else ""

    # --- directions ------------------------------------------------------------------------------

    def _directions(self) -> list[tuple[int, str, str]]:
        """(tick, opening, closing): the <offset> goes in between."""
        found = []
        stated = {t.time for t in self.score.tempos}
        for tick, qpm in tempo_map(self.score):
            if tick in stated:
                found.append((tick, _metronome(qpm), f'<sound tempo="{qpm:.6g}"/></direction>\n'))
        for tick, label in marker(self.score, "section"):
            opening = f"<direction><direction-type><rehearsal>{_clean(label)}</rehearsal></direction-type>"
            found.append((tick, opening, "</direction>\n"))
        found += [(tick, _harmony(symbol), "</harmony>\n") for tick, symbol in marker(self.score, "chord")]
        return sorted(found, key=lambda d: d[0])

    def _offset_directions(self, begin: int, end: int) -> Iterator[str]:
        last = end == int(self.bars.start[-1])
        for tick, opening, closing in self.directions:
            if begin <= tick < end or (last and tick == end):
                offset = f"<offset>{tick - begin}</offset>" if tick > begin else ""
                yield opening + offset + closing

    # --- notes -----------------------------------------------------------------------------------

    def _sounding(self, v: int, begin: int, end: int) -> list[_Chord]:
        """The chords of a voice that sound in a measure; measures are asked for in order."""
        chords, at = self.voices[v], self.reading[v]
        while at < len(chords) and chords[at].end <= begin:
            at += 1
        self.reading[v] = at
        stop = at
        while stop < len(chords) and chords[stop].onset < end:
            stop += 1
        return chords[at:stop]

    def _voice(self, chords: list[_Chord], begin: int, end: int, voice: int) -> str:
        if not chords:
            rest = f'<rest measure="yes"/><duration>{end - begin}</duration><voice>{voice}</voice>'
            return f"<note>{rest}</note>\n"
        text: list[str] = []
        tuplet = _TupletMarks(self.divisions)
        at = begin
        for chord in chords:
            start, stop = max(chord.onset, begin), min(chord.end, end)
            text += self._written(None, at, start, begin, voice, tuplet)
            text += self._written(chord, start, stop, begin, voice, tuplet)
            at = stop
        text += self._written(None, at, end, begin, voice, tuplet)
        return "".join(text)

    def _written(
        self, chord: _Chord | None, start: int, stop: int, begin: int, voice: int, tuplet: _TupletMarks
    ) -> Iterator[str]:
        at = start
        for sign in signs(start - begin, stop - begin, self.divisions):
            notations = tuplet.mark(sign, at - begin)
            if chord is None:
                yield f"<note><rest/>{_value(sign, voice)}{_notations(notations)}</note>\n"
            else:
                yield from self._notes(chord, sign, at, voice, notations)
            at += sign.ticks

    def _notes(self, chord: _Chord, sign: _Sign, at: int, voice: int, notations: str) -> Iterator[str]:
        ties = [
            kind
            for kind, there in (("stop", at > chord.onset), ("start", at + sign.ticks < chord.end))
            if there
        ]
        sound = "".join(f'<tie type="{kind}"/>' for kind in ties)
        marks = "".join(f'<tied type="{kind}"/>' for kind in ties)
        fresh = at == chord.onset
        fermata = "<fermata/>" if fresh and at in self.fermatas else ""
        sung = self.lyrics.pop(at, "") if fresh else ""
        for k, (pitch, velocity) in enumerate(zip(chord.pitches, chord.velocities, strict=True)):
            loud = f' dynamics="{velocity / 0.9:.2f}"' if velocity != DEFAULT_VELOCITY else ""
            drum = f'<instrument id="P{self.index + 1}-I{pitch}"/>' if self.track.is_drum else ""
            value = _value(sign, voice, tie=sound + drum)
            extra = _notations(marks + notations + fermata) + sung if k == 0 else _notations(marks)
            yield f"<note{loud}>{'<chord/>' if k else ''}{self._pitch(pitch)}{value}{extra}</note>\n"

    def _pitch(self, pitch: int) -> str:
        if self.track.is_drum:
            return "<unpitched><display-step>C</display-step><display-octave>5</display-octave></unpitched>"
        letter, alter, octave = spell(pitch, self.sharps)
        altered = f"<alter>{alter}</alter>" if alter else ""
        return f"<pitch><step>{letter}</step>{altered}<octave>{octave}</octave></pitch>"


class _TupletMarks:
    """Says where a tuplet's bracket begins and ends within one voice of one measure."""

    def __init__(self, divisions: int):
        self.divisions, self.open = divisions, False

    def mark(self, sign: _Sign, at: int) -> str:
        """The <tuplet> elements of a sign at `at` ticks from the bar line."""
        if sign.ratio == (1, 1):
            return ""
        text = "" if self.open else '<tuplet type="start"/>'
        denominator = Fraction(at + sign.ticks, self.divisions).denominator
        self.open = denominator & (denominator - 1) != 0
        return text if self.open else text + '<tuplet type="stop"/>'


def _value(sign: _Sign, voice: int, *, tie: str = "") -> str:
    shown = f"<type>{sign.type}</type>" + "<dot/>" * sign.dots if sign.type else ""
    if sign.ratio != (1, 1):
        actual, normal = sign.ratio
        shown += (
            f"<time-modification><actual-notes>{actual}</actual-notes>"
            f"<normal-notes>{normal}</normal-notes></time-modification>"
        )
    return f"<duration>{sign.ticks}</duration>{tie}<voice>{voice}</voice>{shown}"


def _notations(content: str) -> str:
    return f"<notations>{content}</notations>" if content else ""


def _clef(track: Track) -> str:
    if track.is_drum:
        return "<clef><sign>percussion</sign></clef>"
    pitch = notes(track).pitch
    low = len(pitch) and float(pitch.mean()) < 57
    return f"<clef><sign>{'F' if low else 'G'}</sign><line>{4 if low else 2}</line></clef>"


def _syllables(track: Track) -> dict[int, str]:
    """Tick -> <lyric>; a trailing "-" says that the word goes on."""
    found: dict[int, str] = {}
    inside = False
    for lyric in sorted(track.lyrics, key=lambda t: t.time):
        goes_on = lyric.text.endswith("-") and len(lyric.text) > 1
        syllabic = {(0, 0): "single", (0, 1): "begin", (1, 1): "middle", (1, 0): "end"}[inside, goes_on]
        text = _clean(lyric.text[:-1] if goes_on else lyric.text)
        found[lyric.time] = f'<lyric number="1"><syllabic>{syllabic}</syllabic><text>{text}</text></lyric>'
        inside = goes_on
    return found


def _metronome(qpm: float) -> str:
    """A tempo direction without its closing tag."""
    shown = f"{qpm:.2f}".rstrip("0").rstrip(".")
    mark = f"<beat-unit>quarter</beat-unit><per-minute>{shown}</per-minute>"
    return f'<direction placement="above"><direction-type><metronome>{mark}</metronome></direction-type>'


def _harmony(symbol: str) -> str:
    """A chord symbol without its closing tag."""
    symbol = re.sub(FORBIDDEN, "", symbol)
    match = re.fullmatch(r"([A-G])(#{1,2}|b{1,2}|)([^/]*)(?:/([A-G])(#{1,2}|b{1,2}|))?", symbol)
    if not match:
        name = "" if symbol == "N.C." else f" text={quoteattr(symbol)}"
        return f'<harmony><root><root-step text="">C</root-step></root><kind{name}>none</kind>'
    step, alter, suffix, bass, bass_alter = match.groups()
    kind = next((k for k, s in CHORD_KINDS.items() if s == suffix), "other")
    text = f"<harmony><root>{_step('root', step, alter)}</root><kind text={quoteattr(suffix)}>{kind}</kind>"
    return text + (f"<bass>{_step('bass', bass, bass_alter)}</bass>" if bass else "")


def _step(name: str, step: str, alter: str) -> str:
    value = alter.count("#") - alter.count("b")
    altered = f"<{name}-alter>{value}</{name}-alter>" if value else ""
    return f"<{name}-step>{step}</{name}-step>{altered}"
