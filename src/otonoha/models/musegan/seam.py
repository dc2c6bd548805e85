"""Is there a seam where phrases join? What happens at bar lines between phrases against those inside.

Axes: B pieces, M tracks, N bars, S steps of a bar, P pitches. Rolls (B, M, N, S, P) hold 0 silent, 1 onset,
2 hold. Bar line j (of N - 1) follows bar j + 1; it is a join where j + 1 is a multiple of the bars of a phrase.

Of every bar line (NaN where it is undefined):
    held    share of the tracks sounding just before the line whose notes are held across it
    leap    semitones from the last sounding step of a bar to the first of the next (0 for a note held across;
            the mean pitch of a chord), mean over the tracks that sound in both bars
    chroma  half of Σ |difference| of the pitch-class shares of the last beat and of the first: 0 alike, 1 disjoint
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otonoha.tokens.roll import HOLD


def crossings(rolls: np.ndarray, *, beats: int = 4) -> dict[str, np.ndarray]:
    """What happens at each bar line: held, leap and chroma, each (B, N-1). `beats` of a bar."""
    return {"held": _held(rolls), "leap": _leap(rolls), "chroma": _chroma(rolls, beats)}


def _held(rolls: np.ndarray) -> np.ndarray:
    before = (rolls[:, :, :-1, -1] > 0).any(-1)
    across = (rolls[:, :, 1:, 0] == HOLD).any(-1) & before
    return _ratio(across.sum(1), before.sum(1))


def _leap(rolls: np.ndarray) -> np.ndarray:
    sounding = rolls > 0
    pitch = _ratio((sounding * np.arange(rolls.shape[-1])).sum(-1), sounding.sum(-1))  # (B, M, N, S)
    played = ~np.isnan(pitch)
    first = np.take_along_axis(pitch, played.argmax(-1)[..., None], -1)[..., 0]
    last = np.take_along_axis(pitch[..., ::-1], played[..., ::-1].argmax(-1)[..., None], -1)[..., 0]
    steps = np.abs(first[:, :, 1:] - last[:, :, :-1])
    return _ratio(np.nansum(steps, 1), (~np.isnan(steps)).sum(1))


def _chroma(rolls: np.ndarray, beats: int) -> np.ndarray:
    beat = max(rolls.shape[3] // beats, 1)
    last, first = (_classes(r) for r in (rolls[:, :, :-1, -beat:], rolls[:, :, 1:, :beat]))
    return np.abs(first - last).sum(-1) / 2


def _classes(rolls: np.ndarray) -> np.ndarray:
    """Shares of the twelve pitch classes in (B, M, N, S, P), (B, N, 12); which of them is C does not matter."""
    heights = (rolls > 0).sum((1, 3))
    padded = np.pad(heights, [(0, 0), (0, 0), (0, -heights.shape[-1] % 12)])
    folded = padded.reshape(*padded.shape[:2], -1, 12).sum(2)
    return _ratio(folded, folded.sum(-1, keepdims=True))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN of nothing."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def seams(
    rolls: np.ndarray,
    phrase: int,
    *,
    tracks: Sequence[int] | None = None,
    permutations: int = 2000,
    seed: int = 0,
) -> list[dict[str, float | str]]:
    """One row per statistic: its mean at `joins` and at `inner` bar lines, the `difference`, the p-value `p`.

    p comes from permuting, within every piece, which bar lines are joins (two-sided, never 0). `detectable` is
    the difference at which p would be .05: what the test could have found. `tracks`: those looked at (without
    the drums, say).
    """
    N = rolls.shape[2]
    joins = (np.arange(1, N) % phrase) == 0
    if joins.all() or not joins.any():
        raise ValueError(f"{N} bars in phrases of {phrase} have no inner bar lines beside joins to compare")
    chosen = rolls if tracks is None else rolls[:, list(tracks)]
    rng = np.random.default_rng(seed)
    return [_row(name, values, joins, permutations, rng) for name, values in crossings(chosen).items()]


def _row(
    name: str, values: np.ndarray, joins: np.ndarray, permutations: int, rng: np.random.Generator
) -> dict[str, float | str]:
    """One statistic (B, N-1), tested."""
    known, labels = ~np.isnan(values), np.broadcast_to(joins, values.shape)
    filled = np.where(known, values, 0.0)

    def difference(labels: np.ndarray) -> float:
        there, elsewhere = labels & known, ~labels & known
        if not there.any() or not elsewhere.any():
            return 0.0
        return float(filled[there].mean() - filled[elsewhere].mean())

    seen = difference(labels)
    chance = np.abs([difference(rng.permuted(labels, axis=1)) for _ in range(permutations)])
    return {
        "name": name,
        "joins": _mean(filled[labels & known]),
        "inner": _mean(filled[~labels & known]),
        "difference": seen,
        "p": float((1 + (chance >= abs(seen) - 1e-12).sum()) / (1 + permutations)),
        "detectable": float(np.quantile(chance, 0.95)),
        "lines": int(known.sum()),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
