"""The form of a piece: which sections it has, and which of them are exact or varied repeats of earlier ones.

Conventions
- B bars, all tracks together, a pick-up left out. Places in the bar and lengths count in 1/24 of a quarter note.
- Likeness of two bars, 0 … 1: S = ½ F(notes) + ¼ F(onsets) + ¼ cos(chroma), where F = 2 · common / (of one + of
  the other), a note is (place, pitch), an onset a place, the chroma how long each pitch class sounds. Drums have no
  chroma. Two silent bars are alike; one silent bar is unlike all that sound.
- Bars are *literally* equal when the same notes (place, pitch, length) stand in the same tracks in the same metre.
- Up to transposition: bars may be alike with all pitches of the one shifted by up to an octave, where
  four bars in a row hold that shift.
- Sections of equal length are alike when the sum of (S - ALIKE) over their bars is not negative.

Two bars earn (S - ALIKE) / (1 - ALIKE) points, none if both are silent. A form is worth the points of its
repeats, each compared with the first section of its label, less a cost of every section: REPEAT_COST by length for
those of a label that comes again (least for 8 bars), NEW_COST for the others. Cuts are searched by dynamic programming
over the bar lines, as in barwise segmentation of audio (Marmoret, Cohen & Bimbot 2023), where a section earns half the
points of its best partner; as that partner need not be a section itself, the search is repeated with partners between
the cuts that it found, from several beginnings, and the form that is worth most is taken.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from symusic import Score

from otonoha.music.time import BarTable, bar_table, signatures, tempo_map

Repeat = Literal["new", "exact", "varied"]
GRID = 24
ALIKE = 0.65
"""Bars that are more alike than this speak for a repeat, bars that are less alike against it. Chosen so that songs
with their bars in random order have hardly any repeat (docs/metrics.md).
"""
HOLD = 4
"""Bars in a row that a transposition must hold."""
LONGEST = 64
"""Bars of the longest section that is looked for as a repeat."""
LONGEST_NEW = 128
LABELS = "ABCDEFGH"
NEW_COST = 0.5
SEAM_COST = 0.75
"""What a section without repeat pays for a change of metre or key inside it that has 8 steady bars on both sides."""
REPEAT_COST = {1: 2.0, 2: 2.0, 3: 2.0, 4: 0.7, 6: 0.95, 8: 0.5, 10: 0.95, 12: 0.8, 16: 1.05}
"""By bars, the first of a label included; multiples of four that are not here pay 1.1, all others 1.25."""
DEAR = 4.0
_PASSES = 3


Cut = tuple[int, int]
"""Begin and length of a section, in bars."""


class Part(NamedTuple):
    """A section: label, bars, and whether it is the first of its label again, note by note or varied."""

    label: str
    bars: int
    repeat: Repeat


@dataclass(frozen=True, eq=False)
class Bars:
    """What a listener would compare. Notes (n,): `bar`, `place`, `pitch` (drums: 128 + pitch), each once.

    `chroma` (B, 12): quarter notes for which each pitch class sounds, of the notes that begin in the bar.
    `literal` (B,): equal numbers are literally equal bars. `seams`: bars with which another metre or key begins.
    """

    bar: np.ndarray
    place: np.ndarray
    pitch: np.ndarray
    chroma: np.ndarray
    literal: np.ndarray
    seams: np.ndarray

    def __len__(self) -> int:
        return len(self.literal)


def bar_features(score: Score, *, strict: bool = False) -> Bars:
    """The bars of a score without its pick-up.

    `strict`: bars are literally equal only if the velocities are, too, and no tempo, key or metre is stated in
    them: then the `events` codec can tell one as a copy of the other.
    """
    table = bar_table(score)
    upbeat = int(table.first_is_pickup)
    count = len(table) - upbeat
    notes = _notes(score, table)
    notes = notes[:, notes[0] >= upbeat]
    notes[0] -= upbeat
    bar, _, place, pitch, length, _ = notes
    pitched = pitch < 128
    chroma = np.bincount(
        bar[pitched] * 12 + pitch[pitched] % 12, weights=length[pitched] / GRID, minlength=count * 12
    )
    metre = np.stack([table.numerator, table.denominator, np.diff(table.start)])[:, upbeat:]
    if not strict:
        notes = notes[:5]
    literal = _literal(notes, metre)
    if strict:
        told = _told(score, table) - upbeat
        told = told[(told >= 0) & (told < count)]
        literal[told] = count + told
    once = np.unique(np.stack([bar, place, pitch]), axis=1)
    seams = _seams(score, table, metre, upbeat)
    return Bars(once[0], once[1], once[2], chroma.reshape(count, 12), literal, seams)


def _notes(score: Score, table: BarTable) -> np.ndarray:
    """(6, n) bar, track, place, pitch, length, velocity; in this order."""
    rows = []
    for number, track in enumerate(score.tracks):
        if not len(track.notes):
            continue
        columns = track.notes.numpy()
        time = columns["time"].astype(np.int64)
        bar = table.bar_at(time)
        place = np.rint((time - table.start[bar]) * (GRID / score.tpq)).astype(np.int64)
        length = np.rint(columns["duration"] * (GRID / score.tpq)).astype(np.int64)
        pitch = columns["pitch"].astype(np.int64) + 128 * track.is_drum
        rows.append(
            np.stack(
                [bar, np.full(len(bar), number), place, pitch, length, columns["velocity"].astype(np.int64)]
            )
        )
    if not rows:
        return np.zeros((6, 0), np.int64)
    notes = np.concatenate(rows, axis=1)
    return notes[:, np.lexsort(notes[::-1])]


def _literal(notes: np.ndarray, metre: np.ndarray) -> np.ndarray:
    """(B,) numbers of the contents of bars."""
    edges = np.searchsorted(notes[0], np.arange(metre.shape[1] + 1))
    content = np.ascontiguousarray(notes[1:].T)
    known: dict[tuple[bytes, bytes], int] = {}
    keys = zip(edges[:-1].tolist(), edges[1:].tolist(), np.ascontiguousarray(metre.T))
    numbers = [known.setdefault((m.tobytes(), content[a:b].tobytes()), len(known)) for a, b, m in keys]
    return np.array(numbers, np.int64)


def _told(score: Score, table: BarTable) -> np.ndarray:
    """Bars in which a tempo, key or metre is stated (the beginning of the piece apart)."""
    times = [t for t, _ in tempo_map(score)] + [t for t, _ in signatures(score)]
    times += [m.time for m in score.time_signatures]
    return np.unique(table.bar_at(np.array([t for t in times if t > 0], np.int64)))


def _seams(score: Score, table: BarTable, metre: np.ndarray, upbeat: int) -> np.ndarray:
    """Bars at which metre or key change, after eight bars without a change and before eight more."""
    changes = np.zeros(metre.shape[1] + 1, bool)
    changes[1:-1] = (metre[:2, 1:] != metre[:2, :-1]).any(axis=0)
    keys = signatures(score)
    times = [t for (_, before), (t, key) in itertools.pairwise(keys) if key != before]
    later = table.bar_at(np.array(times, np.int64)) - upbeat
    changes[later[later > 0]] = True
    at = np.flatnonzero(changes)
    steady = np.diff(np.concatenate([[0], at, [metre.shape[1]]])) >= 8
    return at[steady[:-1] & steady[1:]]


def similarity(music: Score | Bars, *, up_to_transposition: bool = False) -> np.ndarray:
    """(B, B) float32 likeness of each two bars, symmetric; exactly 1 for literally equal ones."""
    bars = music if isinstance(music, Bars) else bar_features(music)
    onsets = _overlap(bars, bars.place, bars.place)
    alike = _blend(bars, onsets, 0)
    if up_to_transposition:
        for shift in range(1, 13):
            moved = _held(_blend(bars, onsets, shift))
            np.maximum(alike, moved, out=alike)
            np.maximum(alike, moved.T, out=alike)
    silent = np.bincount(bars.bar, minlength=len(bars)) == 0
    alike[silent] = alike[:, silent] = 0.0
    alike[np.ix_(silent, silent)] = 1.0
    alike[bars.literal[:, None] == bars.literal] = 1.0
    return alike


def _blend(bars: Bars, onsets: np.ndarray, shift: int) -> np.ndarray:
    """(B, B): how much each bar, so many semitones higher, is like each other."""
    drums = bars.pitch >= 128
    moved = bars.pitch + np.where(drums, 0, shift)
    notes = _overlap(bars, bars.place * 512 + moved, bars.place * 512 + bars.pitch)
    size = np.linalg.norm(bars.chroma, axis=1)
    unit = bars.chroma / np.where(size > 0, size, 1.0)[:, None]
    chroma = np.roll(unit, shift, axis=1) @ unit.T
    chroma[np.ix_(size == 0, size == 0)] = 1.0
    return np.minimum(0.5 * notes + 0.25 * onsets + 0.25 * chroma, 1.0).astype(np.float32)


def _overlap(bars: Bars, mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(B, B): 2 · common / (of one + of the other) of the sets of symbols that each bar has in `mine` and `other`."""
    symbols, index = np.unique(np.concatenate([mine, other]), return_inverse=True)
    shape = (len(bars), len(symbols))
    one, two = (_incidence(bars.bar, i, shape) for i in (index[: len(mine)], index[len(mine) :]))
    common = (one @ two.T).toarray()
    size = np.asarray(one.sum(axis=1)).ravel()
    return 2.0 * common / np.maximum(size[:, None] + size, 1.0)


