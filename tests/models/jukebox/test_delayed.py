"""Several codes a step: a prior that writes all levels by the delay pattern; a codec with several codes for a time."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_dummy import chance, chosen, drained
from symusic import Note, Score, Track

from otonoha.models.jukebox import delays
from otonoha.models.jukebox.batches import HeldOut, Spot, Telling, Windows, collate, row_of
from otonoha.models.jukebox.batches_lessons import view_of
from otonoha.models.jukebox.batches_loss import measured
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.codes import Codes, empty
from otonoha.models.jukebox.config import Lyrics
from otonoha.models.jukebox.delays import Delays
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.modern_delayed import DelayedJukebox
from otonoha.models.jukebox.presets import MODERN_TINY
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_modes import continued
from otonoha.models.jukebox.sampling_order import How
from otonoha.models.jukebox.system import JukeboxSystem
from otonoha.models.vqvae.model import VQVAE
from otonoha.sample.choose import Choice
from otonoha.sample.job import Job
from otonoha.sample.tasks import Done, Partial, Upsample

torch.set_num_threads(1)
DELAYED = Modern(mode="delayed", kv_heads=1, feedforward=64, score=True)
HOPS = (8, 8, 16)
"""A dummy's: two levels for the same time, two codes each for one of the coarsest."""
PATTERN = Delays((2, 2, 1), (9, 9, 9), (0, 1, 1, 2, 3))


# -- writing, against a slow twin --------------------------------------------------------------------------


class Dummy:
    """A Level whose likely codes depend on the stream, and on all steps of the window before."""

    level, n_ctx, hop, ratio, bins, n_lyrics, labelled = 2, 6, 16, 0, 9, 0, None
    delays = PATTERN

    def __init__(self):
        self.asked = 0

    def step(self, labels, lyrics, upper):
        assert labels is lyrics is upper is None
        return DummyStep(self)


class DummyStep:
    device = torch.device("cpu")

    def __init__(self, of):
        self.of = of

    def start(self, batch):
        return [[] for _ in range(batch)]

    def prefill(self, state, streams):
        return [past + more for past, more in zip(state, streams["code"].tolist(), strict=True)]

    def logits(self, state, k, drawn):
        self.of.asked += 1
        assert all(len(past) < self.of.n_ctx for past in state)
        return torch.tensor(np.stack([scores(past, k) for past in state]))

    def advance(self, state, drawn):
        assert len(drawn) == PATTERN.streams
        return self.prefill(state, {"code": torch.stack(list(drawn), 1)[:, None]})


def scores(past, k):
    return np.random.default_rng(zlib.crc32(repr((past, k)).encode())).normal(size=9) * 2


def slow(seed, many, hop=3, known=()):
    """(many, K): step by step, every code on its own; `known`: the positions that it begins with."""
    steps = [[9] * 5 for _ in range(many + 3)]
    starts = [0]
    while starts[-1] + 6 < many + 3:
        starts.append(min(starts[-1] + hop, many + 3 - 6))
    for s in range(many + 3):
        start = next(x for x in starts if s < x + 6)
        for k, delay in enumerate(PATTERN.steps):
            p = s - delay
            if not 0 <= p < many:
                continue
            if p < len(known):
                steps[s][k] = int(known[p][k])
                continue
            level, slot = {0: (2, 0), 1: (1, 0), 2: (1, 1), 3: (0, 0), 4: (0, 1)}[k]
            place = p * (1 if level == 2 else 2) + slot
            steps[s][k] = chosen(scores(steps[start:s], k), chance(seed, level, place))
    return delays.undelayed(np.array(steps), PATTERN.steps)


def order(many, seeds=(4, 5), codes=None, **how):
    codes = empty(1, many * 16, HOPS) if codes is None else codes
    how = {2: How(**{"hop": 0.5, **how})}
    return continued({2: Dummy()}, codes, many * 16, seeds=list(seeds), how=how)


def side(codes, piece):
    return PATTERN.side_by_side([z[piece] for z in codes.levels])


@pytest.mark.parametrize("many", [1, 2, 5, 11])
def test_all_levels_are_written_as_a_slow_twin_does(many):
    found = drained(sample(order(many)))
    for piece, seed in enumerate((4, 5)):
        assert np.array_equal(side(found.codes, piece), slow(seed, many))
    assert found.told[-1].done == found.told[-1].total == many * 5
    alone = drained(sample(order(many, seeds=(5,)))).codes
    assert np.array_equal(side(alone, 0), side(found.codes, 1))


