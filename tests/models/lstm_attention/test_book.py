"""The book's network, exactly (shared/reference/lstm_attention_and_musegan.md, section 2.1)."""

import math

import numpy as np
import pytest
import torch

from helpers import pieces, tune
from otonoha.models.lstm_attention.book import AttentionPooling, BookLSTM, BookWindows
from otonoha.models.lstm_attention.config import PRESETS
from otonoha.models.lstm_attention.model import LSTMAttention
from otonoha.tokens.base import Stream, Vocab
from otonoha.tokens.book import Book

torch.set_num_threads(1)
VOCAB = Vocab((Stream("pitch", 387), Stream("duration", 18)))


def trained(module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_it_has_the_books_parameters():
    network = BookLSTM(PRESETS["book"], VOCAB, (386, 0), 32)
    assert trained(network) == 1_138_122
    parts = {n: trained(m) for n, m in network.named_children() if trained(m)}
    assert parts["pitch"] + parts["duration"] == 40_500
    assert (parts["first"], parts["second"], parts["attention"]) == (467_968, 525_312, 257)
    assert (parts["pitch_head"], parts["duration_head"]) == (99_459, 4_626)


def test_without_attention_a_third_lstm_takes_its_place():
    network = BookLSTM(PRESETS["book_no_attention"], VOCAB, (386, 0), 32)
    assert trained(network) == 1_138_122 - 257 + 525_312


def small(heads=1):
    from dataclasses import replace

    torch.manual_seed(0)
    config = replace(PRESETS["book"], width=8, embedding=5, heads=heads)
    return BookLSTM(config, Vocab((Stream("pitch", 11), Stream("duration", 4))), (10, 0), 6)


def lstm(layer, x):
    """Hochreiter & Schmidhuber with a forget gate, written out; all hidden states (T, D)."""
    W, U, b = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0
    h = c = torch.zeros(W.shape[0] // 4)
    out = []
    for row in x:
        i, f, g, o = (W @ row + U @ h + b).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        out.append(h)
    return torch.stack(out)


@torch.no_grad()
def test_it_equals_the_formulas():
    network = small()
    pitch, duration = torch.randint(0, 11, (3, 6)), torch.randint(0, 4, (3, 6))
    logits, weights = network(pitch, duration)
    w, b = network.attention.score.weight[0], network.attention.score.bias
    for row in range(3):
        x = torch.cat([network.pitch.weight[pitch[row]], network.duration.weight[duration[row]]], -1)
        h = lstm(network.second, lstm(network.first, x))
        e = torch.stack([torch.tanh(w @ h[t] + b[0]) for t in range(6)])
        alpha = e.exp() / e.exp().sum()
        c = sum(alpha[t] * h[t] for t in range(6))
        torch.testing.assert_close(weights[row], alpha)
        for head, out in zip((network.pitch_head, network.duration_head), logits, strict=True):
            torch.testing.assert_close(out[row], head.weight @ c + head.bias)


@torch.no_grad()
def test_attention_can_never_be_sharp():
    """e lies in [-1, 1]: no weight is more than e² times another, whatever is learnt."""
    pooling = AttentionPooling(16)
    torch.nn.init.normal_(pooling.score.weight, std=50)
    _, weights = pooling(torch.randn(64, 32, 16))
    ratio = weights.max(1).values / weights.min(1).values
    assert ratio.max() <= math.exp(2) * (1 + 1e-5)
    assert ratio.max() > 7
    assert weights.max() < 0.2


@torch.no_grad()
def test_the_window_slides():
    network = small()
    state = network.start(2)
    assert state.pitch.tolist() == [[10] * 6] * 2
    for i in range(9):
        state = network.advance(state, [torch.tensor([i, i + 1]), torch.tensor([1, 2])])
    assert state.pitch.tolist() == [[3, 4, 5, 6, 7, 8], [4, 5, 6, 7, 8, 9]]
    whole = network.prefill(
        network.start(1), {"pitch": torch.arange(9)[None], "duration": torch.ones(1, 9, dtype=torch.long)}
    )
    assert whole.pitch.tolist() == [[3, 4, 5, 6, 7, 8]]


def test_windows_have_stride_one_and_a_pass_visits_each_once():
    windows = BookWindows({"pitch": np.arange(20), "duration": np.arange(20)}, 4, 8, seed=0)
    assert windows.count == 16
    seen = [int(x) for u in range(2) for x in windows(u).streams["pitch"][:, 0]]
    assert sorted(seen) == list(range(16))
    batch = windows(0)
    assert (batch.streams["pitch"].diff() == 1).all()
    assert batch.mask.sum(1).eq(1).all()


def test_it_learns_its_vocabulary_from_all_pieces_and_keeps_it(tmp_path):
    model = LSTMAttention("book", width=8, embedding=4)
    model.fit(pieces(2), pieces(1, split="valid"), out=tmp_path / "run", quiet=True, steps=1)
    assert isinstance(model.codec, Book)
    assert "START" in model.codec.pitches
    assert {str(p) for p in LSTMAttention.load(tmp_path / "run").codec.pitches} == set(model.codec.pitches)
    with pytest.raises(ValueError, match="not among the"):
        model.codec.encode(tune(0, key="F# minor"))


@pytest.mark.parametrize("preset", ["book", "book_no_attention"])
def test_likelihood_is_the_sum_over_the_windows(preset):
    model = LSTMAttention(preset, width=8, embedding=4)
    model.fit(pieces(2), quiet=True, steps=1)
    tokens = model.codec.encode(tune(0))
    pitch, duration = (torch.tensor(tokens.streams[n]) for n in ("pitch", "duration"))
    network, total = model.networks["book"], 0.0
    with torch.no_grad():
        state = network.start(1)
        for t in range(len(tokens)):
            state = network.place(state, {})
            total -= float(network.logits(state, 0, []).log_softmax(-1)[0, pitch[t]])
            total -= float(network.logits(state, 1, []).log_softmax(-1)[0, duration[t]])
            state = network.advance(state, [pitch[t : t + 1], duration[t : t + 1]])
    figures = model.likelihood([tune(0)])
    assert figures["units"] == len(tokens) - 1
    assert figures["loss"] == pytest.approx(total / (len(tokens) - 1), rel=1e-4)


def test_controls_without_effect_are_refused():
    model = LSTMAttention("book", width=8, embedding=4)
    model.fit(pieces(2), quiet=True, steps=1)
    with pytest.raises(ValueError, match="bars has no effect on the design book"):
        model.sample(bars=4)


def test_explain_draws_the_books_matrix():
    model = LSTMAttention("book", width=8, embedding=4)
    model.fit(pieces(2, bars=16), quiet=True, steps=1)
    told = model.explain(tune(0, bars=16))
    T = len(told.events)
    assert T > 33
    assert told.attention.shape == (1, T, T)
    assert not np.triu(told.attention[0], 1).any()
    last = told.attention[0, -1]
    assert (last > 0).sum() == 32
    assert told.attention[0, 0, 0] == pytest.approx(1)
