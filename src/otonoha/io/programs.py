"""The 128 General MIDI programs: each family's own timbre, and what differs within the family.

`timbre(program)` is the only question asked of this file; drums are in `drums`.
"""

from __future__ import annotations

from dataclasses import replace

from otonoha.io.timbres import (
    BASS,
    BELL,
    BRASS,
    CHOIR,
    CLARINET,
    ENSEMBLE,
    ETHNIC,
    FX,
    GUITAR,
    LEAD,
    NO_TONE,
    ORGAN,
    PAD,
    PERCUSSIVE,
    PIANO,
    PIPE,
    REED,
    SOLO,
    STRINGS,
    Noise,
    Timbre,
    spread,
)

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)

EFFECT = Timbre(voices=NO_TONE, dynamics=30, release=0.3, attack=0.02)
ELECTRIC_PIANO = replace(
    PIANO,
    ratios=(1, 2, 3, 4, 5, 14.2),
    levels=(0, -13, -20, -30, -36, -20),
    decay=4.0,
    tilt=0.4,
    tremolo=0.12,
    tremolo_rate=4.6,
    noises=(Noise(-24, 200, 1500, decay=0.05, touch=10),),
)
HARPSICHORD = replace(
    PIANO,
    slope=2.0,
    pluck=0.1,
    stiffness=8e-5,
    cutoff=9000,
    soft=0.2,
    decay=2.8,
    tilt=0.12,
    dynamics=16,
    release=0.12,
    noises=(Noise(-14, 2000, 7000, decay=0.03),),
)
DISTORTED = replace(
    GUITAR,
    slope=1.6,
    pluck=0.3,
    formants=((700, 6, 300), (2400, 8, 900)),
    cutoff=3600,
    soft=0.3,
    decay=9.0,
    tilt=0.03,
    drift=0.12,
    dynamics=16,
    level=-2,
)
MALLET = replace(
    BELL, decay=0.7, tilt=0.35, release=0.25, noises=(Noise(-14, 400, 3000, decay=0.03, touch=10),)
)
TAIKO = replace(
    PERCUSSIVE,
    ratios=(1, 1.59, 2.14, 2.3, 2.65, 3.16, 3.5),
    levels=(0, -8, -12, -14, -15, -18, -18),
    octave=-1,
    decay=1.0,
    tilt=0.6,
    glide=0.06,
    glide_time=0.05,
    noises=(Noise(-6, 80, 1200, decay=0.08, touch=10),),
)

