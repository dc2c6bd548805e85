"""Is the music still there? Onsets and harmony of a recording, and of what a codec made of it.

Both ask what the ear follows rather than the waveform. Onsets are peaks in the rise of mel levels
(`music.spectra.onset_strength`), found with the same rule and on the same scale in both sounds; two onsets agree
when they lie within 50 ms and no onset agrees twice (mir_eval's definition). Harmony is compared frame by frame:
the cosine of the twelve pitch classes' magnitudes, averaged over the frames that sound in the reference.
Stereo is mixed down. What may be compared, and what is refused, says `metrics.sound`.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from otonoha.metrics.sound import paired
from otonoha.music.audio import Audio
from otonoha.music.spectra import chroma, onset_hop, onset_levels, onset_strength

TOLERANCE = 0.05
"""Seconds by which two onsets may differ."""
RISE = 1.5
"""dB by which an onset stands out of its surroundings."""
SOUNDING = 1e-5
"""A frame sounds when its power is within 50 dB of the loudest frame's."""
FAINT = 1e-4
"""A loudest mel magnitude below this is no music (about -100 dB): no onsets."""


def onset_f1(reference: Audio, estimate: Audio, *, tolerance: float = TOLERANCE) -> float:
    """F1 of the estimate's onsets against the reference's; 1.0 when neither has any."""
    a, b = (s.mean(axis=0) for s in paired(reference, estimate))
    own, other = (float(onset_levels(s, reference.rate).max()) for s in (a, b))
    loudest = own if own >= FAINT else other  # the reference sets the scale, unless it is silent
    return match_f1(*(onsets(s, reference.rate, loudest=loudest) for s in (a, b)), tolerance=tolerance)


def onsets(samples: np.ndarray, rate: int, *, loudest: float | None = None) -> np.ndarray:
    """(T,) -> times of the onsets in seconds, to about 10 ms.

    An onset is the highest point within 30 ms on either side of the rise of mel levels, 1.5 dB above the mean of the
    100 ms on either side.
    """
    if loudest is not None and loudest < FAINT:
        return np.zeros(0)
    rise = onset_strength(samples, rate, loudest=loudest)
    near = uniform_filter1d(rise, 21, mode="constant")
    peak = (rise == maximum_filter1d(rise, 7, mode="constant")) & (rise > near + RISE)
    at = np.flatnonzero(peak)
    at = at[np.diff(at, prepend=-9) > 3]  # equal neighbours are one onset
    return at * (onset_hop(rate) / rate)


def match_f1(wanted: np.ndarray, found: np.ndarray, *, tolerance: float = TOLERANCE) -> float:
    """F1 of ascending times in seconds: the most pairs within the tolerance, none used twice; 1.0 of two empties."""
    if not len(wanted) and not len(found):
        return 1.0
    hits = i = j = 0
    while i < len(wanted) and j < len(found):  # in order, the earliest partner is never a worse one
        if abs(wanted[i] - found[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif wanted[i] < found[j]:
            i += 1
        else:
            j += 1
    return 2 * hits / (len(wanted) + len(found))


def chroma_similarity(reference: Audio, estimate: Audio) -> float:
    """Mean cosine of the pitch classes' magnitudes over the frames that sound in the reference, from 0 to 1.

    A frame that is silent in the estimate counts 0. A reference that is silent throughout is like silence (1.0)
    and unlike anything else (0.0).
    """
    a, b = (np.sqrt(chroma(s.mean(axis=0), reference.rate)) for s in paired(reference, estimate))
    power = np.square(a).sum(axis=0)
    sounds = power > SOUNDING * power.max()
    if not sounds.any():
        return float(not b.any())
    dot, norms = (a * b).sum(axis=0), np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return float(np.clip(np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)[sounds].mean(), 0, 1))