def test_what_is_known_stays_and_the_rest_goes_on():
    whole = slow(4, 8)
    first = Codes(tuple(z[None] for z in PATTERN.apart(whole[:5])), HOPS)
    found = drained(sample(order(11, seeds=(4,), codes=first, hop=0.5)))
    assert np.array_equal(side(found.codes, 0)[:5], whole[:5])
    # the same windows as from nothing: they lie as if all had been written at once
    assert np.array_equal(side(found.codes, 0), slow(4, 11, known=whole[:5]))
    assert found.told[-1].total == 6 * 5


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(1, 44))
def test_resumed_at_any_code_it_is_identical(tmp_path_factory, at):
    folder, wanted = tmp_path_factory.mktemp("job"), drained(sample(order(9))).codes
    job = Job(folder, {}, every=1)
    walk, done = sample(order(9), job=job), 0
    while done < at:
        done = next(walk).done
    job.flush()
    again = order(9)
    found = drained(sample(again, job=Job(folder, {}))).codes
    assert all(np.array_equal(a, b) for a, b in zip(found.levels, wanted.levels))


def test_what_does_not_fit_is_refused():
    codes = empty(1, 64, HOPS)
    codes.levels[2][:, :2] = 0
    with pytest.raises(
        ValueError,
        match="codes that it goes on from need all of them, and level 0 is not written where level 2",
    ):
        drained(sample(order(4, seeds=(1,), codes=codes)))
    known = Codes(tuple(z[None].copy() for z in PATTERN.apart(slow(4, 2))), HOPS)
    known.levels[0][:] = 9  # the pad: no code
    with pytest.raises(ValueError, match="level 0 has the codes 0 … 8; these hold 9"):
        drained(sample(order(4, seeds=(1,), codes=known)))
    with pytest.raises(ValueError, match="repetition has no effect on level 2"):
        drained(sample(order(4, choice=Choice(repetition=1.0))))
    with pytest.raises(ValueError, match="written in parallel windows"):
        drained(sample(order(4, parallel=True)))


# -- the network ---------------------------------------------------------------------------------------------


def prior(seed=0, **options):
    """Tiny, with weights large enough for conditions to be heard."""
    torch.manual_seed(seed)
    found = Jukebox(replace(MODERN_TINY, **{"modern": DELAYED, **options}))
    with torch.no_grad():
        for p in found.network.parameters():
            if p.ndim > 1:
                p.normal_(std=0.2)
    return found


def steps_of(model, rows=2, positions=8, seed=1):
    """Codes by the delay pattern (B, T, K), pads at both ends."""
    pattern = model.delays
    codes = torch.randint(model.bins, (rows, positions, pattern.streams), generator=torch.manual_seed(seed))
    return delays.delayed(codes, pattern.steps, pattern.pad)


