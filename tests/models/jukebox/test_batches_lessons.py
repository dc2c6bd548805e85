"""From pieces to a trained prior and on to other music: the verbs that `fit` needs, with a real codec of sound."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from codes_fakes import FakeCodec, piece

from otonoha.models.jukebox.batches_lessons import (
    Lessons,
    held_out,
    learnt,
    loss_of,
    telling_of,
    view_of,
    windows,
)
from otonoha.models.jukebox.batches_loss import measured, worth
from otonoha.models.jukebox.config import Conditioner, Config, Labels, Layers, Lyrics
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.network import Network
from otonoha.models.jukebox.vocabulary_rows import with_more_names
from otonoha.train import loop
from otonoha.train.objective import Objective
from otonoha.train.settings import Settings

CODEC = FakeCodec(sizes=(60, 60, 60))
PIECES = [
    piece(f"p{n}", 600 + 40 * n, start=3.0 * n, artist=f"a{n % 3}", genre="x, y", lyrics="la lé 東" * 4)
    for n in range(8)
]
ENCODER = Layers(width=16, layers=4, heads=2, blocks=4)
TOP = Config(
    rate=1000,
    hops=(2, 4, 8),
    level=2,
    codes=60,
    context=24,
    width=32,
    layers=4,
    heads=2,
    blocks=4,
    pattern=6,
    labels=Labels(time_bins=8, most_genres=2),
    lyrics=Lyrics(characters=8, encoder=ENCODER),
)
UP = Config(
    rate=1000,
    hops=(2, 4, 8),
    level=1,
    codes=60,
    context=24,
    width=32,
    layers=4,
    heads=2,
    blocks=4,
    labels=Labels(most_genres=2),
    conditioner=Conditioner(width=8, depth=2),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    torch.set_num_threads(1)


def fitted(config: Config, lessons: Lessons, pieces) -> Jukebox:
    torch.manual_seed(0)
    config = lessons.fitted(config, pieces)
    model = Jukebox(config)
    model.adopt(Network(config))
    return model


def train(model: Jukebox, lessons: Lessons, pieces, steps: int) -> dict[str, float]:
    songs = lessons.songs(CODEC, pieces)
    assert not songs.skipped
    settings = Settings(steps=steps, batch=4, lr=1e-2, warmup=5, eval_every=steps, device="cpu")
    draw, held = windows(model.config, songs.songs, settings), held_out(model.config, songs.songs)
    training = loop.Training(
        networks=model.networks,
        objectives=[Objective("prior", model.networks.parameters(), loss_of(model))],
        batches=lambda name, update: draw(update),
        validate=lambda: measured(lambda b: model.losses(b.codes, **b.told)["bits"], held, 8),
    )
    return loop.fit(training, settings, quiet=True).history[-1]


def test_tables_and_sizes_follow_from_the_music():
    lessons = learnt(TOP, PIECES)
    config = lessons.fitted(TOP, PIECES)
    assert (config.labels.artists, config.labels.genres, config.labels.most_genres) == (4, 3, 2)
    assert (config.labels.shortest, config.labels.longest) == (0, 2)
    text = set("la lé 東" * 4)
    assert config.lyrics.vocabulary == 257 + len(text)
    again = Lessons.from_json(json.loads(json.dumps(lessons.to_json())))
    assert (again.names, again.lyrics) == (lessons.names, lessons.lyrics)
    assert learnt(UP, PIECES).lyrics is None
    assert Lessons.from_json(Lessons().to_json()).to_json() == {"names": None, "lyrics": None}
    assert view_of(UP).shape.ratio == 2
    assert (telling_of(TOP).lyrics, telling_of(UP).lyrics) == (8, 0)


def test_a_prior_learns_and_its_conditions_are_worth_something():
    """On ramps the upper code says nearly all about a code; told a wrong one, the prior is worse."""
    lessons = learnt(UP, PIECES)
    model = fitted(UP, lessons, PIECES)
    figures = train(model, lessons, PIECES, 40)
    assert figures["loss"] < 0.8 * math.log2(60)
    assert figures["bits_per_second"] == pytest.approx(figures["loss"] * 250)
    held = held_out(model.config, lessons.songs(CODEC, PIECES[:3]).songs)
    with torch.no_grad():
        found = worth(lambda b: model.losses(b.codes, **b.told)["bits"], held, 8)
    assert found["upper exchanged"]["loss"] > found["as told"]["loss"] + 0.5


def test_other_music_brings_new_names_and_keeps_the_old_ones():
    first, more = PIECES[:4], [piece("new", 700, artist="new one", genre="z", lyrics="ha")]
    lessons = learnt(TOP, first)
    model = fitted(TOP, lessons, first)
    longer = lessons.extended(more)
    assert longer.names.artist("a1") == lessons.names.artist("a1")
    later = fitted(model.config, longer, [])
    labels = later.config.labels
    state = with_more_names(model.network.state_dict(), artists=labels.artists, genres=labels.genres)
    later.network.load_state_dict(state)
    assert (labels.artists, labels.genres) == (5, 4)
    assert (labels.shortest, labels.longest) == (model.config.labels.shortest, model.config.labels.longest)
    assert np.isfinite(train(later, longer, more, 3)["loss"])


def test_what_is_left_out_is_told_once():
    lines = []
    odd = [piece("odd", 300, artist="stranger", genre="x"), piece("short", 5), piece("b", 300, total="?")]
    found = learnt(UP, PIECES).songs(CODEC, [*PIECES, *odd], told=lambda line, last: lines.append(line))
    assert len(found.songs) == 9
    assert lines[-2].startswith(
        "not known to this model, told to it as unknown: 1 artist in 1 piece: stranger"
    )
    assert lines[-1].startswith("2 recordings left out; the first: short: it is shorter than a code")
