"""Every test of this folder has its own cache; tiny tunes to make corpora of."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from symusic import KeySignature, Score, Tempo, TimeSignature

from otonoha.music.tracks import track_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch, request):
    """A fresh cache; tests of real corpora (`test_real_…`) share one, so that each is read once."""
    if request.node.name.startswith("test_real_"):
        folder = tmp_path_factory.getbasetemp() / "real-corpora"
    else:
        folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("OTONOHA_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """OTONOHA_DATA, or a skip that says so."""
    folder = os.environ.get("OTONOHA_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("OTONOHA_DATA names no folder: the provided corpora are not here")
    return Path(folder)


def _tune(seed: int, *, notes: int = 40, shift: int = 0, tpq: int = 480, qpm: float = 120.0) -> Score:
    """A random melody; the same seed gives the same tune (or its beginning), `shift` semitones up."""
    pitches, rhythm = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    length = rhythm.choice([1, 2, 4], notes) * (tpq // 4)
    onset = np.concatenate([[0], np.cumsum(length)[:-1]])
    pitch = 60 + shift + np.clip(np.cumsum(pitches.integers(-4, 5, notes)), -20, 20)
    score = Score(tpq)
    score.tempos.append(Tempo(0, qpm))
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.key_signatures.append(KeySignature(0, 0, 0))
    score.tracks.append(track_of(onset, length, pitch, name="melody"))
    return score


@pytest.fixture
def tune():
    """A function that makes a tune."""
    return _tune


@pytest.fixture
def write_tune():
    """A function that writes such a tune as a MIDI file."""

    def write(path: Path, seed: int, **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_tune(seed, **options).dumps_midi())
        return path

    return write
