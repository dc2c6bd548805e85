"""Density and register by feedback: the network of the package obeys, the controller is what its formulas say."""

import numpy as np
import pytest
import torch

import otonoha as oto
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.models.music_transformer.steering import DENSITY, MOST, REGISTER, Steered, middles
from otonoha.tokens.events_header import DENSITY_EDGES, REGISTER_EDGES, attributes_of, class_of

torch.set_num_threads(1)


def written(**asked):
    takes = oto.load("ensemble").sample(seed=1, n=6, bars=8, instruments="violin,viola,cello", **asked)
    return [attributes_of(take.music) for take in takes]


def test_what_is_asked_is_heard():
    few, many = (np.mean([a.notes_per_quarter for a in written(density=d)]) for d in (1, 6))
    low, high = (np.mean([a.mean_pitch for a in written(register=r)]) for r in (2, 5))
    assert many > 1.5 * few
    assert high > low + 5


@pytest.mark.parametrize("edges", [DENSITY_EDGES, REGISTER_EDGES])
def test_the_middle_of_a_class_is_in_it(edges):
    assert [class_of(value, edges) for value in middles(edges)] == list(range(len(edges) + 1))


class Flat:
    """A step that finds all symbols alike."""

    device = torch.device("cpu")

    def __init__(self, size):
        self.size = size

    def start(self, batch):
        return batch

    def logits(self, state, k, drawn):
        return torch.zeros(state, self.size)

    def advance(self, state, drawn):
        return state


def test_tilts_follow_the_formulas():
    layout = MusicTransformer("tiny").codec.layout
    step = Steered(Flat(layout.size), layout, density=4, register=3)
    state = step.start(2)
    assert not step.logits(state, 0, []).any()
    bar, low = layout.base["Bar"] + 3, layout.id("Pitch", 48)
    for symbols in ([bar, bar], [low, bar], [bar, low]):
        step.advance(state, [torch.tensor(symbols)])
    # the first row: one bar of 4 quarters with one note; the second: one bar without any
    a = DENSITY * np.log([middles(DENSITY_EDGES)[4] / 0.25, middles(DENSITY_EDGES)[4] / 0.1])
    b = REGISTER * np.array([(middles(REGISTER_EDGES)[3] - 48) / 12, 0])
    logits = step.logits(state, 0, [])
    for row in range(2):
        pitches = logits[row, [layout.id("Pitch", 60), layout.id("Pitch", 72)]]
        assert float(pitches[1] - pitches[0]) == pytest.approx(np.clip(b, -MOST, MOST)[row], abs=1e-4)
        durations = logits[row, [layout.id("Dur", 12), layout.id("Dur", 24)]]
        assert float(durations[0] - durations[1]) == pytest.approx(np.clip(a, -MOST, MOST)[row], abs=1e-4)
        assert float(logits[row, bar]) == 0
