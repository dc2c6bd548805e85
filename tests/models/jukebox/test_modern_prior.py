"""The design `modern`: networks, conditions, masks, guidance, mixes, notes; every fast way against a slow one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.config import from_json, to_json
from otonoha.models.jukebox import modern_masks
from otonoha.models.jukebox.batches_views import over
from otonoha.models.jukebox.blend import blend
from otonoha.models.jukebox.config import Conditioner, Config, Labels, Lyrics
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import SCORE, Modern
from otonoha.models.jukebox.modern_model import ModernJukebox, forgetful
from otonoha.models.jukebox.modern_sampling import over_time
from otonoha.models.jukebox.modern_score import roll
from otonoha.models.jukebox.presets import MODERN_TINY

LYRICS = Lyrics(design="single", characters=5, vocabulary=9)
MASKED = Modern(mode="masked", kv_heads=1, feedforward=64, score=True)


def prior(level=2, *, masked=False, lyrics=None, seed=0, **options):
    """A tiny one with weights large enough for conditions to be heard."""
    modern = MASKED if masked else MODERN_TINY.modern
    torch.manual_seed(seed)
    found = Jukebox(replace(MODERN_TINY, level=level, modern=modern, lyrics=lyrics, **options))
    with torch.no_grad():
        for p in found.network.parameters():
            if p.ndim > 1:
                p.normal_(std=0.2)
    return found


def told(model, rows=3, seed=0):
    """Everything that a prior can be told."""
    g = torch.Generator().manual_seed(seed)
    c, n = model.config, model.n_ctx
    labels = torch.tensor([[8000 * 60 + i, 999 * i, n * model.hop, i % 4, 1 + i, -1] for i in range(rows)])
    found = {"labels": labels}
    if c.lyrics is not None:
        found["lyrics"] = torch.randint(c.lyrics.vocabulary, (rows, c.lyrics.characters), generator=g)
    if c.ratio:
        found["upper"] = torch.randint(c.codes, (rows, n // c.ratio, model.coarser), generator=g)
    found["score"] = torch.randint(2, (rows, n, SCORE), generator=g, dtype=torch.uint8)
    return found


def codes(model, rows=3, many=20, seed=1):
    return torch.randint(model.bins, (rows, many), generator=torch.Generator().manual_seed(seed))


# -- code by code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "lyrics"), [(2, None), (2, LYRICS), (1, None), (0, LYRICS)])
@torch.no_grad()
def test_code_by_code_equals_the_whole(level, lyrics):
    model = prior(level, lyrics=lyrics)
    z, known = codes(model), told(model)
    whole = model.logits(z, **known)[:, model.config.prefix :, model.config.shift :]
    for given_codes in (0, 1, 7):
        step = model.step(**known)
        state = step.start(3)
        if given_codes:
            state = step.prefill(state, {"code": z[:, :given_codes]})
        for t in range(given_codes, z.shape[1]):
            assert torch.allclose(step.logits(state, 0, []), whole[:, t], atol=1e-5)
            state = step.advance(state, [z[:, t]])


@torch.no_grad()
def test_the_past_alone_decides_and_a_window_has_an_end():
    model = prior()
    z, known = codes(model, many=model.n_ctx), told(model)
    other = z.clone()
    other[:, 11:] = 0
    assert torch.equal(model.logits(z, **known)[:, :12], model.logits(other, **known)[:, :12])
    assert not torch.equal(model.logits(z, **known)[:, 12:], model.logits(other, **known)[:, 12:])
    step = model.step(**known)
    state = step.prefill(step.start(3), {"code": z})
    with pytest.raises(ValueError, match="full"):
        step.logits(state, 0, [])
    with pytest.raises(ValueError, match="do not fit"):
        step.advance(state, [z[:, 0]])


@torch.no_grad()
def test_native_engine_says_nearly_the_same():
    model = Jukebox(replace(MODERN_TINY, width=64, heads=2))
    z, known = codes(model), told(model)
    model.engine = "auto"  # type: ignore[assignment]
    step = model.step(**known)
    state = step.prefill(step.start(3), {"code": z})
    exact = model.logits(torch.cat([z, z[:, :1]], 1), **known)[:, -1]
    assert torch.allclose(step.logits(state, 0, []), exact, atol=0.05 * float(exact.abs().max()))


# -- all at once -------------------------------------------------------------------------------------------


@torch.no_grad()
def test_masked_logits_see_both_sides_and_nothing_hidden():
    model = prior(1, masked=True)
    z, known = codes(model), told(model)
    hidden = z.clone()
    hidden[:, 8:12] = -1
    found = model.logits(hidden, **known)
    assert found.shape == (3, 20, 32)
    for place, changed in ((3, True), (15, True)):
        other = hidden.clone()
        other[:, place] = (other[:, place] + 1) % 32
        assert (not torch.allclose(model.logits(other, **known)[:, 9], found[:, 9])) == changed


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_every_condition_is_heard_where_it_stands(masked):
    model = prior(0, masked=masked, lyrics=LYRICS)
    z, known = codes(model), told(model)
    plain = model.logits(z, **known)
    for name, column, value in (
        ("labels", 0, 900_000),
        ("labels", 1, 99_000),
        ("labels", 3, 3),
        ("labels", 4, 3),
        ("lyrics", 2, (int(known["lyrics"][0, 2]) + 1) % 9),
    ):
        other = {**known, name: known[name].clone()}
        other[name][0, column] = value
        assert not torch.allclose(model.logits(z, **other)[0], plain[0]), (name, column)
    for name, where in (("score", (1, 10, 60)), ("upper", (1, 5, 0)), ("upper", (1, 5, 1))):
        other = {**known, name: known[name].clone()}
        other[name][where] = 1 - other[name][where] if name == "score" else (other[name][where] + 1) % 32
        same = (model.logits(z, **other) == plain).all(-1)
        assert same[0].all()
        assert not same[1].all()
        if not masked:  # what belongs to code 10 is heard there first
            first = int((~same[1]).nonzero()[0]) - model.config.prefix
            assert first == 10


@torch.no_grad()
def test_nothing_has_to_be_told_but_upper_codes():
    model = prior(0, masked=True)
    known = told(model)
    assert model.logits(codes(model), upper=known["upper"]).shape == (3, 20, 32)
    with pytest.raises(ValueError, match="needs upper"):
        model.logits(codes(model))
    with pytest.raises(ValueError, match="takes no upper"):
        prior().logits(codes(model), upper=known["upper"])
    with pytest.raises(ValueError, match="coarser levels"):
        model.logits(codes(model), upper=known["upper"][..., :1])
    with pytest.raises(ValueError, match="score must be"):
        model.logits(codes(model), upper=known["upper"], score=known["score"][..., :5])


# -- losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_of_a_network_that_knows_nothing_every_code_costs_all_its_bits(masked):
    model = Jukebox(replace(MODERN_TINY, level=1, modern=MASKED if masked else MODERN_TINY.modern))
    with torch.no_grad():
        model.network.llama.model.norm.weight.zero_()
    z, known = codes(model), told(model)
    for training in (False, True):
        model.network.train(training)
        assert float(model.losses(z, **known)["loss"].detach()) == pytest.approx(5.0, abs=1e-4)
    model.network.eval()
    if masked:
        for steps in (None, 1, 4):
            assert float(model.bound(z, draws=2, steps=steps, **known).detach().mean()) == pytest.approx(
                5.0, abs=1e-4
            )


def test_bound_is_the_mean_over_all_orders():
    """Against every order of four codes, written out."""
    from itertools import permutations

    model = prior(1, masked=True)
    z, known = codes(model, 1, 4), told(model, 1)
    known["upper"] = known["upper"][:, :2]
    costs = []
    with torch.no_grad():
        for order in permutations(range(4)):
            seen = torch.full_like(z, -1)
            for place in order:
                p = model.logits(seen, **known)[0, place].log_softmax(-1)
                costs.append(-float(p[z[0, place]]) / np.log(2))
                seen[0, place] = z[0, place]
        found = float(model.bound(z, draws=500, **known).mean())
    assert found == pytest.approx(np.mean(costs), rel=0.06)


def test_a_measurement_is_the_same_every_time_and_learning_is_not():
    model = prior(1, masked=True)
    z, known = codes(model), told(model)
    assert torch.equal(model.losses(z, **known)["bits"], model.losses(z, **known)["bits"])
    model.network.train()
    assert not torch.equal(model.losses(z, **known)["bits"], model.losses(z, **known)["bits"])


def test_forgetting_takes_conditions_away_one_by_one():
    model = prior(2, lyrics=LYRICS)
    known = model.told(**told(model, 3))
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        found = forgetful(known, 0.5)
        for row in range(3):
            assert int(found.labels[row, 3]) in (0, int(known.labels[row, 3]))
            seen.add(
                (
                    bool(found.labels[row, 0]),
                    bool(found.labels[row, 4]),
                    bool(found.lyrics[row].any()),
                    bool(found.score[row].any()),
                )
            )
    assert len(seen) == 16
    assert forgetful(known, 0.0).labels.tolist() == known.labels.tolist()


@given(st.integers(1, 300), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_schedules_write_everything_once(many, steps):
    found = modern_masks.schedule(many, steps)
    assert sum(found) == many
    assert len(found) <= steps
    assert min(found) > 0
    shares = (torch.arange(many) + 0.5) / many
    assert sorted(modern_masks.counts(shares, many).tolist()) == list(range(1, many + 1))
    numbers = modern_masks.counts(shares, many, steps).tolist()
    left, wanted = many, []
    for written in found:
        wanted += [left] * written
        left -= written
    assert numbers == wanted
    assert modern_masks.trained(shares, many, "cosine").min() >= 1
    noise = torch.rand(many, many)
    assert modern_masks.hidden(torch.tensor(numbers), noise).sum(1).tolist() == numbers


# -- guidance, mixes ---------------------------------------------------------------------------------------


@torch.no_grad()
def test_guidance_leans_away_from_what_is_said_without_conditions():
    z = codes(prior())
    for model in (prior(), prior(1, masked=True)):
        known = told(model)
        free = {"upper": known["upper"]} if "upper" in known else {}
        found = {}
        for name, given_, scale in (("c", known, 1.0), ("u", free, 1.0), ("g", known, 2.5)):
            step = model.step(**given_, guidance=scale)
            if model.masked:
                hidden = z.masked_fill(torch.arange(20) % 3 == 0, -1)
                found[name] = step.logits(hidden)
            else:
                state = step.prefill(step.start(3), {"code": z[:, :5]})
                state = step.advance(state, [z[:, 5]])
                found[name] = step.logits(state, 0, [])
        assert torch.allclose(found["g"], found["u"] + 2.5 * (found["c"] - found["u"]), atol=1e-4)
        assert not torch.allclose(found["c"], found["u"], atol=1e-2)
    with pytest.raises(ValueError, match="moderate"):
        prior().step(**told(prior()), guidance=1e3)


@torch.no_grad()
def test_mixes_are_linear_and_may_change_within_a_window():
    model = prior()
    rows = torch.tensor([[0, 0, 0, artist, genre, -1] for artist, genre in ((1, 2), (3, 4))])
    one, two = model.network.condition(model.told(rows)).added[:, :1]
    ids = (torch.tensor([[1, 3]]), torch.tensor([[2, 4]]))
    for w in (0.0, 0.3, 1.0):
        weights = torch.tensor([[1 - w, w]])
        mixed = replace(model.told(rows[:1]), artists=(ids[0], weights), genres=(ids[1], weights))
        assert torch.allclose(model.network.condition(mixed).added, (1 - w) * one + w * two, atol=1e-6)
    share = torch.linspace(0, 1, model.n_ctx)
    weights = torch.stack([1 - share, share], 1)[None]
    mixed = replace(model.told(rows[:1]), artists=(ids[0], weights), genres=(ids[1], weights))
    found = model.network.condition(mixed).added[0]
    assert torch.allclose(found, (1 - share)[:, None] * one + share[:, None] * two, atol=1e-6)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from("abc"), st.floats(0.01, 1)), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=30)
def test_blends_over_time_equal_blends_at_moments(points):
    moments = {round(time, 2): {name: 1.0, "d": weight} for time, name, weight in points}
    mix = blend(sorted(moments.items())).mapped(lambda name: ["abcd".index(name)])
    times = np.linspace(0, 60, 41)
    ids, weights = over_time([mix, mix], [times, times + 1])
    for row, shift in ((0, 0), (1, 1)):
        for t, seconds in enumerate(times):
            wanted = mix.at(seconds + shift)
            for name, weight in zip(ids[row], weights[row, t]):
                assert weight == pytest.approx(wanted.get(int(name), 0.0), abs=1e-6)


# -- notes, coarser levels ---------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 8), st.floats(0, 3), st.integers(0, 127)), max_size=8),
    st.floats(0, 5),
    st.integers(1, 30),
)
@settings(deadline=None, max_examples=60)
def test_rows_of_notes_equal_a_look_at_every_moment(some, start, many):
    frame = 0.25
    # on a fine grid, away from the edges of frames
    some = [(round(a, 1) + 0.013, round(a + b, 1) + 0.017, p) for a, b, p in some]
    start = round(start * 4) / 4
    notes = np.array(sorted(some), float).reshape(-1, 3)
    found = roll(notes, start, frame, many)
    for t in range(many):
        low, high = start + t * frame, start + (t + 1) * frame
        begins = {int(p) for a, b, p in notes if low <= a < high}
        sounds = {int(p) for a, b, p in notes if a < high and (b > low)}
        assert set(np.flatnonzero(found[t, :128])) == begins
        assert set(np.flatnonzero(found[t, 128:256])) == sounds
    assert (found[:, 256] == 1).all()


def test_coarser_codes_stand_over_finer_ones():
    levels = [np.arange(24), np.arange(12) + 100, np.arange(6) + 200]
    found = over(levels[1:], 3, 5)
    assert found.tolist() == [[103, 201], [104, 202], [105, 202], [106, 203], [107, 203]]
    assert over(levels[1:], 10, 4).tolist() == [[110, 205], [111, 205], [111, 205], [111, 205]]


# -- config, folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["modern_tiny", "modern_top", "modern_up", "modern_delayed"])
def test_presets_count_their_parameters(name):
    model = Jukebox(name)
    assert isinstance(model, ModernJukebox)
    assert model.config.design == "modern"
    assert model.parameters == model.config.parameters
    assert from_json(Config, json.loads(json.dumps(to_json(model.config)))) == model.config


def test_three_levels_fit_into_ten_megabytes():
    names = Labels(artists=120, genres=24, time_bins=32, shortest=0.0)
    presets = Jukebox.presets
    configs = [presets["modern_top"], presets["modern_up"], replace(presets["modern_up"], level=0)]
    assert sum(replace(c, labels=names).parameters for c in configs) * 2 < 10_000_000


def test_a_folder_gives_back_the_same_prior(tmp_path):
    model = prior(1, masked=True)
    model.save(tmp_path)
    again = Jukebox.load(tmp_path)
    assert isinstance(again, ModernJukebox)
    z, known = codes(model), told(model)
    assert torch.equal(again.losses(z, **known)["bits"], model.losses(z, **known)["bits"])
    assert type(Jukebox("tiny")) is Jukebox


def test_options_that_do_not_fit_are_refused():
    for change, message in (
        ({"pattern": 0}, "pattern has no effect"),
        ({"conditioner": Conditioner(), "level": 1}, "conditioner has no effect"),
        ({"modern": Modern(kv_heads=3)}, "even multiple of heads"),
        ({"lyrics": Lyrics(encoder=MODERN_TINY)}, "design single"),
        ({"context": 33, "level": 1}, "multiple of 2"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(MODERN_TINY, **change)
    for options in ({"mode": "mask"}, {"forget": 2.0}, {"masks": "uniform"}):
        with pytest.raises(ValueError):
            Modern(**options)
    with pytest.raises(ValueError, match="exact"):
        prior().bound(codes(prior()))
    with pytest.raises(ValueError, match="records no attention"):
        prior().step(**told(prior()), record=[0])
