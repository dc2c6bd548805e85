"""Generated phrases of a band beside real ones: every metric of `band.py` and `together.py`, and one distance.

Axes: state rolls (B, M, N, S, P) as in `played.py`. A metric has one name ("EB") and one number for each track
("EB/soprano") or pair of tracks ("TD/soprano-bass"); the name alone is their mean.

The gap of a metric is |generated - real|, averaged over tracks or pairs, in units of how far *notes drawn
independently* (`scattered`: the chords and notes of the real phrases in random order) are from the real ones: 0 is
alike, 1 is no better than chance. The gap of a distribution is its Jensen–Shannon divergence in the same way. Where
chance hardly differs from real music (no bar of either is empty), the unit is LEAST instead.
`distance` is the mean gap of metrics and distributions. It has no upper end: silence and noise are beyond chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from otonoha.metrics import band as own
from otonoha.metrics import together
from otonoha.metrics.copies import KEYS, nearest_distance, unique_share
from otonoha.metrics.played import Played, played, scattered
from otonoha.metrics.shares import divergence

Row = dict[str, object]
Parts = dict[str, dict[str, float]]
"""Metric -> track, pair of tracks, or "" for what has no parts -> number."""


class Options(TypedDict, total=False):
    """How rolls are read."""

    fold: str
    """"pitch-class", or "musegan-legacy": UPC and TD as in the published tables."""
    lines: bool
    """Whether the tracks are voices, given from the highest to the lowest (default), for voice crossing."""
    beats: int
    """Beats of a bar, 4 when not given."""
    drums: Sequence[str]
    """The tracks without pitch, "drums" when not given."""


TRACKS: Mapping[str, Callable[[Played], np.ndarray]] = {
    "EB": own.empty_bars,
    "QN": own.qualified_notes,
    "PP": own.polyphonicity,
    "rests": own.rests,
    "held bar lines": own.held_bar_lines,
    "onsets on beats": lambda band: own.onset_shares(band)["beat"],
    "onsets on half beats": lambda band: own.onset_shares(band)["half"],
    "onsets elsewhere": lambda band: own.onset_shares(band)["elsewhere"],
}
"""Of every track, also the drums."""
PITCHED: Mapping[str, Callable[[Played], np.ndarray]] = {
    "mean leap": own.mean_leap,
    "repeated notes": own.repeated_notes,
}
PAIRS: Mapping[str, Callable[[Played], dict[str, float]]] = {
    "onset coincidence": together.onset_coincidence,
    "syncopation agreement": together.syncopation_agreement,
}
DISTRIBUTIONS: Mapping[str, Callable[[Played], dict[str, np.ndarray]]] = {
    "note lengths": lambda band: _named(band, own.lengths(band), range(len(band.tracks))),
    "onset places": lambda band: _named(band, own.onset_places(band), range(len(band.tracks))),
    "intervals": lambda band: _named(band, own.intervals(band), band.pitched),
    "pitches": lambda band: _named(band, own.pitches(band), band.pitched),
    "vertical intervals": together.vertical_intervals,
}
LEAST = {"UPC": 0.5, "mean leap": 1.0, "syncopation agreement": 0.25, "unique": 0.25, "pitches": 0.25}
"""The smallest unit of a gap; 0.1 for all others."""
TWICE = ("onsets on beats", "onsets on half beats", "onsets elsewhere", "clashes", "parallels")
"""Reported, but left out of the distance: "onset places" and "vertical intervals" say it already."""


def measure(
    rolls: np.ndarray | Played, low: int = 0, tracks: Sequence[str] = (), **options: Unpack[Options]
) -> dict[str, float]:
    """All metrics of state rolls: "EB/soprano" … and their mean "EB"; "TD/soprano-bass" … and "TD"; "in-scale",
    "voice crossing" and "unique". What cannot be said of these tracks is left out (DP needs drums and bars of
    48 steps or more, TD two pitched tracks).

    low: MIDI pitch of row 0 (only the legacy fold needs it). tracks: their names, "1", "2" … when not given.
    """
    found: dict[str, float] = {}
    for name, values in _parts(_read(rolls, low, tracks, options), options).items():
        found |= {f"{name}/{part}": value for part, value in values.items() if part}
        found[name] = _mean(values)
    return found


def _read(rolls: np.ndarray | Played, low: int, tracks: Sequence[str], options: Options) -> Played:
    return played(rolls, low, tracks, beats=options.get("beats", 4), drums=options.get("drums", ("drums",)))


def _parts(band: Played, options: Options) -> Parts:
    fold, pitched = options.get("fold", "pitch-class"), band.pitched
    everyone = range(len(band.tracks))
    drummers = [i for i in everyone if i not in pitched]
    found: Parts = {name: _named(band, metric(band), everyone) for name, metric in TRACKS.items()}
    if pitched:
        found["UPC"] = _named(band, own.used_pitch_classes(band, fold), pitched)
        found |= {name: _named(band, metric(band), pitched) for name, metric in PITCHED.items()}
        found["in-scale"] = {"": together.in_scale(band)}
    if drummers and own.has_drum_mask(band.steps):
        found["DP"] = _named(band, own.drum_pattern(band), drummers)
    if len(pitched) > 1:
        found["TD"] = together.tonal_distance(band, fold)
        if options.get("lines", True):
            found["voice crossing"] = {"": together.voice_crossing(band)}
            found["clashes"] = {"": together.clashes(band)}
            found["parallels"] = {"": together.parallels(band)}
    if len(everyone) > 1:
        found |= {name: of_pairs(band) for name, of_pairs in PAIRS.items()}
    return found | {"unique": {"": unique_share(band)}}


def _named(band: Played, values: np.ndarray, which: Sequence[int]) -> dict:
    return {band.tracks[i]: values[i] if values.ndim > 1 else float(values[i]) for i in which}


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What real phrases measure, and how far chance is from them. `yardstick` makes it, once for many distances."""

    tracks: tuple[str, ...]
    low: int
    options: Options
    real: Parts
    chance: Parts
    """Of independent notes."""
    shapes: Mapping[str, Mapping[str, np.ndarray]]
    """Distributions of the real phrases."""
    units: Mapping[str, float]
    """What counts as a gap of 1."""
    grid: tuple[int, int]
    """Steps of a bar and pitches of the rolls."""

    def gaps(self, rolls: np.ndarray | Played) -> dict[str, float]:
        """The gap of every metric and distribution, by name."""
        band = self.read(rolls)
        apart = _apart(_parts(band, self.options), _shapes(band), self.real, self.shapes)
        return {name: value / self.units[name] for name, value in apart.items()}

    def read(self, rolls: np.ndarray | Played) -> Played:
        """Rolls, read as the real ones were; ValueError where their steps or pitches are others."""
        band = _read(rolls, self.low, self.tracks, self.options)
        if (band.steps, band.pitches) != self.grid:
            raise ValueError(
                f"phrases of {band.steps} steps and {band.pitches} pitches cannot be compared with real ones of "
                f"{self.grid[0]} steps and {self.grid[1]} pitches"
            )
        return band


