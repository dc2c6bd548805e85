"""Generated melodies beside real ones: one table, every metric of the other files.

Conventions
- A *number* (mean leap, in-key share, …) is taken per score; the table shows the mean of both sides, the
  real standard deviation, and the difference of the means in pooled standard deviations (0 is alike, beyond 1
  is far; clipped to ±99, 0 where both sides are constant and equal).
- A *distribution* (intervals, durations, …) is averaged over the scores of a side, so a long piece counts no
  more than a short one; the table shows the Jensen–Shannon divergence in bits (0 equal … 1 disjoint) and the
  overlap (1 equal … 0 disjoint).
- Scores without notes stay out of all this; their share is the row `empty`. Scores for which a distribution
  is undefined (a piece of one phrase has no phrase lengths) stay out of that row; if a side has none left,
  overlap is 0 and divergence 1, or 1 and 0 if neither side has any.
Measure: `measure`. Report: `report`, then `text_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from symusic import Score

from otonoha.metrics import pitch, rhythm, structure
from otonoha.metrics.line import Line, line
from otonoha.metrics.shares import average_shares, divergence, mean, overlap, standardised_difference

Row = dict[str, object]
NUMBERS: Mapping[str, Callable[[Line], float]] = {
    "notes": len,
    "pitch range": pitch.pitch_range,
    "mean leap": pitch.mean_leap,
    "repeated notes": pitch.repeated_note_rate,
    "in key": pitch.in_key,
    "pitch-class entropy": pitch.pitch_class_entropy,
    "notes per quarter": rhythm.note_density,
    "rest share": rhythm.rest_share,
    "onsets on beats": lambda tune: rhythm.onset_shares(tune)["beat"],
    "onsets on half beats": lambda tune: rhythm.onset_shares(tune)["half"],
    "onsets on quarter beats": lambda tune: rhythm.onset_shares(tune)["quarter"],
    "syncopation": rhythm.syncopation,
    **{
        f"bars alike at {lag}": lambda tune, lag=lag: structure.lag_similarity(tune, [lag])[lag]  # type: ignore[misc]
        for lag in structure.LAGS
    },
    "bars alike at 4, transposed": lambda tune: structure.lag_similarity(tune, [4], up_to_transposition=True)[
        4
    ],
    "repeated share": structure.repeated_share,
    "phrases of whole bars": structure.whole_bar_phrases,
}
DISTRIBUTIONS: Mapping[str, Callable[[Line], np.ndarray]] = {
    "degrees": lambda tune: pitch.pitch_classes(tune, key=pitch.key_of(tune)),
    "intervals": pitch.interval_distribution,
    "durations": rhythm.duration_distribution,
    "repeat lengths": structure.repeat_distribution,
    "phrase lengths": structure.phrase_distribution,
}


def measure(music: Score | Line) -> dict[str, float]:
    """All numbers of one score, by name."""
    tune = line(music)
    return {name: float(number(tune)) for name, number in NUMBERS.items()}


def report(generated: Sequence[Score | Line], real: Sequence[Score | Line]) -> list[Row]:
    """One row per metric: name, kind ("number" | "distribution") and the columns described above."""
    lines = {"generated": [line(s) for s in generated], "real": [line(s) for s in real]}
    full = {side: [tune for tune in tunes if len(tune)] for side, tunes in lines.items()}
    empty = {side: mean(np.array([not len(tune) for tune in tunes])) for side, tunes in lines.items()}
    rows: list[Row] = [{"name": "empty", "kind": "share", **empty}]
    measured = {side: [measure(tune) for tune in tunes] for side, tunes in full.items()}
    for name in NUMBERS:
        rows.append(_number_row(name, *(np.array([m[name] for m in measured[s]]) for s in lines)))
    for name, distribution in DISTRIBUTIONS.items():
        rows.append(_distribution_row(name, *([distribution(t) for t in full[s]] for s in lines)))
    return rows


def _number_row(name: str, generated: np.ndarray, real: np.ndarray) -> Row:
    return {
        "name": name,
        "kind": "number",
        "generated": mean(generated),
        "real": mean(real),
        "real_sd": float(real.std()) if len(real) else 0.0,
        "difference": standardised_difference(generated, real),
    }


def _distribution_row(name: str, generated: list[np.ndarray], real: list[np.ndarray]) -> Row:
    ours, theirs = average_shares(generated), average_shares(real)
    return {
        "name": name,
        "kind": "distribution",
        "divergence": divergence(ours, theirs),
        "overlap": overlap(ours, theirs),
        "generated_shares": [round(float(x), 5) for x in ours],
        "real_shares": [round(float(x), 5) for x in theirs],
    }


def text_table(rows: Sequence[Row]) -> str:
    """The report for a terminal."""
    head = f"{'':<30}{'generated':>10}{'real':>10}{'± sd':>9}   difference"
    lines = [head, "-" * len(head)]
    for row in rows:
        if row["kind"] == "distribution":
            said = f"divergence {row['divergence']:.3f} bits, overlap {row['overlap']:.2f}"
            lines.append(f"{row['name']:<30}{said}")
            continue
        sides = f"{row['name']:<30}{row['generated']:>10.3f}{row['real']:>10.3f}"
        spread = f"{row['real_sd']:>9.3f}   {row['difference']:+.2f} sd" if "real_sd" in row else ""
        lines.append(sides + spread)
    return "\n".join(lines)