def _incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    found = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    found.data[:] = 1.0  # what occurs twice counts once
    return found


def _held(alike: np.ndarray) -> np.ndarray:
    """(B, B): 0 but where a run of HOLD bars in both, this one among them, is alike."""
    held = np.zeros_like(alike)
    if len(alike) < HOLD:
        return held
    run = _diagonal_sums(alike - ALIKE, HOLD) >= 0
    keep = np.zeros(alike.shape, bool)
    n = len(run)
    for k in range(HOLD):
        keep[k : k + n, k : k + n] |= run
    held[keep] = alike[keep]
    return held


def _diagonal_sums(values: np.ndarray, length: int) -> np.ndarray:
    """(B - length + 1, …): sums of so many values down the diagonal."""
    total = _cumulated(values)
    return total[length:, length:] - total[:-length, :-length]


def _cumulated(values: np.ndarray) -> np.ndarray:
    """(B + 1, B + 1): at (i, j) the sum of the values before it on its diagonal."""
    total = np.zeros((len(values) + 1, len(values) + 1), np.float32)
    for i, row in enumerate(values):
        np.add(total[i, :-1], row, out=total[i + 1, 1:])
    return total


class _Finder:
    """The points of sections [begin, begin + length) of one piece."""

    def __init__(self, bars: Bars, alike: np.ndarray) -> None:
        self.bars = bars
        self.count = len(bars)
        points = (alike - ALIKE) / (1.0 - ALIKE)
        silent = np.bincount(bars.bar, minlength=len(bars)) == 0
        points[np.ix_(silent, silent)] = 0.0
        self.total = _cumulated(points)
        self.longest = min(self.count // 2, LONGEST)
        seams = np.zeros(self.count + 1, np.int64)
        seams[bars.seams] = 1
        self.seams = np.cumsum(seams)
        ends, lengths = np.arange(self.count + 1)[:, None], np.arange(1, min(self.count, LONGEST_NEW) + 1)
        inside = self.seams[ends - 1] - self.seams[np.maximum(ends - lengths, 0)]
        self.alone = _whole(-NEW_COST - SEAM_COST * inside)
        """(B + 1, lengths): what a section without repeat is worth by its end, in whole numbers."""

    def points(self, a: int, b: int, length: int) -> float:
        """Of section [a, a + length) as a repeat of [b, b + length), or the reverse."""
        return float(self.total[a + length, b + length] - self.total[a, b])

    def partners(self, edges: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each length 1 …: (begins,) points of the best partner that does not overlap, and where that begins.

        `edges` (B + 1,) bool: partners begin and end at these.
        """
        found = []
        for length in range(1, self.longest + 1):
            n = self.count - length + 1
            allowed = np.arange(n) if edges is None else np.flatnonzero(edges[:n] & edges[length:])
            points = np.full((n, len(allowed) + 1), -np.inf, np.float32)
            points[:, :-1] = self.total[length:, allowed + length] - self.total[:n, allowed]
            points[:, :-1][np.abs(np.arange(n)[:, None] - allowed) < length] = -np.inf
            best = points.argmax(axis=1)
            found.append((points[np.arange(n), best], np.append(allowed, -1)[best]))
        return found

    def segment(self, edges: np.ndarray | None = None, *, dear: float = 1.0) -> tuple[list[Cut], np.ndarray]:
        """The best sections, those that repeat `dear` times as costly, and (B + 1,) bool: where they or their
        partners begin and end.
        """
        partners = self.partners(edges)
        gain = self.alone.copy()
        for n, (points, _) in enumerate(partners, start=1):
            pays = points / 2 - dear * repeat_cost_of(n)  # both of a pair are rewarded
            np.maximum(gain[n:, n - 1], _whole(pays), out=gain[n:, n - 1])
        best = np.zeros(self.count + 1, np.int64)
        chosen = np.zeros(self.count + 1, np.int64)
        for end in range(1, self.count + 1):
            most = min(end, gain.shape[1])
            value = gain[end, :most] + best[end - most : end][::-1]
            chosen[end] = 1 + value.argmax()
            best[end] = value[chosen[end] - 1]
        cut: list[Cut] = []
        touched = np.zeros(self.count + 1, bool)
        end = self.count
        while end:
            length = int(chosen[end])
            begin = end - length
            cut.append((begin, length))
            touched[[begin, end]] = True
            if length <= self.longest and partners[length - 1][0][begin] > 0:
                other = int(partners[length - 1][1][begin])
                touched[[other, other + length]] = True
            end = begin
        return cut[::-1], touched

    def same(self, a: int, b: int, length: int) -> bool:
        """Literally?"""
        return bool((self.bars.literal[a : a + length] == self.bars.literal[b : b + length]).all())

    def once_more(self, a: int, length: int, begin: int, most: int) -> tuple[float, int, int]:
        """The best place for a repeat of [a, a + length) in the section [begin, begin + most): its worth, where it
        begins, its length.
        """
        if length > most:
            return -np.inf, begin, length
        at = np.arange(begin, begin + most - length + 1)
        pieces = (at > begin).astype(np.int64) + (at + length < begin + most)
        points = self.total[a + length, at + length] - self.total[a, at]
        worth = points - repeat_cost_of(length) - NEW_COST * (pieces - 1)
        best = int(worth.argmax())
        return float(worth[best]), int(at[best]), length

    def models(self, sections: list[Cut]) -> list[int]:
        """For each section the number of the first one that it repeats, its own if there is none."""
        models: list[int] = []
        for k, (begin, length) in enumerate(sections):
            known = [m for m in dict.fromkeys(models) if sections[m][1] == length]
            points = [self.points(sections[m][0], begin, length) for m in known]
            same = [self.same(sections[m][0], begin, length) for m in known]
            best = max(range(len(known)), key=lambda i: (same[i], points[i]), default=None)
            models.append(known[best] if best is not None and (same[best] or points[best] >= 0) else k)
        return models

    def value(self, sections: list[Cut], models: list[int]) -> float:
        """What the sections are worth together."""
        worth = 0.0
        for k, (begin, length) in enumerate(sections):
            if models.count(models[k]) == 1:
                inside = self.seams[begin + length - 1] - self.seams[begin]
                worth -= NEW_COST + SEAM_COST * float(inside)
                continue
            worth -= repeat_cost_of(length)
            if models[k] != k:
                worth += self.points(sections[models[k]][0], begin, length)
        return worth


def _whole(points: np.ndarray) -> np.ndarray:
    """Ten-thousandths, so that sums and ties are exact; what cannot be is far below all else."""
    return np.rint(np.maximum(points, -1e6) * 1e4).astype(np.int64)


def repeat_cost_of(length: int) -> float:
    """What a section of so many bars pays that comes more than once."""
    return REPEAT_COST.get(length, 1.1 if length % 4 == 0 else 1.25)


def sections(score: Score, *, strict: bool = False) -> list[Part]:
    """The sections in their order; their bars add up to those of the piece without its pick-up.

    A section is "exact" when it is literally the first one of its label (`strict`: see `bar_features`), "varied" when
    it is like it (transposed, too), else "new". Labels are A … H in order of appearance; where eight do not
    suffice, H stands for all the rest, each of which is "new". The cost grows with the square of the number of bars.
    """
    bars = bar_features(score, strict=strict)
    return _sections(_Finder(bars, similarity(bars, up_to_transposition=True))) if len(bars) else []


def _sections(finder: _Finder) -> list[Part]:
    """The best of several searches: one begins with partners anywhere and dear repeats (long ones win), four with
    partners between every fourth bar line; each then looks again with partners between the cuts that it found.
    """
    best: tuple[float, list[Cut], list[int]] = (-np.inf, [], [])
    for start in range(-1, 4):
        edges = None if start < 0 else _every_fourth(finder.count, start)
        before: list[Cut] = []
        for _ in range(_PASSES):
            found, edges = finder.segment(edges, dear=DEAR if start < 0 else 1.0)
            if found == before:
                break
            before = found
            for cut in _mended(finder, found):
                models = finder.models(cut)
                best = max(best, (round(finder.value(cut, models), 3), cut, models), key=lambda f: f[0])
    return _named(finder, best[1], best[2])


def _mended(finder: _Finder, cut: list[Cut]) -> list[list[Cut]]:
    """Without cuts that nothing asks for, with repeats that were overlooked; and with loops taken apart."""
    models = finder.models(cut)
    cut = _merged(finder, cut, [models.count(m) == 1 for m in models])
    cut = _filled(finder, cut, finder.models(cut))
    apart = [part for begin, length in cut for part in _divided(finder, begin, length)]
    return [cut] if apart == cut else [cut, apart]


def _divided(finder: _Finder, begin: int, length: int) -> list[Cut]:
    """A section that consists of two to six of the same, each of four bars or more, as these."""
    for n in range(6, 1, -1):
        each = length // n
        loops = [(begin + k * each, each) for k in range(n)]
        if length % n == 0 and each >= 4 and all(finder.points(begin, b, each) > 0 for b, _ in loops[1:]):
            return loops
    return [(begin, length)]


def _filled(finder: _Finder, cut: list[Cut], models: list[int]) -> list[Cut]:
    """Sections without repeat are divided where one that comes again comes once more."""
    known = [cut[m] for m in dict.fromkeys(models) if models.count(m) > 1]
    filled: list[Cut] = []
    todo = [(section, models.count(m) == 1) for section, m in zip(cut, models)][::-1]
    while todo:
        (begin, length), alone = todo.pop()
        inside = [finder.once_more(a, n, begin, length) for a, n in known] if alone else []
        worth, at, n = max(inside, default=(0.0, 0, 0))
        if worth <= 0:
            filled.append((begin, length))
            continue
        rest = [(begin, at - begin), (at, n), (at + n, begin + length - at - n)]
        todo += [(part, k != 1) for k, part in enumerate(rest) if part[1]][::-1]
    return filled


def _every_fourth(count: int, first: int) -> np.ndarray:
    """(B + 1,) bool."""
    edges = np.zeros(count + 1, bool)
    edges[first::4] = True
    return edges


def _merged(finder: _Finder, cut: list[Cut], alone: list[bool]) -> list[Cut]:
    """Neighbours that are both alone become one section, but for those that a seam divides."""
    seams = set(finder.bars.seams.tolist())
    merged: list[Cut] = []
    before = False
    for (begin, length), single in zip(cut, alone):
        if before and single and begin not in seams and merged[-1][1] + length <= LONGEST_NEW:
            merged[-1] = (merged[-1][0], merged[-1][1] + length)
        else:
            merged.append((begin, length))
        before = single
    return merged


def _named(finder: _Finder, cut: list[Cut], models: list[int]) -> list[Part]:
    """Labels in order of appearance; of more than eight groups the seven that cover most keep theirs."""
    groups = list(dict.fromkeys(models))
    if len(groups) > len(LABELS):
        rank = {m: (models.count(m) > 1, models.count(m) * cut[m][1], -m) for m in groups}
        kept = set(sorted(groups, key=lambda m: rank[m], reverse=True)[: len(LABELS) - 1])
        groups = [m for m in groups if m in kept]
    model_at = {begin: m for (begin, _), m in zip(cut, models)}
    names = dict(zip(groups, LABELS))
    parts = []
    for begin, length in _merged(finder, cut, [m not in names for m in models]):
        model = model_at[begin]
        first = cut[model][0]
        repeat: Repeat = "new"
        if model in names and begin != first:
            repeat = "exact" if finder.same(first, begin, length) else "varied"
        parts.append(Part(names.get(model, LABELS[-1]), length, repeat))
    return parts
