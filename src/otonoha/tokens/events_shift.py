"""Whole-piece changes of symbols of the `events` codec: another key, another header."""

from __future__ import annotations

import numpy as np

from otonoha.tokens.events_header import REGISTER_EDGES, Header, class_of, header_tokens
from otonoha.tokens.events_read import body_of, cells_of, families, tracks_of
from otonoha.tokens.events_repeats import expand
from otonoha.tokens.events_vocab import Layout
from otonoha.tokens.place import transpose_keys


def pitched(event: np.ndarray, layout: Layout) -> np.ndarray:
    """The symbols of pitches (not drums) among all."""
    return event[layout.kind[event] == families(layout)["Pitch"]]


def transposed(event: np.ndarray, layout: Layout, semitones: int) -> np.ndarray:
    """All pitches and keys so many semitones higher. ValueError outside of MIDI's range."""
    number = families(layout)
    kind, value = layout.kind[event], layout.value[event]
    result = event.copy()
    notes = kind == number["Pitch"]
    if notes.any():
        low, high = int(value[notes].min()) + semitones, int(value[notes].max()) + semitones
        if low < 0 or high > 127:
            raise ValueError(f"transposed by {semitones} semitones, the piece leaves MIDI's range 0-127")
        result[notes] += semitones
    keys = kind == number["Key"]
    result[keys] = layout.base["Key"] + transpose_keys(value[keys], semitones)
    register = np.flatnonzero(kind == number["Register"])
    if len(register) and notes.any():
        heard = layout.value[pitched(expand(event, layout)[0], layout)] + semitones
        result[register] = layout.base["Register"] + class_of(float(heard.mean()), REGISTER_EDGES)
    return result


def with_header(event: np.ndarray, layout: Layout, header: Header) -> np.ndarray:
    """The same body behind another header; the tracks are declared in the order that they have."""
    begin = body_of(event)
    body = event[begin:]
    tracks = tracks_of(event, layout)
    if tracks is None:
        tracks = cells_of(expand(event, layout)[0][begin:], layout, None)[2]
    return np.append(np.array(header_tokens(layout, header, tracks), np.int32), body)
