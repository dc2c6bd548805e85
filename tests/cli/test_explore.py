"""Folders of samples as pages: what is found, what is said of it, and where its sound is."""

from __future__ import annotations

import json
import os
import re
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from cli_tools import tune

from otonoha.cli import explore_folder
from otonoha.cli.explore_folder import artists_of, genres_of, url
from otonoha.io.midi import write_midi

NAMES = [
    "plain.wav",
    "a b 'c\" #1? 100%.wav",
    "言の葉 é.wav",
    "javascript:alert(1).wav",
    "<img src=x>.wav",
    "two..wav",
]
HOSTILE = '<script>alert("x")</script>'


def put(path, seconds=0.4, hertz=440, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(8000 * seconds)) / 8000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * time), 8000, **options)


def rows_of(page):
    text = page.read_text("utf-8")
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1]
    return {
        row["title"]: {**row, "labels": dict(row.get("labels", []))} for row in json.loads(data)["samples"]
    }


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my samples & more"
    for name in NAMES:
        put(root / name)
    return root


def test_every_sound_is_linked_whatever_it_is_called(folder, otonoha):
    answer = otonoha("explore", folder, "--json")
    assert answer.status == 0
    assert (answer.json["samples"], answer.json["damaged"], answer.json["notes"]) == (6, 0, [])
    rows = rows_of(folder / "explore.html")
    assert set(rows) == {name.removesuffix(".wav") for name in NAMES}
    for row in rows.values():
        assert re.fullmatch(r"[\w.%~-]+", row["sound"])  # nothing but a path
        assert (folder / unquote(row["sound"])).is_file()
        assert row["length"] == 0.4
        assert (len(row["wave"]), len(row["spectrum"])) == (512, 5120)
    assert answer.json["bytes"] < 30_000 + 6 * 8_000


def test_a_number_is_called_after_its_folder_wherever_one_stands(tmp_path, otonoha, monkeypatch):
    put(tmp_path / "takes" / "0.wav")
    monkeypatch.chdir(tmp_path / "takes")
    assert otonoha("explore", ".").status == 0
    assert set(rows_of(tmp_path / "takes" / "explore.html")) == {"takes 0"}


def test_a_page_elsewhere_finds_the_sounds(folder, otonoha, tmp_path):
    page = tmp_path / "other place" / "list.html"
    assert otonoha("explore", folder, "--out", page, "--title", HOSTILE).status == 0
    for row in rows_of(page).values():
        assert (page.parent / unquote(row["sound"])).resolve().is_file()
    text = page.read_text("utf-8")
    assert text.count("<script") == 2
    assert HOSTILE not in text


@pytest.mark.skipif(os.name == "nt", reason="names are bytes elsewhere only")
def test_names_that_are_no_unicode(tmp_path, otonoha):
    put(tmp_path / "x" / "a.wav")
    raw = os.fsencode(tmp_path / "x") + b"/\xff\xfe.wav"
    os.rename(tmp_path / "x" / "a.wav", raw)  # noqa: PTH104  (a name in bytes)
    assert otonoha("explore", tmp_path / "x").status == 0
    assert rows_of(tmp_path / "x" / "explore.html")["??"]["sound"] == "%FF%FE.wav"


def test_what_sample_says_of_a_take(tmp_path, otonoha):
    root = tmp_path / "takes"
    put(root / "0.wav")
    told = {
        "otonoha": "0.1", "model": "runs/sound", "task": "Compose", "prompt": None, "seed": 7, "n": 1, "index": 0,
        "controls": {"artist": "ana:0.7, bo:0.3 @0; bo @20", "genre": "folk", "lyrics": "la la", "seconds": 0.4},
    }  # fmt: skip
    (root / "0.json").write_text(json.dumps(told), "utf-8")
    (root / "0.npz").write_bytes(b"codes")
    assert otonoha("explore", root).status == 0
    row = rows_of(root / "explore.html")["takes 0"]
    assert row["artists"] == ["ana", "bo"]
    assert row["genres"] == ["folk"]
    assert (row["labels"]["seed"], row["labels"]["lyrics"], row["labels"]["model"]) == (
        "7",
        "la la",
        "runs/sound",
    )
    assert "prompt" not in row["labels"]
    assert dict(row["links"]) == {"wav": "0.wav", "how it was made": "0.json", "codes": "0.npz"}


def test_from_the_least_to_the_most_certain(tmp_path, otonoha):
    root = tmp_path / "mine"
    put(root / "tune-12-0.wav")
    put(root / "song.flac")
    (root / "song.json").write_text(
        '{"artist": "json", "title": "json", "nested": {"a": 1}, "list": [1, "b"]}'
    )
    (root / "song.lrc").write_text("[00:00.00]la la la\n[00:00.20]lo lo lo\n")
    (root / "tracks.tsv").write_text("path\tartist\tgenre\nsong.flac\ttable\tfolk; rock\n")
    assert otonoha("explore", root).status == 0
    rows = rows_of(root / "explore.html")
    assert rows["tune-12-0"]["labels"]["seed"] == "12"
    song = rows["json"]
    assert (song["artists"], song["genres"]) == (["table"], ["folk", "rock"])
    assert song["labels"]["lyrics"] == "la la la\nlo lo lo"
    assert song["labels"]["list"] == "1, b"
    assert not {"nested", "lrc"} & set(song["labels"])


