"""`otonoha import-jukebox` on files in the published layout: what stands in OUT, and what is refused."""

import os
import re
import resource
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "models" / "jukebox"))
import originals

from otonoha.models import pretrained
from otonoha.models.jukebox.original_files import Kept

torch.set_num_threads(1)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder with a codec, three priors and tables of names, in small."""
    originals.small(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return originals.published(tmp_path / "models")


class Hostile:
    """Runs a shell when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def left(folder):
    """What lies in a folder, hidden things too."""
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_of_files_becomes_a_system_that_writes_sound(source, otonoha, tmp_path):
    said = otonoha("import-jukebox", source, "--out", "runs/big")
    assert said.status == 0, said.err
    assert "noncommercial" in said.out.split("codec:")[0]
    assert "level2: jukebox_1b_lyrics" in said.out
    assert "writing with it takes" in said.out
    system = pretrained.load("runs/big")
    assert (system.config.levels, system.config.codec) == ((2, 1, 0), originals.codec().fingerprint)
    assert {level: told.names.rule for level, told in system.lessons.items()} == {2: "v3", 1: "v2", 0: "v2"}
    for place in ("", "parts/codec", "parts/level2", "parts/level0"):
        card = (tmp_path / "runs/big" / place / "README.md").read_text()
        assert "Noncommercial Use License" in card
        assert "otonoha import-jukebox" in card
        assert pretrained.load(tmp_path / "runs/big" / place).card["ships"] == "no"
    words = ["--seconds", 0.05, "--song-seconds", 1, "--level", 2, "--seed", 1, "--artist", "V3_singer_3"]
    taken = otonoha("sample", "runs/big", *words, "--lyrics", "la la", "--out", "takes")
    assert taken.status == 0, taken.err
    assert any(name.endswith(".wav") for name in left(tmp_path / "takes"))
    assert "did you mean" in otonoha("sample", "runs/big", *words[:-1], "v3_singr_3", "--out", "other").err


