"""`sound`, the model of sound that comes with the package: what it is, that it sounds, that it hears its notes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import otonoha as oto
from otonoha.models import pretrained
from otonoha.models.pretrained import load, shipped
from otonoha.music.spectra import chroma

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif("sound" not in shipped(), reason="no model of sound in this package")


@pytest.fixture(scope="module")
def model():
    return load("sound")


def test_its_card_says_what_it_is(model):
    assert "noisy" in model.card["summary"]
    figures = model.card["metrics"]
    for level in (2, 1, 0):
        assert figures[f"level {level} bits a second"] < 0.97 * figures[f"level {level} n-gram"]
    size = {
        name: sum(p.stat().st_size for p in at.rglob("*") if p.is_file()) for name, at in shipped().items()
    }
    assert size["sound"] < 10e6
    assert sum(size.values()) < 40e6


def test_ten_seconds_sound(model):
    music = model.sample(seconds=10.0, seed=3).music
    assert (music.rate, round(music.seconds, 2)) == (44100, 10.0)
    level = 10 * np.log10(np.square(music.samples).mean())
    assert -45 < level < -10
    assert np.abs(music.samples).max() <= 1


def test_it_hears_its_notes(model):
    """Chords in octaves: their pitch classes are louder than when the chord a tritone away is told."""
    chord = [0, 4, 7]

    def strength(root):
        notes = ", ".join(f"0 4 {base + (root + p) % 12}" for p in chord for base in (48, 60))
        music = model.sample(notes=notes, seconds=4.0, seed=1).music
        pitches = chroma(music.samples.mean(axis=0), music.rate).mean(axis=1)
        return pitches / pitches.sum()

    at_c, at_f_sharp = strength(0), strength(6)
    assert at_c[chord].sum() > at_f_sharp[chord].sum() + 0.05


def test_its_codec_is_the_one_of_the_package(model, tmp_path, monkeypatch):
    folder = tmp_path / "sound"
    shutil.copytree(shipped()["sound"], folder)
    assert load(folder).codec.fingerprint == load("codec").fingerprint
    told = json.loads((folder / "config.json").read_text("utf-8"))
    for wrong in ("nothing", ["codec"], 3):
        (folder / "config.json").write_text(json.dumps(told | {"codec": told["codec"] | {"shipped": wrong}}))
        with pytest.raises(ValueError, match="does not come with this version"):
            load(folder)
    (folder / "config.json").write_text(json.dumps(told | {"codec": told["codec"] | {"shipped": "melody"}}))
    with pytest.raises(ValueError, match="is not the part that this system was made of"):
        _ = load(folder).codec
    whole = model.save(tmp_path / "whole")
    monkeypatch.setattr(pretrained, "shipped", dict)
    assert load(whole).codec.fingerprint == told["codec"]["fingerprint"]


def test_only_its_own_codec_can_be_left_out(tmp_path):
    codec = oto.VQVAE("modern_tiny")
    system = oto.JukeboxSystem([oto.Jukebox("modern_tiny", codec=codec)], codec=codec)
    with pytest.raises(ValueError, match="not the one that comes with the package as codec"):
        system.save(tmp_path / "out", codec="codec")
