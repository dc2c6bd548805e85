"""benchmarks/jukebox_seams.py: on codes that remember, windows that know nothing of each other cost bits at the seams,
and the repair gives them back.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from otonoha.models.jukebox.batches import Telling, Windows
from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.batches_views import LevelView
from otonoha.models.jukebox.labels import Label
from otonoha.models.jukebox.model import Jukebox
from otonoha.models.jukebox.modern_config import Modern
from otonoha.models.jukebox.presets import MODERN_TINY
from otonoha.models.jukebox.windows import Shape

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import jukebox_seams

torch.set_num_threads(1)
STATES, CHANGES, CONTEXT, WINDOWS, COUNT = 4, 1 / 24, 32, 4, 2
ENTROPY = -(1 - CHANGES) * math.log2(1 - CHANGES) - CHANGES * math.log2(CHANGES / (STATES - 1))
"""Bits of a code of `remembering` for whom the one before knows."""


def remembering(seed, many):
    """Two levels: a fine code stays what it is for 24 codes on average; the coarse ones tell nothing of it."""
    rng = np.random.default_rng(seed)
    jumps = np.where(rng.random(many) < CHANGES, rng.integers(1, STATES, many), 0)
    return Song(
        str(seed),
        ((rng.integers(STATES) + np.cumsum(jumps)) % STATES, rng.integers(0, 8, many // 2)),
        LABEL,
        8000,
    )


LABEL = Label(8000)


@cache
def prior(mode, updates=240):
    """One that has learnt to remember."""
    modern = Modern(mode=mode, kv_heads=1, feedforward=64, forget=0.0)
    config = replace(
        MODERN_TINY, hops=(16, 32), level=0, codes=8, labels=None, context=CONTEXT, modern=modern
    )
    model = Jukebox(config)
    view = LevelView(0, Shape(CONTEXT, 16, 2), every=True)
    draws = Windows([remembering(i, 4000) for i in range(3)], view, Telling(labels=False), batch=16)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=5e-3)
    torch.manual_seed(0)
    model.network.train()
    for update in range(updates):
        batch = draws(update)
        loss = model.losses(batch.codes, upper=batch.upper)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.network.eval()
    return model


@cache
def table(mode):
    """Name -> its row, of 40 songs that were not learnt."""
    songs = [remembering(100 + i, WINDOWS * CONTEXT) for i in range(40)]
    material = jukebox_seams.Material.of(songs, prior(mode), WINDOWS)
    rows = jukebox_seams.rows_of(prior(mode), material, count=COUNT)
    return {row["name"].removeprefix("level 0: "): row for row in rows}


@pytest.mark.parametrize("mode", ["masked", "causal"])
def test_seams_cost_bits_and_the_repair_gives_them_back(mode):
    found = table(mode)
    assert found["serial"]["gap, seam"] == 0
    assert (
        found["parallel"]["gap, seam"] > 0.6
    )  # a new state costs some bits, three times in four, over two codes
    assert found["parallel"]["gap, seam"] > 4 * found["parallel"]["± seam"]
    assert abs(found["parallel"]["gap, elsewhere"]) < 0.3
    assert abs(found["parallel, repaired"]["gap, seam"]) < 0.5 * found["parallel"]["gap, seam"]
    for kind in ("seam", "repaired", "elsewhere"):
        assert found["real"][f"bits, {kind}"] == pytest.approx(ENTROPY, abs=0.3)


def test_only_a_prior_that_sees_both_sides_leaves_no_seam_behind_the_repair():
    causal, masked = (table(mode)["parallel, repaired"]["gap, repaired"] for mode in ("causal", "masked"))
    assert causal > 0.5  # what was written behind the repair followed codes that are no longer there
    assert masked < 0.5 * causal


@pytest.mark.parametrize("mode", ["masked", "causal"])
def test_bits_are_those_of_whole_windows(mode):
    """Against logits asked by hand, code by code."""
    model, songs = prior(mode), [remembering(7, 128), remembering(8, 128)]
    material = jukebox_seams.Material.of(songs, model, WINDOWS)
    found = jukebox_seams.bits(model, material, material.codes, [32, 72], 3)
    for k, place in enumerate((32, 72)):
        for b, song in enumerate(songs):
            window = torch.from_numpy(song.levels[0][place - 16 : place + 16])[None]
            upper = torch.from_numpy(song.levels[1][(place - 16) // 2 : (place + 16) // 2])[None, :, None]
            for j in range(3):
                asked = window.clone()
                asked[:, 16 + j :] = -1 if mode == "masked" else 0
                with torch.no_grad():
                    logits = model.logits(asked, upper=upper)[0, 16 + j]
                wanted = -torch.log_softmax(logits, 0)[window[0, 16 + j]] / math.log(2)
                assert found[k, b, j] == pytest.approx(float(wanted), abs=1e-4)


def test_a_system_is_measured_level_by_level(tmp_path, monkeypatch, capsys):
    from systems import sound
    from test_system_modern import built

    from otonoha.io.files import write

    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "cache"))
    told = []
    monkeypatch.setattr(jukebox_seams, "show", lambda *said: told.append(said))
    for i, split in enumerate(("train", "valid", "valid", "valid")):
        (tmp_path / "data" / split).mkdir(parents=True, exist_ok=True)
        write(sound(1.6, seed=i), tmp_path / "data" / split / f"{i}.wav")
    folder = built().save(tmp_path / "system")
    asked = [str(folder), "--data", str(tmp_path / "data"), "--pieces", "2", "--codes", "2", "--windows"]
    jukebox_seams.main([*asked, "2"])
    ((name, rows, command),) = told
    assert name == "jukebox_seams"
    assert command.endswith("--pieces 2 --windows 2 --codes 2")
    ways = ("real", "serial", "parallel", "parallel, repaired")
    assert [row["name"] for row in rows] == [f"level {level}: {way}" for level in (1, 0) for way in ways]
    assert {row["places"] for row in rows} == {2}
    with pytest.raises(ValueError, match=r"no held-out piece lasts 2.6 s; ask for fewer --windows"):
        jukebox_seams.main([*asked, "40", "--level", "0"])
    only = built(2).save(tmp_path / "only")
    with pytest.raises(ValueError, match="only levels under a coarser one"):
        jukebox_seams.main([str(only), *asked[1:], "2"])
    capsys.readouterr()
