"""The room's Step: the engine's positions equal the network, prompts of any length, windows, guidance, sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.network import KEPT, SIZES, Guided, LlamaStep, sized
from otonoha.nn.decoder import TorchDecoder
from otonoha.nn.llama import Llama
from otonoha.sample.choose import Choice
from otonoha.sample.engine import decode
from otonoha.tokens.base import Stream, Vocab

torch.set_num_threads(1)
VOCAB = Vocab((Stream("token", 20), Stream("bar", 5, "context")))
BEGIN = 19


class Counting:
    """A grammar that allows everything but BEGIN, and counts bars."""

    done = False

    def __init__(self, written=0):
        self.written = written

    def context(self):
        return {"bar": self.written % 5}

    def mask(self, k, drawn):
        return np.arange(20) != BEGIN

    def advance(self, drawn):
        self.written += 1


def built(**changes):
    torch.manual_seed(0)
    network = Llama(sized("tiny", 20, **({"contexts": (("bar", 5),), "context": 16} | changes))).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return network


def stepping(network, **options):
    return LlamaStep(TorchDecoder(network), "token", **({"begin": BEGIN} | options))


def said(network, tokens, first=0):
    """Logits of the network for each of tokens (T,), by its convention of time; bars count from `first`."""
    fed = torch.tensor([BEGIN, *tokens[:-1]])[None]
    return network(fed, {"bar": (first + torch.arange(len(tokens)))[None] % 5})[0]


@torch.inference_mode()
@pytest.mark.parametrize("prompt", [0, 1, 7])
def test_what_the_engine_draws_from_is_what_the_network_says(prompt):
    network = built()
    before = {"token": np.arange(prompt), "bar": np.arange(prompt) % 5}
    positions = list(
        decode(
            stepping(network),
            VOCAB,
            [Counting(prompt) for _ in range(3)],
            {"token": Choice()},
            seed=1,
            limit=8,
            prompt=before if prompt else None,
            trace=True,
        )
    )
    for row in range(3):
        tokens = [*before["token"], *(int(p.drawn[row, 0]) for p in positions)]
        logits = said(network, tokens)[prompt:]
        logits[:, BEGIN] = -torch.inf
        wanted = logits.softmax(-1).double().numpy()
        np.testing.assert_allclose([p.probabilities[0][row] for p in positions], wanted, atol=1e-5)


@torch.inference_mode()
def test_streams_may_bring_their_own_beginning():
    network = built()
    step = stepping(network, begin=None)
    tokens = torch.tensor([[BEGIN, 4, 8, 2]])
    bars = torch.tensor([[0, 0, 1, 2]])
    wanted = network(tokens, {"bar": torch.tensor([[0, 1, 2, 3]])})[0, 3]
    state = step.prefill(step.start(1), {"token": tokens, "bar": bars})
    state = step.place(state, {"bar": torch.tensor([3])})
    torch.testing.assert_close(step.logits(state, 0, [])[0], wanted, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="needs a prompt"):
        step.place(step.start(1), {"bar": torch.tensor([0])})


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    header=st.integers(0, 6),
    steps=st.integers(1, 25),
)
@torch.inference_mode()
def test_a_long_piece_is_seen_through_a_window(lengths, header, steps):
    """At any time the logits are the network's for the header and the newest tokens, and nothing else is known."""
    network = built()
    step, slots = stepping(network, header=header), 16
    most = header + int((slots - header) * KEPT)
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 19, n + steps).tolist() for n in lengths]
    width = max(lengths)
    streams = {
        "token": torch.tensor([p[:width] + [0] * (width - len(p)) for p in pieces]),
        "bar": torch.arange(width).expand(len(pieces), -1) % 5,
    }
    state = step.prefill(step.start(len(pieces)), streams, torch.tensor(lengths))

    seen = [list(range(n)) for n in lengths]  # the slow twin: which positions each row still knows
    forgotten = 0

    def forget():
        nonlocal forgotten
        if max(map(len, seen)) >= slots:
            forgotten += max(max(0, len(s) - most) for s in seen)
            seen[:] = [s[:header] + s[len(s) - (most - header) :] if len(s) > most else s for s in seen]

    forget()
    for i in range(steps):
        forget()
        now = [n + i for n in lengths]
        state = step.place(state, {"bar": torch.tensor(now) % 5})
        for row, piece in enumerate(pieces):
            seen[row].append(now[row])
            fed = torch.tensor([[BEGIN, *piece][t] for t in seen[row]])[None]
            wanted = network(fed, {"bar": torch.tensor(seen[row])[None] % 5})[0, -1]
            torch.testing.assert_close(step.logits(state, 0, [])[row], wanted, atol=1e-4, rtol=1e-4)
        state = step.advance(state, [torch.tensor([p[t] for p, t in zip(pieces, now)])])
    assert state.forgotten == forgotten