def yardstick(
    real: np.ndarray | Played, low: int = 0, tracks: Sequence[str] = (), **options: Unpack[Options]
) -> Yardstick:
    """Measure real phrases and independent notes. Arguments as for `measure`."""
    band = _read(real, low, tracks, options)
    random = scattered(band)
    numbers, chance, shapes = _parts(band, options), _parts(random, options), _shapes(band)
    apart = _apart(chance, _shapes(random), numbers, shapes)
    units = {name: max(value, LEAST.get(name, 0.1)) for name, value in apart.items()}
    return Yardstick(band.tracks, low, options, numbers, chance, shapes, units, (band.steps, band.pitches))


def _shapes(band: Played) -> dict[str, dict[str, np.ndarray]]:
    found = {name: distribution(band) for name, distribution in DISTRIBUTIONS.items()}
    return {name: values for name, values in found.items() if values}


def _apart(numbers: Parts, shapes: Mapping, real: Parts, real_shapes: Mapping) -> dict[str, float]:
    """How far metrics and distributions are from the real ones, means over tracks or pairs."""
    found = {
        name: _mean({part: abs(numbers[name][part] - value) for part, value in values.items()})
        for name, values in real.items()
    }
    found["unique"] = max(real["unique"][""] - numbers["unique"][""], 0.0)  # more variety is no fault
    for name, values in real_shapes.items():
        found[name] = _mean({part: divergence(shapes[name][part], values[part]) for part in values})
    return found


