"""A corpus as codes: coded once, known again by its samples, going on where it was stopped."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from codes_fakes import PIECES, RATE, FakeCodec, piece

from otonoha.data.audio_recording import FileRecording
from otonoha.io.audio_scan import Facts, scan
from otonoha.io.audio_slices import Place
from otonoha.models.jukebox import codes_corpus, codes_store
from otonoha.models.jukebox.codes_corpus import coded, layout_of, store_folder, teller
from otonoha.models.jukebox.codes_store import Store
from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held

STILL = Audio(np.full((1, 4000), 0.25, np.float32), 1000)


def same(found, codec: FakeCodec, pieces) -> None:
    """What the codec says, piece by piece."""
    assert [c.id for c in found.pieces] == [p.id for p in pieces]
    for one, p in zip(found.pieces, pieces):
        levels, filled = codec.codes(p.sound())
        assert one.samples == filled.sum() == p.sound().frames
        assert one.labels == p.labels
        for codes, wanted in zip(one.levels, levels, strict=True):
            assert np.array_equal(codes, wanted)


def test_recordings_are_coded_once(tmp_path):
    codec = FakeCodec()
    first = coded(codec, PIECES[:4], folder=tmp_path)
    same(first, codec, PIECES[:4])
    assert (first.made, len(codec.encoded)) == (4, 4)
    assert first.seconds == pytest.approx(sum(p.sound().seconds for p in PIECES[:4]))
    again = coded(codec, PIECES, folder=tmp_path)
    same(again, codec, PIECES)
    assert (again.made, len(codec.encoded)) == (2, 6)


def test_equal_sound_is_coded_once_and_keeps_its_labels(tmp_path):
    codec = FakeCodec()
    twins = [piece("one", 80, artist="a"), piece("two", 80, artist="b"), piece("other", 80, rate=500)]
    found = coded(codec, [*twins, twins[0]], folder=tmp_path)
    assert found.made == 2
    assert [c.labels.get("artist") for c in found.pieces] == ["a", "b", None, "a"]
    assert found.pieces[2].samples == 160


def test_a_recording_is_known_by_its_samples(tmp_path):
    base = piece("a", 3000).sound()
    assert base.signature() == piece("b", 3000).sound().signature() == base.at(RATE, 1).signature()
    others = [piece("c", 2999), piece("d", 3000, start=1), piece("e", 3000, rate=999)]
    assert len({base.signature(), *(p.sound().signature() for p in others)}) == 4
    path = tmp_path / "a.wav"
    soundfile.write(path, base.slice()[0], RATE)
    facts = scan(Place(path))
    assert FileRecording(Place(path), facts).signature() == facts.fingerprint  # nothing is read again


def test_other_codecs_have_other_stores(tmp_path, monkeypatch):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    coded(FakeCodec(), PIECES[:2])
    assert coded(FakeCodec(name="fake/2"), PIECES[:2]).made == 2
    assert {p.name for p in (tmp_path / "codes").iterdir()} == {"fake-1", "fake_2"}
    assert store_folder("fake-1") == tmp_path / "codes" / "fake-1"
    monkeypatch.delenv("OTONOHA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert store_folder("fake-1") == tmp_path / "x" / "otonoha" / "codes" / "fake-1"


def test_bad_pieces_are_told_and_the_rest_goes_on(tmp_path):
    silent = Piece("notes only", "train")
    hollow = piece("hollow", 0)
    broken = piece("broken", 64)
    broken.sound().samples[0, 9] = np.nan
    gone = tmp_path / "gone.wav"
    soundfile.write(gone, np.zeros(100), RATE)
    lost = Piece(
        "gone", "train", recording=FileRecording(Place(gone), Facts(RATE, 1, 100, "", 1, 0, "f" * 32))
    )
    gone.unlink()
    lines = []
    found = coded(
        FakeCodec(),
        [silent, PIECES[0], hollow, broken, lost, PIECES[1]],
        folder=tmp_path,
        told=lambda line, last: lines.append((line, last)),
    )
    assert [c.id for c in found.pieces] == ["p0", "p1"]
    reasons = dict(found.skipped)
    assert set(reasons) == {"notes only", "hollow", "broken", "gone"}
    assert reasons["broken"] == "some samples are no numbers"
    assert reasons["hollow"] == "it holds no sound"
    assert "gone.wav" in reasons["gone"]
    assert lines[-1][1]
    assert lines[-1][0].startswith("2 recordings coded (")
    assert lines[-1][0].endswith(", 2 could not be")


def test_progress_tells_how_far_how_fast_how_long(tmp_path, monkeypatch):
    now = iter(np.arange(0, 1e6, 0.6))
    monkeypatch.setattr(codes_corpus.time, "monotonic", lambda: float(next(now)))
    lines = []
    coded(FakeCodec(), PIECES[:2], folder=tmp_path, told=lambda line, last: lines.append(line))
    assert len(lines) > 5
    assert lines[0].startswith("coding: 0/2 recordings, 0:00 of 0:00, ")
    assert " x real time, " in lines[2]
    assert lines[2].endswith(" left")


@pytest.mark.parametrize("still", [False, True])
def test_a_codec_that_tells_nothing_apart_is_told(tmp_path, still):
    held = Piece("still", "train", recording=Held(STILL)) if still else piece("ramp", 4000)
    lines = []
    coded(FakeCodec(), [held], folder=tmp_path, told=lambda line, last: lines.append(line))
    said = "tells hardly any sounds apart: of 50 codes on level 0 it uses 1"
    assert any(said in line for line in lines) == still


def test_the_teller_speaks_once_in_ten_seconds_to_a_log(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    told = teller()
    for _ in range(20):
        told("half", False)
    told("all", True)
    assert log.getvalue() == "half\nall\n"
    teller(quiet=True)("nothing", True)
    assert log.getvalue() == "half\nall\n"


def test_without_a_cache_folder_codes_stay_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    codec = FakeCodec()
    with pytest.warns(UserWarning, match="cannot be written: the codes stay in memory"):
        found = coded(codec, PIECES[:3], folder=tmp_path / "file" / "store")
    same(found, codec, PIECES[:3])


def test_a_second_writer_waits_and_finds_all_done(tmp_path):
    """One process holds the lock; the other one is told, waits, and has nothing left to do."""
    codec, lines = FakeCodec(), []
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from codes_fakes import PIECES, FakeCodec
from otonoha.models.jukebox.codes_corpus import layout_of
from otonoha.models.jukebox.codes_store import Store
import otonoha.models.jukebox.codes_corpus as c
store = Store(Path({str(tmp_path)!r}), layout_of(FakeCodec()))
store.writable()
with store.writing() as writer:
    print("locked", flush=True)
    sys.stdin.readline()
    run = c._Coding(FakeCodec(), store.layout, lambda line, last: None)
    run.all({{p.sound().signature(): p for p in PIECES}}, writer.add)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "locked\n"

    def told(line, last):
        lines.append(line)
        if "waiting" in line:
            child.stdin.write("go\n")
            child.stdin.flush()

    found = coded(codec, PIECES, folder=tmp_path, told=told)
    assert child.wait(30) == 0
    child.stdin.close()
    child.stdout.close()
    assert lines == ["another process is coding; waiting for it"]
    assert (found.made, codec.encoded) == (0, [])
    same(found, codec, PIECES)


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from codes_fakes import PIECES, FakeCodec
from otonoha.models.jukebox import codes_store
from otonoha.models.jukebox.codes_corpus import coded
codes_store.COMMIT_SECONDS = -1.0

class Slow(FakeCodec):
    def encode(self, music, **kw):
        print("at", len(self.encoded), flush=True)
        time.sleep(0.15)
        return super().encode(music, **kw)

coded(Slow(), PIECES, folder=Path(sys.argv[1]))
"""


