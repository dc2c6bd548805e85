"""A network that miscounts the bars that remain still ends its bars when it wants to."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.events_write import Counted
from otonoha.sample.choose import Choice, probabilities
from otonoha.sample.engine import decode, gather
from otonoha.tokens.events import Events
from otonoha.tokens.events_vocab import END

CODEC = Events()
LAYOUT = CODEC.layout
ENDS = [END, *LAYOUT.ids("Bar")]


class Says:
    """A Step that says the same everywhere."""

    device = torch.device("cpu")

    def __init__(self, logits: np.ndarray) -> None:
        self.said = torch.from_numpy(logits)

    def start(self, batch):
        return batch

    def prefill(self, state, streams):
        return state

    def place(self, state, context):
        return state

    def logits(self, state, k, drawn):
        return self.said.expand(state, -1)

    def advance(self, state, drawn):
        return state


@given(st.integers(0, 2**32 - 1), st.sampled_from(ENDS))
@settings(max_examples=25, deadline=None)
def test_the_one_end_that_is_allowed_is_as_likely_as_all_of_them(seed, end):
    dice = np.random.default_rng(seed)
    logits = dice.normal(0, 3, LAYOUT.size)
    allowed = dice.random(LAYOUT.size) < 0.3
    allowed[ENDS] = False
    allowed[end] = True
    step = Counted(Says(logits), LAYOUT)
    found = probabilities(step.logits(1, 0, []).numpy(), Choice(), allowed[None])[0]
    chances = np.exp(logits)
    whole = chances[ENDS].sum()
    others = allowed & (np.arange(LAYOUT.size) != end)
    np.testing.assert_allclose(found[end], whole / (whole + chances[others].sum()))
    np.testing.assert_allclose(found[others] * (whole + chances[others].sum()), chances[others])
    np.testing.assert_array_equal(step.step.said.numpy(), logits)  # nobody else's numbers change


def test_a_network_that_miscounts_writes_short_bars():
    logits = np.full(LAYOUT.size, -20.0)
    logits[LAYOUT.id("Bar", 30)] = 6.0  # it always wants the bar to end, and believes that thirty remain
    for family in ("Pos", "Dur", "Pitch"):
        logits[LAYOUT.ids(family)] = 0.0

    def symbols(step):
        grammar = CODEC.grammar(CODEC.constraints(bars=3, instruments=("piano",), metre="4/4"))
        walk = list(decode(step, CODEC.vocab, [grammar], {"event": Choice()}, seed=1, limit=600))
        return len(gather(walk, CODEC.vocab, 0)["event"])

    assert 2 * symbols(Counted(Says(logits), LAYOUT)) < symbols(Says(logits))
