"""Copying heads: they point at what they say they do, look at nothing ahead, and write as they read."""

import numpy as np
import pytest
import torch
from chorale_twins import assert_writes_as_it_reads
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.chorale import SATB
from otonoha.models.music_transformer.chorale_batches import Song, collate, crop
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_copy import FLOOR, STRIDE, Copying
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork
from otonoha.models.music_transformer.chorale_write import FREE, ChoraleStep, Filling, fill

torch.set_num_threads(1)
SMALL = {
    "width": 24,
    "layers": 1,
    "heads": 2,
    "hidden": 32,
    "window": 6,
    "voice_layers": 1,
    "voice_hidden": 32,
    "channels": (),
    "absolute": False,
}
LENGTH = 37


def piece(seed, length=LENGTH):
    """Chords that come again, a little changed, with rests."""
    rng = np.random.default_rng(seed)
    motif = np.array([72, 67, 60, 48]) + rng.integers(-4, 5, (5, 4))
    pitch = np.repeat(motif[rng.integers(0, 5, length)], 2, axis=0)[:length].astype(np.int16)
    pitch[rng.random(pitch.shape) < 0.04] = -1
    return pitch


def inputs(*pitches, start=0, shift=0):
    return collate([crop(Song.of(p), start, len(p), shift) for p in pitches]).inputs


def heads(seed=0, many=3):
    """Copying heads whose every weight matters."""
    torch.manual_seed(seed)
    made = Copying(many, 24, 0.0).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return made


def network(**options):
    torch.manual_seed(0)
    made = ChoraleNetwork(ChoraleConfig(**{**SMALL, "copies": 3, **options}), 36, 81)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return made.eval()


def read(net, pitch, decided=SATB):
    with torch.no_grad():
        return net.symbols(net(inputs(pitch), decided[None, None]))[0]


# -- slow twins -------------------------------------------------------------------------------------------------------


def alike(made, pitch, moved, s, u, v, h):
    """How alike two frames are for a head, relation by relation."""
    weight = made.alike[:, v, h].tolist()
    total = weight[25]
    for w in range(4):
        now, then, step, earlier = (int(x) for x in (pitch[s, w], pitch[u, w], moved[s, w], moved[u, w]))
        total += weight[w] * (now == then) + weight[4 + w] * (abs(now - then) <= 2)
        total += weight[8 + w] * (step == 12 and earlier == 12)
        total += weight[12 + w] * (step != 12 and earlier != 12)
        total += weight[16 + w] * (step == earlier and step != 12)
    for i, (a, b) in enumerate([(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)]):
        total += weight[20 + i] * int(pitch[s, a] - pitch[s, b] == pitch[u, a] - pitch[u, b])
    return total


def pointed(made, x, t, v, h, decided):
    """Shares (2, 26) of a head at (t, v), candidate by candidate."""
    pitch, moved, before = x.pitch[0].numpy(), x.moved[0].numpy(), x.before[0].numpy()
    fade = float(made.fade.view(4, -1)[v, h].sigmoid())
    scores = {}
    for u in range(t % STRIDE, t, STRIDE):
        score = sum(fade ** (k - 1) * alike(made, pitch, moved, t - k, u - k, v, h) for k in range(1, u + 1))
        lag = (t - u) // STRIDE
        j = v * made.heads + h
        score += float(made.bar[j, lag % 4]) + np.log2(lag) * float(made.far[j, 0])
        for w in range(4):
            if decided[v, w]:
                score += float(made.agree[0, w, v, h]) * (pitch[t, w] == pitch[u, w])
                score += float(made.agree[1, w, v, h]) * (moved[t, w] == moved[u, w])
        scores[u] = score
    shares, total = np.zeros((2, 26)), sum(np.exp(s) for s in scores.values())
    for u, score in scores.items():
        rests = before[t, v] < 0 or pitch[u, v] < 0
        step = 25 if rests else int(np.clip(pitch[u, v] - before[t, v], -12, 12)) + 12
        shares[0, step] += np.exp(score) / total
        shares[1, moved[u, v]] += np.exp(score) / total
    return shares


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20), st.integers(0, LENGTH - 1), st.integers(0, 3), st.integers(0, 2), st.booleans())
def test_a_head_points_as_its_slow_twin(seed, t, v, h, upwards):
    made, x, decided = heads(seed % 3), inputs(piece(seed)), SATB.T if upwards else SATB
    with torch.no_grad():
        shares, sure = made.shares(
            made.echoes(x.pitch, x.moved), x.pitch, x.before, x.moved, decided[None, None]
        )
        expected = pointed(made, x, t, v, h, decided)
    assert np.allclose(shares[0, t, v, [h, 3 + h]].numpy(), expected, atol=2e-4)
    assert bool(sure[0, t, v, h]) == (t >= STRIDE)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.integers(1, LENGTH))
def test_frame_by_frame_equals_one_pass(seed, length):
    made, x = heads(), inputs(piece(seed, length), piece(seed + 1, length))
    story = made.begin(2)
    with torch.no_grad():
        known = made.echoes(x.pitch, x.moved)
        for t in range(length):
            coming, L = made.coming(story), t // STRIDE
            assert coming.there.sum() == known.there[t].sum() == L
            assert torch.allclose(coming.likeness[:, 0, :, :L], known.likeness[:, t, :, :L], atol=1e-3)
            assert torch.equal(coming.pitch[:, 0, :, :L], known.pitch[:, t, :, :L].long())
            assert torch.equal(coming.moved[:, 0, :, :L], known.moved[:, t, :, :L].long())
            story = made.tell(story, x.pitch[:, t], x.moved[:, t])


