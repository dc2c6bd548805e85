"""The better GAN for lines: classes, what the critic hears (against a plain twin), who hears which noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers import chorale
from otonoha.models.musegan.onehot import (
    Critic,
    Generator,
    PerTrack,
    Streams,
    classes_of,
    one_hot,
    pasted,
    sounding,
    straight_through,
)
from otonoha.models.musegan.shape import Noise, Shape, Widths, draw
from otonoha.tokens.roll import FIRST_PITCH, HOLD_CLASS, REST_CLASS, Roll

torch.set_num_threads(1)
LOW, PITCHES = 40, 15
SHAPE = Shape(tracks=3, bars=2, steps=4, pitches=PITCHES)
WIDTHS = Widths(3, 4, 5, 6)
C = FIRST_PITCH + PITCHES


def random_classes(seed, *, batch=5, shape=SHAPE):
    """Classes (B, M, T) with many rests and holds, also holds that hold nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(
        [REST_CLASS, HOLD_CLASS, FIRST_PITCH],
        (batch, shape.tracks, shape.bars * shape.steps),
        p=[0.2, 0.4, 0.4],
    )
    pitch = rng.integers(0, shape.pitches, kind.shape)
    return torch.from_numpy(np.where(kind == FIRST_PITCH, FIRST_PITCH + pitch, kind))


# -- classes -----------------------------------------------------------------------------------------------


def test_classes_are_those_of_the_codec():
    codec = Roll()
    pieces = np.stack([codec.array(codec.encode(chorale(seed, bars=3))) for seed in range(3)])
    rolls = pieces.swapaxes(1, 2)  # (B, M, N, S, P)
    np.testing.assert_array_equal(classes_of(torch.from_numpy(rolls)).numpy(), codec.lines_of(rolls))
    small = Roll(("a", "b", "c"), steps_per_bar=4, low=LOW, high=LOW + PITCHES - 1)
    rolls = small.rolls_of(random_classes(1).numpy())
    classes = classes_of(torch.from_numpy(rolls))
    np.testing.assert_array_equal(classes.numpy(), small.lines_of(rolls))
    np.testing.assert_array_equal(small.rolls_of(classes.numpy()), rolls)


def test_what_is_held_over_into_a_phrase_begins_there():
    rolls = torch.zeros(1, 1, 2, 4, PITCHES, dtype=torch.uint8)
    rolls[0, 0, 0, :3, 7] = 2
    assert classes_of(rolls)[0, 0].tolist() == [FIRST_PITCH + 7, HOLD_CLASS, HOLD_CLASS] + 5 * [REST_CLASS]


def test_stray_states_are_read_as_the_codec_reads_them():
    codec = Roll(("a", "b", "c"), steps_per_bar=4, low=LOW, high=LOW + PITCHES - 1)
    rolls = torch.zeros(1, 3, 1, 4, PITCHES, dtype=torch.uint8)
    rolls[0, 0, 0, 0, 5] = 1
    rolls[0, 0, 0, 1:, 7] = 2  # a hold on another pitch
    rolls[0, 1, 0, 2:, 3] = 2  # a hold after silence
    rolls[0, 2, 0, :3, 1], rolls[0, 2, 0, 1, 6] = 1, 2  # the higher of two pitches
    wanted = [[7, 9, 1, 1], [0, 0, 5, 1], [3, 8, 3, 0]]
    assert classes_of(rolls)[0].tolist() == codec.lines_of(rolls.numpy())[0].tolist() == wanted
    rng = np.random.default_rng(3)
    for notes in (0.02, 0.1, 0.5):
        states = rng.choice(3, (20, 3, 2, 4, PITCHES), p=[1 - notes, notes / 3, 2 * notes / 3]).astype(
            np.uint8
        )
        np.testing.assert_array_equal(classes_of(torch.from_numpy(states)).numpy(), codec.lines_of(states))


def pitches_by_hand(line):
    """What sounds at each step of a line of classes: a row, or None."""
    now, found = None, []
    for c in line:
        if c == REST_CLASS:
            now = None
        elif c != HOLD_CLASS:
            now = c - FIRST_PITCH
        found.append(now)
    return found


def test_a_hold_carries_on_what_sounded():
    classes = random_classes(2)
    heard = sounding(one_hot(classes, PITCHES))
    for b in range(len(classes)):
        for m in range(SHAPE.tracks):
            for t, row in enumerate(pitches_by_hand(classes[b, m].tolist())):
                wanted = torch.zeros(PITCHES)
                if row is not None:
                    wanted[row] = 1
                assert torch.equal(heard[b, m, t], wanted)


