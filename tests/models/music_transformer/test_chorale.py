"""The chorale network: nothing looks ahead, writing equals reading, given notes stay."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chorale_twins import assert_writes_as_it_reads
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.chorale import SATB, Chorale
from otonoha.models.music_transformer.chorale_batches import Crops, Song, collate, crop, whole
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork, Drop, behind, within
from otonoha.models.music_transformer.chorale_write import FREE, ChoraleStep, Filling, fill
from otonoha.models.music_transformer.memory import Corpus, remembered
from otonoha.sample.choose import Choice
from otonoha.tokens.grid import Grid
from otonoha.train.objective import Context
from otonoha.train.settings import Settings

SMALL = ChoraleConfig(
    width=24,
    layers=2,
    heads=2,
    hidden=32,
    window=6,
    voice_layers=1,
    voice_hidden=32,
    dropout=0,
    input_dropout=0,
)


def piece(seed, length=24):
    rng = np.random.default_rng(seed)
    half = np.array([72, 67, 60, 48]) + rng.integers(-5, 6, (length // 2, 4))
    both = np.concatenate([half, half + 1])
    both[rng.random(both.shape) < 0.04] = -1
    return np.repeat(both, 2, axis=0)[:length].astype(np.int16)


LIBRARY = [piece(s) for s in range(4)]


def network(**options):
    """A network whose every weight matters."""
    torch.manual_seed(0)
    made = ChoraleNetwork(ChoraleConfig(**{**SMALL.__dict__, "remembered": (4, 96), **options}), 36, 81)
    made.remember(LIBRARY)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return made.eval()


def read(net, pitch, decided=SATB):
    """Logits (T, 4, P), from the raw piece."""
    song = Song.of(pitch, remembered(Corpus(LIBRARY), pitch)) if net.config.channels else Song.of(pitch)
    with torch.no_grad():
        return net.symbols(net(collate([crop(song, 0, len(pitch))]).inputs, decided[None, None]))[0]


@pytest.mark.parametrize("channels", [(), tuple(range(9))])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 23), st.integers(0, 3), st.integers(0, 99))
def test_no_note_looks_ahead(channels, t, v, seed):
    net, pitch = network(channels=channels), piece(9)
    other, rng = pitch.copy(), np.random.default_rng(seed)
    other[t, v:] = rng.integers(36, 82, 4 - v)
    other[t + 1 :] = rng.integers(36, 82, other[t + 1 :].shape)
    one, two = read(net, pitch), read(net, other)
    assert torch.equal(one[:t], two[:t])
    assert torch.equal(one[t, : v + 1], two[t, : v + 1])


def test_decided_voices_matter_in_any_order():
    net, pitch = network(), piece(9)
    order = torch.tensor([3, 0, 2, 1])  # alto, bass, tenor, soprano
    decided = order[:, None] > order
    other = pitch.copy()
    other[10, 1] += 1
    song, changed = (Song.of(p, remembered(Corpus(LIBRARY), pitch)) for p in (pitch, other))
    one, two = (net(collate([crop(s, 0, 24)]).inputs, decided[None, None])[0, 10] for s in (song, changed))
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(one, two)]
    assert same == [False, True, False, False]


def test_heads_hear_no_key_but_the_height():
    """Without absolute parts the same chances come out in every key."""
    net = network(absolute=False)
    with torch.no_grad():
        net.height[:] = 0
        net.range[:] = 0
    pitch = piece(9)
    one, two = read(net, pitch), read(net, np.where(pitch < 0, -1, pitch + 3))
    assert torch.allclose(one[1:, :, 1:-3], two[1:, :, 4:], atol=1e-4)


def test_a_crop_knows_what_the_whole_piece_knows():
    net, pitch = network(), piece(9)
    song = Song.of(pitch, remembered(Corpus(LIBRARY), pitch))
    reach = (net.config.window - 1) * net.config.layers
    wide = collate([crop(song, 12 - reach, 24)]).inputs
    with torch.no_grad():
        found = net.symbols(net(wide, SATB[None, None]))[0, reach:]
    assert torch.allclose(found, read(net, pitch)[12:], atol=1e-4)


@pytest.mark.parametrize("channels", [(), tuple(range(9))])
def test_writing_a_frame_at_a_time_equals_reading(channels):
    net, pitches = network(channels=channels), np.stack([piece(9), piece(1)])
    assert_writes_as_it_reads(net, pitches, torch.stack([read(net, p) for p in pitches]), begin=9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([1, 3]))
def test_given_notes_are_never_altered(seed, share, particles):
    wanted = piece(seed, 12).astype(np.int64)
    free = np.random.default_rng(seed).random(wanted.shape) < share
    asked = np.where(free, FREE, wanted)
    how = Filling(particles=particles, low=(60, 55, 48, 40), high=(81, 74, 69, 64), rests=False)
    net = network()
    one = fill(ChoraleStep(net), asked, seed=seed, how=how)
    assert np.array_equal(one[~free], wanted[~free])
    low, high = np.broadcast_to(how.low, one.shape), np.broadcast_to(how.high, one.shape)
    assert ((one >= low) & (one <= high))[free].all()
    assert np.array_equal(one, fill(ChoraleStep(net), asked, seed=seed, how=how))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_attention_by_blocks_is_attention_with_a_mask(length, window, seed):
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, 2, 2, length, 4)
    assert torch.allclose(within(q, k, v, window), behind(q, k, v, window), atol=1e-5)


def test_dropout_silences_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    x = Drop(0.3)(torch.ones(500, 333))
    assert (x == 0).float().mean() == pytest.approx(77 / 256, abs=0.005)
    assert x.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(Drop(0.3).eval()(x), x)


def test_bad_requests_are_told():
    step = ChoraleStep(network())
    with pytest.raises(ValueError, match="a given note is 90; the network knows 36 … 81"):
        fill(step, np.array([[90, FREE, FREE, FREE]]), seed=0)
    how = Filling(low=(0, 90, 0, 0), rests=False, choice=Choice(temperature=0))
    with pytest.raises(ValueError, match="voice 2 may sing 90"):
        fill(step, np.full((2, 4), FREE), seed=0, how=how)
    with pytest.raises(ValueError, match="shape"):
        fill(step, np.full((2, 3), FREE), seed=0)


# -- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    chorale: ChoraleConfig


def design(**options):
    config = Asked(ChoraleConfig(**{**SMALL.__dict__, **options}))
    model = SimpleNamespace(config=config, codec=Grid(low=36, high=81, holds=False), _networks=None)
    return Chorale(model), model


def test_batches_are_a_function_of_seed_and_update():
    songs = [Song.of(p, remembered(Corpus(LIBRARY), p, i)) for i, p in enumerate(LIBRARY)]
    how = {"batch": 6, "length": 16, "seed": 3, "from_start": 0.3}
    one, two = (Crops(songs, [[-2, 0, 5]] * 4, **how) for _ in range(2))
    _, a, b = two(4), one(7), two(7)
    assert torch.equal(a.inputs.pitch, b.inputs.pitch)
    assert torch.equal(a.inputs.shares, b.inputs.shares)
    assert torch.equal(a.rows(slice(2, 4)).inputs.moved, a.inputs.moved[2:4])
    assert not torch.equal(one(8).inputs.pitch, a.inputs.pitch)


def test_a_whole_piece_is_padded_without_a_trace():
    net = network()
    songs = [Song.of(p, remembered(Corpus(LIBRARY), p)) for p in (piece(9), piece(5, 16))]
    batch = whole(songs)[0]
    with torch.no_grad():
        logits = net.symbols(net(batch.inputs, SATB[None, None]))
    assert logits.shape == (2, 24, 4, 47)
    assert torch.allclose(logits[0, :16], read(net, piece(5, 16)), atol=1e-4)
    assert batch.targets == 4 * (24 + 16)


@pytest.mark.parametrize("channels", [(), tuple(range(9))])
def test_it_learns_a_few_pieces(channels):
    made, model = design(channels=channels, any_order=0.0, channel_dropout=0.0)
    songs = [Song.of(p) for p in LIBRARY[:2]]
    made.observe(songs)
    torch.manual_seed(0)
    model.networks = torch.nn.ModuleDict(made.build())
    batches = made.batches(songs, Settings(batch=4, length=24, transpose=False))
    optimiser = torch.optim.AdamW(model.networks.parameters(), lr=1e-2)
    context = Context(0, 1, torch.device("cpu"), torch.Generator().manual_seed(0))
    losses = []
    for update in range(60):
        loss, _ = made.loss(batches(update), context)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 2
    assert losses[-1] < 0.3
    model.networks.eval()
    figures = made.evaluate(songs)
    assert figures["units"] == 4 * 48
    assert figures["loss"] == pytest.approx(
        np.mean([figures[n] for n in ("soprano", "alto", "tenor", "bass")])
    )
    bass_first = made.evaluate(songs, (3, 0, 1, 2))
    assert bass_first["units"] == 4 * 48
    assert bass_first["bass"] != figures["bass"]


def test_the_memory_is_part_of_the_network():
    made, model = design()
    made.observe([Song.of(p) for p in LIBRARY])
    net = made.build()["chorale"]
    assert model.config.chorale.remembered == (4, 96)
    fresh = Chorale(model).build()["chorale"]
    fresh.load_state_dict(net.state_dict())
    assert all(np.array_equal(a, b) for a, b in zip(fresh.memory(), LIBRARY, strict=True))


def test_a_codec_with_holds_is_refused():
    with pytest.raises(ValueError, match="without holds"):
        Chorale(SimpleNamespace(codec=Grid()))
