"""The vocabulary of the `events` codec: families of tokens in one flat range of numbers.

Axes: V symbols. The numbers depend on the resolution only; styles, which every codec may name as it likes,
come last, so that all others stay where they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from otonoha.music.suggest import one_of
from otonoha.music.theory import pitch_name
from otonoha.tokens.events_instruments import INSTRUMENTS
from otonoha.tokens.place import KEY_SIZE, METRES, key_name, metre_name

QUARTERS = 12
"""The longest bar, in quarter notes."""
NUMBERS, REPEATS, FILLS, LONGEST = 128, 64, 64, 15
LABELS = "ABCDEFGH"
COUNTED = (*range(1, 33), 33, 49, 65, 97, 129)
"""Bars that remain, this one included, by symbol of `Bar` less one: exact to 32, then "so many or more"."""
PACES = ("very slow", "slow", "moderate", "lively", "fast", "very fast")
DENSITIES, REGISTERS, POLYPHONIES = 8, 8, 6
VELOCITIES = (36, 50, 80, 96, 110)
"""pp, p, mf, f, ff, as notation is read; mf is taken for granted."""
VELOCITY_EDGES = (43, 60, 90, 105)
"""The first velocity of each level but the first: what stands between p and f counts as mf."""
MF = VELOCITIES.index(80)
TEMPI = (
    *(20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 63, 66, 69, 72, 76),
    *(80, 84, 88, 92, 96, 100, 104, 108, 112, 116, 120, 126, 132, 138, 144, 152, 160, 168, 176, 184, 192),
    *(200, 208, 216, 224, 232, 240, 252, 264, 276, 288, 304, 320),
)
"""Quarter notes a minute: the numbers of a metronome, carried on at both ends."""
OVER = (1, 2, 4, 8, 16, 32, 64)
"""Denominators of metres that are not in the table of metres."""
SPECIAL = (
    *("Pad", "Begin", "Start", "End", "Ensemble", "Form", "Exact", "Vary", "Cut", "Pickup", "Sep", "EndFill"),
)
PAD, BEGIN, START, END, ENSEMBLE, FORM, EXACT, VARY, CUT, PICKUP, SEP, END_FILL = range(len(SPECIAL))


def _families(resolution: int, styles: int) -> dict[str, tuple[int, int]]:
    """Family -> number of symbols, value of the first one."""
    return {
        "Special": (len(SPECIAL), 0),
        "Num": (NUMBERS, 1),
        "Section": (len(LABELS), 0),
        "Repeat": (REPEATS, 1),
        "Fill": (FILLS, 0),
        "Pace": (len(PACES), 0),
        "Density": (DENSITIES, 0),
        "Register": (REGISTERS, 0),
        "Polyphony": (POLYPHONIES, 0),
        "Key": (KEY_SIZE - 1, 0),
        "Metre": (len(METRES), 0),
        "Over": (len(OVER), 0),
        "Tempo": (len(TEMPI), 0),
        "Bar": (len(COUNTED) + 1, 0),
        "Program": (len(INSTRUMENTS), 0),
        "Pos": (QUARTERS * resolution, 0),
        "Vel": (len(VELOCITIES), 0),
        "Long": (LONGEST, 1),
        "Dur": (4 * resolution, 1),
        "Pitch": (128, 0),
        "Drum": (128, 0),
        "Style": (styles, 0),
    }


@dataclass(frozen=True)
class Layout:
    """Which number means what. `names` are the families in the order of their numbers."""

    resolution: int
    styles: tuple[str, ...] = ()

    @functools.cached_property
    def families(self) -> dict[str, range]:
        """Family -> its numbers."""
        found, first = {}, 0
        for name, (count, _) in _families(self.resolution, len(self.styles)).items():
            found[name] = range(first, first + count)
            first += count
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The families in the order of their numbers."""
        return tuple(self.families)

    @functools.cached_property
    def size(self) -> int:
        """V, the number of symbols."""
        return self.families["Style"].stop

    @functools.cached_property
    def base(self) -> dict[str, int]:
        """Family -> what to add to a value for its number."""
        first = {name: value for name, (_, value) in _families(self.resolution, len(self.styles)).items()}
        return {name: ids.start - first[name] for name, ids in self.families.items()}

    @functools.cached_property
    def kind(self) -> np.ndarray:
        """(V,) number of each symbol's family in `names`."""
        return np.repeat(np.arange(len(self.names), dtype=np.uint8), [len(r) for r in self.families.values()])

    @functools.cached_property
    def value(self) -> np.ndarray:
        """(V,) what each symbol stands for within its family: a MIDI pitch, ticks, an index …"""
        return np.arange(self.size) - np.array([self.base[name] for name in self.names])[self.kind]

    def ids(self, family: str) -> range:
        """The numbers of a family."""
        return self.families[one_of(family, self.families, "family of tokens")]

    def among(self, *families: str) -> np.ndarray:
        """(V,) bool: which symbols belong to one of the families."""
        return np.isin(
            self.kind, [self.names.index(one_of(f, self.names, "family of tokens")) for f in families]
        )

    def id(self, family: str, value: int = 0) -> int:
        """The number of one value: id("Pitch", 60). ValueError outside of the family."""
        number = value + self.base[one_of(family, self.base, "family of tokens")]
        ids = self.families[family]
        if number not in ids:
            low = ids.start - self.base[family]
            raise ValueError(f"{family} holds {low} … {low + len(ids) - 1}, got {value}")
        return number

    def word(self, number: int) -> str:
        """What a symbol is called: "C4", "Bar 3", "Pos 12"."""
        family, value = self.names[self.kind[number]], int(self.value[number])
        word: object
        names: dict[str, Sequence[str]] = {
            "Special": SPECIAL,
            "Pace": PACES,
            "Program": INSTRUMENTS,
            "Style": self.styles,
            "Section": LABELS,
        }
        if family in names:
            word = names[family][value]
        elif family == "Bar":
            word = ("?", *COUNTED)[value]
        else:
            readers: dict[str, Callable[[int], object]] = {
                "Key": key_name,
                "Metre": metre_name,
                "Pitch": pitch_name,
                "Tempo": TEMPI.__getitem__,
                "Over": lambda v: f"/{OVER[v]}",
                "Vel": VELOCITIES.__getitem__,
            }
            word = readers.get(family, str)(value)
        return str(word) if family in ("Special", "Pitch", "Program") else f"{family} {word}"


@functools.cache
def layout_of(resolution: int, styles: tuple[str, ...]) -> Layout:
    """The layout; one object for equal options, since its tables are large."""
    return Layout(resolution, styles)


@functools.cache
def left_symbols() -> np.ndarray:
    """(130,) symbol of `Bar` for so many bars that remain; 0 is unknown, the last holds for all beyond."""
    return np.searchsorted(COUNTED, np.arange(COUNTED[-1] + 1), side="right")


def nearest_tempo(qpm: np.ndarray) -> np.ndarray:
    """Index of the nearest of TEMPI, as ratios go."""
    return np.searchsorted(_TEMPO_EDGES, np.asarray(qpm, np.float64))


_TEMPO_EDGES = np.sqrt(np.array(TEMPI[1:]) * np.array(TEMPI[:-1]))
