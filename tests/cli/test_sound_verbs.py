"""Models of sound on the command line: assemble, sample, compose; their files, and mistakes as one line."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models" / "jukebox"))
from systems import built, codec, sound

import otonoha as oto
from otonoha.cli import fit
from otonoha.io.files import read, write
from otonoha.models import pretrained
from otonoha.tokens.files import load_tokens

torch.set_num_threads(1)
SHORT = ("--seconds", "0.03", "--hop", "0.5")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return built().save(tmp_path_factory.mktemp("sound") / "system")


@pytest.fixture
def song(tmp_path):
    return write(sound(0.06, 11025), tmp_path / "song.wav")


def test_what_a_trained_prior_needs_to_be_heard():
    for preset, words in (
        ("tiny", ["assemble", "runs/x"]),
        ("tiny_upsampler", ["assemble", "COARSER", "runs/x"]),
    ):
        assert fit._hear(oto.Jukebox(preset), "runs/x") == [*words, "--out", "runs/sound"]


def test_sample_writes_sound_picture_codes_and_how_to_make_them_again(otonoha, model, tmp_path):
    (tmp_path / "words.txt").write_text("la\n", "utf-8")
    told = ("--artist", "ana:0.7, bo:0.3 @0; bo @1", "--lyrics", "words.txt", "--song-seconds", "1")
    answer = otonoha("sample", model, *SHORT, *told, "--n", "2", "--seed", "3")
    assert answer.status == 0, answer.err
    assert sorted(p.name for p in (tmp_path / "takes").iterdir()) == [
        f"{i}.{ending}" for i in (0, 1) for ending in ("json", "npz", "png", "wav")
    ]
    said = json.loads((tmp_path / "takes/1.json").read_text("utf-8"))
    assert (said["task"], said["index"], said["controls"]["lyrics"]) == ("Compose", 1, "la")
    assert "takes/1.wav  0.0 s of sound" in answer.out
    tokens = load_tokens(tmp_path / "takes/1.npz")
    heard, expected = read(tmp_path / "takes/1.wav"), codec().decode(tokens)
    np.testing.assert_allclose(heard.samples, expected.samples, atol=1e-3)
    assert otonoha(*shlex.split(said["command"])[1:], "--out", "again").status == 0
    assert load_tokens(tmp_path / "again/1.npz") == tokens


@pytest.mark.filterwarnings("ignore:.*scaled down")  # an untrained codec is loud
def test_notes_and_words_with_times_come_from_files(otonoha, refused, model, tmp_path):
    from symusic import Note, Score, Track
    from test_system_modern import built as modern

    (tmp_path / "words.lrc").write_text("[ti:Song]\n[00:00.01]la\n[00:00.10]lo\n", "utf-8")
    words = ("--lyrics", "words.lrc", "--song-seconds", "1", "--level", "1")
    assert otonoha("sample", model, *SHORT, *words, "--seed", "3").status == 0
    said = json.loads((tmp_path / "takes/0.json").read_text("utf-8"))
    assert said["controls"]["lyrics"] == "[ti:Song]\n[00:00.010]la\n[00:00.100]lo\n"
    score, track = Score(480), Track()
    track.notes.append(Note(0, 96, 60, 80))
    score.tracks.append(track)
    score.dump_midi(tmp_path / "tune.mid")
    told = ("--notes", "tune.mid", "--guidance", "2", "--steps", "2", "--noise", "0.5", "--seed", "3")
    assert "notes has no effect on this system" in refused("sample", model, *SHORT, *told[:2])
    own = modern().save(tmp_path / "own")
    answer = otonoha("sample", own, *told, "--out", "played")
    assert answer.status == 0, answer.err
    said = json.loads((tmp_path / "played/0.json").read_text("utf-8"))
    assert said["controls"] == {"notes": "0.0 0.1 60", "guidance": 2.0, "steps": 2, "noise": 0.5}
    assert read(tmp_path / "played/0.wav").seconds == pytest.approx(0.1)
    assert "--notes tune.mid" in said["command"]
    assert otonoha(*shlex.split(said["command"])[1:], "--out", "again").status == 0
    assert load_tokens(tmp_path / "again/0.npz") == load_tokens(tmp_path / "played/0.npz")


def test_sample_goes_on_after_a_recording_and_writes_finer_levels_later(otonoha, model, song, tmp_path):
    rough = otonoha(
        "sample", model, "--prompt", song, *SHORT, "--seed", "1", "--level", "1", "--format", "flac"
    )
    assert rough.status == 0, rough.err
    assert (tmp_path / "takes/0.flac").is_file()
    codes = tmp_path / "takes/0.npz"
    assert "level0" not in load_tokens(codes).streams
    words = ("sample", model, "--prompt", codes, "--task", "upsample", "--begin", "0", "--end", "0.04")
    assert otonoha(*words, "--seed", "2", "--out", "fine.wav").status == 0
    assert read("fine.wav").seconds == pytest.approx(0.04)
    assert (
        otonoha("decode", codes, "--with", model / "parts/codec", "--level", "1", "--out", "x.wav").status
        == 0
    )
    assert "exists already" in otonoha(*words, "--out", "fine.wav").err


def test_compose_writes_sound(otonoha, refused, model, tmp_path, monkeypatch):
    answer = otonoha("compose", model, *SHORT, "--seed", "7")
    assert answer.status == 0, answer.err
    names = ["sound-7.json", "sound-7.npz", "sound-7.png", "sound-7.wav"]
    assert sorted(p.name for p in (tmp_path / "songs").iterdir()) == names
    assert json.loads((tmp_path / "songs/sound-7.json").read_text("utf-8"))["seed"] == 7
    assert "--sound has no effect: melody writes notes" in refused("compose", "melody", "--sound")
    for option in (["--no-sound"], ["--soundfont", "x.sf2"]):
        assert "has no effect" in refused("compose", model, *SHORT, *option)
    monkeypatch.setattr(pretrained, "shipped", dict)
    assert "no model of sound comes with this copy" in refused("compose", "--sound", "--seconds", "10")
    monkeypatch.setattr(pretrained, "shipped", lambda: {"sound": model})
    answer = otonoha("compose", "--sound", *SHORT, "--seed", "7", "--json")
    assert answer.json["model"] == "sound"
    again = load_tokens(answer.json["pieces"][0]["codes"])
    assert again == load_tokens(tmp_path / "songs/sound-7.npz")


def test_an_interrupted_sample_goes_on_to_the_same_sound(otonoha, model, tmp_path, monkeypatch):
    from otonoha.cli.output import Output

    words = ("sample", model, *SHORT, "--seed", "3")
    assert otonoha(*words, "--out", "whole").status == 0
    seen = []

    def interrupt(self, done, total, what=""):
        seen.append(what)
        if done == 40:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "progress", interrupt)
    answer = otonoha(*words, "--out", "part")
    assert answer.status == 130
    assert "level 1, 0:0" in seen[5]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert otonoha(*shlex.split(answer.err.split("To go on: ")[1])[1:]).status == 0
    assert (tmp_path / "part/0.wav").read_bytes() == (tmp_path / "whole/0.wav").read_bytes()


def test_assemble_makes_a_model_of_priors(otonoha, refused, model, tmp_path):
    whole = oto.load(model)
    folders = {n: whole.prior(n).save(tmp_path / f"p{n}") for n in (1, 0)}  # each brings its codec along
    answer = otonoha("assemble", folders[0], folders[1], "--out", "mine")
    assert answer.status == 0, answer.err
    assert "mine  (levels 1, 0;" in answer.out
    assert otonoha("compose", "mine", *SHORT).status == 0
    assert "parameters" in otonoha("models", "mine").out
    assert "holds something already" in refused("assemble", folders[1], "--out", "mine")
    assert "the prior of level 1 is missing" in refused("assemble", folders[0], "--out", "x")
    assert "assemble needs PRIORS" in refused("assemble", "--out", "x")
    assert "is no prior of a level" in refused("assemble", model / "parts/codec", "--out", "x")
    assert "a learned codec of sound" in refused("assemble", folders[1], "--codec", folders[1], "--out", "x")
    assert "unknown model" in refused("assemble", "nothing", "--out", "x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--artist", "anna"], "unknown artist 'anna'; did you mean 'ana'"),
        (["--prompt", "none.wav"], "none.wav: no such file"),
        (["--prompt", "tune.mid"], "tune.mid is a score; this needs sound"),
        (["--prompt", "text.wav"], "no readable sound file"),
        (["--prompt", "foreign.npz"], "are of codec 'x'"),
        (["--lyrics", "none.txt"], "none.txt: no such file"),
        (["--lyrics", "la" * 99], "are longer than the song"),
        (["--format", "mid"], "writes sound (wav, flac"),
        (["--out", "x.mid"], "no sound"),
        (["--task", "answer", "--prompt", "song.wav"], "cannot answer"),
        (["--bars", "3"], "--bars has no effect on"),
        (["--temperature", "9"], "temperature must be within"),
        (["--task", "upsample"], "needs a --prompt"),
    ],
)
def test_mistakes_are_one_line(refused, model, song, tmp_path, words, told):
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "x.mid").write_text("")
    np.savez(tmp_path / "foreign.npz", clock=np.arange(4.0), codec=np.array("x"), level1=np.arange(4))
    assert told in refused("sample", model, *SHORT, *words)


def test_verbs_for_notes_refuse_models_of_sound(refused, model, run_folder, tunes):
    turn = ("sweep", model, "--knob", "temperature", "--start", "0.5", "--stop", "1")
    assert "writes sound, and this needs notes" in refused(*turn)
    assert "cannot explain" in refused("explain", model, tunes / "00.mid")
    assert "--artist has no effect" in refused("sample", run_folder, "--artist", "ana")
