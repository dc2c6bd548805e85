import math

import pytest
import torch
from torch import nn

from otonoha.train.objective import Objective, lr_factor, make_optimiser
from otonoha.train.settings import Settings


def test_warm_up_rises_evenly_to_the_peak():
    settings = Settings(warmup=4, schedule="constant")
    assert [lr_factor(s, settings) for s in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert lr_factor(0, Settings(warmup=0, schedule="constant")) == 1.0


def test_cosine_falls_from_the_peak_to_two_percent():
    settings = Settings(warmup=10, steps=110)
    factors = [lr_factor(s, settings) for s in range(10, 111)]
    assert factors[0] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.02)
    assert factors[50] == pytest.approx(0.51)
    assert factors == sorted(factors, reverse=True)


def test_inverse_square_root():
    settings = Settings(warmup=100, schedule="inverse-sqrt")
    assert lr_factor(399, settings) == pytest.approx(math.sqrt(100 / 400))
    assert 0 < lr_factor(10, Settings(warmup=0, schedule="inverse-sqrt")) <= 1


def objective(**options) -> Objective:
    return Objective("o", nn.Linear(3, 2).parameters(), lambda b, c: (torch.zeros(()), {}), **options)


def test_weight_decay_spares_biases():
    optimiser = make_optimiser(objective(), Settings(weight_decay=0.1))
    decay = {p.ndim: g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay == {2: 0.1, 1: 0.0}


def test_optimisers_by_name():
    assert isinstance(make_optimiser(objective(), Settings(optimiser="rmsprop")), torch.optim.RMSprop)
    adam = make_optimiser(objective(), Settings(optimiser="adam"))
    assert type(adam) is torch.optim.Adam
    assert all(g["weight_decay"] == 0 for g in adam.param_groups)


def test_its_own_learning_rate():
    assert make_optimiser(objective(lr=0.5), Settings(lr=0.1)).param_groups[0]["lr"] == 0.5
    assert objective().rate(Settings(lr=0.1)) == 0.1


def test_due():
    o = objective(every=3, active=lambda step: step >= 4)
    assert [s for s in range(12) if o.due(s)] == [6, 9]


def test_frozen_weights_are_not_its_business():
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert len(list(Objective("o", layer.parameters(), lambda b, c: (torch.zeros(()), {})).parameters)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("steps", 0),
            ("batch", 0),
            ("length", 0),
            ("ema", 1.0),
            ("ema", -0.1),
            ("lr", 0.0),
            ("warmup", -1),
        ),
        *(("clip", -1.0), ("patience", -1), ("accumulate", 3), ("seed", -1), ("lr", math.nan)),
    ],
)
def test_settings_refuse_nonsense(field, value):
    with pytest.raises(ValueError, match=field):
        Settings(**{field: value})
