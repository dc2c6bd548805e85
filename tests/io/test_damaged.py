"""Hundreds of damaged files of every kind: each is read, or refused with one line, and quickly."""

import contextlib
import io
import random
import time
import zipfile

import numpy as np
import pytest
from symusic import Score, TextMeta

from otonoha.io import read, write
from otonoha.music.audio import Audio
from otonoha.music.score import bar_table, notes, track_of

KINDS = (".mid", ".musicxml", ".mxl", ".abc", ".wav", ".flac", ".ogg", ".mp3")
PER_KIND = 40
SECONDS_PER_FILE = 5.0

TUNE = """X:1
T:Test
M:6/8
L:1/8
K:Ador
|:A2B c>de|(3fga [K:D]d2 z|"Am"[Ace]2 {g}a3:|[1 a6:|[2 A6|]
w:la li lu
"""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healthy")
    score = Score(480)
    score.tracks = [track_of(np.arange(0, 4800, 240), np.full(20, 300), 50 + np.arange(20), name="声")]
    score.tracks[0].lyrics = [TextMeta(0, "さ-"), TextMeta(240, "くら")]
    sound = Audio(0.3 * np.sin(np.arange(8000) / 20)[None], 8000)
    paths = {}
    for kind in KINDS:
        path = folder / f"healthy{kind}"
        if kind == ".abc":
            path.write_text(TUNE)
        else:
            write(score if kind in (".mid", ".musicxml", ".mxl") else sound, path)
        paths[kind] = path.read_bytes()
    return paths


def damage(data, rng):
    """Cut short, bits turned, noise put in or put instead of the rest, pieces repeated."""
    data, way = bytearray(data), rng.randrange(5)
    at = rng.randrange(len(data))
    if way == 0:
        return bytes(data[:at])
    if way == 1:
        for _ in range(rng.choice([1, 4, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)
    if way == 2:
        data[at:at] = rng.randbytes(rng.randrange(1, 200))
        return bytes(data)
    if way == 3:
        return bytes(data[: min(at, 64)]) + rng.randbytes(500)
    return bytes(data[:at] + data[rng.randrange(len(data)) :])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind, healthy, tmp_path):
    rng = random.Random(f"damage{kind}")
    refused = []
    for i in range(PER_KIND):
        path = tmp_path / f"{i}{kind}"
        path.write_bytes(damage(healthy[kind], rng))
        begin = time.perf_counter()
        try:
            music = read(path)
            if not isinstance(music, Audio):
                bar_table(music)
                [notes(t) for t in music.tracks]
        except ValueError as error:
            refused.append(str(error))
        assert time.perf_counter() - begin < SECONDS_PER_FILE
    assert refused
    assert not any("\n" in line or len(line) > 500 for line in refused)


def refusal(path, data, **options):
    path.write_bytes(data)
    with pytest.raises(ValueError) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_meaningless_files(kind, tmp_path):
    assert "is empty" in refusal(tmp_path / f"a{kind}", b"")
    refusal(tmp_path / f"b{kind}", b"\0" * 1000)
    refusal(tmp_path / f"c{kind}", b"hello, this is no music at all\n" * 5)


def test_missing_folder_and_huge(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read(tmp_path / "none.mid")
    with pytest.raises(ValueError, match="is a folder"):
        read(tmp_path)
    assert "the limit is 1 MB" in refusal(tmp_path / "big.mid", b"\0" * (2**20 + 1), limit=2**20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.xml", "a.mid", "a.wav", "a.txt"])
def test_the_content_decides_not_the_name(kind, name, healthy, tmp_path):
    (tmp_path / name).write_bytes(healthy[kind])
    music = read(tmp_path / name)
    assert isinstance(music, Audio) == (kind in (".wav", ".flac", ".ogg", ".mp3"))


def xml(inside, head=""):
    return (
        f"<?xml version='1.0'?>{head}<score-partwise><part id='P1'>{inside}</part></score-partwise>".encode()
    )


BOMB = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
NOTE = "<note><pitch><step>{}</step><octave>{}</octave></pitch><duration>{}</duration></note>"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (xml("", BOMB), "entities"),
        (xml("", BOMB).decode().encode("utf-16"), "entities"),
        (xml("<measure>" + "<a>" * 400_000), "nested"),
        (xml("<measure>" + NOTE.format("H", 4, 1) + "</measure>"), "unknown pitch step 'H'"),
        (xml("<measure>" + NOTE.format("C", 40, 1) + "</measure>"), "outside of MIDI's range"),
        (xml("<measure>" + NOTE.format("C", 4, "1e999999") + "</measure>"), "makes no sense"),
        (xml("<measure>" + NOTE.format("C", 4, "9" * 20) + "</measure>"), "too large"),
        (xml("<measure>" + NOTE.format("C", 4, -4) + "</measure>"), "negative duration"),
        (xml("<measure>" + NOTE.format("C", 4, 2**29) + "</measure>"), "absurdly long"),
        (xml("<measure><attributes><divisions>0</divisions></attributes></measure>"), "divisions"),
        (xml("<measure><attributes><time><beats>0</beats><beat-type>4</beat-type></time></attributes></measure>"),
         "metre 0/4"),
        (b"<score-timewise><part-list/></score-timewise>", "score-partwise"),
        (b"<html><body>404</body></html>", "no measures"),
    ],
)  # fmt: skip
def test_hostile_musicxml(data, reason, tmp_path):
    assert reason in refusal(tmp_path / "a.musicxml", data)


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def container(path):
    return f'<container><rootfiles><rootfile full-path="{path}"/></rootfiles></container>'


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "holds no 'META-INF/container.xml'"),
        ({"META-INF__container.xml": container("../../etc/passwd")}, "holds no '../../etc/passwd'"),
        ({"META-INF__container.xml": "<container/>"}, "names no score"),
        ({"META-INF__container.xml": BOMB + "<container/>"}, "entities"),
        ({"META-INF__container.xml": container("a"), "a": b" " * (65 * 2**20)}, "unpacks to more than 64 MB"),
    ],
)
def test_hostile_archives(members, reason, tmp_path):
    assert reason in refusal(tmp_path / "a.mxl", archive(**members))


@pytest.mark.parametrize(
    "tune",
    [
        "X:1\nK:C\n",
        "X:1\nT:no key\nabc",
        "X:1\nK:C\n" + "C,,,,,,,,,",
        "X:1\nM:0/4\nK:C\nabc",
    ],
)
def test_hopeless_abc(tune, tmp_path):
    refusal(tmp_path / "a.abc", tune.encode())


def test_long_nonsense_in_abc_is_quick(tmp_path):
    for piece in ("[", "(3", '"', "{", "!", "|:", "A-", "<", "[1", "&", ":|", "[K:", "^", "/" * 50):
        path = tmp_path / "a.abc"
        path.write_text("X:1\nK:C\nC" + piece * 20_000)
        begin = time.perf_counter()
        with contextlib.suppress(ValueError):
            read(path)
        assert time.perf_counter() - begin < SECONDS_PER_FILE
