"""The monotone path through attention: which character is sung in which frame, and how monotone a head is. Torch-free.

Axes: N heads, F frames, L characters. The gain of a cell says how much more than usual a frame looks at a character:

    g[f, c] = log (w[f, c] + u) / (b[c] + u)      b[c]: mean of w over the frames that see c;  u = mean of b / 10

Of a head that looks everywhere alike, or always at the same characters, it is 0 everywhere. Frames that cannot see a
character (it lies outside of their window) gain 0 from it. A *path* gives each frame a character, begins with one of
the first `most`, ends with one of the last `most`, and goes on by 0 … `most` characters a frame; it leans a little
towards an even reading.

    monotonicity = (best path through g − best path through g with the characters backwards) / F     nats a frame

The second path is what chance, or looking at a letter wherever it stands, gives away: reading forwards counts only as
far as it is better than reading backwards. 0: no order; log L and more: each frame looks at one character, in order.
"""

from __future__ import annotations

import math

import numpy as np

SOFT = 0.1
"""u, as a share of what a character is looked at on average."""
LEAN = 0.5
"""Nats that a frame loses at the far end of the text from where an even reading would be. A head that follows the words
tells far more than that; what it leaves open, or what is only noise, evenness decides. A head that follows them
faintly is right on average and wrong for a second at a time: it is leant more (`alignment.LEANS`)."""
QUICKEST = 40.0
"""Characters a second at most."""
LONGEST = 255
"""Characters that a path can go on in one frame."""


def gains(weights: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Attention (…, F, L) -> gains (…, F, L) float32. `seen` (F, L) bool: which frames see which characters."""
    seen = np.ones(weights.shape[-2:], bool) if seen is None else seen
    often = np.maximum(seen.sum(0), 1)
    usual = ((weights * seen).sum(-2, keepdims=True, dtype=np.float64) / often).astype(np.float32)
    soft = np.maximum(SOFT * usual.mean(-1, keepdims=True), np.float32(1e-12))
    return np.where(seen, np.log((weights + soft) / (usual + soft)), np.float32(0))


def most_steps(frames: int, characters: int, seconds: float) -> int:
    """How many characters a path may go on in a frame of `seconds`: nobody sings more, or else it would not reach the
    end. ValueError where it would not, with as many as a path can go on.
    """
    if characters > frames * LONGEST:
        raise ValueError(
            f"the words have {characters} characters, too many for {frames * seconds:.1f} s that sound: are they the "
            "words of this recording, and of all of it?"
        )
    return max(1, math.ceil(QUICKEST * seconds), -(-characters // max(1, frames)))


def best_paths(found: np.ndarray, most: int, lean: float = LEAN) -> tuple[np.ndarray, np.ndarray]:
    """Gains (N, F, L) -> the best path of each (N, F), and its gain (N,). Exact (Viterbi); ties stay where they are.

    `lean`: nats that a frame loses at the far end of the text from where an even reading would be.
    """
    N, F, L = found.shape
    if not 0 < L <= F * most or not 0 < most <= LONGEST:
        raise ValueError(f"no path of {F} frames and up to {most} characters a frame reads {L} characters")
    even = lean * np.abs(np.linspace(0, 1, F)[:, None] - np.linspace(0, 1, L))
    best = np.full((N, L), -np.inf)
    best[:, :most] = (found[:, 0] - even[0])[:, :most]
    steps = np.zeros((F, N, L), np.uint8)
    for f in range(1, F):
        before, best = best, best.copy()
        for step in range(1, min(most, L - 1) + 1):
            quicker = before[:, :-step] > best[:, step:]
            best[:, step:] = np.where(quicker, before[:, :-step], best[:, step:])
            steps[f, :, step:][quicker] = step
        best += found[:, f] - even[f]
    last = max(0, L - most)
    at = last + best[:, last:].argmax(1)
    totals, rows = best[np.arange(N), at], np.arange(N)
    paths = np.zeros((N, F), np.int64)
    for f in range(F - 1, -1, -1):
        paths[:, f] = at
        at = at - steps[f, rows, at]
    return paths, totals


def monotonicity(found: np.ndarray, most: int) -> np.ndarray:
    """Gains (N, F, L) -> (N,) in nats a frame; see the head of the file."""
    forwards, backwards = (best_paths(g, most)[1] for g in (found, found[:, :, ::-1]))
    return (forwards - backwards) / found.shape[1]


def even_path(frames: int, characters: int) -> np.ndarray:
    """(F,) what one knows who has not listened: every character is sung equally long."""
    return np.arange(frames) * characters // max(1, frames)


def spans(path: np.ndarray, frames: np.ndarray, characters: int, seconds: float) -> np.ndarray:
    """When each character is sung (L, 2): from where the path reaches it, up to where it has left it.

    Entry i of the `path` (F,) is the character of frame `frames[i]`, which lasts `seconds`. A character that the path
    jumps over begins and ends where it jumps.
    """
    after = np.searchsorted(path, np.arange(characters + 1))
    starts = np.append(frames, frames[-1] + 1)[after[:-1]]
    ends = (frames + 1)[np.maximum(after[1:] - 1, 0)]
    return np.stack([starts, np.maximum(starts, ends)], 1) * seconds
