"""Sound while codes are written, and codes to and from a codec: with real, tiny VQ-VAEs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sampling_dummy import Dummy, drained

from otonoha.models.jukebox.codes import UNKNOWN, Codes, from_tokens, joined, to_tokens
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_live import Live
from otonoha.models.jukebox.sampling_modes import ancestral, continued, upsampled
from otonoha.models.jukebox.sampling_order import How
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio

KINDS = ("tiny", "modern_tiny")


@cache
def codec(kind):
    """Random weights; the codebooks are spread so that codes differ."""
    model = VQVAE(kind)
    _ = model.networks
    return model


class Loose(Dummy):
    """A prior of the codec's shape, which does not care for upper codes."""

    def __init__(self, model, level):
        hops = model.config.hops
        ratio = hops[level + 1] // hops[level] if level + 1 < len(hops) else 0
        super().__init__(level, n_ctx=8 * max(ratio, 1))
        self.hop, self.ratio, self.bins = hops[level], ratio, model.config.codes

    def step(self, labels, lyrics, upper):
        step = super().step(labels, lyrics, upper)
        step.logits = lambda state, k, drawn: torch.zeros(len(state), self.bins)
        return step


def priors(model):
    return {level: Loose(model, level) for level in range(model.levels)}


class Heard:
    """Puts together what is told."""

    def __init__(self):
        self.parts, self.at = [], None

    def __call__(self, first, sound):
        self.at = first if self.at is None else self.at
        assert first == self.at + sum(p.shape[2] for p in self.parts)
        self.parts.append(sound)

    @property
    def sound(self):
        return np.concatenate(self.parts, axis=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0, -1])
def test_sound_comes_while_codes_are_written_as_if_all_were_decoded_at_the_end(kind, level):
    model = codec(kind)
    hops, level = model.config.hops, level % model.levels
    heard = Heard()
    live = Live(model.design, level, hops, heard, chunk=3 * hops[-1])
    early = []
    walk = sample(ancestral(priors(model), hops, 40 * hops[-1], seeds=[1, 2]), live=[live])
    while True:
        try:
            told = next(walk)
            early.append((told.level, len(heard.parts)))
        except StopIteration as end:
            codes = end.value
            break
    assert heard.sound.shape == (2, model.config.channels, codes.samples)
    for piece in range(2):
        tokens = to_tokens(codes, piece, level, rate=model.config.rate, codec=model.fingerprint)
        whole = model.decode(tokens, level=level).samples
        scale = np.abs(whole).max()
        np.testing.assert_allclose(heard.sound[piece], whole, atol=1e-5 * scale)
    during = max(parts for at, parts in early if at == level)
    assert 1 < during <= len(heard.parts)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_part_of_a_piece_only_that_part_is_heard(kind):
    model = codec(kind)
    hops = model.config.hops
    top = drained(
        sample(ancestral(priors(model), hops, 30 * hops[-1], seeds=[1], only=[model.levels - 1]))
    ).codes
    start, stop = 10 * hops[-1], 22 * hops[-1]
    heard = Heard()
    live = Live(model.design, 0, hops, heard, start=start, chunk=2 * hops[-1])
    how = {level: How(parallel=True) for level in range(model.levels - 1)}
    for settings in ({}, how):
        heard.__init__()
        live.told = live.begin
        order = upsampled(priors(model), top, seeds=[1], start=start, stop=stop, how=settings)
        drained(sample(order, live=[live]))
        assert (heard.at, heard.sound.shape[2]) == (start, stop - start)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_continued_and_comes_back(kind):
    model = codec(kind)
    hops, rate = model.config.hops, model.config.rate
    rng = np.random.default_rng(1)
    sounds = [
        Audio(rng.normal(0, 0.1, (model.config.channels, n * hops[-1] + 5)).astype(np.float32), rate)
        for n in (6, 9)
    ]
    tokens = [model.encode(sound) for sound in sounds]
    prompt = from_tokens(tokens, hops, model.fingerprint)
    assert (prompt.batch, prompt.samples) == (2, 6 * hops[-1])
    codes = drained(sample(continued(priors(model), prompt, 12 * hops[-1], seeds=[1, 2]))).codes
    for i, given in enumerate(tokens):
        back = to_tokens(codes, i, 0, rate=rate, codec=model.fingerprint)
        assert len(back) == 12
        for name, stream in given.slice(0, 6).streams.items():
            if name != "filled":
                assert np.array_equal(back.streams[name][:6], stream)
        assert model.decode(back).samples.shape[1] == 12 * hops[-1]
        assert np.allclose(back.clock[:6], given.clock[:6])


def test_what_was_told_of_the_coarse_levels_alone_is_read_so():
    coarse = to_tokens(partly(), 0, 1, rate=100, codec="x")
    back = from_tokens([coarse], (4, 8), "x", only=[1])
    assert back.levels[1].tolist() == [[5, 6, 7, 8]]
    assert (back.levels[0] == UNKNOWN).all()


def test_codes_of_another_codec_or_none_at_all_are_refused():
    model = codec("tiny")
    hops = model.config.hops
    tokens = model.encode(Audio(np.zeros((1, 4 * hops[-1]), np.float32), model.config.rate))
    with pytest.raises(ValueError, match=r"are of codec 'vqvae-.*'; this prior knows those of 'other'"):
        from_tokens([tokens], hops, "other")
    short = model.encode(Audio(np.zeros((1, hops[-1] - 1), np.float32), model.config.rate))
    with pytest.raises(ValueError, match="at least one code of the coarsest level"):
        from_tokens([short], hops, model.fingerprint)


def partly():
    fine = np.array([[1, 2, 3, 4, UNKNOWN, UNKNOWN, 7, 8]])
    return Codes((fine, np.array([[5, 6, 7, 8]])), (4, 8))


def test_only_what_is_written_from_the_beginning_becomes_tokens():
    found = to_tokens(partly(), 0, 0, rate=100, codec="x")
    assert found.streams["level0"].tolist() == [[1, 2], [3, 4]]
    assert found.streams["level1"].tolist() == [5, 6]
    coarse = to_tokens(partly(), 0, 1, rate=100, codec="x")
    assert coarse.streams["level0"].tolist() == [[1, 2], [3, 4], [0, 0], [7, 8]]
    nothing = Codes((np.full((1, 2), UNKNOWN), np.full((1, 1), UNKNOWN)), (4, 8))
    with pytest.raises(ValueError, match="nothing is written yet on level 1"):
        to_tokens(nothing, 0, 1, rate=100, codec="x")


def test_pieces_of_one_length_make_a_batch():
    both = joined([partly(), partly()])
    assert (both.batch, both.samples) == (2, 32)
    with pytest.raises(ValueError, match="one length"):
        joined([partly(), partly().cut(16)])
    uneven = joined([partly(), Codes((np.zeros((1, 8), int), np.zeros((1, 4), int)), (4, 8))])
    with pytest.raises(ValueError, match="written equally far; on level 0"):
        uneven.written(0)
    with pytest.raises(ValueError, match="not of the same sound"):
        Codes((np.zeros((1, 8), int), np.zeros((1, 3), int)), (4, 8))
