"""The book's MuseGAN, exactly (shared/reference/lstm_attention_and_musegan.md, section 3.1)."""

from dataclasses import replace

import pytest
import torch
from networks import SMALL, assert_penalties_agree, assert_twins_agree, count, noise, rolls, twins

from otonoha.models.musegan.book import BookCritic, BookGenerator
from otonoha.models.musegan.layers import Norm
from otonoha.models.musegan.shape import Noise, Shape, Widths
from otonoha.models.musegan.temporal import Temporal

torch.set_num_threads(1)
TINY = 0.02
SHAPES = [Shape(), Shape(3, 4, 12, 48), Shape(1, 1, 96, 12), Shape(2, 3, 20, 24)]
NAMES = [f"{s.tracks}x{s.bars}x{s.steps}x{s.pitches}" for s in SHAPES]


def generator(shape: Shape = SHAPES[0], **options) -> BookGenerator:
    torch.manual_seed(0)
    return BookGenerator(shape, SMALL, width=TINY, **options).double()


def test_parameters_are_the_books():
    network = BookGenerator(Shape(), Widths())
    assert count(network.writers) == 4 * 1_521_921
    assert count(network.chords) == 103_584
    assert count(network.melody) == 4 * 103_584
    assert count(network, trained=True) == 6_576_612
    assert count(BookCritic(Shape())) == 1_446_401


def test_feature_maps_are_the_books():
    plain = BookGenerator(Shape(), Widths(), plain=True)
    seen = []
    for block in plain.writers.layers:
        block.plain = lambda x, g, b=block, p=block.plain: seen.append(p(x, g)) or seen[-1]
    plain(noise_of_floats())
    assert [tuple(x.shape[1:]) for x in seen[:5]] == [
        (512, 4, 1),
        (256, 8, 1),
        (256, 16, 1),
        (256, 16, 7),
        (1, 16, 84),
    ]


def noise_of_floats() -> Noise:
    z = noise(Shape(), Widths())
    return Noise(z.chords.float(), z.style.float(), z.melody.float(), z.groove.float())


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_the_generator_equals_its_convolutions(shape):
    fast, plain = twins(lambda **how: BookGenerator(shape, SMALL, width=TINY, **how))
    out = assert_twins_agree(fast, plain, noise(shape))
    assert out.shape == (3, shape.tracks, shape.bars, shape.steps, shape.pitches)
    assert out.abs().max() <= 1
    fast.eval()
    plain.eval()
    torch.testing.assert_close(fast(noise(shape)), plain(noise(shape)))


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_the_critic_equals_its_convolutions(shape):
    fast, plain = twins(lambda **how: BookCritic(shape, width=TINY, **how))
    assert assert_twins_agree(fast, plain, rolls(shape)).shape == (3,)
    assert_penalties_agree(fast, plain, rolls(shape, seed=3))


def test_the_critic_hears_every_note():
    shape = Shape(2, 3, 12, 24)
    critic = twins(lambda **how: BookCritic(shape, width=0.1, **how))[0]
    x = rolls(shape).requires_grad_(True)
    critic(x).sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("bars", [1, 2, 3, 4, 8])
def test_temporal_networks_for_any_number_of_bars(bars):
    fast, plain = twins(lambda **how: Temporal(3, bars, 4, width=TINY, **how))
    z = torch.randn(5, 3, 4, dtype=torch.float64)
    out = assert_twins_agree(fast, plain, z)
    assert out.shape == (5, 3, bars, 4)
    assert (out >= 0).all()
    if bars > 1:
        assert not torch.equal(out[:, :, 0], out[:, :, 1])


def test_members_of_a_bank_are_networks_of_their_own():
    bank = Temporal(2, 2, 4, width=TINY).double().eval()
    z = torch.randn(5, 2, 4, dtype=torch.float64)
    other = z.clone()
    other[:, 1] += 1
    before, after = bank(z), bank(other)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])
    assert not torch.equal(*bank(z[:, :1].expand(-1, 2, -1)).unbind(1))


def changed(network: BookGenerator, knob: str, where) -> torch.Tensor:
    """(M, N): what changes when a noise is turned."""
    shape = network.shape
    network.eval()
    before = noise(shape, batch=1)
    turned = getattr(before, knob).clone()
    turned[where] += 1.0
    after = replace(before, **{knob: turned})
    return (network(before) != network(after)).flatten(3).any(-1)[0]


def test_each_noise_reaches_what_it_should():
    network = twins(lambda **how: BookGenerator(Shape(), SMALL, width=0.05, **how))[0]
    assert changed(network, "chords", ...).all()
    assert changed(network, "style", ...).all()
    melody = changed(network, "melody", (slice(None), 1))
    assert melody[1].any()
    assert not melody[[0, 2, 3]].any()
    groove = changed(network, "groove", (slice(None), 3))
    assert groove[3].all()
    assert not groove[:3].any()


def test_style_and_groove_are_constant_over_bars():
    network = generator().eval()
    z = noise(network.shape)
    codes = network.codes(z)
    assert torch.equal(codes.style, z.style)
    assert torch.equal(codes.groove, z.groove)
    still = Noise(
        codes.chords[:, :1].expand_as(codes.chords), z.style, torch.zeros_like(codes.melody), z.groove
    )
    out = network.bars(still)
    torch.testing.assert_close(out[:, :, 0], out[:, :, 1])


def test_codes_of_any_number_of_bars_are_written():
    network = generator().eval()
    codes = network.codes(noise(network.shape))
    long = Noise(codes.chords.repeat(1, 3, 1), codes.style, codes.melody.repeat(1, 1, 3, 1), codes.groove)
    out = network.bars(long)
    assert out.shape[2] == 6
    torch.testing.assert_close(out[:, :, 4:], network(noise(network.shape)))


def test_normalisation_is_everywhere_in_the_generator_and_nowhere_in_the_critic():
    def norms(network):
        return sum(isinstance(m, Norm) for m in network.modules())

    assert norms(generator()) == 1 + 4 + 2 * 2
    assert norms(BookCritic(Shape(), width=TINY)) == 0


def test_one_clear_line_for_what_cannot_be_built():
    with pytest.raises(ValueError, match="multiple of 4 steps"):
        generator(Shape(steps=14))
    with pytest.raises(ValueError, match="whole octaves"):
        BookCritic(Shape(pitches=46))
    with pytest.raises(ValueError, match="at least one bar"):
        generator(Shape(bars=0))
