"""BinaryMuseGAN (shared/reference/lstm_attention_and_musegan.md, section 4.3)."""

import pytest
import torch
from networks import assert_penalties_agree, assert_twins_agree, count, noise, rolls, twins

from otonoha.models.musegan.binary import (
    BinaryCritic,
    BinaryGenerator,
    Plan,
    Refiner,
    beat_chroma,
    binary,
    chance,
    onset_counts,
    slope_at,
)
from otonoha.models.musegan.shape import Noise, Shape, Widths

torch.set_num_threads(1)
COMMON = Widths(3, 4, 0, 0)
SHAPES = [Shape(3, 2, 48, 84), Shape(2, 2, 16, 48), Shape(2, 1, 12, 12), Shape(1, 3, 20, 36)]
NAMES = [f"{s.tracks}x{s.bars}x{s.steps}x{s.pitches}" for s in SHAPES]


def test_neurons_round_and_pass_the_gradient_of_a_sigmoid():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    out = binary(x, 2.0)
    assert torch.equal(out, (x > 0).double())
    out.sum().backward()
    soft = torch.sigmoid(2 * x.detach())
    torch.testing.assert_close(x.grad, 2 * soft * (1 - soft))


def test_stochastic_neurons_fire_as_often_as_the_sigmoid_says():
    torch.manual_seed(0)
    x = torch.tensor([-2.0, 0.0, 1.0]).expand(20_000, 3)
    out = binary(x, threshold=torch.rand_like(x))
    assert set(out.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(out.mean(0), x[0].sigmoid(), atol=0.015, rtol=0)


def test_the_slope_grows_with_every_pass():
    assert [slope_at(step, 100) for step in (0, 99, 100, 250)] == pytest.approx([1.0, 1.0, 1.1, 1.21])


def test_the_slope_has_an_end():
    assert slope_at(20 * 7, 7) == slope_at(21 * 7, 7) == slope_at(10**9, 1) == pytest.approx(1.1**20)


def test_the_papers_sizes():
    plan = Plan.of(Shape(8, 4, 96, 84))
    assert (plan.parts, plan.ticks, plan.thirds, plan.kernel, plan.stride) == (4, 6, 3, 3, 2)
    shape = Shape(8, 4, 96, 84)
    both = count(BinaryGenerator(shape, Widths(64, 64, 0, 0), refiner=False), trained=True) + count(
        BinaryCritic(shape, 24)
    )
    assert both == pytest.approx(3.7e6, rel=0.02)  # as printed in the paper


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_networks_equal_their_convolutions(shape):
    fast, plain = twins(lambda **how: BinaryGenerator(shape, COMMON, refiner=False, width=0.06, **how))
    fast.rounds = plain.rounds = False
    out = assert_twins_agree(fast, plain, noise(shape, COMMON))
    assert out.shape == (3, shape.tracks, shape.bars, shape.steps, shape.pitches)
    fast, plain = twins(lambda **how: BinaryCritic(shape, 24, width=0.06, **how))
    assert assert_twins_agree(fast, plain, rolls(shape)).shape == (3,)
    assert_penalties_agree(fast, plain, rolls(shape, seed=3))


@pytest.mark.parametrize("refiner", [False, True])
def test_notes_are_on_or_off_and_teach_the_generator(refiner):
    shape = SHAPES[1]
    network = twins(lambda **how: BinaryGenerator(shape, COMMON, refiner=refiner, width=0.06, **how))[0]
    z = noise(shape, COMMON)
    out = network(z)
    assert set(out.unique().tolist()) == {-1.0, 1.0}
    out.sum().backward()
    assert network.writer.first.layer.weight.grad.abs().max() > 0
    network.rounds = False
    assert len(network(z).unique()) > 1000


def test_a_steeper_slope_changes_the_gradient_and_is_saved():
    network = BinaryGenerator(SHAPES[1], COMMON, refiner=False, width=0.06).double()
    bias = network.writer.pitch_first[-1].layer.bias
    gradients = []
    for slope in (1.0, 3.0):
        network.slope.fill_(slope)
        network.zero_grad()
        network(noise(SHAPES[1], COMMON)).sum().backward()
        gradients.append(bias.grad.clone())
    assert not torch.allclose(*gradients)
    assert network.state_dict()["slope"] == 3.0


def test_two_stages_train_the_refiners_alone():
    network = BinaryGenerator(SHAPES[1], COMMON, width=0.06).double()
    assert len(network.refiners) == SHAPES[1].tracks
    names = {name.split(".")[0] for name, _ in network.named_parameters()}
    assert names == {"writer", "refiners"}


def test_a_refiner_starts_from_what_it_is_given_and_learns():
    torch.manual_seed(0)
    refiner, x = Refiner(8), torch.randn(2, 1, 16, 24)
    assert torch.equal(refiner(x), x)
    optimiser = torch.optim.SGD(refiner.parameters(), 0.1)
    for _ in range(2):  # the last convolutions first, then those behind them
        optimiser.zero_grad()
        refiner(x).square().mean().backward()
        optimiser.step()
    assert refiner(x).square().mean() < x.square().mean()
    assert refiner.units[0][3].weight.grad.abs().max() > 0


def test_stochastic_notes_are_drawn_anew_while_learning_and_follow_from_the_noise_afterwards():
    network = BinaryGenerator(SHAPES[1], COMMON, refiner=False, stochastic=True, width=0.06).double()
    z, other = noise(SHAPES[1], COMMON), noise(SHAPES[1], COMMON, seed=9)
    assert not torch.equal(network(z), network(z))
    network.eval()
    first = network(z)
    network(other)
    assert torch.equal(network(z), first)
    assert not torch.equal(network(other), first)
    network.stochastic = False
    assert not torch.equal(network(z), first)  # they are still drawn


def test_chance_is_uniform_and_a_matter_of_each_noise():
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    found = chance(z, (4, 5000))
    assert torch.equal(found[1:2], chance(z[1:2], (4, 5000)))
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(
        found.sort(-1).values, torch.linspace(0, 1, 5000).expand(3, 4, -1), atol=0.03, rtol=0
    )


def test_codes_of_any_number_of_bars_are_written():
    shape = SHAPES[1]
    network = twins(lambda **how: BinaryGenerator(shape, COMMON, width=0.1, **how))[0].eval()
    z = noise(shape, COMMON)
    codes, phrase = network.codes(z), network(z)
    assert torch.equal(network.bars(codes), phrase)
    long = Noise(codes.chords.repeat(1, 2, 1), z.style, codes.melody.repeat(1, 1, 2, 1), z.groove)
    assert torch.equal(network.bars(long)[:, :, 2:], phrase)
    other = 20 * noise(shape, COMMON, seed=9).chords.expand_as(codes.chords)
    mixed = Noise(torch.cat([codes.chords, other], 1), z.style, long.melody, z.groove)
    assert torch.equal(network.bars(mixed)[:, :, :2], phrase)
    assert not torch.equal(network.bars(mixed)[:, :, 2:], phrase)


def test_onsets_are_counted_across_the_bar_line():
    notes = torch.zeros(1, 1, 2, 4, 12)
    notes[0, 0, 0, 2:, [0, 4]] = 1  # a third, held over the bar line …
    notes[0, 0, 1, :1, [0, 4]] = 1  # … for a step
    assert onset_counts(notes)[0, 0].tolist() == [[0, 0, 2, 0], [0, -2, 0, 0]]


@pytest.mark.parametrize("low", [0, 24, 36, 43])
def test_chroma_is_folded_by_midi_number(low):
    notes = torch.zeros(1, 1, 1, 8, 36)
    pitches = [48, 60, 67]  # C, C, G
    for pitch in pitches:
        notes[0, 0, 0, 2:5, pitch - low if pitch - low < 36 else pitch - low - 36] = 1
    chroma = beat_chroma(notes, low)[0, 0, 0]
    assert chroma.shape == (4, 12)
    expected = torch.zeros(4, 12)
    expected[1, [0, 7]] = torch.tensor([4.0, 2.0])
    expected[2, [0, 7]] = torch.tensor([2.0, 1.0])
    assert torch.equal(chroma, expected)


def test_the_critic_hears_onsets_and_chroma():
    shape = Shape(2, 2, 16, 24)
    critic = twins(lambda **how: BinaryCritic(shape, 36, width=0.06, **how))[0]
    x = rolls(shape)
    for stream in (critic.onsets, critic.chroma):
        before = critic(x)
        with torch.no_grad():
            stream[-1].layer.weight.zero_()
        assert not torch.allclose(critic(x), before)


def test_one_clear_line_for_mistakes():
    with pytest.raises(ValueError, match=r"multiple of 4 steps .*not 18"):
        BinaryCritic(Shape(2, 2, 18, 24), 24)