def test_a_gradient_reaches_the_onset_of_a_held_note():
    x = one_hot(
        torch.tensor([[[FIRST_PITCH + 3, HOLD_CLASS, HOLD_CLASS, FIRST_PITCH + 5]]]), PITCHES
    ).requires_grad_(True)
    sounding(x)[0, 0, 2, 3].backward()
    assert x.grad[0, 0, 0, FIRST_PITCH + 3] == 1  # through two holds
    assert x.grad[0, 0, 1, HOLD_CLASS] == x.grad[0, 0, 2, HOLD_CLASS] == 1
    assert x.grad[0, 0, 3].abs().sum() == 0


# -- what the critic hears -----------------------------------------------------------------------------------


def heard_by_hand(classes):
    """Streams of one phrase (M, T) in plain Python: dict of arrays that begin with T."""
    M, T = classes.shape
    rows = [pitches_by_hand(line.tolist()) for line in classes]
    chroma = np.zeros((T, M, 12))
    onset, height, leap = np.zeros((T, M)), np.zeros((T, M)), np.zeros((T, M))
    for m in range(M):
        for t in range(T):
            row = rows[m][t]
            if row is not None:
                chroma[t, m, (LOW + row) % 12] = 1  # C is 0, whatever the lowest pitch
                height[t, m] = (row - PITCHES / 2) / 12
            if classes[m, t] >= FIRST_PITCH:
                onset[t, m] = 1
                leap[t, m] = height[t, m] - (height[t - 1, m] if t else 0)
    pairs = [(i, j) for i in range(M) for j in range(i + 1, M)]
    intervals = np.zeros((T, len(pairs), 12))
    for k, (i, j) in enumerate(pairs):
        for t in range(T):
            if rows[i][t] is not None and rows[j][t] is not None:
                intervals[t, k, (rows[i][t] - rows[j][t]) % 12] = 1  # from j up to i
    order = height[:, :-1] - height[:, 1:]
    return {
        "chroma": chroma, "onset": onset, "height": height, "leap": leap, "intervals": intervals, "order": order
    }  # fmt: skip


