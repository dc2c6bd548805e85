"""What an instrument is to the built-in synthesiser, and one of each General MIDI family.

A Timbre says how an instrument is excited and how it dies: the spectrum (harmonics that fall by so many dB
per octave, or modes of its own), the body's formants, the low-pass that opens with velocity, the envelope,
the movement (vibrato, drift, detuned voices) and the noises (hammer, bow, breath, key).
Levels are in dB, frequencies in Hz, times in seconds; a decay is the time in which A4 falls by 60 dB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NO_TONE = ()
SOLO = ((0.0, 1.0, 1.0, 0.0),)


@dataclass(frozen=True)
class Noise:
    """A band of noise; `level` is beside a full tone. Without `decay` it lasts with the note's envelope."""

    level: float
    low: float
    high: float
    decay: float = 0.0
    attack: float = 0.001
    touch: float = 6.0
    """dB that the softest stroke loses beside the tone"""
    follow: float = 0.0
    """how far the band moves with the pitch (1: as the pitch)"""
    pulse: float = 0.0
    """pulses per second"""
    depth: float = 1.0


@dataclass(frozen=True)
class Timbre:
    """One instrument."""

    slope: float = 6.0
    """dB per octave by which the harmonics fall"""
    even: float = 1.0
    """gain of the even harmonics (a closed pipe has hardly any)"""
    pluck: float = 0.0
    """where the string is struck or plucked (share of its length): kills the harmonics with a node there"""
    stiffness: float = 0.0
    """inharmonicity of the string at A4"""
    ratios: tuple[float, ...] = ()
    """the modes' frequencies, where they are no harmonics …"""
    levels: tuple[float, ...] = ()
    """… and their levels"""
    hertz: float = 0.0
    """a fixed frequency (drums) in place of the note's"""
    octave: float = 0.0
    """octaves above the written pitch"""
    formants: tuple[tuple[float, float, float], ...] = ()
    """resonances of the body: centre, boost, half width"""
    cutoff: float = 8000.0
    """corner of the low-pass at full velocity and A4"""
    follow: float = 0.35
    """how far the corner moves with the pitch"""
    soft: float = 1.6
    """octaves by which it closes towards the softest velocity"""
    attack: float = 0.004
    decay: float = 0.0
    """0: the tone lasts as long as it is held"""
    tilt: float = 0.25
    """how much faster high partials die"""
    fall: float = 0.0
    """time constant of the fall to `sustain`"""
    sustain: float = 1.0
    release: float = 0.15
    swell: float = 0.0
    """how much later than the fundamental the higher partials rise (brass)"""
    vibrato: float = 0.0
    """cents to either side"""
    vibrato_rate: float = 5.6
    vibrato_delay: float = 0.3
    tremolo: float = 0.0
    tremolo_rate: float = 5.5
    drift: float = 0.0
    """how unsteady each partial's level is"""
    glide: float = 0.0
    """octaves above the pitch at the onset"""
    glide_time: float = 0.03
    voices: tuple[tuple[float, float, float, float], ...] = SOLO
    """(cents, amplitude, decay factor, pan) of each string, reed or player; none: noise alone"""
    noises: tuple[Noise, ...] = ()
    level: float = 0.0
    dynamics: float = 36.0
    """dB from velocity 1 to 127"""
    room: float = 1.0
    """share sent to the reverberation"""
    pan: float | None = None
    one_shot: bool = False
    """struck once: the note's length does not matter"""


def spread(cents: float, count: int) -> tuple[tuple[float, float, float, float], ...]:
    """Players a little out of tune with each other, by turns on the left and on the right."""
    places = [2 * i / (count - 1) - 1 for i in range(count)]
    return tuple((cents * place, 1.0, 1.0, -1.0 + 2 * (i % 2)) for i, place in enumerate(places))


