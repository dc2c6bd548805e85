"""MusicXML files (.musicxml, .xml, .mxl) <-> Score. Files are not trusted: sizes are limited, archives are
read by the name that their container gives and in memory only, entity declarations are refused.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
import zipfile
import zlib
from pathlib import Path

from symusic import Score

from otonoha.io.guard import load_bytes, store_bytes

MAX_BYTES = 64 * 2**20


def read_musicxml(
    source: str | Path | bytes, *, repeats: bool = False, limit: int = MAX_BYTES, name: str = ""
) -> Score:
    """Read MusicXML, plain or compressed, from a file or its bytes; `limit` is the unpacked size in bytes.

    Repeats and endings are not played out unless `repeats` is set. Raises ValueError (one line, with the
    file's name) for anything that is not a readable score-partwise file.
    """
    from otonoha.io.musicxml_read import parse

    label = name or (str(source) if not isinstance(source, bytes) else "MusicXML data")
    data = source if isinstance(source, bytes) else load_bytes(source, limit=limit)
    try:
        return parse(_unpack(data, limit) if data[:2] == b"PK" else data, repeats=repeats)
    except ET.ParseError as error:
        raise ValueError(f"{label}: damaged or no MusicXML ({error})") from None
    except (ValueError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{label}: cannot read this MusicXML ({error})") from None


def _unpack(data: bytes, limit: int) -> bytes:
    """The score inside of an .mxl archive: the member that META-INF/container.xml names, in memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            container = _member(archive, "META-INF/container.xml", 2**20)
            if b"<!ENTITY" in container:
                raise ValueError("its container declares entities, which are refused")
            roots = [
                e.get("full-path", "") for e in ET.fromstring(container).iter() if e.tag.endswith("rootfile")
            ]
            if not roots:
                raise ValueError("the archive's container names no score")
            return _member(archive, roots[0], limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"damaged archive: {error}") from None


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if name not in archive.namelist():
        raise ValueError(f"the archive holds no {name!r}")
    with archive.open(name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{name!r} unpacks to more than {limit / 2**20:.0f} MB")
    return data


def write_musicxml(score: Score, path: str | Path) -> Path:
    """Write a Score as MusicXML 4.0; a path that ends with .mxl is compressed."""
    from otonoha.io.musicxml_write import compress, musicxml_bytes

    data = musicxml_bytes(score)
    return store_bytes(path, compress(data) if Path(path).suffix.lower() == ".mxl" else data)
