"""What a person can turn. Torch-free: CLI flags, studio widgets and a JSON schema are made from it.

A room declares a frozen dataclass `Controls` whose fields are made by `control(...)`; `None` means the
checkpoint's default. Help texts are the docstrings under the fields.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import numbers
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Scope = Literal["piece", "track", "bar", "time"]


def control(
    low: float | None = None,
    high: float | None = None,
    *,
    scope: Scope = "piece",
    tasks: tuple[str, ...] | None = None,
) -> Any:
    """A field of Controls: unset by default, within [low, high] if it is a number; for some `tasks` only."""
    return dataclasses.field(
        default=None, metadata={"low": low, "high": high, "scope": scope, "tasks": tasks}
    )


@dataclass(frozen=True)
class ControlInfo:
    """Name, type, range, scope and help of one control."""

    name: str
    type: str
    low: float | None
    high: float | None
    scope: Scope
    help: str


def describe(controls: type) -> list[ControlInfo]:
    """All controls of a room, in the order of declaration."""
    helps = field_docs(controls)
    return [
        ControlInfo(
            f.name,
            str(f.type).replace(" | None", ""),
            f.metadata.get("low"),
            f.metadata.get("high"),
            f.metadata.get("scope", "piece"),
            helps.get(f.name, ""),
        )
        for f in dataclasses.fields(controls)
    ]


@cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstrings under the fields of a dataclass and of those it inherits from."""
    kinds = [c for c in reversed(cls.__mro__) if dataclasses.is_dataclass(c)]
    return {name: text for kind in kinds for name, text in _docs_within(kind).items()}


def _docs_within(cls: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        named = isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)
        text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if named and text and isinstance(after.value.value, str):  # type: ignore[attr-defined]
            docs[before.target.id] = " ".join(after.value.value.split())  # type: ignore[attr-defined]
    return docs


def bars_of(text: str | None, count: int) -> list[int]:
    """The control only_bars, "3-4" or "1,5", counted from 1 -> numbers of bars from 0; all when unset."""
    if text is None:
        return list(range(count))
    chosen: set[int] = set()
    for word in (w.strip() for w in text.split(",")):
        span = re.fullmatch(r"(\d{1,9})(?:\s*[-–]\s*(\d{1,9}))?", word)
        if span is None:
            raise ValueError(f"cannot read only_bars {text!r}; write it like '3-4' or '1,5'")
        first, last = int(span[1]), int(span[2] or span[1])
        for number in (first, last):
            if not 1 <= number <= count:
                raise ValueError(f"only_bars must be within 1 … {count} (the bars there are), got {number}")
        if last < first:
            raise ValueError(f"only_bars {word!r} runs backwards; write it like '{last}-{first}'")
        chosen |= set(range(first - 1, last))
    return sorted(chosen)


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def _is_a(kind: str, value: Any) -> bool:
    if kind in ("bool", "str"):
        return isinstance(value, bool if kind == "bool" else str)
    wanted = numbers.Integral if kind == "int" else numbers.Real
    return isinstance(value, wanted) and not isinstance(value, bool) and math.isfinite(value)


def check(controls: Any) -> None:
    """Raise ValueError for the first control of a wrong type or outside its range."""
    for info in describe(type(controls)):
        value = getattr(controls, info.name)
        if value is None:
            continue
        if not _is_a(info.type, value):
            raise ValueError(f"{info.name} must be {_WORDS[info.type]}, got {value!r}")
        if info.type in ("str", "bool"):
            continue
        if (info.low is not None and value < info.low) or (info.high is not None and value > info.high):
            raise ValueError(f"{info.name} must be {_range(info)}, got {value}")


def _range(info: ControlInfo) -> str:
    """What is allowed, in words."""
    if info.high is None:
        return f"{info.low} or more"
    return f"{info.high} or less" if info.low is None else f"within {info.low} … {info.high}"


def filled(controls: Any, defaults: dict[str, Any]) -> Any:
    """`controls` with `defaults` where nothing was said."""
    unset = {k: v for k, v in defaults.items() if getattr(controls, k) is None}
    return dataclasses.replace(controls, **unset)
