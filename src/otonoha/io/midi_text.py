"""Old MIDI files hold their texts in Shift JIS or Latin-1; here they become UTF-8 before the parser sees them.

MIDI itself names no encoding. One is chosen for the whole file: UTF-8 where all texts are valid, Shift JIS
where they decode as such and are mostly beyond ASCII, else Latin-1.
"""

from __future__ import annotations

from collections.abc import Iterator

TEXT_EVENTS = range(1, 8)


def as_utf8(data: bytes) -> bytes:
    """The same MIDI file with its texts in UTF-8; a file too damaged to walk through comes back as it is."""
    try:
        chunks = list(_chunks(data))
        texts = [body[a:b] for name, body in chunks if name == b"MTrk" for _, a, b in _texts(body)]
        encoding = _encoding([t for t in texts if not _is_utf8(t)])
        rebuilt = [(name, _recode(body, encoding) if name == b"MTrk" else body) for name, body in chunks]
    except IndexError:
        return data
    return b"".join(name + len(body).to_bytes(4, "big") + body for name, body in rebuilt)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size


def _texts(body: bytes) -> Iterator[tuple[int, int, int]]:
    """(where its length begins, where it begins, where it ends) of each text in a track chunk."""
    at, status = 0, 0
    while at < len(body):
        _, at = _length(body, at)  # the time until the event
        if body[at] == 0xFF:
            size, start = _length(body, at + 2)
            if body[at + 1] in TEXT_EVENTS:
                yield at + 2, start, start + size
            at = start + size
        elif body[at] in (0xF0, 0xF7):
            size, start = _length(body, at + 1)
            at = start + size
        else:
            if body[at] >= 0x80:
                status, at = body[at], at + 1
            at += 1 if status >> 4 in (0xC, 0xD) else 2


def _length(body: bytes, at: int) -> tuple[int, int]:
    """A variable-length number and where it ends."""
    value = 0
    while True:
        value = value << 7 | body[at] & 0x7F
        at += 1
        if body[at - 1] < 0x80:
            return value, at


def _encoding(texts: list[bytes]) -> str:
    """Shift JIS or Latin-1, for texts that are not UTF-8."""
    joined = b"".join(texts)
    try:
        for text in texts:
            text.decode("cp932")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp932" if 2 * sum(b >= 0x80 for b in joined) > len(joined) else "latin-1"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _recode(body: bytes, encoding: str) -> bytes:
    out, done = bytearray(), 0
    for at, start, end in _texts(body):
        if not _is_utf8(body[start:end]):
            text = body[start:end].decode(encoding).encode()
            out += body[done:at] + _number(len(text)) + text
            done = end
    return bytes(out + body[done:])


def _number(value: int) -> bytes:
    """A variable-length number."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | 0x80)
    return bytes(digits)
