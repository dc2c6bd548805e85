"""Several tracks through the command line: accompaniments, sweeps, the critic, the grid, and eval of a band.

The models are as they were drawn, without training: what the commands do with them does not depend on it.
"""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from symusic import Score, TimeSignature

from otonoha.cli import asked
from otonoha.cli.band import encoded, phrases, voices
from otonoha.cli.sweep import Options as SweepOptions
from otonoha.io.files import read, write
from otonoha.models.musegan.model import MuseGAN
from otonoha.music.score import notes, track_of

VOICES = ["soprano", "alto", "tenor", "bass"]


def chorale(seed, bars=6, drums=False):
    """Four voices in quarters that wander about a C major chord."""
    rng = np.random.default_rng(seed)
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    beats = np.arange(4 * bars)
    for name, pitch in zip(VOICES, (72, 67, 60, 48)):
        walk = pitch + np.clip(np.cumsum(rng.choice([-2, 0, 1, 2], len(beats))), -5, 5)
        score.tracks.append(track_of(beats * 480, np.full(len(beats), 480), walk, name=name))
    if drums:
        score.tracks.append(
            track_of(beats * 480, np.full(len(beats), 60), 36 + 2 * (beats % 2), is_drum=True)
        )
    return score


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    """Eight small chorales as MIDI files."""
    folder = tmp_path_factory.mktemp("band") / "chorales"
    folder.mkdir()
    for seed in range(8):
        write(chorale(seed), folder / f"{seed}.mid")
    return folder


@pytest.fixture(scope="module")
def band(chorales):
    """A model of four voices that knows how real phrases score."""
    model = MuseGAN("tiny")
    scores = np.concatenate([model.explain(chorale(seed)).scores for seed in range(4)])
    model.card["critic on real phrases"] = np.quantile(scores, np.linspace(0, 1, 21)).tolist()
    return model.save(chorales.parent / "tiny")


@pytest.fixture(scope="module")
def companion(chorales):
    """A model that writes the other voices to a soprano."""
    return MuseGAN("tiny", given="soprano").save(chorales.parent / "companion")


def pitches(score):
    """Track -> its pitches, in the order of time; tracks that are silent are left out."""
    return {t.name: notes(t).pitch.tolist() for t in score.tracks if len(t.notes)}


# -- sample --------------------------------------------------------------------------------------------


def test_knobs_are_flags_with_their_scope(otonoha, band, tmp_path):
    words = ("sample", band, "--seed", "3", "--bars", "4")
    assert otonoha(*words, "--out", "a.mid").status == 0
    turned = (*words, "--groove-seed", "9", "--groove-mix", "0.8", "--only-tracks", "bass", "--out", "b.mid")
    answer = otonoha(*turned)
    assert answer.status == 0, answer.err
    before, after = pitches(read(tmp_path / "a.mid")), pitches(read(tmp_path / "b.mid"))
    assert before.pop("bass", []) != after.pop("bass", [])
    assert before == after
    assert len(before) > 1
    assert json.loads((tmp_path / "b.json").read_text("utf-8"))["controls"]["groove_seed"] == 9


def test_accompany_writes_the_other_tracks(otonoha, refused, band, companion, chorales, tmp_path):
    prompt = chorales / "2.mid"
    answer = otonoha("sample", companion, "--prompt", prompt, "--task", "accompany", "--seed", "1", "--json")
    assert answer.status == 0, answer.err
    take = read(tmp_path / answer.json["takes"][0]["file"])
    assert answer.json["takes"][0]["task"] == "Accompany"
    assert set(pitches(take)) <= set(VOICES)
    assert len(pitches(take)) > 1
    assert pitches(take)["soprano"] == pitches(read(prompt))["soprano"]
    chosen = otonoha("sample", companion, "--prompt", prompt, "--seed", "1", "--out", "again.mid")
    assert "Accompany with" in chosen.out  # what fits the prompt
    assert (tmp_path / "again.mid").read_bytes() == (tmp_path / "takes/0.mid").read_bytes()
    assert "needs a --prompt FILE to accompany" in refused("sample", companion)
    assert "cannot accompany" in refused("sample", band, "--task", "accompany", "--prompt", prompt)
    assert "needs no --prompt" in refused("sample", band, "--prompt", prompt)


def test_help_without_a_model_has_the_controls_of_all_families(otonoha, band, run_folder):
    def said(*words):
        return " ".join(otonoha(*words).out.replace("│", " ").split())

    for verb in ("sample", "sweep"):
        everyone = said(verb, "--help")
        assert "How far to go to the grooves of groove_seed. (0 … 1) (musegan)" in everyone
        assert "--scale-only" in everyone
        assert everyone.count("--bars INT") == 1
    assert "--groove-mix" in said("sample", band, "--help")
    assert "--scale-only" not in said("sample", band, "--help")
    assert "--groove-mix" not in said("sample", run_folder, "--help")


