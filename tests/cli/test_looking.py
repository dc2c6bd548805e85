"""explain, render, plot, show, data and models: what they write and print, and what they refuse."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_tools import tune

from otonoha.cli.explain import from_start, pitch_of
from otonoha.cli.models import rounded
from otonoha.data import named
from otonoha.io.files import read


def test_explain_draws_attention_and_chances_and_writes_a_page(otonoha, run_folder, tunes, tmp_path):
    answer = otonoha("explain", run_folder, tunes / "00.mid", "--head", "1")
    assert answer.status == 0, answer.err
    names = {p.name for p in (tmp_path / "explained").iterdir()}
    assert names == {"00-attention.png", "00-probabilities.png", "00-explained.html"}
    page = (tmp_path / "explained/00-explained.html").read_text("utf-8")
    labels = json.loads(re.search(r'"labels":(\[.*?\])', page)[1])
    told = otonoha("explain", run_folder, tunes / "00.mid", "--json").json
    assert labels == told["events"]
    assert np.allclose(np.array(told["attention"]).sum(-1), 1, atol=1e-2)
    assert told["files"]["page"] == "explained/00-2-explained.html"


def test_the_page_shows_events_not_the_start():
    from types import SimpleNamespace

    told = SimpleNamespace(attention=np.array([[[1.0, 0, 0], [0.4, 0.6, 0], [0.1, 0.2, 0.7]]]))
    assert from_start(told)[0].tolist() == [[0, 0, 0], [0.6, 0, 0], [0.2, 0.7, 0]]


@pytest.mark.parametrize(("name", "pitch"), [("C4", 60), ("B-4", 70), ("rest", None), ("C4.E4", None)])
def test_pitches_of_events(name, pitch):
    assert pitch_of(name) == pitch


def test_explain_refuses(refused, run_folder, tunes):
    assert "head 7 does not exist" in refused("explain", run_folder, tunes / "00.mid", "--head", "7")
    assert "damaged" in refused("explain", run_folder, tunes / "damaged.mid")


def test_render(otonoha, refused, tunes, tmp_path):
    told = otonoha("render", tunes / "00.mid", "--out", "a.flac", "--rate", "22050", "--json").json
    assert read(tmp_path / "a.flac").rate == told["rate"] == 22050
    assert "the built-in synthesiser" in told["synthesiser"]
    assert "exists already" in refused("render", tunes / "00.mid", "--out", "a.flac")
    assert otonoha("render", tunes / "00.mid", "--out", "a.flac", "--overwrite").status == 0
    assert "no effect without --out" in refused("render", tunes / "00.mid", "--overwrite")
    assert "unknown kind of sound file" in refused("render", tunes / "00.mid", "--out", "a.xyz")
    assert "rate must be" in refused("render", tunes / "00.mid", "--out", "b.wav", "--rate", "7")
    assert "damaged" in refused("render", tunes / "damaged.mid", "--out", "b.wav")
    assert not (tmp_path / "b.wav").exists()


def test_plot(otonoha, refused, tunes, run_folder, tmp_path):
    assert otonoha("plot", "roll", tunes / "00.mid", "--out", "roll.svg").out == "roll.svg\n"
    assert otonoha("render", tunes / "00.mid", "--out", "a.wav").status == 0
    assert otonoha("plot", "spectrogram", "a.wav").out == "a.png\n"
    assert (
        otonoha("plot", "spectrogram", "a.wav", "a.wav", "a.wav", "--out", "three.png").out == "three.png\n"
    )
    assert otonoha("plot", "loss", run_folder, "--out", "loss.png").status == 0
    assert {"roll.svg", "a.png", "loss.png"} <= {p.name for p in tmp_path.iterdir()}
    assert "is a score" in refused("plot", "spectrogram", tunes / "00.mid", "--out", "b.png")
    assert "is a score" in refused("plot", "spectrogram", "a.wav", tunes / "00.mid", "--out", "b.png")
    assert "one too many" in refused("plot", "roll", tunes / "00.mid", "a.wav", "--out", "b.png")
    assert "one too many" in refused(
        "plot", "spectrogram", "a.wav", "a.wav", "--with", run_folder, "--out", "b.png"
    )
    assert "no codec of sound" in refused(
        "plot", "spectrogram", "a.wav", "--with", run_folder, "--out", "b.png"
    )
    assert "no effect with roll" in refused("plot", "roll", tunes / "00.mid", "--with", "x", "--out", "b.png")
    assert "is a recording" in refused("plot", "roll", "a.wav", "--out", "b.png")
    assert "no such file" in refused("plot", "loss", tmp_path, "--out", "b.png")
    assert "holds no figure 'los'" in refused("plot", "loss", run_folder, "--figure", "los", "--out", "b.png")
    assert "--figure has no effect" in refused("plot", "roll", tunes / "00.mid", "--figure", "loss")
    assert "unknown kind of picture" in refused("plot", "roll", tunes / "00.mid", "--out", "b.txt")


def test_show(otonoha, refused, tunes):
    answer = otonoha("show", "notes", tunes / "00.mid", "--limit", "3")
    assert "C major" in answer.out
    assert answer.out.splitlines()[-1].startswith("… and ")
    assert "did you mean 'notes'?" in refused("show", "note", tunes / "00.mid")


def test_data_list(otonoha):
    answer = otonoha("data", "list")
    assert all(spec.name in answer.out and spec.licence in answer.out for spec in named.corpora())
    assert {c["name"] for c in otonoha("data", "list", "--json").json["corpora"]} == set(named.SPECS)


def test_data_show_of_a_folder(otonoha, refused, tunes, cache):
    told = otonoha("data", "show", tunes, "--json").json
    assert sum(told["pieces"].values()) == 20
    assert told["report"]["skipped"][0][0] == "damaged.mid"
    assert "skipped damaged.mid" in otonoha("data", "show", tunes).out
    assert "unknown corpus" in refused("data", "show", "nobody")


def test_data_get(refused):
    assert "did you mean 'folk'?" in refused("data", "get", "folks")
    assert "comes with music21" in refused("data", "get", "folk")


def test_models(otonoha, refused, run_folder):
    assert "lstm_attention" in otonoha("models").out
    assert "tiny" in otonoha("models", "--json").json["families"]["lstm_attention"]
    card = otonoha("models", run_folder, "--json").json
    assert card["family"] == "lstm_attention"
    assert card["card"]["steps"] == 12
    assert "your own files" in otonoha("models", run_folder).out
    assert "families: lstm_attention" in refused("models", "nobody")
    (run_folder.parent / "x").mkdir(exist_ok=True)
    assert "holds no config.json" in refused("models", run_folder.parent / "x")


def test_models_of_a_family_names_sizes(otonoha):
    from otonoha.models.lstm_attention.model import LSTMAttention

    presets = otonoha("models", "lstm_attention", "--json").json["presets"]
    assert presets["tiny"]["parameters"] == LSTMAttention("tiny").parameters


@pytest.mark.parametrize(
    ("count", "said"), [(33_104, "33,000"), (984_272, "0.98 million"), (8_655_568, "8.7 million")]
)
def test_rounded(count, said):
    assert rounded(count) == said


def test_tunes_are_tunes():
    assert len(tune(0).tracks[0].notes) == 72
