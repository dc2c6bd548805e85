"""Lyric alignment: paths against all paths, attention against attention, words and times, priors that have learnt."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import alignment_songs as toy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import built
from test_modern_prior import prior as modern_tiny

from otonoha.io.lrc import lrc_text, parse_lyrics
from otonoha.models.jukebox import alignment as al
from otonoha.models.jukebox import alignment_path as paths
from otonoha.models.jukebox.alignment_attention import layers_of, watched
from otonoha.models.jukebox.alignment_song import heard, reader_of
from otonoha.models.jukebox.alignment_windows import Asked, codes_of_frame, looks
from otonoha.models.jukebox.alignment_words import onset_errors, sounding, with_times, words_in
from otonoha.models.jukebox.batches_lessons import Lessons
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.config import Lyrics
from otonoha.models.jukebox.labels import Label, lyric_window, sung_window
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.presets import MODERN_TINY, PRESETS
from otonoha.models.vqvae.model import VQVAE
from otonoha.music.audio import Audio
from otonoha.music.recording import Held
from otonoha.music.sung_text import Line, SungText, Word
from otonoha.tokens.lyrics_jukebox import JukeboxLyrics

torch.set_num_threads(1)
QUICK = settings(max_examples=25, deadline=None, derandomize=True)


# -- paths ------------------------------------------------------------------------------------------------


def all_paths(F: int, L: int, most: int):
    for path in itertools.product(range(L), repeat=F):
        moves = np.diff(path)
        if path[0] < most and path[-1] >= L - most and (moves >= 0).all() and (moves <= most).all():
            yield path


def gain_of(path, found: np.ndarray) -> float:
    F, L = found.shape
    lean = [abs(f / max(1, F - 1) - c / max(1, L - 1)) for f, c in enumerate(path)]
    return sum(float(found[f, c]) - paths.LEAN * lean[f] for f, c in enumerate(path))


def test_words_that_are_far_too_many_are_refused_in_one_line():
    assert paths.most_steps(2, 510, 0.02) == 255
    with pytest.raises(ValueError, match="the words have 511 characters, too many"):
        paths.most_steps(2, 511, 0.02)


@QUICK
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(0, 10_000))
def test_the_path_is_the_best_of_all_paths(F, L, most, seed):
    found = np.random.default_rng(seed).normal(size=(2, F, L)).astype(np.float32)
    if F * most < L:
        with pytest.raises(ValueError, match="no path of"):
            paths.best_paths(found, most)
        return
    own, totals = paths.best_paths(found, most)
    for g, path, total in zip(found, own, totals):
        assert total == pytest.approx(max(gain_of(p, g) for p in all_paths(F, L, most)), abs=1e-5)
        assert tuple(path) in set(all_paths(F, L, most))
        assert gain_of(path, g) == pytest.approx(total, abs=1e-5)


def diagonal(rng, F=240, L=50, *, sharp=1.0, noise=0.0):
    """Attention (F, L) along a known path, and the path (F,)."""
    path = np.repeat(np.arange(L), rng.integers(1, 9, L))
    path = path[np.linspace(0, len(path) - 1, F).astype(int)]
    weights = np.full((F, L), (1 - sharp) / L)
    weights[np.arange(F), path] += sharp
    weights = weights * np.exp(noise * rng.normal(size=weights.shape))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32), path


def score(weights: np.ndarray, most: int = 3) -> float:
    return float(paths.monotonicity(paths.gains(weights)[None], most)[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_known_alignment_is_recovered(seed):
    rng = np.random.default_rng(seed)
    weights, path = diagonal(rng)
    assert np.array_equal(paths.best_paths(paths.gains(weights)[None], 3)[0][0], path)
    weights, path = diagonal(rng, sharp=0.3, noise=1.0)
    found = paths.best_paths(paths.gains(weights)[None], 3)[0][0]
    assert np.abs(found - path).mean() < 0.1


def test_only_order_makes_a_head_monotone():
    rng = np.random.default_rng(0)
    F, L = 240, 50
    sink = np.full((F, L), 0.001, np.float32)
    sink[:, 0] = 0.951  # all at the first character, always
    assert score(np.full((F, L), 1 / L, np.float32)) == score(np.zeros((F, L), np.float32)) == 0
    assert score(sink) == pytest.approx(0, abs=1e-5)
    noise = [score(rng.dirichlet(np.full(L, 0.3), F).astype(np.float32)) for _ in range(6)]
    assert np.abs(noise).max() < 0.2
    weights, path = diagonal(rng)
    letters = rng.integers(0, 8, L)  # looks at every character that is written alike
    spotting = (letters[path][:, None] == letters[None]).astype(np.float32)
    faint, _ = diagonal(rng, sharp=0.1, noise=1.0)
    assert score(weights) > np.log(L) > score(spotting / spotting.sum(1, keepdims=True)) > 0.5
    assert score(weights) > score(faint) > 3 * np.abs(noise).max()
    assert score(weights[:, ::-1]) < -3


def test_what_a_window_does_not_see_tells_nothing():
    """Windows that follow the words make a band; a head that looks everywhere in it is not monotone for that."""
    F, L = 200, 100
    seen = np.abs(np.arange(L) - np.arange(F)[:, None] * L / F) < 15
    even = (seen / seen.sum(1, keepdims=True)).astype(np.float32)
    found = float(paths.monotonicity(paths.gains(even, seen)[None], 2)[0])
    assert abs(found) < 0.1
    rng = np.random.default_rng(1)
    weights, path = diagonal(rng, F, L, sharp=0.5)
    seen = np.abs(np.arange(L) - path[:, None] - rng.integers(-8, 9, (F, 1))) < 12
    own = paths.best_paths(paths.gains(weights * seen, seen)[None], 3)[0][0]
    assert np.abs(own - path).mean() < 0.1


def test_when_nothing_is_known_words_are_spread_evenly():
    F, L = 120, 40
    own = paths.best_paths(np.zeros((1, F, L), np.float32), 2)[0][0]
    assert np.abs(own - paths.even_path(F, L)).max() <= 1
    frames = np.concatenate([np.arange(10, 50), np.arange(80, 100)])
    spans = paths.spans(paths.even_path(60, 6), frames, 6, 0.1)
    np.testing.assert_allclose(spans[:, 0], [1, 2, 3, 4, 8, 9])
    np.testing.assert_allclose(spans[:, 1], [2, 3, 4, 5, 9, 10])  # none reaches into the silence
    jumped = paths.spans(np.array([0, 0, 2, 2]), np.arange(4), 3, 1.0)
    assert jumped.tolist() == [[0, 2], [2, 2], [2, 4]]


# -- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("so  it goes", ["so", "it", "goes"]),
        ("海のそばで白い月が待っている", ["海のそばで", "白い", "月が", "待っている"]),
        ("さくら、ラララ 歌う", ["さくら、", "ラララ", "歌う"]),
        ("", []),
    ],
)
def test_words_of_a_line(line, words):
    assert [line[a:b] for a, b in words_in(Line(line))] == words
    halves = Line("one two", words=(Word("one", 0), Word("t", 1), Word("wo", 2)))
    assert [halves.text[a:b] for a, b in words_in(halves)] == ["one", "t", "wo"]


def test_times_become_lrc_and_are_compared():
    text = SungText((Line("so it"), Line(""), Line("海の風が")), {"ti": "x"})
    spans = np.stack([np.arange(len(text.text)), np.arange(len(text.text)) + 1], 1) * 0.5
    found = with_times(text, spans)
    assert [(w.text, w.start, w.end) for w in found.lines[0].words] == [("so", 0, 1), ("it", 1.5, 2.5)]
    assert [w.start for w in found.lines[2].words] == [3.5, 4.5]
    assert found.lines[1] == Line("")
    again = parse_lyrics(lrc_text(found))
    assert again.about == {"ti": "x"}
    np.testing.assert_allclose(again.spans()[1], found.spans()[1])
    late = found.shifted(0.25)
    np.testing.assert_allclose(onset_errors(late, found), 0.25)
    lines = parse_lyrics("[00:01.00]so it\n[00:02.00]海の風が")
    with pytest.raises(ValueError, match="times of other words"):
        onset_errors(found, lines)
    assert onset_errors(with_times(lines, spans), lines).tolist() == [-1.0, 1.0]


def test_silence_is_heard():
    tone = 0.3 * np.sin(np.arange(22050) * 0.1)
    tone[4000:12000] *= 1e-4
    wanted = [*range(5), *range(9, 20)]  # a frame is 1102.5 samples; one more on each side
    for audio in (Audio(tone[None], 22050), Audio(np.stack([tone, tone]), 22050)):
        assert np.flatnonzero(sounding(Held(audio), 20, 0.05)).tolist() == wanted
    assert sounding(Held(Audio(np.zeros((1, 100)), 100)), 5, 0.2).all()


# -- attention ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["separate", "prime"])
def test_columns_are_characters_read_one_place_later(kind):
    model = toy.prior(kind)
    lyrics, codes, _ = toy.batch(np.random.default_rng(0), 2)
    own = model.lyric_attention(codes, lyrics=lyrics)
    found = watched(model, codes, {"labels": None, "lyrics": lyrics, "upper": None}, layers_of(model))
    assert set(found) == set(own)
    for layer, weights in found.items():
        torch.testing.assert_close(weights[..., :-1], own[layer][..., 1:])
        assert weights[..., -1].any() == (kind == "prime")  # the encoder never reads the last character


def attention_by_hand(model, codes, told, layer):
    """That of the design modern, from the network's own forward pass up to a layer, written out row by row."""
    network = model.network
    condition = network.condition(model.told(**told)).of(len(codes))
    tokens = network.begun(codes + model.config.shift, condition)[:, :-1]
    if model.masked:
        tokens = torch.cat([condition.characters, codes + model.config.shift], 1)
    llama, n = network.llama, tokens.shape[1]
    seen = torch.ones(n, n, dtype=torch.bool) if model.masked else torch.ones(n, n, dtype=torch.bool).tril()
    x = llama.embed(tokens, {"added": condition.added[:, :n]})
    for number, block in enumerate(llama.model.layers):
        if number == layer:
            break
        x = block(x, llama.cos, llama.sin, seen[None, None], None, number)
    attention = llama.model.layers[layer].self_attn
    y = llama.model.layers[layer].input_layernorm(x)

    def turned(vectors, at):
        half = vectors.shape[-1] // 2
        pairs = torch.complex(vectors[..., :half], vectors[..., half:])
        speed = 10_000.0 ** (-torch.arange(half) / half)
        return pairs * torch.polar(torch.ones(half), at * speed)

    C, S = attention.head_width, model.n_lyrics
    result = torch.zeros(len(codes), attention.heads, codes.shape[1], S)
    for head, t in itertools.product(range(attention.heads), range(codes.shape[1])):
        group = head // (attention.heads // attention.kv_heads)
        q = turned(attention.q_proj(y[:, S + t])[:, head * C : (head + 1) * C], S + t)
        keys = [turned(attention.k_proj(y[:, s])[:, group * C : (group + 1) * C], s) for s in range(n)]
        scores = torch.stack([(q * k.conj()).real.sum(-1) for k in keys], -1) / C**0.5
        weights = scores.masked_fill(~seen[S + t], -torch.inf).softmax(-1)
        result[:, head, t] = weights[:, :S] if model.masked else weights[:, 1 : S + 1]
    return result


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_attention_of_the_design_modern(masked):
    model = modern_tiny(masked=masked, lyrics=Lyrics(design="single", characters=5, vocabulary=9))
    random = torch.Generator().manual_seed(3)
    codes = torch.randint(model.bins, (2, 7), generator=random)
    told = {"lyrics": torch.randint(9, (2, 5), generator=random), "labels": None, "upper": None}
    found = watched(model, codes, told, layers_of(model))
    assert list(found) == [0, 1]
    for layer, weights in found.items():
        torch.testing.assert_close(
            weights, attention_by_hand(model, codes, told, layer), atol=1e-5, rtol=1e-4
        )
    assert not any(block.self_attn._forward_pre_hooks for block in model.network.llama.model.layers)


