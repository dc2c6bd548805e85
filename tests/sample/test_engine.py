"""The engine with a toy network and a toy grammar: no music in sight."""

import numpy as np
import pytest
import torch

from otonoha.sample.choose import Choice
from otonoha.sample.engine import decode, gather
from otonoha.tokens.base import Stream, Vocab

VOCAB = Vocab((Stream("a", 6), Stream("b", 4), Stream("place", 10, "context")))
CHOICES = {"a": Choice(), "b": Choice()}


class Net:
    """Logits follow from the sum of all that was seen; remembers what it was asked."""

    device = torch.device("cpu")

    def __init__(self):
        table = torch.Generator().manual_seed(0)
        self.table = [torch.randn(97, s.size, generator=table) for s in VOCAB.symbols]
        self.prompts, self.asked = [], 0

    def start(self, batch):
        return {"sum": torch.zeros(batch, dtype=torch.long), "place": None}

    def prefill(self, state, streams):
        self.prompts.append({n: s.shape for n, s in streams.items()})
        state["sum"] = state["sum"] + streams["a"].sum(1) + 7 * streams["b"].sum(1)
        return state

    def place(self, state, context):
        state["place"] = context["place"]
        return state

    def logits(self, state, k, drawn):
        self.asked += 1
        return self.table[k][(state["sum"] + 3 * state["place"] + 5 * sum(drawn, torch.tensor(0))) % 97]

    def advance(self, state, drawn):
        state["sum"] = state["sum"] + drawn[0] + 7 * drawn[1]
        return state


class Walk:
    """Symbol 0 of stream a ends a piece; b must be even after an odd a."""

    def __init__(self, start=0):
        self.done, self.at = False, start

    def context(self):
        return {"place": self.at % 10}

    def mask(self, k, drawn):
        if k == 0:
            return np.ones(6, bool)
        return np.arange(4) % 2 == 0 if drawn[0] % 2 else np.ones(4, bool)

    def advance(self, drawn):
        self.at += 1
        self.done = drawn[0] == 0


def write(n=3, *, seed=1, limit=40, net=None, walks=None, **options):
    walks = walks or [Walk() for _ in range(n)]
    return list(decode(net or Net(), VOCAB, walks, CHOICES, seed=seed, limit=limit, **options))


def streams(positions, row):
    return {n: s.tolist() for n, s in gather(positions, VOCAB, row).items()}


def test_the_same_seed_gives_the_same_result():
    assert all(np.array_equal(a.drawn, b.drawn) for a, b in zip(write(), write(), strict=True))
    assert streams(write(), 0) != streams(write(seed=2), 0)


def test_a_piece_does_not_depend_on_how_many_are_written():
    many = write(5)
    for n in (1, 2):
        few = write(n)
        assert [streams(few, i) for i in range(n)] == [streams(many, i) for i in range(n)]
    assert len({str(streams(many, i)) for i in range(5)}) == 5


def test_every_piece_stops_when_it_ends_and_stays_ended():
    positions = write(8)
    for row in range(8):
        a = streams(positions, row)["a"]
        assert a.index(0) == len(a) - 1
        active = [p.active[row] for p in positions]
        assert active == sorted(active, reverse=True)
    assert positions[-1].active.any()


def test_masks_and_contexts_are_respected():
    for position in write(8):
        for a, b in position.drawn[position.active]:
            assert a % 2 == 0 or b % 2 == 0
        assert (position.context["place"][position.active] == position.index % 10).all()


def test_the_limit_holds():
    assert len(write(limit=3)) <= 3
    assert write(limit=0) == []


def test_replayed_positions_are_not_computed_again_and_lead_to_the_same_end():
    whole, net = write(4), Net()
    drawn = np.stack([p.drawn for p in whole])
    for cut in (0, 1, len(whole) // 2, len(whole)):
        net = Net()
        again = write(4, net=net, replay=drawn[:cut].astype(np.int32))
        assert all(np.array_equal(a.drawn, b.drawn) for a, b in zip(whole, again, strict=True))
        assert net.asked == 2 * (len(whole) - cut)


@pytest.mark.parametrize(
    "replay",
    [
        np.zeros((2, 9, 2), int),
        np.zeros((2, 3)),
        np.full((2, 3, 2), 6),
        np.zeros((2, 3, 2)),
        -np.ones((1, 3, 2), int),
    ],
)
def test_a_replay_of_something_else_is_refused(replay):
    with pytest.raises(ValueError, match="saved positions"):
        write(3, replay=replay)


def test_a_replay_that_the_grammar_forbids_is_refused():
    class OnlyOne(Walk):
        def mask(self, k, drawn):
            return np.arange(6 if k == 0 else 4) == 1

    with pytest.raises(ValueError, match="this request forbids: the job is damaged"):
        write(walks=[OnlyOne() for _ in range(3)], replay=np.full((2, 3, 2), 2))


def test_prompts_come_before_all_pieces():
    prompt = {"a": np.array([1, 2, 3]), "b": np.array([0, 0, 1]), "place": np.array([0, 1, 2])}
    net = Net()
    after = write(3, net=net, prompt=prompt, walks=[Walk(3) for _ in range(3)])
    assert net.prompts == [{"a": (3, 3), "b": (3, 3), "place": (3, 3)}]
    assert streams(after, 0)["place"][0] == 3
    assert streams(after, 0) != streams(write(3, walks=[Walk(3) for _ in range(3)]), 0)


def test_repetition_remembers_the_prompt():
    strict = {"a": Choice(repetition=1000.0, window=3), "b": Choice()}
    prompt = {"a": np.array([1, 2, 3]), "b": np.zeros(3, int), "place": np.zeros(3, int)}
    for seed in range(20):
        first = next(decode(Net(), VOCAB, [Walk()], strict, seed=seed, limit=1, prompt=prompt))
        assert first.drawn[0, 0] not in (1, 2, 3)


def test_what_stands_for_no_value_repeats_nothing():
    """Ties, rests and holds may go on for long, whatever `repetition` says of pitches."""
    pitched = Vocab((Stream("a", 6, ordinal=(3, 3)), *VOCAB.streams[1:]))
    strict = {"a": Choice(repetition=1000.0, window=9, top_k=1), "b": Choice()}
    prompt = {"a": np.array([1, 2, 3, 4, 5]), "b": np.zeros(5, int), "place": np.zeros(5, int)}
    for seed in range(10):
        first = next(decode(Net(), pitched, [Walk()], strict, seed=seed, limit=1, prompt=prompt))
        assert first.drawn[0, 0] < 3


def test_traces_are_the_probabilities_drawn_from():
    for position in write(2, trace=True):
        assert [p.shape for p in position.probabilities] == [(2, 6), (2, 4)]
        for k, p in enumerate(position.probabilities):
            assert np.allclose(p.sum(1), 1)
            assert (p[np.arange(2), position.drawn[:, k]] > 0).all()
    assert write(2)[0].probabilities == []


def test_constraints_that_contradict_each_other():
    class Stuck(Walk):
        def mask(self, k, drawn):
            return np.zeros(6 if k == 0 else 4, bool)

    with pytest.raises(ValueError, match="contradict each other"):
        write(walks=[Stuck()])
