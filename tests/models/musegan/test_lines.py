"""The codes of design `lines`: the posterior that learns them, and the flows that draw them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from otonoha.models.musegan.decoder import sounding_of
from otonoha.models.musegan.lines import Encoder, Flow, Flows, Posterior
from otonoha.models.musegan.shape import Shape, Widths, draw
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS, REST_CLASS

torch.set_num_threads(1)
SHAPE = Shape(tracks=3, bars=4, steps=4, pitches=15)
Z, B, M, N, S, T = 5, 6, 3, 4, 4, 16


def generator(seed):
    return torch.Generator().manual_seed(seed)


def codes(seed=0, bars=N):
    return draw(B, M, bars, Widths(Z, Z, S, S), generator(seed))


def random_lines(seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice([REST_CLASS, HOLD_CLASS, FIRST_PITCH], (B, M, T), p=[0.2, 0.4, 0.4])
    return torch.from_numpy(
        np.where(kind == FIRST_PITCH, FIRST_PITCH + rng.integers(0, 15, kind.shape), kind)
    )


# -- codes -------------------------------------------------------------------------------------------------------


def posterior(seed=0):
    g = generator(seed)
    return Posterior(
        (torch.randn(B, N, Z, generator=g), torch.randn(B, N, Z, generator=g)),
        (torch.randn(B, Z, generator=g), torch.randn(B, Z, generator=g)),
    )


def test_nats_of_codes_are_divergences_from_the_normal():
    for found, (mean, log) in zip(posterior().nats(), (posterior().chords, posterior().style), strict=True):
        wanted = kl_divergence(Normal(mean, (log / 2).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
        torch.testing.assert_close(found, wanted)


def test_draws_have_the_moments_of_the_posterior():
    torch.manual_seed(0)
    one = posterior(1)
    drawn = [torch.stack(x) for x in zip(*(one.drawn() for _ in range(3000)), strict=True)]
    for values, (mean, log) in zip(drawn, (one.chords, one.style), strict=True):
        scale = (log / 2).exp()
        assert ((values.mean(0) - mean) / scale).abs().max() < 5 / 3000**0.5
        assert (values.std(0) / scale - 1).abs().max() < 0.1


def test_the_code_of_a_bar_sees_its_neighbours_and_style_sees_all():
    torch.manual_seed(2)
    net = Encoder(SHAPE, Z, 12)
    classes = random_lines(8)
    classes[..., 3 * S] = FIRST_PITCH  # nothing is held into the last bar
    other = classes.clone()
    other[:, 1, 3 * S :] = torch.where(classes[:, 1, 3 * S :] == REST_CLASS, FIRST_PITCH, REST_CLASS)
    with torch.no_grad():
        a, b = (net(x, sounding_of(x)) for x in (classes, other))
    changed = ((a.chords[0] - b.chords[0]).abs() > 1e-6).any(-1)
    assert changed.any(0).tolist() == [False, False, True, True]
    assert changed[:, 2:].all()
    assert ((a.style[0] - b.style[0]).abs() > 1e-6).any(-1).all()


def test_what_sounds():
    line = torch.tensor(
        [
            HOLD_CLASS,
            FIRST_PITCH,
            HOLD_CLASS,
            REST_CLASS,
            HOLD_CLASS,
            FIRST_PITCH + 4,
            HOLD_CLASS,
            FIRST_PITCH,
        ]
    )
    assert sounding_of(line).tolist() == [0, 1, 1, 0, 0, 5, 5, 1]


# -- flows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [0, 3])
def test_flows_make_codes_bar_after_bar(heard):
    torch.manual_seed(3)
    net = Flows(Z, 16, heard)
    given = torch.randn(B, N, heard) if heard else None
    noise = codes()
    chords, style = net(noise.chords, noise.style, given)
    assert (chords.shape, style.shape) == ((B, N, Z), (B, Z))
    some = None if given is None else given[:, :2]
    torch.testing.assert_close(net(noise.chords[:, :2], noise.style, some)[0], chords[:, :2])
    later = noise.chords.clone()
    later[:, 2] += 1
    changed = (net(later, noise.style, given)[0] - chords).abs().amax(-1) > 1e-6
    assert changed.all(0).tolist() == [False, False, True, True]  # the bar, and those that follow it
    changed = (net(noise.chords, noise.style + 1, given)[0] - chords).abs().amax(-1) > 1e-7
    assert changed.all()
    moving, _ = net(noise.chords, noise.style[:, None].expand(B, N, Z), given)
    torch.testing.assert_close(moving, chords)
    loss = net.loss(chords.detach(), style.detach(), given)
    assert loss.shape == ()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_flow_learns_a_distribution_and_its_condition():
    torch.manual_seed(4)
    net = Flow(2, 1, 32, 1)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(400):
        condition = torch.randn(128, 1).sign()
        code = torch.cat([2 * condition, -condition], -1) + torch.randn(128, 2) * torch.tensor([0.3, 1.0])
        optimiser.zero_grad()
        net.loss(code, condition).backward()
        optimiser.step()
    with torch.no_grad():
        for sign in (-1.0, 1.0):
            found = net(torch.randn(2000, 2), torch.full((2000, 1), sign))
            assert (found.mean(0) - torch.tensor([2 * sign, -sign])).abs().max() < 0.3
            assert (found.std(0) - torch.tensor([0.3, 1.0])).abs().max() < 0.25
