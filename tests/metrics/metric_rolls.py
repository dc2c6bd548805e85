"""Hand-made state rolls, and the real chorales as rolls, for the tests of metrics."""

import os
from pathlib import Path

import numpy as np
import pytest

LOW, PITCHES = 36, 48
VOICES = ("soprano", "alto", "tenor", "bass")


def phrase(*tracks, bars=1, steps=16):
    """(1, M, N, S, P): each track a list of (pitch or pitches or None, steps), filled up with silence."""
    roll = np.zeros((len(tracks), bars * steps, PITCHES), np.uint8)
    for track, told in enumerate(tracks):
        at = 0
        for pitch, length in told:
            for one in [] if pitch is None else np.atleast_1d(pitch):
                roll[track, at : at + length, one - LOW] = 2
                roll[track, at, one - LOW] = 1
            at += length
        assert at <= bars * steps
    return roll.reshape(1, len(tracks), bars, steps, PITCHES)


def tied(roll):
    """The same phrase with its first notes begun before it."""
    changed = roll.copy()
    first = changed[:, :, 0, 0]
    first[first == 1] = 2
    return changed


def of_lines(lines, bars):
    """(B, T, M) MIDI pitches, -1 for silence -> (B, M, N, S, P); equal neighbours are one note."""
    pitch = np.asarray(lines).transpose(0, 2, 1)
    before = np.concatenate([np.full((*pitch.shape[:2], 1), -1), pitch[:, :, :-1]], axis=2)
    roll = np.zeros((*pitch.shape, PITCHES), np.uint8)
    at = np.nonzero(pitch >= 0)
    roll[(*at, pitch[at] - LOW)] = np.where(pitch == before, 2, 1)[at]
    return roll.reshape(*pitch.shape[:2], bars, -1, PITCHES)


def chorales(bars, *, hop=16, split="train"):
    """Phrases of real chorales (jsb-chorales), from the first step of each piece on."""
    home = os.environ.get("OTONOHA_DATA")
    if not home or not (Path(home) / "jsb-chorales" / "Jsb16thSeparated.json").exists():
        pytest.skip("jsb-chorales is not there: OTONOHA_DATA names the folder that holds it")
    from otonoha.data.jsb import jsb_arrays

    long = 16 * bars
    cut = [p[s : s + long] for p in jsb_arrays()[split] for s in range(0, len(p) - long + 1, hop)]
    return of_lines(np.stack(cut), bars)


def mixed(rolls, seed=0):
    """Each track from another phrase: what the tracks have in common is lost."""
    rng = np.random.default_rng(seed)
    return np.stack([rolls[rng.permutation(len(rolls)), m] for m in range(rolls.shape[1])], axis=1)
