"""Instruments of the `events` codec by name: the 128 programs of General MIDI, and drums as number 128."""

from __future__ import annotations

import re

from otonoha.music.suggest import one_of

DRUMS = 128
INSTRUMENTS = (
    *("piano", "bright piano", "electric grand", "honky-tonk piano", "electric piano", "fm piano"),
    *(
        "harpsichord",
        "clavinet",
        "celesta",
        "glockenspiel",
        "music box",
        "vibraphone",
        "marimba",
        "xylophone",
    ),
    *("tubular bells", "dulcimer", "drawbar organ", "percussive organ", "rock organ", "church organ"),
    *("reed organ", "accordion", "harmonica", "bandoneon", "guitar", "steel guitar", "jazz guitar"),
    *("clean guitar", "muted guitar", "overdriven guitar", "distorted guitar", "guitar harmonics"),
    *("acoustic bass", "bass", "picked bass", "fretless bass", "slap bass", "slap bass 2", "synth bass"),
    *(
        "synth bass 2",
        "violin",
        "viola",
        "cello",
        "contrabass",
        "tremolo strings",
        "pizzicato strings",
        "harp",
    ),
    *("timpani", "strings", "slow strings", "synth strings", "synth strings 2", "voice", "voice oohs"),
    *("synth voice", "orchestra hit", "trumpet", "trombone", "tuba", "muted trumpet", "horn", "brass"),
    *("synth brass", "synth brass 2", "soprano sax", "alto sax", "tenor sax", "baritone sax", "oboe"),
    *("english horn", "bassoon", "clarinet", "piccolo", "flute", "recorder", "pan flute", "blown bottle"),
    *("shakuhachi", "whistle", "ocarina", "square lead", "saw lead", "calliope lead", "chiff lead"),
    *("charang lead", "voice lead", "fifths lead", "bass lead", "new age pad", "warm pad", "polysynth pad"),
    *("choir pad", "bowed pad", "metal pad", "halo pad", "sweep pad", "rain", "soundtrack", "crystal"),
    *("atmosphere", "brightness", "goblins", "echoes", "sci-fi", "sitar", "banjo", "shamisen", "koto"),
    *("kalimba", "bagpipe", "fiddle", "shanai", "tinkle bell", "agogo", "steel drums", "woodblock"),
    *("taiko", "melodic tom", "synth drum", "reverse cymbal", "fret noise", "breath noise", "seashore"),
    *("bird", "telephone", "helicopter", "applause", "gunshot", "drums"),
)
"""Name by number."""

ALSO = {"choir": "voice", "singer": "voice", "singing": "voice"}
"""Other words for some of them. General MIDI calls number 52 "choir aahs": it is the program of everybody who sings."""
_NUMBER = {name: i for i, name in enumerate(INSTRUMENTS)} | {
    word: INSTRUMENTS.index(name) for word, name in ALSO.items()
}

COMPASS: dict[str | int, tuple[int, int]] = {
    "piano": (21, 108), "harpsichord": (29, 89), "celesta": (60, 108), "vibraphone": (53, 89), "marimba": (36, 96),
    "xylophone": (65, 108), "church organ": (36, 96), "accordion": (53, 93), "guitar": (40, 88),
    "steel guitar": (40, 88), "acoustic bass": (28, 67), "bass": (28, 67),
    "violin": (55, 103), "viola": (48, 93), "cello": (36, 84), "contrabass": (28, 67), "fiddle": (55, 103),
    "harp": (23, 104), "timpani": (36, 60), "voice": (38, 86),
    "trumpet": (52, 86), "trombone": (34, 77), "tuba": (24, 65), "horn": (31, 77),
    "soprano sax": (56, 88), "alto sax": (49, 81), "tenor sax": (44, 76), "baritone sax": (36, 69),
    "oboe": (58, 93), "english horn": (52, 84), "bassoon": (34, 77), "clarinet": (50, 94), "piccolo": (74, 108),
    "flute": (59, 98), "recorder": (60, 98),
}  # fmt: skip
"""Lowest and highest MIDI pitch, as sounding, of common instruments in good hands; `voice`: of a whole choir."""


def instrument(name: str | int) -> int:
    """ "violin" or 40 -> 40; "drums" -> 128. ValueError for an instrument that nobody knows."""
    if isinstance(name, int):
        if not 0 <= name <= DRUMS:
            raise ValueError(f"instruments are numbers 0 … 127, or {DRUMS} for drums; got {name}")
        return name
    word = re.sub(r"\s+", " ", name.strip().lower())
    if re.fullmatch(r"\d{1,3}", word) and int(word) <= DRUMS:
        return int(word)
    return _NUMBER[one_of(word, _NUMBER, "instrument")]
