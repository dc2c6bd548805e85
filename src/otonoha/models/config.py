"""Configs and JSON: frozen dataclasses go into config.json and come back, or say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, TypeVar, get_args, get_origin

from otonoha.music.suggest import one_of

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(cls: type[T], data: dict[str, Any]) -> T:
    """The dataclass back. Unknown fields and wrong types are one clear ValueError."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be a JSON object, got {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {one_of(k, names, f"field of {cls.__name__}"): _back(hints[k], v, k) for k, v in data.items()}
    return cls(**values)


def _back(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _back(next(a for a in get_args(hint) if a is not type(None)), value, name)
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, name)
    if get_origin(hint) is typing.Literal:
        return one_of(value, get_args(hint), name)
    wanted = {float: int | float, int: int, str: str, bool: bool}.get(hint)
    if wanted is not None and (
        not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool)
    ):
        raise ValueError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value


def _tuple(hints: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list, got {value!r}")
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_back(hints[0], v, name) for v in value)
    if len(value) != len(hints):
        raise ValueError(f"{name} must have {len(hints)} entries, got {value!r}")
    return tuple(_back(h, v, name) for h, v in zip(hints, value, strict=True))
