"""Small songs for a band: drums, bass, guitar, piano and strings with General MIDI programs, in 4/4.

Every song follows from its seed: a key, four chords that go round, a groove of its own. Everything lies on the
grid of sixteenths and begins with the first bar.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from symusic import KeySignature, Score, Tempo, TimeSignature

from otonoha.io.files import write
from otonoha.music.tracks import track_of

TPQ = 480
SIXTEENTH = TPQ // 4
PROGRAMS = {"bass": 33, "guitar": 25, "piano": 0, "strings": 48}
KICK, SNARE, HAT = 36, 38, 42
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
ROUNDS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4))
"""Chords as degrees of the scale."""
Notes = list[tuple[int, int, int]]
"""First sixteenth, sixteenths, pitch."""


def band_song(seed: int, *, bars: int = 8, tracks: tuple[str, ...] = (*PROGRAMS, "drums")) -> Score:
    """A song; `tracks` are those that play."""
    rng = np.random.default_rng(seed)
    tonic, chords = int(rng.integers(-5, 7)), ROUNDS[rng.integers(len(ROUNDS))]
    score = Score(TPQ)
    score.tempos.append(Tempo(0, int(rng.integers(80, 150))))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.key_signatures.append(KeySignature(0, (7 * tonic + 5) % 12 - 5, 0))
    for name, notes in _parts(rng, tonic, chords, bars).items():
        if name in tracks:
            begin, length, pitch = np.array(notes, np.int64).T
            # names are those of a user's sequencer: the families tell who plays what
            told = {"name": f"{name} {seed}", "program": PROGRAMS.get(name, 0), "is_drum": name == "drums"}
            score.tracks.append(track_of(begin * SIXTEENTH, length * SIXTEENTH, pitch, **told))
    return score


def _parts(rng: np.random.Generator, tonic: int, chords: tuple[int, ...], bars: int) -> dict[str, Notes]:
    parts: dict[str, Notes] = {name: [] for name in ("drums", *PROGRAMS)}
    walk, hats = rng.choice([4, 8]), int(rng.choice([2, 4]))
    kicks = [0, 8, *rng.choice([3, 6, 10, 14], 2, replace=False).tolist()]
    picking = rng.permutation(4)
    for bar in range(bars):
        at, degree = 16 * bar, chords[bar % len(chords)]
        triad = [tonic + int(MAJOR[(degree + k) % 7]) + 12 * ((degree + k) // 7) for k in (0, 2, 4)]
        parts["drums"] += [(at + s, 1, KICK) for s in kicks] + [(at + s, 1, SNARE) for s in (4, 12)]
        parts["drums"] += [(at + s, 1, HAT) for s in range(0, 16, hats)]
        parts["bass"] += [(at + s, walk, 36 + triad[0]) for s in range(0, 16, walk)]
        parts["piano"] += [(at + s, 4, 60 + p) for s in (0, 4, 8, 12) for p in triad]
        arpeggio = [*triad, triad[0] + 12]
        parts["guitar"] += [(at + 2 * k, 2, 48 + arpeggio[picking[k % 4]]) for k in range(8)]
        parts["strings"].append((at, 16, 72 + triad[int(rng.integers(3))]))
    return parts


def write_band_songs(folder: Path, n: int, **options) -> Path:
    """A user's folder of multi-track MIDI."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(n):
        write(band_song(seed, **options), folder / f"song-{seed:02d}.mid")
    return folder
