"""One tune in ABC notation (standard 2.1, the part of it that melodies use), as a Part.

Times are fractions of a quarter note until the tune is complete. Grace notes, slurs, decorations other than
fermatas, and voice overlays (&) are skipped; ties across equal pitches merge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from otonoha.io.measures import Event, Part

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
MODES = {
    "maj": 0,
    "ion": 0,
    "lyd": 1,
    "mix": -1,
    "dor": -2,
    "min": -3,
    "m": -3,
    "aeo": -3,
    "phr": -4,
    "loc": -5,
}
MINOR_MODES = ("min", "m", "aeo", "dor", "phr", "loc")
TUPLET_TIME = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
TOKEN = re.compile(
    r"""(?P<field>\[[A-Za-z]:[^\]]{0,99}\]) | (?P<text>"[^"]{0,199}")
    | (?P<decoration>![^!|]{1,30}!|\+[a-z]{1,30}\+)
    | (?P<grace>\{[^}]{0,99}\})
    | (?P<bar>:{0,3}\|[\]|:]{0,5}(?:\s{0,3}\[?[1-9][\d,\-]{0,9})?|:{1,3}|\[\|\]?|\[[1-9][\d,\-]{0,9})
    | \((?P<tuplet>[2-9])(?::(?P<q>\d?))?(?::(?P<r>\d?))?
    | (?P<chord>\[(?=[^\]]{0,99}[A-Ga-g])[^\]|]{1,99}\]) (?P<chordlength>\d{0,4}/{0,6}\d{0,4})
    | (?P<accidental>\^{0,2}|_{0,2}|=?)(?P<note>[A-Ga-g])(?P<octave>[,']{0,9})(?P<length>\d{0,4}/{0,6}\d{0,4})
    | (?P<rest>[zxZX])(?P<restlength>\d{0,4}/{0,6}\d{0,4})
    | (?P<broken><{1,3}|>{1,3}) | (?P<tie>-) | (?P<overlay>&) | (?P<hold>H)""",
    re.VERBOSE,
)


@dataclass
class _Sounding:
    """A note of the voice: its place, and its letter and octave for ties."""

    measure: int
    offset: Fraction
    duration: Fraction
    pitch: int
    letter: str


@dataclass
class Voice:
    """A voice being read. Lengths are in quarter notes; `bar` is the metre's (0: free)."""

    name: str
    unit: Fraction = Fraction(1, 2)
    bar: Fraction = Fraction(4)
    compound: bool = False
    """6/8, 9/8, 12/8 …: a quintuplet fills three units there, elsewhere two."""
    sharps: int = 0
    extra: dict[str, int] = field(default_factory=dict)
    at: Fraction = Fraction(0)
    notes: list[_Sounding] = field(default_factory=list)
    events: list[tuple[int, Fraction, str, Any]] = field(default_factory=list)
    lengths: list[Fraction] = field(default_factory=list)
    nominal: list[Fraction] = field(default_factory=list)
    jumps: list[tuple[int, str, str]] = field(default_factory=list)
    altered: dict[str, int] = field(default_factory=dict)
    line: list[tuple[int, Fraction]] = field(default_factory=list)
    """Where the notes of the latest line of music are, for its words."""
    sung: int = 0
    tuplet: tuple[int, Fraction] = (0, Fraction(1))
    broken: Fraction = Fraction(1)
    latest: Fraction = Fraction(0)
    """The length of the note just read, without what it is tied to; 0 after a rest."""
    open_tie: bool = False
    held: bool = False
    in_ending: bool = False
    overlay: bool = False

    def emit(self, kind: str, value: Any) -> None:
        """Something happens here."""
        self.events.append((len(self.lengths), self.at, kind, value))

    # --- fields ----------------------------------------------------------------------------------

    def key(self, text: str) -> None:
        """K: tonic, mode, further accidentals; 'HP' are the Highland pipes."""
        text = text.split("%")[0].strip()
        match = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", text)
        self.extra = {
            n.upper(): ACCIDENTALS[a] for a, n in re.findall(r"(?<!\S)(\^{1,2}|_{1,2}|=)([A-Ga-g])\b", text)
        }
        if text[:2].lower() == "hp":
            self.sharps, minor = 2, False
        elif match:
            letter, accidental, word = match.groups()
            mode = "m" if word.lower() == "m" else word.lower()[:3]
            self.sharps = FIFTHS[letter] + {"#": 7, "b": -7, "": 0}[accidental] + MODES.get(mode, 0)
            minor = mode in MINOR_MODES
        else:
            self.sharps, minor = 0, False
        if -7 <= self.sharps <= 7:
            self.emit("key", (self.sharps, "minor" if minor else "major"))

    def metre(self, text: str) -> None:
        """M: '6/8', 'C', 'C|', '(2+3)/8', 'none'."""
        text = text.split("%")[0].strip()
        text = {"C": "4/4", "c": "4/4", "C|": "2/2", "c|": "2/2"}.get(text, text)
        match = re.fullmatch(r"\(?(\d{1,3}(?:\+\d{1,3})*)\)?\s*/\s*(\d{1,3})", text)
        if not match:
            self.bar = Fraction(0)
            return
        beats, unit = sum(map(int, match[1].split("+"))), int(match[2])
        if not (1 <= beats <= 128 and 1 <= unit <= 128):
            raise ValueError(f"metre {text!r} makes no sense")
        self.bar = Fraction(4 * beats, unit)
        self.compound = beats > 3 and beats % 3 == 0
        self.emit("metre", (beats, unit))

    def default_length(self, text: str) -> None:
        """L: '1/8'."""
        match = re.match(r"\s*(\d{1,3})\s*/\s*(\d{1,3})", text)
        if match and int(match[1]) and int(match[2]):
            self.unit = Fraction(4 * int(match[1]), int(match[2]))

    def tempo(self, text: str) -> None:
        """Q: '1/4=120', '120', '"Allegro" 3/8=60'."""
        match = re.search(r"(?:(\d{1,3})/(\d{1,3})\s*=\s*)?(\d{1,4})", re.sub(r'"[^"]*"|%.*', "", text))
        if match and int(match[2] or 1):
            beat = Fraction(4 * int(match[1]), int(match[2])) if match[1] else self.unit
            if 1 <= int(match[3]) * beat <= 2000:
                self.emit("tempo", float(int(match[3]) * beat))

    # --- music -----------------------------------------------------------------------------------

    def music(self, line: str) -> None:
        """Read a line of music, or a part of one."""
        for token in TOKEN.finditer(line):
            kind = token.lastgroup or ""
            if token["bar"]:
                self._bar(token["bar"])
            elif self.overlay:
                continue
            elif token["note"]:
                self._note(token)
            elif token["rest"]:
                self._rest(token["rest"], token["restlength"])
            elif token["chord"]:
                self._chord(token["chord"][1:-1], token["chordlength"])
            elif token["tuplet"]:
                self._tuplet(token)
            elif token["text"]:
                self._text(token["text"][1:-1])
            elif kind == "broken":
                self._broken(token["broken"])
            elif kind == "tie":
                self.open_tie = True
            elif kind == "overlay":
                self.overlay = True
            elif kind == "hold" or (token["decoration"] or "").strip("!+") == "fermata":
                self.held = True

    def _length(self, text: str) -> Fraction:
        above, slashes, below = re.fullmatch(r"(\d*)(/*)(\d*)", text).groups()  # type: ignore[union-attr]
        divisor = int(below) if below else 2 ** len(slashes)
        length = Fraction(int(above or 1), divisor or 1) if slashes else Fraction(int(above or 1))
        return length * self.unit

    def _take(self, written: Fraction) -> Fraction:
        """A written length as it sounds, within tuplets and broken rhythm."""
        count, ratio = self.tuplet
        if count:
            self.tuplet = (count - 1, ratio)
            written *= ratio
        written *= self.broken
        self.broken = Fraction(1)
        return written

    def _pitch(self, accidental: str, note: str, octave: str) -> tuple[int, str]:
        """MIDI pitch and 'letter+octave' of a note; an accidental holds to the end of the bar."""
        step = note.upper()
        height = 5 + (note.islower()) + octave.count("'") - octave.count(",")
        name = f"{step}{height}"
        if accidental:
            self.altered[name] = ACCIDENTALS[accidental]
        alter = self.altered.get(name, self.extra.get(step, self._signature(step)))
        pitch = 12 * height + STEPS[step] + alter
        if not 0 <= pitch <= 127:
            raise ValueError(f"note {note}{octave} is outside of MIDI's range")
        return pitch, name

    def _signature(self, step: str) -> int:
        place = FIFTHS[step] + 1
        return (self.sharps - place + 6) // 7

    def _note(self, token: re.Match[str]) -> None:
        pitch, name = self._pitch(token["accidental"], token["note"], token["octave"])
        self._sound(pitch, name, self._length(token["length"]), explicit=bool(token["accidental"]))

    def _sound(self, pitch: int, name: str, written: Fraction, *, explicit: bool) -> None:
        duration = self._take(written)
        last = self.notes[-1] if self.notes else None
        tied = self.open_tie and last is not None and last.letter == name
        self.open_tie = False
        if duration <= 0:
            return
        self.line.append((len(self.lengths), self.at))
        if last is not None and tied and (last.pitch == pitch or not explicit):
            last.duration += duration  # a tie carries the accidental over the bar line
        else:
            self.notes.append(_Sounding(len(self.lengths), self.at, duration, pitch, name))
        if self.held:
            self.emit("fermata", None)
        self.held = False
        self.at += duration
        self.latest = duration

    def _chord(self, inside: str, length: str) -> None:
        """The highest note of a chord, with the length of its first one."""
        found = [m for m in TOKEN.finditer(inside) if m["note"]]
        pitches = [self._pitch(m["accidental"], m["note"], m["octave"]) for m in found]
        inner = self._length(found[0]["length"]) / self.unit
        self._sound(*max(pitches), self._length(length) * inner, explicit=True)

    def _rest(self, kind: str, length: str) -> None:
        self.open_tie = False
        self.latest = Fraction(0)
        if kind in "ZX":
            bars = min(int(re.match(r"\d*", length)[0] or 1), 1000)  # type: ignore[index]
            for _ in range(bars):
                self.at += self.bar
                self.close_measure()
            return
        self.at += self._take(self._length(length))

    def _tuplet(self, token: re.Match[str]) -> None:
        """(p:q:r : p notes in the time of q for the next r notes."""
        p = int(token["tuplet"])
        q = int(token["q"] or 0) or TUPLET_TIME.get(p, 3 if self.compound else 2)
        self.tuplet = (int(token["r"] or 0) or p, Fraction(q, p))

    def _broken(self, signs: str) -> None:
        """a>b: the first note is dotted, the second halved; more signs, more dots."""
        if not (self.notes and self.latest and self.at):
            return
        short = Fraction(1, 2 ** len(signs))
        first, second = (2 - short, short) if signs[0] == ">" else (short, 2 - short)
        longer = self.latest * (first - 1)
        self.at += longer
        self.notes[-1].duration += longer
        self.broken = second

    def _text(self, text: str) -> None:
        if re.match(r"[A-G][#b]?(?![a-z]{3})", text) and len(text) <= 12:
            self.emit("chord", text)

    # --- bar lines -------------------------------------------------------------------------------

    def close_measure(self) -> None:
        """End the measure, if anything is in it."""
        self.altered = {}
        self.overlay = False
        if self.at > 0:
            self.lengths.append(self.at)
            self.nominal.append(self.bar)
        self.at = Fraction(0)

    def _bar(self, text: str) -> None:
        if not (text.startswith("[") and text[1:2].isdigit()):
            self.close_measure()
        here, last = len(self.lengths), len(self.lengths) - 1
        ending = re.search(r"[1-9][\d,\-]*$", text)
        signs = text[: ending.start()] if ending else text
        if self.in_ending and last >= 0 and signs.strip(" [") != "|":
            self.jumps.append((last, "ending-stop", ""))
            self.in_ending = False
        if signs.startswith(":") and last >= 0:
            self.jumps.append((last, "backward", "2"))
        if signs.rstrip(" [").endswith(":"):
            self.jumps.append((here, "forward", "2"))
        if ending:
            self.jumps.append((here, "ending", ending[0]))
            self.in_ending = True

    def words(self, text: str) -> None:
        """w: the syllables of the line of music before."""
        for syllable in re.findall(r"[^\s\-_*|]+-?|[-_*|]", text.split("%")[0]):
            if syllable == "|":
                here = self.line[self.sung - 1][0] if self.sung else -1
                while self.sung < len(self.line) and self.line[self.sung][0] <= here:
                    self.sung += 1
            elif self.sung < len(self.line):
                measure, offset = self.line[self.sung]
                self.sung += 1
                if syllable not in "-_*":
                    said = syllable.replace("~", " ").replace("\\", "")
                    self.events.append((measure, offset, "lyric", ("1", said)))

    # --- to ticks ----------------------------------------------------------------------------------

    def denominators(self) -> set[int]:
        """Of all times."""
        times = [t for n in self.notes for t in (n.offset, n.duration)] + self.lengths + self.nominal
        return {t.denominator for t in times}

    def part(self, tpq: int) -> Part:
        """The finished part in ticks."""
        self.close_measure()
        if self.in_ending:
            self.jumps.append((len(self.lengths) - 1, "ending-stop", ""))
        last = len(self.lengths) - 1
        part = Part(name=self.name, program=0, jumps=[j for j in self.jumps if j[0] <= last])
        part.measure = [n.measure for n in self.notes]
        part.offset = [round(n.offset * tpq) for n in self.notes]
        part.duration = [max(round(n.duration * tpq), 1) for n in self.notes]
        part.pitch = [n.pitch for n in self.notes]
        part.velocity = [0] * len(self.notes)
        part.length = [round(t * tpq) for t in self.lengths]
        part.nominal = [round(t * tpq) for t in self.nominal]
        part.implicit = [False] * len(self.lengths)
        part.events = [Event(m, round(o * tpq), kind, v) for m, o, kind, v in self.events if m <= last]
        return part