# -- what they must and must not know ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, LENGTH - 1), st.integers(0, 3), st.integers(0, 99))
def test_no_note_looks_ahead(t, v, seed):
    net, pitch = network(), piece(9)
    other, rng = pitch.copy(), np.random.default_rng(seed)
    other[t, v:] = rng.integers(36, 82, 4 - v)
    other[t + 1 :] = rng.integers(36, 82, other[t + 1 :].shape)
    one, two = read(net, pitch), read(net, other)
    assert torch.equal(one[:t], two[:t])
    assert torch.equal(one[t, : v + 1], two[t, : v + 1])


def test_every_key_is_the_same():
    made, pitch = heads(), np.maximum(piece(3), 40)
    one, two = inputs(pitch), inputs(pitch, shift=3)
    with torch.no_grad():
        found = [
            made.shares(made.echoes(x.pitch, x.moved), x.pitch, x.before, x.moved, SATB[None, None])
            for x in (one, two)
        ]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found))


def test_a_literal_repeat_is_found_at_once():
    """Untrained heads expect that what began to come again goes on."""
    rng = np.random.default_rng(4)
    first = np.repeat(np.array([74, 67, 60, 50]) + rng.integers(-5, 6, (16, 4)), 2, axis=0).astype(np.int16)
    x = inputs(np.concatenate([first, first]))
    made = Copying(6, 24, 0.0).eval()
    with torch.no_grad():
        shares, _ = made.shares(made.echoes(x.pitch, x.moved), x.pitch, x.before, x.moved, SATB[None, None])
    right = shares.gather(-1, x.moved[..., None, None].expand(*shares.shape[:-1], 1))[0, 48:, ..., 0]
    assert right[:, :, 0].mean() > 0.95  # all voices literally
    assert right.mean() > 0.6


def test_every_weight_learns():
    net = network()
    net.train()
    logits = net(inputs(piece(1), piece(2)), SATB[None, None])
    logits.logsumexp(-1).sum().backward()
    for name, p in net.copying.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_training_does_without_some_moments_and_some_heads():
    torch.manual_seed(0)
    made, x = Copying(2, 24, 0.5), inputs(*[piece(s) for s in range(20)])
    shares, sure = made.shares(made.echoes(x.pitch, x.moved), x.pitch, x.before, x.moved, SATB[None, None])
    silent = shares[:, -1].sum(-1) < 0.5  # (B, 4, C)
    assert 0.3 < silent.float().mean() < 0.7
    assert torch.equal(silent[..., :2], silent[..., 2:])
    assert torch.equal(silent, silent[:, :1].expand_as(silent))
    assert (sure[:, -1][..., :2][silent[..., :2]] == 0).all()


# -- in the network ---------------------------------------------------------------------------------------------------


def test_writing_a_frame_at_a_time_equals_reading():
    net, pitches = network(), np.stack([piece(9), piece(1)])
    for begin in (0, 11):
        assert_writes_as_it_reads(net, pitches, torch.stack([read(net, p) for p in pitches]), begin=begin)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([1, 3]))
def test_given_notes_are_never_altered(seed, share, particles):
    wanted = piece(seed, 12).astype(np.int64)
    free = np.random.default_rng(seed).random(wanted.shape) < share
    asked, how = np.where(free, FREE, wanted), Filling(particles=particles)
    one = fill(ChoraleStep(network()), asked, seed=seed, how=how)
    assert np.array_equal(one[~free], wanted[~free])
    assert np.array_equal(one, fill(ChoraleStep(network()), asked, seed=seed, how=how))


def test_survivors_keep_their_own_story():
    net = network()
    step = ChoraleStep(net)
    pitches = np.stack([piece(s) for s in range(3)])
    state = step.read(step.start(3), pitches[:, :20]).chosen([2, 2, 0])
    state = step.place(state, {})
    found = step.logits(state, 0, [])
    for row, number in enumerate([2, 2, 0]):
        assert torch.allclose(found[row], read(net, pitches[number])[20, 0], atol=2e-3)


def test_without_copies_nothing_is_added():
    torch.manual_seed(0)
    net = network(copies=0)
    assert net.copying is None
    assert not any("copying" in name for name in net.state_dict())


@pytest.mark.parametrize("copies", [1, 6, 8])
def test_fresh_heads_and_full_precision_under_autocast(copies):
    torch.manual_seed(0)
    net = ChoraleNetwork(ChoraleConfig(**{**SMALL, "copies": copies}), 36, 81).eval()
    x = inputs(piece(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        shares, sure = net._copied(net.copying, x, SATB[None, None], None)
    assert shares.dtype == sure.dtype == torch.float32
    assert shares.shape == (1, LENGTH, 4, 2 * copies, 26)
    assert torch.allclose(shares[:, STRIDE:].sum(-1), torch.ones(()), atol=1e-5)
    assert (shares[:, :STRIDE] == 0).all()
    assert 0 < FLOOR < 1
