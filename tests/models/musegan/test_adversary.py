"""The three games and their penalties, against what can be worked out by hand for linear and quadratic critics."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from otonoha.models.musegan import adversary
from otonoha.models.musegan.adversary import critic_loss, generator_loss, gradient_penalty, r1

torch.set_num_threads(1)
SHAPE = (5, 2, 3, 4, 6)  # B, M, N, S, P


def phrases(seed, *, batch=SHAPE[0]):
    return torch.randn(batch, *SHAPE[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(norm):
    """A critic whose gradient is the same everywhere, of this norm over all axes of a phrase."""
    w = phrases(7)[0]
    w = w / w.norm() * norm
    return lambda x: (x * w).flatten(1).sum(1)


def bowl(x):
    """A critic whose gradient at x is x."""
    return x.square().flatten(1).sum(1) / 2


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalties_of_a_linear_critic(norm):
    critic, real, fake = linear(norm), phrases(1), phrases(2)
    assert gradient_penalty(critic, real, fake).item() == pytest.approx((norm - 1) ** 2, abs=1e-9)
    assert r1(critic, real).item() == pytest.approx(norm**2)


def test_there_is_one_norm_for_each_phrase():
    real = phrases(3)
    norms = real.flatten(1).norm(dim=1)
    assert r1(bowl, real).item() == pytest.approx(norms.square().mean().item())
    wanted = (norms - 1).square().mean().item()
    assert gradient_penalty(bowl, real, real).item() == pytest.approx(wanted)  # between real and itself
    over_all = (real.norm() - 1).square().item()
    over_pitches = (real.norm(dim=-1) - 1).square().mean().item()
    assert wanted != pytest.approx(over_all, rel=0.1)
    assert wanted != pytest.approx(over_pitches, rel=0.1)


def test_points_between_are_uniform_and_each_phrase_has_its_own():
    seen = []

    def watching(x):
        seen.append(x.detach())
        return bowl(x)

    torch.manual_seed(5)
    real, fake = phrases(1, batch=1500), phrases(2, batch=1500)
    gradient_penalty(watching, real, fake)
    (at,) = seen
    way = (real - fake).flatten(1)
    share = ((at - fake).flatten(1) * way).sum(1) / way.square().sum(1)
    torch.testing.assert_close(at, fake + share.view(-1, 1, 1, 1, 1) * (real - fake))  # on the line between
    assert stats.kstest(share.numpy(), "uniform").pvalue > 0.01


def test_penalties_can_be_minimised():
    """Their gradient reaches the critic's weights: for w·x it is that of (‖w‖ - 1)² and of ‖w‖²."""
    for penalty, wanted in [
        (lambda c: gradient_penalty(c, phrases(1), phrases(2)), lambda w: (w.norm() - 1).square()),
        (lambda c: r1(c, phrases(1)), lambda w: w.square().sum()),
    ]:
        w = phrases(9)[0].requires_grad_(True)
        (got,) = torch.autograd.grad(penalty(lambda x, w=w: (x * w).flatten(1).sum(1)), w)
        (expected,) = torch.autograd.grad(wanted(w), w)
        torch.testing.assert_close(got, expected)


def test_critics_of_a_track_each_play_a_game_each():
    """Jamming: penalties and losses are those of so many critics alone, added up; a given track has none."""

    class Apart:
        apart, judged = True, [0, 1]
        w = phrases(7)[0]

        def each(self, x):
            return torch.stack([(x[:, m] * self.w[m]).flatten(1).sum(1) for m in self.judged], 1)

    def alone(m):
        w = torch.zeros_like(Apart.w)
        w[m] = Apart.w[m]
        return lambda x: (x * w).flatten(1).sum(1)

    real, fake = phrases(1), phrases(2)
    assert gradient_penalty(Apart(), real, fake).item() == pytest.approx(
        sum(gradient_penalty(alone(m), real, fake).item() for m in (0, 1))
    )
    assert r1(Apart(), real).item() == pytest.approx(sum(r1(alone(m), real).item() for m in (0, 1)))
    for game in ("wgan-gp", "r1", "hinge"):
        together, _ = critic_loss(game, Apart(), real, fake, penalty=3.0, step=8)
        each = [critic_loss(game, alone(m), real, fake, penalty=3.0, step=8)[0] for m in (0, 1)]
        assert together.item() == pytest.approx(sum(loss.item() for loss in each))
        fooled = [generator_loss(game, alone(m), fake).item() for m in (0, 1)]
        assert generator_loss(game, Apart(), fake).item() == pytest.approx(sum(fooled))


