"""All ways of sampling, with a dummy prior that any slip would betray (see sampling_dummy)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sampling_dummy import HOPS, RATE, Dummy, drained, priors, slow

from otonoha.models.jukebox.codes import UNKNOWN, Codes, empty
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.sampling import sample
from otonoha.models.jukebox.sampling_modes import Draft, ancestral, continued, upsampled
from otonoha.models.jukebox.sampling_order import TOP, How, Order
from otonoha.sample.choose import Choice, probabilities

SEEDS = [7, 0, 123456789012345]


def labels(many=3, offset=300):
    """Different songs; their lyrics are longer than a window sees."""
    songs = [
        Label(total=9000 + 500 * i, offset=offset, artist=i, genres=(i + 1, -1), lyrics=tuple(range(1, 90)))
        for i in range(many)
    ]
    return dict.fromkeys(range(3), songs)


def golden_folder():
    data = os.environ.get("OTONOHA_DATA")
    places = [Path(data).parent / "golden"] if data else []
    for place in [*places, Path(__file__).resolve().parents[4] / "shared" / "golden"]:
        if (place / "jukebox" / "labels_and_windows").is_dir():
            return place / "jukebox" / "labels_and_windows"
    pytest.skip("the golden cases (../shared/golden/jukebox) are not here")
    return None


def made(order, **options):
    return drained(sample(order, **options)).codes


def rows(codes):
    return [{level: codes.levels[level][i].tolist() for level in range(3)} for i in range(codes.batch)]


def fits(codes, ratio=4):
    """Every code lies under the one above."""
    for fine, coarse in zip(codes.levels, codes.levels[1:]):
        assert (fine // ratio == coarse.repeat(ratio, axis=1)).all()


def totals(codes):
    return {level: z.shape[1] for level, z in enumerate(codes.levels)}


@pytest.mark.parametrize("samples", [1, 27 * 64])
@pytest.mark.parametrize("labelled", [True, False])
def test_from_nothing_as_the_slow_twin_writes_it(samples, labelled):
    told = labels() if labelled else {}
    order = ancestral(priors(), HOPS, samples, seeds=SEEDS, labels=told, rate=RATE)
    codes = made(order)
    fits(codes)
    for i, seed in enumerate(SEEDS):
        own = {level: songs[i] for level, songs in told.items()}
        assert rows(codes)[i] == slow(priors(), seed, totals(codes), labels=own)


@settings(max_examples=15, deadline=None)
@given(
    ratio=st.sampled_from([1, 2, 4]),
    many=st.integers(1, 4),
    top=st.integers(1, 14),
    hop=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    known=st.integers(0, 5),
    seed=st.integers(0, 2**40),
)
def test_any_lengths_as_the_slow_twin_writes_them(ratio, many, top, hop, known, seed):
    levels = {
        i: Dummy(i, n_ctx=ratio * many if i < 2 else many + 1, levels=3, ratio=ratio, n_lyrics=0)
        for i in range(3)
    }
    hops = tuple(levels[i].hop for i in range(3))
    known = min(known, top)
    begin = slow(levels, 3, {i: known * ratio ** (2 - i) for i in range(3)})
    prompt = Codes(tuple(np.array([begin[i]], np.int64) for i in range(3)), hops)
    label = Label(total=10**6, offset=12, artist=5)
    how = {i: How(hop=hop) for i in range(3)}
    order = continued(
        levels, prompt, top * hops[-1], seeds=[seed], labels={i: [label] for i in range(3)}, how=how
    )
    codes = made(order)
    expected = slow(
        levels,
        seed,
        totals(codes),
        labels=dict.fromkeys(range(3), label),
        known=begin,
        fractions=dict.fromkeys(range(3), hop),
    )
    assert rows(codes)[0] == expected


def test_a_piece_does_not_depend_on_those_beside_it():
    together = made(ancestral(priors(), HOPS, 1200, seeds=SEEDS, labels=labels(), rate=RATE))
    for i, seed in enumerate(SEEDS):
        own = {level: [songs[i]] for level, songs in labels().items()}
        alone = made(ancestral(priors(), HOPS, 1200, seeds=[seed], labels=own, rate=RATE))
        assert rows(alone)[0] == rows(together)[i]


def test_every_part_of_a_label_counts():
    base = labels(1)[2][0]
    others = [
        replace(base, **change)
        for change in (
            {"artist": 9},
            {"genres": (9, -1)},
            {"total": 9064},
            {"offset": 364},
            {"lyrics": tuple(range(2, 91))},
        )
    ]
    results = [
        rows(made(ancestral(priors(), HOPS, 900, seeds=[1], labels={2: [one]}, only=[2])))[0][2]
        for one in [base, *others]
    ]
    assert len({tuple(r) for r in results}) == len(results)


def test_temperature_and_filters_reach_the_choice():
    def top(choice):
        how = {2: replace(TOP, choice=choice)}
        return rows(made(ancestral(priors(), HOPS, 1000, seeds=[5], only=[2], how=how)))[0][2]

    likeliest = top(Choice(temperature=0))
    assert likeliest == top(Choice(top_k=1)) == top(Choice(top_p=1e-9))
    assert likeliest != top(Choice())
    assert top(Choice(temperature=0.5)) != top(Choice(temperature=2.0))
    assert top(Choice(repetition=50.0, window=1)) != top(Choice())
    assert (np.diff(top(Choice(repetition=99.0, window=1))) != 0).all()


def test_filters_keep_what_the_originals_keep():
    folder = golden_folder()
    tensors = load_file(folder / "reference.safetensors")
    logits = tensors["filter.logits"].flatten(0, -2).numpy()
    kinds = {f"top_k_{k}": Choice(top_k=k) for k in (1, 5, 24, 100)}
    kinds |= {f"top_p_{p}": Choice(top_p=p / 100) for p in (30, 60, 90)}
    for name, choice in kinds.items():
        kept = np.isfinite(tensors[f"filter.{name}"].flatten(0, -2).numpy())
        assert ((probabilities(logits, choice) > 0) == kept).all(), name


def test_primed_by_a_recording_on_all_levels():
    prompt = made(ancestral(priors(), HOPS, 700, seeds=[99], rate=RATE))
    order = continued(priors(), prompt, 2000, seeds=SEEDS, labels=labels(), rate=RATE)
    codes = made(order)
    fits(codes)
    known = {i: z[0].tolist() for i, z in enumerate(prompt.levels)}
    for i, seed in enumerate(SEEDS):
        own = {level: songs[i] for level, songs in labels().items()}
        assert rows(codes)[i] == slow(priors(), seed, totals(codes), labels=own, known=known)


def test_only_a_part_of_the_earlier_codes_is_kept():
    earlier = made(ancestral(priors(), HOPS, 1300, seeds=[1]))
    codes = made(continued(priors(), earlier, 1300, seeds=[2], keep=500))
    same = [(a == b).all(axis=0) for a, b in zip(codes.levels, earlier.levels)]
    for level, there in enumerate(same):
        assert there[: 500 // 64 * 64 // HOPS[level]].all()
        assert not there.all()
    with pytest.raises(ValueError, match=r"the piece has 1344 samples already, 900 were asked for"):
        continued(priors(), earlier, 900, seeds=[1])


def test_shorter_than_a_piece_already_known_overshoots_nothing():
    """The original writes 7,500 codes where 6,000 are asked for and 1,500 known."""
    prompt = made(ancestral(priors(), HOPS, 3 * 64, seeds=[1]))
    codes = made(continued(priors(), prompt, 7 * 64, seeds=[2]))
    assert totals(codes) == {0: 112, 1: 28, 2: 7}
    fits(codes)


def test_upsampling_in_parts_comes_out_as_the_whole():
    top = made(ancestral(priors(), HOPS, 2000, seeds=SEEDS, only=[2]))
    how = {"labels": labels(), "rate": RATE, "seeds": SEEDS}
    whole = made(upsampled(priors(), top, **how))
    fits(whole)
    parts = made(upsampled(priors(), top, only=[1], **how))
    for a, b in ((0, 500), (500, 1337), (1337, 1338), (1280, None)):
        parts = made(upsampled(priors(), parts, only=[0], start=a, stop=b, **how))
    assert rows(parts) == rows(whole)


def test_any_time_range_is_upsampled_alone():
    top = made(ancestral(priors(), HOPS, 3000, seeds=[3], only=[2]))
    part = made(upsampled(priors(), top, seeds=[3], start=1000, stop=1700))
    for level, (fine, coarse) in enumerate(zip(part.levels, part.levels[1:])):
        first, last = 960 // HOPS[level], 1712 // HOPS[level]
        there = fine[0] != UNKNOWN
        assert there[first:last].all()
        assert not there[:first].any()
        assert not there[last:].any()
        assert (fine[0] // 4 == coarse[0].repeat(4))[first:last].all()
    # what is missing around it can be filled in later, and what is there stays
    whole = made(upsampled(priors(), part, seeds=[4]))
    fits(whole)
    assert all((a == b)[a != UNKNOWN].all() for a, b in zip(part.levels, whole.levels))
    again = made(upsampled(priors(), whole, seeds=[5], start=1000, stop=1700, anew=True))
    fits(again)
    changed = [np.flatnonzero((a != b)[0]) * hop for a, b, hop in zip(whole.levels, again.levels, HOPS)]
    assert all(len(c) and c.min() >= 960 and c.max() < 1712 for c in changed[:2])
    only = upsampled(priors(), whole, seeds=[5], start=1000, stop=1700, anew=True, only=[1]).codes
    assert [(z == UNKNOWN).sum() for z in only.levels] == [752 // 4, 752 // 16, 0]
    with pytest.raises(ValueError, match="do not lie within the piece's 3008"):
        upsampled(priors(), whole, seeds=[5], start=1000, stop=3009)
    with pytest.raises(ValueError, match="no finer level"):
        upsampled(priors(), whole, seeds=[5], only=[2])


def test_no_level_is_written_where_the_one_above_is_not():
    nothing = empty(1, 640, HOPS)
    with pytest.raises(ValueError, match=r"level 1 cannot be written up to 6.40 s: level 2 is written only"):
        made(upsampled(priors(), nothing, seeds=[1], rate=RATE))
    part = made(
        upsampled(priors(), made(ancestral(priors(), HOPS, 640, seeds=[1], only=[2])), seeds=[1], stop=320)
    )
    with pytest.raises(ValueError, match=r"level 0 cannot .* up to 5.12 s: level 1 .* up to 3.20 s"):
        made(upsampled(priors(), part, seeds=[1], only=[0], stop=510, rate=RATE))


def test_codes_whose_upper_ones_are_not_written_are_no_past():
    top = made(ancestral(priors(), HOPS, 640, seeds=[1], only=[2])).levels[2]
    top[:, :2] = UNKNOWN
    middle = np.full((1, 40), UNKNOWN)
    middle[:, :12] = np.arange(12)
    codes = Codes((np.full((1, 160), UNKNOWN), middle, top), HOPS)
    seen = []
    order = Order(priors(), codes, {1: (8, 40)}, [1])
    found = drained(sample(order, watch=lambda level, group, step, state: seen.extend(group))).codes
    assert [(w.start, w.given) for w in seen] == [(8, 4), (16, 8), (24, 8)]
    assert (found.levels[1][:, 12:] // 4 == top.repeat(4, axis=1)[:, 12:]).all()
    assert (found.levels[1][:, :12] == np.arange(12)).all()


def test_a_piece_grows_by_choosing_among_candidates():
    draft = Draft(None, HOPS)
    seeds = [11, 12, 13]
    for turn, chosen in enumerate((2, 0, 1)):
        told = {2: [labels(1)[2][0]] * 3}
        codes = made(draft.candidates(priors(), 300, seeds=seeds, labels=told))
        assert codes.batch == 3
        assert len({tuple(r[2]) for r in rows(codes)}) == 3
        alone = draft.candidates(priors(), 300, seeds=[seeds[1]], labels={2: told[2][:1]})
        assert rows(made(alone))[0] == rows(codes)[1]
        if draft.codes is not None:
            assert (codes.levels[2][:, : 5 * turn] == draft.codes.levels[2]).all()
        draft = draft.taken(codes, chosen)
        assert draft.samples == 320 * (turn + 1)
    earlier = draft.undone()
    assert earlier.samples == 640
    assert Draft(None, HOPS).samples == 0
    fits(made(upsampled(priors(), draft.codes, seeds=[1])))
    with pytest.raises(ValueError, match="nothing was chosen"):
        Draft(None, HOPS).undone()
    with pytest.raises(ValueError, match="candidates 0 … 2, not 3"):
        draft.taken(codes, 3)
    with pytest.raises(ValueError, match=r"1 … 1024 samples long"):
        draft.candidates(priors(), 2000, seeds=[1])


def test_candidates_come_from_one_window_that_sees_all_it_can():
    draft = Draft(made(ancestral(priors(), HOPS, 30 * 64, seeds=[1], only=[2])), HOPS)
    levels, seen = priors(), []
    order = draft.candidates(levels, 5 * 64, seeds=[1, 2])
    drained(sample(order, watch=lambda level, group, step, state: seen.extend(group)))
    assert [(w.start, w.given, w.new) for w in seen] == [(19, 11, 5)]


@pytest.mark.parametrize("samples", [100, 64 * 17])
def test_windows_at_once_are_those_in_turn_where_only_the_seams_could_differ(samples):
    top = made(ancestral(priors(), HOPS, samples, seeds=SEEDS, only=[2]))
    asked = {"seeds": SEEDS, "labels": labels(), "rate": RATE}
    in_turn = made(upsampled(priors(memory=1), top, **asked))
    at_once = {level: How(parallel=True, repair=1) for level in (0, 1)}
    found = made(upsampled(priors(memory=1), top, how=at_once, **asked))
    assert rows(found) == rows(in_turn)


def test_windows_at_once_keep_to_the_upper_codes_whatever_is_computed_together():
    top = made(ancestral(priors(), HOPS, 1500, seeds=SEEDS, only=[2]))
    asked = {"seeds": SEEDS, "labels": labels(), "rate": RATE}
    results = []
    for many in (1, 7, 1000):
        levels = priors()
        how = {level: How(parallel=True, rows=many) for level in (0, 1)}
        codes = made(upsampled(levels, top, how=how, **asked))
        fits(codes)
        results.append(rows(codes))
        assert max(levels[0].begun) <= max(many, len(SEEDS))
    assert results[0] == results[1] == results[2]
    # window by window in turn there are far more steps
    assert levels[0].asked <= 16 + 8
    alone = made(
        upsampled(
            priors(),
            top.row(1),
            how=how,
            seeds=SEEDS[1:2],
            labels={level: songs[1:2] for level, songs in labels().items()},
            rate=RATE,
        )
    )
    assert rows(alone)[0] == results[0][1]


def test_windows_at_once_join_what_is_there_already():
    top = made(ancestral(priors(), HOPS, 3000, seeds=[1], only=[2]))
    half = made(upsampled(priors(memory=1), top, seeds=[1], stop=1500))
    how = {level: How(parallel=True, repair=1) for level in (0, 1)}
    found = made(upsampled(priors(memory=1), half, seeds=[1], how=how))
    fits(found)
    assert all((a == b)[a != UNKNOWN].all() for a, b in zip(half.levels, found.levels))


def test_progress_counts_all_codes():
    order = ancestral(priors(), HOPS, 640, seeds=[1, 2])
    told = drained(sample(order)).told
    assert [t.done for t in told] == list(range(1, 211))
    assert {t.total for t in told} == {210}
    assert [t.level for t in told] == [2] * 10 + [1] * 40 + [0] * 160
    assert all(t.left is not None and t.left >= 0 for t in told)
    assert told[-1].left == 0


def test_what_is_written_so_far_can_be_kept():
    walk = sample(ancestral(priors(), HOPS, 640, seeds=[1, 2]))
    for going in (next(walk) for _ in range(5)):
        told = going
    walk.close()
    assert (told.codes.levels[2] != UNKNOWN).sum() == 2 * 5
    rest = made(continued(priors(), told.codes, 640, seeds=[1, 2]))
    assert rows(rest) == rows(made(ancestral(priors(), HOPS, 640, seeds=[1, 2])))


class Mixing(Dummy):
    """A level that is told weights; it only remembers them."""

    def blended(self, labels, lyrics, upper, artists, genres):
        self.told = [*getattr(self, "told", []), (labels, artists, genres)]
        return self.step(labels, lyrics, upper)


def test_a_blend_is_told_window_by_window():
    from otonoha.models.jukebox.labels import Names, Table

    table = Table("artist", {"ana": 1, "bo": 2}, 3)
    names = Names(table, Table("genre", {"folk": 1}, 2), "v2", 2)
    mixed = names.label([(0, "ana"), (20, "bo")], "folk", total=4000)
    plain = names.label("bo", "folk", total=4000)
    level = Mixing(2, n_ctx=10, levels=3)
    order = ancestral(
        {2: level}, HOPS, 2000, seeds=[1, 2], labels={2: [mixed, plain]}, how={2: How(hop=0.5)}, rate=RATE
    )
    drained(sample(order))
    # 32 codes of .64 s, windows of 10 that hop by 5: the middle of what each writes
    middles = [0.64 * (a + b) / 2 for a, b in ((0, 10), (10, 15), (15, 20), (20, 25), (25, 30), (30, 32))]
    assert len(level.told) == len(middles)
    for (rows_of, (ids, weights), (genres, shares)), at in zip(level.told, middles, strict=True):
        assert dict(zip(ids[0].tolist(), weights[0].tolist())) == pytest.approx(
            {1: 1 - at / 20, 2: at / 20}, abs=1e-6
        )
        assert (ids[1].tolist(), weights[1].tolist()) == ([2, 0], [1, 0])
        assert (genres.tolist(), shares.tolist()) == ([[1], [1]], [[1], [1]])
        assert rows_of[:, 3].tolist() == [1, 2]
    with pytest.raises(ValueError, match="level 2 knows no blends"):
        made(replace(order, levels={2: Dummy(2, n_ctx=10)}))


class Broken(Dummy):
    def step(self, labels, lyrics, upper):
        step = super().step(labels, lyrics, upper)
        step.logits = lambda state, k, drawn: torch.full((len(state), self.bins), float("nan"))
        return step


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": [1]}, "2 pieces need 2 seeds"),
        ({"seeds": [1, -1]}, "seeds of 0 or more"),
        ({"spans": {2: (0, 11)}}, "codes 0 … 11 of level 2 lie outside"),
        ({"spans": {3: (0, 1)}}, "no prior of level 3"),
        ({"labels": {2: [Label(total=9000)]}}, "need as many labels, level 2 has 1"),
        (
            {"labels": {2: [Label(total=9000), Label(total=500)]}},
            r"from 0.00 to 6.40 s of a song that is 5.00 s",
        ),
        ({"how": {2: How(parallel=True)}}, "only levels under a coarser one"),
        ({"how": {2: How(hop=1.5)}}, "hop must be above 0 and at most 1"),
        ({"levels": {2: Dummy(2, ratio=2)}}, r"has 16 samples a code and 0 .* the codec has 64 and 0"),
        ({"levels": {2: Broken(2)}}, "weights are damaged"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(change, says):
    order = ancestral(priors(), HOPS, 640, seeds=[1, 2], only=[2], rate=RATE)
    with pytest.raises(ValueError, match=says):
        made(replace(order, **change))


def test_levels_and_lengths_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="levels 0 … 2, not 5"):
        ancestral(priors(), HOPS, 640, seeds=[1], only=[5])
    with pytest.raises(ValueError, match="cut to -3 samples"):
        continued(priors(), empty(1, 640, HOPS), 640, seeds=[1], keep=-3)
    with pytest.raises(ValueError, match="with a length: got 1 of 0 samples"):
        ancestral(priors(), HOPS, 0, seeds=[1])


def test_codes_of_another_codec_are_refused():
    prompt = made(ancestral(priors(top_bins=60), HOPS, 640, seeds=[1]))
    with pytest.raises(ValueError, match=r"level 0 has the codes 0 … 95; these hold \d+: another codec's"):
        made(continued(priors(), prompt, 1000, seeds=[1]))
