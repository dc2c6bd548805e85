"""The original's optimiser, schedule and averaged weights, step by step (../shared/golden/jukebox/optimiser)."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from otonoha.train.adam import PlainAdam
from otonoha.train.objective import Objective, ema_decay, make_optimiser
from otonoha.train.schedules import FromZero
from otonoha.train.settings import Settings

SHARE = 1e-5


@pytest.fixture(scope="module")
def case():
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, Path(__file__).resolve().parents[3] / "shared" / "golden"]:
        folder = place / "jukebox" / "optimiser"
        if folder.is_dir():
            return json.loads((folder / "case.json").read_text("utf-8")), load_file(
                folder / "reference.safetensors"
            )
    pytest.skip("the golden cases (../shared/golden/jukebox) are not here")


def schedule(c):
    linear = c["decay_steps"] if c["linear_decay"] else None
    return FromZero(
        c["warmup_steps"],
        c["decay_factor"],
        int(c["decay_steps"]),
        linear,
        c["linear_decay_start"],
        c["schedule_scale"],
    )


def close(found, wanted, what):
    largest = max(float(wanted.abs().max()), 1e-12)
    assert float((found - wanted).abs().max()) <= SHARE * largest, what


@pytest.mark.parametrize("trace", ["plain", "linear_decay"])
def test_ten_steps(case, trace):
    told, kept = case
    c = told["traces"][trace]["config"]
    settings = Settings(
        lr=c["learning_rate"], optimiser="jukebox", betas=(c["beta1"], c["beta2"]), weight_decay=c["weight_decay"],
        ema=c["average_decay"], ema_quick=False,
    )  # fmt: skip
    weights = {n: nn.Parameter(kept[f"{trace}.start.{n}"].clone()) for n in "ab"}
    averaged = {n: p.detach().clone() for n, p in weights.items()}
    objective = Objective("x", weights.values(), lambda batch, context: (batch, {}), schedule=schedule(c))
    optimiser = make_optimiser(objective, settings)
    for group in optimiser.param_groups:
        group["eps"] = c["epsilon"]
    for at, step in enumerate(told["traces"][trace]["steps"]):
        for group in optimiser.param_groups:
            group["lr"] = objective.lr_at(at, settings)
            assert group["lr"] == pytest.approx(step["learning_rate_used"], rel=1e-12)
        for n, p in weights.items():
            p.grad = kept[f"{trace}.step{at + 1}.gradient.{n}"].clone()
        norm = nn.utils.clip_grad_norm_(objective.parameters, c["clip_norm"])
        assert float(norm) == pytest.approx(step["gradient_norm"], rel=SHARE)
        optimiser.step()
        for n, p in weights.items():
            averaged[n].lerp_(p.detach(), 1 - ema_decay(at, settings))
            here = f"{trace}.step{at + 1}"
            close(p.detach(), kept[f"{here}.parameter.{n}"], "parameter")
            close(optimiser.state[p]["first"], kept[f"{here}.first_moment.{n}"], "first")
            close(optimiser.state[p]["second"], kept[f"{here}.second_moment.{n}"], "second")
            close(averaged[n], kept[f"{here}.averaged.{n}"], "averaged")


def test_the_schedule_table(case):
    for row in case[0]["schedule_table"]:
        found = schedule(row)
        for step, factor in zip(row["steps"], row["factors"], strict=True):
            assert found(step) == pytest.approx(factor, rel=1e-9, abs=1e-15)


def test_without_epsilon_and_decay_it_is_adam():
    torch.manual_seed(0)
    start = torch.randn(7)
    found = []
    for kind, more in ((PlainAdam, {}), (torch.optim.Adam, {})):
        p = nn.Parameter(start.clone())
        optimiser = kind([p], lr=0.1, betas=(0.9, 0.99), eps=0.0, **more)
        for at in range(5):
            p.grad = torch.sin(start * (at + 1)) + 0.1
            optimiser.step()
        found.append(p.detach())
    torch.testing.assert_close(*found)


def test_averages_follow_quickly_at_first_unless_they_should_not():
    assert ema_decay(0, Settings(ema=0.99)) == pytest.approx(0.1)
    assert ema_decay(0, Settings(ema=0.99, ema_quick=False)) == 0.99
    assert ema_decay(10**6, Settings(ema=0.99)) == 0.99
