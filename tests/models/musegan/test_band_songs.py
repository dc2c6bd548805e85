"""The multi-track recipe on a folder of multi-track MIDI, through the command line, with drums and bass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from band_songs import PROGRAMS, band_song, write_band_songs
from otonoha.cli import main
from otonoha.io.files import read
from otonoha.models import pretrained
from otonoha.models.musegan.config import BAND
from otonoha.models.musegan.model import MuseGAN
from otonoha.tokens.roll import Roll

torch.set_num_threads(1)


def test_songs_are_for_the_whole_band():
    codec = Roll.band()
    rolls = codec.array(codec.encode(band_song(3, bars=4)))
    assert rolls.shape == (4, 5, 16, 84)
    assert rolls.any(axis=(2, 3)).all()  # everybody plays in every bar
    drums = rolls[:, codec.tracks.index("drums")]
    assert set(np.flatnonzero(drums.any(axis=(0, 1))) + codec.low) == {36, 38, 42}
    assert {t.program for t in band_song(3).tracks if not t.is_drum} == set(PROGRAMS.values())
    assert band_song(3).dumps_midi() == band_song(3).dumps_midi() != band_song(4).dumps_midi()


def test_the_band_recipe_trains_on_a_folder_of_midi(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "cache"))
    songs, run = write_band_songs(tmp_path / "songs", 10, bars=6), tmp_path / "band"
    words = ["fit", "musegan", "--preset", "band", "--data", str(songs), "--out", str(run)]
    small = ["--width", "0.1", "--noise", "4", "--steps", "4", "--batch", "4", "--eval-every", "4"]
    assert main([*words, *small]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    learnt = [r for r in rows if r["kind"] == "train"]
    assert {r["objective"] for r in learnt} == {"critic", "generator"}
    assert all(np.isfinite(r["loss"]) for r in learnt)
    assert {"EB", "QN", "loss", "unique"} <= next(r for r in rows if r["kind"] == "valid").keys()

    model = pretrained.load(run)
    assert model.config.tracks == model.codec.tracks == BAND
    assert len(model.card["critic on real phrases"]) == 21
    told = model.explain(band_song(50))
    assert np.isfinite(told.scores).all()
    assert main(["sample", str(run), "--seed", "1", "--bars", "3", "--out", str(tmp_path / "a.mid")]) == 0
    written = read(tmp_path / "a.mid")
    assert [(t.name, t.is_drum) for t in written.tracks] == [(name, name == "drums") for name in BAND]
    assert [t.program for t in written.tracks if t.name in PROGRAMS] == [
        PROGRAMS[n] for n in BAND if n != "drums"
    ]


def test_a_band_may_lack_players():
    """Their tracks are silent."""
    codec = Roll.band()
    rolls = codec.array(codec.encode(band_song(5, tracks=("drums", "bass"))))
    playing = rolls.any(axis=(0, 2, 3))
    assert [name for name, on in zip(codec.tracks, playing, strict=True) if on] == ["bass", "drums"]


@pytest.mark.parametrize("design", ["onehot", "lines", "book"])
def test_designs_for_lines_refuse_a_band(design):
    with pytest.raises(
        ValueError, match=f"design '{design}' writes lines of single notes; .* binary or paper"
    ):
        MuseGAN("band", design=design)
