"""A command line in a process of its own, and tunes to try it on."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
from symusic import KeySignature, Score, TimeSignature

from otonoha.music.score import track_of


def shell(*words: Any, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "otonoha", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        **options,
    )


def tune(seed: int, bars: int = 12) -> Any:
    """A melody of quarters and eighths that wanders about C major."""
    rng = np.random.default_rng(seed)
    duration = rng.choice([240, 480], bars * 6)
    onset = np.concatenate([[0], np.cumsum(duration)[:-1]])
    scale = np.array([60, 62, 64, 65, 67, 69, 71, 72, 74, 76])
    pitch = scale[np.clip(np.cumsum(rng.integers(-2, 3, len(onset))) + 4, 0, 9)]
    score = Score(480)
    score.time_signatures.append(TimeSignature(0, 4, 4))
    score.key_signatures.append(KeySignature(0, 0, 0))
    score.tracks.append(track_of(onset, duration, pitch, name="melody"))
    return score
