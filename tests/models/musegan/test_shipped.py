"""What the models that come with the package promise: no seam at any length, and parts that listen to the soprano."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from otonoha.metrics import together
from otonoha.metrics.played import played
from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.effects import Band
from otonoha.models.musegan.seam import seams
from otonoha.models.pretrained import load, shipped

torch.set_num_threads(1)
needs_music21 = pytest.mark.skipif(
    importlib.util.find_spec("music21") is None, reason="music21 (extra scores) is not installed"
)


def model(name):
    if name not in shipped():
        pytest.skip(f"the model {name} is not in this package")
    return load(name)


# -- any length --------------------------------------------------------------------------------------------

PIECES, BARS = 64, 16
LEVEL = 0.01
"""Of significance, for the three statistics together."""


def evidence(rolls, phrase):
    """The smallest p of the statistics, times their number (Bonferroni)."""
    rows = seams(rolls, phrase, permutations=999)
    return len(rows) * min(row["p"] for row in rows)


def test_pieces_of_any_length_have_no_seam():
    """And where phrases of different pieces are put together, the same test finds the seam."""
    choir = model("choir")
    phrase = choir.config.bars
    band = Band.of(choir, bars=BARS)
    rolls = band.rolls(band.codes(range(PIECES)))
    assert rolls.shape[:3] == (PIECES, 4, BARS)
    assert evidence(rolls, phrase) > LEVEL
    torn = rolls.copy()
    for n in range(BARS):
        torn[:, :, n] = np.roll(rolls[:, :, n], n // phrase, axis=0)
    assert evidence(torn, phrase) < LEVEL


# -- accompaniment -----------------------------------------------------------------------------------------

CHORALES, LONG = 12, 8
SOPRANO = 0


def sopranos_and_parts(accompanist):
    """(B, M, N, S, P): the parts that are written to the first bars of real chorales."""
    from otonoha.data.corpus import corpus

    given = []
    for piece in corpus("bach-chorales").valid:
        try:
            rolls = accompanist.codec.array(accompanist.codec.encode(piece.score()))
        except ValueError:  # another metre or range
            continue
        if len(rolls) >= LONG:
            given.append(rolls[:LONG, SOPRANO])
        if len(given) == CHORALES:
            break
    return np.stack([accompanist.rolls(Controls(), 1000 + i, 0, LONG, g) for i, g in enumerate(given)])


def apart(rolls, codec):
    """Tonal distance of the soprano to the other parts."""
    pairs = together.tonal_distance(played(rolls, codec.low, codec.tracks))
    return float(np.mean([v for name, v in pairs.items() if name.startswith("soprano-")]))


@needs_music21
def test_parts_are_nearer_to_their_own_soprano_than_to_any_other():
    accompanist = model("accompanist")
    assert accompanist.config.given == "soprano"
    rolls = sopranos_and_parts(accompanist)
    own, others = apart(rolls, accompanist.codec), []
    for shift in range(1, len(rolls)):
        mixed = rolls.copy()
        mixed[:, SOPRANO] = np.roll(rolls[:, SOPRANO], shift, axis=0)
        others.append(apart(mixed, accompanist.codec))
    assert len(others) == CHORALES - 1
    assert own < min(others)
