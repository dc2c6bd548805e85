"""Files <-> music. `read` and `write` choose the format; nothing heavy is imported before it is needed.

Sound from a score is `otonoha.io.render.render`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"read": "otonoha.io.files", "write": "otonoha.io.files"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
