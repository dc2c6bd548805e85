"""Score to sound by FluidSynth with any SoundFont (pip install pyfluidsynth; the library from the system).

FluidSynth is C and SoundFonts come from anywhere, so it runs in a process of its own with a time limit:
`python -m otonoha.io.fluid FONT RATE IN.npy OUT.npy` takes messages (n, 5) float64, rows of
(seconds, kind, channel, first, second), and leaves samples (2, frames) float32.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from symusic import Score, Track

from otonoha.music.time import seconds

OFF, CONTROL, BEND, PROGRAM, ON = range(5)  # at the same moment, in this order
RATES = (8000, 96000)  # what FluidSynth can do by itself
MAX_SECONDS = 3600.0
TAIL_SECONDS = 2.5
SHORTEST_SECONDS = 0.03
DRUM_CHANNEL = 9
CHANNELS = 256
SUSTAIN = 64
INSTALL = "pip install pyfluidsynth, and apt install libfluidsynth3 (or brew install fluid-synth)"


def render_fluid(score: Score, *, rate: int, soundfont: Path) -> np.ndarray:
    """Samples (2, frames) float32, not yet normalised. Raises ValueError where it cannot be done."""
    font = Path(soundfont).expanduser()
    check(font)
    own_rate = min(max(rate, RATES[0]), RATES[1])
    lines = messages(score)
    if not len(lines):
        return np.zeros((2, rate // 2), np.float32)
    if lines[-1, 0] > MAX_SECONDS:
        raise ValueError(
            f"the score lasts {lines[-1, 0]:,.0f} s; at most {MAX_SECONDS:,.0f} s are rendered at once"
        )
    samples = _in_own_process(font, own_rate, lines)
    if own_rate != rate:
        import soxr

        samples = soxr.resample(samples.T, own_rate, rate).T
    return np.ascontiguousarray(samples, dtype=np.float32)


def check(font: Path) -> None:
    """Raise ValueError when the SoundFont or FluidSynth itself is missing."""
    try:
        with font.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise ValueError(f"SoundFont {font} cannot be read: {error.strerror or error}") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise ValueError(f"{font} is no SoundFont (.sf2 or .sf3)")
    if problem := missing():
        raise ValueError(problem)


def missing() -> str:
    """What hinders the use of FluidSynth, in one line; empty when nothing does."""
    try:
        import fluidsynth
    except (ImportError, OSError) as error:
        return f"a SoundFont needs FluidSynth, which is not installed ({error}): {INSTALL}"
    if not hasattr(fluidsynth, "Synth"):
        return f"the installed package fluidsynth is not pyfluidsynth: {INSTALL}"
    return ""


def messages(score: Score) -> np.ndarray:
    """The score as MIDI messages (n, 5) float64: seconds, kind, channel, two values; in the order of time."""
    tracks = [track for track in score.tracks if len(track.notes)]
    melodic = [channel for channel in range(CHANNELS) if channel % 16 != DRUM_CHANNEL]
    drums = list(range(DRUM_CHANNEL, CHANNELS, 16))
    used = {False: 0, True: 0}
    rows = []
    for track in tracks:
        places = drums if track.is_drum else melodic
        channel = places[used[track.is_drum] % len(places)]
        used[track.is_drum] += 1
        rows.append(_track_messages(score, track, channel))
    if not rows:
        return np.zeros((0, 5))
    lines = np.concatenate(rows)
    return lines[np.lexsort((lines[:, 1], lines[:, 0]))]


def _track_messages(score: Score, track: Track, channel: int) -> np.ndarray:
    notes, controls = track.notes.numpy(), track.controls.numpy()
    pedals, bends = track.pedals.numpy(), track.pitch_bends.numpy()
    start = seconds(score, notes["time"])
    end = np.maximum(
        seconds(score, notes["time"] + np.maximum(0, notes["duration"])), start + SHORTEST_SECONDS
    )
    down, up = pedals["time"], pedals["time"] + pedals["duration"]
    pitch, velocity = np.clip(notes["pitch"], 0, 127), np.clip(notes["velocity"], 0, 127)
    parts = [
        (np.zeros(1), PROGRAM, np.clip(track.program, 0, 127), 0),
        (start, ON, pitch, velocity),
        (end, OFF, pitch, 0),
        (seconds(score, controls["time"]), CONTROL, controls["number"], controls["value"]),
        (seconds(score, down), CONTROL, SUSTAIN, 127),
        (seconds(score, up), CONTROL, SUSTAIN, 0),
        (seconds(score, bends["time"]), BEND, bends["value"], 0),
    ]
    return np.concatenate([_rows(when, kind, channel, a, b) for when, kind, a, b in parts])


def _rows(when, kind: int, channel: int, first, second) -> np.ndarray:
    columns = np.broadcast_arrays(np.asarray(when, dtype=np.float64), kind, channel, first, second)
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _in_own_process(font: Path, rate: int, lines: np.ndarray) -> np.ndarray:
    limit = 60 + lines[-1, 0]
    with tempfile.TemporaryDirectory(prefix="otonoha-") as folder:
        source, target = Path(folder) / "messages.npy", Path(folder) / "samples.npy"
        np.save(source, lines)
        command = [sys.executable, "-m", "otonoha.io.fluid", str(font), str(rate), str(source), str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"FluidSynth with {font.name} took longer than {limit:.0f} s and was stopped"
            ) from None
        if done.returncode or not target.exists():
            said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            raise ValueError(f"FluidSynth could not render with {font.name}: {said}")
        return np.load(target)


def _work(font: str, rate: int, lines: np.ndarray) -> np.ndarray:
    """In the process of its own: load the font, play the messages, return (2, frames) float32."""
    import fluidsynth

    synth = fluidsynth.Synth(gain=0.3, samplerate=float(rate), channels=CHANNELS)
    loaded = synth.sfload(font)
    if loaded < 0:
        raise SystemExit("the file is damaged or no SoundFont")
    send = {
        OFF: lambda channel, pitch, _: synth.noteoff(channel, pitch),
        CONTROL: synth.cc,
        BEND: lambda channel, value, _: synth.pitch_bend(channel, value),
        ON: synth.noteon,
        PROGRAM: lambda channel, program, _: _choose_program(synth, loaded, channel, program),
    }
    pieces, at = [], 0
    for when, kind, channel, first, second in lines:
        frame = round(max(0.0, when) * rate)
        if frame > at:
            pieces.append(_samples(fluidsynth, synth, frame - at))
            at = frame
        send[int(kind)](int(channel), int(first), int(second))
    pieces.append(_samples(fluidsynth, synth, round(TAIL_SECONDS * rate)))
    return np.concatenate(pieces, axis=1)


def _choose_program(synth, font: int, channel: int, program: int) -> None:
    """The program from its bank; a font that lacks it gives its first one instead of nothing."""
    bank = 128 if channel % 16 == DRUM_CHANNEL else 0
    for candidate in ((bank, program), (bank, 0), (0, program), (0, 0)):
        if synth.program_select(channel, font, *candidate) == 0:
            return


def _samples(fluidsynth, synth, frames: int) -> np.ndarray:
    """The next (2, frames) float32: pyfluidsynth itself offers 16 bits only, which clip."""
    write = fluidsynth._fl.fluid_synth_write_float
    pointer, number = ctypes.c_void_p, ctypes.c_int
    write.argtypes = (pointer, number, pointer, number, number, pointer, number, number)
    out = np.zeros((2, frames), np.float32)
    write(synth.synth, frames, out[0].ctypes.data, 0, 1, out[1].ctypes.data, 0, 1)
    return out


if __name__ == "__main__":
    font_path, hertz, in_path, out_path = sys.argv[1:]
    np.save(out_path, _work(font_path, int(hertz), np.load(in_path)))