def test_a_header_must_leave_room():
    with pytest.raises(ValueError, match="header of 9 positions leaves no room in a window of 16"):
        stepping(built(), header=9).start(1)


def blank(streams):
    """Without controls: tokens below 3 are controls, 3 says that there is none; bars are always 0."""
    free = {}
    if "token" in streams:
        free["token"] = torch.where(streams["token"] < 3, 3, streams["token"])
    return {**free, "bar": torch.zeros_like(streams["bar"])}


@torch.inference_mode()
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_is_its_formula(scale):
    network = built()
    guided = Guided(stepping(network), scale, blank)
    tokens = torch.tensor([[1, 2, 7, 9], [0, 5, 6, 2]])
    bars = torch.tensor([[1, 2, 3, 4], [2, 2, 2, 2]])
    drawn = [torch.tensor([8, 12]), torch.tensor([2, 4])]
    state = guided.prefill(guided.start(2), {"token": tokens[:, :4], "bar": bars})
    for i in range(3):
        state = guided.place(state, {"bar": torch.tensor([i, 4])})
        asked = torch.cat([tokens, *(d[:, None] for d in drawn[:i])], 1)
        free = torch.cat(
            [blank({"token": tokens, "bar": bars})["token"], *(d[:, None] for d in drawn[:i])], 1
        )
        begin = torch.full((2, 1), BEGIN)
        times = torch.cat([bars, torch.stack([torch.arange(i + 1), torch.full((i + 1,), 4)])], 1)
        c = network(torch.cat([begin, asked], 1), {"bar": times})[:, -1]
        u = network(torch.cat([begin, free], 1), {"bar": 0 * times})[:, -1]
        torch.testing.assert_close(guided.logits(state, 0, []), u + scale * (c - u), atol=1e-4, rtol=1e-4)
        if i < 2:
            state = guided.advance(state, [drawn[i]])


@torch.inference_mode()
def test_guidance_of_one_writes_the_same_music():
    network = built()

    def music(step):
        grammars = [Counting() for _ in range(2)]
        found = decode(step, VOCAB, grammars, {"token": Choice()}, seed=5, limit=12)
        return np.stack([p.drawn for p in found])

    plain = music(stepping(network))
    assert (music(Guided(stepping(network), 1.0, blank)) == plain).all()
    assert (music(Guided(stepping(network), 6.0, blank)) != plain).any()
    with pytest.raises(ValueError, match="moderate"):
        Guided(stepping(network), float("nan"), blank)


@pytest.mark.parametrize(
    ("size", "millions"), [("small", 6.16), ("base", 15.3), ("large", 83.4), ("relative", 6.65)]
)
def test_sizes_are_what_their_names_promise(size, millions):
    assert sized(size, 1000).parameters / 1e6 == pytest.approx(millions, rel=0.005)


def test_counts_are_those_of_the_networks():
    for size in ("tiny", "small", "relative"):
        with torch.device("meta"):
            network = Llama(sized(size, 333, dropout=0.1))
        assert sum(p.numel() for p in network.parameters()) == network.shape.parameters
    assert set(SIZES) == {"tiny", "small", "base", "large", "relative"}
    with pytest.raises(ValueError, match="size of the network"):
        sized("smal", 10)