def test_controls_of_another_family_are_told_so(refused, band, run_folder):
    told = refused("sample", run_folder, "--groove-seed", "9")
    assert "--groove-seed has no effect on" in told
    assert "lstm_attention models do not have it" in told
    assert "--scale-only has no effect on" in refused("sample", band, "--no-scale-only")
    assert "sample needs MODEL" in refused("sample", "--groove-seed", "9")
    assert "did you mean --groove-mix?" in refused("sample", band, "--groove-mi", "1")


def test_no_control_is_named_like_an_option_of_a_verb():
    from otonoha.cli.compose import Options as ComposeOptions
    from otonoha.cli.flags import flags_of
    from otonoha.cli.sample import Options as SampleOptions

    for options in (SweepOptions, ComposeOptions, SampleOptions):
        names = [flag.name for flag in asked.control_flags(None, flags_of(options))]
        assert len(names) == len(set(names))


# -- sweep ---------------------------------------------------------------------------------------------


def test_sweep_writes_picture_sound_and_midi_and_says_how_to_make_them_again(otonoha, band, tmp_path):
    words = ["--knob", "groove", "--seed", "3", "--to-seed", "9", "--n", "3", "--bars", "2"]
    answer = otonoha("sweep", band, *words, "--only-tracks", "bass", "--pause", "0.5")
    assert answer.status == 0, answer.err
    names = {p.name for p in (tmp_path / "sweeps").iterdir()}
    stem = "groove-3-9"
    assert names == {f"{stem}.png", f"{stem}.wav", f"{stem}.json", *(f"{stem}-{i}.mid" for i in (1, 2, 3))}
    told = json.loads((tmp_path / f"sweeps/{stem}.json").read_text("utf-8"))
    assert [s["controls"]["groove_mix"] for s in told["settings"]] == [0, 0.5, 1]
    assert [set(s["changed"].values()) for s in told["settings"][:1]] == [{0.0}]
    last = told["settings"][-1]["changed"]
    assert last["bass"] > 0
    assert not any(last[name] for name in VOICES[:3])
    again = shlex.split(told["command"])
    assert otonoha(*again[1:]).status == 0
    assert (tmp_path / "sweeps/groove-3-9-2-3.mid").read_bytes() == (
        tmp_path / "sweeps/groove-3-9-3.mid"
    ).read_bytes()


def test_the_first_setting_is_the_piece_itself(otonoha, band, tmp_path):
    assert otonoha("sample", band, "--seed", "3", "--bars", "2", "--out", "a.mid").status == 0
    words = ("--knob", "melody,groove", "--seed", "3", "--n", "2", "--bars", "2", "--no-sound", "--json")
    told = otonoha("sweep", band, *words).json
    assert "sound" not in told["files"]
    assert [s["controls"]["melody_seed"] for s in told["settings"]] == [4, 4]
    first = read(tmp_path / told["files"]["midi"][0])
    assert pitches(first) == pitches(read(tmp_path / "a.mid"))


def test_a_setting_that_stays_at_the_piece_leaves_the_knob_and_its_scope_out(otonoha, band, tmp_path):
    """A knob at mix 0 is refused by models, and so is a scope without a knob; other knobs stay turned."""
    fixed = ("--chords-seed", "5", "--bars", "2", "--seed", "3")
    assert otonoha("sample", band, *fixed, "--out", "c.mid").status == 0
    words = ("--knob", "groove", "--only-tracks", "bass", "--start", "1", "--stop", "0", "--n", "2")
    answer = otonoha("sweep", band, *words, *fixed, "--no-sound", "--json")
    assert answer.status == 0, answer.err
    last = read(tmp_path / answer.json["files"]["midi"][-1])
    assert pitches(last) == pitches(read(tmp_path / "c.mid"))
    assert answer.json["settings"][-1]["controls"] == {"groove_seed": 4, "groove_mix": 0.0}


def test_the_settings_are_heard_one_after_the_other(otonoha, band, tmp_path):
    def seconds(pause):
        words = ("--knob", "style", "--seed", "1", "--n", "3", "--bars", "1", "--pause", pause, "--json")
        return read(tmp_path / otonoha("sweep", band, *words).json["files"]["sound"]).seconds

    short, long = seconds(0), seconds(1.5)
    assert long - short == pytest.approx(3.0, abs=0.01)
    assert short > 3 * 3.0  # three bars at 80 quarters a minute


