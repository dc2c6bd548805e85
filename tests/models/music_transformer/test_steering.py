"""Register, density, polyphony by feedback: the shipped network obeys, the controller is what its formula says."""

import numpy as np
import pytest
import torch

import otonoha as oto
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.models.music_transformer.steering import (
    BASS,
    MOST,
    STEEPEST,
    TONIC,
    TRIAD,
    Cadence,
    Density,
    Polyphony,
    Register,
    Steered,
    middle,
)
from otonoha.music.theory import Key
from otonoha.music.time import last_tick
from otonoha.tokens.events_header import (
    DENSITY_EDGES,
    POLYPHONY_EDGES,
    REGISTER_EDGES,
    attributes_of,
    class_of,
)
from otonoha.tokens.events_vocab import OVER
from otonoha.tokens.place import METRES

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("control", "few", "many", "heard", "apart"),
    [("register", 2, 5, "mean_pitch", 5.0), ("density", 2, 6, "notes_per_quarter", 1.5)],
)
def test_what_is_asked_is_heard(control, few, many, heard, apart):
    model = oto.load("ensemble")
    low, high = (
        np.mean(
            [
                getattr(attributes_of(take.music), heard)
                for take in model.sample(
                    seed=1, n=6, bars=8, instruments="violin,viola,cello", **{control: asked}
                )
            ]
        )
        for asked in (few, many)
    )
    assert high > low + apart


@pytest.mark.parametrize("edges", [REGISTER_EDGES, DENSITY_EDGES, POLYPHONY_EDGES])
def test_the_middle_of_a_class_is_in_it(edges):
    classes = range(len(edges) + 1)
    assert [class_of(middle(number, edges), edges) for number in classes] == list(classes)


class Flat:
    """A step that finds all symbols alike."""

    device = torch.device("cpu")

    def __init__(self, size):
        self.size = size

    def start(self, batch):
        return batch

    def prefill(self, state, streams):
        return state

    def logits(self, state, k, drawn):
        return torch.zeros(state, self.size)

    def advance(self, state, drawn):
        return state


LAYOUT = MusicTransformer("tiny").codec.layout


def steered(lever, rows=2):
    """A flat step under one lever, its state, and how symbols are written to it, row by row: the logits behind them."""
    step = Steered(Flat(LAYOUT.size), [lever])
    state = step.start(rows)

    def write(*written):
        for symbols in zip(*written, strict=True):
            step.advance(state, [torch.tensor(symbols)])
        return step.logits(state, 0, [])

    return write


BAR = LAYOUT.base["Bar"] + 3


def test_the_tilt_of_registers_follows_the_formula():
    low, fitting, high = (LAYOUT.id("Pitch", pitch) for pitch in (48, 60, 72))
    write = steered(Register(LAYOUT, 3))

    def octave(*rows):
        logits = write(*rows)
        assert not logits[:, BAR].any()
        return (logits[:, high] - logits[:, fitting]).tolist()

    assert octave([BAR, low], [BAR, fitting]) == [0, 0]
    first = Register.gain * (middle(3, REGISTER_EDGES) - 48) / 12
    assert octave([BAR], [BAR]) == pytest.approx([min(first, MOST), 0], abs=1e-5)
    assert octave([BAR] * 20, [BAR] * 20) == pytest.approx([MOST, 0], abs=1e-5)
    # a high note behind the low one, so that the mean is 60: as asked
    assert octave([high, BAR], [fitting, BAR]) == pytest.approx([MOST / 2, 0], abs=1e-5)


