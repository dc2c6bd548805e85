"""Hand-made music for the tests of metrics."""

import numpy as np
from symusic import Score, TimeSignature

from otonoha.music.score import track_of, with_marker

TPQ = 24


def tune(pitches, quarters, *, gaps=None, metre=(4, 4), pickup=None, fermatas=()):
    """A melody from pitches and durations in quarters (one for all, or a list); `gaps`: rests after notes."""
    pitches = np.asarray(pitches, dtype=int)
    durations = np.broadcast_to(np.asarray(quarters, dtype=float), pitches.shape)
    rests = np.zeros(len(pitches)) if gaps is None else np.asarray(gaps, dtype=float)
    onsets = np.concatenate([[0.0], np.cumsum(durations + rests)[:-1]]) if len(pitches) else np.zeros(0)
    score = Score(TPQ)
    score.time_signatures.append(TimeSignature(0, *metre))
    ticks = np.rint(onsets * TPQ).astype(int)
    score.tracks.append(track_of(ticks, np.rint(durations * TPQ).astype(int), pitches))
    if pickup:
        score = with_marker(score, "pickup", pickup)
    for note in fermatas:
        score = with_marker(score, "fermata", "0", int(ticks[note]))
    return score


EMPTY = tune([], 1)
ONE = tune([60], 1)
SCALE = tune([60, 62, 64, 65, 67, 69, 71, 72], 1)
