"""ABC files -> Scores, one a tune. Our own reader (music21's takes 30 times as long and brings much else).

A file may hold thousands of tunes (X: begins one, an empty line ends it). Each voice (V:) becomes a track;
R: becomes the `rhythm` marker. Modes are kept by their signature: D dorian reads as no sharps, minor.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from symusic import Score

from otonoha.io.abc_tune import Voice
from otonoha.io.guard import load_bytes
from otonoha.io.measures import Assembly, resolution

MAX_BYTES = 64 * 2**20
HEADERS = {"T": "title", "C": "composer", "R": "rhythm"}


def read_abc(
    source: str | Path | bytes,
    *,
    repeats: bool = False,
    first: int | None = None,
    limit: int = MAX_BYTES,
    name: str = "",
) -> list[Score]:
    """All tunes of an ABC file, or of its bytes; only the `first` so many where given.

    Repeats are not played out unless `repeats` is set. Tunes that cannot be read are left out; a file in
    which no tune can be read raises ValueError (one line, with the file's name).
    """
    label = name or (str(source) if not isinstance(source, bytes) else "ABC data")
    data = source if isinstance(source, bytes) else load_bytes(source, limit=limit)
    if b"\0" in data:
        raise ValueError(f"{label}: no ABC text")
    scores: list[Score] = []
    reason = "it holds no tune"
    for text in _tunes(_decode(data)):
        try:
            scores.append(_score(text, repeats=repeats))
        except (ValueError, ArithmeticError) as error:
            reason = str(error)
        if first is not None and len(scores) >= first:
            break
    if not scores:
        raise ValueError(f"{label}: no readable ABC ({reason})")
    return scores


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _tunes(text: str) -> list[list[str]]:
    """The lines of each tune, from its X: field on; a text without any X: is one tune."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"X:\s*\d*", line)] or [0]
    return [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]


def _score(lines: list[str], *, repeats: bool) -> Score:
    header, body = _split(lines)
    reader = _TuneReader(header)
    for line in body:
        reader.line(line)
    voices = [v for v in reader.voices.values() if v.notes]
    if not voices:
        raise ValueError("a tune without notes")
    for voice in voices:
        voice.close_measure()
    tpq = resolution(d for v in voices for d in v.denominators())
    titles = {HEADERS[k]: v for k, v in header if k in HEADERS and v}
    titles |= {HEADERS[k]: v for k, v in reversed(header) if k in HEADERS and v}
    return Assembly(titles, [v.part(tpq) for v in voices], tpq, repeats=repeats).score()


def _split(lines: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Header fields up to K:, and the lines of the body up to an empty one."""
    header: list[tuple[str, str]] = []
    for i, line in enumerate(lines):
        match = re.match(r"\s*([A-Za-z]):(.*)", line)
        if match:
            header.append((match[1], match[2].split("%")[0].strip()))
            if match[1] == "K":
                return header, _body(lines[i + 1 :])
    raise ValueError("a tune without a key (K:)")


def _body(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if not line.strip() and kept:
            break
        if line.strip() and not line.startswith("%"):
            kept.append(line)
    return kept


class _TuneReader:
    """Sends the lines of a tune's body to its voices."""

    def __init__(self, header: list[tuple[str, str]]):
        self.header = header
        self.voices: dict[str, Voice] = {}
        self.voice = self._voice("1", "")

    def _voice(self, label: str, name: str) -> Voice:
        """The voice of a label; a new one begins with what the header says."""
        if label not in self.voices:
            voice = Voice(name)
            fields = dict(self.header)
            voice.metre(fields.get("M", "none"))
            voice.unit = Fraction(1, 4) if 0 < voice.bar < 3 else Fraction(1, 2)
            voice.default_length(fields.get("L", ""))
            voice.tempo(fields.get("Q", ""))
            voice.key(fields.get("K", ""))
            self.voices[label] = voice
        return self.voices[label]

    def line(self, line: str) -> None:
        """One line of the body: a field, or music with fields in brackets."""
        match = re.match(r"([A-Za-z]):(?![|:])(.*)", line)
        if match:
            self._field(match[1], match[2].strip())
            return
        music = re.split(r"(\[[KLMQPV]:[^\]]{0,99}\])", line.split("%")[0])
        self.voice.line, self.voice.sung = [], 0
        for piece in music:
            inline = re.fullmatch(r"\[([KLMQPV]):([^\]]*)\]", piece)
            if inline:
                self._field(inline[1], inline[2].strip())
            else:
                self.voice.music(piece)

    def _field(self, letter: str, text: str) -> None:
        voice = self.voice
        if letter == "V":
            label, _, rest = text.partition(" ")
            named = re.search(r'name\s*=\s*"([^"]*)"', rest)
            self.voice = self._voice(label, label)
            self.voice.name = named[1] if named else self.voice.name
            self.voice.line, self.voice.sung = [], 0
        elif letter == "P":
            voice.emit("section", text)
        elif letter in "KMLQw":
            {"K": voice.key, "M": voice.metre, "L": voice.default_length, "Q": voice.tempo, "w": voice.words}[
                letter
            ](text)
