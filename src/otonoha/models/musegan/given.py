"""The track that is given, out of whatever score holds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from symusic import Score

from otonoha.tokens.roll import Roll


def track_given(score: Score, codec: Roll, name: str) -> np.ndarray:
    """(N, S, P) states of the track `name` of a score, or of its only track, in whole bars."""
    full = [t for t in score.tracks if len(t.notes)]
    if not full:
        raise ValueError(f"the prompt has no notes; give the track {name!r} of a piece")
    chosen = full if len(full) == 1 else [t for t in full if t.name.strip().lower() == name]
    if len(chosen) != 1:
        return _within(score, codec, name)
    end = max(n.end for n in chosen[0].notes) / score.tpq
    if end < codec.bar:
        raise ValueError(
            f"the given track ends after {end:g} quarter notes, it needs a bar of {codec.metre} at least"
        )
    alone = score.copy()
    track = chosen[0].copy()
    track.name = name
    alone.tracks = [track]
    found = replace(codec, tracks=(name,))
    return found.array(found.encode(alone))[:, 0]


def _within(score: Score, codec: Roll, name: str) -> np.ndarray:
    """The track out of a score of several, sorted by the codec: voices by pitch, bands by instrument."""
    try:
        found = codec.array(codec.encode(score))[:, codec.tracks.index(name)]
    except ValueError as error:
        names = ", ".join(repr(t.name) for t in score.tracks)
        raise ValueError(
            f"the prompt needs a single track, or one named {name!r}; it has {names} ({error})"
        ) from error
    if not found.any():
        raise ValueError(f"the prompt has nothing for the track {name!r}")
    return found
