"""Guided attention against a slow twin; what it is told while learning; attention of the design modern, and that
recording it changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import alignment_songs as toy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_modern_prior import codes, prior, told

from otonoha.io.lrc import parse_lyrics
from otonoha.models.jukebox import guide
from otonoha.models.jukebox.alignment import choose_head
from otonoha.models.jukebox.batches import CodeBatch, Telling, Windows
from otonoha.models.jukebox.batches_lessons import loss_of, telling_of
from otonoha.models.jukebox.batches_loss import masked_loss
from otonoha.models.jukebox.batches_lyrics import sung, word_times
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import LevelView
from otonoha.models.jukebox.config import Config, Layers, Lyrics
from otonoha.models.jukebox.labels import NONE, Label, sung_window
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.windows import Shape
from otonoha.music.sung_text import Line, SungText, Word

torch.set_num_threads(1)
QUICK = settings(max_examples=25, deadline=None, derandomize=True)
LYRICS = Lyrics(design="single", characters=5, vocabulary=9, guide=0.5)


# -- the loss ------------------------------------------------------------------------------------------------


def by_hand(weights, times, code: float, behind: int) -> list[float]:
    """Of one window: weights (T, S), times (S, 2) with NaN; bits of every code."""
    found = []
    for t, row in enumerate(weights):
        at = (t + 0.5 - behind) * code
        far = [
            begin - at if at < begin else at - end if at > end else 0 * (begin + end) for begin, end in times
        ]
        known = [d for d in far if not math.isnan(d)]
        near = [
            0.0 if math.isnan(d) else math.exp(-(d**2 - min(known) ** 2) / (2 * guide.SPREAD**2)) for d in far
        ]
        seen = max(sum(w * k for w, k in zip(row, near)), guide.LITTLE)
        found.append(-math.log2(seen) if known else 0.0)
    return found


@QUICK
@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.01, 0.5), st.integers(0, 2), st.integers(0, 10_000))
def test_bits_are_those_of_the_slow_twin(T, S, code, behind, seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(S + 1, 0.3), (3, T))[..., :S]
    times = np.sort(rng.uniform(-1, T * code + 1, (3, S, 2)), 2)
    times[rng.random((3, S)) < 0.3] = np.nan
    found = guide.guide_bits(torch.from_numpy(weights).float(), torch.from_numpy(times).float(), code, behind)
    wanted = [by_hand(w.tolist(), t.tolist(), code, behind) for w, t in zip(weights, times)]
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-4, rtol=1e-3)


def test_who_looks_at_what_is_sung_pays_nothing():
    when = torch.tensor([[[0.0, 0.3], [0.3, 0.6], [0.6, torch.inf]], [[torch.nan] * 2] * 3])
    right = torch.eye(3).repeat_interleave(3, 0)[None].repeat(2, 1, 1)  # three codes of 0.1 s each
    assert guide.guide_bits(right, when, 0.1).max() < 0.01
    wrong = guide.guide_bits(right.flip(1), when, 0.1)
    assert wrong[0, [0, 1, 2, 6, 7, 8]].min() > 4  # one window knows nothing of its lyrics
    assert not wrong[1].any()


def test_the_loss_of_training_counts_it():
    bits, aside = torch.rand(2, 4), torch.rand(2, 4)
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    batch = CodeBatch(torch.zeros(2, 4, dtype=torch.long), mask)
    loss, figures = masked_loss({"bits": bits, "guide_bits": aside}, batch, guide=0.5)
    assert float(loss) == pytest.approx(float((bits[mask] + 0.5 * aside[mask]).mean()))
    assert float(figures["guide_bits"]) == pytest.approx(float(aside[mask].mean()))


# -- attention, and the forward pass beside it -----------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_is_recorded_is_that_of_the_same_pass(masked):
    model = prior(masked=masked, lyrics=LYRICS)
    model.networks.eval()
    z, known = codes(model), told(model)
    plain = model.losses(z, **known)
    when = torch.tensor([[[0.0, 0.02], [0.02, 0.03], [torch.nan] * 2, [0.05, 0.1], [0.05, 0.1]]] * 3)
    model.network.zero_grad()
    found = model.losses(z, **known, sung=when)
    assert torch.equal(plain["bits"], found["bits"])  # whoever watches changes nothing
    assert float(found["loss"].detach()) == pytest.approx(
        float((plain["loss"] + LYRICS.guide * found["guide_bits"].mean()).detach()), rel=1e-5
    )
    found["guide_bits"].mean().backward()
    layer, head = guide.place(model.config)
    assert model.network.llama.model.layers[layer].self_attn.q_proj.weight.grad.abs().sum() > 0
    if not masked:  # a masked one hides codes first; a causal one is shown the character of the code before
        with torch.no_grad():
            weights = model.lyric_attention(z, **known)
        assert list(weights) == [0, 1]
        wanted = guide.guide_bits(weights[layer][:, head], when, model.hop / model.config.rate, behind=1)
        torch.testing.assert_close(found["guide_bits"], wanted)
    assert not any(b.self_attn._forward_pre_hooks for b in model.network.llama.model.layers)


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_rows_of_attention_are_shares(masked):
    model = prior(masked=masked, lyrics=LYRICS)
    z, known = codes(model), told(model)
    plain = model.logits(z, **known)
    found = model.lyric_attention(z, **known, layers=[1])
    assert found[1].shape == (3, model.config.heads, z.shape[1], 5)
    assert found[1].min() >= 0
    assert found[1].sum(-1).max() < 1  # codes are looked at as well
    assert torch.equal(plain, model.logits(z, **known))
    with pytest.raises(ValueError, match="layer 7 does not look at lyrics; those that do: \\(0, 1\\)"):
        model.lyric_attention(z, **known, layers=[7])
    with pytest.raises(ValueError, match="layer 0 does not look at lyrics; those that do: none"):
        prior(masked=masked).lyric_attention(z, layers=[0])


def test_who_has_forgotten_the_lyrics_is_not_asked_where_they_are():
    model = prior(lyrics=LYRICS)
    model.config = replace(model.config, modern=replace(model.config.modern, forget=0.5))
    model.networks.train()
    torch.manual_seed(2)
    lyrics = torch.randint(1, 9, (8, 5))
    found = model.losses(codes(model, rows=8), lyrics=lyrics, sung=torch.zeros(8, 5, 2))["guide_bits"]
    silent = (found == 0).all(1)
    assert 0 < silent.sum() < 8
    assert found[~silent].min() > 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"modern": Modern(mode="delayed", kv_heads=1)}, "the mode delayed"),
        (
            {"modern": None, "lyrics": Lyrics(encoder=Layers(width=16, layers=1, blocks=1), guide=1.0)},
            "the design original",
        ),
    ],
)
def test_where_it_has_no_effect_it_is_refused(options, what):
    given_options = {"width": 32, "layers": 1, "level": 2, "lyrics": LYRICS, **options}
    with pytest.raises(ValueError, match=f"lyrics.guide has no effect in {what}"):
        Config(**given_options)


# -- what is told while learning -------------------------------------------------------------------------------


def timed_song(letters: int = 40) -> Song:
    """A character every 0.1 s, from 2 s of the song on, where the recording begins."""
    ids = tuple(range(1, letters + 1))
    label, times = Label(8000, 2000, lyrics=ids), 2.0 + 0.1 * np.arange(letters)
    return Song("", (np.arange(50),), label, 1000, times, np.stack([times, times + 0.1], 1))


def test_every_character_knows_when_its_word_is_sung():
    text = parse_lyrics("[00:01.00]<00:01.00>so <00:02.00>it\n[00:04.00]<00:04.00>goes<00:05.50>")
    assert text.text == "so it\ngoes"
    gap = [[np.nan] * 2]
    wanted = [[1, 2]] * 2 + gap + [[2, 4]] * 2 + gap + [[4, 5.5]] * 4
    np.testing.assert_array_equal(word_times(text), wanted)
    found = sung(text, toy.Text("so it\nge"), offset=10.0)
    np.testing.assert_array_equal(found.words, np.array(wanted) + 10)
    open_end = word_times(SungText((Line("la", words=(Word("la", 3.0),)),)))
    np.testing.assert_array_equal(open_end, [[3, np.inf]] * 2)
    assert sung(SungText((Line("la"),)), toy.TEXT).words is None


def test_windows_know_when_their_characters_are_sung():
    song = timed_song()
    for astray in (-100, -3, 0, 3, 100):
        seen = song.characters(1000, 1000, 12, astray)
        times = song.sung(1000, 1000, 12, astray)
        np.testing.assert_allclose(times[:, 0], 0.1 * (seen - 1) - 1.0, atol=1e-5)
        np.testing.assert_allclose(times[:, 1], 0.1 * seen - 1.0, atol=1e-5)
        wanted = sung_window(song.times, 12, 3.0, 4.0) + 1
        shift = int(np.clip(astray, 1 - wanted[0], 40 - wanted[-1]))
        assert (seen == wanted + shift).all()
    short = timed_song(5)
    assert np.isnan(short.sung(0, 1000, 8, 2)[:3]).all()
    assert short.characters(0, 1000, 8, 2).tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert np.isnan(replace(song, words=None).sung(0, 1000, 8)).all()
    assert NONE == -1


def test_batches_bring_the_times_and_go_astray_only_while_learning():
    song, view = timed_song(), LevelView(0, Shape(10, 100, 0))
    plain = Windows([song], view, Telling(False, 12), batch=4)
    off = Windows([song], view, Telling(False, 12, sung=True, astray=6), batch=4)
    assert plain(0).sung is None
    shifts = set()
    for update in range(8):
        batch = off(update)
        begin = batch.codes[:, 0]  # codes count positions of 0.1 s
        torch.testing.assert_close(batch.sung[..., 0], 0.1 * (batch.lyrics - 1 - begin[:, None]).float())
        own = sung_window(song.times, 12, 2.0 + 0.1 * float(begin[0]), 3.0 + 0.1 * float(begin[0])) + 1
        shifts.add(int(batch.lyrics[0, 0] - own[0]))
        assert torch.equal(batch.rows(slice(1, 3)).sung, batch.sung[1:3])
        assert torch.equal(batch.to(torch.device("cpu")).sung, batch.sung)
    assert min(shifts) < 0 < max(shifts)
    assert max(map(abs, shifts)) <= 6


def test_a_guided_prior_finds_its_head_within_a_moment():
    """On the songs of alignment_songs: the head that was shown is the one that is chosen."""
    torch.manual_seed(0)
    model = toy.prior("masked")
    model.config = replace(
        model.config,
        lyrics=replace(model.config.lyrics, guide=1.0),
        train=replace(model.config.train, batch=16),
    )
    assert telling_of(model.config).sung
    rng = np.random.default_rng(0)
    songs = model.prepare([toy.piece(rng, f"s{n}") for n in range(60)])
    batches, loss = model.batches(songs, model.config.train), loss_of(model)
    adam = torch.optim.Adam(model.networks.parameters(), lr=3e-3)
    model.networks.train()
    told_bits = []
    for update in range(60):
        found, figures = loss(batches(update), None)
        adam.zero_grad()
        found.backward()
        adam.step()
        told_bits.append(float(figures["guide_bits"]))
    model.networks.eval()
    assert np.mean(told_bits[-5:]) < 0.5 * told_bits[0]
    head = choose_head(model, [toy.piece(rng, f"v{n}") for n in range(3)])
    assert (head.layer, head.head) == guide.place(model.config)
