"""Pure functions of music: one file per question, `compare` puts generated beside real.

`oto.metrics.report(generated, real)` and `oto.metrics.novelty_report(…)` are looked up when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {"report": "compare", "measure": "compare", "text_table": "compare", "novelty_report": "novelty"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"otonoha.metrics.{_HOMES[name]}"), name)