def test_any_number_can_be_swept_on_any_model(otonoha, run_folder):
    words = (
        "--knob",
        "temperature",
        "--start",
        "0.2",
        "--stop",
        "1.2",
        "--n",
        "3",
        "--bars",
        "2",
        "--seed",
        "1",
    )
    told = otonoha("sweep", run_folder, *words, "--no-sound", "--against", "previous", "--json").json
    assert [s["controls"]["temperature"] for s in told["settings"]] == [0.2, 0.7, 1.2]
    assert told["settings"][1]["name"] == "temperature 0.7"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--knob", "grove"], "unknown knob 'grove'; did you mean 'groove'?"),
        (["--knob", "only_tracks"], "unknown knob 'only_tracks'"),
        (["--knob", "groove", "--n", "1"], "--n must be 2 to 24 settings, got 1"),
        (["--knob", "groove", "--seed", "3", "--to-seed", "3"], "is the seed itself"),
        (["--knob", "groove", "--groove-mix", "1"], "--groove-mix is what the sweep turns"),
        (["--knob", "groove,tempo"], "only chords, style, melody, groove can be turned together"),
        (["--knob", "tempo"], "say from where to where"),
        (["--knob", "tempo", "--to-seed", "3"], "--to-seed has no effect on tempo"),
        (["--knob", "tempo", "--tempo", "80"], "--tempo is what the sweep turns"),
        (["--knob", "bars", "--start", "1", "--stop", "2"], "1 to 2 has no 5 different settings"),
        (["--knob", "groove", "--start", "0", "--stop", "0"], "both 0: nothing would change"),
        (["--knob", "groove", "--start", "0", "--stop", "2"], "groove_mix must be within 0 … 1, got 2"),
        (["--knob", "groove", "--only-tracks", "flute"], "unknown track of only_tracks 'flute'"),
        (["--knob", "groove", "--no-sound", "--soundfont", "a.sf2"], "no effect with --no-sound"),
        (["--knob", "groove", "--pause", "99"], "--pause must be 0 to 60 seconds"),
        ([], "sweep needs --knob"),
    ],
)
def test_sweep_refuses(refused, band, words, told, tmp_path):
    assert told in refused("sweep", band, *words)
    assert not (tmp_path / "sweeps").exists()


# -- explain -------------------------------------------------------------------------------------------


def test_explain_shows_the_score_of_every_bar(otonoha, refused, band, chorales, tmp_path):
    answer = otonoha("explain", band, chorales / "1.mid")
    assert answer.status == 0, answer.err
    assert [p.name for p in (tmp_path / "explained").iterdir()] == ["1-conductor.png"]
    assert "of real phrases" in answer.out
    told = otonoha("explain", band, chorales / "1.mid", "--json").json
    assert [bar["bar"] for bar in told["bars"]] == [f"bar {n}" for n in range(1, 7)]
    assert all(0 <= bar["above_real"] <= 1 for bar in told["bars"])
    assert told["real"]["low"] < told["real"]["middle"] < told["real"]["high"]
    scores = MuseGAN.load(band).explain(chorale(1)).scores
    assert [bar["score"] for bar in told["bars"]] == pytest.approx(scores.tolist())
    assert "--head has no effect" in refused("explain", band, chorales / "1.mid", "--head", "0")


def test_explain_without_known_scores_of_real_phrases(otonoha, companion, chorales):
    told = otonoha("explain", companion, chorales / "1.mid", "--json").json
    assert told["real"] is None
    assert all(bar["above_real"] is None for bar in told["bars"])


# -- eval ----------------------------------------------------------------------------------------------


def test_eval_of_a_band(otonoha, refused, band, chorales, cache):
    words = ("eval", band, "--data", chorales, "--n", "2", "--bars", "4")
    answer = otonoha(*words)
    assert answer.status == 0, answer.err
    for said in ("4 phrases of 2 generated pieces beside 24 phrases", "voice crossing", "distance"):
        assert said in answer.out
    assert "Dong et al., MuseGAN" in answer.out
    assert "likelihood" not in answer.out
    assert "no novelty report" in answer.err
    told = otonoha(*words, "--json").json
    rows = {row["name"]: row for row in told["comparison"]}
    assert rows["EB"]["real"] == 0
    assert rows["UPC/bass"]["real"] > 1
    assert "likelihood" not in told
    legacy = {r["name"]: r for r in otonoha(*words, "--fold", "musegan-legacy", "--json").json["comparison"]}
    assert legacy["UPC"]["real"] != rows["UPC"]["real"]
    assert legacy["QN"]["real"] == rows["QN"]["real"]
    assert "nothing to measure" in refused("eval", band, "--data", chorales, "--n", "0")
    assert "--fold has no effect: nothing" in refused(
        "eval", band, "--data", chorales, "--n", "0", "--fold", "pitch-class"
    )


