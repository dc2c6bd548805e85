"""Downloads, against a server of our own: resume, checksums, archives, no network."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import hum
from otonoha.data import download, named, openscore
from otonoha.data.corpus import corpus
from otonoha.data.download import Download, fetch, get
from otonoha.data.split_tables import recording_rows
from otonoha.io.files import write

DATA = bytes(range(256)) * 4096  # 1 MB
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; drops the connection after `break_after` bytes, `breaks` times; knows Range or not."""

    files: dict[str, bytes]
    break_after, breaks, ranges = 0, 0, True

    def handle_error(self, request, client_address):
        """Broken connections are meant."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        data = self.server.files.get(self.path.strip("/"))
        self.server.asked.append(self.headers.get("Range"))
        if data is None:
            return self.send_error(404)
        start = 0
        if self.server.ranges and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        rest = data[start:]
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: self.server.break_after]
        self.wfile.write(rest)
        return None

    def log_message(self, *args):
        """Silence."""


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.asked = {"data.bin": DATA}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def url(server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/"


def test_a_file_arrives_whole(server, tmp_path):
    seen = []
    path = fetch(url(server) + "data.bin", tmp_path / "x", SHA, progress=lambda *step: seen.append(step))
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA), "x")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_dropped_connection_is_resumed_at_once(server, tmp_path):
    server.breaks, server.break_after = 2, 300_000
    assert fetch(url(server) + "data.bin", tmp_path / "x", SHA).read_bytes() == DATA
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_an_interrupted_download_goes_on_with_the_next_call(server, tmp_path):
    server.breaks, server.break_after = 3, 200_000
    with pytest.raises(ValueError, match=r"broke off after 0.6 MB; run the command again"):
        fetch(url(server) + "data.bin", tmp_path / "x", SHA)
    assert (tmp_path / "x.part").stat().st_size == 600_000
    assert fetch(url(server) + "data.bin", tmp_path / "x", SHA).read_bytes() == DATA
    assert server.asked[-1] == "bytes=600000-"


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "x.part").write_bytes(DATA[:1000])
    assert fetch(url(server) + "data.bin", tmp_path / "x", SHA).read_bytes() == DATA


def test_a_complete_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / "x.part").write_bytes(DATA)
    assert fetch(url(server) + "data.bin", tmp_path / "x", SHA).read_bytes() == DATA


def test_a_wrong_checksum_throws_the_file_away(server, tmp_path):
    (tmp_path / "x.part").write_bytes(b"?" * 1000)
    with pytest.raises(ValueError, match=r"checksum .* instead of .* thrown away"):
        fetch(url(server) + "data.bin", tmp_path / "x", SHA)
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_is_one_clear_line(server, tmp_path):
    with pytest.raises(ValueError, match="the server says 404"):
        fetch(url(server) + "nothing", tmp_path / "x")
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="is there a network"):
        fetch(url(server) + "data.bin", tmp_path / "y")


# -- corpora ------------------------------------------------------------------------------------------


def archive(scores: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for key, data in scores.items():
            file.writestr(f"Lieder-1/scores/Quilter,_Roger/Some_Songs/2_The_{key}/{key}.mxl", data)
        file.writestr("Lieder-1/../../evil.mxl", b"x")
        file.writestr("Lieder-1/scores/X,_Y/Z/2_T/lc9.mxl", b"a score that the table does not know")
    return made.getvalue()


@pytest.fixture
def lieder(server, tmp_path, monkeypatch):
    """A tiny Lieder source: two scores on the server, a table that knows them."""
    scores = {"lc1": b"one", "lc2": b"two"}
    rows = {"lc1": {"split": "train", "languages": "en"}, "lc2": {"split": "test", "languages": "de, fr"}}
    (tmp_path / "like").mkdir()
    for key, data in scores.items():
        (tmp_path / "like" / f"{key}.mxl").write_bytes(data)
    digest = download.content_digest(tmp_path / "like")
    server.files["c.zip"] = archive(scores)
    monkeypatch.setattr(download, "openscore_rows", lambda: rows)
    monkeypatch.setitem(
        download.HOMES, "openscore-lieder", Download(url(server), {"c.zip": digest}, archive="lc")
    )
    monkeypatch.setenv("OTONOHA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "data" / "openscore-lieder"


def test_an_archive_becomes_a_corpus_folder(lieder, server):
    server.breaks, server.break_after = 1, 100
    assert get("lieder-voice") == lieder
    assert sorted(p.relative_to(lieder).as_posix() for p in lieder.rglob("*.*")) == [
        "mxl/lc1.mxl",
        "mxl/lc2.mxl",
        "scores.tsv",
    ]
    table = openscore.read_table(lieder / "scores.tsv")
    assert [(row["id"], row["split"]) for row in table] == [("lc1", "train"), ("lc2", "test")]
    assert openscore.labels_of(table[1]) == {
        "title": "The lc2",
        "composer": "Roger Quilter",
        "language": "de",
    }
    assert [p.name for p in lieder.parent.iterdir()] == ["openscore-lieder"]
    count = len(server.asked)
    assert get("lieder") == lieder
    assert len(server.asked) == count


def test_an_archive_with_other_scores_is_refused(lieder, server):
    server.files["c.zip"] = archive({"lc1": b"one", "lc2": b"changed"})
    with pytest.raises(ValueError, match="2 of 2 scores, checksum"):
        get("lieder")
    server.files["c.zip"] = archive({"lc1": b"one"})
    with pytest.raises(ValueError, match="1 of 2 scores"):
        get("lieder")
    server.files["c.zip"] = b"PK\x03\x04 cut short"
    with pytest.raises(ValueError, match="damaged or incomplete"):
        get("lieder")
    assert not lieder.exists()
    server.files["c.zip"] = archive({"lc1": b"one", "lc2": b"two"})
    assert get("lieder") == lieder


# -- recordings ---------------------------------------------------------------------------------------


@pytest.fixture
def sounds(server, tmp_path, monkeypatch):
    """A source of two recordings with names of its own, and the table that knows them."""
    rows = []
    for i, split in enumerate(("train", "valid")):
        data = write(hum(i), tmp_path / f"{i}.ogg").read_bytes()
        server.files[f"audio/their_{i}.hq.ogg"] = data
        rows.append(
            {
                "home": "librosa-data",
                "path": f"ours-{i}.ogg",
                "origin": f"audio/their_{i}.hq.ogg",
                "sha256": hashlib.sha256(data).hexdigest(),
                "title": f"Piece {i}",
                "author": 'Ana "A." Ito',
                "artist_label": "ana",
                "genre_label": "folk",
                "kind": "music",
                "licence": "CC BY 4.0",
                "split": split,
            }
        )
    monkeypatch.setattr(download, "recording_rows", lambda home: rows)
    monkeypatch.setitem(download.HOMES, "librosa-data", download._recordings("librosa-data", url(server)))
    monkeypatch.setenv("OTONOHA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "data" / "librosa-data"


def test_recordings_become_a_corpus_with_labels_and_split(sounds, server):
    with pytest.raises(ValueError, match="run `otonoha data get librosa-data`"):
        corpus("librosa-data")
    server.breaks, server.break_after = 1, 1000
    assert get("librosa-data") == sounds
    assert sorted(p.name for p in sounds.iterdir()) == ["ours-0.ogg", "ours-1.ogg", "tracks.tsv"]
    found = corpus("librosa-data")
    assert (len(found.train), len(found.valid), len(found.test)) == (1, 1, 0)
    (piece,) = found.valid
    assert piece.labels["author"] == 'Ana "A." Ito'
    assert (piece.labels["title"], piece.labels["licence"]) == ("Piece 1", "CC BY 4.0")
    assert piece.labels["source"] == "audio/their_1.hq.ogg"
    assert piece.sound().frames == 16_000


def test_a_recording_with_other_bytes_is_refused(sounds, server):
    server.files["audio/their_1.hq.ogg"] += b"x"
    with pytest.raises(ValueError, match=r"their_1.hq.ogg: checksum .* instead of"):
        get("librosa-data")
    assert not sounds.exists()
    server.files["audio/their_1.hq.ogg"] = server.files["audio/their_1.hq.ogg"][:-1]
    assert get("librosa-data") == sounds


def test_the_table_of_recordings_is_in_order():
    for home, many in (("librosa-data", 9), ("unknown-horizons", 23)):
        rows, source = recording_rows(home), download.HOMES[home]
        assert len(rows) == len({r["path"] for r in rows}) == len(source.files) == many
        assert all(len(r["sha256"]) == 64 and "/" not in r["path"] and all(r.values()) for r in rows)
        assert {r["split"] for r in rows} == {"train", "valid", "test"}
        terms = {r["licence"] for r in rows}
        assert terms == ({"CC BY-SA 3.0"} if many == 23 else {"CC BY 3.0", "CC BY 4.0", "Public Domain"})
        assert named.SPECS[home].ships == (many == 9)


def test_the_table_of_recordings_is_that_of_the_provided_ones(data_folder):
    folder = data_folder / "audio"
    if not (folder / "tracks.tsv").exists():
        pytest.skip("the provided recordings are not here")
    with (folder / "tracks.tsv").open(encoding="utf-8", newline="") as file:
        there = {r["path"]: r for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    rows = [r for home in ("librosa-data", "unknown-horizons") for r in recording_rows(home)]
    for row in rows:
        name = f"{row['home']}/{row['path']}"
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == row["sha256"]
        given = there[name]
        assert given["source_path"] == row["origin"]
        for column in ("title", "artist_label", "genre_label", "kind", "licence", "split"):
            assert given[column] == row[column]
    assert len(rows) == sum(r["change"] == "none" for r in there.values())


def test_what_is_no_download_says_what_can_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("OTONOHA_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for wanted in (get, corpus):
        with pytest.raises(ValueError, match=r"recordings-all is no download: .* get librosa-data"):
            wanted("recordings-all")
    for spec in named.corpora():
        assert spec.download == (spec.home == "music21" or spec.home in download.HOMES)


def test_a_corpus_of_music21_is_no_download():
    with pytest.raises(ValueError, match="comes with music21"):
        get("folk")
    with pytest.raises(ValueError, match="did you mean 'quartets'"):
        get("quartet")


def test_a_corpus_that_is_not_here_names_the_command(tmp_path, monkeypatch):
    monkeypatch.delenv("OTONOHA_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="run `otonoha data get quartets`"):
        openscore.load_quartets()


def test_an_unwritable_data_folder_falls_back_to_the_users(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OTONOHA_DATA", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert download.target_dir() == tmp_path / "home" / "otonoha"
