"""The count baselines of benchmarks/baselines.py: exact, causal, blind to transposition."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from metric_tunes import tune

from otonoha.tokens.notes import Notes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import baselines

JSB = Path(os.environ.get("OTONOHA_DATA", "")) / "jsb-chorales" / "Jsb16thSeparated.json"
RNG = np.random.default_rng(0)


def chorale(frames=32):
    steps = RNG.integers(-2, 3, (frames, 4)) * (RNG.random((frames, 4)) < 0.3)
    return np.array([72, 67, 60, 48]) + np.cumsum(steps, axis=0)


def nats_of(train, pieces):
    """(pieces, 4, frames) of pieces of equal length."""
    counted, asked = baselines.jsb_contexts(train), baselines.jsb_contexts(pieces)
    nats = baselines.mixture_nats(baselines.JSB_CHAINS, baselines._JSB_SIZE, counted, asked)
    return nats.reshape(len(pieces), 4, -1)


@pytest.mark.parametrize(("frame", "voice"), [(0, 0), (0, 3), (9, 1), (31, 2)])
def test_the_pitches_of_a_note_share_one(frame, voice):
    train, piece = [chorale() for _ in range(20)], chorale()
    pitches = [-1, *range(20, 100)]
    changed = np.repeat(piece[None], len(pitches), axis=0)
    changed[:, frame, voice] = pitches
    total = np.exp(-nats_of(train, changed)[:, voice, frame]).sum()
    assert 0.5 < total <= 1 + 1e-9  # the rest goes to pitches beyond 20 … 99


@pytest.mark.parametrize(("frame", "voice"), [(5, 0), (9, 2), (31, 3)])
def test_a_note_changes_nothing_before_it(frame, voice):
    train, piece = [chorale() for _ in range(10)], chorale()
    changed = piece.copy()
    changed[frame, voice] += 5
    changed[frame + 1 :] += 3
    before, after = nats_of(train, [piece, changed])
    assert np.array_equal(before[:, :frame], after[:, :frame])
    assert np.array_equal(before[:voice, frame], after[:voice, frame])


def test_rests_and_nan_are_the_same():
    piece = chorale().astype(float)
    piece[3:6, 2] = np.nan
    symbols, columns = baselines.jsb_contexts([piece])
    other, other_columns = baselines.jsb_contexts([np.nan_to_num(piece, nan=-1)])
    assert np.array_equal(symbols, other)
    assert all(np.array_equal(columns[name], other_columns[name]) for name in columns)


def melodies(count, shift=0):
    rng = np.random.default_rng(1)
    return [
        Notes().encode(tune(60 + shift + np.cumsum(rng.choice([-2, 0, 2], 30)), rng.choice([0.5, 1, 2], 30)))
        for _ in range(count)
    ]


def test_melody_figures_add_up():
    train, valid = melodies(20)[:15], melodies(20)[15:]
    found = baselines.melody_backoff(train, valid)
    assert found["nats"] == pytest.approx(found["pitch"] + found["duration"])
    assert 0.8 < found["pitch"] < 2.0  # three equally likely steps: 1.1
    assert 0.8 < found["duration"] < 2.0


def test_melody_contexts_are_causal():
    tokens = melodies(1)[0]
    changed = {**tokens.streams, "pitch": tokens.streams["pitch"].copy()}
    changed["pitch"][20] += 4
    here, there = (baselines._melody_columns(s) for s in (tokens.streams, changed))
    assert all(np.array_equal(here[name][:20], there[name][:20]) for name in here)
    known = set(here) - {"symbol", "duration", "kind0", "i0", "target"}  # what is predicted, and leads to it
    assert all(here[name][20] == there[name][20] for name in known)


@pytest.mark.skipif(not JSB.is_file(), reason="needs the JSB chorales in OTONOHA_DATA")
def test_one_chain_on_the_chorales():
    splits = {k: [np.array(p) for p in v] for k, v in json.loads(JSB.read_text("utf-8")).items()}
    found = baselines.jsb_backoff(
        splits["train"], splits["valid"], splits["test"], chains=baselines.JSB_CHAINS[:1]
    )
    assert found["valid"] < 0.50
    assert found["test"] < 0.51
