"""Speech made into song: every vowel on its note, at its pitch, for its length.

Axes: P phones, F frames of 5 ms, K bins of a spectrum. The vowel of a syllable begins with its note and consonants
come before it, as singers do it; they keep their natural length where there is room. The speech is taken apart by
WORLD (Morise, Yokomori & Ozawa 2016; `pip install 'otonoha[singing]'`) into pitch, spectral envelope and noisiness,
these are stretched, and put together at the pitch of the notes: a glide into each note, and a vibrato of a few cents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otonoha.data.sung_fit import Group, Tone
from otonoha.io.speech import Phone, Speech

STEP = 0.005
CONSONANTS = 0.55
"""The part of the time from vowel to vowel that consonants may take."""
EDGE = 0.04
"""Seconds at both ends of a vowel that are not stretched."""
GLIDE = 0.06
HANG = 0.04
"""Seconds that a vowel sounds on into a rest."""
VIBRATO, DRIFT = (6.0, 13.0), 3.0
"""Cents: what stays well within 20 of the score."""
RAMP_IN, RAMP_OUT = 1, 3
"""Frames of a fade before and behind what sounds."""
LOWEST, HIGHEST = 50.0, 500.0
INSTALL = "pip install 'otonoha[singing]'"


def missing() -> str:
    """What hinders singing, in one line; empty when nothing does."""
    try:
        import pyworld  # noqa: F401
    except ImportError as error:
        return f"singing needs pyworld, which is not installed ({error}): {INSTALL}"
    return ""


@dataclass(frozen=True, eq=False)
class Song:
    """A phrase that was sung: samples (frames,) from `start` seconds on, and (P, 2) when each phone sounds."""

    samples: np.ndarray
    start: float
    spans: np.ndarray


def sing(speech: Speech, groups: Sequence[Group], *, free: float, rng: np.random.Generator) -> Song:
    """Sing the vowels of a speech to as many groups of notes; nothing sounds before `free` seconds."""
    spans = schedule(speech.phones, groups, free)
    start = max(spans[0, 0] - RAMP_OUT * STEP, 0.0)
    at = start + STEP * np.arange(int(np.ceil((spans[-1, 1] + 2 * RAMP_OUT * STEP - start) / STEP)) + 1)
    source = source_times(speech.phones, spans, at)
    f0, envelope, noise = _taken_apart(speech)
    voiced = f0[np.clip(np.rint(source / STEP).astype(int), 0, len(f0) - 1)] > 0
    pitch = np.where(voiced, contour([t for g in groups for t in g], at, rng), 0.0)
    loud = _gain(spans, at)
    stretched = np.exp(_between(np.log(envelope), source)) * (loud**2)[:, None]
    return Song(_put_together(pitch, stretched, _between(noise, source), speech.rate), start, spans)


# -- when -------------------------------------------------------------------------------------------------


def schedule(phones: Sequence[Phone], groups: Sequence[Group], free: float) -> np.ndarray:
    """(P, 2) when each phone sounds. The vowels begin with their groups; see the head of the file."""
    vowels = [i for i, phone in enumerate(phones) if phone.is_vowel]
    if len(vowels) != len(groups) or not vowels:
        raise ValueError(f"{len(vowels)} vowels cannot be sung to {len(groups)} groups of notes")
    length = np.array([phone.end - phone.start for phone in phones])
    spans = np.zeros((len(phones), 2))
    first, last = groups[0][0].onset, groups[-1][-1].end
    lead = min(float(length[: vowels[0]].sum()), max(first - free, 0.0))
    _lay(spans, length, range(vowels[0]), first - lead, first)
    for number, vowel in enumerate(vowels):
        begin, end = groups[number][0].onset, groups[number][-1].end
        final = number + 1 == len(vowels)
        until = last if final else groups[number + 1][0].onset
        behind = range(vowel + 1, len(phones) if final else vowels[number + 1])
        taken = min(float(length[list(behind)].sum()), CONSONANTS * (until - begin))
        spans[vowel] = begin, min(until - taken, end + HANG)
        _lay(spans, length, behind, until - taken, until)
    return spans


def _lay(spans: np.ndarray, length: np.ndarray, which: range, begin: float, end: float) -> None:
    """Phones one after the other from begin to end, in proportion to their lengths."""
    edges = np.concatenate([[0.0], np.cumsum(length[list(which)])])
    if len(edges) > 1:
        edges = begin + edges / edges[-1] * (end - begin)
        spans[list(which)] = np.stack([edges[:-1], edges[1:]], axis=1)


def source_times(phones: Sequence[Phone], spans: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(F,) the time of the speech heard at each time of the song. The middle of a vowel is what is drawn out."""
    to, source = [], []
    for phone, (begin, end) in zip(phones, spans.tolist()):
        to.append(begin)
        source.append(phone.start)
        edge = min(EDGE, 0.3 * (phone.end - phone.start))
        if phone.is_vowel and end - begin > phone.end - phone.start:
            to += [begin + edge, end - edge]
            source += [phone.start + edge, phone.end - edge]
        to.append(end)
        source.append(phone.end)
    return np.interp(at, to, source)


