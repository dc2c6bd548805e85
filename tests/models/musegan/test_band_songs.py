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


def test_the_band_recipe_learns_from_a_folder_of_midi(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "cache"))
    songs, run = write_band_songs(tmp_path / "songs", 10, bars=6), tmp_path / "band"
    words = ["fit", "musegan", "--preset", "band", "--data", str(songs), "--out", str(run)]
    small = ["--hidden", "24", "--noise", "4", "--bars", "2", "--steps", "90", "--batch", "4"]
    assert main([*words, *small, "--lr", "1e-2", "--warmup", "5", "--eval-every", "45"]) == 0, (
        capsys.readouterr().err
    )
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    learnt = [r for r in rows if r["kind"] == "train"]
    assert {r["objective"] for r in learnt} == {"lines", "temporal"}
    lines = [r["loss"] for r in learnt if r["objective"] == "lines"]
    assert lines[-1] < 0.4 * lines[0]
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


@pytest.fixture(scope="module")
def fresh():
    """Fresh, but decided: the weights of its decoder are large."""
    model = MuseGAN("band", hidden=16, noise=4, bars=2, divisi=2)
    with torch.no_grad():
        for weight in model.design.decoder.parameters():
            weight *= 3
    return model


@pytest.mark.parametrize("track", BAND)
@pytest.mark.parametrize("knob", ["melody", "groove"])
def test_a_private_knob_turns_its_own_player_only(fresh, knob, track):
    turn = {f"{knob}_seed": 9, "only_tracks": track, "independence": 1.0}
    a, b = (fresh.sample(seed=3, bars=2, **kw).tokens.streams for kw in ({"independence": 1.0}, turn))
    assert [name for name in BAND if not np.array_equal(a[name], b[name])] == [track]


@pytest.mark.parametrize("knob", ["chords", "style"])
def test_a_common_knob_turns_all_players(fresh, knob):
    a, b = (fresh.sample(seed=3, bars=2, **kw).tokens.streams for kw in ({}, {f"{knob}_seed": 9}))
    assert not any(np.array_equal(a[name], b[name]) for name in BAND)


def test_a_given_player_of_a_band_plays_as_given():
    """With more notes at once than the model has lines for it, too."""
    model = MuseGAN("band", hidden=16, noise=4, bars=2, divisi=2, given="piano")
    prompt = band_song(4, bars=3, tracks=("piano",))
    take = model.sample(prompt=prompt, seed=1)
    codec = model.codec
    wanted = codec.encode(prompt).streams["piano"]
    np.testing.assert_array_equal(take.tokens.streams["piano"], wanted)
    assert (wanted > 0).sum(-1).max() == 3


def test_a_band_may_lack_players():
    """Their tracks are silent."""
    codec = Roll.band()
    rolls = codec.array(codec.encode(band_song(5, tracks=("drums", "bass"))))
    playing = rolls.any(axis=(0, 2, 3))
    assert [name for name, on in zip(codec.tracks, playing, strict=True) if on] == ["bass", "drums"]


@pytest.mark.parametrize("design", ["onehot", "book"])
def test_designs_for_lines_refuse_a_band(design):
    with pytest.raises(
        ValueError, match=f"design '{design}' writes lines of single notes; .* lines, binary or paper"
    ):
        MuseGAN("band", design=design)


def test_notes_that_do_not_fit_are_told():
    """Once, however often one looks."""
    for divisi, told in ((4, False), (2, True)):
        model = MuseGAN("band", hidden=16, noise=4, bars=2, divisi=divisi)
        songs = [model.codec.encode(band_song(i, bars=2)) for i in range(2)]
        model.observe(songs)
        says = [model.evaluate(songs).get("says", "") for _ in range(2)]
        assert ("of the notes are left out: tracks play more than 2 notes" in says[0]) == told
        assert "left out" not in says[1]
        assert ("--divisi 4 keeps more of them" in says[0]) == told


@pytest.mark.parametrize(
    ("name", "given", "message"), [("band", "piano", "piano"), ("lines", "soprano", "soprano")]
)
def test_there_must_be_something_left_to_write(name, given, message):
    with pytest.raises(
        ValueError, match=f"given '{message}' is the only track: there is nothing left to write"
    ):
        MuseGAN(name, tracks=(given,), given=given)


def test_drums_cannot_be_given_as_pitches():
    model = MuseGAN("band", hidden=16, noise=4, bars=2, given="drums")
    with pytest.raises(ValueError, match="the given track is 'drums', the prompt has pitched notes"):
        model.sample(prompt=band_song(1, tracks=("piano",)), seed=1)
    other = MuseGAN("band", hidden=16, noise=4, bars=2, given="piano")
    with pytest.raises(ValueError, match="the given track is 'piano', the prompt has drums"):
        other.sample(prompt=band_song(1, tracks=("drums",)), seed=1)


def test_more_lines_than_pitches():
    assert MuseGAN("band", low=60, high=71, divisi=16, hidden=8, noise=2).prepare([]) == []
    model = MuseGAN("band", low=60, high=71, divisi=16, hidden=8, noise=2, bars=1)
    assert len(model.sample(seed=1, bars=1).music.tracks) == len(BAND)
    model.fit([band_song(1, bars=2)], steps=1, batch=1, quiet=True)
