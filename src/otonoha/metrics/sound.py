"""How far is a sound from the one it should be? Distances between a recording and what a codec made of it.

Every function takes (reference, estimate): two Audio of the same rate and channels. A codec may pad: lengths that
differ by up to a tenth of a second are cut to the shorter one; anything more, samples that are no numbers, and
sounds without samples are refused (ValueError). Clips shorter than a window are reflected back and forth.

**mel and STFT distance** are those of DAC's published evaluation (Kumar et al. 2023; reference/audio.md), so that
its tables can be put beside ours. For the windows 2048 and 512 with 150 and 80 mel bands from 0 Hz to half the
rate, hop a quarter of the window, periodic Hann window, centred with reflection, magnitudes X and Y (of mel bands:
Slaney's filters applied to magnitudes),

    distance = Σ over windows  mean |log10 max(X, 1e-5)² - log10 max(Y, 1e-5)²|  +  mean |X - Y|

The means go over channels, bins and frames. The square doubles the logarithmic part (a factor of ten in magnitude
counts 2); the second part grows with the level, so sounds are compared as loud as they are. DAC's table was made at
44.1 kHz (and once more at 22.05 kHz): `RATE`.

**Decibels** lie within ±100: equal sounds have an SI-SDR of 100, and so it is said where nothing else can be:
a silent estimate of a sound has an SI-SDR of -100, a silent reference 100 if the estimate is silent, too, else -100.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from otonoha.music.audio import Audio
from otonoha.music.spectra import LOG_FLOOR, blocks, mel_filters, power

RATE = 44_100
SCALES = ((2048, 150), (512, 80))
"""(window, mel bands) of the mel and STFT distance."""
LIMIT = 100.0
"""Decibels lie within ± this."""
SLACK = 0.1
"""Seconds by which the lengths may differ."""
BANDS = (0.0, 250.0, 1000.0, 4000.0, 10_000.0)
"""Lower edges in Hz of the bands of `band_levels`; the last one is open."""
SILENT = 1e-4
"""Peak below which a clip is called silent (-80 dB of full scale)."""


def paired(reference: Audio, estimate: Audio) -> tuple[np.ndarray, np.ndarray]:
    """Both sounds as (channels, frames) of the same shape. Raises ValueError where they cannot be compared."""
    for name, sound in (("reference", reference), ("estimate", estimate)):
        if not sound.samples.size:
            raise ValueError(f"the {name} holds no sound")
        if not np.isfinite(sound.samples).all():
            raise ValueError(f"the {name} has samples that are no numbers (NaN or infinite)")
    for what in ("rate", "channels"):
        wanted, got = getattr(reference, what), getattr(estimate, what)
        if wanted != got:
            raise ValueError(
                f"the reference's {what} is {wanted}, the estimate's {got}; they must be the same"
            )
    a, b = reference.samples, estimate.samples
    if abs(a.shape[1] - b.shape[1]) > SLACK * reference.rate:
        raise ValueError(
            f"the reference lasts {reference.seconds:.3f} s, the estimate {estimate.seconds:.3f} s; "
            f"they may differ by {SLACK:g} s"
        )
    length = min(a.shape[1], b.shape[1])
    return a[:, :length], b[:, :length]


def mel_distance(reference: Audio, estimate: Audio) -> float:
    """DAC's multi-scale mel distance; 0 equal, silence of music about 6-10."""
    return mel_and_stft(reference, estimate)[0]


def stft_distance(reference: Audio, estimate: Audio) -> float:
    """DAC's multi-scale STFT distance."""
    return mel_and_stft(reference, estimate)[1]


