"""All figures of a codec at once: distances from `sound` and `sound_events`, means over clips, and how long it takes.

A recording is cut into clips of ten seconds (DAC's evaluation does so) and every figure is the mean over clips; clips
in which the reference is silent are left out, as a ratio to nothing says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otonoha.metrics import sound
from otonoha.metrics.sound_events import chroma_similarity, onset_f1
from otonoha.music.audio import Audio

CLIP = 10.0
"""Seconds of a clip."""
SHORTEST = 1.0
"""Seconds below which what is left at the end of a recording is no clip of its own."""


def compare(reference: Audio, estimate: Audio) -> dict[str, float]:
    """Every figure of one clip; what they mean is said in `metrics.sound` and `metrics.sound_events`."""
    mel, stft = sound.mel_and_stft(reference, estimate)
    return {
        "mel": mel,
        "stft": stft,
        "si_sdr": sound.si_sdr(reference, estimate),
        "convergence": sound.spectral_convergence(reference, estimate),
        "onset_f1": onset_f1(reference, estimate),
        "chroma": chroma_similarity(reference, estimate),
        "level": sound.level_error(reference, estimate),
        **_bands(reference, estimate),
        "bandwidth": sound.kept_bandwidth(reference, estimate),
    }


def _bands(reference: Audio, estimate: Audio) -> dict[str, float]:
    """The level error of each band under its name, such as `band_250`, the band from 250 Hz on."""
    levels = sound.band_levels(reference, estimate)
    return {f"band_{edge:g}": float(level) for edge, level in zip(sound.BANDS, levels)}


def clips(reference: Audio, estimate: Audio, *, seconds: float = CLIP) -> Iterator[tuple[Audio, Audio]]:
    """Both sounds cut at the same places; silent clips of the reference and short remains are left out."""
    a, b = sound.paired(reference, estimate)
    rate, step = reference.rate, max(round(seconds * reference.rate), 1)
    for at in range(0, a.shape[1], step):
        piece = a[:, at : at + step]
        long_enough = piece.shape[1] >= min(SHORTEST * rate, a.shape[1])
        if long_enough and np.abs(piece).max() >= sound.SILENT:
            yield Audio(piece, rate), Audio(b[:, at : at + step], rate)


def report(pairs: Iterable[tuple[Audio, Audio]], *, seconds: float = CLIP) -> dict[str, float]:
    """The mean of every figure over the clips of (reference, estimate) recordings, and `clips`, their number.

    Raises ValueError when there is nothing to compare.
    """
    return means([compare(x, y) for pair in pairs for x, y in clips(*pair, seconds=seconds)])


def means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """`clips`, their number, and the mean of every figure over them. Raises ValueError where there are none."""
    if not found:
        raise ValueError("there is nothing to compare: no recording, or silence only")
    return {"clips": float(len(found)), **{key: float(np.mean([f[key] for f in found])) for key in found[0]}}


@dataclass(frozen=True)
class Spent:
    """What a task took, in seconds."""

    wall: float
    core: float
    """CPU time of this process, all threads together: what a busy machine leaves alone."""


def interleaved(tasks: Mapping[str, Callable[[], object]], *, rounds: int = 3) -> dict[str, Spent]:
    """The least that each task took in some rounds in which all take turns: so a busy moment strikes them alike.

    `seconds of sound / wall` is the real-time factor: 40 means that a minute takes one and a half seconds.
    """
    best = dict.fromkeys(tasks, Spent(float("inf"), float("inf")))
    for _ in range(rounds):
        for name, task in tasks.items():
            wall, core = time.perf_counter(), time.process_time()
            task()
            spent = time.perf_counter() - wall, time.process_time() - core
            best[name] = Spent(min(best[name].wall, spent[0]), min(best[name].core, spent[1]))
    return best
