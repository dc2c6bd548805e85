from dataclasses import dataclass

import numpy as np
import pytest

from otonoha.models.registry import EXAMPLES, FAMILIES, SYSTEMS, settings_of
from otonoha.sample.controls import check, control, describe, field_docs, filled


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Some knobs."""

    bars: int | None = control(1, 9)
    """How
    long."""
    heat: float | None = control(0, scope="bar")
    """How wild."""
    key: str | None = control()
    strict: bool | None = control()
    """Whether."""


@dataclass(frozen=True, kw_only=True)
class More(Knobs):
    """More knobs."""

    extra: int | None = control()
    """One more."""


def test_describe_reads_types_ranges_scopes_and_docstrings():
    bars, heat, key, strict = describe(Knobs)
    assert (bars.name, bars.type, bars.low, bars.high, bars.scope, bars.help) == (
        "bars",
        "int",
        1,
        9,
        "piece",
        "How long.",
    )
    assert (heat.type, heat.low, heat.high, heat.scope) == ("float", 0, None, "bar")
    assert (key.type, key.help, strict.type) == ("str", "", "bool")


def test_docstrings_are_inherited():
    assert field_docs(More) == {
        "bars": "How long.",
        "heat": "How wild.",
        "strict": "Whether.",
        "extra": "One more.",
    }


@pytest.mark.parametrize(
    "fine",
    [
        {},
        {"bars": 1},
        {"bars": 9},
        {"bars": np.int64(3)},
        {"heat": 0},
        {"heat": np.float32(2.5)},
        {"key": "C"},
        {"strict": False},
    ],
)
def test_check_accepts(fine):
    check(Knobs(**fine))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bars": 0}, "bars must be within 1 … 9, got 0"),
        ({"bars": 10}, "bars must be within"),
        ({"bars": 2.5}, "bars must be a whole number, got 2.5"),
        ({"bars": "8"}, "bars must be a whole number, got '8'"),
        ({"bars": True}, "bars must be a whole number"),
        ({"heat": -0.1}, "heat must be 0 or more, got -0.1"),
        ({"heat": float("nan")}, "heat must be a number"),
        ({"heat": float("inf")}, "heat must be a number"),
        ({"key": 5}, "key must be text"),
        ({"strict": 1}, "strict must be true or false"),
    ],
)
def test_check_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        check(Knobs(**wrong))


def test_filled_gives_way_to_what_was_said():
    assert filled(Knobs(bars=3), {"bars": 5, "heat": 0.5}) == Knobs(bars=3, heat=0.5)


@pytest.mark.parametrize("family", [*FAMILIES, *EXAMPLES, *SYSTEMS])
def test_every_control_and_setting_of_every_family_is_explained(family):
    config, controls, presets = settings_of(family)
    training = [type(preset.train) for preset in presets.values()][:1]
    for kind in (config, controls, *training):
        docs = field_docs(kind)
        missing = [name for name in kind.__dataclass_fields__ if not docs.get(name)]
        assert not missing, (kind, missing)
    assert all(value is None for value in vars(controls()).values())
