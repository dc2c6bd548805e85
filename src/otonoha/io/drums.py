"""The drum kit of General MIDI's channel 10: modes of skins, plates and bars, and bands of noise.

`drum(pitch)` is the only question asked of this file. A note's length does not matter.
"""

from __future__ import annotations

from dataclasses import replace

from otonoha.io.timbres import NO_TONE, Noise, Timbre

SKIN = Timbre(
    ratios=(1, 1.59, 2.14, 2.65, 3.5),
    levels=(0, -10, -15, -18, -22),
    hertz=150,
    cutoff=4000,
    soft=1.2,
    attack=0.001,
    decay=0.5,
    tilt=0.8,
    glide=0.25,
    glide_time=0.05,
    noises=(Noise(-10, 200, 3000, decay=0.05, touch=10),),
    one_shot=True,
    room=0.6,
    level=-3,
)
PLATE_MODES = (1, 1.34, 1.68, 2.06, 2.48, 2.81, 3.37, 4.14, 4.93, 5.6, 6.5, 7.7)
PLATE = Timbre(
    ratios=PLATE_MODES,
    levels=(-10, -6, -4, -3, -2, 0, 0, -2, -3, -4, -6, -8),
    hertz=1150,
    cutoff=14000,
    soft=0.8,
    attack=0.001,
    decay=1.5,
    tilt=0.02,
    one_shot=True,
    room=0.5,
)
NOISE = Timbre(voices=NO_TONE, one_shot=True, room=0.5)
STICK = replace(SKIN, glide=0.0, tilt=0.2, level=0)


def _skin(hertz: float, decay: float, pan: float, glide: float = 0.25, noise: float = -2) -> Timbre:
    hit = Noise(noise, max(150, hertz), 6 * hertz + 3000, decay=0.12, touch=10)
    return replace(SKIN, hertz=hertz, decay=decay, pan=pan, glide=glide, noises=(hit,))


def _rattle(low: float, high: float, decay: float, attack: float, pan: float) -> Timbre:
    return replace(NOISE, noises=(Noise(0, low, high, decay=decay, attack=attack),), pan=pan, level=6)


def _plate(hertz: float, decay: float, pan: float, tone: float, hiss: Noise) -> Timbre:
    return replace(PLATE, hertz=hertz, decay=decay, pan=pan, noises=(hiss,), level=tone - 1)


def _bar(hertz: float, decay: float, pan: float, ratios=(1, 2.72, 5.2), levels=(0, -8, -16)) -> Timbre:
    click = Noise(-5, hertz, 3 * hertz + 5000, decay=0.03)
    return replace(STICK, hertz=hertz, decay=decay, pan=pan, ratios=ratios, levels=levels, noises=(click,))


