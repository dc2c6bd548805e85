"""Score to sound: the built-in synthesiser, or FluidSynth with a SoundFont.

    render(score)                          Audio, (2, frames) float32 at 44.1 kHz, at a common loudness
    render(score, soundfont="font.sf2")    the same by FluidSynth, when it is installed
    choose(soundfont)                      which of the two, in words

The notes are gathered track by track (tempo map, sustain pedal, volume, pan, pitch bend), each is sounded by
`synth` in its program's timbre (`programs`, `drums`), placed in stereo and sent to a small hall (`master`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from symusic import Score, Track

from otonoha.io.drums import drum
from otonoha.io.master import REVERB_SECONDS, add_reverb, normalise
from otonoha.io.programs import timbre
from otonoha.io.synth import Note, Synth, sounding_seconds
from otonoha.io.timbres import Timbre
from otonoha.music.audio import Audio
from otonoha.music.time import seconds

RATES = (8000, 192000)
MAX_SECONDS = 3600.0
EMPTY_SECONDS = 0.5
SHORTEST_SECONDS = 0.03  # a note of length zero is still heard
TAIL_SECONDS = 0.05
VOLUME, PAN, EXPRESSION = 7, 10, 11
BEND_RANGE = 2.0  # semitones


@dataclass(frozen=True)
class Event:
    """One note in its place: seconds, timbre, loudness (1 is velocity 127), pan −1 … 1."""

    start: float
    note: Note
    timbre: Timbre
    gain: float
    pan: float


def choose(soundfont: str | Path | None = None) -> str:
    """Which synthesiser `render` would use, in words for a report."""
    return f"FluidSynth with {Path(soundfont).name}" if soundfont else "the built-in synthesiser"


def render(score: Score, *, rate: int = 44100, soundfont: str | Path | None = None, seed: int = 0) -> Audio:
    """The score (or a Take's) as sound: (2, frames), peak ≤ 0.98, about −18 dBFS; equal arguments, equal samples.

    Raises ValueError for a rate outside 8–192 kHz, a score longer than an hour, and a SoundFont that cannot
    be used (missing, damaged, FluidSynth not installed).
    """
    score = getattr(score, "music", score)
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate must be {RATES[0]} to {RATES[1]} Hz, got {rate}")
    if soundfont is not None:
        from otonoha.io.fluid import render_fluid

        mix = render_fluid(score, rate=int(rate), soundfont=Path(soundfont))
        return Audio(normalise(mix, int(rate)), int(rate))
    return Audio(_render_built_in(score, int(rate), seed), int(rate))


def _render_built_in(score: Score, rate: int, seed: int) -> np.ndarray:
    alike: dict[tuple[Timbre, Note], list[Event]] = {}
    for event in events(score):
        alike.setdefault((event.timbre, event.note.kind()), []).append(event)
    if not alike:
        return np.zeros((2, int(EMPTY_SECONDS * rate)), np.float32)
    last = max(
        event.start + sounding_seconds(event.timbre, event.note.held) for event in chain(*alike.values())
    )
    dry, wet = int((last + TAIL_SECONDS) * rate), int(REVERB_SECONDS * rate)
    mix, send = np.zeros((2, dry + wet), np.float32), np.zeros(dry, np.float32)
    synth = Synth(rate, seed)
    for (sort, note), some in alike.items():  # each wave is computed once, for the longest of its notes
        wave = synth.open(sort, replace(note, held=max(event.note.held for event in some)))
        for event in some:
            place(mix, send, synth.let_go(wave, sort, event.note.held), round(event.start * rate), event)
    add_reverb(mix, send, rate, seed=seed)
    return normalise(mix, rate)


def place(mix: np.ndarray, send: np.ndarray, wave: np.ndarray, start: int, event: Event) -> None:
    """Add a wave to the mix with equal-power pan, and to what the hall hears."""
    angle = (event.pan + 1) * np.pi / 4
    part = slice(start, start + wave.shape[1])
    for side, share in enumerate((np.cos(angle), np.sin(angle))):
        mix[side, part] += wave[side % len(wave)] * np.float32(event.gain * share)
    heard = wave[0] if len(wave) == 1 else (wave[0] + wave[1]) * np.float32(0.5)
    send[part] += heard * np.float32(event.gain * event.timbre.room)


def events(score: Score) -> Iterator[Event]:
    """All notes of the score with their timbres, track by track."""
    tracks = [track for track in score.tracks if len(track.notes)]
    for index, track in enumerate(tracks):
        spread = 0.0 if len(tracks) == 1 else 0.7 * (index / (len(tracks) - 1) - 0.5)
        yield from _track_events(score, track, spread)


def _track_events(score: Score, track: Track, spread: float) -> Iterator[Event]:
    notes = track.notes.numpy()
    onset = seconds(score, notes["time"])
    end = seconds(score, _pedalled(track, notes["time"] + np.maximum(0, notes["duration"])))
    if end.max(initial=0.0) > MAX_SECONDS:
        raise ValueError(
            f"the score lasts {end.max():,.0f} s; at most {MAX_SECONDS:,.0f} s are rendered at once"
        )
    volume = (
        _control(track, VOLUME, notes["time"], 100)
        / 100
        * _control(track, EXPRESSION, notes["time"], 127)
        / 127
    )
    pan = (_control(track, PAN, notes["time"], -1) - 64) / 63
    bends = _bends(score, track)
    for i in np.lexsort((notes["pitch"], notes["time"])):
        velocity = int(notes["velocity"][i])
        if velocity <= 0:
            continue
        held = max(SHORTEST_SECONDS, float(end[i] - onset[i]))
        pitch = int(notes["pitch"][i])
        sound = drum(pitch) if track.is_drum else timbre(track.program)
        note = Note(60 if track.is_drum else pitch, min(127, velocity), held, bends(onset[i], end[i]))
        side = sound.pan if sound.pan is not None else spread
        gain = 10 ** ((sound.level + sound.dynamics * (note.velocity / 127 - 1)) / 20) * float(volume[i]) ** 2
        yield Event(max(0.0, float(onset[i])), note, sound, gain, side if pan[i] < -1 else float(pan[i]))


def _pedalled(track: Track, end: np.ndarray) -> np.ndarray:
    """Ends in ticks, put off to where the sustain pedal is lifted."""
    if not len(track.pedals):
        return end
    pedals = track.pedals.numpy()
    order = np.argsort(pedals["time"], kind="stable")
    down, up = pedals["time"][order], (pedals["time"] + pedals["duration"])[order]
    at = np.searchsorted(down, end, side="right") - 1
    return np.where(at >= 0, np.maximum(end, up[np.maximum(at, 0)]), end)


def _control(track: Track, number: int, ticks: np.ndarray, default: float) -> np.ndarray:
    """A controller's value at each tick."""
    controls = track.controls.numpy()
    mine = controls["number"] == number
    when, value = controls["time"][mine], controls["value"][mine]
    at = np.searchsorted(when, ticks, side="right")
    return np.concatenate([[default], value]).astype(np.float64)[at]


def _bends(score: Score, track: Track):
    """A function (onset, end) in seconds -> the bend's course within the note, () where there is none."""
    if not len(track.pitch_bends):
        return lambda onset, end: ()
    bends = track.pitch_bends.numpy()
    when = seconds(score, bends["time"])
    semitones = bends["value"] / 8192 * BEND_RANGE

    def course(onset: float, end: float) -> tuple[tuple[float, float], ...]:
        first, last = np.searchsorted(when, [onset, end + 1.0], side="right")
        points = [(0.0, float(semitones[first - 1]) if first else 0.0)]
        points += [(round(float(when[i] - onset), 4), float(semitones[i])) for i in range(first, last)]
        return tuple(points) if any(bend for _, bend in points) else ()

    return course
