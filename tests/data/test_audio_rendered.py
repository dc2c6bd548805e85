"""Rendered corpora: exact labels, resumed and grown, killed; the mixes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from otonoha.data import made
from otonoha.data.corpus import corpus
from otonoha.data.made import read_rows
from otonoha.data.mixes import KEYS, MIXES, TEMPO, arranged
from otonoha.data.rendered import Request, jobs, render_corpus
from otonoha.data.soundfonts import described
from otonoha.io.render import render
from otonoha.music.labels import timed
from otonoha.music.piece import Piece
from otonoha.music.time import seconds
from otonoha.music.tracks import notes


@pytest.fixture
def scores(tmp_path, write_tune) -> Path:
    for i in range(4):
        write_tune(tmp_path / "scores" / "reel" / f"{i}.mid", seed=i, notes=12)
    return tmp_path / "scores"


def request(scores: Path, seconds: float, **options) -> Request:
    return Request((str(scores),), hours=seconds / 3600, **options)


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_changes_sound_and_keeps_the_music(tune, mix):
    score = tune(1, notes=60)
    result, manner = arranged(score, mix, np.random.default_rng(0), most=1000)
    before, after = notes(score.tracks[0]), notes(result.tracks[0])
    assert (after.onset == before.onset).all()
    assert (after.pitch - before.pitch == manner.shift).all()
    assert abs(manner.shift) <= KEYS
    assert abs(manner.tempo - 1) <= TEMPO
    ratio = seconds(score, before.onset)[-1] / seconds(result, after.onset)[-1]
    assert ratio == pytest.approx(manner.tempo, abs=1e-4)
    assert manner.offset == 0
    again, _ = arranged(score, mix, np.random.default_rng(0), most=1000)
    assert again.dumps_midi() == result.dumps_midi()


def test_long_pieces_give_excerpts_of_whole_bars(tune):
    score = tune(2, notes=400)
    starts = set()
    for seed in range(8):
        result, manner = arranged(score, "written", np.random.default_rng(seed), most=20)
        length = timed(result).seconds * manner.tempo
        assert 2 <= length <= 20.5
        assert manner.offset + length <= manner.total + 0.1
        assert manner.bars[0] * 2 == pytest.approx(manner.offset)  # 4/4 at 120
        starts.add(manner.bars[0])
    assert len(starts) > 3


def test_jobs_are_a_prefix_of_those_for_more_hours(tune):
    pieces = [("x", Piece(f"p{i}", "train", load_score=lambda i=i: tune(i))) for i in range(3)]
    few = list(jobs(Request(("x",), hours=0.02), pieces, []))
    many = list(jobs(Request(("x",), hours=0.05), pieces, []))
    assert len(few) < len(many)
    assert [(j.key, j.asked) for j in few] == [(j.key, j.asked) for j in many[: len(few)]]
    assert len({j.asked["score"] for j in many}) == len(many)
    fonts = list(jobs(Request(("x",), hours=0.05, soundfonts=("a.sf2", "b.sf2")), pieces, []))
    assert [j.asked["soundfont"] for j in fonts[:5]] == [None, "a.sf2", None, "b.sf2", None]


def test_pieces_without_notes_are_told_once(tune):
    empty = Piece("empty", "train", load_score=lambda: tune(0, notes=0))
    skipped: list = []
    found = list(
        jobs(
            Request(("x",), hours=0.05),
            [("x", empty), ("x", Piece("a", "train", load_score=lambda: tune(1)))],
            skipped,
        )
    )
    assert len(found) > 2
    assert [name for name, _ in skipped] == ["empty"]
    with pytest.raises(ValueError, match="none of the 1 pieces can be rendered; empty:"):
        list(jobs(Request(("x",)), [("x", empty)], []))


def test_a_rendered_corpus_has_exact_labels_and_grows(scores, tmp_path):
    out = tmp_path / "out"
    first = render_corpus(request(scores, 8), out)
    assert first.made == len(read_rows(out))
    assert first.skipped == []
    sounds = {p.name: p.read_bytes() for p in (out / "sound").iterdir()}
    second = render_corpus(request(scores, 16), out, workers=2)
    assert second.kept == first.made
    assert second.made > 0
    assert {name: (out / "sound" / name).read_bytes() for name in sounds} == sounds

    found = corpus(out)
    assert len(found) == first.made + second.made
    splits = {p.id: p.split for p in corpus(scores).pieces}
    for piece in found.pieces:
        labels = piece.labels
        assert piece.split == splits[labels["piece"]]
        assert labels["genre"] == labels["artist"] == "reel"
        assert piece.sound().seconds == pytest.approx(float(labels["seconds"]), abs=1e-3)
        assert float(labels["offset"]) + piece.sound().seconds < float(labels["total"]) * 1.1 + 2
    piece = found.pieces[0]
    again = render(piece.score(), seed=int(piece.labels["seed"]))
    assert np.abs(again.samples - piece.audio().samples).max() < 1e-4  # 16 bits
    onset = timed(piece.score()).notes[0, 0]
    heard = np.flatnonzero(np.abs(piece.audio().samples).max(axis=0) > 1e-3)[0] / 44100
    assert onset <= heard < onset + 0.1

    with pytest.raises(ValueError, match=r"another corpus .it differs in seed."):
        render_corpus(request(scores, 8, seed=1), out)
    with pytest.raises(ValueError, match="holds something else"):
        render_corpus(request(scores, 8), scores)


def test_a_run_that_was_killed_goes_on(scores, tmp_path):
    out = tmp_path / "out"
    code = (
        "from otonoha.data.rendered import Request, render_corpus\n"
        f"render_corpus(Request(({str(scores)!r},), hours=1), {str(out)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while (
        time.monotonic() < deadline
        and len(list((out / "sound").glob("[!.]*.flac")) if out.exists() else []) < 3
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    table = out / "tracks.tsv"
    table.write_bytes(table.read_bytes() + b"sound/half-a-ro")
    (out / "sound" / ".half.flac").write_bytes(b"x")
    kept = len(read_rows(out))
    assert kept >= 2
    again = render_corpus(request(scores, 20), out)
    assert again.kept >= min(kept, 2)
    assert not list((out / "sound").glob(".*"))
    assert len(corpus(out).report.skipped) == 0


def test_a_job_that_fails_is_told_and_the_run_goes_on(scores, tmp_path, monkeypatch):
    ask = made.Renderer.ask
    monkeypatch.setattr(
        made.Renderer,
        "ask",
        lambda self, job, limit: (
            {"error": "out of paint"} if "000000" in job["target"] else ask(self, job, limit=limit)
        ),
    )
    done = render_corpus(request(scores, 12), tmp_path / "out")
    assert [(name[:6], reason) for name, reason in done.skipped] == [("000000", "out of paint")]
    assert done.made >= 1


def test_mistakes_are_one_line(scores, tmp_path):
    for options, reason in (
        ({"format": "flak"}, "did you mean '.flac'"),
        ({"mixes": ("string",)}, "did you mean 'strings'"),
        ({"kbps": 64}, "for the format opus only"),
        ({"format": "opus", "kbps": 5}, "kbps must lie in"),
        ({"most": 0}, "most must lie in"),
    ):
        with pytest.raises(ValueError, match=reason):
            request(scores, 10, **options)
    with pytest.raises(ValueError, match="hours must be above 0"):
        request(scores, 0)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        render_corpus(request(scores, 10), tmp_path / "x", workers=0)
    with pytest.raises(ValueError, match="cannot be read"):
        render_corpus(request(scores, 10, soundfonts=("nowhere.sf2",)), tmp_path / "x")
    with pytest.raises(ValueError, match="unknown corpus"):
        render_corpus(Request(("bach-choral",)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_font_without_known_terms_says_its_own(tmp_path):
    pytest.importorskip("fluidsynth")
    font = tmp_path / "own.sf2"
    words = b"by me\0"
    font.write_bytes(b"RIFF\0\0\0\0sfbkLIST\0\0\0\0INFOICOP" + len(words).to_bytes(4, "little") + words)
    assert described(font)["licence"] == "not known to otonoha; the font says: by me"
    (tmp_path / "FluidR3_GM.sf2").write_bytes(font.read_bytes())
    assert described(tmp_path / "FluidR3_GM.sf2")["licence"].startswith("MIT")
