"""Writing in parallel: with a stand-in that any slip would betray, and with networks that have learnt a grammar."""

from __future__ import annotations

import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sampling_dummy import drained

from otonoha.models.jukebox.batches import HeldOut, Telling, Windows
from otonoha.models.jukebox.batches_loss import measured
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import LevelView
from otonoha.models.jukebox.blend import Mix, blend
from otonoha.models.jukebox.codes import UNKNOWN, Codes, empty
from otonoha.models.jukebox.codes_ngram import CodeNgrams
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.presets import MODERN_TINY
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_modes import ancestral, upsampled
from otonoha.models.jukebox.sampling_order import How, Order
from otonoha.models.jukebox.windows import Shape
from otonoha.sample.choose import Choice
from otonoha.sample.job import Job

HOPS = (4, 8, 16)


class Dummy:
    """A masked Level: code t must satisfy z // 3 == the upper code; which one is likely depends on all known codes."""

    masked, scored, n_lyrics, labelled = True, False, 0, None
    config = SimpleNamespace(labels=None)

    def __init__(self, level, n_ctx=16):
        self.level, self.n_ctx, self.ratio, self.hop = level, n_ctx, 2, HOPS[level]
        self.bins, self.coarser, self.asked = 4 * 3 ** (2 - level), 2 - level, []

    def step(self, labels, lyrics, upper, *, guidance=1.0):
        assert labels is None
        assert upper.shape[2] == self.coarser
        return SimpleNamespace(logits=lambda codes: self._logits(codes, upper))

    def _logits(self, codes, upper):
        self.asked.append(codes.clone())
        assert codes.shape[1] == upper.shape[1] * 2 <= self.n_ctx
        found = np.full((*codes.shape, self.bins), -np.inf)
        for row, z in enumerate(codes.tolist()):
            for t in range(len(z)):
                key = zlib.crc32(repr((z[max(t - 3, 0) : t + 4], t, upper[row, t // 2].tolist())).encode())
                above = int(upper[row, t // 2, 0])
                found[row, t, 3 * above : 3 * above + 3] = np.random.default_rng(key).normal(size=3)
        return torch.from_numpy(found)


def order(batch=2, positions=12, **how):
    top = np.random.default_rng(3).integers(0, 4, (batch, positions))
    codes = empty(batch, positions * 16, HOPS)
    codes = Codes((*codes.levels[:2], top), HOPS)
    levels = {0: Dummy(0), 1: Dummy(1)}
    return upsampled(levels, codes, seeds=list(range(batch)), how=dict.fromkeys(levels, How(**how)))


def written(asked, **options):
    return drained(sample(asked, **options)).codes


def lies_under(codes):
    for fine, coarse in zip(codes.levels, codes.levels[1:]):
        assert (fine // 3 == coarse.repeat(2, axis=1)).all()


@pytest.mark.parametrize("steps", [1, 3, 50])
@pytest.mark.parametrize("parallel", [False, True])
def test_every_code_lies_under_the_one_above(steps, parallel):
    asked = order(steps=steps, parallel=parallel)
    lies_under(written(asked))
    if not parallel:
        assert max(len(one) for one in asked.levels[0].asked) == 2


def test_pieces_do_not_know_each_other_nor_how_many_windows_are_computed_together():
    for parallel in (False, True):
        together = written(order(parallel=parallel))
        few = written(order(parallel=parallel, rows=2))
        for level in range(2):
            assert (together.levels[level] == few.levels[level]).all()
        for piece in range(2):
            asked = order(parallel=parallel)
            alone = replace(asked, codes=asked.codes.row(piece), seeds=[piece])
            assert (written(alone).levels[0] == together.levels[0][piece]).all()


def test_what_is_written_stays_and_is_seen_from_both_sides():
    whole = written(order(steps=4))
    levels = [z.copy() for z in whole.levels]
    levels[0][:, 6:12] = UNKNOWN
    hole = Codes(tuple(levels), HOPS)
    prior = Dummy(0)
    asked = Order({0: prior}, hole, {0: (0, 48)}, [5, 6], how={0: How(steps=2, noise=0.0)})
    found = written(asked)
    lies_under(found)
    same = found.levels[0] == whole.levels[0]
    assert same[:, :6].all()
    assert same[:, 12:].all()
    first = prior.asked[0].numpy()
    assert ((first == UNKNOWN).sum(1) == 6).all()
    assert (
        first[:, 12:] == whole.levels[0][:, 12:16]
    ).all()  # what is behind the hole is seen from the first on


@pytest.mark.parametrize("parallel", [False, True])
def test_an_interrupted_request_comes_to_the_same_end(tmp_path, parallel):
    wanted = written(order(steps=3, parallel=parallel))
    told = drained(sample(order(steps=3, parallel=parallel))).told
    for number, stop in enumerate(range(1, len(told), 4)):
        folder = tmp_path / str(number)
        job = Job(folder, {}, every=1)
        walk = sample(order(steps=3, parallel=parallel), job=job)
        for _ in range(stop):
            next(walk)
        job.flush()
        again = order(steps=3, parallel=parallel)
        found = written(again, job=Job(folder, {}))
        assert all((a == b).all() for a, b in zip(found.levels, wanted.levels))
    assert sum(len(prior.asked) for prior in again.levels.values()) < len(
        told
    )  # what was saved is not asked again


def test_progress_counts_every_code_once():
    told = drained(sample(order(steps=3))).told
    assert told[-1].done == told[-1].total
    assert [t.done for t in told] == sorted(t.done for t in told)


def test_knobs_without_effect_are_refused():
    with pytest.raises(ValueError, match="repetition has no effect"):
        written(order(choice=Choice(repetition=1.0)))


# -- networks ----------------------------------------------------------------------------------------------


def system(**options):
    """Three tiny priors, untrained."""
    masked = Modern(mode="masked", kv_heads=1, feedforward=64, score=True)
    top = replace(MODERN_TINY, **options)
    return {
        level: Jukebox(replace(top, level=level, modern=top.modern if level == 2 else masked))
        for level in range(3)
    }


def test_three_levels_write_sound_under_changing_styles_and_notes():
    priors, hops, rate = system(), MODERN_TINY.hops, MODERN_TINY.rate
    mix = Mix(
        blend([(0, "a"), (0.3, "b")]).mapped(lambda name: [1 + "ab".index(name)]),
        blend({"x": 1, "y": 3}).mapped(lambda name: [1 + "xy".index(name)]),
    )
    notes = np.array([[0.0, 0.2, 60], [0.1, 0.4, 64]])
    plain = Label(total=rate * 60, artist=1, genres=(1, -1))
    found = []
    for label in (plain, replace(plain, mix=mix), replace(plain, notes=notes)):
        how = {level: How(guidance=3.0, steps=2) for level in priors}
        labels = {level: [label] for level in priors}
        asked = ancestral(priors, hops, rate // 2, seeds=[1], labels=labels, how=how, rate=rate)
        codes = written(asked)
        assert all((z >= 0).all() for z in codes.levels)
        found.append(codes.levels[2].tobytes())
    assert len(set(found)) == 3


def grammar(rng, many):
    """A song of two levels: a fine code is the next coarse code, then the one over it."""
    coarse = rng.integers(0, 8, many)
    fine = np.stack([np.roll(coarse, -1), coarse], axis=1).reshape(-1)
    return Song(str(many), (fine, coarse), Label(total=many * 32), 8000)


def test_learns_a_grammar_that_counting_cannot():
    rng = np.random.default_rng(0)
    songs, held = [grammar(rng, 400)], [grammar(rng, 120)]
    config = replace(
        MODERN_TINY,
        hops=(16, 32),
        level=0,
        codes=8,
        labels=None,
        modern=Modern(mode="masked", kv_heads=1, feedforward=64, forget=0.0),
    )
    model = Jukebox(config)
    view = LevelView(0, Shape(32, 16, 2), every=True)
    draws = Windows(songs, view, Telling(labels=False), batch=16)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    torch.manual_seed(0)
    model.network.train()
    for update in range(150):
        loss = model.losses(draws(update).codes, upper=draws(update).upper)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.network.eval()
    with torch.no_grad():
        out = HeldOut(held, view, Telling(labels=False))
        found = measured(lambda b: model.bound(b.codes, upper=b.upper), out, 8)["loss"]
        shuffled = measured(lambda b: model.bound(b.codes, upper=b.upper), out, 8, exchange=["upper"])["loss"]
    counted = CodeNgrams(replace(view, every=False), 8, past=2).fit(songs).bits_per_code(held)
    assert found < 0.5 * counted
    assert shuffled > 2 * counted
    codes = empty(1, 120 * 32, (16, 32))
    codes = Codes((codes.levels[0], held[0].levels[1][None]), (16, 32))
    written_now = written(upsampled({0: model}, codes, seeds=[0], how={0: How(steps=4)})).levels[0][0]
    assert (written_now == held[0].levels[0])[:-2].mean() > 0.9