VARIANTS: dict[int, Timbre] = {
    1: replace(PIANO, cutoff=4800, tilt=0.18),
    2: replace(PIANO, cutoff=4200, slope=4.0, stiffness=2e-4),
    3: replace(PIANO, voices=spread(7, 2)),
    4: ELECTRIC_PIANO,
    5: replace(ELECTRIC_PIANO, ratios=(1, 2, 3, 5, 7, 11), levels=(0, -12, -15, -18, -22, -18), tremolo=0.0),
    6: HARPSICHORD,
    7: replace(HARPSICHORD, pluck=0.22, cutoff=5000, decay=1.8, formants=((900, 6, 300),)),
    8: replace(BELL, ratios=(1, 4.0, 5.9, 10.2), levels=(0, -15, -24, -28), decay=1.8),
    9: replace(BELL, ratios=(1, 2.76, 5.4, 8.93), levels=(0, -14, -17, -24), decay=2.8, octave=0),
    10: replace(BELL, ratios=(1, 2.0, 3.01, 6.2, 9.8), levels=(0, -15, -16, -20, -26), decay=1.6),
    11: replace(BELL, ratios=(1, 3.99, 9.9), levels=(0, -20, -32), decay=4.5, tremolo=0.4, tremolo_rate=5.2),
    12: replace(MALLET, ratios=(1, 3.93, 9.6), levels=(0, -9, -20), decay=0.9, level=2),
    13: replace(MALLET, ratios=(1, 3.0, 6.1, 10.2), levels=(0, -4, -8, -12), decay=0.5, level=3),
    14: replace(
        BELL, ratios=(0.5, 1, 1.5, 2.02, 2.6, 3.3, 4.1), levels=(-12, 0, -5, -4, -9, -12, -15), decay=4
    ),
    15: replace(PIANO, slope=3.5, pluck=0.11, cutoff=6500, decay=2.4, stiffness=1e-4),
    17: replace(
        ORGAN,
        noises=(Noise(-13, 1500, 7000, decay=0.03, touch=2),),
        levels=(-7, 0, -4, -9, 0, -14, -20, -20, -20),
    ),
    18: replace(ORGAN, levels=(-3, 0, -5, -2, -4, -4, -8, -8, -6), tremolo=0.25, drift=0.1),
    19: replace(
        ORGAN,
        ratios=(0.5, 1, 2, 3, 4, 6, 8, 12, 16),
        levels=(-8, 0, -2, -8, -5, -12, -9, -16, -17),
        tremolo=0.0,
        attack=0.035,
        release=0.25,
        voices=spread(2.5, 3),
        room=2.2,
    ),
    20: replace(
        ORGAN,
        ratios=(),
        slope=4.5,
        tremolo=0.0,
        attack=0.06,
        cutoff=3000,
        formants=((500, 6, 200),),
        levels=(),
    ),
    21: replace(
        ORGAN,
        ratios=(),
        levels=(),
        slope=4.0,
        tremolo=0.0,
        attack=0.03,
        cutoff=4200,
        voices=spread(6, 2),
        formants=((900, 5, 300), (2500, 5, 600)),
    ),
    22: replace(
        ORGAN,
        ratios=(),
        levels=(),
        slope=3.5,
        tremolo=0.1,
        attack=0.03,
        cutoff=4500,
        formants=((1800, 7, 500),),
        drift=0.15,
        noises=(Noise(-26, 1500, 6000),),
    ),
    24: replace(GUITAR, cutoff=3000, tilt=0.4),
    26: replace(GUITAR, cutoff=2600, formants=((300, 3, 100),), decay=3.2),
    27: replace(GUITAR, cutoff=6500, formants=((2500, 4, 900),), decay=4.0, tilt=0.2),
    28: replace(GUITAR, decay=0.5, tilt=0.4, cutoff=3200, level=4),
    29: replace(DISTORTED, cutoff=2800),
    30: DISTORTED,
    31: replace(GUITAR, ratios=(2, 4, 1, 3), levels=(0, -12, -20, -30), decay=3.0),
    36: replace(
        BASS, cutoff=7000, slope=5, decay=1.2, noises=(Noise(-8, 1500, 6000, decay=0.025, touch=12),)
    ),
    37: replace(BASS, cutoff=7000, slope=4, decay=1.0, noises=(Noise(-6, 1200, 6000, decay=0.03, touch=12),)),
    35: replace(BASS, slope=6, cutoff=1200, decay=2.4, attack=0.012, vibrato=6),
    38: replace(BASS, slope=5, pluck=0.0, stiffness=0, cutoff=1800, decay=1.8, tilt=0.6, noises=()),
    39: replace(BASS, slope=5, pluck=0.0, even=0.2, stiffness=0, cutoff=1300, decay=3.0, noises=()),
    42: replace(STRINGS, formants=((220, 6, 60), (400, 4, 90), (900, 3, 250), (2000, 6, 600)), cutoff=3600),
    43: replace(
        STRINGS, formants=((110, 6, 50), (250, 4, 90), (700, 3, 250)), cutoff=2200, attack=0.1, vibrato=7
    ),
    44: replace(STRINGS, tremolo=0.6, tremolo_rate=9.5, vibrato=0, voices=spread(7, 3)),
    45: replace(
        GUITAR,
        level=5,
        decay=0.8,
        tilt=0.6,
        pluck=0.3,
        release=0.3,
        cutoff=2200,
        formants=((290, 6, 60), (520, 6, 90)),
    ),
    46: replace(GUITAR, decay=3.5, tilt=0.5, pluck=0.4, release=1.2, cutoff=2600, formants=(), room=1.4),
    47: replace(
        TAIKO, ratios=(1, 1.5, 1.98, 2.44, 2.9), levels=(0, -4, -9, -14, -18), octave=0, decay=1.8, glide=0.0
    ),
    50: replace(ENSEMBLE, formants=(), cutoff=2600, attack=0.09),
    51: replace(ENSEMBLE, formants=(), cutoff=1800, attack=0.2),
    52: CHOIR,
    53: replace(CHOIR, formants=((380, 14, 90), (820, 10, 120), (2600, 4, 300)), cutoff=1600),
    54: replace(CHOIR, formants=((500, 12, 100), (1000, 10, 130), (2500, 8, 300)), attack=0.05, vibrato=5),
    55: replace(
        ENSEMBLE, attack=0.006, decay=1.4, slope=4.5, cutoff=5000, noises=(Noise(-10, 200, 5000, decay=0.2),)
    ),
    57: replace(BRASS, cutoff=2200, formants=((700, 7, 280), (1800, 4, 500)), attack=0.07, level=2),
    58: replace(BRASS, cutoff=1300, formants=((300, 4, 150),), attack=0.08, slope=4),
    59: replace(BRASS, cutoff=7000, formants=((1600, 13, 300), (4200, 12, 800)), slope=4),
    60: replace(BRASS, cutoff=1700, formants=((480, 7, 180),), attack=0.08, slope=4, room=1.5),
    61: replace(BRASS, voices=spread(7, 3), attack=0.05),
    62: replace(BRASS, voices=spread(8, 2), attack=0.03, cutoff=4000),
    63: replace(BRASS, voices=spread(8, 2), attack=0.09, cutoff=2400),
    68: replace(REED, even=1.0, slope=3, formants=((1100, 10, 250), (2900, 9, 450)), cutoff=4200),
    69: replace(REED, even=1.0, slope=3.5, formants=((900, 9, 200), (1900, 6, 400)), cutoff=3000),
    70: replace(REED, even=0.9, slope=4, formants=((480, 11, 120), (1200, 6, 250)), cutoff=2000),
    71: CLARINET,
    72: replace(PIPE, cutoff=2500, attack=0.035),
    74: replace(PIPE, even=0.35, slope=15, vibrato=2, tremolo=0.05, attack=0.025),
    75: replace(PIPE, even=0.2, attack=0.06, noises=(Noise(-13, 700, 4000, follow=0.6),)),
    76: replace(PIPE, slope=20, vibrato=0, noises=(Noise(-14, 500, 3000, follow=0.6),)),
    77: replace(PIPE, vibrato=18, noises=(Noise(-12, 900, 6000, follow=0.5),), attack=0.09),
    78: replace(PIPE, slope=24, vibrato=4, noises=(Noise(-30, 2000, 6000),)),
    79: replace(PIPE, slope=20, attack=0.03, noises=(Noise(-26, 1000, 4000),)),
    80: replace(LEAD, even=0.0, voices=spread(3, 2)),
    83: replace(LEAD, slope=7, noises=(Noise(-14, 800, 4000, decay=0.1),), attack=0.02),
    88: replace(PAD, attack=0.1, cutoff=4000),
    91: replace(PAD, formants=CHOIR.formants, slope=6),
    93: replace(PAD, ratios=(1, 2.0, 3.01, 4.2, 5.4), levels=(0, -9, -13, -15, -20)),
    105: replace(
        ETHNIC,
        slope=4,
        decay=1.4,
        level=4,
        tilt=0.25,
        glide=0,
        drift=0,
        formants=((700, 6, 250), (2800, 5, 700)),
    ),
    106: replace(ETHNIC, decay=1.8, level=2, tilt=0.15, noises=(Noise(-6, 500, 5000, decay=0.04, touch=8),)),
    107: replace(ETHNIC, slope=4, decay=2.6, tilt=0.2, glide=0.012),
    108: replace(ETHNIC, ratios=(1, 5.4, 8.1), levels=(0, -9, -16), decay=1.2, tilt=0.3, glide=0),
    109: replace(
        REED,
        level=-6,
        even=1.0,
        slope=2.5,
        formants=((1000, 8, 300), (3000, 6, 600)),
        vibrato=0,
        dynamics=10,
        soft=0.2,
    ),
    110: replace(STRINGS, vibrato=6, cutoff=6000),
    111: replace(REED, even=1.0, slope=2.5, formants=((1500, 9, 400), (3200, 8, 600)), vibrato=14),
    112: replace(
        BELL,
        ratios=(1, 2.7, 5.2, 8.4, 11.7, 15.1),
        levels=(-5, 0, -1, -3, -6, -8),
        cutoff=12000,
        decay=1.5,
        tilt=0.12,
        noises=(Noise(-8, 6000, 13000, decay=0.5, pulse=17, depth=0.7),),
    ),
    113: replace(PERCUSSIVE, ratios=(1, 1.49, 2.7, 4.1), levels=(0, 0, -2, -4), decay=0.7, glide=0, level=4),
    115: replace(PERCUSSIVE, ratios=(1, 2.57, 4.3), levels=(0, -2, -8), decay=0.25, level=8, glide=0),
    116: TAIKO,
    117: replace(TAIKO, octave=0, decay=0.8),
    118: replace(
        TAIKO, octave=0, ratios=(1, 2), levels=(0, -30), glide=0.5, glide_time=0.04, decay=0.7, noises=()
    ),
    119: replace(EFFECT, attack=0.9, release=0.1, level=2, noises=(Noise(0, 1800, 8000, follow=0.2),)),
    120: replace(
        EFFECT, level=9, noises=(Noise(0, 1200, 5000, decay=0.3, attack=0.04, follow=0.5),), release=0.1
    ),
    121: replace(EFFECT, attack=0.15, noises=(Noise(0, 700, 5500, follow=0.3),)),
    122: replace(
        EFFECT,
        attack=0.6,
        release=1.5,
        noises=(Noise(0, 150, 2500, pulse=0.23, depth=0.6), Noise(-3, 1500, 8000, pulse=0.19, depth=0.7)),
    ),
    123: replace(
        EFFECT,
        voices=SOLO,
        ratios=(4.0, 8.0),
        levels=(0, -22),
        vibrato=260,
        vibrato_rate=11,
        vibrato_delay=0,
        tremolo=1.0,
        tremolo_rate=5.5,
        noises=(Noise(-24, 3000, 9000),),
    ),
    124: replace(
        EFFECT,
        voices=SOLO,
        ratios=(3.0, 3.78, 9.1, 11.3),
        levels=(0, 0, -14, -16),
        tremolo=1.0,
        tremolo_rate=19,
        noises=(Noise(-22, 3000, 9000),),
    ),
    125: replace(EFFECT, attack=0.4, noises=(Noise(0, 40, 420, pulse=11), Noise(-12, 800, 4000, pulse=11))),
    126: replace(
        EFFECT, attack=0.3, release=0.8, noises=(Noise(0, 900, 6500), Noise(-3, 1200, 4000, pulse=7.3))
    ),
    127: replace(
        EFFECT,
        release=0.8,
        noises=(Noise(0, 60, 900, decay=1.1, touch=0), Noise(-2, 500, 8000, decay=0.3, touch=0)),
    ),
}

_FAMILY_TIMBRES = (
    PIANO,
    BELL,
    ORGAN,
    GUITAR,
    BASS,
    STRINGS,
    ENSEMBLE,
    BRASS,
    REED,
    PIPE,
    LEAD,
    PAD,
    FX,
    ETHNIC,
    PERCUSSIVE,
    EFFECT,
)


def timbre(program: int) -> Timbre:
    """The timbre of a General MIDI program, 0–127; a number outside is taken to the nearest."""
    number = min(127, max(0, program))
    return VARIANTS.get(number, _FAMILY_TIMBRES[number // 8])
