"""`otonoha data` with recordings: list, show, render, pack."""

from __future__ import annotations

import json

import pytest
from sounds import sound, write

from otonoha.cli.app import run


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_list_shows_recordings_with_their_terms(capsys):
    assert run(["data", "list", "--json"]) == 0
    specs = {s["name"]: s for s in told(capsys)["corpora"]}
    assert specs["recordings"]["sound"]
    assert specs["recordings"]["ships"]
    assert not specs["recordings-all"]["ships"]
    assert "share-alike" in specs["recordings-all"]["what"]
    assert not specs["lieder"]["sound"]


def test_show_counts_sound_and_what_was_skipped(tmp_path, capsys):
    write(tmp_path / "m" / "a.flac", sound(1))
    write(tmp_path / "m" / "still.wav", 0 * sound(1))
    assert run(["data", "show", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    assert "1 piece read (1.0 s of sound), 1 file skipped (1 silent)" in said
    assert "skipped still.wav: silent: no sample is above 0.0001" in said


def test_render_then_pack(tmp_path, write_tune, capsys):
    for i in range(3):
        write_tune(tmp_path / "scores" / f"{i}.mid", seed=i, notes=8)
    out, shards = str(tmp_path / "out"), str(tmp_path / "shards")
    line = [
        "data",
        "render",
        str(tmp_path / "scores"),
        "--hours",
        "0.002",
        "--out",
        out,
        "--soundfont",
        "none",
    ]
    assert run([*line, "--workers", "1", "--json"]) == 0
    made = told(capsys)
    assert made["made"] >= 1
    assert made["skipped"] == []
    assert made["seconds"] > 5
    assert run(["data", "pack", out, "--out", shards, "--json"]) == 0
    packed = told(capsys)
    assert packed["recordings"] == made["made"]
    assert len(packed["shards"]) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (["data", "render"], "CORPORA"),
        (["data", "render", "quartets"], "--out"),
        (
            ["data", "render", "quartets", "--out", "x", "--format", "flac", "--kbps", "64"],
            "for the format opus only",
        ),
        (["data", "render", "quartets", "--out", "x", "--mixes", "winds,wind"], "did you mean 'winds'"),
        (["data", "render", "recordings", "--out", "x"], "holds recordings, no scores"),
        (["data", "render", "quartets", "--out", "x", "--soundfont", "nowhere.sf2"], "cannot be read"),
        (["data", "pack", "quartets", "--out", "x"], "holds scores, no recordings"),
        (["data", "get", "recordings"], "recordings is no download"),
    ],
)
def test_mistakes_are_one_line(line, reason, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTONOHA_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert run(line) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said.splitlines()[-1]
    assert not (tmp_path / "x").exists()
