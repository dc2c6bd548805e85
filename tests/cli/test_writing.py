"""compose and sample: the files they write, that they can be made again, and what they refuse."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest
import torch
from symusic import Score

from otonoha.io.files import read
from otonoha.io.midi import write_midi


def test_compose_writes_score_sound_and_picture_and_says_how_to_make_them_again(
    otonoha, run_folder, tmp_path
):
    answer = otonoha("compose", run_folder, "--bars", "4", "--seed", "7")
    assert answer.status == 0, answer.err
    songs = tmp_path / "songs"
    names = ["tune-7.json", "tune-7.mid", "tune-7.png", "tune-7.wav"]
    assert sorted(p.name for p in songs.iterdir()) == names
    for name in (
        "songs/tune-7.mid",
        "songs/tune-7.wav",
        "songs/tune-7.png",
        "built-in synthesiser",
        "seed 7",
    ):
        assert name in answer.out
    again = answer.out.split("the same again: ")[1].strip()
    assert otonoha(*shlex.split(again)[1:]).status == 0
    assert (songs / "tune-7-2.mid").read_bytes() == (songs / "tune-7.mid").read_bytes()


def test_compose_for_machines(otonoha, run_folder):
    answer = otonoha(
        "compose", run_folder, "--bars", "2", "--n", "2", "--no-sound", "--name", "song", "--json"
    )
    assert [set(p) for p in answer.json["pieces"]] == [{"midi", "picture"}] * 2
    assert answer.json["pieces"][1]["midi"].endswith("song-1.mid")
    assert answer.json["synthesiser"] is None
    assert f"--seed {answer.json['seed']}" in answer.json["command"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bars", "0"], "bars must be within 1 … 512, got 0"),
        (["--key", "H minor"], "cannot read key 'H minor'"),
        (["--metre", "5/7"], "unknown metre '5/7'"),
        (["--low", "90", "--high", "60"], "90 … 60"),
        (["--notes", "5"], "notes has no effect"),
        (["--style", "folk"], "would have no effect"),
        (["--seed", "-1"], "--seed must be 0 or more"),
        (["--n", "0"], "--n must be at least 1"),
        (["--no-sound", "--soundfont", "a.sf2"], "--soundfont has no effect with --no-sound"),
        (["--soundfont", "a.sf2"], "SoundFont a.sf2 cannot be read"),
        (["--name", "a/b"], "--out names the folder"),
    ],
)
def test_compose_refuses(refused, run_folder, words, told):
    assert told in refused("compose", run_folder, *words)


def test_unknown_and_damaged_models_are_told(refused, run_folder, tmp_path):
    assert "unknown model" in refused("compose", "melodi")
    assert "holds no config.json" in refused("compose", tmp_path)
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused("sample", tmp_path / "file")
    for name, spoil, told in (
        ("missing", lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
        ("weights", lambda f: (f / "model.safetensors").write_bytes(b"xx" * 50), "is damaged"),
        ("config", lambda f: (f / "config.json").write_text("{"), "is damaged"),
        ("shape", lambda f: _widen(f / "config.json"), "does not fit config.json"),
        (
            "family",
            lambda f: (f / "config.json").write_text('{"family":"x","config":{},"codec":{}}'),
            "unknown",
        ),
    ):
        folder = shutil.copytree(run_folder, tmp_path / name)
        spoil(folder)
        assert told in refused("compose", folder)
        assert not (tmp_path / "songs").exists() or not list((tmp_path / "songs").iterdir())


def _widen(path):
    config = json.loads(path.read_text("utf-8"))
    config["config"]["width"] += 2
    path.write_text(json.dumps(config), "utf-8")


def test_sample_continues_a_prompt_and_keeps_the_request(otonoha, run_folder, tunes, tmp_path):
    answer = otonoha(
        "sample", run_folder, "--prompt", tunes / "03.mid", "--bars", "2", "--n", "2", "--seed", "5"
    )
    assert answer.status == 0, answer.err
    told = json.loads((tmp_path / "takes/1.json").read_text("utf-8"))
    assert (told["task"], told["seed"], told["index"], told["controls"]["bars"]) == ("Continue", 5, 1, 2)
    assert otonoha(*shlex.split(told["command"])[1:], "--out", "again").status == 0
    assert (tmp_path / "again/1.mid").read_bytes() == (tmp_path / "takes/1.mid").read_bytes()
    prompt, take = read(tunes / "03.mid"), read(tmp_path / "takes/1.mid")
    given = prompt.tracks[0].notes.numpy()["pitch"]
    assert take.tracks[0].notes.numpy()["pitch"][: len(given)].tolist() == given.tolist()


def test_sample_numbers_its_takes_and_leaves_nothing_else(otonoha, run_folder, tmp_path):
    for _ in range(2):
        assert otonoha("sample", run_folder, "--bars", "2").status == 0
    assert sorted(p.name for p in (tmp_path / "takes").iterdir()) == ["0.json", "0.mid", "1.json", "1.mid"]


def test_sample_to_one_file(otonoha, refused, run_folder, tmp_path):
    words = ("sample", run_folder, "--bars", "2", "--out", "mine.musicxml")
    assert otonoha(*words, "--json").json["takes"][0]["file"] == "mine.musicxml"
    assert read(tmp_path / "mine.musicxml").tracks
    assert "exists already" in refused(*words)
    assert "--n is 3" in refused("sample", run_folder, "--out", "a.mid", "--n", "3")
    assert "contradicts" in refused("sample", run_folder, "--out", "a.mid", "--format", "mxl")


def test_sample_refuses_prompts_and_tasks_that_do_not_fit(otonoha, refused, run_folder, tunes):
    assert "no such file" in refused("sample", run_folder, "--prompt", "nope.mid")
    assert "damaged" in refused("sample", run_folder, "--prompt", tunes / "damaged.mid")
    assert refused("sample", run_folder, "--prompt", tunes / "notes.txt")
    otonoha("render", tunes / "00.mid", "--out", "a.wav")
    assert "is a recording" in refused("sample", run_folder, "--prompt", "a.wav")
    assert "no effect with --task compose" in refused(
        "sample", run_folder, "--prompt", tunes / "00.mid", "--task", "compose"
    )
    assert "needs a --prompt" in refused("sample", run_folder, "--task", "continue")
    assert "cannot answer" in refused("sample", run_folder, "--prompt", tunes / "00.mid", "--task", "answer")
    assert "--job needs --seed" in refused("sample", run_folder, "--job", "job")


def test_an_interrupted_sample_goes_on_to_the_same_music(otonoha, run_folder, tmp_path, monkeypatch):
    from otonoha.cli.output import Output

    words = ("sample", run_folder, "--bars", "4", "--seed", "3")
    assert otonoha(*words, "--out", "whole").status == 0

    def interrupt(self, done, total, what=""):
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Output, "progress", interrupt)
    answer = otonoha(*words, "--out", "part")
    assert answer.status == 130
    assert answer.err.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    go_on = shlex.split(answer.err.split("To go on: ")[1])
    assert otonoha(*go_on[1:]).status == 0
    assert (tmp_path / "part/0.mid").read_bytes() == (tmp_path / "whole/0.mid").read_bytes()


def test_what_writes_step_by_step_takes_one_thread_unless_told_otherwise(otonoha, run_folder, monkeypatch):
    before = torch.get_num_threads()
    try:
        for variable, expected in (("2", 2), (None, 1)):
            torch.set_num_threads(2)
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
            if variable:
                monkeypatch.setenv("OMP_NUM_THREADS", variable)
            assert otonoha("sample", run_folder, "--bars", "1", "--seed", "1").status == 0
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_sample_makes_no_folder_for_a_file_and_leaves_none_behind(refused, run_folder, tmp_path):
    told = refused("sample", run_folder, "--bars", "2", "--out", "o/a.wav")
    assert "writes no .wav; give a folder, or a file: .mid, .musicxml, .mxl" in told
    assert "needs" in refused("sample", run_folder, "--task", "continue", "--out", "new")
    write_midi(Score(24), tmp_path / "empty.mid")
    assert "empty.mid has no notes" in refused("sample", run_folder, "--prompt", "empty.mid", "--out", "new")
    assert "empty.mid has no notes" in refused("plot", "roll", "empty.mid")
    assert {p.name for p in tmp_path.iterdir()} == {"empty.mid"}


def test_an_instrument_that_nobody_knows_gets_three_suggestions(refused):
    told = refused("compose", "--instruments", "violn", "--no-sound")
    assert "unknown instrument 'violn'; did you mean 'violin' or 'viola' or " in told
    assert len(told) < 160
    told = refused("compose", "--only-bars", "3")
    assert "--only-bars has no effect on a new piece; otonoha sample ensemble knows it" in told