def test_the_tilt_of_densities_follows_the_formula():
    """4 notes in 4 quarters, of class 1; class 3 is asked in the first row, class 1 would be in the second."""
    quarter, note = LAYOUT.resolution, LAYOUT.id("Pitch", 60)
    notes = [LAYOUT.id("Dur", quarter)]
    for beat in range(4):
        notes += [LAYOUT.id("Pos", beat * quarter)] * (beat > 0) + [note]
    head = [BAR, LAYOUT.id("Program", 0)]
    write = steered(Density(LAYOUT, 3), rows=1)
    assert not write([*head, *notes]).any()
    logits = write([BAR, LAYOUT.id("Program", 0), LAYOUT.id("Pos", quarter)])[0]
    tilt = Density.gain * np.log2(middle(3, DENSITY_EDGES) / 1.0)
    assert not logits[[BAR, note]].any()  # ends and chords: as the network likes

    def at(family, ticks):
        return float(logits[LAYOUT.id(family, ticks)])

    assert at("Dur", quarter) == at("Pos", 2 * quarter) == 0
    assert at("Dur", quarter // 2) == at("Pos", quarter + quarter // 2) == pytest.approx(tilt, abs=1e-5)
    assert at("Dur", 2 * quarter) == at("Pos", 3 * quarter) == pytest.approx(-tilt, abs=1e-5)
    assert at("Long", 8) == pytest.approx(-STEEPEST * tilt, abs=1e-5)


def test_bars_of_any_metre_count_as_long_as_they_are():
    write = steered(lever := Density(LAYOUT, 1), rows=2)
    three, odd = (
        [LAYOUT.id("Metre", METRES.index((3, 4)))],
        [LAYOUT.id("Over", OVER.index(8)), LAYOUT.id("Num", 7)],
    )
    note = LAYOUT.id("Pitch", 60)
    write([BAR, *three, note, note, note], [BAR, *odd, note, note])
    write([BAR, note, BAR], [BAR, note, BAR])
    assert lever.found(0) == 4 / 6
    assert lever.found(1) == 3 / 7


def test_the_tilt_of_polyphonies_follows_the_formula():
    """A note of five quarters (a whole and a quarter) in a bar of four: 1.25 together, of class 1; class 3 is asked."""
    write = steered(lever := Polyphony(LAYOUT, 3), rows=1)
    quarter, note = LAYOUT.resolution, LAYOUT.id("Pitch", 60)
    write([BAR, LAYOUT.id("Program", 0), LAYOUT.id("Long", 1), LAYOUT.id("Dur", quarter), note])
    logits = write([BAR, LAYOUT.id("Program", 0)])[0]
    assert lever.found(0) == 1.25
    tilt = Polyphony.gain * np.log2(middle(3, POLYPHONY_EDGES) / 1.25)
    lengths = [LAYOUT.id("Dur", quarter // 2), LAYOUT.id("Dur", quarter), LAYOUT.id("Dur", 2 * quarter)]
    assert logits[lengths].tolist() == pytest.approx([-tilt, 0, tilt], abs=1e-5)
    assert not logits[[BAR, note, *LAYOUT.ids("Pos")]].any()


def test_a_cell_says_its_lengths_anew():
    write = steered(lever := Polyphony(LAYOUT, 3), rows=1)
    quarter, note = LAYOUT.resolution, LAYOUT.id("Pitch", 60)
    write(
        [
            BAR,
            LAYOUT.id("Program", 0),
            LAYOUT.id("Dur", 4 * quarter),
            note,
            LAYOUT.id("Program", 40),
            note,
            BAR,
        ]
    )
    assert lever.found(0) == (4 + 1) / 4


def test_the_last_bar_leans_towards_home():
    write = steered(lever := Cadence(LAYOUT), rows=2)
    last, key = LAYOUT.id("Bar", 1), LAYOUT.base["Key"]
    g_major, a_minor = Key.parse("G major"), Key.parse("A minor")
    assert not write([BAR, key + g_major.index], [BAR, key + a_minor.index]).any()
    found = write([last], [last])
    for row, at_home, tonic, below in ((0, {7, 11, 2}, 7, BASS - 5), (1, {9, 0, 4}, 9, BASS)):
        for pitch in range(36, 84):
            bass = TONIC * (pitch % 12 == tonic)
            expected = bass if pitch < below else TRIAD * (pitch % 12 in at_home)
            assert found[row, LAYOUT.id("Pitch", pitch)] == expected
    assert not found[:, [BAR, LAYOUT.id("Dur", 12), LAYOUT.id("Drum", 36)]].any()
    assert not write([BAR], [BAR]).any()
    assert lever.tilt.tolist() == [0, 0]


def test_pieces_end_at_home():
    takes = oto.load("ensemble").sample(seed=1, n=8, bars=4, instruments="violin,viola,cello", key="D major")
    lowest = [
        min(n.pitch for t in s.tracks for n in t.notes if n.end == last_tick(s)) % 12
        for s in (t.music for t in takes)
    ]
    assert lowest.count(2) >= 5


def test_what_goes_on_behind_a_prompt():
    """Three quarters a bar and G major, said in a prompt with one note, of which nothing counts but these."""
    levers = [Cadence(LAYOUT), density := Density(LAYOUT, 3)]
    step = Steered(Flat(LAYOUT.size), levers)
    state = step.start(1)
    note, metre = LAYOUT.id("Pitch", 60), LAYOUT.id("Metre", METRES.index((3, 4)))
    key = LAYOUT.base["Key"] + Key.parse("G major").index
    step.prefill(state, {"event": torch.tensor([[BAR, metre, key, LAYOUT.id("Program", 0), note]])})
    assert not step.logits(state, 0, []).any()
    for symbol in (BAR, note, note, LAYOUT.id("Bar", 1)):
        step.advance(state, [torch.tensor([symbol])])
    assert density.found(0) == 2 / 3
    logits = step.logits(state, 0, [])[0]
    assert logits[LAYOUT.id("Pitch", 67)] == TRIAD > logits[LAYOUT.id("Pitch", 66)] == 0