# -- windows ------------------------------------------------------------------------------------------------


def asked_song(many: int, text: str, seed: int = 0) -> Asked:
    codes = np.random.default_rng(seed).integers(1, 32, many)
    return Asked(Song("", (codes,), Label(many * toy.HOP), toy.RATE), toy.TEXT.encode(text), len(text))


@pytest.mark.parametrize("kind", ["separate", "prime", "modern"])
@pytest.mark.parametrize(("many", "letters", "timed"), [(30, 9, False), (215, 40, False), (215, 40, True)])
def test_each_code_is_read_in_the_first_window_that_holds_it(kind, many, letters, timed):
    """Against one window at a time, code by code."""
    model, text = toy.prior(kind), (toy.LETTERS * 2)[:letters]
    asked = asked_song(many, text)
    times = np.linspace(0, many * toy.CODE, letters) ** 2 / (many * toy.CODE) if timed else None
    heads = [(layer, head) for layer in layers_of(model)[:2] for head in (1, 0)]
    found = looks(model, asked, heads, times=times)
    assert (found.frame, found.weights.shape) == (toy.CODE, (len(heads), many, letters))
    hop = toy.WINDOW // 2
    starts = sorted({min(s, max(0, many - toy.WINDOW)) for s in range(0, many, hop)})
    wanted, seen = np.zeros_like(found.weights), np.zeros_like(found.seen)
    for start in reversed(starts):  # as the reference: earlier windows are written last, and win
        codes = asked.song.levels[0][start : start + toy.WINDOW]
        at, span = start * toy.HOP, toy.WINDOW * toy.HOP
        place = lyric_window(letters, toy.SEEN, many * toy.HOP, at, span)
        if times is not None:
            place = sung_window(times, toy.SEEN, at / toy.RATE, (at + span) / toy.RATE)
        told = {
            "lyrics": torch.from_numpy(np.append(asked.ids, 0)[place])[None],
            "labels": None,
            "upper": None,
        }
        weights = watched(model, torch.from_numpy(codes)[None], told, layers_of(model)[:2])
        rows = slice(start, start + len(codes))
        wanted[:, rows], seen[rows] = 0, False
        for number, (layer, head) in enumerate(heads):
            wanted[number, rows, place[place >= 0]] = weights[layer][0, head][:, place >= 0].numpy().T
        seen[rows, place[place >= 0]] = True
    np.testing.assert_array_equal(found.seen, seen)
    np.testing.assert_allclose(found.weights, wanted, atol=1e-5)