def test_a_flat_critic_has_no_infinite_gradient():
    w = torch.zeros(SHAPE[1:], dtype=torch.float64, requires_grad=True)
    gradient_penalty(lambda x: (x * w).flatten(1).sum(1), phrases(1), phrases(2)).backward()
    assert torch.isfinite(w.grad).all()


def softplus(x):
    return math.log1p(math.exp(x))


def test_games_by_hand():
    def critic(x):
        return x.flatten(1)[:, 0]

    real, fake = torch.zeros(2, *SHAPE[1:]), torch.zeros(2, *SHAPE[1:])
    real[:, 0, 0, 0, 0] = torch.tensor([0.5, 2.0])
    fake[:, 0, 0, 0, 0] = torch.tensor([-0.25, -3.0])
    told = {}
    for game in ("wgan-gp", "r1", "hinge"):
        loss, told[game] = critic_loss(game, critic, real, fake, penalty=0.0, step=1)
        told[game]["loss"] = loss.item()
        assert told[game]["real"].item() == pytest.approx(1.25)
        assert told[game]["fake"].item() == pytest.approx(-1.625)
    assert told["wgan-gp"]["loss"] == pytest.approx(-1.625 - 1.25)
    assert told["wgan-gp"]["distance"].item() == pytest.approx(1.625 + 1.25)
    on_fake, on_real = (softplus(-0.25) + softplus(-3)) / 2, (softplus(-0.5) + softplus(-2)) / 2
    assert told["r1"]["loss"] == pytest.approx(on_fake + on_real, rel=1e-5)
    assert told["hinge"]["loss"] == pytest.approx((0.75 + 0) / 2 + (0.5 + 0) / 2)
    assert generator_loss("r1", critic, fake).item() == pytest.approx((softplus(0.25) + softplus(3)) / 2)
    for game in ("wgan-gp", "hinge"):
        assert generator_loss(game, critic, fake).item() == pytest.approx(1.625)


def test_the_gradient_penalty_acts_always_with_its_weight():
    real, fake, critic = phrases(1), phrases(2), linear(3.0)
    for step in range(3):
        bare, _ = critic_loss("wgan-gp", critic, real, fake, penalty=0.0, step=step)
        loss, told = critic_loss("wgan-gp", critic, real, fake, penalty=10.0, step=step)
        assert (loss - bare).item() == pytest.approx(10 * 4)
        assert told["penalty"].item() == pytest.approx(10 * 4)


@pytest.mark.parametrize("game", ["r1", "hinge"])
def test_r1_is_lazy_and_keeps_its_mean(game):
    real, fake, critic = phrases(1), phrases(2), linear(2.0)
    extra = []
    for step in range(2 * adversary.EVERY):
        bare, _ = critic_loss(game, critic, real, fake, penalty=0.0, step=step)
        loss, told = critic_loss(game, critic, real, fake, penalty=5.0, step=step)
        extra.append((loss - bare).item())
        assert told["penalty"].item() == pytest.approx(extra[-1], abs=1e-9)
    acted = [step for step, e in enumerate(extra) if e > 0]
    assert acted == [0, adversary.EVERY]
    assert sum(extra) / len(extra) == pytest.approx(5.0 / 2 * 4)


def test_the_critic_learns_to_prefer_real_phrases():
    torch.manual_seed(0)
    for game in ("wgan-gp", "r1", "hinge"):
        w = torch.zeros(SHAPE[1:], dtype=torch.float64, requires_grad=True)

        def critic(x, w=w):
            return (x * w).flatten(1).sum(1)

        optimiser = torch.optim.Adam([w], lr=0.02)
        for step in range(40):
            real, fake = phrases(step) + 0.5, phrases(1000 + step) - 0.5
            optimiser.zero_grad()
            critic_loss(game, critic, real, fake, penalty=0.1, step=step)[0].backward()
            optimiser.step()
        with torch.no_grad():
            real, fake = phrases(5000) + 0.5, phrases(6000) - 0.5
            assert critic(real).min() > critic(fake).max(), game
            # what the generator is told to do is to come nearer
            assert generator_loss(game, critic, real) < generator_loss(game, critic, fake)
