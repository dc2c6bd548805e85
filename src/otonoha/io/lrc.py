"""Lyrics in files: plain text, or LRC with the times of lines and words.

    [ti:The title]                     what is known of the song: ti, ar, al, by, la, …
    [offset:+250]                      milliseconds by which all lyrics come earlier
    [00:12.30]A line of the song
    [00:15.10][01:04.00]A line that is sung twice
    [00:20.00]<00:20.00>Word <00:20.50>by <00:20.80>word<00:21.40>
    [00:22.00]                         here the last line ends

Hundredths and thousandths of a second, `[mm:ss]` and `[mm:ss:xx]` are read; three digits are written. A word ends at
the next time in its line; two times with only a space between them are a pause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otonoha.io.guard import load_bytes, store_bytes
from otonoha.music.sung_text import Line, SungText, Word

MAX_BYTES = 10 * 2**20
LAST = 999 * 60 + 59.9995
"""The latest time that the format has room for, in seconds."""

_TIME = r"(\d{1,3}):(\d{1,2})(?:[.:](\d{1,3}))?"
_LINE_TIME = re.compile(rf"\s*\[{_TIME}\]")
_WORD_TIME = re.compile(rf"<{_TIME}>")
_ABOUT = re.compile(r"\s*\[([A-Za-z#][\w #-]*):(.*)\]\s*")
_SPOILT = re.compile(r"\s*(\[\d[^\]]*:[^\]]*\]?)")
_SPOILT_WORD = re.compile(r"<\d+:[^<>]*>")


def read_lyrics(path: str | Path) -> SungText:
    """Read a text or LRC file in UTF-8 (or UTF-16 with its mark). ValueError, one line, for anything else."""
    data = load_bytes(path, limit=MAX_BYTES)
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"{path} is no text: it holds a zero byte")
    return parse_lyrics(text, name=str(path))


def parse_lyrics(text: str, *, name: str = "lyrics") -> SungText:
    """Lines from text: LRC where any line begins with a time, else plain text, kept line by line.

    Raises ValueError naming the line for times that are none, such as [00:75.00], or that run backwards in a line.
    """
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not any(_LINE_TIME.match(row) or _SPOILT.match(row) for row in rows):
        about, kept = _plain(rows)
        return SungText(tuple(Line(row.rstrip()) for row in kept), about)
    about, found = {}, []
    for number, row in enumerate(rows, 1):
        where = f"{name}, line {number}"
        if (said := _ABOUT.fullmatch(row)) and not _LINE_TIME.match(row):
            about[said[1].strip().lower()] = said[2].strip()
        elif row.strip():
            found += _timed_lines(row, where)
    shift = _offset(about.pop("offset", "0"), name)
    sung = SungText(tuple(_ended(found)), about)
    return sung.shifted(-shift) if shift else sung


def _plain(rows: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Text without times: `[ti:…]` lines at its head tell of the song, blank lines at both ends go."""
    about: dict[str, str] = {}
    kept = list(rows)
    while kept and (not kept[0].strip() or _ABOUT.fullmatch(kept[0])):
        if said := _ABOUT.fullmatch(kept.pop(0)):
            about[said[1].strip().lower()] = said[2].strip()
    while kept and not kept[-1].strip():
        kept.pop()
    return about, kept


def _timed_lines(row: str, where: str) -> list[Line]:
    """The line of a row, once for each of the times in front of it."""
    starts, at = [], 0
    while tag := _LINE_TIME.match(row, at):
        starts.append(_seconds(tag, where))
        at = tag.end()
    spoilt = _SPOILT.match(row, at) or _SPOILT_WORD.search(_WORD_TIME.sub("", row[at:]))
    if spoilt:
        raise ValueError(f"{where}: {spoilt[0].strip()!r} is no time; times are written mm:ss.xx")
    words, text, end = _words(row[at:], where)
    if not starts:
        return [Line(text, words[0].start if words else None, end, words)]
    return [_moved(Line(text, starts[0], end, words), start - starts[0]) for start in starts]


def _moved(line: Line, by: float) -> Line:
    return SungText((line,)).shifted(by).lines[0] if by else line


