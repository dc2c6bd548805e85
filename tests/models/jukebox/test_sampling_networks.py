"""Sampling with real networks (tiny, random weights): every code is the one that the full forward pass chooses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from priors import ENCODER, OWN, SHAPE
from sampling_dummy import drained

from otonoha.models.jukebox.config import Conditioner, Config, Labels, Lyrics
from otonoha.models.jukebox.labels import Label, Names, Table
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.sampling import Dice, sample
from otonoha.models.jukebox.sampling_modes import ancestral, continued, upsampled
from otonoha.models.jukebox.sampling_order import How, planned
from otonoha.sample.choose import Choice, draw, probabilities
from otonoha.sample.job import Job

HOPS, RATE = (4, 8), 8000
SEEDS = [5, 6]
HOW = {level: How(Choice(temperature=0.9, top_k=12), hop=0.5) for level in (0, 1)}


@cache
def priors():
    """A top prior with labels and lyrics, and an upsampler with labels."""
    top = {"pattern": 6, "labels": OWN, "lyrics": Lyrics(characters=6, vocabulary=9, encoder=ENCODER)}
    up = {
        "level": 0,
        "labels": Labels(genres=6, artists=7, most_genres=2),
        "conditioner": Conditioner(width=8, depth=3, dilation_cycle=2),
    }
    return {1: made(top), 0: made(up)}


def made(options):
    model = Jukebox(Config(**{**SHAPE, **options}))
    model.networks.double().requires_grad_(False)
    random = torch.Generator().manual_seed(1)
    for p in model.networks.parameters():
        p.copy_(p + 0.1 * torch.randn(p.shape, generator=random, dtype=torch.float64))
    model.network.y_emb.artist_emb.emb.weight.mul_(30)  # who it is shall be heard
    return model


def labels():
    songs = [
        Label(total=4000, offset=80 * i, artist=i, genres=(i, -1), lyrics=(1, 2, 3, 4, 5, 6, 7, 8) * 3)
        for i in range(2)
    ]
    return dict.fromkeys((0, 1), songs)


def order(samples=600, **more):
    return ancestral(priors(), HOPS, samples, seeds=SEEDS, labels=labels(), how=HOW, rate=RATE, **more)


def chosen_by_forward(asked, codes):
    """The codes that full forward passes over every window choose, given the codes before."""
    dice = Dice(asked.seeds)
    for run in planned(asked):
        model = asked.levels[run.level]
        for w in run.phases[0]:
            z = torch.from_numpy(codes.levels[run.level][:, w.start : w.stop])
            length = model.n_ctx * model.hop
            songs = [(song, w.start * model.hop) for song in asked.labels[run.level]]
            rows = torch.from_numpy(np.stack([song.row(at, length) for song, at in songs]))
            upper = lyrics = None
            if model.ratio:
                first = w.start // model.ratio
                upper = codes.levels[run.level + 1][:, first : first + model.n_ctx // model.ratio]
                upper = torch.from_numpy(upper)
            if model.n_lyrics:
                seen = [song.characters(at, length, model.n_lyrics) for song, at in songs]
                lyrics = torch.from_numpy(np.stack(seen))
            with torch.no_grad():
                logits = model.logits(z, rows, lyrics, upper).numpy()
            for place in range(w.first, w.stop):
                p = probabilities(logits[:, place - w.start], asked.settings(run.level).choice)
                yield run.level, place, draw(p, dice(run.level, place))


@pytest.mark.parametrize("samples", [8, 100, 600])
def test_every_code_is_that_of_the_full_forward_pass(samples):
    asked = order(samples)
    codes = drained(sample(asked)).codes
    count = 0
    for level, place, drawn in chosen_by_forward(asked, codes):
        assert (codes.levels[level][:, place] == drawn).all(), (level, place)
        count += 1
    assert count == codes.samples // 8 * 3
    if samples == 600:
        assert len({tuple(z[0]) for z in codes.levels}) == 2
        assert not (codes.levels[1][0] == codes.levels[1][1]).all()


def test_a_seed_alone_a_part_and_windows_at_once():
    whole = drained(sample(order())).codes
    one = {level: songs[1:] for level, songs in labels().items()}
    alone = ancestral(priors(), HOPS, 600, seeds=SEEDS[1:], labels=one, how=HOW, rate=RATE)
    for a, b in zip(drained(sample(alone)).codes.levels, whole.levels):
        assert (a[0] == b[1]).all()
    more = {"seeds": SEEDS, "labels": labels(), "how": HOW, "rate": RATE}
    prompt = continued(priors(), whole, 600, keep=200, **more)
    assert all((a == b).all() for a, b in zip(drained(sample(prompt)).codes.levels, whole.levels))
    at_once = {0: How(HOW[0].choice, parallel=True)}
    again = upsampled(priors(), whole, anew=True, **{**more, "how": at_once})
    found = drained(sample(again)).codes.levels
    assert (found[1] == whole.levels[1]).all()
    assert (found[0][:, :24] == whole.levels[0][:, :24]).all()


def test_interrupted_real_networks_go_on_identically(tmp_path):
    whole = drained(sample(order(300))).codes
    for at in (5, 37, 60):
        job = Job(tmp_path / str(at), {"seed": 5}, every=1)
        walk = sample(order(300), job=job)
        for _ in range(at):
            next(walk)
        walk.close()
        job.flush()
        found = drained(sample(order(300), job=Job(tmp_path / str(at), {"seed": 5}))).codes
        assert all((a == b).all() for a, b in zip(found.levels, whole.levels))


def test_a_blend_of_one_is_that_one_and_of_two_is_neither():
    table = Table("artist", {"ana": 1, "bo": 2}, 7)
    names = Names(table, Table("genre", {"folk": 1, "rock": 2}, 6), "v2", 2)

    def top(artist, genre):
        song = names.label(artist, genre, total=4000, lyrics=(1, 2, 3))
        asked = ancestral(priors(), HOPS, 300, seeds=[3], labels={1: [song]}, only=[1], rate=RATE)
        return drained(sample(asked)).codes.levels[1][0].tolist()

    assert top({"ana": 2.0}, "folk rock") == top("ana", [(0, "folk rock")]) == top("ana", "folk rock")
    both = top({"ana": 1, "bo": 1}, "folk rock")
    assert both not in (top("ana", "folk rock"), top("bo", "folk rock"))
