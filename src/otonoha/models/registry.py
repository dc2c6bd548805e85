"""The families: names and where they live. Strings only, so that listing them costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from otonoha.music.suggest import one_of

if TYPE_CHECKING:
    from otonoha.models.base import Model

FAMILIES = {
    "lstm_attention": "LSTMAttention",
    "musegan": "MuseGAN",
    "music_transformer": "MusicTransformer",
    "vqvae": "VQVAE",
    "jukebox": "Jukebox",
}
"""Room under otonoha.models -> name of its model class."""

SYSTEMS = {"jukebox_system": "jukebox.system:JukeboxSystem"}
"""Models made of trained ones (`otonoha assemble`): module and class. Their settings lie beside, in …_config."""

EXAMPLES = {"_template": "Template"}
"""Rooms to copy from: they can be built, loaded and tested like any other, but are not listed."""


def family(name: str) -> type[Model]:
    """The model class of a family; imports its room (and torch)."""
    if name in SYSTEMS:
        place, _, kind = SYSTEMS[name].partition(":")
        return getattr(importlib.import_module(f"otonoha.models.{place}"), kind)
    room = name if name in EXAMPLES else one_of(name, FAMILIES, "model family")
    module = importlib.import_module(f"otonoha.models.{room}.model")
    return getattr(module, {**FAMILIES, **EXAMPLES}[room])


def settings_of(name: str) -> tuple[type, type, dict]:
    """(Config, Controls, presets) of a family, without torch."""
    if name in SYSTEMS:
        place = SYSTEMS[name].partition(":")[0]
        module = importlib.import_module(f"otonoha.models.{place}_config")
        return module.Config, module.Controls, {}
    room = name if name in EXAMPLES else one_of(name, FAMILIES, "model family")
    module = importlib.import_module(f"otonoha.models.{room}.config")
    return module.Config, module.Controls, module.PRESETS
