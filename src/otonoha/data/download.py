"""Downloads: `get(NAME)` fetches a corpus from its public home, once, with checksum and resume.

Each corpus is pinned to one commit of its source. What was fetched before an interruption stays in a `.part`
file and the next call goes on from there (where the server allows it). A folder appears under its name only
when everything in it has been checked. No path from inside an archive is ever used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from otonoha.data.homes import find_home, no_download, target_dir
from otonoha.data.named import SPECS
from otonoha.data.split_tables import openscore_rows, recording_rows
from otonoha.music.suggest import one_of

Bytes = Callable[[int, int | None, str], None]
"""Progress of a download: (bytes so far, bytes in all or None, name of the file)."""

CHUNK = 1 << 18
TRIES = 3
TIMEOUT = 30.0
MAX_SCORE_BYTES = 50 * 2**20


@dataclass(frozen=True)
class Download:
    """One corpus at its public home.

    `files` maps a file's name to its SHA-256. Where `archive` names ids by a prefix, the one file is a zip
    of scores and its checksum is that of the scores (`content_digest`): GitHub may pack the same commit anew.
    `names` maps recordings to their names here; `tracks.tsv` is written beside them.
    """

    url: str
    files: dict[str, str]
    archive: str = ""
    names: dict[str, str] = field(default_factory=dict)


def _recordings(home: str, url: str) -> Download:
    """Recordings as their source has them."""
    rows = recording_rows(home)
    return Download(
        url, {r["origin"]: r["sha256"] for r in rows}, names={r["origin"]: r["path"] for r in rows}
    )


LIEDER_DIGEST = "4a822d9000d4d1dce5ea7d521e03b2f102e1ffc0911b2eba46b74aef169d4c84"
QUARTETS_DIGEST = "8705741b131a55d589fc4b31012f487cafe5c26014d5bfc5980338a85ddf5465"

HOMES = {
    "openscore-lieder": Download(
        "https://github.com/OpenScore/Lieder/archive/",
        {"bca122458de6da362abe62dd6aec62e25d7759b1.zip": LIEDER_DIGEST},
        archive="lc",
    ),
    "openscore-quartets": Download(
        "https://github.com/OpenScore/StringQuartets/archive/",
        {"2c723a5b7b4ea5420826116dfa912956c6a022c2.zip": QUARTETS_DIGEST},
        archive="sq",
    ),
    "jsb-chorales": Download(
        "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/",
        {
            "Jsb16thSeparated.json": "79294cc374f9252e95ef4b703161524c1c53dc1f712c236f00f1c1f5d54af5a7",
            "jsb-chorales-quarter.json": "2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91",
        },
    ),
    "librosa-data": _recordings(
        "librosa-data",
        "https://raw.githubusercontent.com/librosa/data/450cdd8a002c98e7bdbfebb309fc1ed024001f77/",
    ),
    "unknown-horizons": _recordings(
        "unknown-horizons",
        "https://raw.githubusercontent.com/unknown-horizons/unknown-horizons/"
        "fdc8e9692a46d1248af201c2c676c5239ee043e7/",
    ),
}


def get(name: str, *, progress: Bytes | None = None) -> Path:
    """Download a named corpus and return its folder; at once where it is here already.

    Raises ValueError, one line, without a network, on a wrong checksum, or for a corpus that is no download.
    """
    home = SPECS[one_of(name, SPECS, "corpus")].home
    if home == "music21":
        raise ValueError(f"{name} is no download: it comes with music21 (pip install 'otonoha[scores]')")
    if (there := find_home(home)) is not None:
        return there
    if home not in HOMES:
        raise ValueError(no_download(name, home))
    source, target = HOMES[home], target_dir()
    unfinished = target / f".{home}.unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    for file, checksum in source.files.items():
        path = unfinished / source.names.get(file, file)
        fetch(source.url + file, path, "" if source.archive else checksum, progress=progress)
        if source.archive:
            unpack_scores(path, unfinished, source.archive, checksum)
            path.unlink()
    if source.names:
        _write_tracks(unfinished / "tracks.tsv", home)
    unfinished.rename(target / home)
    return target / home


def _write_tracks(table: Path, home: str) -> None:
    """The labels, licences and splits of recordings, as recordings.py reads them."""
    columns = ("path", "title", "author", "artist_label", "genre_label", "kind", "licence", "split")
    lines = ["\t".join((*columns, "source"))]
    lines += ["\t".join((*(row[c] for c in columns), row["origin"])) for row in recording_rows(home)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- one file -----------------------------------------------------------------------------------------


def fetch(url: str, path: Path, sha256: str = "", *, progress: Bytes | None = None) -> Path:
    """Download one file to `path`, going on where an earlier attempt stopped."""
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    for attempt in range(TRIES):
        try:
            if _fetch_rest(url, part, progress):
                break
        except urllib.error.HTTPError as error:
            raise ValueError(f"{url}: the server says {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise ValueError(f"{url} cannot be reached ({error.reason}): is there a network?") from None
        except (HTTPException, TimeoutError, ConnectionError) as error:
            if attempt == TRIES - 1:
                raise ValueError(f"{url}: {_broken(part)} ({error})") from None
        except OSError as error:
            raise ValueError(f"{part} cannot be written: {error.strerror or error}") from None
    else:
        raise ValueError(f"{url}: {_broken(part)}")
    _check(part, sha256, url)
    part.replace(path)
    return path


def _broken(part: Path) -> str:
    size = part.stat().st_size if part.exists() else 0
    return f"the download broke off after {size / 1e6:.1f} MB; run the command again to go on from there"


def _fetch_rest(url: str, part: Path, progress: Bytes | None) -> bool:
    """Fetch what is missing of a file; True when it is complete as far as the server says."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "otonoha", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        reply = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies behind what we have: the checksum decides
            return True
        raise
    with reply:
        resumed = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        done = have if resumed else 0
        length = reply.headers.get("Content-Length")
        whole = done + int(length) if length and length.isdigit() else None
        with part.open("ab" if resumed else "wb") as file:
            while block := reply.read(CHUNK):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, whole, part.stem)
    return whole is None or done >= whole


