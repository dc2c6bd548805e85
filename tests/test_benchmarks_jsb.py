"""What the JSB benchmarks build around the chorale design: going on from other networks, and sets of pitches.

Axes: T frames, 4 voices, P classes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from _jsb_model import take_over
from jsb_quarter import CODEC, WAYS, QuarterModel, SetSong, ways
from otonoha.models.music_transformer.chorale import SATB
from otonoha.models.music_transformer.chorale_batches import Song, collate, crop
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork
from otonoha.models.music_transformer.memory import Corpus, remembered

TINY = ChoraleConfig(
    width=24, layers=1, heads=2, hidden=16, window=4, voice_layers=1, voice_hidden=16, channels=(), copies=2
)


def network(config, seed):
    torch.manual_seed(seed)
    made = ChoraleNetwork(config, 36, 81)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made


def test_a_network_that_goes_on_knows_what_the_earlier_one_knew():
    earlier, now = network(TINY, 0), network(TINY, 1)
    take_over(now, earlier)
    assert all(torch.equal(a, b) for a, b in zip(earlier.parameters(), now.parameters(), strict=True))


def test_what_it_has_besides_stays_fresh():
    earlier, now = network(TINY, 0), network(replace(TINY, channels=(0, 3)), 1)
    fresh = {name: p.clone() for name, p in now.named_parameters()}
    take_over(now, earlier)
    known = dict(earlier.named_parameters())
    for name, p in now.named_parameters():
        if name not in known:
            assert torch.equal(p, fresh[name])
            continue
        rows = len(known[name])
        assert torch.equal(p[:rows], known[name])
        assert torch.equal(p[rows:], fresh[name][rows:])
    assert len(now.head.weight) == len(earlier.head.weight) + 2  # the gates of two channels


LIBRARY = [np.random.default_rng(s).integers(48, 72, (24, 4)).repeat(2, 0).astype(np.int16) for s in range(3)]


def read(net, pitch):
    """Logits (T, 4, P), from the raw piece."""
    batch = collate([crop(Song.of(pitch, remembered(Corpus(LIBRARY), pitch)), 0, len(pitch))])
    with torch.no_grad():
        return net.eval()(batch.inputs, SATB[None, None])[0]


@given(st.integers(0, 31), st.integers(0, 3), st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_memory_and_copying_together_do_not_look_ahead(t, v, seed):
    net = network(replace(TINY, channels=tuple(range(9)), remembered=(3, 144)), 1)
    pitch = np.concatenate([LIBRARY[0][:16], LIBRARY[0][:16]])
    changed = pitch.copy()
    rng = np.random.default_rng(seed)
    changed[t, v:], changed[t + 1 :] = rng.integers(48, 72, 4 - v), rng.integers(48, 72, (31 - t, 4))
    seen, other = read(net, pitch), read(net, changed)
    assert torch.equal(seen[:t], other[:t])
    assert torch.equal(seen[t, : v + 1], other[t, : v + 1])


def song(seed, length=20):
    """Sets of one to four pitches, the second half like the first: there is something to copy."""
    rng = np.random.default_rng(seed)
    half = [rng.choice(np.arange(50, 74), rng.integers(1, 5), replace=False) for _ in range(length // 2)]
    return SetSong.sing(half + half)


@pytest.fixture(scope="module")
def quarters():
    torch.manual_seed(0)
    model = QuarterModel(chorale=TINY)
    for p in model.networks.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.networks.eval()
    return model.design


def test_every_way_to_sing_a_set_has_one_history(quarters):
    """Frames are not foretold from other ways to sing earlier frames: else the chances would not sum to 1."""
    whole = song(3)
    changed = whole.others.copy()
    changed[:12] = np.repeat(whole.pitch[:12, None], WAYS, 1)
    again = replace(whole, others=changed)
    assert torch.equal(quarters.surprise(whole)[12:], quarters.surprise(again)[12:])


def test_sets_that_come_later_change_nothing(quarters):
    rng, whole = np.random.default_rng(0), song(3)
    sets = [np.unique(frame) for frame in whole.pitch]
    later = sets[:12] + [rng.choice(np.arange(50, 74), 3, replace=False) for _ in sets[12:]]
    seen, other = (quarters.surprise(SetSong.sing(s))[:12] for s in (sets, later))
    assert torch.allclose(seen, other, atol=1e-5)


def test_the_ways_are_all_frames_without_crossings():
    rng = np.random.default_rng(0)
    for count in range(1, 5):
        pitches = rng.choice(np.arange(CODEC.low, CODEC.high), count, replace=False)
        frames = np.stack(np.meshgrid(*[pitches] * 4, indexing="ij"), -1).reshape(-1, 4)
        falls = (np.diff(frames, axis=1) <= 0).all(1)
        slow = {tuple(f) for f in frames[falls].tolist() if set(f) == set(pitches.tolist())}
        assert {tuple(f) for f in ways(pitches).tolist()} == slow
