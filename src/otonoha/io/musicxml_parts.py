"""One part of a MusicXML file, read measure by measure into plain lists (no Score yet).

Ticks are whole; where divisions are too odd for the score's tpq they are rounded once, without drift.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from otonoha.io.measures import Event, Part

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DYNAMICS = {
    "pppp": 16, "ppp": 24, "pp": 36, "p": 50, "mp": 64, "mf": 80, "f": 96, "ff": 110, "fff": 120, "ffff": 127,
    "fp": 50,
}  # fmt: skip
BEAT_UNITS = {
    "breve": Fraction(8), "whole": Fraction(4), "half": Fraction(2), "quarter": Fraction(1),
    "eighth": Fraction(1, 2), "16th": Fraction(1, 4), "32nd": Fraction(1, 8),
}  # fmt: skip
CHORD_KINDS = {
    "major": "", "minor": "m", "augmented": "aug", "diminished": "dim", "dominant": "7",
    "major-seventh": "maj7", "minor-seventh": "m7", "diminished-seventh": "dim7", "augmented-seventh": "aug7",
    "half-diminished": "m7b5", "major-minor": "mMaj7", "major-sixth": "6", "minor-sixth": "m6",
    "dominant-ninth": "9", "major-ninth": "maj9", "minor-ninth": "m9", "dominant-11th": "11",
    "dominant-13th": "13", "suspended-second": "sus2", "suspended-fourth": "sus4", "power": "5",
}  # fmt: skip
LIMIT = 2**30
"""No position, duration or number in a file may exceed this."""

Ticks = int | Fraction


def number(text: str | None) -> Ticks:
    """An int, or a Fraction for a decimal. Raises ValueError for anything else and for absurd size."""
    text = (text or "").strip()
    if len(text) > 24 or "e" in text.lower():
        raise ValueError(f"number {text[:24]!r} makes no sense")
    try:
        value: Ticks = int(text)
    except ValueError:
        value = Fraction(text)
    if not -LIMIT <= value <= LIMIT:
        raise ValueError(f"number {text!r} is too large")
    return value


def whole(text: str | None) -> int:
    """A whole number; decimals are rounded."""
    return round(number(text))


class _Tie(NamedTuple):
    """A note (its index) that wants to go on after (measure, end)."""

    note: int
    measure: int
    end: Ticks
    voice: str


class PartReader:
    """Walks through the measures of one part; `drums` maps the ids of drum instruments to pitches."""

    def __init__(self, part: Part, tpq: int, drums: dict[str, int]):
        self.part, self.tpq, self.drums = part, tpq, drums
        self.scale: Ticks = tpq
        self.cursor: Ticks = 0
        self.reached: Ticks = 0
        self.onset: Ticks = 0
        self.index = -1
        self.bar: Ticks = 4 * tpq
        self.shift = 0
        self.open_ties: dict[int, list[_Tie]] = {}
        self.handlers: dict[str, Callable[[Element], object]] = {
            "note": self._note,
            "backup": self._backup,
            "forward": self._forward,
            "attributes": self._attributes,
            "direction": self._direction,
            "sound": self._sound,
            "harmony": self._harmony,
            "barline": self._barline,
        }

    def read(self, element: Element) -> None:
        """Take in the next <measure>."""
        self.index += 1
        self.cursor = self.reached = self.onset = 0
        for child in element:
            handler = self.handlers.get(child.tag)
            if handler is not None:
                handler(child)
        self.part.length.append(round(self.reached))
        self.part.nominal.append(round(self.bar))
        self.part.implicit.append(element.get("implicit") == "yes")

    def _emit(self, kind: str, value: Any, at: Ticks | None = None) -> None:
        offset = max(round(self.cursor if at is None else at), 0)
        self.part.events.append(Event(self.index, offset, kind, value))

    def _move(self, by: Ticks) -> None:
        self.cursor = max(self.cursor + by, 0)
        if self.cursor > self.reached:
            self.reached = self.cursor
            if self.reached > LIMIT:
                raise ValueError("a measure is absurdly long")

    def _backup(self, element: Element) -> None:
        self._move(-self._duration(element))

    def _forward(self, element: Element) -> None:
        self._move(self._duration(element))

    def _duration(self, element: Element) -> Ticks:
        duration = number(element.findtext("duration"))
        if duration < 0:
            raise ValueError(f"negative duration {duration}")
        return duration * self.scale

    # --- notes -----------------------------------------------------------------------------------

    def _note(self, element: Element) -> None:
        pitch: int | None = None
        duration: Ticks = 0
        chord = silent = grace = False
        extras: list[Element] = []
        ties = ""
        for child in element:
            tag = child.tag
            if tag == "pitch":
                pitch = self._pitch(child)
            elif tag == "duration":
                duration = number(child.text) * self.scale
            elif tag == "chord":
                chord = True
            elif tag in ("rest", "cue"):
                silent = True
            elif tag == "grace":
                grace = True
            elif tag == "tie":
                ties += child.get("type", "")
            elif tag in ("notations", "lyric"):
                extras.append(child)
            elif tag == "unpitched":
                pitch = self._unpitched(element, child)
        if grace:
            return
        if duration < 0:
            raise ValueError(f"negative duration {duration}")
        if not chord:
            self.onset = self.cursor
            self._move(duration)
        if pitch is None or silent or not duration:
            return
        index = self._sounding(element, pitch, duration, ties)
        for extra in extras:
            self._lyric(extra) if extra.tag == "lyric" else self._notations(extra, index)

    def _pitch(self, element: Element) -> int:
        step = (element.findtext("step") or "").strip()
        if step not in STEPS:
            raise ValueError(f"unknown pitch step {step!r}")
        alter = round(number(element.findtext("alter") or "0"))
        pitch = 12 * (whole(element.findtext("octave")) + 1) + STEPS[step] + alter + self.shift
        if not 0 <= pitch <= 127:
            raise ValueError(f"pitch {step}{element.findtext('octave')} is outside of MIDI's range")
        return pitch

    def _unpitched(self, note: Element, element: Element) -> int:
        self.part.is_drum = True
        instrument = note.find("instrument")
        if instrument is not None and instrument.get("id", "") in self.drums:
            return self.drums[instrument.get("id", "")]
        step = (element.findtext("display-step") or "B").strip()
        octave = whole(element.findtext("display-octave") or "4")
        return min(max(12 * (octave + 1) + STEPS.get(step, 11), 0), 127)

    def _sounding(self, element: Element, pitch: int, duration: Ticks, ties: str) -> int:
        """A new note, or more of the one that is tied to it; its index."""
        part, onset = self.part, round(self.onset)
        ticks = round(self.onset + duration) - onset
        voice = element.findtext("voice") or ""
        tie = self._tied_to(pitch, voice) if "stop" in ties else None
        if tie is not None:
            index = tie.note
            part.duration[index] += ticks
        else:
            index = len(part.measure)
            part.measure.append(self.index)
            part.offset.append(onset)
            part.duration.append(max(ticks, 1))
            part.pitch.append(pitch)
            part.velocity.append(self._loudness(element))
        if "start" in ties:
            self.open_ties.setdefault(pitch, []).append(_Tie(index, self.index, self.onset + duration, voice))
        return index

    def _tied_to(self, pitch: int, voice: str) -> _Tie | None:
        """The open tie that ends where this note begins, rather one of the same voice; it is closed."""
        recent = [t for t in self.open_ties.get(pitch, ()) if t.measure >= self.index - 1]
        fitting = [
            t for t in recent if (t.end == self.onset if t.measure == self.index else not self.onset)
        ]  # fmt: skip
        tie = min(fitting, key=lambda t: t.voice != voice, default=None)
        self.open_ties[pitch] = [t for t in recent if t is not tie]
        return tie

    @staticmethod
    def _loudness(element: Element) -> int:
        """Velocity of a note's own `dynamics` (percent of 90); 0 where it has none."""
        stated = element.get("dynamics")
        return min(max(round(number(stated) * Fraction(9, 10)), 1), 127) if stated else 0

    def _notations(self, element: Element, note: int) -> None:
        if element.find("fermata") is not None:
            part = self.part
            part.events.append(Event(part.measure[note], part.offset[note], "fermata", None))

    def _lyric(self, element: Element) -> None:
        syllable = "".join(c.text or (" " if c.tag == "elision" else "") for c in element
                           if c.tag in ("text", "elision")).strip()  # fmt: skip
        if not syllable:
            return
        syllabic = [c.text for c in element if c.tag == "syllabic"]
        if syllabic and syllabic[-1] in ("begin", "middle") and not syllable.endswith("-"):
            syllable += "-"
        self._emit("lyric", (element.get("number") or "1", syllable), self.onset)

    # --- attributes, directions, chords, bar lines -------------------------------------------------

    def _attributes(self, element: Element) -> None:
        divisions = element.findtext("divisions")
        if divisions is not None:
            value = number(divisions)
            if value <= 0:
                raise ValueError(f"divisions must be positive, got {divisions.strip()}")
            scale = Fraction(self.tpq) / value
            self.scale = scale.numerator if scale.denominator == 1 else scale
        transpose = element.find("transpose")
        if transpose is not None:
            octaves = whole(transpose.findtext("octave-change") or "0")
            self.shift = whole(transpose.findtext("chromatic") or "0") + 12 * octaves
        for key in element.iterfind("key"):
            self._key(key)
            break
        for time in element.iterfind("time"):
            self._metre(time)
            break

    def _key(self, element: Element) -> None:
        fifths = element.findtext("fifths")
        if fifths is None:
            return
        sounding = whole(fifths) + 7 * self.shift if self.shift % 12 else whole(fifths)
        if not -7 <= sounding <= 7:
            sounding = (sounding + 6) % 12 - 6
        mode = (element.findtext("mode") or "").strip()
        self._emit("key", (sounding, mode if mode in ("major", "minor") else None))

    def _metre(self, element: Element) -> None:
        beats = [sum(map(int, (b.text or "").split("+"))) for b in element.iterfind("beats")]
        units = [whole(b.text) for b in element.iterfind("beat-type")]
        if not beats or len(beats) != len(units):  # senza misura
            self.bar = 0
            return
        if min(beats + units) < 1 or max(beats + units) > 128:
            raise ValueError(f"metre {beats[0]}/{units[0]} makes no sense")
        unit = max(units)
        numerator = sum(b * unit // u for b, u in zip(beats, units, strict=True))
        self.bar = Fraction(4 * self.tpq * numerator, unit)
        self._emit("metre", (numerator, unit))

    def _direction(self, element: Element) -> None:
        offset = element.findtext("offset")
        at = self.cursor + (number(offset) * self.scale if offset else 0)
        sound = element.find("sound")
        told = sound is not None and self._sound(sound, at)
        for holder in element.iterfind("direction-type"):
            for child in holder:
                if child.tag == "dynamics":
                    for mark in child:
                        if mark.tag in DYNAMICS:
                            self._emit("dynamics", DYNAMICS[mark.tag], at)
                elif child.tag == "metronome" and not told:
                    self._metronome(child, at)
                elif child.tag == "rehearsal" and (child.text or "").strip():
                    self._emit("section", (child.text or "").strip(), at)

    def _sound(self, element: Element, at: Ticks | None = None) -> bool:
        tempo = element.get("tempo")
        if tempo is None:
            return False
        qpm = float(number(tempo))
        if 1 <= qpm <= 2000:
            self._emit("tempo", qpm, at)
        return True

    def _metronome(self, element: Element, at: Ticks) -> None:
        unit = BEAT_UNITS.get((element.findtext("beat-unit") or "").strip())
        try:
            rate = float(element.findtext("per-minute") or "")
        except ValueError:
            return  # "ca. 80", or one note value set equal to another
        dots = len(element.findall("beat-unit-dot"))
        if unit is not None and 1 <= rate <= 2000:
            self._emit("tempo", rate * float(unit * (2 - Fraction(1, 2 ** min(dots, 4)))), at)

    def _harmony(self, element: Element) -> None:
        kind = element.find("kind")
        symbol = self._chord_root(element, "root")
        if kind is None or (not symbol and kind.text != "none"):
            return
        offset = element.findtext("offset")
        at = self.cursor + (number(offset) * self.scale if offset else 0)
        if kind.text == "none":
            self._emit("chord", kind.get("text") or "N.C.", at)
            return
        suffix = CHORD_KINDS.get((kind.text or "").strip(), kind.get("text") or "")
        bass = self._chord_root(element, "bass")
        self._emit("chord", symbol + suffix + (f"/{bass}" if bass else ""), at)

    @staticmethod
    def _chord_root(element: Element, name: str) -> str:
        step = (element.findtext(f"{name}/{name}-step") or "").strip()
        alter = whole(element.findtext(f"{name}/{name}-alter") or "0")
        return step + ("#" * alter if alter > 0 else "b" * -alter) if abs(alter) <= 2 else ""

    def _barline(self, element: Element) -> None:
        ending, repeat = element.find("ending"), element.find("repeat")
        if ending is not None:
            opens = ending.get("type") == "start"
            kind = "ending" if opens else "ending-stop"
            self.part.jumps.append((self.index, kind, ending.get("number", "1")))
        if repeat is not None:
            forward = repeat.get("direction") == "forward"
            self.part.jumps.append(
                (self.index, "forward" if forward else "backward", repeat.get("times", "2"))
            )