def test_streams_against_a_plain_twin():
    classes = random_classes(3)
    streams = Streams(SHAPE, LOW)
    found = streams(one_hot(classes, PITCHES)).numpy()
    B, M, T = classes.shape
    assert found.shape == (B, T, streams.size)
    each, rest = found[..., : M * (C + 15)].reshape(B, T, M, C + 15), found[..., M * (C + 15) :]
    np.testing.assert_array_equal(each[..., :C], one_hot(classes, PITCHES).numpy().swapaxes(1, 2))
    for b in range(B):
        wanted = heard_by_hand(classes[b].numpy())
        np.testing.assert_array_equal(each[b, ..., C : C + 12], wanted["chroma"])
        for k, name in enumerate(("onset", "height", "leap")):
            np.testing.assert_allclose(each[b, ..., C + 12 + k], wanted[name], atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(rest[b, :, :36], wanted["intervals"].reshape(T, -1))
        np.testing.assert_allclose(rest[b, :, 36:], wanted["order"], atol=1e-6)


@pytest.mark.parametrize("low", [0, 36, 43])
def test_chroma_is_by_midi_number(low):
    """C (MIDI 48 and 60) is 0 and A (57) is 9, whatever the lowest pitch."""
    shape = Shape(tracks=1, bars=1, steps=3, pitches=80)
    classes = torch.tensor([[[FIRST_PITCH + 48 - low, FIRST_PITCH + 57 - low, FIRST_PITCH + 60 - low]]])
    chroma = Streams(shape, low)(one_hot(classes, 80))[0, :, FIRST_PITCH + 80 :][:, :12]
    assert chroma.argmax(-1).tolist() == [0, 9, 0]
    assert chroma.sum().item() == 3


def test_a_fifth_is_a_fifth_in_every_key():
    shape = Shape(tracks=2, bars=1, steps=12, pitches=40)
    bass = torch.arange(12)
    classes = torch.stack([FIRST_PITCH + bass + 7, FIRST_PITCH + bass])[None]
    intervals = Streams(shape, 36)(one_hot(classes, 40))[0, :, 2 * (FIRST_PITCH + 40 + 15) :][:, :12]
    assert (intervals.argmax(-1) == 7).all()


def test_critics_score_phrases_by_what_they_are():
    torch.manual_seed(0)
    critic = Critic(SHAPE, low=LOW, hidden=12)
    x = one_hot(random_classes(4, batch=6), PITCHES)
    scores = critic(x)
    assert scores.shape == (6,)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    torch.testing.assert_close(critic(x[order]), scores[order])
    changed = x.clone()
    changed[0, 2, -1] = F.one_hot(torch.tensor(FIRST_PITCH + 1), C).float()
    assert (critic(changed) - scores)[0].abs() > 1e-6


def test_a_critic_hears_how_varied_a_batch_is():
    torch.manual_seed(0)
    critic = Critic(SHAPE, low=LOW, hidden=12)
    with torch.no_grad():
        critic.score.weight.zero_()
        critic.score.weight[0, -1] = 1
    x = one_hot(random_classes(4, batch=6), PITCHES)
    assert critic(x)[0] > critic(x[:1].expand(6, -1, -1, -1))[0] + 1e-3


# -- straight through ----------------------------------------------------------------------------------------


def test_straight_through_chooses_hard_and_learns_soft():
    logits = torch.randn(2, 3, 4, C, requires_grad=True)
    weight = torch.randn(2, 3, 4, C)
    chosen = straight_through(logits)
    torch.testing.assert_close(chosen, F.one_hot(logits.argmax(-1), C).float(), atol=1e-6, rtol=0)
    (got,) = torch.autograd.grad((chosen * weight).sum(), logits)
    (soft,) = torch.autograd.grad((logits.softmax(-1) * weight).sum(), logits)
    torch.testing.assert_close(got, soft)
    assert got.abs().max() > 0.01


def test_a_layer_of_its_own_for_every_track():
    torch.manual_seed(0)
    layer = PerTrack(3, 4, 5)
    layer.bias.data.normal_()
    x = torch.randn(2, 3, 6, 7, 4)
    found = layer(x)
    for m in range(3):
        torch.testing.assert_close(found[:, m], x[:, m] @ layer.weight[m] + layer.bias[m])


# -- who hears which noise ------------------------------------------------------------------------------------


def generator(given=None, **changes):
    torch.manual_seed(1)
    return Generator(replace(SHAPE, **changes), WIDTHS, low=LOW, hidden=24, given=given).eval()


def noise(net, batch=3, bars=4, seed=0):
    return draw(batch, SHAPE.tracks, net.vectors(bars), WIDTHS, torch.Generator().manual_seed(seed))


def answers(net, codes, given=None):
    """Logits of kinds and pitches side by side (B, M, N, S, 3 + P)."""
    with torch.no_grad():
        return torch.cat(net.logits(codes, given), -1).unflatten(2, (-1, SHAPE.steps))


def by_track_and_bar(net, noise, given=None):
    return answers(net, net.codes(noise), given)


def test_the_likeliest_kind_is_chosen_and_of_an_onset_the_likeliest_pitch():
    net = generator()
    kinds, pitches = by_track_and_bar(net, noise(net, batch=20)).flatten(2, 3).split([3, PITCHES], -1)
    with torch.no_grad():
        chosen = net(noise(net, batch=20))
    kind = kinds.argmax(-1)
    assert set(kind.unique().tolist()) == {REST_CLASS, HOLD_CLASS, FIRST_PITCH}
    wanted = torch.where(kind == FIRST_PITCH, FIRST_PITCH + pitches.argmax(-1), kind)
    torch.testing.assert_close(chosen, one_hot(wanted, PITCHES), atol=1e-6, rtol=0)


def where_changed(a, b):
    """(M, N) bool: logits differ in some of the batch."""
    return ((a - b).abs() > 1e-6).flatten(3).any(-1).any(0)


@pytest.mark.parametrize("knob", ["melody", "groove"])
@pytest.mark.parametrize("track", range(SHAPE.tracks))
def test_private_noise_of_a_track_changes_that_track_only(knob, track):
    net = generator()
    before = noise(net)
    value = getattr(before, knob).clone()
    value[:, track] += 1
    changed = where_changed(
        by_track_and_bar(net, before), by_track_and_bar(net, replace(before, **{knob: value}))
    )
    assert changed.all(1).tolist() == [m == track for m in range(SHAPE.tracks)]
    assert changed.any(1).tolist() == [m == track for m in range(SHAPE.tracks)]


@pytest.mark.parametrize("knob", ["chords", "style"])
def test_common_noise_changes_all_tracks(knob):
    net = generator()
    before = noise(net)
    after = replace(before, **{knob: getattr(before, knob) + 1})
    assert where_changed(by_track_and_bar(net, before), by_track_and_bar(net, after)).all()


def test_style_and_groove_are_constant_over_bars():
    """With chords and melody constant too, all bars are the same bar; else they are not."""
    net = generator()
    still = noise(net)
    still = replace(
        still,
        chords=still.chords[:, :1].expand_as(still.chords),
        melody=still.melody[:, :, :1].expand_as(still.melody),
    )
    bars = by_track_and_bar(net, still)
    torch.testing.assert_close(bars, bars[:, :, :1].expand_as(bars))
    for moving in ("chords", "melody"):
        turned = by_track_and_bar(net, replace(still, **{moving: getattr(noise(net), moving)}))
        assert where_changed(turned, turned[:, :, :1].expand_as(turned))[:, 1:].all()


def test_a_vector_of_noise_is_heard_in_two_bars():
    net = generator()
    before = noise(net)
    chords = before.chords.clone()
    chords[:, 2] += 1  # the end of bar 1 and the beginning of bar 2
    changed = where_changed(
        by_track_and_bar(net, before), by_track_and_bar(net, replace(before, chords=chords))
    )
    assert changed.all(0).tolist() == [False, True, True, False]
    assert changed.any(0).tolist() == [False, True, True, False]


@pytest.mark.parametrize("bars", [1, 2, 5, 33])
def test_any_length(bars):
    net = generator()
    full = noise(net, batch=1, bars=33)
    part = replace(full, chords=full.chords[:, : bars + 1], melody=full.melody[:, :, : bars + 1])
    assert net.vectors(bars) == bars + 1
    with torch.no_grad():
        chosen = net(part)
    assert chosen.shape == (1, SHAPE.tracks, bars * SHAPE.steps, C)
    torch.testing.assert_close(
        by_track_and_bar(net, part), by_track_and_bar(net, full)[:, :, :bars], atol=1e-5, rtol=1e-4
    )


def test_in_a_medley_style_and_groove_move():
    net = generator()
    codes = net.codes(noise(net))
    moving = Noise(
        codes.chords,
        codes.style[:, None].repeat(1, 4, 1),
        codes.melody,
        codes.groove[:, :, None].repeat(1, 1, 4, 1),
    )
    before = answers(net, codes)
    torch.testing.assert_close(answers(net, moving), before)
    moving.style[:, 3] += 1
    moving.groove[:, 1, 0] += 1
    changed = where_changed(answers(net, moving), before)
    wanted = torch.zeros(SHAPE.tracks, 4, dtype=torch.bool)
    wanted[:, 3], wanted[1, 0] = True, True
    assert torch.equal(changed, wanted)


# -- a given track --------------------------------------------------------------------------------------------


def test_the_given_track_is_pasted_in_its_place():
    classes = random_classes(5)
    given = one_hot(classes, PITCHES)[:, 0]
    chosen = torch.rand(5, 3, 8, C)
    for track in range(3):
        found = pasted(chosen, given, track)
        assert found.shape == chosen.shape
        for m in range(3):
            assert torch.equal(found[:, m], given if m == track else chosen[:, m])


def test_the_given_track_is_heard_in_its_bar_and_beside_it():
    net = generator(given=1)
    heard = random_classes(6, batch=3, shape=replace(SHAPE, bars=5))[:, 1]
    heard[:, 8:12] = torch.tensor([FIRST_PITCH + 2, HOLD_CLASS, FIRST_PITCH + 4, FIRST_PITCH + 4])
    full = noise(net, bars=5)
    before = by_track_and_bar(net, full, heard)
    other = heard.clone()
    other[:, 10] = FIRST_PITCH + 9  # in bar 2, and not held over
    changed = where_changed(before, by_track_and_bar(net, full, other))
    assert changed.all(0).tolist() == [False, True, True, True, False]
    assert not changed[:, [0, 4]].any()
    with torch.no_grad():
        assert torch.equal(net(full, heard)[:, 1].argmax(-1), heard)
        assert not torch.equal(net(full, heard)[:, 0].argmax(-1), heard)


def test_every_weight_learns():
    """One step of the generator reaches every parameter, of noises and of a given track."""
    net = generator(given=0).train()
    heard = random_classes(7, batch=3)[:, 0]
    critic = Critic(SHAPE, low=LOW, hidden=12)
    critic(net(noise(net, bars=2), heard)).sum().backward()
    assert {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0} == set()