def test_half_and_json(source, otonoha, tmp_path):
    whole = otonoha("import-jukebox", source, "--out", "whole", "--json").json
    half = otonoha("import-jukebox", source, "--out", "half", "--half", "--json").json
    assert (whole["kind"], whole["parts"].keys()) == ("system", {"codec", "level2", "level1", "level0"})
    assert whole["parts"]["level1"]["preset"] == "upsampler_1"
    assert (
        half["memory"]
        == whole["memory"]
        == 4 * sum(whole["parts"][f"level{i}"]["parameters"] for i in range(3))
    )
    assert "Noncommercial" in half["licence"]
    sizes = [
        (tmp_path / name / "parts/level1/model.safetensors").stat().st_size for name in ("whole", "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    for level in (0, 1, 2):  # parts are checked when they are loaded
        assert pretrained.load("half").prior(level).level == level


def test_one_file_is_one_model_and_what_makes_no_system_stands_by_itself(source, otonoha, tmp_path):
    assert otonoha("import-jukebox", source / "1b_lyrics", "--out", "top").status == 0
    assert pretrained.load("top").family == "jukebox"
    (source / "1b_lyrics" / "prior_level_2.pth.tar").unlink()
    said = otonoha("import-jukebox", source, "--out", "rest")
    assert "put them together later with otonoha assemble" in said.out
    assert left(tmp_path / "rest" / "parts") == ["codec", "level0", "level1"]
    assert (
        otonoha("assemble", "top", "rest/parts/level1", "--codec", "rest/parts/codec", "--out", "sys").status
        == 0
    )
    for level in (0, 1):
        (source / "5b" / f"prior_level_{level}.pth.tar").unlink()
    said = otonoha("import-jukebox", source, "--out", "codec")
    assert "otonoha encode song.wav --with codec" in said.out
    assert pretrained.load("codec").fingerprint == originals.codec().fingerprint


def test_of_several_priors_one_is_chosen(source, otonoha):
    originals.put(source / "5b_lyrics" / "prior_level_2.pth.tar", originals.weights("jukebox_5b_lyrics"))
    said = otonoha("import-jukebox", source, "--out", "x")
    assert said.status == 2
    assert "say which one with --preset" in said.err
    assert otonoha("import-jukebox", source, "--out", "x", "--preset", "jukebox_5b_lyrics").status == 0
    assert pretrained.load("x").lessons[2].names.rule == "v2"
    said = otonoha("import-jukebox", source, "--out", "y", "--preset", "jukebox_5b")
    assert "the folder holds no jukebox_5b; it holds jukebox_1b_lyrics" in said.err


def test_without_tables_nobody_in_particular_sings(source, otonoha):
    for table in (source / "ids").iterdir():
        table.unlink()
    said = otonoha("import-jukebox", source, "--out", "x")
    assert said.status == 0
    assert "level 2 gets no names of artists and genres: v3_artist….txt" in said.err
    assert "it keeps no tables of names" in otonoha("sample", "x", "--seconds", 0.05, "--artist", "me").err


def spoil(source, which):
    """A folder with a fault; words that belong to it."""
    level = source / "5b" / "prior_level_0.pth.tar"
    if which == "hostile":
        originals.put(level, originals.weights("upsampler_0"), hps=Hostile(source / "it-ran"))
    if which == "hostile archive":
        originals.put(level, originals.weights("upsampler_0"), archive=True, opt=[Hostile(source / "it-ran")])
    if which == "cut":
        level = source / "5b" / "prior_level_1.pth.tar"
        level.write_bytes(level.read_bytes()[:-1000])
    if which == "extra":
        originals.put(level, {**originals.weights("upsampler_0"), "more.weight": torch.zeros(2)})
    if which == "not finite":
        tensors = originals.weights("upsampler_0")
        originals.put(level, {**tensors, "prior.pos_emb.pos_emb": tensors["prior.pos_emb.pos_emb"] / 0})
    if which == "table":
        (source / "ids" / "v2_genre_ids.txt").write_text("rock;1\nwhat is this\n")
    if which == "twice":
        originals.put_codec(source / "5b_lyrics" / "vqvae.pth.tar")
    if which == "nothing":
        return ["--preset", "jukebox_6b"]
    return ["--artists", source / "none.txt"] if which == "no table" else []


FAULTS = {
    "hostile": r"names 'posix.system', which weights do not need",
    "hostile archive": r"names 'posix.system', which weights do not need",
    "cut": "is cut short",
    "extra": r"1 tensor is not of this model \(more.weight\)",
    "not finite": "no finite numbers",
    "table": "line 2: expected a name and an id, got 'what is this'",
    "twice": "there are several: .*; leave one in the folder",
    "nothing": "jukebox_6b.*did you mean",
    "no table": "there is no table|has no effect",
}


@pytest.mark.parametrize("which", FAULTS)
def test_what_is_wrong_is_one_clear_line_and_leaves_nothing(which, source, otonoha, tmp_path):
    words, before = spoil(source, which), left(tmp_path)
    said = otonoha("import-jukebox", source, "--out", "runs/x", *words)
    assert said.status == 2
    errors = [line for line in said.err.splitlines() if line.startswith("otonoha:")]
    assert len(errors) == 1
    assert re.search(FAULTS[which], errors[0]), errors[0]
    assert "Traceback" not in said.err
    assert left(tmp_path) == before
    assert not (source / "it-ran").exists()


def test_out_is_never_mixed_with_what_is_there(source, otonoha, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "holds something already" in otonoha("import-jukebox", source, "--out", "full").err
    assert left(tmp_path / "full") == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert otonoha("import-jukebox", source / "1b_lyrics", "--out", "empty").status == 0
    assert "is a file" in otonoha("import-jukebox", source, "--out", "full/mine.txt").err
    assert "is no folder" in otonoha("import-jukebox", "nowhere").err
    assert "holds none of the published files" in otonoha("import-jukebox", tmp_path / "full").err
    (source / "ids" / "vqvae.pth.tar").symlink_to(source / "5b" / "vqvae.pth.tar")
    assert "--half has no effect" in otonoha("import-jukebox", source / "ids", "--half").err


def test_out_may_be_a_link_to_another_place(source, otonoha, tmp_path):
    for name, there in (("link", True), ("dangling", False)):
        place = tmp_path / "disk" / name
        place.parent.mkdir(exist_ok=True)
        if there:
            place.mkdir()
        (tmp_path / name).symlink_to(place)
        said = otonoha("import-jukebox", source / "1b_lyrics", "--out", name)
        assert said.status == 0, said.err
        assert pretrained.load(place).family == "jukebox"
        assert (tmp_path / name).is_symlink()


def test_where_one_stands_is_no_place_for_a_model(source, otonoha, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said = otonoha("import-jukebox", source / "1b_lyrics", "--out", ".")
    assert said.status == 2
    assert "--out . is the folder that you are in; give a new one" in said.err


def test_a_disk_that_is_too_full(source, otonoha, tmp_path, monkeypatch):
    before = left(tmp_path)
    free = type("Usage", (), {"free": 100_000})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: free)
        said = otonoha("import-jukebox", source, "--out", "a/b/x")
    assert "a/b/x needs 0.0 GB, and the disk has 0.0 GB left" in said.err
    assert left(tmp_path) == before
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))  # the disk really refuses the rest
    try:
        said = otonoha("import-jukebox", source, "--out", "a/b/x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said.status == 2
    assert "could not write" in said.err
    assert left(tmp_path) == before


def test_ctrl_c_leaves_nothing(source, otonoha, tmp_path, monkeypatch):
    before = left(tmp_path)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "describe", stopped)
    assert otonoha("import-jukebox", source, "--out", "runs/x").status == 130
    assert left(tmp_path) == before
