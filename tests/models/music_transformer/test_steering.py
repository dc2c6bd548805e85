"""Register by feedback: the network of the package obeys, the controller is what its formula says."""

import numpy as np
import pytest
import torch

import otonoha as oto
from otonoha.models.music_transformer.model import MusicTransformer
from otonoha.models.music_transformer.steering import GAIN, MOST, Steered, middle
from otonoha.tokens.events_header import REGISTER_EDGES, attributes_of, class_of

torch.set_num_threads(1)


def test_what_is_asked_is_heard():
    model = oto.load("ensemble")
    low, high = (
        np.mean(
            [
                attributes_of(take.music).mean_pitch
                for take in model.sample(
                    seed=1, n=6, bars=8, instruments="violin,viola,cello", register=register
                )
            ]
        )
        for register in (2, 5)
    )
    assert high > low + 5


def test_the_middle_of_a_class_is_in_it():
    classes = range(len(REGISTER_EDGES) + 1)
    assert [class_of(middle(number), REGISTER_EDGES) for number in classes] == list(classes)


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


def test_the_tilt_follows_the_formula():
    layout = MusicTransformer("tiny").codec.layout
    step = Steered(Flat(layout.size), layout, register=3)
    state = step.start(2)
    bar, low, fitting = layout.base["Bar"] + 3, layout.id("Pitch", 48), layout.id("Pitch", 60)

    def write(*rows):
        for symbols in zip(*rows, strict=True):
            step.advance(state, [torch.tensor(symbols)])
        logits = step.logits(state, 0, [])
        octave = logits[:, layout.id("Pitch", 72)] - logits[:, layout.id("Pitch", 60)]
        assert not logits[:, bar].any()
        return octave.tolist()

    assert write([bar, low], [bar, fitting]) == [0, 0]
    first = GAIN * (middle(3) - 48) / 12
    assert write([bar], [bar]) == pytest.approx([min(first, MOST), 0], abs=1e-5)
    for _ in range(20):
        step.advance(state, [torch.tensor([bar, bar])])
    assert write([bar], [bar]) == pytest.approx([MOST, 0], abs=1e-5)
    high = layout.id("Pitch", 72)  # so that the mean is 60: as asked
    assert write([high, bar], [fitting, bar]) == pytest.approx([MOST / 2, 0], abs=1e-5)
