"""How fast a score becomes sound, and how the built-in timbres compare with a SoundFont's.

    python benchmarks/render_speed.py                       table render_speed (one core)
    python benchmarks/render_speed.py --soundfont FONT.sf2  beside FluidSynth; also table render_timbres

The score is a chorale of four voices made by rule (32 bars, quarters and eighths, a key to each bar).
Sound is stereo at 44.1 kHz with reverberation; each figure is the best of several runs, taken by turns.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is loaded

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from symusic import Note, Score, Tempo, Track

sys.path.insert(0, str(Path(__file__).parent))
from _table import show
from otonoha.io.programs import FAMILIES
from otonoha.io.render import choose, render

ENSEMBLES = {
    "piano": (0, 0, 0, 0),
    "church organ": (19, 19, 19, 19),
    "string quartet": (40, 40, 41, 42),
    "string ensemble": (48, 48, 48, 48),
    "choir": (52, 52, 52, 52),
    "brass": (56, 56, 60, 57),
    "winds": (73, 68, 71, 70),
    "pads": (88, 88, 88, 88),
}
CHORDS = (
    (60, 64, 67, 72),
    (57, 60, 65, 69),
    (59, 62, 67, 74),
    (57, 64, 69, 72),
    (53, 60, 65, 69),
    (55, 62, 71, 74),
)
FAMILY_PROGRAMS = (0, 11, 16, 25, 33, 40, 48, 56, 65, 73, 81, 89, 98, 104, 114, 122)
RATE = 44100


def chorale(programs: tuple[int, ...], bars: int = 32) -> Score:
    """Four voices, a chord to each quarter, now and then eighths; the key changes with the bar."""
    score = Score(480)
    score.tempos.append(Tempo(0, qpm=84))
    rng = np.random.default_rng(0)
    steps, keys = rng.integers(len(CHORDS), size=bars * 4), rng.integers(-4, 4, size=bars)
    for voice, program in enumerate(programs):
        track = Track(f"voice {voice + 1}", program, False)
        for beat, chord in enumerate(steps):
            pitch = int(CHORDS[chord][3 - voice] + keys[beat // 4]) - (12 if voice == 3 else 0)
            halves = 2 if (beat + voice) % 4 == 1 else 1
            for half in range(halves):
                length = 480 // halves
                track.notes.append(
                    Note(beat * 480 + half * length, length, pitch + 2 * half, 70 + beat % 4 * 6)
                )
        score.tracks.append(track)
    return score


def speed_rows(soundfont: Path | None, repeats: int) -> list[dict]:
    """Times real time of every ensemble, by the built-in synthesiser and by FluidSynth."""
    rows = []
    for name, programs in ENSEMBLES.items():
        score = chorale(programs)
        best: dict[str, float] = {}
        for _ in range(repeats):
            for font in (None, soundfont) if soundfont else (None,):
                start = time.perf_counter()
                audio = render(score, rate=RATE, soundfont=font)
                taken = time.perf_counter() - start
                best[choose(font)] = min(taken, best.get(choose(font), np.inf))
        row = {"name": name, "notes": score.note_num(), "seconds of sound": round(audio.seconds, 1)}
        rows.append(row | {f"× real time, {who}": audio.seconds / taken for who, taken in best.items()})
    return rows


def timbre_rows(soundfont: Path) -> list[dict]:
    """Attack, brightness, decay and release of one note of each family: ours / FluidSynth's."""
    rows = []
    for family, program in zip(FAMILIES, FAMILY_PROGRAMS):
        pitch = 36 if family == "bass" else 60
        pair = [
            describe(render(one_note(program, pitch), soundfont=font).samples) for font in (None, soundfont)
        ]
        cells = {key: f"{pair[0][key]:.0f} / {pair[1][key]:.0f}" for key in pair[0]}
        rows.append({"name": family, "program": program} | cells)
    return rows


def one_note(program: int, pitch: int) -> Score:
    """One second of one pitch."""
    score = Score(480)
    score.tempos.append(Tempo(0, qpm=60))
    track = Track("", program, False)
    track.notes.append(Note(0, 480, pitch, 90))
    score.tracks.append(track)
    return score


def describe(samples: np.ndarray) -> dict[str, float]:
    """What is measured of a note that is held for a second."""
    mono = samples.mean(axis=0)
    hop = RATE // 200
    blocks = np.pad(mono, (0, 4 * RATE))[: 800 * hop].reshape(-1, hop)
    level = np.sqrt(np.convolve((blocks**2).mean(axis=1), np.ones(4) / 4, "same")) + 1e-9
    spectrum = np.abs(np.fft.rfft(mono[: RATE // 2]))
    hertz = np.fft.rfftfreq(RATE // 2, 1 / RATE)
    after = level[200:] < level[196] * 0.1
    return {
        "attack, ms": 5.0 * (np.argmax(level > 0.9 * level.max()) - np.argmax(level > 0.1 * level.max())),
        "centroid, Hz": float(np.average(hertz, weights=spectrum)),
        "level after 0.5 s, dB": 20 * np.log10(level[100] / level.max()),
        "level after 0.95 s, dB": 20 * np.log10(level[190] / level.max()),
        "release by 20 dB, ms": 5.0 * np.argmax(after),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--soundfont", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    given = f" --soundfont {asked.soundfont.name}" if asked.soundfont else ""
    show(
        "render_speed",
        speed_rows(asked.soundfont, asked.repeats),
        f"python benchmarks/render_speed.py{given}",
    )
    if asked.soundfont:
        show("render_timbres", timbre_rows(asked.soundfont), f"python benchmarks/render_speed.py{given}")
