"""fit and eval: the run folder and its card, resuming, what is reported of the data, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


def losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [(r["step"], r["kind"], r["loss"]) for r in rows if "loss" in r]


FIT = (
    "fit",
    "lstm_attention",
    "--preset",
    "tiny",
    "--length",
    "64",
    "--eval-every",
    "4",
    "--save-every",
    "4",
)


def test_fit_writes_a_run_with_a_card(run_folder, tunes):
    described = json.loads((run_folder / "config.json").read_text("utf-8"))
    card = described["card"]
    assert card["corpora"] == str(tunes)
    assert card["licence"] == "your own files"
    assert card["ships"].startswith("no")
    assert card["steps"] == 12
    assert "--preset tiny" in card["command"]
    assert next(iter(card["metrics"])).startswith("best valid loss (nats a note, step ")
    assert described["config"]["train"]["length"] == 64
    assert "your own files" in (run_folder / "README.md").read_text("utf-8")


def test_fit_tells_terms_skipped_files_and_progress(otonoha, tunes, cache):
    answer = otonoha(*FIT, "--data", tunes, "--steps", "2", "--heads", "1", "--no-relative")
    assert answer.status == 0, answer.err
    for said in ("terms: your own files", "1 file skipped", "damaged.mid", "step 2/2"):
        assert said in answer.err
    assert "runs/lstm_attention  (" in answer.out
    described = json.loads(Path("runs/lstm_attention/config.json").read_text("utf-8"))
    assert (described["config"]["heads"], described["config"]["relative"]) == (1, False)


def test_resume_goes_on_exactly(otonoha, tunes, cache, tmp_path):
    whole = otonoha(
        *FIT, "--data", tunes, "--steps", "8", "--schedule", "constant", "--out", "whole", "--json"
    )
    assert whole.json["steps"] == 8
    assert (
        otonoha(*FIT, "--data", tunes, "--steps", "4", "--schedule", "constant", "--out", "part").status == 0
    )
    answer = otonoha("fit", "part", "--resume", "--steps", "8")
    assert answer.status == 0, answer.err
    assert losses(tmp_path / "part") == losses(tmp_path / "whole")
    again = otonoha("fit", "part", "--resume", "--json")
    assert again.json["best"] == whole.json["best"]
    assert "all steps were made already" in again.err


def test_fit_refuses(refused, run_folder, tunes, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "a.mid").write_bytes(b"junk")
    family = ("fit", "lstm_attention")
    assert "did you mean 'lstm_attention'?" in refused("fit", "lstm_atention", "--data", tunes)
    assert "did you mean 'tiny'?" in refused(*family, "--preset", "tiney", "--data", tunes)
    assert "fit needs --data" in refused(*family)
    assert "holds no score files" in refused(*family, "--data", "empty")
    assert "could be read" in refused(*family, "--data", "junk")
    assert "unknown corpus" in refused(*family, "--data", "bach-choral")
    assert "unknown part of a corpus" in refused(*family, "--data", "bach-chorales:tran")
    assert "holds something already" in refused(*family, "--data", tunes, "--out", run_folder)
    assert "add --resume" in refused("fit", run_folder)
    assert "needs a run folder" in refused(*family, "--resume")
    assert "--width has no effect with --resume" in refused("fit", run_folder, "--resume", "--width", "8")
    assert "--data has no effect with --resume" in refused("fit", run_folder, "--resume", "--data", tunes)
    bare = shutil.copytree(run_folder, tmp_path / "bare", ignore=shutil.ignore_patterns("state"))
    assert "no training state" in refused("fit", bare, "--resume")


def test_a_fit_that_fails_at_once_leaves_its_name_free(refused, tunes, cache, tmp_path):
    assert "device 'foo' cannot be used" in refused(
        *FIT, "--data", tunes, "--steps", "2", "--device", "foo", "--out", "mine"
    )
    assert not (tmp_path / "mine").exists()


def test_an_interrupted_fit_says_how_to_go_on(otonoha, tunes, cache, monkeypatch):
    from otonoha.train import loop

    keep = loop._Loop._track

    def interrupt(self, step):
        keep(self, step)
        if step == 2:
            import signal

            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop._Loop, "_track", interrupt)
    answer = otonoha(*FIT, "--data", tunes, "--steps", "8", "--out", "mine")
    assert answer.status == 130
    assert "otonoha: stopped; to go on: otonoha fit mine --resume" in answer.err
    monkeypatch.setattr(loop._Loop, "_track", keep)
    assert otonoha("fit", "mine", "--resume", "--json").json["steps"] == 8


def test_a_wrong_setting_is_told_before_the_data_are_read(refused):
    said = refused("fit", "lstm_attention", "--preset", "tiny", "--data", "no/such/folder", "--lr", "-1")
    assert "lr must be positive" in said


def test_several_corpora_join(otonoha, tunes, cache, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for seed in range(10, 20):
        shutil.copy(tunes / f"{seed}.mid", other)
    answer = otonoha(*FIT, "--data", f"{tunes},{other}", "--steps", "2", "--json")
    assert answer.status == 0, answer.err
    assert answer.json["card"]["corpora"] == f"{tunes},{other}"


def test_eval_measures_likelihood_style_and_novelty(otonoha, run_folder, tunes):
    answer = otonoha("eval", run_folder, "--data", f"{tunes}:valid", "--n", "2", "--bars", "4")
    assert answer.status == 0, answer.err
    for said in ("nats a note", "bits", "2 generated pieces", "in key", "longest passages that occur in"):
        assert said in answer.out
    told = otonoha(
        "eval", run_folder, "--data", tunes, "--n", "2", "--bars", "4", "--train", tunes, "--json"
    ).json
    assert told["likelihood"]["loss"] == pytest.approx(
        told["likelihood"]["pitch"] + told["likelihood"]["duration"]
    )
    assert {row["name"] for row in told["comparison"]} >= {"in key", "durations"}
    assert len(told["novelty"]) == 2
    assert told["data"] == f"{tunes}:valid"  # not what the model has seen; there are no test pieces
    assert {"longest_match", "longest_match_of_real"} <= told.keys()


def test_eval_takes_a_strange_folder_whole(otonoha, run_folder, tunes, cache, tmp_path):
    for seed in range(10, 13):
        shutil.copy(tunes / f"{seed}.mid", tmp_path)
    told = otonoha("eval", run_folder, "--data", tmp_path, "--n", "0", "--json").json
    assert (told["data"], told["pieces"]) == (str(tmp_path), 3)


def test_eval_refuses(refused, run_folder, tunes):
    assert "--train has no effect with --n 0" in refused(
        "eval", run_folder, "--data", tunes, "--n", "0", "--train", tunes
    )
    assert "unknown" in refused("eval", run_folder, "--data", f"{tunes}:tst")
    assert "unknown model" in refused("eval", "nobody", "--data", tunes)
