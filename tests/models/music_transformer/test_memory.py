"""The motif memory against a slow twin that looks everything up in plain Python, and what it must never do."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otonoha.models.music_transformer.frames import frames
from otonoha.models.music_transformer.memory import Corpus, Walk, remembered

# -- the slow twin: likeness by walking back from (t - 1, u - 1), candidate by candidate ------------------------------


class Slow:
    """A piece as plain lists."""

    def __init__(self, piece, reference):
        table = frames(piece, reference)
        self.x = piece.tolist()
        self.m, self.s = table.motion.tolist(), table.spacing.tolist()
        self.b, self.d = table.below.tolist(), table.degree.tolist()


def suffix(a, t, b, u, equal, linked=lambda i, j: True):
    """Frames that match, going back from t and u; `linked` joins a frame to the one before it."""
    n = 0
    while t >= 0 and u >= 0 and equal(t, u):
        n += 1
        if not linked(t, u):
            break
        t, u = t - 1, u - 1
    return n


def leaky(t, u, fade, likeness):
    total, weight = 0.0, 1.0
    while t >= 0 and u >= 0:
        total += weight * likeness(t, u)
        t, u, weight = t - 1, u - 1, weight * fade
    return total


def same(x, y, weights):
    return sum(w for a, b, w in zip(x, y, weights, strict=True) if a == b)


def step(before, now):
    return 25 if before < 0 or now < 0 else min(12, max(-12, now - before)) + 12


def distribution(found, rate, reach, whole):
    """[(score, class)] -> shares, best, sum of weights."""
    shares = [0.0] * 26
    found = [f for f in found if f[0] > 0 or not whole]
    if not found:
        return shares, 0.0, 0.0
    best = max(score for score, _ in found)
    weights = defaultdict(float)
    for score, kind in found:
        if (score > best - reach) if whole else (score >= best - reach - 1e-4):
            weights[kind] += math.exp(rate * (score - best))
    total = sum(weights.values())
    for kind, weight in weights.items():
        shares[kind] = weight / total
    return shares, best, total


def slow_query(corpus, piece, t, v, decided, leave_out, quarter=4, reference=None):
    """Nine (shares, best, total) for voice v of frame t; only piece[:t] and the decided pitches are read."""
    a = Slow(piece[:t], reference)
    found = [[] for _ in range(9)]
    if t == 0:
        return [distribution([], 1, 1, True)] * 9
    h = t - 1
    own_step = {w: step(a.x[h][w], pitch) for w, pitch in decided.items()}
    for u in range(1, t):
        g, lag = u - 1, t - u
        if lag % quarter == 0:
            kind = step(a.x[h][v], a.x[u][v])
            agree = sum(a.x[u][w] == pitch for w, pitch in decided.items())
            if agree == len(decided):
                found[0].append((suffix(a, h, a, g, lambda i, j: a.x[i] == a.x[j]), kind))
            near = leaky(h, g, 0.94, lambda i, j: 0.25 * same(a.x[i], a.x[j], [1] * 4))
            found[1].append((near + agree, kind))
            found[2].append((suffix(a, h, a, g, lambda i, j: a.x[i][v] == a.x[j][v]), kind))
        if lag % max(1, quarter // 2) == 0:
            near = leaky(
                h, g, 0.94,
                lambda i, j: 0.34 * (same(a.m[i], a.m[j], [0.5] * 4) + same(a.s[i], a.s[j], [0.3] * 3)),
            )  # fmt: skip
            near += 0.5 * (lag % quarter == 0) + 0.8 * sum(a.m[u][w] == k for w, k in own_step.items())
            found[8].append((near, a.m[u][v]))
    for number, other in enumerate(corpus):
        if number != leave_out:
            slow_corpus(found, a, Slow(other, reference), t, v, own_step, quarter)
    hows = [(math.log(2), 12, 1), (2, 3, 0), (math.log(2), 12, 1), (math.log(1.6), 12, 1), (3, 2, 0)]
    hows += [(math.log(1.5), 16, 1), (3, 2, 0), (math.log(1.5), 16, 1), (2.5, 2.5, 0)]
    return [distribution(f, *how) for f, how in zip(found, hows, strict=True)]


def slow_corpus(found, a, c, t, v, own_step, quarter):
    h = t - 1
    for u in range(1, len(c.x)):
        if (u - t) % quarter:
            continue
        g, kind = u - 1, c.m[u][v]
        agree = sum(c.m[u][w] == k for w, k in own_step.items())
        led = lambda i, j: a.m[i][0] == c.m[j][0]  # noqa: E731
        if agree == len(own_step):
            found[3].append((suffix(a, h, c, g, lambda i, j: a.s[i] == c.s[j], led), kind))
        like = leaky(
            h, g, 0.9,
            lambda i, j: 0.15 * (same(a.m[i], c.m[j], [1.5, 0.5, 0.5, 1]) + same(a.s[i], c.s[j], [1] * 3)),
        )  # fmt: skip
        found[4].append((like + 0.6 * agree, kind))
        if v == 0:
            found[5].append((suffix(a, h, c, g, led), kind))
        elif 0 not in own_step or c.m[u][0] == own_step[0]:
            found[5].append((suffix(a, h, c, g, lambda i, j: a.b[i][v - 1] == c.b[j][v - 1], led), kind))
        like = leaky(
            h, g, 0.88,
            lambda i, j: 0.15 * (
                same(a.m[i], c.m[j], [0.8, 0.3, 0.3, 0.6]) + same(a.s[i], c.s[j], [0.4] * 3)
                + same(a.d[i], c.d[j], [1.2, 0.6, 0.6, 1.2])
            ),
        )  # fmt: skip
        found[6].append((like + 0.6 * agree, kind))
        mine = lambda i, j: a.d[i][v] == c.d[j][v] and a.m[i][v] == c.m[j][v]  # noqa: E731
        found[7].append((suffix(a, h, c, g, mine), kind))


# -- music that repeats: few pitches, short phrases taken up again ----------------------------------------------------


@st.composite
def songs(draw, least=1, most=28):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length = draw(st.integers(least, most))
    frame, rows = np.array([69, 64, 60, 52]), []
    while len(rows) < length:
        if len(rows) > 6 and rng.random() < 0.15:
            start = int(rng.integers(len(rows) - 4))
            shift = int(rng.integers(-2, 3)) * int(rng.random() < 0.5)
            rows += [np.where(r < 0, -1, r + shift) for r in rows[start : start + int(rng.integers(2, 12))]]
        frame = frame + rng.choice([0, 0, 0, 1, 2, -1, -2], 4)
        rows.append(np.where(rng.random(4) < 0.05, -1, frame))
    return np.array(rows[:length], np.int16)


CORPORA = st.lists(songs(), max_size=3)


@settings(max_examples=40, deadline=None)
@given(CORPORA, songs(), st.sampled_from([4, 2, 1]), st.sampled_from([None, 7]), st.data())
def test_it_finds_what_the_slow_twin_finds(corpus, piece, quarter, reference, data):
    mine = data.draw(st.sampled_from([None, *range(len(corpus))]), "leave out")
    if mine is not None:
        piece = corpus[mine]
    walk, at = (
        Walk(Corpus(corpus, quarter, reference), mine),
        data.draw(st.integers(0, len(piece) - 1), "frame"),
    )
    for frame in piece[:at]:
        walk.advance(frame)
    voice = data.draw(st.integers(0, 3), "voice")
    known = data.draw(st.sets(st.sampled_from([w for w in range(4) if w != voice])), "decided")
    decided = {w: int(piece[at, w]) for w in sorted(known)}
    shares, strength = walk.query(voice, decided)
    slow = slow_query(corpus, piece, at, voice, decided, mine, quarter, reference)
    for channel, (wanted, best, total) in enumerate(slow):
        assert np.allclose(shares[channel], wanted, atol=2e-5), channel
        assert np.allclose(strength[channel], [best, total], rtol=2e-4, atol=2e-4), channel


@settings(max_examples=25, deadline=None)
@given(st.lists(songs(), min_size=1, max_size=3), songs(least=4), st.data())
def test_what_comes_later_changes_nothing(corpus, piece, data):
    t, v = data.draw(st.integers(0, len(piece) - 1)), data.draw(st.integers(0, 3))
    other = piece.copy()
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    other[t, v:] = rng.integers(40, 80, 4 - v)
    other[t + 1 :] = rng.integers(40, 80, other[t + 1 :].shape)
    library = Corpus(corpus)
    for one, two in zip(remembered(library, piece), remembered(library, other), strict=True):
        assert np.array_equal(one[:t], two[:t])
        assert np.array_equal(one[t, : v + 1], two[t, : v + 1])


@settings(max_examples=15, deadline=None)
@given(st.lists(songs(), min_size=2, max_size=4), st.data())
def test_left_out_is_as_if_it_were_not_there(corpus, data):
    mine = data.draw(st.integers(0, len(corpus) - 1))
    without = Corpus(corpus[:mine] + corpus[mine + 1 :])
    for one, two in zip(
        remembered(Corpus(corpus), corpus[mine], mine), remembered(without, corpus[mine]), strict=True
    ):
        assert np.allclose(one, two, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.lists(songs(), min_size=1, max_size=3), songs(), st.integers(-5, 5))
def test_it_hears_the_same_in_every_key(corpus, piece, shift):
    higher = np.where(piece < 0, -1, piece + shift)
    library = Corpus(corpus)
    for one, two in zip(remembered(library, piece), remembered(library, higher), strict=True):
        assert np.array_equal(one, two)


def test_an_exact_repeat_is_foretold():
    rng = np.random.default_rng(3)
    phrase = np.array([72, 67, 64, 48]) + rng.integers(-3, 4, (16, 4))
    shares, strength = remembered(Corpus([]), np.concatenate([phrase, phrase]))
    wanted = frames(np.concatenate([phrase, phrase])).motion
    for t in range(22, 32):
        assert strength[t, :, 0, 0].tolist() == [t - 16] * 4
        assert all(shares[t, v, 0, wanted[t, v]] > 0.9 for v in range(4))


def test_a_tune_from_the_corpus_is_recognised_in_another_key():
    rng = np.random.default_rng(4)
    tune = np.array([72, 67, 64, 48]) + rng.integers(-3, 4, (32, 4)).cumsum(0) % 7
    shares, strength = remembered(Corpus([tune[:13], tune, tune[:7]]), tune + 3)
    wanted = frames(tune).motion
    for channel in (3, 4, 5, 6, 7):
        hit = np.take_along_axis(shares[20:, :, channel], wanted[20:, :, None].astype(int), 2)
        assert hit.min() > 0.6, channel
    assert strength[31, 0, 5, 0] == 31
    alone, _ = remembered(Corpus([tune[:13], tune, tune[:7]]), tune, 1)
    assert np.take_along_axis(alone[20:, :, 5], wanted[20:, :, None].astype(int), 2).mean() < 0.6


@pytest.mark.parametrize("corpus", [[], [np.full((1, 4), 60)]])
def test_nothing_to_remember_says_nothing(corpus):
    shares, strength = remembered(Corpus(corpus), np.full((3, 4), 60))
    assert not shares.any()
    assert not strength.any()