def test_eval_measures_the_silence_too(otonoha, band, chorales, cache, monkeypatch):
    """Of 8 bars the first, of another take the first two, of the third none: 3 of 24 bars sound."""

    def mostly_silent(self, controls, seed, index, bars, given=None):
        rolls = np.zeros((4, bars, 16, self.codec.pitches), np.uint8)
        rolls[:, : (1, 2, 0)[index], 0, 12] = 1
        return rolls

    monkeypatch.setattr(MuseGAN, "rolls", mostly_silent)
    words = ("eval", band, "--data", chorales, "--bars", "8", "--train", chorales, "--json")
    told = otonoha(*words, "--n", "3").json
    assert told["phrases"]["generated"] == 3 * 4
    rows = {row["name"]: row for row in told["comparison"]}
    assert rows["EB"]["generated"] == pytest.approx(1 - 3 / 24)
    assert rows["unique"]["generated"] == 3 / 12
    monkeypatch.setattr(MuseGAN, "rolls", lambda *a, **k: np.zeros_like(mostly_silent(*a, **k)))
    answer = otonoha(*words, "--n", "1")
    assert answer.status == 0, answer.err
    assert {row["name"]: row for row in answer.json["comparison"]}["EB"]["generated"] == 1


def test_eval_needs_generated_phrases(refused, band, chorales, cache):
    told = refused("eval", band, "--data", chorales, "--n", "1", "--bars", "1")
    assert "the generated music has no phrase of 2 bars to compare; choose other --bars" in told


def test_novelty_of_a_band_is_that_of_its_tracks(otonoha, companion, chorales, cache):
    words = ("eval", companion, "--data", f"{chorales}:train", "--n", "2", "--train", chorales)
    told = otonoha(*words, "--json").json
    first = told["novelty"][0]
    assert first["name"].split()[1] == "soprano"  # the given track is a copy, down to its name
    assert first["piece"].endswith(" soprano")
    assert first["longest_match"] == first["notes"] == 24
    assert {row["name"].split()[0] for row in told["novelty"]} == {"0", "1"}
    assert len(told["novelty"]) > 2


def test_melodies_have_no_fold(refused, run_folder, tunes, cache):
    told = refused("eval", run_folder, "--data", tunes, "--fold", "musegan-legacy")
    assert "--fold has no effect" in told


def test_eval_needs_phrases(refused, band, tmp_path, cache):
    (tmp_path / "short").mkdir()
    write(chorale(0, bars=1), tmp_path / "short/a.mid")
    assert "has no phrase of 2 bars" in refused("eval", band, "--data", tmp_path / "short", "--n", "1")


def test_phrases_lie_side_by_side(band):
    model = MuseGAN.load(band)
    waltz = chorale(0)
    waltz.time_signatures = [TimeSignature(0, 3, 4)]
    rolls = phrases(model, encoded(model, [chorale(0, bars=5), waltz, chorale(1)]))
    assert rolls.shape == (2 + 3, 4, 2, 16, 46)  # the fifth bar and what the codec refuses are left out
    whole = model.codec.array(model.codec.encode(chorale(1)))
    assert np.array_equal(rolls[3, 1], whole[2:4, 1])
    assert np.array_equal(rolls[2:, :, 0], whole[::2])


def test_voices_are_the_pitched_tracks():
    found = voices([("piece", chorale(0, drums=True))])
    assert [name for name, _ in found] == [f"piece {name}" for name in VOICES]
    assert {
        name.removeprefix("piece "): pitches(score)[score.tracks[0].name] for name, score in found
    } == pitches(chorale(0))


# -- plot ----------------------------------------------------------------------------------------------


def test_plot_grid(otonoha, refused, chorales, tmp_path):
    piece = chorales / "0.mid"
    words = ("plot", "grid", piece, "--bars", "2-5", "--columns", "2", "--out", "grid.svg")
    assert otonoha(*words).out == "grid.svg\n"
    drawn = (tmp_path / "grid.svg").read_text("utf-8")
    assert "<!-- tenor -->" in drawn
    assert "<!-- 5 -->" in drawn
    assert "<!-- 6 -->" not in drawn
    assert "no bars 2 to 9" in refused("plot", "grid", piece, "--bars", "2-9", "--out", "x.png")
    assert "cannot read --bars 'a'" in refused("plot", "grid", piece, "--bars", "a", "--out", "x.png")
    assert "--columns must be 1 to 32" in refused("plot", "grid", piece, "--columns", "0", "--out", "x.png")
    assert "--bars has no effect with roll" in refused("plot", "roll", piece, "--bars", "1")
    assert "--figure has no effect with grid" in refused("plot", "grid", piece, "--figure", "loss")