def _words(rest: str, where: str) -> tuple[tuple[Word, ...], str, float | None]:
    """Words with times, the text without them, and when its last word ends (None where no time says so)."""
    tags = list(_WORD_TIME.finditer(rest))
    if not tags:
        return (), rest.strip(), None
    times = [_seconds(tag, where) for tag in tags]
    if sorted(times) != times:
        raise ValueError(f"{where}: the times of its words run backwards")
    if rest[: tags[0].start()].strip():
        raise ValueError(f"{where}: its first word has no time, {rest[: tags[0].start()].strip()!r}")
    edges = [tag.start() for tag in tags[1:]] + [len(rest)]
    pieces = [rest[tag.end() : edge] for tag, edge in zip(tags, edges)]
    ends: list[float | None] = [*times[1:], None]
    words = tuple(Word(p.strip(), t, e) for p, t, e in zip(pieces, times, ends) if p.strip())
    return words, "".join(pieces).strip(), None if pieces[-1].strip() else times[-1]


def _seconds(tag: re.Match[str], where: str) -> float:
    minutes, seconds, rest = tag.groups()
    if int(seconds) >= 60:
        raise ValueError(f"{where}: {tag[0].strip()!r} has {seconds} seconds; times are written mm:ss.xx")
    return (int(minutes) * 60_000 + int(seconds) * 1000 + int((rest or "").ljust(3, "0"))) / 1000


def _offset(said: str, name: str) -> float:
    try:
        return int(said.replace(" ", "")) / 1000
    except ValueError:
        raise ValueError(f"{name}: the offset must be a whole number of milliseconds, got {said!r}") from None


def _ended(found: Sequence[Line]) -> list[Line]:
    """In the order of time; each line ends where it says so, or where the next one begins."""
    starts: list[tuple[float, int]] = []
    for index, line in enumerate(found):  # a line without a time stays behind the one before it
        starts.append((line.start if line.start is not None else starts[-1][0] if starts else 0.0, index))
    ordered = [found[index] for _, index in sorted(starts)]
    begun = [line.start for line in ordered if line.start is not None] + [None]
    lines, number = [], 0
    for line in ordered:
        if line.start is not None:
            number += 1
            line = _closed(line, begun[number]) if line.end is None else line
        if line.text:
            lines.append(line)
    return lines


def _closed(line: Line, end: float | None) -> Line:
    """The line with its end, and that of its last word, filled in."""
    words = line.words
    if words and words[-1].end is None and end is not None and end >= words[-1].start:
        words = (*words[:-1], Word(words[-1].text, words[-1].start, end))
    return Line(line.text, line.start, end, words)


# -- writing ----------------------------------------------------------------------------------------------


def lrc_text(sung: SungText) -> str:
    """As LRC; a text without times stays plain. Raises ValueError for text that would be read as a time."""
    rows = [f"[{_plain_name(name)}:{' '.join(value.split())}]" for name, value in sung.about.items()]
    lines = list(sung.lines)
    following = [line.start for line in lines[1:]] + [None]
    for line, after in zip(lines, following):
        for text in (line.text, *(w.text for w in line.words)):
            if _SPOILT_WORD.search(text) or _SPOILT.match(text) or _LINE_TIME.match(text):
                raise ValueError(f"the line {line.text!r} holds what LRC would read as a time")
        if line.start is None:
            rows.append(line.text)
            continue
        rows.append(f"[{_stamp(line.start)}]{_words_text(line) if line.words else line.text}")
        told = line.words[-1].end if line.words else None
        if line.end is not None and line.end not in (after, told):
            rows.append(f"[{_stamp(line.end)}]")
    return "\n".join(rows) + "\n"


def write_lrc(sung: SungText, path: str | Path) -> Path:
    """Write lyrics as LRC in UTF-8."""
    return store_bytes(path, lrc_text(sung).encode())


@dataclass
class _Gap:
    """What stands between two words, and when the first of them ends."""

    text: str
    end: float | None


def _words_text(line: Line) -> str:
    places = list(line.places())
    gaps = [_Gap(line.text[a[1] : b[0]], w.end) for w, a, b in zip(line.words, places, places[1:])]
    gaps.append(_Gap("", line.words[-1].end))
    parts = []
    for number, (word, gap) in enumerate(zip(line.words, gaps), 1):
        follows = number < len(line.words) and gap.end == line.words[number].start
        told = "" if gap.end is None or follows else f"<{_stamp(gap.end)}>"
        parts.append(f"<{_stamp(word.start)}>{word.text}{told}{gap.text}")
    return "".join(parts)


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z#][\w #-]*", name):
        raise ValueError(f"{name!r} cannot name a field of LRC; names are letters such as ti, ar, al")
    return name


def _stamp(time: float) -> str:
    if not 0 <= time <= LAST:
        raise ValueError(f"LRC holds times from 0 to 999 minutes, got {time:g} seconds")
    thousandths = round(time * 1000)
    return f"{thousandths // 60000:02d}:{thousandths // 1000 % 60:02d}.{thousandths % 1000:03d}"