def _check(part: Path, sha256: str, url: str) -> None:
    """Compare the checksum; a file that fails is thrown away, so that the next attempt starts afresh."""
    if not sha256:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise ValueError(f"{url}: checksum {found[:12]}… instead of {sha256[:12]}…; the file was thrown away")


# -- an archive of scores -----------------------------------------------------------------------------


def unpack_scores(archive: Path, folder: Path, prefix: str, digest: str) -> None:
    """Take the scores out of a zip of the source: `mxl/<id>.mxl` and `scores.tsv` in `folder`."""
    table = {key: row for key, row in openscore_rows().items() if key.startswith(prefix)}
    (folder / "mxl").mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as source:
            rows = _take_out(source, folder / "mxl", table)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        archive.unlink(missing_ok=True)
        raise ValueError(
            f"{archive.name} is damaged or incomplete ({error}); run the command again"
        ) from None
    found = content_digest(folder / "mxl")
    if set(rows) != set(table) or found != digest:
        archive.unlink()
        shutil.rmtree(folder / "mxl")
        raise ValueError(
            f"{archive.name} holds {len(rows)} of {len(table)} scores, checksum {found[:12]}… "
            f"instead of {digest[:12]}…; it was thrown away"
        )
    lines = ["id\tfile\ttitle\tcomposer\tlanguages\tsplit", *(rows[key] for key in sorted(rows))]
    (folder / "scores.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _take_out(source: zipfile.ZipFile, folder: Path, table: dict[str, dict[str, str]]) -> dict[str, str]:
    """Write the scores that the table knows; id -> its line of scores.tsv."""
    rows = {}
    for info in source.infolist():
        parts = info.filename.split("/")
        key = parts[-1].removesuffix(".mxl")
        if key not in table or not re.fullmatch(r"[a-z]{2}\d+\.mxl", parts[-1]) or len(parts) < 3:
            continue
        if info.file_size > MAX_SCORE_BYTES:
            raise OSError(f"{parts[-1]} has {info.file_size / 1e6:.0f} MB")
        (folder / parts[-1]).write_bytes(source.read(info))
        family, comma, given = parts[parts.index("scores") + 1 if "scores" in parts else 1].partition(",")
        composer = f"{given} {family}" if comma else family
        title = re.sub(r"^\d+_", "", parts[-2])
        columns = [key, f"mxl/{parts[-1]}", title, composer, table[key]["languages"], table[key]["split"]]
        rows[key] = "\t".join(
            " ".join(c.replace("_", " ").split()) if i in (2, 3) else c for i, c in enumerate(columns)
        )
    return rows


def content_digest(folder: Path) -> str:
    """SHA-256 over the names and checksums of the files of a folder, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
    return total.hexdigest()
