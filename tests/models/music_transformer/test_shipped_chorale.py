"""The chorale model that comes with the package: what it gives back, and how well it knows chorales."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import otonoha as oto
from otonoha.data import named
from otonoha.models.pretrained import load, shipped
from otonoha.music.tracks import notes
from otonoha.sample.tasks import Harmonise, Infill

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif("chorale" not in shipped(), reason="no chorale model in this package")
VOICES = ["soprano", "alto", "tenor", "bass"]


@pytest.fixture(scope="module")
def model():
    return load("chorale")


@pytest.fixture(scope="module")
def pieces():
    if not named.available("bach-chorales"):
        pytest.skip("needs music21's corpus: pip install otonoha[scores]")
    return oto.corpus("bach-chorales").test


def alone(score, voices):
    part = score.copy()
    part.tracks = [t for t in score.tracks if t.name.strip().lower() in voices]
    return part


def listed(track):
    n = notes(track)
    return list(zip(n.onset.tolist(), n.duration.tolist(), n.pitch.tolist(), strict=True))


def test_its_card_says_what_it_is(model):
    assert model.config.design == "chorale"
    assert model.config.chorale.remembered[0] > 200
    assert "public domain" in model.card["licence"]
    assert sum(p.stat().st_size for p in shipped()["chorale"].iterdir()) < 8e6


def test_it_knows_chorales_it_has_not_learnt(model, pieces):
    """Nats a note on two of them; counts have .47 on the tables' test pieces."""
    assert model.likelihood(pieces[:2])["loss"] < 0.42


def test_a_soprano_is_harmonised_and_stays(model, pieces):
    prompt = alone(pieces[0].score(), ["soprano"])
    prompt.tracks[0].notes = prompt.tracks[0].notes[:16]
    take = model.sample(Harmonise(prompt), seed=1)
    names = [t.name.strip().lower() for t in take.music.tracks]
    assert names == VOICES
    assert listed(take.music.tracks[0]) == listed(prompt.tracks[0])
    means = [notes(t).pitch.mean() for t in take.music.tracks]
    assert means == sorted(means, reverse=True)
    sounds = np.stack([_on_beats(t, take.music.tpq) for t in take.music.tracks])
    both = (sounds > 0).all(0)
    assert both.sum() > 0.8 * (sounds > 0).any(0).sum()
    apart = np.abs(sounds[:, None] - sounds[None])[np.triu_indices(4, 1)]
    clash = np.isin(apart, (1, 11, 13)).any(0)
    assert clash[both].mean() < 0.15  # of real beats 3 %


def _on_beats(track, tpq):
    """(128,) what sounds on every beat, 0 where nothing does."""
    line, pitch = notes(track), np.zeros(128, int)
    for onset, end, p in zip(line.onset, line.end, line.pitch, strict=True):
        pitch[-(-onset // tpq) : -(-end // tpq)] = p
    return pitch


def test_inner_voices_are_filled_in_and_the_others_stay(model, pieces):
    score = pieces[1].score()
    take = model.sample(Infill(score), only_tracks="alto,tenor", only_bars="2", seed=3)
    by_name = {t.name.strip().lower(): t for t in take.music.tracks}
    for track in score.tracks:
        name = track.name.strip().lower()
        if name in ("soprano", "bass"):
            assert listed(by_name[name]) == listed(track)