def distance(
    generated: np.ndarray | Played,
    real: np.ndarray | Yardstick,
    low: int = 0,
    tracks: Sequence[str] = (),
    **options: Unpack[Options],
) -> float:
    """How far generated phrases are from real ones, for choosing between models: 0 for the real phrases
    themselves, about 0.7 for independent notes, more for silence and noise. Two sets of real chorale phrases:
    0.03 with 512 phrases, 0.06 with 32. Give a `yardstick` of the real phrases where it is asked for often.
    """
    return overall(_known(real, low, tracks, options).gaps(generated))


def overall(gaps: Mapping[str, float]) -> float:
    """The distance: the mean of the gaps, each counted once."""
    return _mean({name: gap for name, gap in gaps.items() if name not in TWICE})


def _known(real: np.ndarray | Yardstick, low: int, tracks: Sequence[str], options: Options) -> Yardstick:
    return real if isinstance(real, Yardstick) else yardstick(real, low, tracks, **options)


def report(
    generated: np.ndarray,
    real: np.ndarray | Yardstick,
    low: int = 0,
    tracks: Sequence[str] = (),
    *,
    learnt: np.ndarray | None = None,
    **options: Unpack[Options],
) -> list[Row]:
    """Rows of name, kind ("metric", "part" of one, "distribution", "distance"), generated, real, chance and gap;
    what a row lacks is not in it.

    learnt: state rolls that the model learnt from; adds the mean distance of the phrases to the nearest of them,
    in the nearest of twelve keys.
    """
    known = _known(real, low, tracks, options)
    band = known.read(generated)
    ours, gaps = _parts(band, known.options), known.gaps(band)
    rows: list[Row] = []
    for name, values in ours.items():
        sides = {"generated": values, "real": known.real[name], "chance": known.chance[name]}
        means = {side: _mean(numbers) for side, numbers in sides.items()}
        rows.append({"name": name, "kind": "metric", **means, "gap": gaps[name]})
        rows += [
            {"name": f"{name}/{part}", "kind": "part", **{side: sides[side][part] for side in sides}}
            for part in values
            if part
        ]
    rows += [{"name": name, "kind": "distribution", "gap": gaps[name]} for name in known.shapes]
    if learnt is not None:
        struck = [i for i in range(len(band.tracks)) if i not in band.pitched]
        near = nearest_distance(generated, learnt, shifts=KEYS, struck=struck)
        rows.append({"name": "nearest learnt phrase", "kind": "metric", "generated": float(near.mean())})
    return [*rows, {"name": "distance", "kind": "distance", "gap": overall(gaps)}]


def text_table(rows: Sequence[Row], *, parts: bool = False) -> str:
    """The report for a terminal; `parts` shows every track and pair too."""
    head = f"{'':<38}{'generated':>10}{'real':>10}{'chance':>10}{'gap':>8}"
    lines = [head, "-" * len(head)]
    for row in rows:
        if row["kind"] == "part" and not parts:
            continue
        cells = (f"{row[c]:>10.3f}" if c in row else " " * 10 for c in ("generated", "real", "chance"))
        gap = f"{row['gap']:>8.2f}" if "gap" in row else ""
        name = f"  {row['name']}" if row["kind"] == "part" else f"{row['name']}"
        lines.append((f"{name:<38}" + "".join(cells) + gap).rstrip())
    return "\n".join(lines)
