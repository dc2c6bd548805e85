"""Pictures. Every function returns a matplotlib Figure and touches no global state of matplotlib, which is
imported only when something is drawn.

`oto.plot` is the `door`: `oto.plot.roll(tune)` is the function of that name in the module of that name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from otonoha.music.suggest import one_of

PICTURES = (
    "attention",
    "conductor",
    "grid",
    "label_map",
    "loss",
    "probabilities",
    "roll",
    "spectrogram",
    "sweep",
)


class _Door:
    """Looks a picture's function up when it is asked for; takes a Take where a Score is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name == "save":
            return import_module("otonoha.plots.canvas").save
        if name.startswith("__"):
            raise AttributeError(name)
        draw = getattr(import_module(f"otonoha.plots.{one_of(name, PICTURES, 'plot')}"), name)

        def of_music(music: Any, *args: Any, **options: Any) -> Any:
            return draw(getattr(music, "music", music), *args, **options)

        return of_music

    def __dir__(self) -> list[str]:
        return [*PICTURES, "save"]


door = _Door()
