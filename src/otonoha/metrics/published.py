"""The tables printed in the MuseGAN papers, as data, and ours beside them.

Their data cannot be had (the authors lost the arrays), so the figures are quoted, not recomputed. Every UPC and TD
here was computed with the legacy fold (`metrics.band.fold_pitch`), on bars of 96 steps of pop music: they show what
the systems reached on their own data, and stand beside ours for the order of magnitude only.
Keys are those of `metrics.band_report.measure`; per cents are given as shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otonoha.metrics.band import FOLDS
from otonoha.music.suggest import one_of

MUSEGAN = "Dong et al., MuseGAN, AAAI 2018, Tables 1 and 2"
BINARY = "Dong and Yang, binary neurons, ISMIR 2018, Table 1"
METRICS = {
    "EB": "empty bars / bars",
    "UPC": "pitch classes used in a bar",
    "QN": "notes that are no fragments / notes",
    "DP": "drum onsets on the pattern / onsets",
    "PP": "steps with more than two pitches / steps",
    "TD": "tonal distance between tracks",
}
_BAND = ("bass", "drums", "guitar", "piano", "strings")
_PITCHED = ("bass", "guitar", "piano", "strings")
_PAIRS = ("bass-guitar", "bass-strings", "bass-piano", "guitar-strings", "guitar-piano", "piano-strings")


@dataclass(frozen=True, eq=False)
class Printed:
    """One row of a printed table."""

    model: str
    source: str
    numbers: Mapping[str, float]
    """Keys as `measure` gives them, "EB/bass"; what the paper does not print is missing."""


def _musegan(model: str, eb: str = "", upc: str = "", qn: str = "", dp: str = "", td: str = "") -> Printed:
    """A row of Tables 1 and 2: EB, QN and DP in per cent; "-" where the paper has none."""
    columns = (
        ("EB", _BAND, eb, 100),
        ("UPC", _PITCHED, upc, 1),
        ("QN", _PITCHED, qn, 100),
        ("DP", ("drums",), dp, 100),
        ("TD", _PAIRS, td, 1),
    )
    numbers = {
        f"{metric}/{part}": round(float(text) / unit, 5)
        for metric, parts, texts, unit in columns
        for part, text in zip(parts, texts.split())
        if text != "-"
    }
    return Printed(model, MUSEGAN, numbers)


def _binary(model: str, qn: float, pp: float, td: float) -> Printed:
    return Printed(model, BINARY, {"QN": qn, "PP": pp, "TD/guitar-piano": td})


PUBLISHED = (
    _musegan(
        "training data",
        "8.06 8.06 19.4 24.8 10.1",
        "1.71 3.08 3.28 3.38",
        "90.0 81.9 88.4 89.6",
        "88.6",
        "1.57 1.58 1.51 1.10 1.02 1.04",
    ),
    _musegan("training data, shuffled", td="1.59 1.59 1.56 1.14 1.12 1.13"),
    _musegan(
        "jamming",
        "6.59 2.33 18.3 22.6 6.10",
        "1.53 3.69 4.13 4.09",
        "71.5 56.6 62.2 63.1",
        "93.2",
        "1.56 1.60 1.54 1.05 .99 1.05",
    ),
    _musegan(
        "composer",
        "0.01 28.9 1.34 0.02 0.01",
        "2.51 4.20 4.89 5.19",
        "49.5 47.4 49.9 52.5",
        "75.3",
        "1.37 1.36 1.30 .95 .98 .91",
    ),
    _musegan(
        "hybrid",
        "2.14 29.7 11.7 17.8 6.04",
        "2.35 4.76 5.45 5.24",
        "44.6 43.2 45.5 52.0",
        "71.3",
        "1.34 1.35 1.32 .85 .85 .83",
    ),
    _musegan(
        "composer without batch norm",
        "92.4 100 12.5 0.68 0.00",
        "1.00 2.88 2.32 4.72",
        "0.00 22.8 31.1 26.2",
        "0.0",
    ),
    _musegan(
        "jamming, given piano",
        "4.60 3.47 13.3 - 3.44",
        "2.05 3.79 - 4.23",
        "73.9 58.8 - 62.3",
        "91.6",
        "1.51 1.53 1.50 1.04 .95 1.00",
    ),
    _musegan(
        "composer, given piano",
        "0.65 20.7 1.97 - 1.49",
        "2.51 4.57 - 5.10",
        "53.5 48.4 - 59.0",
        "84.5",
        "1.41 1.36 1.40 .96 1.01 .95",
    ),
    _musegan(
        "hybrid, given piano",
        "2.09 4.53 10.3 - 4.05",
        "2.86 4.43 - 4.32",
        "43.3 55.6 - 67.1",
        "71.8",
        "1.39 1.36 1.38 .96 .94 .95",
    ),
    _binary("training data", 0.88, 0.48, 0.96),
    _binary("pretrained, Bernoulli", 0.67, 0.20, 0.98),
    _binary("pretrained, threshold", 0.72, 0.22, 1.00),
    _binary("two-stage, stochastic", 0.42, 0.26, 0.99),
    _binary("two-stage, deterministic", 0.78, 0.45, 0.87),
    _binary("joint, stochastic", 0.18, 0.19, 0.95),
    _binary("joint, deterministic", 0.55, 0.19, 1.00),
    _binary("end-to-end, stochastic", 0.67, 0.16, 1.40),
    _binary("end-to-end, deterministic", 0.28, 0.29, 1.10),
    _binary("ablated-I, Bernoulli", 0.61, 0.19, 1.00),
    _binary("ablated-I, threshold", 0.64, 0.20, 1.00),
    _binary("ablated-II, Bernoulli", 0.35, 0.14, 1.30),
    _binary("ablated-II, threshold", 0.37, 0.14, 1.40),
)


def beside_published(
    measures: Mapping[str, Mapping[str, float]] | Mapping[str, float], fold: str = "pitch-class"
) -> str:
    """Our figures beside the printed ones, metric by metric, for a terminal.

    measures: what `measure` gives, or several of them by name; fold: the one they were computed with.
    """
    one_of(fold, FOLDS, "fold")
    several = {name: row for name, row in measures.items() if isinstance(row, Mapping)}
    ours = several or {"ours": {name: float(str(value)) for name, value in measures.items()}}
    blocks = [_block(metric, ours) for metric in METRICS]
    which = "the legacy fold" if fold == "musegan-legacy" else "pitch classes"
    note = (
        f"UPC and TD: ours with {which}, theirs with the legacy fold. The printed figures are of other data (pop,\n"
        f"96 steps a bar) and cannot be recomputed. {MUSEGAN};\nPP and rows with * {BINARY}."
    )
    return "\n\n".join([*blocks, note])


def _block(metric: str, ours: Mapping[str, Mapping[str, float]]) -> str:
    theirs = {f"{row.model}{' *' if row.source == BINARY else ''}": row.numbers for row in PUBLISHED}
    lines = [f"{metric}: {METRICS[metric]}", *_lines(metric, "published", theirs)]
    return "\n".join([*lines, *(_lines(metric, "ours", ours) or ["  ours: not defined for these tracks"])])


def _lines(metric: str, title: str, rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A head and one line for each row that has the metric: its parts, in the order in which they appear."""
    keys = [key for row in rows.values() for key in row if key == metric or key.startswith(f"{metric}/")]
    columns = sorted(dict.fromkeys(keys), key=lambda key: key == metric)
    names = [_short(key.partition("/")[2]) or "mean" for key in columns]
    if not columns:
        return []
    head = f"  {title:<30}" + "".join(f"{name:>9}" for name in names)
    given = {name: row for name, row in rows.items() if set(row) & set(columns)}
    return [head, *(f"  {name:<30}{_cells(row, columns)}".rstrip() for name, row in given.items())]


def _cells(row: Mapping[str, float], columns: Sequence[str]) -> str:
    return "".join(f"{row[key]:>9.3f}" if key in row else " " * 9 for key in columns)


def _short(part: str) -> str:
    """What fits a column: "sop-bas" for a pair."""
    return "-".join(name[:3] for name in part.split("-")) if "-" in part else part[:8]
