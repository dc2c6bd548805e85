"""otonoha (音の葉, "leaves of sound"): music written as tokens, by models that anyone can train and hear.

>>> import otonoha as oto
>>> tune = oto.load("melody").sample(bars=16, seed=7)
>>> oto.write(tune, "tune.mid"); oto.write(oto.render(tune), "tune.wav"); oto.plot.roll(tune)

Names are looked up when they are used: importing is quick and does not load torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_DOORS = {
    "Audio": "otonoha.music.audio:Audio",
    "Piece": "otonoha.music.piece:Piece",
    "Score": "symusic:Score",
    "Notes": "otonoha.tokens.notes:Notes",
    "Grid": "otonoha.tokens.grid:Grid",
    "Book": "otonoha.tokens.book:Book",
    "Roll": "otonoha.tokens.roll:Roll",
    "Events": "otonoha.tokens.events:Events",
    "LSTMAttention": "otonoha.models.lstm_attention.model:LSTMAttention",
    "MuseGAN": "otonoha.models.musegan.model:MuseGAN",
    "MusicTransformer": "otonoha.models.music_transformer.model:MusicTransformer",
    "VQVAE": "otonoha.models.vqvae.model:VQVAE",
    "Jukebox": "otonoha.models.jukebox.model:Jukebox",
    "JukeboxSystem": "otonoha.models.jukebox.system:JukeboxSystem",
    "Accompany": "otonoha.sample.tasks:Accompany",
    "Answer": "otonoha.sample.tasks:Answer",
    "Compose": "otonoha.sample.tasks:Compose",
    "Continue": "otonoha.sample.tasks:Continue",
    "Harmonise": "otonoha.sample.tasks:Harmonise",
    "Infill": "otonoha.sample.tasks:Infill",
    "Join": "otonoha.sample.tasks:Join",
    "Upsample": "otonoha.sample.tasks:Upsample",
    "Vary": "otonoha.sample.tasks:Vary",
    "corpus": "otonoha.data.corpus:corpus",
    "load": "otonoha.models.pretrained:load",
    "read": "otonoha.io.files:read",
    "write": "otonoha.io.files:write",
    "render": "otonoha.io.render:render",
    "plot": "otonoha.plots:door",
    "metrics": "otonoha.metrics:",
}
"""Public name -> where it lives ("module:" stands for the module itself)."""

__all__ = sorted([*_DOORS, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'otonoha' has no attribute {name!r}")
    module, _, attribute = _DOORS[name].partition(":")
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
