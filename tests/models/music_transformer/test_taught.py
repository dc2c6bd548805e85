"""Distillation: the teacher's chances move with the key, and a teacher who knows the answer is the answer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.chorale import Chorale, nats
from otonoha.models.music_transformer.chorale_batches import Crops, Song, collate, crop
from otonoha.models.music_transformer.chorale_config import ChoraleConfig
from otonoha.models.music_transformer.chorale_network import ChoraleNetwork
from otonoha.models.music_transformer.chorale_taught import Teacher, taught_nats
from otonoha.tokens.grid import Grid
from otonoha.train.objective import Context

LOW, HIGH, MARGIN = 36, 81, 6
SYMBOLS, CLASSES = HIGH - LOW + 2, HIGH - LOW + 2 + 2 * MARGIN
SMALL = ChoraleConfig(
    width=24, layers=1, heads=2, hidden=16, window=4, voice_layers=1, voice_hidden=16, channels=(), dropout=0
)


def piece(seed, length=20):
    rng = np.random.default_rng(seed)
    pitch = rng.integers(LOW, HIGH + 1, (length, 4))
    pitch[rng.random(pitch.shape) < 0.1] = -1
    return pitch.astype(np.int16)


def opinion(pitch, sure):
    """Chances (T, 4, S): `sure` on the true note, the rest spread unevenly."""
    rng = np.random.default_rng(len(pitch))
    chances = rng.dirichlet(np.ones(SYMBOLS), pitch.shape) * (1 - sure)
    symbols = np.where(pitch < 0, 0, pitch - LOW + 1)
    np.put_along_axis(
        chances, symbols[..., None], np.take_along_axis(chances, symbols[..., None], -1) + sure, -1
    )
    return chances.astype(np.float32)


def taught(seed, sure, length=20):
    pitch = piece(seed, length)
    return Song(pitch, Song.of(pitch).table, (), opinion(pitch, sure))


def classes(pitch):
    return torch.where(pitch < 0, 0, pitch - LOW + MARGIN + 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(0, 99))
def test_a_teacher_who_knows_the_answer_is_the_answer_in_every_key(first, second, seed):
    crops = [crop(taught(seed, 1.0), 4, 20, first), crop(taught(seed + 1, 1.0, 12), 0, 12, second)]
    batch = collate(crops)
    logits = torch.randn(2, 16, 4, CLASSES, generator=torch.Generator().manual_seed(seed))
    expected = nats(logits, classes(batch.inputs.pitch), batch.mask)
    assert torch.allclose(taught_nats(logits, batch, MARGIN), expected, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(-6, 6), st.integers(0, 99))
def test_the_opinion_of_a_symbol_falls_on_the_moved_pitch(shift, seed):
    """The slow twin: note by note, symbol by symbol."""
    song = taught(seed, 0.4, 5)
    logits = torch.randn(1, 5, 4, CLASSES, generator=torch.Generator().manual_seed(seed))
    found = taught_nats(logits, collate([crop(song, 0, 5, shift)]), MARGIN)[0]
    logs = logits[0].log_softmax(-1).numpy()
    for t in range(5):
        for v in range(4):
            slow = -sum(
                song.taught[t, v, s]
                * logs[t, v, 0 if s == 0 else int(classes(torch.tensor(LOW + s - 1 + shift)))]
                for s in range(SYMBOLS)
            )
            assert found[t, v] == pytest.approx(slow, abs=1e-4)


def designed(teacher, any_order):
    model = SimpleNamespace(codec=Grid(low=LOW, high=HIGH, holds=False))
    options = {**SMALL.__dict__, "any_order": any_order}
    model.config = SimpleNamespace(chorale=ChoraleConfig(**options))
    torch.manual_seed(0)
    network = ChoraleNetwork(model.config.chorale, LOW, HIGH)
    model.networks = {"chorale": network.eval()}
    design = Chorale(model)
    design.teacher = teacher
    return design


def loss(design, batch):
    context = Context(0, 1, torch.device("cpu"), torch.Generator().manual_seed(3))
    return design.loss(batch, context)[0].item()


def test_the_loss_mixes_notes_and_teacher_and_random_orders_hear_the_notes_only():
    songs = [taught(s, 0.3) for s in range(3)]
    crops = Crops(songs, [range(-6, 6)] * 3, batch=4, length=8, seed=0, from_start=0.5)
    batch, plain = (
        crops(5),
        Crops(
            [Song.of(s.pitch) for s in songs], [range(-6, 6)] * 3, batch=4, length=8, seed=0, from_start=0.5
        )(5),
    )
    assert torch.equal(batch.inputs.pitch, plain.inputs.pitch)
    half, full = (Teacher(lambda pieces: [], share) for share in (0.5, 1.0))
    alone = loss(designed(None, 0.0), plain)
    both, only = loss(designed(half, 0.0), batch), loss(designed(full, 0.0), batch)
    assert only != pytest.approx(alone, abs=1e-3)
    assert both == pytest.approx((alone + only) / 2, abs=1e-5)
    assert loss(designed(full, 1.0), batch) == pytest.approx(loss(designed(None, 1.0), plain), abs=1e-6)
    part = batch.rows(slice(1, 3)).to(torch.device("cpu"))
    assert torch.equal(part.taught, batch.taught[1:3])
    assert torch.equal(part.shift, batch.shift[1:3])


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="share of the loss"):
        Teacher(lambda pieces: [], share)