def test_after_kill_9_it_goes_on_where_it_stopped(tmp_path):
    """Two runs are killed while they code their third recording."""
    codec, rounds = FakeCodec(), 0
    while rounds < 2:
        child = subprocess.Popen(
            [sys.executable, "-c", SLOW, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        begun = [child.stdout.readline() for _ in range(3)]  # two recordings are whole, a third is begun
        time.sleep(0.07 * rounds)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
        child.stdout.close()
        rounds += 1
        there = Store(tmp_path, layout_of(codec)).entries
        assert len(there) >= min(6, 2 * rounds)
        assert begun[2]
    found = coded(codec, PIECES, folder=tmp_path)
    assert len(codec.encoded) == found.made <= 6 - 2 * min(rounds, 3)
    same(found, codec, PIECES)


def test_a_real_codec_of_sound(tmp_path):
    """The room of codecs is not imported by this one: it comes as an object."""
    from otonoha.models.vqvae.model import VQVAE

    model = VQVAE("modern_tiny")
    rng = np.random.default_rng(0)
    pieces = [
        Piece(f"p{n}", "train", recording=Held(Audio(rng.normal(0, 0.1, (1, n)).astype(np.float32), 8000)))
        for n in (3000, 1111, 64)
    ]
    found = coded(model, pieces, folder=tmp_path)
    assert layout_of(model).hops == (16, 32, 64)
    assert (layout_of(model).rate, layout_of(model).sizes) == (8000, (32, 32, 32))
    for one, p in zip(found.pieces, pieces, strict=True):
        tokens = model.encode(p)
        for level, codes in enumerate(one.levels):
            assert np.array_equal(codes, tokens.streams[f"level{level}"].reshape(-1))
        assert one.samples == p.sound().frames
    assert coded(model, pieces, folder=tmp_path).made == 0
    assert codes_store.SHARD_BYTES > 1 << 20
