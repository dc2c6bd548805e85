"""Options of MuseGAN: ranges, what a design does not read, and what is reached by them (config.py, conv.py)."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from families import CASES, QUICK
from otonoha.models.musegan.config import PRESETS, READ_BY, Config
from otonoha.models.musegan.model import DESIGNS, MuseGAN

torch.set_num_threads(1)
NARROW = {"width": 0.02, "noise": 4, "low": 36, "high": 83}


def one_line(message):
    return pytest.raises(ValueError, match=rf"^[^\n]*{message}[^\n]*\Z")


# -- ranges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0}, "noise must be within 1 … 4096, got 0"),
        ({"noise": -3}, "noise must be within 1 … 4096, got -3"),
        ({"noise": 2.5}, "noise must be a whole number, got 2.5"),
        ({"noise": True}, "noise must be a whole number, got True"),
        ({"hidden": 0}, "hidden must be within 4 … 16384, got 0"),
        ({"hidden": 1}, "hidden must be within 4 … 16384, got 1"),
        ({"critic_steps": 0}, "critic_steps must be within 1 … 100000, got 0"),
        ({"bars": 0}, "bars must be within 1 … 512, got 0"),
        ({"bars": -1}, "bars must be within 1 … 512, got -1"),
        ({"penalty": -1.0}, "penalty must be within 0 … 10000, got -1"),
        ({"penalty": "much"}, "penalty must be a number, got 'much'"),
        ({"latent": -1.0}, "latent must be within 0 … 100, got -1"),
        ({"latent": float("nan")}, "latent must be within 0 … 100, got nan"),
        ({"width": 0.0}, "width must be within 0.001 … 16, got 0"),
        ({"width": float("inf")}, "width must be within 0.001 … 16, got inf"),
        ({"players": "band"}, "unknown players 'band'"),
        ({"design": "lines", "lines": False, "divisi": 17}, "divisi must be within 1 … 16, got 17"),
        ({"neurons": "stochastc"}, "unknown neurons 'stochastc'; did you mean 'stochastic'"),
        ({"refiner": "two_stage"}, "unknown refiner 'two_stage'; did you mean 'two-stage'"),
        ({"order": "tripling lst"}, "unknown order 'tripling lst'; did you mean 'tripling last'"),
    ],
)
def test_options_outside_their_range(options, message):
    with one_line(message):
        MuseGAN("tiny", **options)
    with one_line(message):
        Config(**options)


@pytest.mark.parametrize("given", ["", "bass"])
@pytest.mark.parametrize("preset", ["tiny", "lines_tiny"])
def test_the_narrowest_networks_learn(preset, given):
    model = MuseGAN(preset, hidden=4, noise=1, bars=1, given=given)
    model.fit(CASES["musegan/tiny"].pieces(2), quiet=True, **{**QUICK, "steps": 2})
    assert all(p.isfinite().all() for p in model.networks.parameters())


# -- without effect ------------------------------------------------------------------------------------------

OTHERS = {"players": "composer", "order": "sixfold first", "hidden": 40, "width": 0.5, "plain": True,
          "neurons": "stochastic", "refiner": "joint", "latent": 0.2, "adversary": "hinge", "penalty": 3.0,
          "critic_steps": 2, "divisi": 2}  # fmt: skip
"""For every option that some designs do not read, a value that is not its default."""


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("option", READ_BY)
def test_an_option_that_the_design_does_not_read_is_refused(option, design):
    asked = {"design": design, "low": 36, "high": 83, option: OTHERS[option]}
    asked |= {"lines": False} if option == "divisi" and design == "lines" else {}
    if design in READ_BY[option]:
        assert getattr(MuseGAN("tiny", **asked).config, option) == OTHERS[option]
        return
    with one_line(f"{option} has no effect on design {design}; it is read by {', '.join(READ_BY[option])}"):
        MuseGAN("tiny", **asked)


def test_what_is_as_usual_or_comes_with_the_preset_is_taken():
    usual = {f.name: f.default for f in fields(Config) if f.name in READ_BY}
    for design in DESIGNS:
        MuseGAN("tiny", **usual | {"design": design, "low": 36, "high": 83})
    assert PRESETS["small"].penalty != Config().penalty
    assert MuseGAN("small", design="lines").config.penalty == PRESETS["small"].penalty


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_made_and_made_anew(preset):
    made = MuseGAN(preset)
    assert MuseGAN(made.config, codec=made.codec).config == made.config


def test_a_saved_model_of_another_design_than_its_preset_is_loaded(tmp_path):
    model = MuseGAN("tiny", design="book", width=0.02, low=36, high=83)
    assert MuseGAN.load(model.save(tmp_path / "book")).config == model.config


def test_lines_cannot_be_divided():
    with one_line("divisi has no effect on tracks that are lines already; it divides chords"):
        MuseGAN("lines", divisi=2)
    assert MuseGAN("lines", lines=False, divisi=2, low=36, high=83).design.divisi.lines == 8


# -- what is reached -----------------------------------------------------------------------------------------


def test_the_orders_of_time_are_an_option():
    orders = ("tripling last", "tripling first", "sixfold first")
    growths = []
    for order in orders:
        model = MuseGAN("hybrid", steps_per_bar=24, **NARROW, order=order)
        growths.append([layer.layer.kernel for layer in model.networks["generator"].writers.layers][:-2])
        assert len(model.codec.array(model.sample(seed=1, bars=2).tokens)) == 2
    assert growths == [[2, 2, 3], [3, 2, 2], [6, 2]]


@pytest.mark.parametrize("first_only", [False, True])
def test_a_pass_of_the_slope_is_a_pass_over_what_is_learnt(first_only):
    model = MuseGAN("bmusegan", **NARROW, tracks=("soprano", "alto", "tenor", "bass"), steps_per_bar=8, bars=2,
                    first_only=first_only)  # fmt: skip
    model.config = replace(model.config, train=replace(model.config.train, batch=3))
    pieces = model.prepare(CASES["musegan/tiny"].pieces(6))  # of 4 bars: 3 phrases each
    model.observe(pieces)
    assert model.design.per_pass == (2 if first_only else 6)
    model.after_step(SimpleNamespace(step=10**6))
    assert model.networks["generator"].slope.item() == pytest.approx(1.1**20)


def test_stochastic_neurons_keep_to_the_seed():
    model = MuseGAN("bmusegan", **NARROW, steps_per_bar=8, bars=2, neurons="stochastic", refiner="none")
    first = model.sample(seed=3, bars=2)
    other = model.sample(seed=4, bars=2)
    assert model.sample(seed=3, bars=2).tokens == first.tokens != other.tokens
    longer = model.codec.array(model.sample(seed=3, bars=5).tokens)
    assert (longer[:2] == model.codec.array(first.tokens)).all()


def test_a_knob_turned_to_the_piece_itself_is_refused():
    model = MuseGAN("tiny")
    with one_line("groove_seed 1 has no effect: it is the seed of the piece itself"):
        model.sample(seed=1, groove_seed=1, bars=2)
    with one_line("medley_seed 1 has no effect"):
        model.sample(seed=1, medley_seed=1, bars=2)
    with one_line("groove_mix 0 has no effect: it stays at the piece"):
        model.sample(seed=1, groove_seed=2, groove_mix=0.0, bars=2)
    first, second = model.sample(seed=1, groove_seed=1, n=2, bars=2)  # the second has a groove of its own
    assert first.tokens == model.sample(seed=1, bars=2).tokens
    assert second.tokens != model.sample(seed=1, n=2, bars=2)[1].tokens
