"""Corpora of recordings: folders, damaged files, labels, pairs with scores, shards, the provided ones."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from sounds import sound, whole, write

from otonoha.data import reading
from otonoha.data.audio_index import sound_entry
from otonoha.data.audio_labels import read_table, tables_of
from otonoha.data.audio_recording import undump
from otonoha.data.audio_shards import members, pack_pieces, write_shard
from otonoha.data.corpus import corpus
from otonoha.io.audio_scan import scan
from otonoha.io.audio_slices import Place


def reason_of(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        sound_entry(path)
    return str(caught.value)


# -- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 8), (192000, 2), (11025, 3)])
def test_any_rate_and_number_of_channels(tmp_path, rate, channels):
    path = write(tmp_path / "a.wav", sound(0.2, rate=rate, channels=channels), rate)
    (record,) = sound_entry(path).records
    piece = undump(record.blob).recording(path)
    assert (piece.rate, piece.channels, piece.frames) == (rate, channels, round(0.2 * rate))
    assert piece.at(44100, 2).slice(100, 300).shape == (2, 200)
    assert piece.facts.peak == pytest.approx(np.abs(whole(path)).max(), abs=1e-6)
    assert piece.facts.level == pytest.approx(10 * np.log10((whole(path) ** 2).mean()), abs=1e-3)


def test_equal_samples_have_equal_fingerprints_whatever_the_format(tmp_path):
    samples = np.round(sound(0.5) * 32767) / 32768
    found = {scan(Place(write(tmp_path / f"a{s}", samples))).fingerprint for s in (".wav", ".flac", ".aiff")}
    assert len(found) == 1
    assert scan(Place(write(tmp_path / "b.wav", samples, 44100))).fingerprint not in found


def test_every_kind_of_damage_has_its_reason(tmp_path):
    samples = sound(2)
    for suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"):
        path = write(tmp_path / f"cut{suffix}", sound(2, rate=24000), 24000)
        data = path.read_bytes()
        for share in (0.3, 0.8):
            path.write_bytes(data[: int(len(data) * share)])
            assert reason_of(path).split(":")[0] in ("truncated", "damaged", "unreadable"), (suffix, share)
    samples[5000] = np.nan
    assert reason_of(write(tmp_path / "nan.wav", samples, subtype="FLOAT")) == (
        "damaged: some samples are no numbers (NaN or infinite), the first at 0.227 s"
    )
    samples[5000] = np.inf
    assert reason_of(write(tmp_path / "inf.wav", samples, subtype="FLOAT")).startswith("damaged")
    assert reason_of(write(tmp_path / "still.flac", 0 * sound(1))) == "silent: no sample is above 0.0001"
    for frames in (0, 1, 7):
        told = reason_of(write(tmp_path / f"few{frames}.wav", sound(1)[:frames]))
        assert told.split(":")[0] in ("short", "unreadable"), told
    (tmp_path / "text.mp3").write_text("not sound at all\n" * 50)
    (tmp_path / "empty.ogg").write_bytes(b"")
    for name in ("text.mp3", "empty.ogg"):
        assert reason_of(tmp_path / name).startswith("unreadable"), name


def test_clipped_sound_is_used(tmp_path):
    path = write(tmp_path / "loud.wav", np.clip(4 * sound(0.5), -1, 1))
    assert scan(Place(path)).peak == pytest.approx(1.0, abs=1e-3)


# -- folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def music(tmp_path, write_tune) -> Path:
    """Recordings of several kinds, scores, damage, and a table."""
    root = tmp_path / "müsic"
    for i, suffix in enumerate((".wav", ".flac", ".ogg", ".mp3")):
        write(root / "band" / f"{i}{suffix}", sound(0.5, seed=i, channels=1 + i % 2))
    write_tune(root / "band" / "0.mid", seed=0)
    write_tune(root / "alone.mid", seed=5)
    write(root / "copy.flac", whole(root / "band" / "1.flac").T)
    write(root / "still.wav", 0 * sound(1))
    write(root / ".hidden.wav", sound(1))
    (root / "bad.ogg").write_bytes(b"OggS")
    rows = ["file,artist,genre,lyrics,mood", 'band/2.ogg,The Ö,folk,"la, la\nla",calm', "gone.wav,,,,"]
    (root / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


def test_a_folder_of_recordings_and_scores(music, monkeypatch):
    found = corpus(music)
    pieces = {p.id: p for p in found.pieces}
    assert set(pieces) == {"alone.mid", "band/0.wav", "band/1.flac", "band/2.ogg", "band/3.mp3"}
    assert found.report.duplicates == (("copy.flac", "band/1.flac"),)
    reasons = dict(found.report.skipped)
    assert set(reasons) == {"still.wav", "bad.ogg", "gone.wav"}
    assert all("\n" not in reason for reason in reasons.values())
    assert "3 files skipped (1 truncated, 1 silent)" in found.report.summary()
    assert "of sound)" in found.report.summary()

    both = pieces["band/0.wav"]
    assert both.score().note_num() == 40
    assert both.audio(0.1, 0.3).samples.shape == (1, 4410)
    assert both.audio(0.1, 0.3, rate=44100, channels=2).samples.shape == (2, 8820)
    assert (both.sound().slice(2205, 6615) == whole(music / "band/0.wav")[:, 2205:6615]).all()
    with pytest.raises(ValueError, match="has no score; it has audio"):
        pieces["band/2.ogg"].score()
    with pytest.raises(ValueError, match="has no audio"):
        pieces["alone.mid"].audio()
    told = pieces["band/2.ogg"].labels
    assert told == {
        "title": "2",
        "style": "band",
        "artist": "The Ö",
        "genre": "folk",
        "lyrics": "la, la\nla",
        "mood": "calm",
    }

    monkeypatch.setattr(reading, "_Crew", None)  # from here on nothing is read
    assert corpus(music).report == found.report
    assert {p.id for p in corpus(music, kind="sound").pieces} == set(pieces) - {"alone.mid"}


def test_versions_of_a_recording_share_a_split(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):  # noise whose colour changes all the time: every stretch is its own
        rough = rng.standard_normal((22050 * 6, 1)).astype(np.float32) * 0.1
        write(tmp_path / "m" / f"{i}.wav", rough)
        write(tmp_path / "m" / f"{4 - i}-excerpt.flac", 0.5 * rough[30_011:110_000])
    found = corpus(tmp_path / "m")
    splits = {p.id: p.split for p in found.pieces}
    assert len(splits) == 10
    assert all(splits[f"{i}.wav"] == splits[f"{4 - i}-excerpt.flac"] for i in range(5))
    assert found.report.near_duplicates == ()


def test_kinds_that_are_not_there_are_one_clear_line(tmp_path, write_tune):
    write_tune(tmp_path / "s" / "a.mid", seed=1)
    write(tmp_path / "r" / "a.wav", 0 * sound(1))
    with pytest.raises(ValueError, match=r"holds scores .1 files. but no recordings"):
        corpus(tmp_path / "s", kind="sound")
    with pytest.raises(ValueError, match=r"holds recordings .1 files. but no scores"):
        corpus(tmp_path / "r", kind="scores")
    with pytest.raises(ValueError, match=r"nothing of .* could be read; a\.wav: silent"):
        corpus(tmp_path / "r")
    with pytest.raises(ValueError, match="holds scores, no recordings; to make some: otonoha data render"):
        corpus("quartets", kind="sound")
    with pytest.raises(ValueError, match="holds recordings, no scores"):
        corpus("recordings", kind="scores")


def test_tables(tmp_path):
    table = tmp_path / "tracks.tsv"
    table.write_text(
        'path\tartist\tsplit\textra\na.wav\t"X" Y\ttest\t\nsub/b.wav\tZ\t\t1\n', encoding="utf-8-sig"
    )
    assert read_table(table) == {
        tmp_path / "a.wav": {"artist": '"X" Y', "split": "test"},
        tmp_path / "sub/b.wav": {"artist": "Z", "extra": "1"},
    }
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "sub/b.wav"):
        (tmp_path / name).touch()
    (tmp_path / "sub" / "metadata.tsv").write_text("file\tartist\nb.wav\tnearer\n")
    told = tables_of(tmp_path)
    assert told.labels[tmp_path / "sub/b.wav"] == {"artist": "nearer"}
    assert told.splits == {tmp_path / "a.wav": "test"}
    table.write_text("path\tsplit\na.wav\tholdout\n")
    with pytest.raises(ValueError, match="split is train, valid, test or empty, got 'holdout'"):
        tables_of(tmp_path)
    table.write_text("path\na\0.wav\n../up.wav\n")
    assert {reason for _, reason in tables_of(tmp_path).skipped} == {
        "tracks.tsv names it, but it is not there"
    }
    table.write_text("artist\nX\n")
    ((name, reason),) = tables_of(tmp_path).skipped
    assert (name, reason[:29]) == ("tracks.tsv", "no column says which file a r")
    table.write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(ValueError, match="is not UTF-8"):
        tables_of(tmp_path)


# -- shards -----------------------------------------------------------------------------------------------


def test_shards_hold_what_was_packed(music, tmp_path):
    source = corpus(music, kind="sound")
    out = tmp_path / "shards"
    written = pack_pieces(source.pieces, out, size=0.03)
    assert len(written) > 1
    packed = corpus(out)
    assert packed.report.skipped == ()
    by_title = {p.labels["title"]: p for p in packed.pieces}
    for piece in source.pieces:
        again = by_title[piece.labels["title"]]
        assert again.split == piece.split
        assert {k: again.labels[k] for k in piece.labels} == dict(piece.labels)
        assert (again.sound().slice(100, 5000) == piece.sound().slice(100, 5000)).all()
    assert by_title["0"].score().note_num() == 40
    twice = pack_pieces(packed.pieces, tmp_path / "again", size=500)
    assert [m.key for m in members(twice[0])] == [f"{i:06d}" for i in range(len(packed))]
    with pytest.raises(ValueError, match="holds shards already"):
        pack_pieces(source.pieces, out)


def test_a_shard_from_anywhere_is_only_data(tmp_path):
    good = write(tmp_path / "good.flac", sound(0.5)).read_bytes()
    parts = {".flac": good, ".json": b'{"artist": "A", "n": 3, "deep": {"x": 1}, "split": "../x"}'}
    shard = write_shard(
        tmp_path / "s" / "a.tar", [("x", parts), ("y", {".flac": b"nothing"}), ("z", {".txt": b"1"})]
    )
    with tarfile.open(shard, "a") as tar:
        for name in ("/etc/evil.flac", "../../up.wav"):
            info = tarfile.TarInfo(name)
            info.size = len(good)
            tar.addfile(info, io.BytesIO(good))
        link = tarfile.TarInfo("link.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    entry = sound_entry(shard)
    assert [r.suffix for r in entry.records] == ["#x", "#etc-evil", "#up"]
    assert dict(entry.records[0].labels) == {"artist": "A", "n": "3", "split": "../x"}
    assert [key for key, _ in entry.skipped] == ["#y"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.flac", "s"]
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    assert reason_of(shard).split(":")[0] in ("truncated", "unreadable")
    shard.write_bytes(b"no tar" * 500)
    assert reason_of(shard).startswith("unreadable: no tar file")


def test_labels_of_a_shard_that_make_no_sense_are_left_out(tmp_path):
    good = write(tmp_path / "good.wav", sound(0.2)).read_bytes()
    for i, text in enumerate((b"[" * 100_000, b"[1]", b"\xff", json.dumps({"a": None}).encode())):
        (member,) = members(write_shard(tmp_path / f"{i}.tar", [("k", {".wav": good, ".json": text})]))
        assert member.labels == {}


# -- the provided recordings ------------------------------------------------------------------------------


def test_real_recordings(data_folder):
    if not (data_folder / "audio" / "tracks.tsv").exists():
        pytest.skip("the provided recordings are not here")
    free = corpus("recordings")
    assert free.ships
    assert free.report.skipped == ()
    assert {p.labels["licence"] for p in free.pieces} == {
        "CC0 1.0",
        "CC BY 3.0",
        "CC BY 4.0",
        "Public Domain",
    }
    assert (len(free), round(free.report.seconds / 60, 1)) == (318, 12.8)
    assert all({"artist", "genre", "kind", "author", "title"} <= p.labels.keys() for p in free.pieces)