KICK = replace(
    SKIN,
    hertz=50,
    ratios=(1, 1.6, 2.2),
    levels=(0, -16, -22),
    decay=0.42,
    glide=1.7,
    glide_time=0.028,
    noises=(Noise(5, 1200, 6500, decay=0.05, touch=12), Noise(0, 90, 600, decay=0.08)),
    pan=0.0,
    room=0.15,
    level=-3,
)
SNARE = replace(
    SKIN,
    hertz=185,
    ratios=(1, 1.79, 2.3),
    levels=(0, -4, -12),
    decay=0.3,
    glide=0.15,
    glide_time=0.02,
    noises=(Noise(-5, 1300, 8000, decay=0.36, touch=4), Noise(-2, 250, 2500, decay=0.14)),
    pan=0.05,
    level=0,
)
HISS = Noise(2, 6500, 15000, decay=0.09, touch=4)
KIT: dict[int, Timbre] = {
    35: replace(KICK, hertz=43, decay=0.5, glide=1.5),
    36: KICK,
    37: replace(_bar(1650, 0.12, 0.1), ratios=(1, 1.45, 0.33, 3.1), levels=(0, -3, -6, -2), level=5),
    38: SNARE,
    39: replace(
        NOISE,
        noises=(
            Noise(-2, 900, 3200, decay=0.34, attack=0.03),
            Noise(0, 900, 3600, decay=0.055, attack=0.001, pulse=85, depth=0.95),
        ),
        pan=-0.1,
        level=7,
    ),
    40: replace(
        SNARE,
        hertz=220,
        decay=0.2,
        noises=(Noise(-3, 1800, 9500, decay=0.28), Noise(-3, 400, 2500, decay=0.1)),
    ),
    41: _skin(82, 1.5, -0.45),
    42: _plate(3100, 0.08, 0.3, -4, HISS),
    43: _skin(98, 1.4, -0.3),
    44: _plate(2700, 0.12, 0.3, -6, replace(HISS, decay=0.12, attack=0.006, low=4500)),
    45: _skin(117, 1.3, -0.1),
    46: _plate(2300, 1.0, 0.3, -6, replace(HISS, decay=1.3, low=4500)),
    47: _skin(139, 1.2, 0.05),
    48: _skin(165, 1.1, 0.2),
    49: _plate(950, 3.4, -0.35, -5, Noise(4, 2200, 9500, decay=3.4, attack=0.006)),
    50: _skin(196, 1.0, 0.35),
    51: _plate(1750, 1.7, 0.35, -4, Noise(-7, 5000, 13000, decay=1.0)),
    52: _plate(800, 2.2, -0.4, -5, Noise(3, 1500, 8000, decay=1.9, attack=0.004)),
    53: replace(
        _plate(1400, 1.9, 0.35, -3, Noise(-16, 5000, 12000, decay=0.4)),
        ratios=(1, 1.51, 2.0, 2.67, 3.3, 5.1),
        levels=(-4, 0, -3, -5, -7, -8),
    ),
    54: _rattle(6500, 13000, 0.25, 0.004, -0.2),
    55: _plate(1400, 1.5, 0.4, -6, Noise(3, 3000, 11500, decay=1.4)),
    56: _bar(562, 0.35, 0.15, ratios=(1, 1.504, 3.0, 4.5, 6.1, 8.9), levels=(0, 0, -6, -8, -12, -14)),
    57: _plate(1100, 3.0, 0.4, -5, Noise(4, 2500, 10500, decay=3.0, attack=0.006)),
    58: replace(NOISE, noises=(Noise(0, 1500, 7000, decay=1.4, pulse=23),), pan=-0.3, level=5),
    59: _plate(2000, 1.5, -0.35, -4, Noise(-6, 5500, 14000, decay=0.9)),
    60: _skin(420, 0.18, -0.2, glide=0.05, noise=-14),
    61: _skin(300, 0.22, -0.2, glide=0.05, noise=-14),
    62: _skin(330, 0.1, 0.25, glide=0.03, noise=-4),
    63: _skin(300, 0.35, 0.25, glide=0.06, noise=-12),
    64: _skin(205, 0.42, 0.25, glide=0.06, noise=-12),
    65: _skin(390, 0.4, 0.1, glide=0.08, noise=-3),
    66: _skin(280, 0.45, 0.1, glide=0.08, noise=-3),
    67: _bar(1010, 0.4, -0.3, ratios=(1, 1.49, 2.74, 4.3, 6.2), levels=(0, -2, -4, -6, -8)),
    68: _bar(760, 0.42, -0.3, ratios=(1, 1.49, 2.74, 4.3, 6.2), levels=(0, -2, -4, -6, -8)),
    69: _rattle(4500, 12000, 0.16, 0.03, -0.25),
    70: _rattle(5500, 14000, 0.09, 0.012, 0.3),
    71: replace(_bar(2350, 0.35, 0.2), ratios=(1, 2), levels=(0, -22), tilt=0, tremolo=0.5, tremolo_rate=32),
    72: replace(_bar(2250, 0.9, 0.2), ratios=(1, 2), levels=(0, -22), tilt=0, tremolo=0.5, tremolo_rate=32),
    73: replace(NOISE, noises=(Noise(0, 1800, 6500, decay=0.3, attack=0.02, pulse=70),), pan=-0.2, level=7),
    74: replace(NOISE, noises=(Noise(0, 1500, 6000, decay=0.8, attack=0.1, pulse=55),), pan=-0.2, level=6),
    75: _bar(2480, 0.16, 0.15, ratios=(1, 2.6), levels=(0, -20)),
    76: _bar(880, 0.18, -0.15),
    77: _bar(640, 0.2, -0.15),
    78: replace(_skin(520, 0.35, 0.2, glide=-0.5, noise=-20), glide_time=0.12),
    79: replace(_skin(330, 0.6, 0.2, glide=0.6, noise=-20), glide_time=0.2),
    80: _bar(2900, 0.14, 0.35, ratios=(1, 2.41, 3.1, 4.2, 5.1), levels=(-6, -3, -1, 0, -3)),
    81: replace(_bar(2900, 2.2, 0.35, ratios=(1, 2.41, 3.1, 4.2, 5.1), levels=(-6, -3, -1, 0, -3)), level=-5),
}


def drum(pitch: int) -> Timbre:
    """The instrument on a key of the drum channel; keys outside 35–81 take the nearest."""
    return KIT[min(81, max(35, pitch))]
