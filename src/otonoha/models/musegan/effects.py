"""What the knobs do, measured: who changes when one is turned, all others locked, and what one hears of it.

Axes: B takes, M tracks, N bars, S steps of a bar, P pitches. Rolls hold 0 silent, 1 onset, 2 hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from otonoha.metrics import band as alone
from otonoha.metrics import together
from otonoha.metrics.played import Played, played
from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.knobs import Source, codes_of
from otonoha.models.musegan.shape import KNOBS, PRIVATE, Noise, Widths
from otonoha.music.suggest import one_of

if TYPE_CHECKING:
    from otonoha.models.musegan.model import MuseGAN

REDRAWN = 1_000_003
"""A knob of seed s is redrawn from seed s + REDRAWN."""
MIXES = (0.25, 0.5, 1.0)
Row = dict[str, float | str]


@dataclass(frozen=True, eq=False)
class Band:
    """What is needed of a model: its generator and how it plays. `rolls`: codes -> (B, M, N, S, P) states, the
    same for the same codes; `low` is the MIDI number of the lowest pitch.
    """

    generator: Source
    rolls: Callable[[Noise], np.ndarray]
    tracks: Sequence[str]
    widths: Widths
    train_bars: int
    bars: int = 4
    low: int = 36
    device: torch.device | None = None

    @classmethod
    def of(cls, model: MuseGAN, *, bars: int = 4, given: np.ndarray | None = None) -> Band:
        """A model playing so many bars, beside the given track (N, S, P) if it accompanies."""
        heard = None if given is None else torch.from_numpy(given)[None]

        @torch.no_grad()
        def rolls(codes: Noise) -> np.ndarray:
            alongside = None if heard is None else heard.expand(len(codes), -1, -1, -1)
            return model.design.write(codes, alongside, 1.0)

        config, device = model.config, next(model.networks.parameters()).device
        return cls(
            model.design, rolls, config.tracks, model.design.widths, config.bars, bars, config.low, device
        )

    @property
    def knobs(self) -> list[str]:
        """Those that the design has."""
        return [k for k in KNOBS if getattr(self.widths, k)]

    def codes(self, seeds: Iterable[int], **turned: object) -> Noise:
        """The codes of the first take of each seed (B seeds), with controls turned."""
        return _together(
            [
                codes_of(
                    Controls(**turned),  # type: ignore[arg-type]
                    seed,
                    0,
                    self.generator,
                    tracks=self.tracks,
                    bars=self.bars,
                    widths=self.widths,
                    train_bars=self.train_bars,
                    device=self.device,
                )
                for seed in seeds
            ]
        )


def _together(noises: Sequence[Noise]) -> Noise:
    return Noise(*(torch.cat([getattr(n, f.name) for n in noises]) for f in fields(Noise)))


# -- who changes -------------------------------------------------------------------------------------------


def effects(
    band: Band, seeds: Sequence[int], knobs: Sequence[str] = (), *, mixes: Sequence[float] = MIXES
) -> list[Row]:
    """Rows of one knob at one mix (of private knobs: of each track alone), means over the seeds.

    changed: share of all steps at which the state of any pitch differs; changed/TRACK and changed/bar N: of the
    steps of that track or bar; moved/FEATURE: mean absolute change of a feature of the turned track (or of all).
    """
    for knob in knobs:
        one_of(knob, band.knobs, "knob of this model")
    before = band.rolls(band.codes(seeds))
    rows = []
    for knob in knobs or band.knobs:
        for track in range(len(band.tracks)) if knob in PRIVATE else [None]:
            for mix in mixes:
                after = _turned(band, seeds, knob, mix, track)
                rows.append(_row(band, before, after, knob, mix, track))
    return rows


def _turned(band: Band, seeds: Sequence[int], knob: str, mix: float, track: int | None) -> np.ndarray:
    scope = {} if track is None else {"only_tracks": str(track + 1)}
    turned = [band.codes([s], **{f"{knob}_seed": s + REDRAWN, f"{knob}_mix": mix, **scope}) for s in seeds]
    return band.rolls(_together(turned))


def _row(band: Band, before: np.ndarray, after: np.ndarray, knob: str, mix: float, track: int | None) -> Row:
    changed = (before != after).any(-1).mean((0, 3))  # (M, N)
    name = knob if track is None else f"{knob} of {band.tracks[track]}"
    row: Row = {"name": f"{name} at {mix:g}", "knob": knob, "mix": mix, "changed": float(changed.mean())}
    if track is not None:
        row["track"] = band.tracks[track]
    row |= {f"changed/{t}": float(c) for t, c in zip(band.tracks, changed.mean(1))}
    row |= {f"changed/bar {n + 1}": float(c) for n, c in enumerate(changed.mean(0))}
    was, became = (_heard(band, r, track) for r in (before, after))
    return row | {f"moved/{n}": _mean(np.abs(became[n] - was[n])) for n in was}


def _heard(band: Band, rolls: np.ndarray, track: int | None) -> dict[str, np.ndarray]:
    """The features of takes, or of one of their tracks."""
    which = slice(None) if track is None else slice(track, track + 1)
    return features(rolls[:, which], band.tracks[which], band.low)


def _mean(values: np.ndarray) -> float:
    """Of the takes that sound; 0 where none does."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


# -- features ----------------------------------------------------------------------------------------------


def features(rolls: np.ndarray, tracks: Sequence[str], low: int) -> dict[str, np.ndarray]:
    """What one hears of each take, (B,) each, NaN of silence; features of pairs only where there are two tracks.

    pitch: mean MIDI number of the notes; density: notes per bar and track; length: steps per note; the others as
    in `metrics.band` and `metrics.together`.
    """
    heard = [_features(played(take[None], low, tracks)) for take in rolls]
    return {name: np.array([h[name] for h in heard]) for name in heard[0]}


def _features(band: Played) -> dict[str, float]:
    n = band.notes
    found: dict[str, np.ndarray] = {
        "pitch": n.pitch,
        "density": np.array(len(n) / (len(band.tracks) * band.bars)),
        "length": n.length,
        "rests": alone.rests(band),
        "leap": alone.mean_leap(band),
        "off beat": 1 - alone.onset_shares(band)["beat"],
        "pitch classes": alone.used_pitch_classes(band),
    }
    if len(band.tracks) > 1:
        found["coincidence"] = np.array(list(together.onset_coincidence(band).values()))
    if len(band.pitched) > 1:
        found["tonal distance"] = np.array(list(together.tonal_distance(band).values()))
    return {name: float(np.mean(values)) if len(n) else float("nan") for name, values in found.items()}
