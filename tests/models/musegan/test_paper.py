"""MuseGAN of the AAAI-18 paper (shared/reference/lstm_attention_and_musegan.md, section 4.1)."""

from functools import partial

import pytest
import torch
from networks import SMALL, assert_penalties_agree, assert_twins_agree, count, noise, rolls, twins

from otonoha.models.musegan.paper import PaperCritic, PaperGenerator, ordered, widths_of
from otonoha.models.musegan.shape import Shape, Widths

torch.set_num_threads(1)
PHRASE = Shape(5, 4, 96, 84)
TINY = Shape(3, 3, 24, 24)
PLAYERS = {"hybrid": SMALL, "composer": Widths(7, 8, 0, 0), "jamming": Widths(0, 0, 7, 8)}
ORDERS = {
    "tripling last": [2, 2, 2, 2, 2, 3],
    "tripling first": [2, 3, 2, 2, 2, 2],
    "sixfold first": [2, 6, 2, 2, 2],
}


def given_track(shape: Shape = TINY, seed: int = 5) -> torch.Tensor:
    return rolls(shape, seed=seed)[:, 0]


@pytest.mark.parametrize("players", PLAYERS)
def test_phrases_have_the_papers_size(players):
    widths = widths_of(players, 32)
    assert widths.total == 128
    network = PaperGenerator(PHRASE, widths, players, width=0.02).double()
    out = network(noise(PHRASE, widths, batch=2))
    assert out.shape == (2, 5, 4, 96, 84)
    assert out.abs().max() <= 1


def test_parameters_by_hand():
    def bar_generator(outputs: int) -> int:
        layers = [(512, 512, 2), (512, 256, 2), (256, 256, 2), (256, 128, 2), (128, 128, 3), (128, 64, 7)]
        norms = 2 * (1024 + sum(d for _, d, _ in layers))
        dense = 129 * 1024
        return dense + norms + sum(c * d * k + d for c, d, k in layers) + 64 * outputs * 12 + outputs

    def phrase_generator(z: int) -> int:
        return z * 1024 * 2 + 1024 + 1024 * z * 3 + z + 2 * (1024 + z)

    sizes = {
        "hybrid": 5 * bar_generator(1) + 6 * phrase_generator(32),
        "composer": bar_generator(5) + phrase_generator(64),
        "jamming": 5 * (bar_generator(1) + phrase_generator(64)),
    }
    for players, size in sizes.items():
        assert count(PaperGenerator(PHRASE, widths_of(players, 32), players), trained=True) == size

    def critic(tracks: int) -> int:
        rows = [(tracks, 128, 12), (128, 128, 7), (128, 128, 2), (128, 128, 2), (128, 256, 4), (256, 512, 3)]
        rows += [(512, 1024, 6), (1024, 512, 2), (512, 128, 3), (128, 1024, 1), (1024, 1, 1), (1024, 1, 1)]
        return sum(c * d * k + d for c, d, k in rows)

    assert count(PaperCritic(PHRASE)) == critic(5)
    assert count(PaperCritic(PHRASE, "jamming")) == 5 * critic(1)


@pytest.mark.parametrize("given", [None, 1])
@pytest.mark.parametrize("players", PLAYERS)
def test_networks_equal_their_convolutions(players, given):
    options = {"given": given, "width": 0.02}
    fast, plain = twins(lambda **how: PaperGenerator(TINY, PLAYERS[players], players, **options, **how))
    heard = () if given is None else (given_track(),)
    assert_twins_agree(fast, plain, noise(TINY, PLAYERS[players]), *heard)
    fast, plain = twins(lambda **how: PaperCritic(TINY, players, **options, **how))
    assert assert_twins_agree(fast, plain, rolls(TINY)).shape == (3,)
    assert_penalties_agree(fast, plain, rolls(TINY, seed=3))


