"""What `transformer.py` measures, piece by piece: requests as real pieces would make them, what is heard of them,
endings, voice leading, a judge of style, and walks without a grammar.

Axes: B pieces, M tracks, F features, S styles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from symusic import Score

from otonoha.data.corpus import corpus
from otonoha.metrics import compare, together
from otonoha.metrics.line import line
from otonoha.metrics.played import Notes, Played
from otonoha.metrics.shares import entropy, shares
from otonoha.music.markers import pickup
from otonoha.music.piece import Piece
from otonoha.music.score import select_tracks
from otonoha.music.time import key_at, last_tick
from otonoha.music.tracks import notes
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_header import attributes_of
from otonoha.tokens.events_instruments import INSTRUMENTS as NAMES
from otonoha.tokens.events_instruments import instrument
from otonoha.tokens.events_vocab import TEMPI, nearest_tempo
from otonoha.tokens.place import key_index, key_name
from structure import CORPORA, INSTRUMENTS, first_bars


@dataclass(frozen=True)
class Kind:
    """A style, the corpus that it is learnt from, and the instruments that most of its pieces have."""

    style: str
    corpus: str
    instruments: str


KINDS = tuple(Kind(style, CORPORA[style], names) for style, names in INSTRUMENTS.items())
Asked = dict[str, Any]
"""Controls of a request."""
SEED = 1000
BARS, LONG = 8, 16
"""Of a sample; where form, novelty and likeness are measured."""
TOGETHER = 4
"""Takes of one request."""


def evenly(pieces: Sequence[Any], most: int) -> list[Any]:
    """So many of them, from the first to the last."""
    return [pieces[i] for i in np.unique(np.linspace(0, len(pieces) - 1, most).astype(int))]


@functools.cache
def real(kind: Kind, split: str, bars: int, most: int) -> list[Score]:
    """The first bars of pieces that have the instruments of this kind, in the order of the instruments."""
    programs = [instrument(name) for name in kind.instruments.split(",")]
    found = []
    for piece in evenly(getattr(corpus(kind.corpus), split), 3 * most):
        score = piece.score()
        if [t.program for t in score.tracks if len(t.notes)] == programs:
            cut = first_bars(score, bars)
            found += [] if cut is None or not all(len(t.notes) for t in cut.tracks) else [cut]
    return found[:most]


# -- requests and what is heard of them --------------------------------------------------------------------

GUARANTEED = ("instruments", "bars", "metre", "pickup", "tempo")
"""Controls that the grammar keeps."""
SOFT = ("key", "density", "register", "polyphony")
"""Controls that only the network can obey; beside them style and form, which are measured in other ways."""
ORDINAL = ("density", "register", "polyphony")


def asked_like(piece: Piece, bars: int) -> Asked | None:
    """The controls that would ask for a piece like this one, of so many bars; None where they cannot be said."""
    score = piece.score()
    measured = attributes_of(score)
    if measured.key is None or measured.metre is None or 128 in measured.instruments:
        return None
    asked: Asked = {
        "instruments": ",".join(NAMES[i] for i in measured.instruments),
        "bars": bars,
        "metre": "{}/{}".format(*measured.metre),
        "pickup": float(pickup(score)),
        "tempo": TEMPI[int(nearest_tempo(np.array(measured.tempo)))],
        "key": measured.key,
        "style": piece.labels["style"],
        **{name: getattr(measured, name) for name in ORDINAL},
    }
    try:
        EventConstraints(metre=asked["metre"], instruments=measured.instruments)
    except ValueError:
        return None
    return asked


def said(asked: Asked) -> Asked:
    """A request in the words of `heard`."""
    programs = tuple(sorted(instrument(name) for name in asked["instruments"].split(",")))
    metre = tuple(int(number) for number in asked["metre"].split("/"))
    key = key_name(key_index(asked["key"]))
    return {**asked, "instruments": programs, "metre": metre, "key": key, "pickup": round(asked["pickup"], 3)}


def heard(score: Score) -> Asked:
    """What a piece is. Its key is that of its notes, not the one that it states."""
    measured = attributes_of(score)
    upbeat = pickup(score)
    key = None if measured.sounding_key is None else key_name(key_index(measured.sounding_key))
    return {
        "instruments": tuple(sorted(measured.instruments)),
        "bars": measured.bars - bool(upbeat),
        "metre": measured.metre,
        "pickup": round(float(upbeat), 3),
        "tempo": TEMPI[int(nearest_tempo(np.array(measured.tempo)))],
        "key": key,
        **{name: getattr(measured, name) for name in ORDINAL},
    }


@dataclass(frozen=True, eq=False)
class Obedience:
    """What was asked of B pieces (`wanted`), what is heard of them (`found`), and which of them had the same
    instruments (`groups`): only among those is a request exchanged for another one's.
    """

    wanted: Sequence[Asked]
    found: Sequence[Asked]
    groups: Sequence[Any]

    @cached_property
    def others(self) -> list[tuple[int, int]]:
        """(piece, other piece of its group that was asked for on its own)."""
        B = range(len(self.wanted))
        return [(i, j) for i in B for j in B if i != j and self.groups[i] == self.groups[j]]

    def obeyed(self, control: str) -> float:
        """Share of the pieces that are as asked."""
        return _share(w[control] == f[control] for w, f in zip(self.wanted, self.found, strict=True))

    def chance(self, control: str) -> float:
        """Share of the pieces that are as another one was asked to be."""
        return _share(self.wanted[j][control] == self.found[i][control] for i, j in self.others)

    def off(self, control: str) -> float:
        """Mean distance in classes; of an ordinal control."""
        return _mean(abs(w[control] - f[control]) for w, f in zip(self.wanted, self.found, strict=True))

    def off_by_chance(self, control: str) -> float:
        """The same, from what another piece was asked to be."""
        return _mean(abs(self.wanted[j][control] - self.found[i][control]) for i, j in self.others)


def _share(values: Any) -> float:
    return _mean(float(value) for value in values)


def _mean(values: Any) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")


# -- a judge of style --------------------------------------------------------------------------------------

TRAITS: dict[str, Callable[[Score], float]] = {
    "notes a quarter": lambda score: attributes_of(score).notes_per_quarter,
    "together": lambda score: attributes_of(score).mean_polyphony,
    **{
        name: lambda score, number=compare.NUMBERS[name]: float(number(line(score)))  # type: ignore[misc]
        for name in ("mean leap", "repeated notes", "rest share", "onsets on beats", "onsets on half beats")
    },
}
"""What tells styles apart, whatever the instruments."""
RIDGE = 1e-3


def traits(score: Score) -> np.ndarray:
    """(F,) of a piece."""
    return np.array([trait(score) for trait in TRAITS.values()])


class Judge:
    """Tells styles by their traits: linear discriminants (one covariance for all, equal chances)."""

    def __init__(self, styles: Sequence[str], known: np.ndarray) -> None:
        """Styles of B pieces, and their traits (B, F)."""
        self.names = sorted(set(styles))
        which = np.array([self.names.index(s) for s in styles])
        means = np.stack([known[which == s].mean(axis=0) for s in range(len(self.names))])
        apart = known - means[which]
        spread = apart.T @ apart / len(known)
        precision = np.linalg.inv(spread + RIDGE * np.diag(np.diag(spread) + RIDGE))
        self.weights = precision @ means.T
        self.bias = -0.5 * np.einsum("sf,fs->s", means, self.weights)

    def __call__(self, score: Score) -> str:
        """The style that a piece is likest."""
        return self.names[int(np.argmax(traits(score) @ self.weights + self.bias))]


# -- several voices ----------------------------------------------------------------------------------------

STEPS = 4
"""Steps of a quarter note."""


def quarters(score: Score) -> Played:
    """A piece as one phrase of bars of one quarter note, so that a metre makes no difference; pitched tracks only."""
    kept = [t for t in score.tracks if len(t.notes) and not t.is_drum]
    total = -(-last_tick(score) // score.tpq)
    found = [notes(t) for t in kept]
    track = np.repeat(np.arange(len(kept)), [len(f) for f in found])
    onset = np.concatenate([f.onset for f in found]) * STEPS // score.tpq
    end = np.concatenate([f.end for f in found]) * STEPS // score.tpq
    pitch = np.concatenate([f.pitch for f in found])
    length = np.minimum(np.maximum(end - onset, 1), total * STEPS - onset)
    order = np.lexsort((pitch, onset, track))
    zero = np.zeros(len(order), np.int64)
    columns = (zero, track[order], onset[order], pitch[order], length[order], zero.astype(bool))
    names = tuple(str(i + 1) for i in range(len(kept)))
    return Played(Notes(*columns), names, (), 1, total, STEPS, 1, low=0, pitches=128)


def ends_at_home(score: Score) -> bool:
    """Whether the lowest of the notes that end the piece is the tonic of the key that is stated last."""
    end = last_tick(score)
    key = key_at(score, end)
    last = [n.pitch for t in score.tracks if not t.is_drum for n in t.notes if n.end == end]
    return key is not None and bool(last) and min(last) % 12 == key.tonic


NUMBERS: dict[str, Callable[[Score], float]] = {
    "pitch-class entropy": lambda s: entropy(_pitch_classes(s)),
    "in scale": lambda s: together.in_scale(quarters(s)),
    "clashes": lambda s: together.clashes(quarters(s)),
    "parallels": lambda s: together.parallels(quarters(s)),
    "notes a quarter": lambda s: attributes_of(s).notes_per_quarter,
    "notes together": lambda s: attributes_of(s).mean_polyphony,
    "one pitch": lambda s: _one_pitch(s),
}
"""Of a whole piece, all tracks; `clashes` and `parallels` as in metrics/together.py, on quarter notes; `one pitch`: the
share of its commonest pitch in the track where that is largest (of tracks with twelve notes or more)."""


def _one_pitch(score: Score) -> float:
    pitches = [notes(t).pitch for t in score.tracks if not t.is_drum]
    return max((np.bincount(p).max() / len(p) for p in pitches if len(p) >= 12), default=0.0)


def _pitch_classes(score: Score) -> np.ndarray:
    pitch = np.concatenate([notes(t).pitch for t in score.tracks if not t.is_drum])
    return shares(np.bincount(pitch % 12, minlength=12))


def apart(generated: Sequence[Score], real: Sequence[Score]) -> float:
    """How far pieces of the same tracks are from real ones: the mean distance, in standard deviations (3 at most), of
    all numbers of metrics/compare.py, which looks at single lines; the mean over the tracks.
    """
    found = []
    for track in range(len(real[0].tracks)):
        sides = [[_only(score, track) for score in side] for side in (generated, real)]
        rows = compare.report(*sides)
        found.append(np.mean([min(abs(float(r["difference"])), 3.0) for r in rows if r["kind"] == "number"]))
    return float(np.mean(found))


def _only(score: Score, track: int) -> Score:
    return select_tracks(score, [track]) if track < len(score.tracks) else Score(score.tpq)


# -- without masks -----------------------------------------------------------------------------------------


class Anything:
    """A grammar that allows every symbol and ends with End, or when the budget is spent."""

    def __init__(self, size: int, end: int, budget: int) -> None:
        self.allowed, self.end, self.left, self.done = np.ones(size, bool), end, budget, False

    def mask(self, k: int, drawn: Sequence[int]) -> np.ndarray:
        """(V,) bool."""
        return self.allowed

    def advance(self, drawn: Sequence[int]) -> None:
        """Take note of a symbol."""
        self.left -= 1
        self.done = drawn[0] == self.end or self.left == 0

    def context(self) -> dict[str, int]:
        """There are no context streams."""
        return {}


def faultless(grammar: Any, symbols: Sequence[int]) -> int:
    """How many symbols a walk under the grammar could have drawn, before the first one that it forbids."""
    for at, symbol in enumerate(symbols):
        if grammar.done or not grammar.mask(0, [])[symbol]:
            return at
        grammar.advance([symbol])
    return len(symbols)