def test_frames_are_means_of_codes_and_bytes_are_one_character():
    model = toy.prior("separate")
    assert codes_of_frame(model, 4.9 * toy.CODE) == 4
    for many in (78, 100):  # one window that ends within a frame, and two
        asked = asked_song(many, "一é丁")
        fine, coarse = (looks(model, asked, [(3, 0)], frame=n * toy.CODE) for n in (1, 4.9))
        assert coarse.frame == pytest.approx(4 * toy.CODE)
        groups = [fine.weights[:, i : i + 4].mean(1) for i in range(0, many, 4)]
        np.testing.assert_allclose(coarse.weights, np.stack(groups, 1), atol=1e-6)
    assert len(asked.ids) == 4  # é is two bytes
    assert fine.weights.shape[2] == 3
    assert fine.seen.all()


# -- which head, and when -------------------------------------------------------------------------------------


def median_errors(model, rng, songs=20):
    """Of the words of fresh songs, in seconds: as they were read, and spread evenly."""
    read, even = [], []
    for _ in range(songs):
        text, codes = toy.song(rng)
        case = heard(reader_of(model), toy.sound(codes), text.text)
        read.append(onset_errors(model.align(toy.sound(codes), text.text).text, text))
        even.append(onset_errors(al.even(case, len(codes), toy.CODE), text))
    return [float(np.median(np.abs(np.concatenate(errors)))) for errors in (read, even)]