@pytest.mark.parametrize("order", ORDERS)
def test_the_three_orders_of_time(order):
    assert ordered([2, 2, 2, 2, 2, 3], order) == ORDERS[order]
    options = {"order": order, "given": 0, "width": 0.02}
    fast, plain = twins(lambda **how: PaperGenerator(TINY, SMALL, **options, **how))
    out = assert_twins_agree(fast, plain, noise(TINY), given_track())
    assert out.shape == (3, 3, 3, 24, 24)


@pytest.mark.parametrize("players", PLAYERS)
def test_the_condition_matters_and_is_kept(players):
    network = twins(
        lambda **how: PaperGenerator(TINY, PLAYERS[players], players, given=1, width=0.02, **how)
    )[0]
    network.eval()
    z, first = noise(TINY, PLAYERS[players]), given_track()
    out = network(z, first)
    assert torch.equal(out[:, 1], first)
    other = first.clone()
    other[:, 2] = -other[:, 2]  # another third bar
    turned = network(z, other)
    assert torch.equal(turned[:, 1], other)
    differ = (out != turned).flatten(3).any(-1)
    assert differ[:, [0, 2], 2].all()  # every other track, in that bar …
    assert not differ[:, :, :2].any()  # … and in no other bar


def test_every_resolution_of_the_condition_is_used():
    network = twins(lambda **how: PaperGenerator(TINY, SMALL, given=2, width=0.05, **how))[0]
    network(noise(TINY), given_track()).square().sum().backward()
    for block in network.encoder.blocks:
        assert block.layer.weight.grad.abs().max() > 0
    assert len(network.encoder.blocks) == len(network.writers.layers)


def test_who_shares_noise():
    def fresh(players):
        make = partial(PaperGenerator, TINY, PLAYERS[players], players, width=0.1)
        return twins(make)[0].eval()

    jamming = fresh("jamming")
    z = noise(TINY, PLAYERS["jamming"])
    before = jamming(z)
    z.melody[:, 0] += 1
    z.groove[:, 0] += 1
    assert ((before != jamming(z)).flatten(2).any(-1) == torch.tensor([True, False, False])).all()
    composer = fresh("composer")
    z = noise(TINY, PLAYERS["composer"])
    before = composer(z)
    z.style.add_(1)
    assert (before != composer(z)).flatten(2).any(-1).all()


def test_jammers_are_judged_apart():
    critic = twins(lambda **how: PaperCritic(TINY, "jamming", width=0.05, **how))[0]
    x = rolls(TINY)
    each = critic.each(x)
    assert each.shape == (3, 3)
    assert critic.apart
    torch.testing.assert_close(critic(x), each.sum(1))
    other = x.clone()
    other[:, 1] = -other[:, 1]
    assert ((critic.each(other) != each) == torch.tensor([False, True, False])).all()
    assert not PaperCritic(TINY, "hybrid", width=0.05).apart
    assert PaperCritic(TINY, "jamming", given=0, width=0.05).double().each(x).shape == (3, 2)


def test_the_critic_hears_bars_and_their_order():
    critic = twins(lambda **how: PaperCritic(TINY, width=0.05, **how))[0]
    x = rolls(TINY)
    assert not torch.allclose(critic(x), critic(x.flip(2)))


def test_one_clear_line_for_mistakes():
    def refuses(text: str):
        return pytest.raises(ValueError, match=text)

    with refuses("one of 0 to 2, not 3"):
        PaperCritic(TINY, given=3, width=0.02)
    with refuses("nothing to write"):
        PaperGenerator(Shape(1, 2, 16, 12), SMALL, given=0, width=0.02)
    with refuses("doubled and tripled"):
        PaperGenerator(Shape(2, 2, 16, 12), SMALL, order="sixfold first", width=0.02)
    network = PaperGenerator(TINY, SMALL, given=0, width=0.02).double()
    with refuses(r"given track as a roll of shape \(3, 3, 24, 24\), got none"):
        network(noise(TINY))
    with refuses(r"got \(3, 1, 24, 24\)"):
        network(noise(TINY), given_track()[:, :1])
    with refuses("takes no given one"):
        PaperGenerator(TINY, SMALL, width=0.02).double()(noise(TINY), given_track())
