"""Knobs: what stays when one is turned, what travels, what is refused (knobs.py, effects.py, seam.py)."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.effects import Band, effects, features
from otonoha.models.musegan.knobs import check, codes_of, mixed, noise_of, slerp, tracks_of
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.musegan.onehot import Generator
from otonoha.models.musegan.seam import crossings, seams
from otonoha.models.musegan.shape import KNOBS, Noise, Shape, Widths, per_bar
from otonoha.sample.controls import bars_of

torch.set_num_threads(1)
TRACKS = ("soprano", "alto", "tenor", "bass")
WIDTHS = Widths(5, 6, 7, 8)
M, S, P = 4, 8, 24


class Fixed:
    """One temporal vector makes the codes of a phrase of two bars, as in the book."""

    train_bars = 2

    def __init__(self):
        rng = torch.Generator().manual_seed(1)
        self.chords, self.melody = torch.randn(2, 5, 5, generator=rng), torch.randn(4, 2, 7, 7, generator=rng)

    def vectors(self, bars):
        return 1

    def codes(self, noise):
        chords = torch.einsum("bkz,nzy->bny", noise.chords, self.chords).relu()
        melody = torch.einsum("bmkz,mnzy->bmny", noise.melody, self.melody).relu()
        return Noise(chords, noise.style, melody, noise.groove)


class Walking:
    """Three neighbouring vectors make the code of a bar."""

    train_bars = 2

    def vectors(self, bars):
        return bars + 2

    def codes(self, noise):
        def smooth(z):
            N = z.shape[-2] - 2
            return sum(w * z[..., k : k + N, :] for k, w in enumerate((0.3, 1.0, 0.5)))

        return Noise(smooth(noise.chords), noise.style, smooth(noise.melody), noise.groove)


def learnt():
    torch.manual_seed(0)
    made = Generator(Shape(M, 2, S, P), WIDTHS, low=60, hidden=32).eval()
    made.train_bars = 2
    return made


GENERATORS = {"fixed": Fixed(), "walking": Walking(), "learnt": learnt()}


@pytest.fixture(params=GENERATORS)
def generator(request):
    return GENERATORS[request.param]


def codes(generator, seed=3, index=0, *, bars=6, widths=WIDTHS, **turned):
    return codes_of(
        Controls(**turned), seed, index, generator,
        tracks=TRACKS, bars=bars, widths=widths, train_bars=generator.train_bars,
    )  # fmt: skip


def rolls(codes):
    """A toy band: every track has a bar network of its own. (B, M, N, S, P) states."""
    weights = torch.randn(M, WIDTHS.total, S * (P + 2), generator=torch.Generator().manual_seed(2))
    B, _, N, _ = codes.melody.shape
    heard = torch.cat(
        [
            codes.chords[:, None].expand(B, M, N, -1),
            codes.style[:, None, None].expand(B, M, N, -1),
            codes.melody,
            codes.groove[:, :, None].expand(B, M, N, -1),
        ],
        -1,
    )
    classes = torch.einsum("bmnz,mzc->bmnc", heard, weights).unflatten(-1, (S, P + 2)).argmax(-1)
    made = np.zeros((B, M, N, S, P), np.uint8)
    b, m, n, s = np.nonzero((classes >= 2).numpy())
    made[b, m, n, s, classes.numpy()[b, m, n, s] - 2] = 1
    return made


def equal(a, b, *, but=()):
    return all(
        torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Noise) if f.name not in but
    )


# -- noise -------------------------------------------------------------------------------------------------


def draw(seed=3, index=0, tracks=4, vectors=6, **options):
    return noise_of(seed, index, tracks=tracks, vectors=vectors, widths=WIDTHS, **options)


def test_every_vector_has_a_generator_of_its_own():
    noise = draw()
    assert equal(noise, draw())
    longer = draw(vectors=9)
    assert torch.equal(longer.chords[:, :6], noise.chords)
    assert torch.equal(longer.melody[:, :, :6], noise.melody)
    assert equal(longer, noise, but=("chords", "melody"))
    fewer = draw(tracks=2)
    assert torch.equal(fewer.melody, noise.melody[:, :2])
    assert torch.equal(fewer.groove, noise.groove[:, :2])
    wider = noise_of(3, 0, tracks=4, vectors=6, widths=replace(WIDTHS, style=9))
    assert equal(wider, noise, but=("style",))


def test_no_vector_comes_twice():
    drawn = [draw(seed, index) for seed in (0, 1, 2**32, 2**40) for index in range(3)]
    numbers = [x for noise in drawn for z in vars(noise).values() for x in z.flatten().tolist()]
    assert len(set(numbers)) > 0.999 * len(numbers)


def test_noise_is_normal_and_truncation_keeps_quantiles():
    free, cut = draw(vectors=300).melody.flatten(), draw(vectors=300, truncation=0.7).melody.flatten()
    assert abs(float(free.mean())) < 0.03
    assert abs(float(free.std()) - 1) < 0.03
    assert float(cut.abs().max()) <= 0.7
    assert float((cut.abs() > 0.699).float().mean()) < 0.01  # drawn anew, not clipped
    assert torch.equal(free.argsort(), cut.argsort())
    assert torch.allclose(draw(truncation=10).chords, draw().chords, atol=1e-5)


# -- on the sphere -----------------------------------------------------------------------------------------


def test_slerp_is_exact_at_the_ends_and_turns_evenly():
    a, b = draw(1).melody, draw(2).melody
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)
    unit = [torch.nn.functional.normalize(slerp(a, b, s).double(), dim=-1) for s in (0, 0.25, 0.5, 0.75, 1)]
    angles = torch.stack([(x * y).sum(-1).clamp(-1, 1).acos() for x, y in pairwise(unit)])
    assert torch.allclose(angles, angles[:1].expand_as(angles), atol=1e-5)
    middle = slerp(a, b, 0.5).norm(dim=-1)
    assert torch.allclose(middle, (a.norm(dim=-1) + b.norm(dim=-1)) / 2, atol=1e-5)


def test_slerp_is_safe_where_there_is_no_arc():
    a, zero = draw(1).chords, torch.zeros(1, 6, 5)
    assert torch.allclose(slerp(a, a, 0.3), a)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)
    assert torch.allclose(slerp(a, zero, 0.5), a / 2)
    assert torch.allclose(slerp(a, -a, 0.5), zero, atol=1e-6)
    assert slerp(torch.zeros(2, 0), torch.zeros(2, 0), 0.5).shape == (2, 0)
    almost = slerp(a, a + 1e-7, 0.5)
    assert torch.allclose(almost, a, atol=1e-6)


def test_mixed_turns_one_knob():
    a, b = draw(1), draw(2)
    for knob in KNOBS:
        assert equal(mixed(a, b, knob, 0.5), a, but=(knob,))
        assert torch.equal(getattr(mixed(a, b, knob, 1.0), knob), getattr(b, knob))
    some = mixed(a, b, "groove", 1.0, tracks_of("bass", TRACKS))
    assert torch.equal(some.groove[:, :3], a.groove[:, :3])
    assert torch.equal(some.groove[:, 3], b.groove[:, 3])
    with pytest.raises(ValueError, match="style cannot be turned for some tracks"):
        mixed(a, b, "style", 0.5, tracks_of("bass", TRACKS))


# -- from controls to codes --------------------------------------------------------------------------------


def test_untouched_codes_are_the_generators(generator):
    bars = 6 if generator.vectors(6) > generator.vectors(2) else 2
    plain = generator.codes(draw(vectors=generator.vectors(bars)))
    found = codes(generator, bars=bars)
    for f in fields(Noise):
        torch.testing.assert_close(getattr(found, f.name), getattr(plain, f.name))


def test_more_bars_leave_the_first_ones_as_they_are(generator):
    short, long = codes(generator, bars=3), codes(generator, bars=8)
    assert torch.equal(long.chords[:, :3], short.chords)
    assert torch.equal(long.melody[:, :, :3], short.melody)
    assert equal(long, short, but=("chords", "melody"))
    assert len({tuple(c.tolist()) for c in long.chords[0]}) == 8


def test_takes_differ_but_share_what_they_turn_to(generator):
    a, b = (codes(generator, index=i, groove_seed=9) for i in (0, 1))
    assert not torch.equal(a.chords, b.chords)
    assert torch.equal(a.groove, b.groove)
    assert torch.equal(a.groove, codes(generator, 9).groove)


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_changes_its_own_codes_only(generator, knob):
    plain = codes(generator)
    turned = codes(generator, **{f"{knob}_seed": 9})
    assert equal(turned, plain, but=(knob,))
    assert torch.equal(getattr(turned, knob), getattr(codes(generator, 9), knob))
    assert equal(codes(generator, **{f"{knob}_seed": 9, f"{knob}_mix": 0.0}), plain)
    half = getattr(codes(generator, **{f"{knob}_seed": 9, f"{knob}_mix": 0.5}), knob)
    assert not torch.equal(half, getattr(plain, knob))
    assert not torch.equal(half, getattr(turned, knob))


@pytest.mark.parametrize("knob", ["melody", "groove"])
def test_private_knobs_change_one_track(generator, knob):
    before = rolls(codes(generator))
    after = rolls(codes(generator, **{f"{knob}_seed": 9, "only_tracks": "tenor"}))
    assert np.array_equal(np.delete(after, 2, 1), np.delete(before, 2, 1))
    assert (after[:, 2] != before[:, 2]).any((0, 2, 3)).all()  # in every bar


@pytest.mark.parametrize("knob", ["chords", "style"])
def test_common_knobs_change_all_tracks(generator, knob):
    before, after = rolls(codes(generator)), rolls(codes(generator, **{f"{knob}_seed": 9}))
    assert (before != after).any((0, 2, 3, 4)).all()


def test_knobs_are_turned_in_the_chosen_bars_alone(generator):
    before = codes(generator)
    after = codes(generator, melody_seed=9, chords_seed=9, only_tracks="1,bass", only_bars="2,4-5")
    there, inside = codes(generator, 9), torch.tensor([False, True, False, True, True, False])
    assert torch.equal(after.chords[:, inside], there.chords[:, inside])
    assert torch.equal(after.chords[:, ~inside], before.chords[:, ~inside])
    assert torch.equal(after.melody[:, [0, 3]][:, :, inside], there.melody[:, [0, 3]][:, :, inside])
    assert torch.equal(after.melody[:, [0, 3]][:, :, ~inside], before.melody[:, [0, 3]][:, :, ~inside])
    assert torch.equal(after.melody[:, [1, 2]], before.melody[:, [1, 2]])


def test_style_and_groove_are_constant_over_bars(generator):
    """What bar generators hear of them is the same in every bar, the noise as it was drawn; of the others it is not."""
    parts = per_bar(codes(generator, bars=7, style_seed=4))[0].split(
        [getattr(WIDTHS, knob) for knob in KNOBS], -1
    )
    heard = dict(zip(KNOBS, parts, strict=True))  # (M, N, Z) each
    constant = {knob: torch.equal(x, x[:, :1].expand_as(x)) for knob, x in heard.items()}
    assert constant == {"chords": False, "style": True, "melody": False, "groove": True}
    assert torch.equal(heard["groove"][:, 6], draw().groove[0])
    assert torch.equal(heard["style"][:, 6], draw(4).style.expand(M, -1))


def test_phrases_of_fixed_length_are_akin_to_their_neighbours():
    cosine = torch.nn.functional.cosine_similarity
    wide = Widths(400, 1, 1, 1)

    class Plain(Fixed):
        train_bars = 1

        def codes(self, noise):
            return noise

    z = codes(Plain(), bars=40, widths=wide).chords[0]
    near, far = cosine(z[:-1], z[1:], dim=-1), cosine(z[:-12], z[12:], dim=-1)
    assert abs(float(near.mean()) - 2**-0.5) < 0.03
    assert abs(float(far.mean())) < 0.1
    assert torch.allclose(z.norm(dim=-1), torch.tensor(20.0), rtol=0.1)  # still normal noise


def test_a_medley_travels_from_piece_to_piece(generator):
    a, b, found = codes(generator, 3), codes(generator, 9), codes(generator, medley_seed=9)
    assert found.style.shape == (1, 6, 6)
    assert found.groove.shape == (1, 4, 6, 8)
    for knob in ("chords", "melody"):
        first, last = getattr(found, knob)[..., 0, :], getattr(found, knob)[..., -1, :]
        assert torch.equal(first, getattr(a, knob)[..., 0, :])
        assert torch.equal(last, getattr(b, knob)[..., -1, :])
    for knob in ("style", "groove"):
        z = getattr(found, knob)
        assert torch.equal(z[..., 0, :], getattr(a, knob))
        assert torch.equal(z[..., -1, :], getattr(b, knob))
    z = torch.nn.functional.normalize(found.style[0].double(), dim=-1)
    steps = (z[:-1] * z[1:]).sum(-1).acos()
    assert torch.allclose(steps, steps[:1].expand(5), atol=1e-5)


def test_truncation_narrows_the_codes(generator):
    wide, narrow = codes(generator), codes(generator, truncation=0.2)
    assert float(narrow.style.abs().max()) <= 0.2 < float(wide.style.abs().max())


# -- what is asked for -------------------------------------------------------------------------------------


def test_tracks_and_bars_are_read():
    assert tracks_of("Soprano, bass", TRACKS).tolist() == tracks_of("1,4", TRACKS).tolist() == [1, 0, 0, 1]
    assert bars_of("3-4", 5) == [2, 3]
    assert bars_of(None, 2) == [0, 1]
    assert bars_of("1, 5", 5) == bars_of("5,1-1", 5) == [0, 4]


def checked(*, bars=6, widths=WIDTHS, given="", seed=None, **turned):
    check(Controls(**turned), tracks=TRACKS, bars=bars, widths=widths, given=given, seed=seed)


@pytest.mark.parametrize(
    ("turned", "message"),
    [
        ({"groove_mix": 0.5}, "groove_mix has no effect without groove_seed"),
        ({"groove_seed": 1, "groove_mix": 0.0}, "groove_mix 0 has no effect: it stays at the piece"),
        ({"seed": 1, "groove_seed": 1}, "groove_seed 1 has no effect: it is the seed of the piece itself"),
        ({"seed": 1, "groove_seed": 2, "style_seed": 1}, "style_seed 1 has no effect"),
        ({"seed": 1, "medley_seed": 1}, "medley_seed 1 has no effect: it is the seed of the piece itself"),
        ({"style_seed": 1, "only_tracks": "bass"}, "only_tracks has no effect without melody_seed or groove_seed"),
        ({"groove_seed": 1, "only_bars": "1"}, "only_bars has no effect without chords_seed or melody_seed"),
        ({"groove_seed": 1, "only_tracks": "bas"}, "unknown track of only_tracks 'bas'; did you mean 'bass'"),
        ({"groove_seed": 1, "only_tracks": "5"}, r"only_tracks must be within 1 … 4 .*got 5"),
        ({"groove_seed": 1, "only_tracks": ""}, "unknown track of only_tracks ''"),
        ({"chords_seed": 1, "only_bars": "6-7"}, r"only_bars must be within 1 … 6 .*got 7"),
        ({"chords_seed": 1, "only_bars": "0"}, "got 0"),
        ({"chords_seed": 1, "only_bars": "3-2"}, "only_bars '3-2' runs backwards"),
        ({"chords_seed": 1, "only_bars": "2 to 3"}, "cannot read only_bars '2 to 3'"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused(turned, message):
    with pytest.raises(ValueError, match=message) as error:
        checked(**turned)
    assert "\n" not in str(error.value)


def test_a_seed_is_turned_to_itself_where_that_changes_something():
    checked(seed=None, groove_seed=1, medley_seed=1)  # of several takes, the later ones turn
    checked(seed=1, groove_seed=1, medley_seed=2)  # all travels but the groove
    with pytest.raises(ValueError, match="medley_seed 2 has no effect"):
        checked(seed=2, groove_seed=1, medley_seed=2)


def test_a_noise_that_the_design_lacks_is_refused():
    with pytest.raises(ValueError, match=r"groove_seed has no effect: .*it has: chords, style\)"):
        checked(widths=Widths(5, 6, 0, 0), groove_seed=1)
    assert codes(Walking(), widths=Widths(5, 6, 0, 0), style_seed=1).groove.shape == (1, 4, 0)


def test_turning_the_given_track_alone_is_refused():
    with pytest.raises(ValueError, match="only_tracks 'bass' has no effect: that track is given"):
        checked(groove_seed=1, only_tracks="4", given="bass")
    checked(groove_seed=1, only_tracks="1,4", given="bass")


def test_a_medley_of_one_bar_is_refused():
    with pytest.raises(ValueError, match="medley_seed has no effect on a single bar"):
        checked(bars=1, medley_seed=4)


# -- effects -----------------------------------------------------------------------------------------------


def test_effects_name_the_tracks_that_changed():
    band = Band(Walking(), rolls, TRACKS, WIDTHS, train_bars=2, bars=3)
    rows = {r["name"]: r for r in effects(band, range(4))}
    assert len(rows) == 3 * (2 + 2 * 4)
    alto = rows["groove of alto at 1"]
    assert alto["changed/alto"] > 0.3
    assert alto["changed/soprano"] == alto["changed/tenor"] == alto["changed/bass"] == 0
    assert min(alto[f"changed/bar {n}"] for n in (1, 2, 3)) > 0
    assert alto["changed"] == pytest.approx(alto["changed/alto"] / 4)
    style = [rows[f"style at {m}"] for m in ("0.25", "0.5", "1")]
    assert style[0]["changed"] < style[1]["changed"] < style[2]["changed"]
    assert min(style[2][f"changed/{t}"] for t in TRACKS) > 0
    assert style[2]["moved/pitch"] > 0
    with pytest.raises(ValueError, match="unknown knob of this model 'grove'"):
        effects(band, [1], ["grove"])


def test_the_knobs_of_a_model_keep_to_their_tracks():
    band = Band.of(MuseGAN("tiny"), bars=3)
    for row in effects(band, range(4), mixes=(1.0,)):
        changed = {t for t in TRACKS if row[f"changed/{t}"]}
        assert changed == ({row["track"]} if "track" in row else set(TRACKS))


def test_features_of_a_bar_by_hand():
    made = np.zeros((2, 1, 1, 8, 24), np.uint8)
    made[0, 0, 0, 0, 0], made[0, 0, 0, 1, 0], made[0, 0, 0, 3, 4] = 1, 2, 1
    found = features(made, ("soprano",), 60)
    expected = {
        "pitch": 62,
        "density": 2,
        "length": 1.5,
        "rests": 5 / 8,
        "leap": 4,
        "off beat": 0.5,
        "pitch classes": 2,
    }
    assert {n: v[0] for n, v in found.items()} == pytest.approx(expected)
    assert all(np.isnan(v[1]) for v in found.values())


# -- seams -------------------------------------------------------------------------------------------------


def lines(pitches, held=()):
    """One track whose bars are one long note each; those after a bar line in `held` go on."""
    made = np.zeros((1, 1, len(pitches), 8, 24), np.uint8)
    for n, pitch in enumerate(pitches):
        made[0, 0, n, :, pitch] = 2
        made[0, 0, n, 0, pitch] = 2 if n in held else 1
    return made


def test_bar_lines_by_hand():
    found = crossings(lines([0, 0, 12, 7], held=(1,)))
    assert found["held"].tolist() == [[1, 0, 0]]
    assert found["leap"].tolist() == [[0, 12, 5]]
    assert found["chroma"].tolist() == [[0, 0, 1]]
    silent = lines([0, 0, 0])
    silent[:, :, 1] = 0
    found = crossings(silent)
    assert np.isnan([found["leap"], found["chroma"]]).all()
    assert found["held"][0, 0] == 0  # what sounded before the line has stopped
    assert np.isnan(found["held"][0, 1])


def test_a_seam_is_found_and_smooth_music_has_none():
    rng = np.random.default_rng(0)
    smooth = np.concatenate([lines(rng.integers(8, 14, 8), held=range(8)) for _ in range(12)])
    torn = smooth.copy()
    for n in (2, 3, 6, 7):
        torn[:, :, n] = np.roll(torn[:, :, n], 9, axis=-1)
        torn[:, :, n, 0] = np.minimum(torn[:, :, n, 0], 1)
    assert all(row["p"] > 0.05 for row in seams(smooth, 2, permutations=300))
    by_name = {row["name"]: row for row in seams(torn, 2, permutations=300)}
    assert by_name["leap"]["p"] < 0.01
    assert by_name["leap"]["difference"] > by_name["leap"]["detectable"] > 0
    assert by_name["leap"]["joins"] - by_name["leap"]["inner"] == pytest.approx(by_name["leap"]["difference"])
    assert by_name["leap"]["lines"] == 12 * 7
    with pytest.raises(ValueError, match="no inner bar lines beside joins"):
        seams(torn, 1)


def test_truncation_leaves_draws_alone():
    """Numbers that are chances, not codes, stay uniform behind the distribution function."""
    drawn = Widths(9, 9, 4, 4, coded=5)
    free, cut = (noise_of(3, tracks=M, vectors=2, widths=drawn, truncation=limit) for limit in (None, 0.5))
    assert torch.equal(free.melody, cut.melody)
    assert torch.equal(free.groove, cut.groove)
    for a, b in ((free.chords, cut.chords), (free.style, cut.style)):
        assert torch.equal(a[..., 5:], b[..., 5:])
        assert b[..., :5].abs().max() <= 0.5
        assert not torch.equal(a[..., :5], b[..., :5])