def test_scores_are_shown_with_their_sound_or_alone(tmp_path, otonoha):
    root = tmp_path / "tunes"
    root.mkdir()
    for name in ("with", "alone"):
        write_midi(tune(1), root / f"{name}.mid")
    put(root / "with.wav", seconds=2)
    answer = otonoha("explore", root)
    assert "1 score without sound: --render writes it" in answer.out
    rows = rows_of(root / "explore.html")
    assert rows["with"]["sound"] == "with.wav"
    assert len(rows["with"]["roll"]) == len(rows["with"]["spectrum"])
    assert "14 bars" in rows["with"]["labels"]["music"]
    assert "sound" not in rows["alone"]
    assert rows["alone"]["length"] == pytest.approx(tune(1).to("second").end(), abs=0.01)
    assert otonoha("explore", root, "--render", "--out", tmp_path / "page.html").status == 0
    assert rows_of(tmp_path / "page.html")["alone"]["sound"] == "tunes/alone.wav"
    assert (root / "alone.wav").is_file()


def test_damaged_files_are_rows_that_say_so(tmp_path, otonoha):
    root = tmp_path / "bad"
    put(root / "good.wav")
    whole = (root / "good.wav").read_bytes()
    (root / "short.wav").write_bytes(whole[: len(whole) // 2])
    (root / "garbage.wav").write_bytes(b"not sound")
    (root / "empty.mp3").write_bytes(b"")
    (root / "broken.mid").write_bytes(b"MThd....")
    (root / "good.json").write_text("{")
    (root / "tracks.csv").write_text("path,split\ngood.wav,nonsense\n")
    (root / ".hidden.wav").write_bytes(b"")
    os.mkfifo(root / "pipe.wav")
    answer = otonoha("explore", root)
    assert answer.status == 0
    assert "4 samples not in order" in answer.out
    assert "passed over" in answer.err
    rows = rows_of(root / "explore.html")
    assert set(rows) == {"good", "short", "garbage", "empty", "broken"}
    assert "fault" not in rows["good"]
    assert rows["short"]["fault"].startswith("truncated")
    assert rows["garbage"]["fault"].startswith("damaged")
    assert "score damaged" in rows["broken"]["fault"]
    assert str(tmp_path) not in (root / "explore.html").read_text("utf-8")  # no paths of this machine


def test_what_stands_beside_a_sample_may_be_anything(tmp_path, otonoha):
    """JSON that nests, floods, or has no characters; samples beyond all measure; names that break a line."""
    root = tmp_path / "odd"
    for name in ("deep", "flood", "none", "break\nhere"):
        put(root / f"{name}.wav")
    soundfile.write(root / "loud.wav", np.full((900, 3), 3e38, np.float32), 8000, subtype="FLOAT")
    (root / "deep.json").write_text('{"a": ' + "[" * 900 + "]" * 900 + ', "b": [1, [2], 3]}')
    (root / "flood.json").write_text(json.dumps({f"k{i}": "x" for i in range(9000)} | {"y" * 9999: "z"}))
    (root / "none.json").write_text('{"title": "\\ud800", "__proto__": "p", "seed": 1e999}')
    (root / "break\nhere.wav").write_bytes(b"garbage")
    answer = otonoha("explore", root)
    assert answer.status == 0, answer.err
    rows = rows_of(root / "explore.html")
    assert rows["deep"]["labels"]["b"] == "1, 3"
    assert len(rows["flood"]["labels"]) == 100
    assert rows["?"]["labels"]["__proto__"] == "p"
    assert "fault" not in rows["loud"]
    assert rows["break\nhere"]["fault"].startswith("damaged: no readable sound file")
    assert (root / "explore.html").stat().st_size < 100_000


def test_sounds_can_stand_in_the_page(folder, otonoha, tmp_path, monkeypatch, refused):
    page = tmp_path / "one.html"
    assert otonoha("explore", folder, "--embed", "--out", page).status == 0
    assert all(row["sound"].startswith("data:audio/wav;base64,") for row in rows_of(page).values())
    monkeypatch.setattr(explore_folder, "EMBEDDED", 10_000)
    assert "--embed" in refused("explore", folder, "--embed", "--out", tmp_path / "two.html")
    assert not (tmp_path / "two.html").exists()


def test_mistakes_are_one_line(folder, refused, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert "holds no samples" in refused("explore", tmp_path / "empty")
    assert "does not exist" in refused("explore", tmp_path / "nowhere")
    assert "is a file" in refused("explore", folder / "plain.wav")
    assert "is an .html file" in refused("explore", folder, "--out", tmp_path / "page.txt")
    (tmp_path / "there.html").write_text("")
    assert "exists already" in refused("explore", folder, "--out", tmp_path / "there.html")
    monkeypatch.setattr(explore_folder, "MOST", 3)
    assert "holds 6 samples, and a page 3 at most" in refused("explore", folder)


def test_names_in_labels():
    assert artists_of({}) == ()
    assert artists_of({"composer": "Bach"}) == ("Bach",)
    assert artists_of({"artist": "No:5, with @3"}) == ("No:5, with @3",)  # not from a request
    assert artists_of({"artist": "a:x:@", "seed": "1"}) == ("a:x:@",)
    assert genres_of({"genre": "a:0.5, b:0.5", "seed": "1"}) == ("a", "b")
    assert genres_of({"style": "folk, rock;folk"}) == ("folk", "rock")


def test_addresses_are_relative(tmp_path):
    assert url(tmp_path / "a" / "b.wav", tmp_path / "page.html") == "a/b.wav"
    assert url(tmp_path / "b.wav", tmp_path / "c" / "page.html") == "../b.wav"
    assert url(tmp_path / "x:y?#.wav", tmp_path / "page.html") == "x%3Ay%3F%23.wav"
