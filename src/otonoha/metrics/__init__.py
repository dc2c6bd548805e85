"""Pure functions of music: one file per question; `compare` puts generated scores beside real ones, `band_report`
generated phrases of a band, `sound_report` what a codec made of recordings.

`oto.metrics.report(generated, real)`, `oto.metrics.distance(generated, real)` and the others are looked up when they
are used, and so are the files themselves: `oto.metrics.band_report.report(…)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "report": "compare",
    "measure": "compare",
    "text_table": "compare",
    "novelty_report": "novelty",
    "distance": "band_report",
    "collapse": "band_report",
    "yardstick": "band_report",
    "beside_published": "published",
}
_FILES = (
    *("played", "band", "together", "copies", "published", "band_report"),
    *("sound", "sound_events", "sound_codes", "sound_report"),
)


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return import_module(f"otonoha.metrics.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"otonoha.metrics.{_HOMES[name]}"), name)
