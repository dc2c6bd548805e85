"""Keys, scales and pitch names. Pitches are MIDI numbers (60 = C4), pitch classes 0-11 (0 = C).

Key finding is Krumhansl and Kessler's: correlation with their probe-tone profiles (Krumhansl,
"Cognitive Foundations of Musical Pitch", 1990, ch. 2 and 4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from otonoha.music.suggest import one_of

SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MAJOR_TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_TONICS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
MODES = {
    "": "major",
    "major": "major",
    "maj": "major",
    "M": "major",
    "minor": "minor",
    "min": "minor",
    "m": "minor",
}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "##": 2, "x": 2, "b": -1, "♭": -1, "bb": -2, "-": -1}
_KK_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_KK_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


@dataclass(frozen=True, order=True)
class Key:
    """A key: `tonic` pitch class 0-11 and `mode` "major" or "minor"."""

    tonic: int
    mode: str = "major"

    def __post_init__(self) -> None:
        if not 0 <= self.tonic <= 11:
            raise ValueError(f"tonic must be a pitch class 0-11, got {self.tonic}")
        one_of(self.mode, ("major", "minor"), "mode")

    def __str__(self) -> str:
        names = MAJOR_TONICS if self.mode == "major" else MINOR_TONICS
        return f"{names[self.tonic]} {self.mode}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """'F# minor', 'f#' (a small letter alone means minor), 'Bb', 'Am', 'E♭ major'."""
        match = re.fullmatch(r"\s*([A-Ga-g])(##|bb|[#♯b♭x-]?)\s*(major|minor|maj|min|M|m|)\s*", text)
        if not match:
            raise ValueError(f"cannot read key {text!r}; write it like 'F# minor', 'f#' or 'Bb'")
        letter, accidental, word = match.groups()
        mode = "minor" if letter.islower() and not word else MODES[word]
        return cls((LETTERS[letter.upper()] + _ACCIDENTALS[accidental]) % 12, mode)

    @property
    def index(self) -> int:
        """0-11 for the major keys from C, 12-23 for the minor keys."""
        return self.tonic + (12 if self.mode == "minor" else 0)

    @classmethod
    def from_index(cls, index: int) -> Key:
        """The inverse of `index`."""
        if not 0 <= index <= 23:
            raise ValueError(f"key index must be 0-23, got {index}")
        return cls(index % 12, "minor" if index >= 12 else "major")

    @classmethod
    def from_signature(cls, sharps: int, minor: bool = False) -> Key:
        """The key of a signature: number of sharps, negative for flats."""
        return cls((7 * sharps + (9 if minor else 0)) % 12, "minor" if minor else "major")

    def signature(self) -> int:
        """Number of sharps (negative: flats), from -5 to 6."""
        relative_major = (self.tonic + (3 if self.mode == "minor" else 0)) % 12
        return (7 * relative_major + 5) % 12 - 5

    @property
    def scale(self) -> tuple[int, ...]:
        """Pitch classes of the scale (natural minor), from the tonic upwards."""
        return tuple((self.tonic + step) % 12 for step in SCALES[self.mode])

    def transpose(self, semitones: int) -> Key:
        """The same mode, so many semitones higher."""
        return Key((self.tonic + semitones) % 12, self.mode)


def in_key_share(pitches: np.ndarray, key: Key) -> float:
    """Share of pitches that belong to the key's scale; in minor the raised sixth and seventh count too.

    NaN for no pitches.
    """
    allowed = np.zeros(12, bool)
    allowed[list(key.scale)] = True
    if key.mode == "minor":
        allowed[[(key.tonic + 9) % 12, (key.tonic + 11) % 12]] = True
    pitches = np.asarray(pitches, np.int64)
    return float(allowed[pitches % 12].mean()) if len(pitches) else float("nan")


def estimate_key(histogram: np.ndarray, among: Sequence[Key] | None = None) -> Key:
    """The key (of all, or of those given) whose Krumhansl-Kessler profile correlates best with a
    pitch-class histogram (12,).

    Weigh the histogram by durations for best results. An even or empty histogram gives the first key.
    """
    counts = np.asarray(histogram, np.float64)
    if counts.shape != (12,):
        raise ValueError(f"a pitch-class histogram has 12 entries, got shape {counts.shape}")
    keys = [Key.from_index(i) for i in range(24)] if among is None else list(among)
    scores = _profiles()[[k.index for k in keys]] @ (counts - counts.mean())
    return keys[int(scores.argmax())]


@cache
def _profiles() -> np.ndarray:
    """(24, 12): the profiles of all keys, centred and of unit length."""
    profiles = np.stack([np.roll(p, k) for p in (_KK_MAJOR, _KK_MINOR) for k in range(12)])
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def pitch_name(pitch: int, *, flats: bool = False) -> str:
    """60 -> 'C4', 61 -> 'C#4' or 'Db4'."""
    return f"{(FLAT_NAMES if flats else SHARP_NAMES)[int(pitch) % 12]}{int(pitch) // 12 - 1}"


def parse_pitch(text: str) -> int:
    """'C4' -> 60, 'Bb3' -> 58, 'f#5' -> 78; a MIDI number in digits is taken as it is."""
    if text.strip().isdigit():
        pitch = int(text)
    else:
        match = re.fullmatch(r"\s*([A-Ga-g])(##|bb|[#♯b♭x]?)(-?\d{1,2})\s*", text)
        if not match:
            raise ValueError(f"cannot read pitch {text!r}; write it like 'C4', 'Bb3' or 60")
        letter, accidental, octave = match.groups()
        pitch = 12 * (int(octave) + 1) + LETTERS[letter.upper()] + _ACCIDENTALS[accidental]
    if not 0 <= pitch <= 127:
        raise ValueError(f"pitch {text!r} is {pitch}, outside of MIDI's 0-127")
    return pitch


def spell(pitch: int, sharps: int = 0) -> tuple[str, int, int]:
    """Letter, alteration and octave of a pitch as a key signature of `sharps` suggests it.

    The spelling is the one nearest on the line of fifths to the middle of the key's scale.
    """
    centre = sharps + 2  # the line of fifths has F = -1, C = 0, G = 1, …; a scale spans sharps-1 … sharps+5
    fifths = 7 * pitch % 12
    fifths += 12 * round((centre - fifths) / 12)
    letter = "FCGDAEB"[(fifths + 1) % 7]
    alter = (fifths + 1) // 7
    return letter, alter, (int(pitch) - alter) // 12 - 1
