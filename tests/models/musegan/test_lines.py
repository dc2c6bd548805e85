"""The autoregressive decoder under the four noises: what is written is what is learnt, and who hears what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from otonoha.models.musegan.lines import (
    ONSET,
    Decoder,
    Encoder,
    Flow,
    Flows,
    Posterior,
    noise_widths,
    pick,
    sounding_of,
    uniform,
)
from otonoha.models.musegan.shape import Shape, draw
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS, REST_CLASS

torch.set_num_threads(1)
SHAPE = Shape(tracks=3, bars=4, steps=4, pitches=15)
Z, B, M, N, S, T = 5, 6, 3, 4, 4, 16
WIDTHS = noise_widths(SHAPE, Z)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def codes(seed=0, bars=N):
    return draw(B, M, bars, WIDTHS, generator(seed))


@pytest.fixture(scope="module")
def decoder():
    """Fresh, but with opinions: its last layer is far from uniform."""
    torch.manual_seed(1)
    net = Decoder(SHAPE, Z, low=40, hidden=16).eval()
    with torch.no_grad():
        net.out[-1].weight *= 12
        net.harmony[-1].weight *= 4
    return net


def random_lines(seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice([REST_CLASS, HOLD_CLASS, FIRST_PITCH], (B, M, T), p=[0.2, 0.4, 0.4])
    return torch.from_numpy(
        np.where(kind == FIRST_PITCH, FIRST_PITCH + rng.integers(0, 15, kind.shape), kind)
    )


def forward(decoder, classes, heard):
    with torch.no_grad():
        plan, _ = decoder.plan(heard.chords, heard.style)
        return decoder(plan, classes, sounding_of(classes))


# -- writing is reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "consonance"), [(0, 0), (0.7, 0), (1.0, 0), (3.0, 0), (1.0, 2.5), (0, 8)]
)
def test_what_is_written_follows_from_the_chances_that_are_learnt(decoder, temperature, consonance):
    """Step by step and cached equals whole and teacher-forced: every class is the one its noises choose."""
    heard = codes()
    written = decoder.write(heard, temperature=temperature, consonance=consonance)
    kinds, pitches = forward(decoder, written, heard)
    pitches = pitches + consonance * likely(decoder, heard).log()[:, None]
    before = sounding_of(written)[..., :-1]
    kinds[..., 0, HOLD_CLASS] = -torch.inf
    kinds[..., 1:, HOLD_CLASS] = kinds[..., 1:, HOLD_CLASS].masked_fill(before == 0, -torch.inf)
    groove = heard.groove[:, :, None].expand_as(heard.melody)
    chances = [uniform(x).flatten() for x in (groove, heard.melody)]
    kind = pick(kinds.flatten(0, 2), chances[0], temperature).view_as(written)
    pitch = pick(pitches.flatten(0, 2), chances[1], temperature).view_as(written)
    assert torch.equal(written, torch.where(kind == ONSET, FIRST_PITCH + pitch, kind))
    if temperature == 0:
        assert torch.equal(kind, kinds.argmax(-1))
    else:
        assert len(written.unique()) > 10  # rests, holds and many pitches


def test_a_hold_never_follows_silence(decoder):
    with torch.no_grad():
        fond = Decoder(SHAPE, Z, low=40, hidden=16).eval()
        fond.load_state_dict(decoder.state_dict())
        fond.out[-1].bias[HOLD_CLASS] += 3
        fond.out[-1].bias[REST_CLASS] += 1
    written = fond.write(codes())
    silent = torch.cat([torch.ones(B, M, 1, dtype=torch.bool), sounding_of(written)[..., :-1] == 0], -1)
    assert silent[..., 1:].any()
    assert (written == HOLD_CLASS).any()
    assert not (silent & (written == HOLD_CLASS)).any()


def test_nats_are_those_of_the_chances(decoder):
    classes, heard = random_lines(2), codes(3)
    kinds, pitches = forward(decoder, classes, heard)
    wanted = -Categorical(logits=kinds).log_prob(classes.clamp(max=ONSET))
    of_pitch = -Categorical(logits=pitches).log_prob((classes - FIRST_PITCH).clamp(min=0))
    with torch.no_grad():
        plan, _ = decoder.plan(heard.chords, heard.style)
        found = decoder.nats(plan, classes, sounding_of(classes))
    torch.testing.assert_close(found, wanted + of_pitch * (classes >= FIRST_PITCH), rtol=1e-4, atol=1e-4)
    total = found.sum().item()
    with torch.no_grad():
        torch.manual_seed(0)
        assert decoder.nats(plan, classes, sounding_of(classes), drop=0.9).sum().item() != pytest.approx(
            total
        )


def test_no_step_sees_itself_or_what_follows(decoder):
    classes, heard = random_lines(4), codes(3)
    other = classes.clone()
    other[:, :, 9] = torch.where(classes[:, :, 9] == FIRST_PITCH + 1, FIRST_PITCH + 2, FIRST_PITCH + 1)
    for a, b in zip(forward(decoder, classes, heard), forward(decoder, other, heard), strict=True):
        torch.testing.assert_close(a[:, :, :10], b[:, :, :10])
        assert (a[:, :, 10] - b[:, :, 10]).abs().amax(-1).min() > 1e-6


# -- consonance ----------------------------------------------------------------------------------------------


def likely(decoder, heard):
    """(B, T, P): the chance that the pitch class of a row sounds, said alike to all tracks; rows from 40."""
    with torch.no_grad():
        _, harmony = decoder.plan(heard.chords, heard.style)
        return decoder.chroma(harmony).sigmoid()[..., (40 + torch.arange(15)) % 12]


def share_in_harmony(decoder, heard, written):
    """(M,) of the notes that begin, those of pitch classes that are likelier than not."""
    pitch = (written - FIRST_PITCH).clamp(min=0)
    chance = likely(decoder, heard)[:, None].expand(B, M, T, 15).gather(-1, pitch[..., None])[..., 0]
    begins = written >= FIRST_PITCH
    return ((chance > 0.5) & begins).sum((0, 2)) / begins.sum((0, 2))


def test_without_consonance_nothing_changes(decoder):
    heard = codes()
    assert torch.equal(decoder.write(heard, consonance=0.0), decoder.write(heard))
    assert not torch.equal(decoder.write(heard, consonance=8.0), decoder.write(heard))


def test_consonance_keeps_every_track_to_the_common_harmony(decoder):
    heard = codes()
    chance = likely(decoder, heard)
    assert 0.2 < (chance > 0.5).float().mean() < 0.8
    shares = [share_in_harmony(decoder, heard, decoder.write(heard, consonance=c)) for c in (0.0, 3.0, 50.0)]
    assert shares[0].mean() < shares[1].mean() < shares[2].mean()
    assert (shares[0] + 0.1 < shares[2]).all()


def test_consonance_leaves_the_rhythm_to_groove(decoder):
    """What it changes first is always a pitch."""
    before, after = decoder.write(codes()), decoder.write(codes(), consonance=8.0)
    same = (before == after).long().cumprod(-1).bool()
    at = same.logical_not().int().argmax(-1, keepdim=True)
    first = [x.gather(-1, at)[~same.all(-1)] for x in (before, after)]
    assert len(first[0]) > 5
    assert all((x >= FIRST_PITCH).all() for x in first)


# -- pick ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_picks_are_distributed_as_the_chances(temperature):
    logits, n = torch.tensor([1.0, -0.5, 0.3, -torch.inf, 2.0]), 20_000
    chance = (torch.arange(n) + 0.5) / n
    counts = pick(logits.expand(n, -1), chance, temperature).bincount(minlength=5)
    wanted = (logits / temperature).softmax(0) * n
    assert ((counts - wanted).abs() <= 1.01).all()
    assert counts[3] == 0


def test_picks_at_the_ends():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    for temperature in (0.01, 1.0):
        assert pick(logits, torch.zeros(1), temperature).item() in (1, 2)
        assert pick(logits, uniform(torch.tensor([9.0])), temperature).item() == 2
    assert pick(logits, torch.zeros(1), 1.0).item() == 1
    assert pick(logits, torch.zeros(1), 0).item() == 2


def test_normal_noise_becomes_uniform():
    x = torch.randn(50_000, generator=generator(5))
    u = uniform(x)
    assert ((u >= 0) & (u < 1)).all()
    assert (u[x.argsort()].diff() >= 0).all()
    shares = torch.histc(u, 10, 0, 1) / len(u)
    assert (shares - 0.1).abs().max() < 0.01
    assert uniform(torch.tensor([-40.0, 40.0])).tolist() == pytest.approx([0, 1], abs=1e-5)


# -- who hears which noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", ["melody", "groove"])
@pytest.mark.parametrize("track", range(M))
def test_private_noise_of_a_track_changes_that_track_only(decoder, knob, track):
    heard = codes()
    value = getattr(heard, knob).clone()
    value[:, track] = getattr(codes(9), knob)[:, track]
    before, after = decoder.write(heard), decoder.write(replace(heard, **{knob: value}))
    changed = (before != after).any(-1).any(0)
    assert changed.tolist() == [m == track for m in range(M)]


def test_groove_chooses_kinds_and_melody_pitches(decoder):
    """Where nothing before has changed, groove alone decides what kind of step it is."""
    heard = codes()
    before, after = decoder.write(heard), decoder.write(replace(heard, melody=codes(9).melody))
    same = (before == after).long().cumprod(-1).bool()
    at = same.logical_not().int().argmax(-1, keepdim=True)  # the first difference
    first = [x.gather(-1, at)[~same.all(-1)] for x in (before, after)]
    assert len(first[0]) > 5
    assert all((x >= FIRST_PITCH).all() for x in first)


@pytest.mark.parametrize("knob", ["chords", "style"])
def test_common_codes_change_all_tracks(decoder, knob):
    heard = codes()
    other = replace(heard, **{knob: getattr(codes(9), knob)})
    assert (decoder.write(heard) != decoder.write(other)).any(-1).any(0).all()


def test_a_bar_depends_on_no_later_one(decoder):
    whole = codes()
    first = replace(whole, chords=whole.chords[:, :2], melody=whole.melody[:, :, :2])
    assert torch.equal(decoder.write(first), decoder.write(whole)[..., : 2 * S])
    melody = whole.melody.clone()
    melody[:, :, 2] = codes(9).melody[:, :, 2]
    changed = (decoder.write(whole) != decoder.write(replace(whole, melody=melody))).any(0).any(0)
    assert not changed[: 2 * S].any()
    assert changed[2 * S : 3 * S].any()


def test_tracks_do_not_hear_each_other(decoder):
    classes, heard = random_lines(6), codes(3)
    other = classes.clone()
    other[:, 1] = random_lines(7)[:, 1]
    for a, b in zip(forward(decoder, classes, heard), forward(decoder, other, heard), strict=True):
        torch.testing.assert_close(a[:, [0, 2]], b[:, [0, 2]])
        assert not torch.allclose(a[:, 1], b[:, 1])


def test_in_a_medley_style_and_groove_move(decoder):
    heard = codes()
    moving = replace(
        heard,
        style=heard.style[:, None].repeat(1, N, 1),
        groove=heard.groove[:, :, None].repeat(1, 1, N, 1),
    )
    assert torch.equal(decoder.write(moving), decoder.write(heard))
    moving.groove[:, 1, 3] = codes(9).groove[:, 1]
    changed = (decoder.write(moving) != decoder.write(heard)).any(0)
    assert changed[1, 3 * S :].any()
    assert not changed[[0, 2]].any()
    assert not changed[1, : 3 * S].any()


def test_harmony_raises_pitch_classes_of_all_tracks(decoder):
    """A C in the plan is a C in every octave: rows are MIDI numbers from 40."""
    plan = torch.zeros(1, 1, 1, decoder.hint + 12 * decoder.channels)
    plan[..., decoder.hint :].unflatten(-1, (12, -1))[..., 5, :] = 30.0
    with torch.no_grad():
        _, pitch = decoder.logits(torch.zeros(1, 1, 1, 16), plan)
        own = decoder.out(torch.cat([torch.zeros(16), plan[0, 0, 0]]))
    raised, trust = pitch[0, 0, 0] - own[3 : 3 + 15], own[-decoder.channels :]
    wanted = torch.where((40 + torch.arange(15)) % 12 == 5, 30 * (1 + trust).sum(), 0.0)
    torch.testing.assert_close(raised, wanted, rtol=1e-4, atol=1e-3)


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


# -- a given track ---------------------------------------------------------------------------------------------------


def test_a_decoder_listens_to_the_given_track():
    torch.manual_seed(5)
    net = Decoder(SHAPE, Z, low=40, hidden=16, given=True).eval()
    with torch.no_grad():
        net.out[-1].weight *= 12
    heard, given = codes(), random_lines(9)[:, 0]
    given[:, 3 * S] = FIRST_PITCH
    other = given.clone()
    other[:, 3 * S :] = FIRST_PITCH + 7
    a, b = (net.write(heard, given=x) for x in (given, other))
    changed = (a != b).any(0).any(0)
    assert not changed[: 2 * S].any()  # it hears a bar ahead, no further
    assert changed[2 * S :].any()


def test_every_weight_learns():
    torch.manual_seed(6)
    encoder, net = Encoder(SHAPE, Z, 12), Decoder(SHAPE, Z, low=40, hidden=16, given=True)
    classes = random_lines(10)
    sounds = sounding_of(classes)
    found = encoder(classes, sounds)
    plan, harmony = net.plan(*found.drawn(), classes[:, 0])
    loss = (
        net.nats(plan, classes, sounds).sum() + sum(x.sum() for x in found.nats()) + net.chroma(harmony).sum()
    )
    loss.backward()
    for module in (encoder, net):
        assert {
            n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
        } == set()
