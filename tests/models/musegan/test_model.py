"""MuseGAN as a whole: it learns, writes, accompanies, judges and tells mistakes in one line."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from symusic import Score

from families import CASES, QUICK, fitted, voices
from helpers import TPQ, chorale, played, track_alone
from otonoha.models import pretrained
from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.musegan.shape import KNOBS, PRIVATE, per_bar
from otonoha.models.musegan.windows import Phrases
from otonoha.music.tracks import track_of
from otonoha.sample.tasks import Accompany, Compose
from otonoha.tokens.grid import Grid
from otonoha.tokens.roll import Roll

torch.set_num_threads(1)
VOICES = ("soprano", "alto", "tenor", "bass")
MODELS = [name for name in CASES if name.startswith("musegan/")]
GIVEN = [name for name in MODELS if CASES[name].options.get("given")]
FREE = [name for name in MODELS if name not in GIVEN]
COMMON = tuple(knob for knob in KNOBS if knob not in PRIVATE)


def rolls(take, model):
    """(N, M, S, P)."""
    return model.codec.array(take.tokens)


def changed(name, seed=3, **turned):
    """(M, N) bool: where a take differs when knobs are turned; four bars."""
    model = fitted(name)
    after = rolls(CASES[name].sample(model, seed=seed, bars=4, **turned), model)
    return (after != untouched(name, seed)).any(axis=(2, 3)).T


@functools.cache
def untouched(name, seed):
    """(N, M, S, P)."""
    model = fitted(name)
    return rolls(CASES[name].sample(model, seed=seed, bars=4), model)


# -- learning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["musegan/tiny", "musegan/lines", "musegan/book"])
def test_a_run_can_be_loaded_sampled_and_asked(name, tmp_path):
    case = CASES[name]
    model = case.model()
    outcome = model.fit(
        case.pieces(),
        case.pieces(2, split="valid"),
        out=tmp_path / "run",
        quiet=True,
        **{**QUICK, "steps": 2},
    )
    measured = outcome.history[-1]
    assert {"loss", "unique", "EB", "UPC", "QN", "TD", "in-scale", "voice crossing"} <= measured.keys()
    assert outcome.best == measured["loss"] > 0
    again = pretrained.load(tmp_path / "run")
    assert (again.codec, again.config) == (model.codec, model.config)
    take = again.sample(seed=4, bars=2)
    assert take.tokens == model.sample(seed=4, bars=2).tokens
    assert [t.name for t in take.music.tracks] == list(VOICES)
    quantiles = again.card["critic on real phrases"]
    assert len(quantiles) == 21
    assert quantiles == sorted(quantiles)
    with torch.no_grad():
        held = model.prepare(case.pieces(2, split="valid"))
        real = model.design.opinion(model.design.windows(held).some(256))
    assert quantiles[0] == pytest.approx(real.min(), abs=1e-3)
    assert quantiles[-1] == pytest.approx(real.max(), abs=1e-3)
    told = again.explain(chorale(9, bars=5))
    assert told.bars == [f"bar {n}" for n in range(1, 6)]
    np.testing.assert_array_equal(told.real, quantiles)


@pytest.mark.parametrize("name", MODELS)
def test_saving_in_the_middle_leaves_the_networks_learning(name, tmp_path):
    model = fitted(name)
    model.observe(model.prepare(CASES[name].pieces(2)))
    card = dict(model.card)
    try:
        for learning in (True, False):
            model.networks.train(learning)
            model._save_to(tmp_path / str(learning))
            assert all(m.training == learning for m in model.networks.modules())
    finally:
        model.networks.eval()
        model.card = card


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("name", MODELS)
def test_on_an_accelerator(name):
    """It learns, is measured, writes, accompanies and judges there."""
    case = CASES[name]
    model = case.model()
    how = {**QUICK, "steps": 2, "device": "cuda"}
    outcome = model.fit(case.pieces(), case.pieces(2, split="valid"), quiet=True, **how)
    assert model.design.device.type == "cuda"
    assert np.isfinite(outcome.history[-1]["loss"])
    assert len(rolls(case.sample(model, seed=1), model)) == 3
    assert np.isfinite(model.explain(chorale(9)).scores).all()


def test_a_collapse_is_said(tmp_path, capsys):
    case = voices()
    model = case.model()

    def collapse(context):
        with torch.no_grad():
            for weight in model.networks["generator"].last.parameters():
                weight.zero_()
            for weight in model.networks["generator"].harmony[-1].parameters():
                weight.zero_()

    model.after_step = collapse
    outcome = model.fit(
        case.pieces(),
        case.pieces(2, split="valid"),
        out=tmp_path / "run",
        **{**QUICK, "steps": 2, "eval_every": 1},
    )
    said = [line for line in capsys.readouterr().err.splitlines() if "collapsed" in line]
    assert any("step 1: the generator has collapsed: only" in line for line in said)
    assert outcome.history[0]["unique"] < 0.2
    assert "says" not in outcome.history[0]
    (tmp_path / "run" / "log.jsonl").read_text("utf-8").encode("ascii")  # and the log holds figures only
    healthy = case.model().design.evaluate(model.prepare(case.pieces()))
    assert healthy["unique"] > 0.9
    assert "says" not in healthy


def test_the_critic_learns_at_every_step_and_the_generator_at_some(tmp_path):
    case = CASES["musegan/paper"]
    model = case.model(critic_steps=3)
    model.fit(case.pieces(), out=tmp_path / "run", quiet=True, **{**QUICK, "steps": 6})
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    acted = {
        name: [r["step"] for r in rows if r.get("objective") == name] for name in ("critic", "generator")
    }
    assert acted == {"critic": [1, 2, 3, 4, 5, 6], "generator": [1, 4]}


def test_two_stages_of_the_binary_design():
    """First the generator learns without rounding, then its refiners alone."""
    alone, everything = (False, True, False), (True, True, True)
    assert stages("two-stage") == [alone, alone, everything, everything]
    assert stages("joint") == 4 * [everything]
    assert stages("none") == 4 * [(True, True, False)]


def stages(refiner):
    """After each of four updates: whether notes are rounded, whether generator and refiners have learnt."""
    case, seen = CASES["musegan/binary"], []
    model = case.model(refiner=refiner)
    before = {n: p.detach().clone() for n, p in model.networks.named_parameters()}

    def look(context):
        moved = {n for n, p in model.networks.named_parameters() if not torch.equal(p, before[n])}
        parts = [any(f".{part}." in n for n in moved) for part in ("writer", "refiners")]
        seen.append((model.design.generator.rounds, *parts))

    model.after_step = look
    model.fit(case.pieces(), quiet=True, **{**QUICK, "steps": 4})
    return seen


# -- the critic's opinion --------------------------------------------------------------------------------------


def test_scores_of_bars_are_means_over_their_phrases():
    model = fitted("musegan/paper")
    piece = model.codec.array(model.codec.encode(chorale(9, bars=4)))
    phrases = np.stack([piece[b : b + 2].swapaxes(0, 1) for b in range(3)])
    with torch.no_grad():
        a, b, c = model.design.opinion(torch.from_numpy(phrases))[:, 0].tolist()
    found = model.explain(chorale(9, bars=4)).scores
    np.testing.assert_allclose(found, [a, (a + b) / 2, (b + c) / 2, c], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_an_opinion_is_the_same_when_asked_again(name):
    first, again = (fitted(name).explain(chorale(9, bars=4)).scores for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) > 1


def test_a_critic_that_learnt_prefers_music_to_noise():
    case = voices()
    model = case.model(critic_steps=10_000)
    model.fit(case.pieces(6), quiet=True, **{**QUICK, "steps": 60, "lr": 3e-3})
    noise = MuseGAN("tiny").sample(seed=1, bars=8).music
    assert model.explain(chorale(77, bars=8)).scores.mean() > model.explain(noise).scores.mean() + 1


# -- the views of the critics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("steps", [16, 48])
def test_convolutions_see_a_repeated_note_where_steps_are_fine(steps, contiguous):
    """A held note that is struck again leaves a gap of a step, from 48 steps of a bar on."""
    model = MuseGAN(
        "tiny", design="paper", lines=False, low=36, high=83, steps_per_bar=steps, width=0.02, noise=2
    )
    states = np.zeros((1, 2, 4, steps, 48), np.uint8)  # (B, N, M, S, P), as windows are cut
    states[0, 0, 1, :, 5] = [1, *[2] * (steps - 1)]
    states[0, 1, 1, :3, 5] = [1, 2, 2]  # struck again at the bar line
    rolls = torch.from_numpy(states).transpose(1, 2)
    seen = model.design.view(rolls.contiguous() if contiguous else rolls)[0, 1].flatten(0, 1)[:, 5]
    sounds = torch.cat([torch.ones(steps + 3), -torch.ones(steps - 3)])
    if steps == 48:
        sounds[steps - 1] = -1
    assert torch.equal(seen, sounds)


def test_what_convolutions_write_holds_and_strikes():
    model = fitted("musegan/paper")
    rolls = -torch.ones(1, 4, 2, 8, 48)
    rolls[0, 2, 0, 2:5, 7] = 0.5
    rolls[0, 2, 0, 6:, 7] = rolls[0, 2, 1, 0, 7] = 0.1
    line = model.design.states(rolls)[0, 2, :, :, 7].ravel().tolist()
    assert line == [0, 0, 1, 2, 2, 0, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    rolls[0, 2, 0, 3, 20] = 0.9  # louder: in a line it sounds alone
    chords, lines = (fitted(f"musegan/{n}").design.states(rolls)[0, 2, 0] for n in ("paper", "jamming"))
    assert np.flatnonzero(chords[3]).tolist() == [7, 20]
    assert np.flatnonzero(lines[3]).tolist() == [20]
    assert lines[:, 7].tolist() == [0, 0, 1, 0, 1, 0, 1, 2]
    book = fitted("musegan/book")
    loud = torch.zeros(1, 4, 2, 8, 48)
    loud[..., 3] = 0.1
    loud[0, 0, 0, 3, 9] = 0.5
    found = book.design.states(loud)
    assert (found.any(-1)).all()  # no rests
    assert found[0, 0, 0, :, 3].tolist() == [1, 2, 1, 0, 1, 2, 1, 2]
    assert found[0, 0, 0, :, 9].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


# -- knobs through the model -----------------------------------------------------------------------------------

LESS = {"musegan/jamming": PRIVATE, "musegan/binary": ()}
"""Designs that lack some noises; hardly trained, binary has tracks whose notes are all on, and a test of its own."""
TURNABLE = [(name, knob) for name in MODELS for knob in LESS.get(name, KNOBS)]
SEEDS = range(3, 7)


@pytest.mark.parametrize(("name", "knob"), [pair for pair in TURNABLE if pair[1] in PRIVATE])
def test_a_private_knob_turns_its_track_only(name, knob):
    for track in VOICES:
        if track == CASES[name].options["given"]:
            continue
        turned = [
            changed(name, seed, **{f"{knob}_seed": 100 + seed, "only_tracks": track}).any(1) for seed in SEEDS
        ]
        assert np.any(turned, axis=0).tolist() == [voice == track for voice in VOICES]


@pytest.mark.parametrize(("name", "knob"), [pair for pair in TURNABLE if pair[1] in COMMON])
def test_a_common_knob_turns_every_track(name, knob):
    turned = [changed(name, seed, **{f"{knob}_seed": 100 + seed}).any(1) for seed in SEEDS]
    written = [voice != CASES[name].options["given"] for voice in VOICES]
    assert np.any(turned, axis=0).tolist() == written


@pytest.mark.parametrize("knob", COMMON)
def test_a_common_knob_turns_every_track_of_the_binary_design(knob):
    model = fitted("musegan/binary")
    generator = copy.deepcopy(model.networks["generator"])
    generator.rounds = False
    with torch.no_grad():
        one, other = (
            generator.bars(model.codes(asked, 3, 0, 2))
            for asked in (Controls(), Controls(**{f"{knob}_seed": 9}))
        )
    assert (one != other).flatten(2).any(-1).all()


@pytest.mark.parametrize("name", ["musegan/tiny", "musegan/book", "musegan/paper"])
def test_style_and_groove_sound_the_same_in_every_bar(name):
    """Where chords and melody stand still, bars are alike: nothing else tells them apart. Only the first has no note
    held into it.
    """
    model, known = fitted(name), Controls()
    for seed in SEEDS:
        codes = model.codes(known, seed, 0, 4)
        still = replace(
            codes,
            chords=codes.chords[:, :1].expand_as(codes.chords),
            melody=codes.melody[:, :, :1].expand_as(codes.melody),
        )
        with torch.no_grad():
            moves, stands = (model.design.write(c, None, 1.0)[0] > 0 for c in (codes, still))
        np.testing.assert_array_equal(stands[:, 1:], np.repeat(stands[:, 1:2], 3, axis=1))
        assert stands.any()
        assert (moves != stands).any()


def test_chords_can_be_turned_in_some_bars():
    assert changed("musegan/tiny", chords_seed=8, only_bars="3").any(0).tolist() == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["musegan/tiny", "musegan/lines"])
def test_a_longer_piece_begins_like_a_shorter_one(name):
    model = fitted(name)
    short, long = (model.sample(seed=5, bars=bars) for bars in (3, 7))
    np.testing.assert_array_equal(rolls(long, model)[:3], rolls(short, model))


@pytest.mark.parametrize("name", FREE)
def test_a_medley_goes_from_one_piece_to_the_other(name):
    model = fitted(name)
    controls = Controls(medley_seed=12)
    one, other, medley = (
        per_bar(model.codes(asked, seed, 0, 4))
        for seed, asked in ((3, Controls()), (12, Controls()), (3, controls))
    )
    torch.testing.assert_close(medley[:, :, 0], one[:, :, 0])
    torch.testing.assert_close(medley[:, :, -1], other[:, :, -1])
    there, between = ((medley - x).flatten(3).norm(dim=-1).mean((0, 1)) for x in (one, other))
    assert (there.diff() > 0).all()
    assert (between.diff() < 0).all()
    one, other, medley = (
        rolls(model.sample(seed=seed, bars=4, **more), model)
        for seed, more in ((3, {}), (12, {}), (3, {"medley_seed": 12}))
    )
    np.testing.assert_array_equal(medley[0], one[0])
    assert (medley != one).any()
    assert (medley != other).any()


@pytest.mark.parametrize("bars", [1, 5])
@pytest.mark.parametrize("name", FREE)
def test_any_length(name, bars):
    model = fitted(name)
    take = model.sample(seed=2, bars=bars)
    assert len(rolls(take, model)) == bars
    assert take.music.end() <= bars * 4 * take.music.tpq
    assert len(rolls(model.sample(seed=2), model)) == 8


def test_tempo_is_as_asked():
    model = fitted("musegan/tiny")
    assert model.sample(seed=1, bars=1, tempo=111.0).music.tempos[0].qpm == pytest.approx(111, abs=0.01)


# -- accompaniment -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GIVEN)
def test_the_given_track_comes_back_note_for_note(name):
    model, case = fitted(name), CASES[name]
    given = case.options["given"]
    for prompt in (chorale(42), track_alone(chorale(42), given)):  # the whole piece, or the track alone
        take = model.sample(Accompany(prompt), seed=1)
        assert notes_in_quarters(take.music, given) == notes_in_quarters(prompt, given)
        assert [t.name for t in take.music.tracks] == list(VOICES)
        others = [t for t in take.music.tracks if t.name != given]
        assert sum(len(t.notes) for t in others) > 0
        assert len(rolls(take, model)) == 4
    assert notes_in_quarters(model.sample(Accompany(prompt), seed=1, bars=2).music, given) == [
        n for n in notes_in_quarters(prompt, given) if n[0] < 8
    ]


def notes_in_quarters(score, name):
    (track,) = [t for t in score.tracks if t.name == name]
    return [(n.time / score.tpq, n.duration / score.tpq, n.pitch) for n in track.notes]


@pytest.mark.parametrize("name", ["musegan/given", "musegan/lines_given"])
def test_another_given_track_gets_another_accompaniment(name):
    model, given = fitted(name), CASES[name].options["given"]
    prompts = [Accompany(track_alone(chorale(s), given)) for s in (1, 2)]
    takes = [model.sample(prompt, seed=1, n=12) for prompt in prompts]  # hardly trained, it listens a little
    others = [[played(t.music)[m] for t in some for m in range(4) if VOICES[m] != given] for some in takes]
    assert others[0] != others[1]


def test_a_single_track_of_any_name_is_the_given_one():
    model, prompt = fitted("musegan/given"), track_alone(chorale(42), "soprano")
    prompt.tracks[0].name = "my tune"
    take = model.sample(Accompany(prompt), seed=1)
    assert [t.name for t in take.music.tracks] == list(VOICES)
    assert notes_in_quarters(take.music, "soprano") == notes_in_quarters(prompt, "my tune")


def test_tempo_of_an_accompaniment_is_that_of_the_prompt():
    from symusic import Tempo

    prompt = track_alone(chorale(42), "soprano")
    prompt.tempos.append(Tempo(0, 132))
    model = fitted("musegan/given")
    assert model.sample(Accompany(prompt), seed=1).music.tempos[0].qpm == pytest.approx(132, abs=0.01)


def test_the_loss_of_an_accompaniment_is_of_the_other_tracks():
    """Lines: nats of the given track do not count; other notes there change what the others cost."""
    model = CASES["musegan/lines_given"].model()
    free = CASES["musegan/lines"].model()
    batch = model.batches(model.prepare(CASES["musegan/lines"].pieces()), model.config.train)(0)
    with torch.no_grad():
        of_three, of_four = (m.design.nats(batch.rolls)["lines"].mean().item() for m in (model, free))
    assert of_three == pytest.approx(0.75 * of_four, rel=0.15)
    assert isinstance(batch, Phrases)


# -- mistakes ------------------------------------------------------------------------------------------------------


def one_line(message, **how):
    return pytest.raises(ValueError, match=rf"^[^\n]*{message}[^\n]*\Z", **how)


def stub(quarters, name="soprano"):
    """A track of one note."""
    score = Score(TPQ)
    score.tracks.append(track_of(np.array([0]), np.array([int(quarters * TPQ)]), np.array([70]), name=name))
    return score


def two_unnamed():
    score = chorale(1)
    score.tracks = [t for t in score.tracks if t.name in ("alto", "tenor")]
    return score


@pytest.mark.parametrize(
    ("prompt", "asked", "message"),
    [
        (stub(0.5), {}, "the given track ends after 0.5 quarter notes, it needs a bar of 4/4 at least"),
        (stub(3), {"bars": 1}, "ends after 3 quarter notes, it needs a bar"),
        (Score(TPQ), {}, "the prompt has no notes; give the track 'soprano'"),
        (
            two_unnamed(),
            {},
            "the prompt needs a single track, or one named 'soprano'; it has 'alto', 'tenor'",
        ),
        (chorale(1), {"bars": 9}, "the given track has 4 bars, 9 were asked for"),
        (chorale(1), {"melody_seed": 3, "only_tracks": "soprano"}, "that track is given, not written"),
        (stub(400), {"bars": 600}, "bars must be within 1 … 512"),
    ],
)
def test_prompts_that_cannot_be_accompanied(prompt, asked, message):
    with one_line(message):
        fitted("musegan/given").sample(Accompany(prompt), seed=1, **asked)


def test_a_prompt_out_of_range_or_in_another_metre():
    model, prompt = fitted("musegan/given"), track_alone(chorale(1), "soprano")
    high = prompt.copy()
    high.tracks[0].notes[3].pitch = 100
    with one_line("pitches .* 100, this roll holds 36 … 81"):
        model.sample(Accompany(high), seed=1)
    waltz = prompt.copy()
    waltz.time_signatures[0].numerator = 3
    with one_line(
        "only bars of 4/4 are known here, the score is in 3/4; .* --metre 3/4 --steps-per-bar 12, or --regrid"
    ):
        model.sample(Accompany(waltz), seed=1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"groove_mix": 0.5}, "groove_mix has no effect without groove_seed"),
        ({"groove_seed": 2, "groove_mix": 1.5}, "groove_mix must be within 0 … 1, got 1.5"),
        ({"only_tracks": "bass"}, "only_tracks has no effect without melody_seed or groove_seed"),
        ({"only_bars": "1"}, "only_bars has no effect without chords_seed or melody_seed"),
        ({"melody_seed": 2, "only_tracks": "drums"}, "unknown track of only_tracks 'drums'"),
        ({"melody_seed": 2, "only_bars": "3-9"}, "only_bars must be within 1 … 3"),
        ({"melody_seed": 2, "only_bars": "x"}, "cannot read only_bars 'x'"),
        ({"medley_seed": 2, "bars": 1}, "medley_seed has no effect on a single bar"),
        ({"bars": 0}, "bars must be within 1 … 512, got 0"),
        ({"truncation": 0.0}, "truncation must be within 0.1 … 10"),
        ({"temperature": 0.7}, "temperature has no effect: design onehot draws no notes"),
        ({"independence": 0.5}, "independence has no effect: design onehot draws no notes"),
        ({"independence": 1.5}, "independence must be within 0 … 1, got 1.5"),
        ({"groove_sed": 3}, "unknown control of musegan 'groove_sed'; did you mean 'groove_seed'"),
        ({"prompt": chorale(1)}, r"musegan cannot do Continue \(it can: Compose\)"),
    ],
)
def test_knobs_outside_their_range_or_without_effect(asked, message):
    with one_line(message):
        fitted("musegan/tiny").sample(**{"seed": 1, "bars": 3, **asked})


def test_a_noise_that_a_design_lacks_cannot_be_turned():
    with one_line(r"chords_seed has no effect: this model has no chords noise \(it has: melody, groove\)"):
        fitted("musegan/jamming").sample(Accompany(chorale(1)), seed=1, chords_seed=2)
    with one_line("groove_seed has no effect: this model has no groove noise"):
        fitted("musegan/binary").sample(seed=1, groove_seed=2)


@pytest.mark.parametrize("name", [name for name in FREE if name != "musegan/lines"])
def test_what_draws_no_notes_has_neither_temperature_nor_independence(name):
    model = fitted(name)
    for control in ("temperature", "independence"):
        with one_line(rf"{control} has no effect: design {model.config.design} draws no notes"):
            model.sample(seed=1, bars=2, **{control: 0.0})


def test_independence_reaches_the_notes():
    assert changed("musegan/lines", independence=1.0).any()
    model = fitted("musegan/lines")
    own = {"melody_seed": 5, "groove_seed": 5}
    for share, differ in ((0.05, False), (1.0, True)):
        takes = [model.sample(seed=1, bars=3, independence=share, **turn).tokens for turn in ({}, own)]
        cells = [np.stack(list(t.streams.values())) for t in takes]
        assert ((cells[0] != cells[1]).any(-1).mean() > 0.3) == differ
    with one_line("groove_seed has no effect with temperature 0: every note is the likeliest"):
        model.sample(seed=1, bars=3, independence=1.0, temperature=0.0, groove_seed=5)
    with one_line("melody_seed has no effect with independence 0: no track follows its own noises"):
        model.sample(seed=1, bars=3, independence=0.0, melody_seed=5)


def test_tasks_follow_from_the_given_track():
    assert fitted("musegan/tiny").capabilities.tasks == (Compose,)
    assert fitted("musegan/given").capabilities.tasks == (Accompany,)
    with one_line("cannot do Compose"):
        fitted("musegan/given").sample(seed=1)
    assert isinstance(fitted("musegan/given").sample(prompt=chorale(1), seed=1).request.task, Accompany)


def fifth_voice():
    score = chorale(1)
    extra = score.tracks[0].copy()
    extra.name = "descant"
    score.tracks.append(extra)
    return score


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (fifth_voice(), "this roll has 4 tracks of one line each .*, the score has 5 voices"),
        (two_unnamed(), "this roll has 4 tracks of one line each .*, the score has 2 voices"),
        (Score(TPQ), "no notes"),
    ],
)
def test_scores_with_other_tracks(score, message):
    model = fitted("musegan/tiny")
    with one_line(message):
        model.explain(score)
    with one_line(rf"none of the 1 pieces can be learnt from; the first: train-0: .*{message}"):
        CASES["musegan/tiny"].model().fit([score], quiet=True, steps=1)


def test_pieces_and_phrases_have_to_fit():
    with one_line("the critic hears phrases of 2 bars, the piece has 1"):
        fitted("musegan/tiny").explain(chorale(1, bars=1))
    with one_line("there is nothing to learn from: none of 1 pieces has a phrase of 2 bars with a note"):
        CASES["musegan/tiny"].model().fit([chorale(1, bars=1)], quiet=True, steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": "cello"}, "given must be one of the tracks soprano, alto, tenor, bass, got 'cello'"),
        ({"codec": "grid"}, "musegan writes with the codec roll, not grid"),
        ({"codec": Grid()}, "musegan writes with the codec roll, not grid"),
        ({"design": "onehott"}, "unknown design 'onehott'; did you mean 'onehot'"),
        ({"design": "book", "given": "bass"}, "design book writes all tracks"),
        ({"design": "binary", "given": "bass"}, "design binary writes all tracks"),
        ({"design": "onehot", "lines": False}, "design 'onehot' writes lines of single notes"),
        ({"tracks": ("a", "a")}, "tracks must be 1 … 32 different names"),
        ({"low": 70, "high": 60}, "the range must be"),
        ({"steps_per_bar": 0}, "steps_per_bar must be"),
    ],
)
def test_models_that_cannot_be(options, message):
    with one_line(message):
        MuseGAN("tiny", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": "book"}, "this network needs whole octaves: 36 or 48 pitches"),
        (
            {"design": "paper", "high": 83, "metre": "3/4", "steps_per_bar": 15},
            "a bar of this network has a multiple of 4 steps",
        ),
        (
            {"design": "paper", "high": 83, "order": "sixfold first"},
            "order 'sixfold first' needs a bar that is doubled and tripled",
        ),
    ],
)
def test_networks_that_cannot_be_built(options, message):
    with one_line(message):
        _ = MuseGAN("tiny", **options).networks


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda d: d["config"].update(low=40),
            r"config.json contradicts itself: low is 40 in config, 36 in codec",
        ),
        (
            lambda d: d["config"].update(tracks=list("satb")),
            r"contradicts itself: tracks is \['s', .* in config, \['soprano",
        ),
        (
            lambda d: d["card"].update({"critic on real phrases": "many"}),
            r"config.json is damaged: 'critic on real",
        ),
        (lambda d: d["card"].update({"critic on real phrases": [1.0, "two"]}), "must be a list of numbers"),
        (lambda d: d["card"].update({"critic on real phrases": [[1.0]]}), "must be a list of numbers"),
    ],
)
def test_a_config_that_contradicts_itself(spoil, message, tmp_path):
    folder = fitted("musegan/tiny").save(tmp_path / "model")
    described = json.loads((folder / "config.json").read_text("utf-8"))
    spoil(described)
    (folder / "config.json").write_text(json.dumps(described), "utf-8")
    for load in (pretrained.load, MuseGAN.load, MuseGAN.from_pretrained):
        with one_line(message):
            load(folder)


def test_a_drum_prompt_is_told():
    score = Score(TPQ)
    score.tracks.append(track_of([0], [8 * TPQ], [36], is_drum=True))
    with one_line("the given track is 'soprano', the prompt has drums"):
        fitted("musegan/given").sample(prompt=score, seed=1)


def test_a_codec_of_ones_own_decides_the_tracks():
    codec = Roll(("high", "low"), steps_per_bar=8, low=48, high=71)
    model = MuseGAN("tiny", codec=codec, given="low")
    assert model.config.tracks == ("high", "low")
    assert (model.config.steps_per_bar, model.config.low, model.config.high) == (8, 48, 71)
    assert model.design.shape.tracks == 2
    assert replace(model.config, given="") == MuseGAN("tiny", codec=codec).config
