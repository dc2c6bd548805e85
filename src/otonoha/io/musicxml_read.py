"""MusicXML bytes -> Score: a streaming reader (one measure in memory at a time), made for thousands of files.

Parts become tracks (all voices and staves of a part go to its track), ties one note. Grace and cue notes
are skipped; D.C. and D.S. are not followed. Where the file names no mode, the likelier of the two keys of
the signature is taken from the notes.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

from symusic import Score

from otonoha.io.measures import Assembly, Part, resolution
from otonoha.io.musicxml_parts import PartReader, whole

DIVISIONS = re.compile(rb"<divisions>\s*(\d{1,6})\s*</divisions>")
MAX_DEPTH, MAX_ELEMENTS = 10_000, 1_000_000
VOICE_PROGRAMS = (52, 53, 54)
PROGRAMS = (
    (r"violin|geige|violon(?!c)", 40), (r"viola|bratsche|\balto?\b.*(string|streich)", 41),
    (r"cello|violonc", 42), (r"contrab|kontrab|double bass|bassi?\b.*string", 43), (r"harp(?!si)|harfe", 46),
    (r"harpsi|cembalo|clavecin", 6), (r"organ|orgel|orgue", 19), (r"guitar|gitarre", 24),
    (r"flut|flöte|flauto", 73), (r"oboe|hautbois", 68), (r"clarinet|klarinette", 71), (r"bassoon|fagott", 70),
    (r"horn|corno", 60), (r"trumpet|trompete|tromba", 56), (r"trombone|posaune", 57), (r"tuba", 58),
    (r"voice|vocal|sopran|alt|tenor|bass|canto|chant|sing|gesang|stimme|baritone|choir|chor|歌", 52),
)  # fmt: skip


def parse(data: bytes, *, repeats: bool = False) -> Score:
    """MusicXML (uncompressed) -> Score. Raises ValueError or ET.ParseError for a damaged file."""
    data = _as_utf8(data)
    _refuse_bombs(data)
    tpq = resolution({int(d) for d in DIVISIONS.findall(data)} - {0})
    header, parts = _read_parts(data, tpq)
    if not any(part.length for part in parts):
        raise ValueError("it holds no measures")
    return Assembly(header, parts, tpq, repeats=repeats).score()


def _as_utf8(data: bytes) -> bytes:
    """UTF-16 text as UTF-8, so that the checks below see what the parser will see."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16" if data[0] >= 0xFE else ("utf-16-le" if data[0] else "utf-16-be")
        text = data.decode(encoding, errors="replace")
        return re.sub(r"encoding\s*=\s*([\"'])[^\"']*\1", 'encoding="UTF-8"', text, count=1).encode()
    return data


def _refuse_bombs(data: bytes) -> None:
    """Raise ValueError for entity declarations and absurdly deep nesting (expat would build it all)."""
    if b"<!ENTITY" in data:
        raise ValueError("it declares entities, which are refused")
    depth = 0
    for at in range(0, len(data), 2**20):
        chunk = data[at : at + 2**20]
        closed = 2 * chunk.count(b"</") + chunk.count(b"/>") + chunk.count(b"<!") + chunk.count(b"<?")
        depth += chunk.count(b"<") - closed
        if depth > MAX_DEPTH:
            raise ValueError("its elements are nested absurdly deep")


def _read_parts(data: bytes, tpq: int) -> tuple[dict[str, str], list[Part]]:
    header: dict[str, str] = {}
    declared: dict[str, Part] = {}
    drums: dict[str, int] = {}
    parts: list[Part] = []
    reader: PartReader | None = None
    count, last = 0, 0
    for count, (_, element) in enumerate(ET.iterparse(io.BytesIO(data), events=("end",))):
        tag = element.tag
        if tag == "measure":
            if reader is None:
                reader = PartReader(Part(), tpq, drums)
            reader.read(element)
            element.clear()
            last = count
        elif tag == "part" and reader is not None:
            parts.append(_named(reader.part, declared.get(element.get("id", ""))))
            reader = None
            element.clear()
        elif tag == "score-part":
            declared[element.get("id", "")] = _declared_part(element, drums)
        elif tag in ("work-title", "movement-title", "creator"):
            name = element.get("type", tag) if tag == "creator" else tag
            header.setdefault(name, " ".join((element.text or "").split()))
        elif tag == "score-timewise":
            raise ValueError("score-timewise files are not supported; export it as score-partwise")
        if count - last > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS:,} elements outside of measures")
    titles = {"title": header.get("movement-title") or header.get("work-title", "")}
    return titles | {"composer": header.get("composer", "")}, parts


def _declared_part(element: ET.Element, drums: dict[str, int]) -> Part:
    """Name, program and channel of a part; the pitches of drum instruments go into `drums`, by id."""
    part = Part(name=" ".join((element.findtext("part-name") or "").split()))
    for instrument in element.iterfind("midi-instrument"):
        program, channel = instrument.findtext("midi-program"), instrument.findtext("midi-channel")
        if program and part.program is None and 1 <= whole(program) <= 128:
            part.program = whole(program) - 1
        part.is_drum |= bool(channel) and whole(channel) == 10
        unpitched = instrument.findtext("midi-unpitched")
        if unpitched and 1 <= whole(unpitched) <= 128:
            drums[instrument.get("id", "")] = whole(unpitched) - 1
    sound = element.findtext("score-instrument/instrument-sound") or ""
    if sound.startswith("voice.") and part.program not in VOICE_PROGRAMS:
        part.program = VOICE_PROGRAMS[0]  # editors without a singer put an oboe or a trumpet there
    if part.program is None:
        part.program = guess_program(part.name)
    return part


def guess_program(name: str) -> int:
    """General MIDI program (0-127) for a part's name; piano (0) where nothing fits."""
    return next((program for pattern, program in PROGRAMS if re.search(pattern, name.lower())), 0)


def _named(part: Part, declared: Part | None) -> Part:
    if declared is not None:
        part.name, part.program = declared.name, declared.program
        part.is_drum |= declared.is_drum
    return part