PIANO = Timbre(
    slope=4.5,
    pluck=0.13,
    stiffness=4e-4,
    cutoff=4200,
    soft=2.2,
    follow=0.3,
    attack=0.002,
    decay=5.0,
    tilt=0.22,
    release=0.4,
    voices=((-0.4, 1.0, 0.55, 0.0), (0.5, 0.55, 1.6, 0.0)),
    noises=(Noise(-17, 150, 1800, decay=0.09, touch=12, follow=0.3),),
    level=1.0,
)
BELL = Timbre(
    ratios=(1, 2.76, 4.0, 5.4, 8.93, 10.0),
    levels=(0, -9, -5, -11, -17, -19),
    cutoff=6000,
    soft=2.5,
    attack=0.001,
    decay=3.2,
    tilt=0.5,
    release=1.3,
    noises=(Noise(-22, 2500, 8000, decay=0.03, touch=14),),
    room=1.3,
    level=1.0,
)
ORGAN = Timbre(
    ratios=(0.5, 1, 1.5, 2, 3, 4, 5, 6, 8),
    levels=(-7, 0, -9, -5, -9, -10, -19, -18, -14),
    cutoff=7000,
    soft=0.3,
    attack=0.007,
    release=0.12,
    tremolo=0.12,
    tremolo_rate=6.6,
    noises=(Noise(-20, 1200, 6000, decay=0.02, touch=2),),
    dynamics=14,
    level=-5.0,
)
GUITAR = Timbre(
    slope=4.2,
    pluck=0.18,
    stiffness=6e-5,
    formants=((110, 6, 40), (210, 6, 60), (420, 3, 120)),
    cutoff=6500,
    soft=1.8,
    attack=0.001,
    decay=2.6,
    tilt=0.24,
    release=0.35,
    noises=(Noise(-15, 700, 4500, decay=0.035, touch=8),),
    level=1.0,
)
BASS = Timbre(
    slope=7,
    pluck=0.24,
    stiffness=2e-4,
    cutoff=1300,
    soft=1.5,
    attack=0.003,
    decay=1.6,
    tilt=0.4,
    release=0.15,
    noises=(Noise(-18, 80, 900, decay=0.05, touch=8),),
    room=0.35,
    pan=0.0,
    level=0.0,
)
STRINGS = Timbre(
    slope=5.2,
    formants=((290, 5, 60), (520, 5, 90), (1100, 3, 250), (2600, 8, 700)),
    cutoff=5500,
    soft=1.3,
    attack=0.09,
    release=0.32,
    swell=0.25,
    vibrato=13,
    vibrato_delay=0.22,
    drift=0.14,
    noises=(Noise(-31, 1800, 8000, touch=0), Noise(-21, 900, 7000, decay=0.12, attack=0.02, touch=8)),
    level=-1.0,
)
ENSEMBLE = Timbre(
    slope=6.5,
    formants=((300, 3, 80), (550, 4, 120), (1200, 2, 300)),
    cutoff=4200,
    soft=1.1,
    attack=0.2,
    release=0.7,
    drift=0.3,
    voices=spread(9, 4),
    noises=(Noise(-36, 1500, 6000, touch=0),),
    room=1.2,
    level=-1.0,
)
CHOIR = replace(
    ENSEMBLE,
    slope=6,
    formants=((700, 20, 110), (1120, 16, 130), (2750, 24, 280), (3600, 14, 350)),
    cutoff=3200,
    follow=0.15,
    soft=0.8,
    attack=0.13,
    release=0.6,
    vibrato=9,
    vibrato_rate=5.0,
    noises=(Noise(-31, 700, 5000, touch=0),),
)
BRASS = Timbre(
    slope=2.2,
    formants=((1300, 9, 450), (2600, 5, 700)),
    cutoff=3800,
    follow=0.45,
    soft=2.1,
    attack=0.055,
    fall=0.12,
    sustain=0.8,
    release=0.24,
    swell=0.75,
    vibrato=4,
    vibrato_rate=5.0,
    vibrato_delay=0.5,
    drift=0.05,
    noises=(Noise(-27, 400, 3000, decay=0.06, attack=0.01, touch=6),),
)
REED = Timbre(
    slope=4.5,
    even=0.45,
    formants=((700, 9, 170), (1500, 9, 280), (2800, 6, 500)),
    cutoff=3800,
    soft=1.6,
    attack=0.035,
    release=0.2,
    swell=0.25,
    vibrato=8,
    vibrato_rate=5.2,
    vibrato_delay=0.35,
    drift=0.06,
    noises=(Noise(-32, 1500, 6000, touch=0), Noise(-26, 800, 5000, decay=0.04, attack=0.008)),
    level=-1.0,
)
CLARINET = replace(
    REED, even=0.06, slope=5.5, formants=((1500, 5, 300), (3700, 5, 600)), vibrato=2, cutoff=3500
)
PIPE = Timbre(
    slope=9,
    cutoff=1700,
    soft=1.8,
    attack=0.05,
    release=0.22,
    swell=0.4,
    vibrato=7,
    vibrato_rate=5.0,
    vibrato_delay=0.3,
    tremolo=0.14,
    tremolo_rate=5.0,
    drift=0.05,
    noises=(
        Noise(-25, 900, 4000, touch=-2, follow=0.5),
        Noise(-15, 1500, 6000, decay=0.08, attack=0.012, follow=0.5),
    ),
    room=1.2,
    level=-0.5,
)
LEAD = Timbre(
    slope=5.4,
    cutoff=8000,
    soft=1.4,
    attack=0.004,
    fall=0.25,
    sustain=0.75,
    release=0.16,
    vibrato=6,
    vibrato_rate=6.0,
    vibrato_delay=0.4,
    voices=spread(5, 2),
)
PAD = Timbre(
    slope=6.5,
    cutoff=1800,
    soft=1.6,
    attack=0.35,
    release=1.3,
    swell=0.5,
    drift=0.35,
    voices=spread(11, 3),
    room=1.5,
)
FX = Timbre(
    ratios=(1, 2.0, 3.01, 4.17, 5.43, 6.79, 9.2, 12.1),
    levels=(0, -9, -8, -14, -13, -17, -20, -24),
    cutoff=3500,
    soft=1.8,
    attack=0.03,
    decay=6.0,
    tilt=0.15,
    release=1.6,
    tremolo=0.55,
    tremolo_rate=3.7,
    drift=0.5,
    voices=spread(8, 2),
    noises=(Noise(-27, 5000, 12000, decay=1.2, attack=0.05, touch=4),),
    room=1.7,
    level=3.0,
)
ETHNIC = Timbre(
    slope=2.2,
    pluck=0.07,
    stiffness=3e-5,
    formants=((900, 5, 250), (2400, 6, 600)),
    cutoff=4500,
    soft=1.2,
    attack=0.001,
    decay=2.4,
    tilt=0.06,
    release=0.8,
    glide=0.02,
    glide_time=0.03,
    drift=0.25,
    noises=(Noise(-13, 1500, 7000, decay=0.025, touch=6),),
    level=1.0,
)
PERCUSSIVE = Timbre(
    ratios=(1, 2.0, 3.0, 4.02, 5.05, 6.7),
    levels=(0, -2, -7, -8, -13, -14),
    cutoff=8000,
    soft=1.6,
    attack=0.002,
    decay=1.2,
    tilt=0.3,
    release=0.7,
    glide=0.01,
    noises=(Noise(-12, 800, 5000, decay=0.04, touch=8),),
    level=2.0,
)
