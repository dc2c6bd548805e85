"""benchmarks/ship_sound.py, tiny: from a folder of sound and notes to a system, and on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from symusic import Note, Score, Track

from otonoha.models.jukebox.model import Jukebox
from otonoha.models.pretrained import load
from otonoha.models.vqvae.model import VQVAE

RATE = 8000


def song(folder, name, rng):
    """Four notes of half a second as sound, and as a score beside it."""
    score, track = Score(480), Track()
    for k, pitch in enumerate(rng.integers(50, 80, 4).tolist()):
        track.notes.append(Note(k * 480, 480, pitch, 80))
    score.tracks.append(track)
    pitches = np.repeat([note.pitch for note in track.notes], RATE // 2)
    sound = 0.3 * np.sin(2 * np.pi * 440 * 2 ** ((pitches - 69) / 12) * np.arange(len(pitches)) / RATE)
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{name}.wav", sound, RATE)
    score.dump_midi(folder / f"{name}.mid")


def test_from_a_folder_to_a_system(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OTONOHA_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    sys.modules.pop("ship_sound", None)
    import ship_sound

    rng = np.random.default_rng(0)
    for split, many in (("train", 2), ("valid", 1)):
        for i in range(many):
            song(tmp_path / "data" / split, f"{split}{i}", rng)
    VQVAE("modern_tiny").save(tmp_path / "codec")
    asked = ["--codec", str(tmp_path / "codec"), "--rendered", str(tmp_path / "data"), "--recipe", "tiny"]
    asked += ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--windows", "2", "--quiet"]
    found = ship_sound.main(asked)
    assert set(found) == {"level 2", "level 1", "level 0"}
    for figures in found.values():
        assert {"bits a second", "score exchanged", "score taken away", "n-gram"} <= set(figures)
    assert {"upper exchanged", "written in 8 steps"} <= set(found["level 0"])
    system = load(tmp_path / "out")
    assert [system.prior(level).masked for level in (2, 1, 0)] == [False, True, True]
    assert ship_sound.main([*asked, "--pack"]) == found
    assert Jukebox.load(tmp_path / "run" / "level2").lessons is not None
    capsys.readouterr()
