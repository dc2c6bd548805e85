"""What stands before the music of the `events` codec: controls, the form, the tracks; and how they are measured.

Every entry may be left out (None), so that a model can be trained and guided with and without it.
Classes are counted from 0: density by notes a quarter note of all tracks, register by the mean pitch,
polyphony by the mean number of notes that sound while anything does; drums count for density only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from symusic import Score

from otonoha.music.suggest import one_of
from otonoha.music.theory import Key, estimate_key
from otonoha.music.time import bar_table, key_map, last_tick, tempo_map
from otonoha.tokens.events_instruments import DRUMS
from otonoha.tokens.events_vocab import (
    BEGIN,
    DENSITIES,
    ENSEMBLE,
    EXACT,
    FORM,
    LABELS,
    NUMBERS,
    PACES,
    POLYPHONIES,
    REGISTERS,
    START,
    VARY,
    Layout,
)
from otonoha.tokens.place import key_index, key_name, metre_index, metre_name

DENSITY_EDGES = (0.75, 1.5, 2.5, 4.0, 5.5, 7.5, 10.0)
"""Notes a quarter note; a value on an edge belongs to the class above."""
REGISTER_EDGES = (48.0, 54.0, 58.0, 62.0, 66.0, 70.0, 76.0)
"""Mean MIDI pitch of all notes."""
POLYPHONY_EDGES = (1.2, 2.2, 3.2, 4.5, 6.5)
"""Notes that sound together, on average."""
PACE_EDGES = (60.0, 80.0, 100.0, 125.0, 155.0)
"""Quarter notes a minute, averaged over the quarter notes of the piece."""
_ORDER = ("Style", "Key", "Metre", "Pace", "Density", "Register", "Polyphony", "Num")


@dataclass(frozen=True)
class Section:
    """A section of the form: its label, its length in bars, and whether it is an earlier one of that label again."""

    label: str
    bars: int
    repeat: Literal["new", "exact", "varied"] = "new"

    def __post_init__(self) -> None:
        one_of(self.label, LABELS, "section label")
        one_of(self.repeat, ("new", "exact", "varied"), "kind of section")
        if not 1 <= self.bars <= NUMBERS:
            raise ValueError(f"a section has 1 … {NUMBERS} bars, got {self.bars}")


def checked_form(form: Sequence[Section]) -> tuple[Section, ...]:
    """The form, if each exact or varied section has one of its label (and length) before it."""
    first: dict[str, Section] = {}
    for section in form:
        model = first.setdefault(section.label, section)
        if section.repeat != "new" and model is section:
            raise ValueError(f"section {section.label} cannot be {section.repeat}: there is none before it")
        if section.repeat == "exact" and section.bars != model.bars:
            raise ValueError(
                f"section {section.label} has {model.bars} bars; an exact repeat of it cannot have {section.bars}"
            )
    return tuple(form)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The controls before a piece; None: not said."""

    style: str | None = None
    """One of the codec's styles."""
    key: Key | str | None = None
    """'F# minor' or a Key."""
    metre: tuple[int, int] | str | None = None
    """'3/4' or (3, 4)."""
    pace: str | None = None
    """Class of tempo, 'very slow' … 'very fast'."""
    density: int | None = None
    """0 … 7, see DENSITY_EDGES."""
    register: int | None = None
    """0 … 7, see REGISTER_EDGES."""
    polyphony: int | None = None
    """0 … 5, see POLYPHONY_EDGES."""
    bars: int | None = None
    """Number of bars, a pick-up included; more than 128 cannot be said and are left out."""
    form: tuple[Section, ...] | None = None
    """The sections in their order; their bars add up to those of the piece (without a pick-up)."""
    instruments: bool = True
    """Are the tracks declared before the music?"""
    countdown: bool = True
    """Does every bar say how many remain?"""

    def __post_init__(self) -> None:
        for name, size in (("density", DENSITIES), ("register", REGISTERS), ("polyphony", POLYPHONIES)):
            value = getattr(self, name)
            if value is not None and not 0 <= value < size:
                raise ValueError(f"{name} must be a class 0 … {size - 1}, got {value}")
        if self.pace is not None:
            one_of(self.pace, PACES, "pace")
        if self.bars is not None and self.bars < 1:
            raise ValueError(f"bars must be at least 1, got {self.bars}")
        if self.form is not None:
            checked_form(self.form)
        for name, read in (("key", _key), ("metre", _metre)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, read(value))

    @classmethod
    def of(cls, measured: Attributes, **more: Any) -> Header:
        """The header that asks for what was measured; `more` are further fields, or others instead."""
        try:
            metre = None if measured.metre is None else metre_name(metre_index(measured.metre))
        except ValueError:
            metre = None  # a metre outside the table has no control
        fields: dict[str, Any] = {
            "key": measured.key,
            "metre": metre,
            "pace": measured.pace,
            "density": measured.density,
            "register": measured.register,
            "polyphony": measured.polyphony,
            "bars": measured.bars,
        }
        return cls(**fields | more)

    def without(self, *names: str) -> Header:
        """The header with these fields not said; `instruments` and `countdown` are left out likewise."""
        fields = [f.name for f in dataclasses.fields(self)]
        off = {one_of(name, fields, "control") for name in names}
        left: dict[str, Any] = {n: False if n in ("instruments", "countdown") else None for n in off}
        return dataclasses.replace(self, **left)