def learns(kind, steps, lr=6e-3):
    """A prior that begins to learn, chooses a head, and is measured on other songs."""
    model, rng = toy.taught(kind, steps, lr=lr), np.random.default_rng(99)
    head = model.choose_head([toy.piece(rng, f"v{i}") for i in range(3)])
    told = {"layer": head.layer, "head": head.head, "score": head.score, "lag": head.lag, "lean": head.lean}
    assert model.card["alignment"] == told
    assert head.score > al.WEAK
    own, even = median_errors(model, rng)
    assert own <= toy.CODE + 1e-6
    assert even > 3 * own
    assert even > 2.5 * toy.CODE
    return model


def test_a_prior_that_has_learnt_tells_when_words_are_sung():
    model = learns("modern", 80)
    text, codes = toy.song(np.random.default_rng(5))
    found = model.align(toy.sound(codes), text.text)
    assert (found.choice, found.weak) == ((), False)
    free = al.ranked(model, [heard(reader_of(model), toy.sound(codes), text.text)])
    other = model.align(toy.sound(codes), text.text, head=(free[-1].layer, free[-1].head))
    assert (other.head.layer, other.head.head) == (free[-1].layer, free[-1].head)
    model.card = {}
    chosen = model.align(toy.sound(codes), text.text)
    assert chosen.choice == tuple(free)
    assert chosen.head == free[0]
    rest = np.zeros(30, int)  # silence in front: nothing is sung in it, the rest is as before
    late = model.align(toy.sound(np.concatenate([rest, codes])), text.text)
    assert late.text.lines[0].start >= 29 * toy.CODE
    assert (late.path[:29] == -1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("separate", 400), ("dense", 120)])