def contour(tones: Sequence[Tone], at: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F,) the pitch in Hz: each note's own, reached by a glide that ends with its onset, and a little vibrato."""
    onset = np.array([tone.onset for tone in tones])
    pitch = np.array([tone.pitch for tone in tones], np.float64)
    place = np.clip(np.searchsorted(onset, at + 1e-9, side="right") - 1, 0, None)
    following = np.minimum(place + 1, len(tones) - 1)
    glide = np.minimum(GLIDE, 0.4 * np.array([tone.seconds for tone in tones]))[place]
    part = np.clip((at - onset[following]) / glide + 1, 0, 1) * (following > place)
    value = pitch[place] + (pitch[following] - pitch[place]) * (0.5 - 0.5 * np.cos(np.pi * part))
    since = at - onset[place]
    depth = rng.uniform(*VIBRATO) * np.clip((since - 0.2) / 0.3, 0, 1)
    cents = depth * np.sin(2 * np.pi * rng.uniform(4.8, 6.2) * since)
    cents = cents + DRIFT * np.sin(2 * np.pi * (rng.uniform(0.3, 0.9) * at + rng.uniform()))
    return 440.0 * 2 ** ((value - 69 + cents / 100) / 12)


def _gain(spans: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(F,) 1 where a phone sounds, 0 in rests, with short ramps outside of them."""
    sounding = np.zeros(len(at))
    for begin, end in spans.tolist():
        outside = np.maximum((begin - at) / RAMP_IN, (at - end) / RAMP_OUT) / STEP
        sounding = np.maximum(sounding, np.clip(1 - outside, 0, 1))
    return np.maximum(sounding, 1e-4)


# -- the sound --------------------------------------------------------------------------------------------


def _taken_apart(speech: Speech) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch (F,), spectral envelope (F, K) and noisiness (F, K) of the speech; vowels are voiced throughout."""
    import pyworld

    samples = speech.samples.astype(np.float64)
    f0, times = pyworld.dio(samples, speech.rate, f0_floor=LOWEST, f0_ceil=HIGHEST, frame_period=1000 * STEP)
    f0 = pyworld.stonemask(samples, f0, times, speech.rate)
    usual = float(np.median(f0[f0 > 0])) if (f0 > 0).any() else 120.0
    f0 = np.where(
        np.abs(np.log2(np.maximum(f0, 1) / usual)) < 0.3, f0, 0.0
    )  # on one level pitch, or not at all
    for phone in speech.phones:
        if phone.is_vowel:
            inside = (times >= phone.start) & (times < phone.end) & (f0 == 0)
            f0[inside] = usual
    envelope = pyworld.cheaptrick(samples, f0, times, speech.rate)
    return f0, np.maximum(envelope, 1e-16), pyworld.d4c(samples, f0, times, speech.rate)


def _between(frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Frames (F, K) at any times, by lines from one to the next."""
    place = np.clip(times / STEP, 0, len(frames) - 1)
    low = np.minimum(place.astype(int), max(len(frames) - 2, 0))
    part = (place - low)[:, None]
    return frames[low] * (1 - part) + frames[np.minimum(low + 1, len(frames) - 1)] * part


def _put_together(pitch: np.ndarray, envelope: np.ndarray, noise: np.ndarray, rate: int) -> np.ndarray:
    import pyworld

    noise = np.clip(noise, 0.0, 1.0)
    return pyworld.synthesize(
        np.ascontiguousarray(pitch),
        np.ascontiguousarray(envelope),
        np.ascontiguousarray(noise),
        rate,
        1000 * STEP,
    )