def mel_and_stft(reference: Audio, estimate: Audio) -> tuple[float, float]:
    """Both distances for the price of one: (mel, STFT)."""
    a, b = paired(reference, estimate)
    totals = np.zeros(2)
    for size, mels in SCALES:
        filters = mel_filters(reference.rate, size, mels).T
        bands, bins, frames = 0.0, 0.0, 0
        for x, y in _spectra(a, b, size):
            X, Y = np.abs(x), np.abs(y)
            bins += _gap(X, Y)
            bands += _gap(X @ filters, Y @ filters)
            frames += len(x)
        totals += bands / (frames * mels), bins / (frames * (size // 2 + 1))
    return float(totals[0]), float(totals[1])


def _gap(x: np.ndarray, y: np.ndarray) -> float:
    """Σ |log10 max(x, floor)² - log10 max(y, floor)²| + |x - y|."""
    floor = np.float32(LOG_FLOOR)
    ratio = np.log(np.maximum(x, floor) / np.maximum(y, floor))  # one logarithm, and the fast one
    decades = float(np.abs(ratio).sum(dtype=np.float64)) / math.log(10)
    return 2 * decades + float(np.abs(x - y).sum(dtype=np.float64))


def _spectra(
    a: np.ndarray, b: np.ndarray, size: int, hop: int | None = None, window: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Transforms of both, channel after channel, some frames at a time: (frames, bins) each."""
    for one, other in zip(a, b):
        yield from zip(blocks(one, size, hop, window), blocks(other, size, hop, window))


def si_sdr(reference: Audio, estimate: Audio) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), the mean freed of offsets; the mean
    over channels. It asks for the waveform: a decoder that invents phases scores low however good it sounds.
    """
    return float(np.mean([_si_sdr(x, y) for x, y in zip(*paired(reference, estimate))]))


def _si_sdr(x: np.ndarray, y: np.ndarray) -> float:
    flat = [s.min() == s.max() for s in (x, y)]  # silent, or nothing but an offset
    if any(flat):
        return LIMIT if all(flat) else -LIMIT
    x, y = (s.astype(np.float64) - s.mean(dtype=np.float64) for s in (x, y))
    energy = float(x @ x)
    target = (float(x @ y) / energy) * x
    rest = y - target
    return decibels(float(target @ target), float(rest @ rest))


def spectral_convergence(reference: Audio, estimate: Audio) -> float:
    """20 log10(‖|X| - |Y|‖ / ‖X‖) in dB, all channels together: the error of the magnitudes, 0 for silence, lower is
    better. The transform is Jukebox's own for this figure: size 2048, hop 256, window 1536.
    """
    a, b = paired(reference, estimate)
    error = whole = 0.0
    for x, y in _spectra(a, b, 2048, 256, 1536):
        X, Y = np.abs(x), np.abs(y)
        error += float(np.square(X - Y).sum(dtype=np.float64))
        whole += float(np.square(X).sum(dtype=np.float64))
    return decibels(error, whole)


def level_error(reference: Audio, estimate: Audio) -> float:
    """How much louder the estimate is, in dB of its mean power."""
    a, b = (np.square(s, dtype=np.float64).mean() for s in paired(reference, estimate))
    return decibels(float(b), float(a))


def width_error(reference: Audio, estimate: Audio) -> float:
    """How much wider the estimate's stereo is, in dB of side against middle; 0 for anything but two channels."""
    a, b = paired(reference, estimate)
    if len(a) != 2:
        return 0.0
    widths = [
        decibels(*(float(np.square(s, dtype=np.float64).sum()) for s in (x[0] - x[1], x[0] + x[1])))
        for x in (a, b)
    ]
    return float(np.clip(widths[1] - widths[0], -LIMIT, LIMIT))


def band_levels(reference: Audio, estimate: Audio, *, edges: tuple[float, ...] = BANDS) -> np.ndarray:
    """(bands,): how much louder the estimate is in each band, in dB; below 0 in the highest one it sounds dull.

    `edges` are the lower ends in Hz, the last band goes up to half the rate. A band that is silent in both is
    0, as is one that the rate does not reach.
    """
    a, b = paired(reference, estimate)
    x, y = (_band_energies(s, reference.rate, edges) for s in (a, b))
    return np.array([decibels(after, before) for before, after in zip(x, y)])


def _band_energies(samples: np.ndarray, rate: int, edges: tuple[float, ...], size: int = 2048) -> np.ndarray:
    """(bands,) energies; what lies 100 dB below the whole counts as silent."""
    if list(edges) != sorted(set(edges)) or not edges:
        raise ValueError(f"the edges of bands must rise, got {edges}")
    spectrum = long_term_power(samples, size)
    first = np.searchsorted(np.arange(len(spectrum)) * (rate / size), edges)
    energies = np.array([spectrum[a:b].sum() for a, b in zip(first, [*first[1:], None])])
    return np.where(energies < 1e-10 * energies.sum(), 0.0, energies)


def long_term_power(samples: np.ndarray, size: int = 2048) -> np.ndarray:
    """(C, T) -> (bins,) float64: the power spectrum summed over channels and frames."""
    total = np.zeros(size // 2 + 1)
    for channel in samples:
        for block in blocks(channel, size):
            total += power(block).sum(axis=0, dtype=np.float64)
    return total


def kept_bandwidth(reference: Audio, estimate: Audio, *, within: float = 20.0) -> float:
    """Hz up to which the estimate is nowhere more than `within` dB below the reference, in thirds of octaves.

    Bands in which the reference has less than a millionth of its power are passed over: where a recording
    ends, a codec need not go on.
    """
    top = reference.rate / 2
    edges = (0.0, *(100 * 2 ** (np.arange(math.floor(3 * math.log2(max(top / 100, 1.0))) + 1) / 3)))
    a, b = paired(reference, estimate)
    x, y = (_band_energies(s, reference.rate, edges) for s in (a, b))
    lost = (x > 1e-6 * x.sum()) & (y < x * 10 ** (-within / 10))
    return float(edges[int(lost.argmax())] if lost.any() else top)


def decibels(over: float, under: float) -> float:
    """10 log10 of the ratio of two energies, within ±100; 0 where both are nothing."""
    if not over or not under:
        return 0.0 if over == under else math.copysign(LIMIT, over - under)
    return float(np.clip(10 * (math.log10(over) - math.log10(under)), -LIMIT, LIMIT))
