"""Corpora from folders of files: damaged files, duplicates, splits, the shelf."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from otonoha.data import reading
from otonoha.data.cache import shelf_path
from otonoha.data.corpus import corpus, select
from otonoha.data.reading import read_all
from otonoha.music.tracks import notes


@pytest.fixture
def folder(tmp_path, write_tune) -> Path:
    root = tmp_path / "my music ü"
    for i in range(12):
        write_tune(root / ("jazz" if i % 2 else "waltz/slow") / f"{i:02d}.mid", seed=i)
    return root


def splits_of(found) -> dict[str, str]:
    return {p.id: p.split for p in found.pieces}


def test_a_folder_becomes_a_corpus(folder, tune):
    found = corpus(folder)
    assert len(found) == 12
    assert found.train
    assert found.valid
    assert not found.ships
    assert {p.labels["style"] for p in found.pieces} == {"jazz", "waltz"}
    piece = next(p for p in found.pieces if p.id == "jazz/03.mid")
    assert piece.labels["title"] == "03"
    assert (notes(piece.score().tracks[0]).pitch == notes(tune(3).tracks[0]).pitch).all()
    assert set(splits_of(found).values()) <= {"train", "valid", "test"}
    assert len(splits_of(found)) == 12
    assert splits_of(corpus(str(folder))) == splits_of(found)


def test_a_score_is_fresh_each_time(folder):
    piece = corpus(folder).train[0]
    piece.score().tracks.clear()
    assert len(piece.score().tracks) == 1


def test_damaged_files_are_reported_and_skipped(folder):
    good = (folder / "jazz" / "01.mid").read_bytes()
    damage = {"empty.mid": b"", "noise.mid": b"not music at all", "cut.mid": good[:40], "text.xml": b"<a/>"}
    damage |= {"zip.mxl": b"PK\x03\x04 broken", "half.musicxml": b"<score-partwise><part>"}
    for name, data in damage.items():
        (folder / name).write_bytes(data)
    (folder / ".hidden.mid").write_bytes(b"")
    found = corpus(folder)
    assert len(found) == 12
    assert {name for name, _ in found.report.skipped} == set(damage)
    assert all(reason and "\n" not in reason for _, reason in found.report.skipped)
    assert "6 files skipped" in found.report.summary()
    assert corpus(folder).report == found.report


def test_what_a_file_is_its_content_says(tmp_path, write_tune):
    write_tune(tmp_path / "a.mid", seed=1)
    (tmp_path / "a.mid").rename(tmp_path / "midi.musicxml")
    (tmp_path / "sound.mid").write_bytes(b"RIFF and no more")
    found = corpus(tmp_path)
    assert [p.id for p in found.train] == ["midi.musicxml"]
    assert [name for name, _ in found.report.skipped] == ["sound.mid"]
    assert found.report.summary() == "1 piece read, 1 file skipped"


def test_nothing_readable_is_one_clear_line(tmp_path, folder):
    bad = tmp_path / "bad"
    bad.mkdir()
    with pytest.raises(ValueError, match="holds no scores and no recordings"):
        corpus(bad)
    (bad / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"nothing of .* could be read; a.wav: unreadable"):
        corpus(bad)
    (bad / "a.wav").unlink()
    (bad / "a.mid").write_bytes(b"MThd")
    with pytest.raises(ValueError, match=r"nothing of .* could be read; a.mid:"):
        corpus(bad)
    with pytest.raises(ValueError, match="no such file or folder"):
        corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="did you mean 'bach-chorales'"):
        corpus("bach-chorals")
    with pytest.raises(ValueError, match="add up to 1"):
        corpus(folder, split=(1, 1, 1))


def test_duplicates_are_left_out(folder, write_tune):
    write_tune(folder / "waltz" / "zz-copy.mid", seed=4, shift=3, tpq=240, qpm=90)
    found = corpus(folder)
    assert found.report.duplicates == (("waltz/zz-copy.mid", "waltz/slow/04.mid"),)
    assert len(found) == 12
    assert found.report.read == 13


def test_near_duplicates_share_a_split(tmp_path, write_tune):
    for i in range(10):
        write_tune(tmp_path / "m" / f"{i}-long.mid", seed=i, notes=60)
        write_tune(tmp_path / "m" / f"{9 - i}-short.mid", seed=i, notes=40, shift=2)
    found = corpus(tmp_path / "m")
    splits = splits_of(found)
    assert len(found) == 20
    assert all(splits[f"{i}-long.mid"] == splits[f"{9 - i}-short.mid"] for i in range(10))
    assert found.report.near_duplicates == ()
    assert all(splits[name] == after != before for name, before, after in found.report.moved)


def test_two_versions_of_one_piece_still_give_train_and_valid(tmp_path, write_tune):
    write_tune(tmp_path / "m" / "a.mid", seed=1, notes=60)
    write_tune(tmp_path / "m" / "b.mid", seed=1, notes=50)
    found = corpus(tmp_path / "m")
    assert (len(found.train), len(found.valid)) == (1, 1)
    assert [pair[:2] for pair in found.report.near_duplicates] == [("a.mid", "b.mid")]


def test_split_folders_of_the_user_decide(tmp_path, write_tune):
    root = tmp_path / "m"
    for i in range(4):
        write_tune(root / "Train" / f"{i}.mid", seed=i)
    write_tune(root / "validation" / "jazz" / "5.mid", seed=5)
    write_tune(root / "test" / "0.mid", seed=0, shift=1)
    write_tune(root / "other.mid", seed=8)
    found = corpus(root)
    assert (len(found.train), len(found.valid), len(found.test)) == (4, 1, 1)
    assert found.report.near_duplicates == (("Train/0.mid", "test/0.mid", 1.0),)
    assert found.report.skipped == (("other.mid", "lies outside the train, valid and test folders"),)
    assert found.valid[0].labels["style"] == "jazz"
    with pytest.raises(ValueError, match="would have no effect"):
        corpus(root, seed=1)


def test_one_file_and_a_list_of_files(folder, tmp_path, write_tune):
    one = corpus(folder / "jazz" / "01.mid")
    assert [p.id for p in one.train] == ["01.mid"]
    two = corpus([folder / "jazz" / "01.mid", write_tune(tmp_path / "01.mid", seed=30), folder / "waltz"])
    assert len(two) == 8
    assert len({p.id for p in two.pieces}) == 8


def test_seed_and_shares_change_the_split(folder):
    assert splits_of(corpus(folder, seed=1)) != splits_of(corpus(folder))
    assert not corpus(folder, split=(0.5, 0.5, 0)).test


def test_select_names_a_split(folder):
    assert [p.id for p in select(f"{folder}:valid")] == [p.id for p in corpus(folder).valid]
    assert len(select(str(folder))) == 12
    with pytest.raises(ValueError, match="did you mean 'valid'"):
        select(f"{folder}:valif")


def test_styles_are_chosen_by_name(folder):
    jazz = corpus(folder, styles=["jazz"])
    assert len(jazz) == 6
    with pytest.raises(ValueError, match="did you mean 'jazz'"):
        corpus(folder, styles=["jaz"])


def test_the_second_time_nothing_is_read(folder, monkeypatch):
    seen = []
    corpus(folder, progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(i, 12) for i in range(1, 13)]
    monkeypatch.setattr(reading, "_Crew", None)  # a call would fail
    assert len(corpus(folder)) == 12


def test_a_changed_file_is_read_again_and_a_gone_one_forgotten(folder, write_tune):
    before = corpus(folder)
    write_tune(folder / "jazz" / "01.mid", seed=99, notes=50)
    (folder / "jazz" / "03.mid").unlink()
    seen = []
    after = corpus(folder, progress=lambda done, of, name: seen.append(name))
    assert seen == ["jazz/01.mid"]
    assert len(after) == len(before) - 1
    assert next(p for p in after.pieces if p.id == "jazz/01.mid").score().note_num() == 50


def test_a_damaged_shelf_is_rebuilt(folder):
    first = corpus(folder)
    shelf = shelf_path(str(folder.resolve()))
    whole = shelf.read_bytes()
    shelf.write_bytes(whole[: len(whole) // 2])
    assert splits_of(corpus(folder)) == splits_of(first)
    assert shelf.read_bytes() == whole


def test_without_a_cache_it_works_all_the_same(folder, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("OTONOHA_CACHE", str(blocked / "cache"))
    found = corpus(folder)
    assert found.train[0].score().note_num() == 40


def test_a_reader_that_hangs_or_crashes_costs_one_file(folder, monkeypatch):
    stand_in = (
        "import os, sys, time, json, runpy\n"
        "import otonoha.data.recipes as r\n"
        "def odd(path):\n"
        "    if '02' in path.name: time.sleep(60)\n"
        "    if '05' in path.name: os._exit(11)\n"
        "    print('chatter that must not reach the answers')\n"
        "    return r.any_file(path)\n"
        "r.RECIPES['file'] = odd\n"
        "from otonoha.data.worker import main; main('file')\n"
    )
    real = reading.subprocess.Popen
    monkeypatch.setattr(
        reading.subprocess, "Popen", lambda args, **rest: real([sys.executable, "-c", stand_in], **rest)
    )
    files = {p.name: p for p in sorted(folder.rglob("*.mid"))}
    start = time.perf_counter()
    entries = read_all("odd", files, "file", workers=2, time_limit=2.0)
    assert time.perf_counter() - start < 20
    assert entries["02.mid"].reason == "took longer than 2 s"
    assert entries["05.mid"].reason == "crashed the reader"
    assert sum(bool(e.records) for e in entries.values()) == 10


def test_an_abc_file_holds_many_tunes(tmp_path):
    (tmp_path / "m").mkdir()
    tunes = (
        "X:1\nT:One\nR:Reel\nM:4/4\nL:1/8\nK:G\nGABc defg|a4 g4|]\n",
        "X:2\nT:Two\nM:3/4\nL:1/4\nK:C\nCEG|c2e|]\n",
    )
    (tmp_path / "m" / "book.abc").write_text("\n".join(tunes))
    found = corpus(tmp_path / "m")
    assert {p.id: p.labels["title"] for p in found.pieces} == {"book.abc#1": "One", "book.abc#2": "Two"}
    assert {p.labels.get("rhythm") for p in found.pieces} == {"reel", None}
    assert (len(found.train), len(found.valid)) == (1, 1)


def test_an_interruption_loses_nothing_that_was_read(folder):
    def interrupt(done, of, name):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus(folder, progress=interrupt)
    seen = []
    corpus(folder, progress=lambda done, of, name: seen.append(of))
    assert seen == [7] * 7