def _key(value: Key | str) -> str:
    return key_name(key_index(value))


def _metre(value: tuple[int, int] | str) -> str:
    return metre_name(metre_index(value))


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What can be measured of a piece. `key` is the stated one, else the estimated `sounding_key`."""

    key: str | None
    sounding_key: str | None
    metre: tuple[int, int] | None
    pace: str
    tempo: float
    density: int
    register: int | None
    polyphony: int | None
    bars: int
    instruments: tuple[int, ...]
    notes_per_quarter: float
    mean_pitch: float
    mean_polyphony: float


def attributes_of(score: Score) -> Attributes:
    """Measure a score with notes. ValueError for one without."""
    columns = [(t, t.notes.numpy()) for t in score.tracks if len(t.notes)]
    if not columns:
        raise ValueError("there are no notes, so there is nothing to measure")
    end, bars = last_tick(score), bar_table(score)
    quarters = end / score.tpq
    pitched = [c for t, c in columns if not t.is_drum]
    join = (
        {n: np.concatenate([c[n] for c in pitched]).astype(np.int64) for n in pitched[0]} if pitched else None
    )
    stated = key_map(score)
    sounding = _sounding_key(join)
    tempo = _mean_tempo(score, end)
    density = sum(len(c["time"]) for _, c in columns) / max(quarters, 1e-9)
    mean_pitch = float(join["pitch"].mean()) if join else float("nan")
    together = _together(join["time"], join["time"] + join["duration"]) if join else float("nan")
    return Attributes(
        key=str(stated[0][1]) if stated else sounding,
        sounding_key=sounding,
        metre=_commonest(bars.numerator, bars.denominator),
        pace=PACES[class_of(tempo, PACE_EDGES)],
        tempo=tempo,
        density=class_of(density, DENSITY_EDGES),
        register=class_of(mean_pitch, REGISTER_EDGES) if join else None,
        polyphony=class_of(together, POLYPHONY_EDGES) if join else None,
        bars=len(bars),
        instruments=tuple(DRUMS if t.is_drum else int(t.program) for t, _ in columns),
        notes_per_quarter=density,
        mean_pitch=mean_pitch,
        mean_polyphony=together,
    )


def class_of(value: float, edges: Sequence[float]) -> int:
    """How many edges a value has reached."""
    return int(np.searchsorted(edges, value, side="right"))


def _sounding_key(notes: dict[str, np.ndarray] | None) -> str | None:
    if notes is None:
        return None
    return str(estimate_key(np.bincount(notes["pitch"] % 12, weights=notes["duration"], minlength=12)))


def _commonest(numerator: np.ndarray, denominator: np.ndarray) -> tuple[int, int] | None:
    pairs, count = np.unique(np.stack([numerator, denominator], axis=1), axis=0, return_counts=True)
    return tuple(pairs[count.argmax()].tolist()) if len(pairs) else None


def _mean_tempo(score: Score, end: int) -> float:
    tempi = [(t, q) for t, q in tempo_map(score) if t < end or not t]
    ticks = np.diff([t for t, _ in tempi], append=max(end, tempi[-1][0] + 1))
    return float(np.average([q for _, q in tempi], weights=ticks))


def _together(onset: np.ndarray, end: np.ndarray) -> float:
    """Mean number of notes that sound while any does."""
    times = np.concatenate([onset, end])
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(np.repeat([1, -1], len(onset))[order])[:-1]
    heard = np.diff(times[order]) * (sounding > 0)
    return float((end - onset).sum() / max(heard.sum(), 1))


def header_tokens(layout: Layout, header: Header, tracks: Sequence[int]) -> list[int]:
    """Begin … Start."""
    values: dict[str, int | None] = {
        "Style": None if header.style is None else layout.styles.index(_style(layout, header.style)),
        "Key": None if header.key is None else key_index(header.key),
        "Metre": None if header.metre is None else metre_index(header.metre),
        "Pace": None if header.pace is None else PACES.index(header.pace),
        "Density": header.density,
        "Register": header.register,
        "Polyphony": header.polyphony,
        "Num": header.bars if header.bars is not None and header.bars <= NUMBERS else None,
    }
    tokens = [BEGIN, *(layout.id(name, v) for name in _ORDER if (v := values[name]) is not None)]
    if header.form is not None:
        tokens.append(FORM)
        for section in header.form:
            tokens += [layout.id("Section", LABELS.index(section.label)), layout.id("Num", section.bars)]
            tokens += {"new": [], "exact": [EXACT], "varied": [VARY]}[section.repeat]
    if header.instruments:
        tokens += [ENSEMBLE, *(layout.base["Program"] + p for p in tracks)]
    return [*tokens, START]


def _style(layout: Layout, style: str) -> str:
    if not layout.styles:
        raise ValueError(f"this codec knows no styles, so {style!r} cannot be asked for")
    return one_of(style, layout.styles, "style")


def read_header(layout: Layout, tokens: Sequence[int], *, countdown: bool) -> tuple[Header, list[int] | None]:
    """The header of Begin … Start, and its tracks (None: not declared)."""
    fields: dict[str, Any] = {"countdown": countdown, "instruments": ENSEMBLE in tokens}
    sections: list[Section] = []
    tracks: list[int] = []
    form = FORM in tokens
    behind = False
    for token in tokens:
        name, value = layout.names[layout.kind[token]], int(layout.value[token])
        if token == FORM:
            behind = True
        elif token in (EXACT, VARY) and sections:
            sections[-1] = dataclasses.replace(sections[-1], repeat="exact" if token == EXACT else "varied")
        elif name == "Section":
            sections.append(Section(LABELS[value], 1))
        elif name == "Num" and behind and sections:
            sections[-1] = dataclasses.replace(sections[-1], bars=value)
        elif name == "Program":
            tracks.append(value)
        elif name != "Special":
            fields |= _field(layout, name, value)
    if form:
        fields["form"] = tuple(sections)
    return Header(**fields), tracks if fields["instruments"] else None


def _field(layout: Layout, name: str, value: int) -> dict[str, Any]:
    read = {
        "Style": lambda: layout.styles[value],
        "Key": lambda: key_name(value),
        "Metre": lambda: metre_name(value),
        "Pace": lambda: PACES[value],
        "Num": lambda: value,
    }
    field = "bars" if name == "Num" else name.lower()
    return {field: read.get(name, lambda: value)()}
