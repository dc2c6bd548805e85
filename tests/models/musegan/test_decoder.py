"""The decoder of design `lines`: what is written is what is learnt, and who hears what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from otonoha.models.musegan.decoder import ONSET, Around, Decoder, pick, sounding_of, uniform
from otonoha.models.musegan.lines import Encoder
from otonoha.models.musegan.shape import Shape
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS, REST_CLASS

torch.set_num_threads(1)
SHAPE = Shape(tracks=4, bars=4, steps=4, pitches=15)
COUNT, STRUCK = 2, torch.tensor([False, False, True, True])
Z, B, V, N, S, T = 5, 6, 4, 4, 4, 16
LINES = list(range(V))
OTHERS = 1 - torch.eye(V)
BEFORE = torch.ones(V, V).tril(-1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def codes(seed=0):
    g = generator(seed)
    return torch.randn(B, N, Z, generator=g), torch.randn(B, Z, generator=g)


def chances(seed, lines=V):
    return tuple(torch.rand(2, B, lines, T, generator=generator(seed)))


def opinionated(**options):
    """Fresh, but with opinions: its last layers are far from uniform."""
    torch.manual_seed(1)
    net = Decoder(SHAPE, Z, low=40, hidden=16, count=COUNT, struck=STRUCK, **options).eval()
    with torch.no_grad():
        for layer in (net.kind, net.pitch):
            layer.weight *= 8
        net.harmony[-1].weight *= 4
        net.ears.intervals.normal_()
        net.ears.parallels.normal_()
        net.ears.notes *= 4
        net.ears.unheard.normal_()
    return net


@pytest.fixture(scope="module")
def decoder():
    return opinionated()


def random_lines(seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice([REST_CLASS, HOLD_CLASS, FIRST_PITCH], (B, V, T), p=[0.2, 0.4, 0.4])
    return torch.from_numpy(
        np.where(kind == FIRST_PITCH, FIRST_PITCH + rng.integers(0, 15, kind.shape), kind)
    )


def told(decoder, classes, seen, seed=0):
    """Logits of kinds (B, V, T, 3) and of pitches (B, V, T, P), NaN where no note begins."""
    with torch.no_grad():
        plan, _ = decoder.plan(*codes(seed))
        seen = seen.expand(B, V, V).contiguous()
        kinds, (b, v, t), found = decoder(plan, classes, sounding_of(classes), seen)
    pitches = torch.full((B, V, T, 15), torch.nan)
    pitches[b, v, t] = found
    return kinds, pitches


def write(decoder, classes, seen, lines, dice, temperature=1.0, seed=0):
    plan, _ = decoder.plan(*codes(seed))
    return decoder.write(plan, classes, seen[lines], lines, dice, temperature=temperature)


# -- writing is reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("lines", [LINES, [2], [3, 0]])
def test_what_is_written_follows_from_the_chances_that_are_learnt(decoder, temperature, lines):
    """Step by step equals whole and teacher-forced: every class is the one that its number chooses."""
    around, dice = random_lines(0), chances(1, len(lines))
    written = write(decoder, around, OTHERS, lines, dice, temperature)
    for u, line in enumerate(lines):  # each has heard the others as they were
        whole = around.clone()
        whole[:, line] = written[:, u]
        kinds, pitches = (x[:, line] for x in told(decoder, whole, OTHERS))
        silent = torch.nn.functional.pad(sounding_of(written[:, u])[..., :-1], (1, 0)) == 0
        kinds[..., HOLD_CLASS] = kinds[..., HOLD_CLASS].masked_fill(silent | STRUCK[line], -torch.inf)
        kind = pick(kinds.flatten(0, 1), dice[0][:, u].flatten(), temperature).view(B, T)
        assert torch.equal(kind, written[:, u].clamp(max=ONSET))
        begins = kind == ONSET
        pitch = pick(pitches[begins], dice[1][:, u][begins], temperature)
        assert torch.equal(FIRST_PITCH + pitch, written[:, u][begins])
        if temperature == 0:
            assert torch.equal(pitch, pitches[begins].argmax(-1))
    if temperature == 1:
        assert len(written.unique()) > 8  # rests, holds and many pitches


def test_a_hold_never_follows_silence():
    fond = opinionated()
    with torch.no_grad():
        fond.kind.bias[HOLD_CLASS] += 3
        fond.kind.bias[REST_CLASS] += 1
    written = write(fond, random_lines(0), OTHERS, LINES, chances(2))
    silent = torch.cat([torch.ones(B, V, 1, dtype=torch.bool), sounding_of(written)[..., :-1] == 0], -1)
    assert silent[..., 1:].any()
    assert (written == HOLD_CLASS).any()
    assert not (silent & (written == HOLD_CLASS)).any()
    assert not (written[:, STRUCK] == HOLD_CLASS).any()


def test_nats_are_those_of_the_chances(decoder):
    classes = random_lines(2)
    kinds, pitches = told(decoder, classes, BEFORE)
    wanted = -Categorical(logits=kinds).log_prob(classes.clamp(max=ONSET))
    begins = classes >= FIRST_PITCH
    wanted[begins] -= Categorical(logits=pitches[begins]).log_prob(classes[begins] - FIRST_PITCH)
    plan, _ = decoder.plan(*codes())
    asked = plan, classes, sounding_of(classes), BEFORE.expand(B, V, V)
    with torch.no_grad():
        torch.testing.assert_close(decoder.nats(*asked), wanted, rtol=1e-4, atol=1e-4)
        torch.manual_seed(0)
        assert decoder.nats(*asked, drop=0.9).sum().item() != pytest.approx(wanted.sum().item())


def test_no_step_sees_itself_or_what_follows(decoder):
    """Of its own line."""
    classes = random_lines(4)
    other = classes.clone()
    other[:, 1, 9] = torch.where(classes[:, 1, 9] == FIRST_PITCH + 1, FIRST_PITCH + 2, FIRST_PITCH + 1)
    a, b = (told(decoder, x, OTHERS)[0][:, 1] for x in (classes, other))
    torch.testing.assert_close(a[:, :10], b[:, :10])
    assert (a[:, 10] - b[:, 10]).abs().amax(-1).min() > 1e-6


# -- who hears whom ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [OTHERS, BEFORE, torch.zeros(V, V)])
def test_a_line_hears_what_it_has_seen_and_nothing_else(decoder, seen):
    classes = random_lines(6)
    other = classes.clone()
    other[:, 1] = random_lines(7)[:, 1]
    a, b = (told(decoder, x, seen) for x in (classes, other))
    for line in (0, 2, 3):
        same = torch.allclose(a[0][:, line], b[0][:, line])
        assert same == (seen[line, 1] == 0)
        assert torch.equal(a[1][:, line].nan_to_num(), b[1][:, line].nan_to_num()) == same


def test_a_line_hears_one_step_ahead_but_not_beyond_the_bar(decoder):
    classes = random_lines(8)
    for step, hears in ((6, [5, 6]), (8, [8])):  # in the middle of a bar, and where one begins
        other = classes.clone()
        other[:, 1, step] = torch.where(
            classes[:, 1, step] == FIRST_PITCH + 1, FIRST_PITCH + 2, FIRST_PITCH + 1
        )
        other[:, 1, step + 1], classes[:, 1, step + 1] = (
            REST_CLASS,
            REST_CLASS,
        )  # heard again at `step`, at most
        a, b = (told(decoder, x, OTHERS)[0][:, 0] for x in (classes, other))
        first = [t for t in range(T) if not torch.allclose(a[:, t], b[:, t])]
        assert first[: len(hears)] == hears


def test_who_is_not_heard_leaves_no_trace_of_being_silent(decoder):
    """Hearing a line that rests is not the same as not hearing it."""
    classes = torch.full((B, V, T), REST_CLASS)
    a, b = (told(decoder, classes, seen)[0] for seen in (OTHERS, torch.zeros(V, V)))
    assert (a - b).abs().max() > 1e-4


def around(n=150, seed=3):
    g = generator(seed)
    sounds, earlier = torch.randint(0, 16, (2, n, V), generator=g)
    earlier = torch.where(torch.rand(n, V, generator=g) < 0.3, sounds, earlier)
    line = torch.randint(0, V, (n,), generator=g)
    own = torch.randint(0, 16, (n,), generator=g)
    seen = torch.randint(0, 2, (n, V), generator=g).float()
    return Around(line, sounds, earlier, own, seen)


def test_tables_lean_towards_pitches(decoder):
    """By the definitions: for every line that is heard and sounds, the entry of the pair's table of intervals; if it
    moves, that of parallels for the pitch that would move along. Drums have neither."""
    x = around()
    with torch.no_grad():
        found = decoder.ears.leaning(x)
    intervals, parallels = decoder.ears.intervals.detach(), decoder.ears.parallels.detach()
    seen = 0
    for i in range(len(x.line)):
        for p in range(15):
            wanted = 0.0
            for w in range(V):
                if not x.seen[i, w] or not x.sounds[i, w] or STRUCK[w] or STRUCK[x.line[i]]:
                    continue
                pair, now, before, own = (
                    (x.line[i] // COUNT, w // COUNT),
                    x.sounds[i, w],
                    x.earlier[i, w],
                    x.own[i],
                )
                wanted += intervals[(*pair, p - (now - 1) + 14)].item()
                if before and own and now != before and p - (own - 1) == now - before:
                    wanted += parallels[(*pair, (own - before) % 12)].item()
                    seen += 1
            assert found[i, p].item() == pytest.approx(wanted, abs=1e-5)
    assert seen > 5


def test_harmony_raises_pitch_classes_of_all_lines_but_drums(decoder):
    """A pitch class in the plan is one in every octave: rows are MIDI numbers from 40."""
    plan, z = (
        torch.zeros(V, decoder.hint + 12 * decoder.channels),
        torch.randn(V, 16, generator=generator(4)),
    )
    alone = torch.zeros(V, V, dtype=torch.long)
    place = Around(torch.arange(V), alone, alone, alone[0], alone.float())
    with torch.no_grad():
        before = decoder.pitches(z, plan, place)
        plan[:, decoder.hint :].unflatten(-1, (12, -1))[:, 5, :] = 30.0
        raised = decoder.pitches(z, plan, place) - before
        trust = decoder.pitch(z)[:, -decoder.channels :]
    wanted = torch.where((40 + torch.arange(15)) % 12 == 5, 30 * (1 + trust).sum(-1, keepdim=True), 0.0)
    wanted[STRUCK] = 0
    torch.testing.assert_close(raised, wanted, rtol=1e-4, atol=1e-3)


# -- keeping what is there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("anew", [0.0, 0.3])
def test_notes_stay_unless_their_number_says_otherwise(decoder, anew):
    there = decoder.write(decoder.plan(*codes())[0], random_lines(0), OTHERS, LINES, chances(1))
    dice = chances(2)
    plan, _ = decoder.plan(*codes())
    written = decoder.write(plan, there, OTHERS, LINES, dice, anew=anew)
    if anew == 0:
        assert torch.equal(written, there)
        return
    kinds = there.clamp(max=ONSET)
    kept = (dice[0] >= anew) & (kinds != HOLD_CLASS)
    assert torch.equal(written.clamp(max=ONSET)[kept], kinds[kept])
    same = kept & (kinds == ONSET) & (dice[1] >= anew)
    assert torch.equal(written[same], there[same])
    assert 0.05 < (written != there).float().mean() < 0.5


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


# -- codes and weights ---------------------------------------------------------------------------------------


def test_codes_of_a_bar_change_no_earlier_one(decoder):
    chords, style = codes()
    other = chords.clone()
    other[:, 2] = codes(9)[0][:, 2]
    dice, around = chances(1), random_lines(0)
    with torch.no_grad():
        a, b = (
            decoder.write(decoder.plan(c, style)[0], around, OTHERS, LINES, dice) for c in (chords, other)
        )
    changed = (a != b).any(0).any(0)
    assert not changed[: 2 * S].any()
    assert changed[2 * S : 3 * S].any()


def test_a_style_for_every_bar_is_that_of_all_bars(decoder):
    chords, style = codes()
    with torch.no_grad():
        a, b = (decoder.plan(chords, s)[0] for s in (style, style[:, None].expand(B, N, Z)))
    torch.testing.assert_close(a, b)


def test_the_plan_listens_to_the_given_track():
    net = opinionated(given=True)
    given = random_lines(9)[:, 0]
    given[:, 3 * S] = FIRST_PITCH
    other = given.clone()
    other[:, 3 * S :] = FIRST_PITCH + 7
    with torch.no_grad():
        a, b = (net.plan(*codes(), x)[0] for x in (given, other))
    changed = (a - b).abs().amax((0, 1, 3)) > 1e-6
    assert not changed[: 2 * S].any()  # it hears a bar ahead, no further
    assert changed[2 * S :].all()


def test_every_weight_learns():
    torch.manual_seed(6)
    encoder = Encoder(SHAPE, Z, 12)
    net = Decoder(SHAPE, Z, low=40, hidden=16, count=COUNT, struck=STRUCK, given=True)
    classes = random_lines(10)
    sounds = sounding_of(classes)
    found = encoder(classes, sounds)
    plan, harmony = net.plan(*found.drawn(), classes[:, 0])
    seen = torch.randint(0, 2, (B, V, V), generator=generator(1)).float()
    nats = net.nats(plan, classes, sounds, seen).sum()
    (nats + sum(x.sum() for x in found.nats()) + net.chroma(harmony).sum()).backward()
    for module in (encoder, net):
        assert {
            n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
        } == set()