def test_priors_of_other_designs_learn_it_too(kind, steps):
    learns(kind, steps)


def test_long_texts_are_read_twice():
    """The second time windows are told what was found to be sung in them."""
    model = toy.prior("separate")
    text, codes = toy.song(np.random.default_rng(0), 40)
    asked: list[tuple[int, int]] = []
    found = model.align(toy.sound(codes), text.text, head=(3, 1), progress=lambda *a: asked.append(a))
    once = al.read(model, heard(reader_of(model), toy.sound(codes), text.text), found.head)
    assert [a for a in asked if a[0] == a[1]][-2:] == [(len(codes), len(codes))] * 2
    assert once.text == found.text
    starts = [w.start for w in found.text.lines[0].words]
    assert starts == sorted(starts)


@torch.no_grad()
def test_a_system_aligns_recordings_takes_and_codes():
    system = built(times=True)
    take = system.sample(seed=1, seconds=0.05, lyrics="la lu", hop="0.5", artist="ana", song_seconds=0.5)
    words = {"artist": "ana", "song_seconds": 0.5}
    found = system.align(take, "la lu", **words)
    assert [w.text for w in found.text.lines[0].words] == ["la", "lu"]
    assert len(found.choice) == 2 * len(system.prior(1).lyric_layers)
    assert found.weights.shape == (len(found.path), 5)
    own = system.align(take.tokens, "la lu", head=found.head, **words)
    np.testing.assert_allclose(own.weights, found.weights)
    sound = system.align(take.music, parse_lyrics("[00:00.00]la [lu]"), level=1, song_seconds=0.5)
    assert sound.text.text == "la [lu]"