@pytest.mark.parametrize("lyrics", [None, Lyrics(design="single", characters=5, vocabulary=9)])
@pytest.mark.parametrize("hops", [(16, 32, 64), (32, 32, 32)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_code_by_code_is_what_whole_windows_say(lyrics, hops, guidance):
    model = prior(hops=hops, lyrics=lyrics)
    assert isinstance(model, DelayedJukebox)
    codes = steps_of(model)
    told = {"labels": torch.tensor([[8000 * 60 + i, 0, 2048, i, 1, -1] for i in range(2)])}
    if lyrics is not None:
        told["lyrics"] = torch.randint(9, (2, 5))
    with torch.no_grad():
        whole = model.logits(codes, **told)
        if guidance != 1:
            step = model.step(**told, guidance=guidance)
            free = model.step()
            state, bare = step.start(2), free.start(2)
            state, bare = (s.prefill(x, {"code": codes[:, :3]}) for s, x in ((step, state), (free, bare)))
            for k in range(model.delays.streams):
                u = free.logits(bare, k, [])
                wanted = u + guidance * (whole[:, 3, k] - u)
                torch.testing.assert_close(step.logits(state, k, []), wanted, atol=2e-4, rtol=1e-4)
            return
    step = model.step(**told)
    state = step.prefill(step.start(2), {"code": codes[:, :4]})
    for t in range(4, codes.shape[1]):
        for k in range(model.delays.streams):
            torch.testing.assert_close(step.logits(state, k, []), whole[:, t, k], atol=1e-4, rtol=1e-4)
        state = step.advance(state, list(codes[:, t].unbind(1)))
    step = model.step(**told)  # from nothing
    torch.testing.assert_close(step.logits(step.start(2), 1, []), whole[:, 0, 1], atol=1e-4, rtol=1e-4)


def test_no_step_knows_itself_or_what_comes_later():
    model = prior()
    codes = steps_of(model)
    other = codes.clone()
    other[:, 6:] = (other[:, 6:] + 1) % model.bins
    with torch.no_grad():
        a, b = model.logits(codes), model.logits(other)
    torch.testing.assert_close(a[:, :7], b[:, :7])
    assert (a[:, 7] - b[:, 7]).abs().max() > 1e-3
    found = model.losses(codes)["bits"]
    assert found.shape == codes.shape
    assert (found[codes == model.delays.pad] == 0).all()
    assert (found[codes != model.delays.pad] > 0).all()
    assert sum(p.numel() for p in model.networks.parameters()) == model.config.parameters


@pytest.mark.parametrize("given", [0, 9])
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_a_written_piece_is_what_windows_told_as_in_training_say(given, guidance):
    """Windows, hops, delays, times, notes and words at once: every code again, from whole windows."""
    hops, many, n = (16, 32, 64), 40, 5
    model = prior(hops=hops, lyrics=Lyrics(design="single", characters=n, vocabulary=9))
    pattern, longest = model.delays, model.delays.longest
    rng = np.random.default_rng(3)
    notes = np.array([[0.05 * i, 0.05 * i + 0.08, 60 + i % 7] for i in range(12)])
    label = Label(8000 * 60, 320, 1, (2, -1), lyrics=tuple(rng.integers(1, 9, 300).tolist()), notes=notes)
    first = [rng.integers(0, 32, (1, given * w)) for w in pattern.widths]
    order = continued(
        {2: model}, Codes(tuple(first), hops), many * 64, seeds=[11], labels={2: [label]},
        how={2: How(hop=0.5, guidance=guidance)}, rate=8000,
    )  # fmt: skip
    found = drained(sample(order)).codes
    song = Song("x", tuple(z[0] for z in found.levels), label, 8000)
    view, telling = view_of(model.config), Telling(labels=True, lyrics=n, score=True)
    fresh = given
    while fresh < many + longest:
        start = max(0, min(-(-max(0, fresh + 1 - 32) // 16) * 16, many + longest - 32))
        row = collate([row_of(view, song, Spot(0, start), telling)])
        with torch.no_grad():
            logits = model.logits(row.codes, **row.told)
            free = model.logits(row.codes)
        logits = (free + guidance * (logits - free))[0].numpy().astype(float)
        stop = min(start + 32, many + longest)
        for step in range(fresh, stop):
            for k, delay in enumerate(pattern.steps):
                place = step - delay
                if given <= place < many:
                    level = pattern.levels[k]
                    width, slot = pattern.widths[level], k - pattern.levels.index(level)
                    wanted = chosen(logits[step - start, k], chance(11, level, place * width + slot))
                    assert wanted == song.levels[level][place * width + slot], (start, step, k)
        fresh = stop


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: prior(level=1), "level must be 2, got 1"),
        (
            lambda: prior(context=6),
            "context must be above 6, or no window of the mode delayed sees all codes",
        ),
        (
            lambda: prior().logits(torch.zeros(1, 4, dtype=torch.long)),
            r"steps must be whole numbers \(B, T, 7\)",
        ),
        (
            lambda: prior().logits(torch.full((1, 4, 7), 33)),
            "codes must be within 0 … 31, or 32 where none stands",
        ),
        (lambda: prior().logits(torch.zeros(1, 33, 7, dtype=torch.long)), "a window has 1 … 32 steps"),
    ],
)
def test_mistakes_are_one_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_it_learns_that_a_stream_follows_another():
    """Of two codes for the same time the second follows from the first: it costs nothing a step later."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 8, (2, 600))
    songs = [Song(str(i), ((3 * z + 1) % 8, z), Label(600 * 32), 8000) for i, z in enumerate(coarse)]
    modern = replace(DELAYED, score=False, forget=0.0)
    torch.manual_seed(0)
    model = Jukebox(replace(MODERN_TINY, hops=(32, 32), level=1, codes=8, labels=None, modern=modern))
    view = view_of(model.config)
    draws, held = (
        Windows(songs[:1], view, Telling(labels=False), batch=8),
        HeldOut(songs[1:], view, Telling(labels=False)),
    )
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    model.network.train()
    for update in range(60):
        batch = draws(update)
        loss = (model.losses(batch.codes)["bits"] * batch.mask).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.network.eval()
    with torch.no_grad():
        found = measured(lambda b: model.losses(b.codes)["bits"], held, 8)
    assert found["bits/1"] < 0.3
    assert 2.9 < found["bits/0"] < 4


# -- a system -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system():
    """Of a codec with two codes for the same time."""
    codec = VQVAE("modern_tiny", level_hops=(32, 32, 64))
    _ = codec.networks
    return JukeboxSystem([prior(hops=(32, 32, 64))], codec=codec)


def test_a_system_of_one_prior_writes_all_levels(system, tmp_path):
    told = {"seconds": 0.104, "seed": 1, "notes": "0 0.05 60", "guidance": 2.0}
    events = list(system.stream(**told, n=2))
    assert isinstance(events[-1], Done)
    take = events[-1].takes[0]
    assert set(take.tokens.streams) == {"level0", "level1", "level2", "filled"}
    assert np.array_equal(system.codec.decode(take.tokens).samples, take.music.samples)
    heard = [e for e in events if isinstance(e, Partial)]
    np.testing.assert_allclose(heard[-1].music[0].samples, take.music.samples, atol=1e-5)
    stream = system.stream(**told, n=2, job=tmp_path / "job")
    for _ in range(9):
        next(stream)
    stream.close()
    again = system.sample(**told, n=2, job=tmp_path / "job")
    assert [a.tokens == b.tokens for a, b in zip(again, events[-1].takes)] == [True, True]
    loaded = JukeboxSystem.load(system.save(tmp_path / "system"))
    assert loaded.sample(**told, n=2)[1].tokens == events[-1].takes[1].tokens
    on = system.sample(prompt=take, seconds=0.05, seed=2)
    full = len(take.tokens) - 1
    for name in ("level0", "level1", "level2"):
        assert np.array_equal(on.tokens.streams[name][:full], take.tokens.streams[name][:full])


def test_it_grows_by_choosing_and_refuses_what_it_does_not_know(system):
    piece = system.composition()
    assert set(piece.candidates(0.1, n=2, seed=1)[1].tokens.streams) >= {"level0", "level2"}
    piece.choose(1)
    assert len(piece.candidates(0.05, n=1, seed=2)[0].tokens) == 20
    with pytest.raises(ValueError, match="writes all levels together: its candidates are finished"):
        piece.choose(0).finish()
    with pytest.raises(ValueError, match=r"candidates are 1 … 1792 samples long \(one window\), not 1793"):
        piece.candidates(1793 / 8000)  # 32 steps are 28 positions with the longest delay
    assert Upsample not in system.capabilities.tasks
    for wrong, message in [
        ({"level": 2}, "level has no effect on this system: its prior writes all levels together"),
        ({"steps": 2}, "steps has no effect"),
        ({"parallel": True}, "parallel has no effect on this system: its prior writes all levels together"),
        ({"rows": 2}, "rows has no effect on this system"),
    ]:
        with pytest.raises(ValueError, match=message):
            system.sample(seconds=0.05, seed=1, **wrong)
    masked = replace(DELAYED, mode="masked")
    with pytest.raises(ValueError, match="needs no others beside it"):
        JukeboxSystem([prior(), prior(level=1, modern=masked)], codec=VQVAE("modern_tiny"))
    with pytest.raises(ValueError, match="several codes for the same time take a prior of the mode delayed"):
        prior(level=1, modern=masked, hops=(32, 32, 64))


def test_it_learns_from_recordings_by_fit(system, tmp_path, monkeypatch):
    from systems import sound

    from otonoha.music.piece import Piece
    from otonoha.music.recording import Held

    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path))
    score, track = Score(480), Track()
    track.notes.append(Note(0, 480, 60, 80))
    score.tracks.append(track)
    pieces = [Piece(f"p{i}", "train", lambda: score, Held(sound(0.6, seed=i))) for i in range(2)]
    model = Jukebox(replace(MODERN_TINY, modern=DELAYED), codec=system.codec)
    model.fit(pieces, valid=pieces[:1], steps=2, eval_every=2, save_every=2, quiet=True, out=tmp_path / "run")
    again = Jukebox.load(tmp_path / "run")
    assert isinstance(again, DelayedJukebox)
    assert again.delays.streams == 5
