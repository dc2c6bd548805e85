import time

import numpy as np
import pytest
from metric_rolls import LOW, PITCHES, VOICES, chorales, mixed, phrase

from otonoha.metrics import band_report
from otonoha.metrics.copies import KEYS, nearest_distance, unique_share
from otonoha.metrics.published import PUBLISHED, beside_published
from otonoha.models.musegan import windows

SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def phrases(count, seed=0, bars=2):
    """Two voices that walk up and down a scale in quarters and eighths."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        walk = np.clip(np.cumsum(rng.integers(-1, 2, 8 * bars)) + 4, 0, 7)
        upper = [(SCALE[i], 4) for i in walk[: 4 * bars]]
        lower = [(SCALE[max(i - 2, 0)] - 12, 2) for i in walk]
        made.append(phrase(upper, lower, bars=bars))
    return np.concatenate(made)


def noise(shape, seed=0):
    """One note at every step of every track, whichever."""
    pitch = np.random.default_rng(seed).integers(0, PITCHES, shape[:4])
    return np.eye(PITCHES, dtype=np.uint8)[pitch]


REAL = phrases(64)


def test_measure_names_tracks_and_pairs():
    found = band_report.measure(REAL, LOW, ("upper", "lower"))
    assert found["EB/upper"] == found["EB"] == 0
    assert found["UPC"] == pytest.approx((found["UPC/upper"] + found["UPC/lower"]) / 2)
    assert found["TD/upper-lower"] == found["TD"] > 0
    assert found["in-scale"] == 1
    assert "DP" not in found
    assert all(np.isfinite(list(found.values())))


def test_what_does_not_apply_is_left_out():
    rolls = np.zeros((2, 2, 1, 96, PITCHES), np.uint8)
    rolls[:, :, :, ::6, 0] = 1
    found = band_report.measure(rolls, LOW, ("drums", "bass"), lines=False)
    assert found["DP/drums"] == found["DP"] == 1
    assert not {"TD", "voice crossing", "clashes", "parallels", "UPC/drums"} & set(found)
    alone = band_report.measure(rolls[:, :1], LOW, ("drums",))
    assert not {"UPC", "onset coincidence", "in-scale"} & set(alone)


def test_folds_differ_in_upc_and_td_only():
    one, other = (band_report.measure(REAL, LOW, fold=fold) for fold in ("pitch-class", "musegan-legacy"))
    assert {name.split("/")[0] for name in one if one[name] != other[name]} == {"UPC", "TD"}


def test_distance_orders_good_and_bad():
    ruler = band_report.yardstick(REAL, LOW)
    wrong = REAL.copy()
    wrong[:, :, 0] = noise(REAL.shape)[:, :, 0]
    like, half, all_of_it = (
        band_report.distance(rolls, ruler) for rolls in (phrases(64, 1), wrong, noise(REAL.shape))
    )
    chance = band_report.distance(band_report.scattered(ruler.read(REAL), seed=5), ruler)
    assert 0 < like < 0.05 < 0.3 < chance < 1 < half < all_of_it
    assert band_report.distance(REAL, REAL) == 0


@pytest.mark.parametrize(
    "rolls",
    [
        np.zeros_like(REAL),
        np.ones_like(REAL),
        np.full_like(REAL, 2),
        np.random.default_rng(0).integers(0, 3, REAL.shape).astype(np.uint8),
    ],
    ids=["silent", "all onsets", "all held", "noise"],
)
def test_distance_survives_anything(rolls):
    assert 1 < band_report.distance(rolls, REAL) < 100
    assert np.isfinite(band_report.distance(REAL, rolls))


def test_phrases_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="48 pitches"):
        band_report.distance(REAL[..., :40], REAL)


def test_collapse_is_seen():
    one = np.repeat(REAL[:1], len(REAL), axis=0)
    assert unique_share(one) == 1 / len(REAL)
    assert unique_share(REAL) > 0.9
    assert band_report.distance(one, REAL) > band_report.distance(phrases(64, 1), REAL) + 0.2


def test_unique_share_tells_a_hold_from_a_repeated_note():
    held, repeated = phrase([(60, 8)]), phrase([(60, 4), (60, 4)])
    assert unique_share(np.concatenate([held, repeated, held])) == pytest.approx(2 / 3)


def test_nearest_distance():
    here = np.concatenate([phrase([(60, 16)]), phrase([(60, 8)]), phrase([(80, 4)]), phrase([])])
    learnt = np.concatenate([phrase([(60, 16)]), phrase([(40, 16)])])
    assert nearest_distance(here, learnt) == pytest.approx([0, 1 - 16 / 24, 1, 1])
    moved = phrase([(62, 16)])
    assert nearest_distance(moved, learnt).tolist() == [1]
    assert nearest_distance(moved, learnt, shifts=KEYS).tolist() == [0]
    with pytest.raises(ValueError, match="cannot be compared"):
        nearest_distance(here, REAL)


def test_a_copy_is_found_in_every_key_of_the_training():
    learnt = phrase([(60, 16)])
    for shift in windows.KEYS:
        moved = phrase([(60 + shift, 16)])
        assert nearest_distance(moved, learnt, shifts=KEYS).tolist() == [0], shift
        rows = band_report.report(moved, learnt, LOW, learnt=learnt)
        assert {r["name"]: r for r in rows}["nearest learnt phrase"]["generated"] == 0, shift


def test_drums_are_not_moved_when_copies_are_looked_for():
    learnt, moved = phrase([(60, 8)], [(50, 8)]), phrase([(62, 8)], [(50, 8)])
    assert nearest_distance(moved, learnt, shifts=KEYS, struck=[1]).tolist() == [0]
    assert nearest_distance(moved, learnt, shifts=KEYS)[0] > 0
    named = [
        {r["name"]: r for r in band_report.report(moved, learnt, LOW, tracks, learnt=learnt)}
        for tracks in (("bass", "drums"), ("bass", "piano"))
    ]
    assert [n["nearest learnt phrase"]["generated"] > 0 for n in named] == [False, True]


def test_onsets_are_on_beats_on_halves_or_elsewhere():
    rolls = phrase([(60, 1), (62, 1), (64, 2), (65, 3), (67, 9)])  # at steps 0, 1, 2, 4 and 7
    found = band_report.measure(rolls, LOW)
    shares = {name: found[f"onsets {name}"] for name in ("on beats", "on half beats", "elsewhere")}
    assert shares == pytest.approx({"on beats": 2 / 5, "on half beats": 1 / 5, "elsewhere": 2 / 5})
    assert {f"onsets {name}" for name in ("on beats", "on half beats", "elsewhere")} <= set(band_report.TWICE)


def test_report_and_its_table():
    rows = band_report.report(phrases(32, 2), REAL, LOW, ("upper", "lower"), learnt=REAL)
    named = {row["name"]: row for row in rows}
    assert named["QN"]["real"] == 1
    assert named["QN"]["chance"] == 0
    assert named["QN/upper"]["kind"] == "part"
    assert 0 < named["nearest learnt phrase"]["generated"] < 1
    gaps = [
        row["gap"]
        for row in rows
        if row["kind"] in ("metric", "distribution") and "gap" in row and row["name"] not in band_report.TWICE
    ]
    assert named["distance"]["gap"] == pytest.approx(np.mean(gaps))
    short, long = band_report.text_table(rows), band_report.text_table(rows, parts=True)
    assert "QN/upper" in long
    assert "QN/upper" not in short
    assert len(long.splitlines()) == len(rows) + 2


def test_published_tables():
    by_name = {(row.source[:12], row.model): row.numbers for row in PUBLISHED}
    assert by_name["Dong et al.,", "hybrid"]["QN/guitar"] == 0.432
    assert by_name["Dong et al.,", "jamming, given piano"].keys().isdisjoint({"EB/piano", "UPC/piano"})
    assert by_name["Dong et al.,", "composer without batch norm"]["EB/drums"] == 1
    assert by_name["Dong and Yan", "two-stage, deterministic"] == {
        "QN": 0.78,
        "PP": 0.45,
        "TD/guitar-piano": 0.87,
    }


def test_beside_published():
    ours = band_report.measure(REAL, LOW, ("upper", "lower"))
    said = beside_published({"real": ours, "model": ours})
    assert said.count("\n  model ") == 5  # of six metrics DP is not defined here
    assert "ours: not defined" in said
    assert "ours with pitch classes" in said
    assert "ours with the legacy fold" in beside_published(ours, fold="musegan-legacy")
    line = next(text for text in said.splitlines() if text.startswith("  hybrid ") and "2.350" in text)
    assert line.split()[1:] == ["2.350", "4.760", "5.450", "5.240"]


def test_distance_of_chorales():
    train, valid = chorales(2), chorales(2, split="valid")
    rng = np.random.default_rng(0)
    some = [rolls[rng.permutation(len(rolls))[:512]] for rolls in (train, valid)]
    ruler = band_report.yardstick(some[1], LOW, VOICES)
    began = time.process_time()
    near = band_report.distance(some[0], ruler)
    assert time.process_time() - began < 0.5
    assert near < 0.05
    assert 0.1 < band_report.distance(mixed(some[0]), ruler) < 0.4
    assert band_report.distance(noise(some[0].shape), ruler) > 1
