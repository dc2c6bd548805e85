"""What `otonoha show` prints, and the registry of codecs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from symusic import KeySignature, Score, TextMeta, TimeSignature

from otonoha.music.tracks import track_of
from otonoha.tokens import CODECS, codec, from_dict
from otonoha.tokens.book import Book
from otonoha.tokens.show import show


def melody() -> Score:
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, 3, 4))
    score.key_signatures.append(KeySignature(0, 1, 0))
    score.markers.append(TextMeta(0, "pickup:1"))
    score.tracks.append(track_of(np.array([0, 480, 1440]), np.array([480, 720, 960]), np.array([67, 72, 71])))
    return score


def test_notes_in_words():
    lines = show(codec("notes"), melody()).splitlines()
    assert lines[0].endswith("5 positions")
    assert lines[1].split() == ["quarter", "note", "bar", "beat", "pitch", "duration", "key", "metre", "left"]
    assert [line.split() for line in lines[3:]] == [
        ["0", "0", "3", "G4", "1", "G", "major", "3/4", "3"],
        ["1", "1", "1", "C5", "1", "1/2", "G", "major", "3/4", "2"],
        ["2", "1/2", "1", "2", "1/2", "rest", "1/2", "G", "major", "3/4", "2"],
        ["3", "1", "3", "B4", "2", "G", "major", "3/4", "2"],
        ["5", "2", "2", "END", "1/24", "G", "major", "3/4", "1"],
    ]


def test_grid_and_book_in_words():
    grid = show(codec("grid", voices=1), melody(), limit=6).splitlines()
    assert [line.split()[-4] for line in grid[3:9]] == ["G4", "-", "-", "-", "C5", "-"]
    assert grid[-1] == "… and 14 more"
    book = show(Book.learn([melody()]), melody()).splitlines()
    assert [line.split() for line in book[3:5]] == [["0", "G4", "1"], ["1", "C5", "3/2"]]
    assert book[-1].split() == ["4", "1/2", "START", "0"]


def test_registry():
    assert all(codec(name).name == name for name in CODECS)
    with pytest.raises(ValueError, match="needs its name"):
        from_dict({"resolution": 24})
    with pytest.raises(ValueError, match="unknown codec"):
        from_dict({"name": "midi"})


def test_importing_the_registry_is_cheap():
    code = "import sys, otonoha.tokens; print(sorted({'numpy', 'symusic', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
