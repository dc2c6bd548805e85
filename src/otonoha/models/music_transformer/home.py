"""The home key: the network reads and writes every piece as if it stood in C major or A minor.

A piece is not moved for that: its symbols of pitches and keys are read as others, and what the network says of those
others counts for them. Grammar, locked notes and ranges stay as they are, and the network need not learn every chord
twelve times over. Axes: B rows, T symbols, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from otonoha.music.theory import Key, estimate_key
from otonoha.sample.engine import Around, Step
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_shift import pitched
from otonoha.tokens.events_vocab import Layout
from otonoha.tokens.place import UNKNOWN_KEY, transpose_keys

PITCHES = 128
SHIFTS = range(-6, 6)
"""Semitones that a piece can be away from home."""


def shift_of(event: np.ndarray, layout: Layout) -> int | None:
    """Semitones from a piece (T,) to home: by the first key that it states, else by its notes; None without any."""
    keys = layout.value[event[layout.among("Key")[event]]]
    stated = keys[keys < UNKNOWN_KEY].tolist()
    if stated:
        return shift_from(Key.from_index(stated[0]))
    notes = layout.value[pitched(event, layout)]
    return shift_from(estimate_key(np.bincount(notes % 12, minlength=12))) if len(notes) else None


def shift_from(key: Key) -> int:
    """Semitones from a key to C major or A minor, the nearer way."""
    away = -(key.tonic + (3 if key.mode == "minor" else 0)) % 12
    return away if away in SHIFTS else away - 12


def seen_as(layout: Layout, shift: int) -> np.ndarray:
    """(V,) as which symbol the network sees each symbol: one to one, pitches beyond MIDI's range come in again at the
    other end.
    """
    seen = np.arange(layout.size)
    pitches, keys = layout.among("Pitch"), layout.among("Key")
    seen[pitches] = layout.base["Pitch"] + (layout.value[pitches] + shift) % PITCHES
    seen[keys] = layout.base["Key"] + transpose_keys(layout.value[keys], shift)
    return seen


def at_home(tokens: Tokens, codec: Events) -> Tokens:
    """A piece as the network sees it."""
    event = codec.event(tokens)
    return codec.tokens(seen_as(codec.layout, shift_of(event, codec.layout) or 0)[event])


class Homeward(Around):
    """A Step whose network is at home while the piece is elsewhere; each row has its own way home."""

    def __init__(self, step: Step, layout: Layout, shifts: Sequence[int]) -> None:
        super().__init__(step)
        maps = np.stack([seen_as(layout, shift) for shift in shifts])
        self.maps = torch.from_numpy(maps).to(step.device)

    def prefill(self, state: Any, streams: Mapping[str, Tensor]) -> Any:
        """Take in a whole prompt, streams (B, T), in one pass."""
        return super().prefill(state, {**streams, "event": self.maps.gather(1, streams["event"])})

    def logits(self, state: Any, k: int, drawn: Sequence[Tensor]) -> Tensor:
        """(B, V) for the symbol of this position, which is the only one."""
        return super().logits(state, k, drawn).gather(1, self.maps)

    def advance(self, state: Any, drawn: Sequence[Tensor]) -> Any:
        """Take note of the symbols (B,) that were drawn."""
        return super().advance(state, [self.maps.gather(1, d.long()[:, None])[:, 0] for d in drawn])
