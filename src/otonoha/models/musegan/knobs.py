"""From what a person turns (Controls) to what the bar generators hear (codes).

Axes as in shape.py: B batch, M tracks, N bars, Z width of a noise, K temporal noise vectors.

A seed names a piece. Every vector of its noises comes from a generator of its own, keyed by (seed, take, knob,
track, vector): more bars, more takes, more tracks or a turned knob leave all other vectors as they were, bit by
bit. A knob with a seed of its own travels on the sphere from the noise of the piece to that of the first take of
the other seed, so that all takes of a request share what they turn to: `seed=3, groove_seed=9` has the grooves
that `seed=9` alone has.

Bars are looked at one by one: bar n hears a *window* of V temporal vectors, and style and groove.

    fixed length (book, paper)   windows side by side, one for every phrase of train_bars bars; bar n is bar
                                 n mod train_bars of its phrase, and the last phrase is cut where the piece ends.
                                 From phrase to phrase the noise takes a walk, half of the way to a fresh draw
                                 each time: every phrase is again normal noise, akin to the one before. The walk
                                 is open: a closed one would depend on the number of bars.
    convolutional                windows that overlap in all but one vector: bar n hears the vectors n … n+V-1

So a knob is turned in some bars by turning their windows alone, and a medley turns every window a little further.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from otonoha.models.musegan.config import Controls
from otonoha.models.musegan.shape import KNOBS, PRIVATE, TEMPORAL, Noise, Widths
from otonoha.music.suggest import one_of
from otonoha.sample.controls import bars_of

WALK = 0.5
"""How far a phrase of fixed length goes from the noise of the one before to a fresh one."""
_TINY = 1e-6


class Source(Protocol):
    """What is asked of a generator here."""

    def vectors(self, bars: int) -> int:
        """K for so many bars; of no effect on it where the length is fixed."""

    def codes(self, noise: Noise) -> Noise:
        """The codes of N bars of K vectors."""


def noise_of(
    seed: int,
    index: int = 0,
    *,
    tracks: int,
    vectors: int,
    widths: Widths,
    truncation: float | None = None,
) -> Noise:
    """The noises of a take of a seed (B = 1), each number normal within ± truncation, but for those that are draws.

    Truncation keeps the quantile of every number, so turning it moves the noise smoothly.
    """

    def numbers(knob: str, track: int = 0, vector: int = 0) -> Tensor:
        key = np.random.SeedSequence(seed, spawn_key=(index, KNOBS.index(knob), track, vector))
        uniform = torch.from_numpy(np.random.default_rng(key).random(getattr(widths, knob)))
        coded, drawn = uniform.split([widths.cut(knob), len(uniform) - widths.cut(knob)])
        return torch.cat([_normal(coded, truncation), _normal(drawn, None)])

    M, K = range(tracks), range(vectors)
    return Noise(
        torch.stack([numbers("chords", vector=k) for k in K])[None],
        numbers("style")[None],
        torch.stack([torch.stack([numbers("melody", m, k) for k in K]) for m in M])[None],
        torch.stack([numbers("groove", m) for m in M])[None],
    )


def _normal(uniform: Tensor, truncation: float | None) -> Tensor:
    """Normal numbers within ± truncation from uniform ones, by the inverse of the distribution function."""
    tail = 0.0
    if truncation is not None:
        tail = float(torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64)))
    return torch.special.ndtri((tail + uniform * (1 - 2 * tail)).clamp(min=2**-54)).float()


def slerp(a: Tensor, b: Tensor, share: Tensor | float) -> Tensor:
    """From a (share 0) to b (share 1) on the sphere: the direction turns, and the length changes, evenly.

    a, b (…, Z); share a number, or (…) of them. Where no arc is defined (a vector of length 0, or two that
    point the same or opposite ways) the path is straight.
    """
    share = torch.as_tensor(share, dtype=torch.float64)[..., None]
    x, y = a.double(), b.double()
    length_a, length_b = x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True)
    u, v = x / length_a.clamp(min=_TINY), y / length_b.clamp(min=_TINY)
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    turned = (torch.sin((1 - share) * angle) * u + torch.sin(share * angle) * v) / torch.sin(angle)
    arc = turned * ((1 - share) * length_a + share * length_b)
    flat = (torch.sin(angle).abs() < _TINY) | (torch.minimum(length_a, length_b) < _TINY)
    path = torch.where(flat, (1 - share) * x + share * y, arc).to(a.dtype)
    return torch.where(share <= 0, a, torch.where(share >= 1, b, path))


def mixed(a: Noise, b: Noise, knob: str, share: Tensor | float, tracks: Tensor | None = None) -> Noise:
    """a with one knob turned towards b; share a number or (B,); `tracks` (M,) bool: private noise of these only."""
    one_of(knob, KNOBS, "knob")
    if tracks is not None and knob not in PRIVATE:
        raise ValueError(f"{knob} cannot be turned for some tracks: all of them share it")
    x, y = getattr(a, knob), getattr(b, knob)
    amount = (
        torch.as_tensor(share, dtype=torch.float64).reshape(-1, *[1] * (x.dim() - 2)).expand(x.shape[:-1])
    )
    if tracks is not None:
        amount = amount * tracks.reshape(-1, *[1] * (x.dim() - 3))
    return replace(a, **{knob: slerp(x, y, amount)})


# -- what was asked for ------------------------------------------------------------------------------------


def tracks_of(text: str, names: Sequence[str]) -> Tensor:
    """(M,) bool of "soprano,bass" or "1,4"."""
    chosen = torch.zeros(len(names), dtype=torch.bool)
    for word in (w.strip() for w in text.split(",")):
        if re.fullmatch(r"\d+", word):
            number = int(word)
            if not 1 <= number <= len(names):
                raise ValueError(
                    f"only_tracks must be within 1 … {len(names)} (the tracks there are), got {number}"
                )
            chosen[number - 1] = True
        else:
            lower = [n.lower() for n in names]
            chosen[lower.index(one_of(word.lower(), lower, "track of only_tracks"))] = True
    return chosen


def turned(controls: Controls) -> list[str]:
    """The knobs that have a seed of their own."""
    return [k for k in KNOBS if getattr(controls, f"{k}_seed") is not None]


def check(
    controls: Controls,
    *,
    tracks: Sequence[str],
    bars: int,
    widths: Widths,
    given: str = "",
    seed: int | None = None,
) -> None:
    """Raise ValueError for a knob outside its range, or one without effect on this model or request.

    `seed` is that of a request for one take, which must not be turned to itself; of several takes, the later
    ones have something to turn to.
    """
    asked = turned(controls)
    for knob in KNOBS:
        if knob in asked and not getattr(widths, knob):
            there = ", ".join(k for k in KNOBS if getattr(widths, k))
            raise ValueError(f"{knob}_seed has no effect: this model has no {knob} noise (it has: {there})")
        if getattr(controls, f"{knob}_mix") is not None and knob not in asked:
            raise ValueError(f"{knob}_mix has no effect without {knob}_seed, the seed to go to")
        if getattr(controls, f"{knob}_mix") == 0:
            raise ValueError(f"{knob}_mix 0 has no effect: it stays at the piece; leave out {knob}_seed")
    for knob in ["medley"] if controls.medley_seed is not None else asked:  # from a medley, one can turn back
        if getattr(controls, f"{knob}_seed") == seed:
            raise ValueError(f"{knob}_seed {seed} has no effect: it is the seed of the piece itself")
    for option, scoped in controls.scopes.items():
        if getattr(controls, option) is not None and not set(scoped) & set(asked):
            seeds = " or ".join(f"{k}_seed" for k in scoped)
            raise ValueError(f"{option} has no effect without {seeds}")
    if controls.only_tracks is not None:
        chosen = [t for t, on in zip(tracks, tracks_of(controls.only_tracks, tracks)) if on]
        if chosen == [given]:
            raise ValueError(f"only_tracks {given!r} has no effect: that track is given, not written")
    if controls.only_bars is not None:
        bars_of(controls.only_bars, bars)
    if controls.medley_seed is not None and bars < 2:
        raise ValueError("medley_seed has no effect on a single bar; ask for 2 bars or more")


# -- from noise to codes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Windows:
    """Which temporal vectors bar n hears: `size` of them from (n // phrase) * step on."""

    bars: int
    phrase: int
    size: int
    step: int
    apart: bool
    """Whether the windows of phrases have no vector in common, as the length is fixed."""

    @classmethod
    def of(cls, generator: Source, bars: int, train_bars: int) -> _Windows:
        size = generator.vectors(train_bars)
        if generator.vectors(train_bars + 1) == size:
            return cls(bars, train_bars, size, step=size, apart=True)
        return cls(bars, 1, generator.vectors(1), step=1, apart=False)

    @property
    def vectors(self) -> int:
        """All temporal vectors of the piece."""
        return (self.bars - 1) // self.phrase * self.step + self.size

    def rows(self, noise: Noise) -> Noise:
        """What each bar hears, B = N."""
        starts = [n // self.phrase * self.step for n in range(self.bars)]
        return Noise(
            torch.cat([noise.chords[:, k : k + self.size] for k in starts]),
            noise.style.expand(self.bars, -1),
            torch.cat([noise.melody[:, :, k : k + self.size] for k in starts]),
            noise.groove.expand(self.bars, -1, -1),
        )

    def walk(self, noise: Noise) -> Noise:
        """Noise whose phrases are akin to their neighbours; that of overlapping windows is as it is."""
        if not self.apart:
            return noise
        chords, melody = noise.chords.clone(), noise.melody.clone()
        for k in range(self.step, self.vectors):
            for z in (chords, melody):
                z[..., k, :] = slerp(z[..., k - self.step, :], z[..., k, :], WALK)
        return replace(noise, chords=chords, melody=melody)


@torch.no_grad()
def codes_of(
    controls: Controls,
    seed: int,
    index: int,
    generator: Source,
    *,
    tracks: Sequence[str],
    bars: int,
    widths: Widths,
    train_bars: int,
    device: torch.device | None = None,
) -> Noise:
    """The codes of the N = `bars` bars of a take (B = 1), as the controls (see `check`) have turned them; on
    `device`, that of the generator.

    Style and groove are constant over the bars, but in a medley, where they move too: style is then (1, N, Z)
    and groove (1, M, N, Z).
    """
    windows = _Windows.of(generator, bars, train_bars)

    def heard(of: int, take: int) -> Noise:
        noise = noise_of(
            of,
            take,
            tracks=len(tracks),
            vectors=windows.vectors,
            widths=widths,
            truncation=controls.truncation,
        )
        return windows.rows(windows.walk(noise))

    rows = heard(seed, index)
    if controls.medley_seed is not None:
        there, share = heard(controls.medley_seed, 0), torch.linspace(0, 1, bars, dtype=torch.float64)
        for knob in KNOBS:
            rows = mixed(rows, there, knob, share)
    in_bars = torch.zeros(bars)
    in_bars[bars_of(controls.only_bars, bars)] = 1
    in_tracks = None if controls.only_tracks is None else tracks_of(controls.only_tracks, tracks)
    for knob in turned(controls):
        mix = getattr(controls, f"{knob}_mix")
        share = torch.full((bars,), 1.0 if mix is None else mix, dtype=torch.float64)
        share = share * in_bars if knob in TEMPORAL else share
        there = heard(getattr(controls, f"{knob}_seed"), 0)
        rows = mixed(rows, there, knob, share, in_tracks if knob in PRIVATE else None)
    if device is not None:
        rows = rows.to(device)
    return _codes(rows, generator, windows.phrase, moving=controls.medley_seed is not None)


def _codes(rows: Noise, generator: Source, phrase: int, *, moving: bool) -> Noise:
    """The codes of each bar's window, side by side. One window at a time: in batches of other sizes the last
    bits of a product differ, and a bar is to be the same however many follow it.
    """
    found = [generator.codes(rows.rows(slice(n, n + 1))) for n in range(len(rows))]
    place = [n % phrase for n in range(len(found))]
    return Noise(
        torch.stack([c.chords[:, p] for c, p in zip(found, place)], dim=1),
        torch.stack([c.style for c in found], dim=1) if moving else found[0].style,
        torch.stack([c.melody[:, :, p] for c, p in zip(found, place)], dim=2),
        torch.stack([c.groove for c in found], dim=2) if moving else found[0].groove,
    )