def test_all_levels_at_once():
    """The design modern also writes all levels in one window; words are read from that as well."""
    codec = VQVAE("modern_tiny")
    delayed = Modern(mode="delayed", kv_heads=1, feedforward=64)
    lyrics = Lyrics(design="single", characters=8, vocabulary=toy.TEXT.vocab.symbols[0].size)
    model = Jukebox(replace(MODERN_TINY, modern=delayed, labels=None, lyrics=lyrics), codec=codec)
    model.lessons = Lessons(None, toy.TEXT)
    noise = Audio(np.random.default_rng(0).normal(0, 0.1, (1, 4000)).astype(np.float32), 8000)
    found = model.align(noise, "一 丁")
    assert found.weights.shape == (len(found.path), 3)
    assert found.frame * len(found.path) == pytest.approx(0.5, abs=0.05)
    assert [word.text for word in found.text.lines[0].words] == ["一", "丁"]


def test_what_is_written_and_what_is_heard_afterwards_look_alike():
    """Attention recorded while sampling is that of one pass over the codes that came out."""
    model = toy.prior("separate")
    lyrics, codes, _ = toy.batch(np.random.default_rng(0), 2)
    step = model.step(lyrics=lyrics, record=[3])
    state = step.start(2)
    for t in range(12):
        step.logits(state, 0, [])
        state = step.advance(state, [codes[:, t]])
    found = watched(model, codes[:, :12], {"labels": None, "lyrics": lyrics, "upper": None}, [3])[3]
    torch.testing.assert_close(step.attention(state, 3)[..., 1:], found[..., :-1])


# -- refused --------------------------------------------------------------------------------------------------


def test_mistakes_are_one_line():
    system, deaf = built(), toy.prior("dense")
    deaf.lessons = None
    model = toy.prior("dense")
    tone = toy.sound(np.arange(1, 31))
    plain = modern_tiny()
    cases = [
        (system, {"level": 0}, "la", "the prior of level 0 reads no lyrics"),
        (plain, {}, "la", "reads no lyrics"),
        (model, {"level": 1}, "一", "there is none of level 1"),
        (model, {}, " \n ", "there are no words"),
        (model, {}, "一" * 99, "longer than the song"),
        (model, {"head": (7, 0)}, "一", "layer 7, head 0 does not look at lyrics; layers 0, 1 do"),
        (model, {"artist": "ana"}, "一", "artist has no effect"),
        (deaf, {}, "一", "keeps no table of characters"),
        (system.codec, {}, "la", "a vqvae model reads no lyrics"),
    ]
    for who, told, text, said in cases:
        with pytest.raises(ValueError, match=said) as error:
            al.align(who, tone, text, **told)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="aligned with a recording or its codes, got a int"):
        model.align(7, "一")
    with pytest.raises(ValueError, match="none among 0 pieces"):
        al.choose_head(model, [])
    model.lessons = Lessons(None, JukeboxLyrics())
    with pytest.raises(ValueError, match="the lyrics hold 'é'"):
        model.align(tone, "é")
    with pytest.raises(ValueError, match="none of these characters"):
        model.align(tone, "=")
    model.card = {"alignment": {"lair": 3}}
    with pytest.raises(ValueError, match="names no head"):
        model.align(tone, "la")


def test_the_originals_heads_are_known():
    for name, head in (("jukebox_1b_lyrics", (63, 0)), ("jukebox_5b_lyrics", (68, 2))):
        config = PRESETS[name]
        fake = SimpleNamespace(
            card={},
            config=config,
            lyric_layers=tuple(i for i, f in enumerate(config.functions) if f in (6, 7)),
        )
        assert al.kept(fake) == al.Head(*head)
        assert head in al.heads_of(fake)
    assert al.kept(toy.prior("dense")) is None
