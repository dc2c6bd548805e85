"""Code by code equals whole windows: every kind of prior, any prompt, any pieces, any batch, any window start."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from priors import KINDS, Jukebox, prior, window

from otonoha.models.jukebox.network_step import WindowStep
from otonoha.sample.choose import Choice
from otonoha.sample.engine import decode
from otonoha.tokens.base import Stream, Vocab

torch.set_num_threads(1)


def whole(model: Jukebox, codes, told):
    """Logits (B, T, codes) of the codes alone."""
    return model.logits(codes, **told)[:, model.config.prefix :, model.config.shift :]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(KINDS)), st.integers(1, 3), st.data())
def test_code_by_code_equals_whole_windows(kind, batch, data):
    model = prior(kind)
    codes, told = window(model, batch, data.draw(st.integers(0, 9)))
    wanted, at = whole(model, codes, told), 0
    step: WindowStep = model.step(**told)
    state = step.start(batch)
    while at < model.n_ctx:
        n = data.draw(st.integers(1, model.n_ctx - at))
        if n == 1:
            state = step.advance(state, [codes[:, at]])
        else:
            state = step.prefill(state, {"code": codes[:, at : at + n]})
        at += n
        if at < model.n_ctx and data.draw(st.booleans()):
            torch.testing.assert_close(step.logits(state, 0, []), wanted[:, at], rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(step.logits(state, 0, []), wanted[:, at], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_every_position_of_a_window(kind):
    model = prior(kind)
    codes, told = window(model, 1)
    wanted, step = whole(model, codes, told), model.step(**told)
    state = step.start(1)
    for at in range(model.n_ctx):
        state = step.place(state, {})
        torch.testing.assert_close(step.logits(state, 0, []), wanted[:, at], rtol=1e-8, atol=1e-8)
        state = step.advance(state, [codes[:, at]])
    with pytest.raises(ValueError, match="is full"):
        step.logits(state, 0, [])
    with pytest.raises(ValueError, match="1 codes do not fit into a window with room for 0"):
        step.advance(state, [codes[:, 0]])


@pytest.mark.parametrize("kind", ["single", "separate", "upsampler"])
def test_a_short_window_is_the_beginning_of_a_long_one(kind):
    model = prior(kind)
    codes, told = window(model)
    torch.testing.assert_close(whole(model, codes[:, :9], told), whole(model, codes, told)[:, :9])


@pytest.mark.parametrize("kind", ["single", "single, merged", "separate"])
def test_attention_is_recorded_while_writing(kind):
    model = prior(kind)
    codes, told = window(model, 2)
    wanted = model.lyric_attention(codes, **told)
    step = model.step(**told, record=model.lyric_layers)
    state = step.prefill(step.start(2), {"code": codes[:, :5]})
    for at in range(5, model.n_ctx):
        if at % 3:
            step.logits(state, 0, [])
        state = step.advance(state, [codes[:, at]])
    for layer in model.lyric_layers:
        found = step.attention(state, layer)
        assert found.shape == (2, 2, model.n_ctx, model.n_lyrics)
        torch.testing.assert_close(found, wanted[layer])
    with pytest.raises(ValueError, match="is not recorded"):
        step.attention(state, 0)


def test_one_condition_serves_a_whole_batch():
    model = prior("separate")
    codes, told = window(model, 1)
    step = model.step(**told)
    state = step.prefill(step.start(3), {"code": codes[:, :4].expand(3, -1)})
    wanted = whole(model, codes[:, :5], told)[:, 4]
    torch.testing.assert_close(step.logits(state, 0, []), wanted.expand(3, -1))
    with pytest.raises(ValueError, match="a condition of 2 rows does not fit 3 pieces"):
        model.step(**window(model, 2)[1]).start(3)


class Anything:
    """A grammar that allows everything and never ends."""

    done = False

    def __init__(self, size):
        self.size = size

    def context(self):
        return {}

    def mask(self, k, drawn):
        return torch.ones(self.size, dtype=torch.bool).numpy()

    def advance(self, drawn):
        pass


@pytest.mark.parametrize("kind", ["labels", "single", "told upsampler"])
def test_the_engine_writes_with_it_and_goes_on_after_an_interruption(kind):
    model = prior(kind)
    _, told = window(model, 2)
    vocab = Vocab((Stream("code", model.bins),))

    def written(limit, replay=None):
        grammars = [Anything(model.bins) for _ in range(2)]
        step, choices = model.step(**told), {"code": Choice(temperature=1.0)}
        found = decode(step, vocab, grammars, choices, seed=3, limit=limit, replay=replay)
        return torch.stack([torch.from_numpy(p.drawn) for p in found])

    everything = written(model.n_ctx)
    again = written(model.n_ctx, replay=everything[:7].numpy())
    assert torch.equal(everything, again)
    assert len(everything.unique()) > 3


def test_a_mix_of_one_style_is_that_style():
    model = prior("labels")
    codes, told = window(model, 2)
    labels = told["labels"]
    genres = labels[:, 4:]
    mixed = model.blended(
        labels,
        None,
        None,
        (labels[:, 3:4], torch.ones(2, 1).double()),
        (genres.clamp(min=0), (genres >= 0).double()),
    )
    plain = model.step(labels)
    for step in (mixed, plain):
        state = step.prefill(step.start(2), {"code": codes[:, :3]})
        wanted = whole(model, codes[:, :4], told)[:, 3]
        torch.testing.assert_close(step.logits(state, 0, []), wanted)
    other = model.blended(
        labels,
        None,
        None,
        (torch.tensor([[1, 2]] * 2), torch.tensor([[0.5, 0.5]] * 2).double()),
        (genres * 0, genres * 0.0),
    )
    table = model.network.y_emb.artist_emb.emb.weight
    torch.testing.assert_close(other.condition.start, (table[1] + table[2]).expand(2, -1) / 2)
