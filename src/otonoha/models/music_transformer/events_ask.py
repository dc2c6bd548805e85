"""From the controls that a person turns to what the `events` codec is asked: constraints, header, form, regions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from symusic import Score

from otonoha.models.music_transformer.config import Controls
from otonoha.music.theory import Key
from otonoha.sample.choose import Choice
from otonoha.tokens.events import Events, Header, Section
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_header import PACE_EDGES, class_of
from otonoha.tokens.events_instruments import COMPASS, DRUMS, INSTRUMENTS
from otonoha.tokens.events_vocab import PACES

if TYPE_CHECKING:
    from otonoha.sample.tasks import Request

BARS = 16
"""Bars to write when nobody says how many."""
SECTION = 4
"""Bars of a section when nobody says how many."""
IN_HEADER = ("style", "key", "metre", "density", "register", "polyphony")
FOR_REGIONS = ("only_bars", "only_tracks")
NEW_MUSIC = (
    "bars",
    "metre",
    "pickup",
    "tempo",
    "form",
    "style",
    "density",
    "register",
    "polyphony",
    "guidance",
)
"""Controls of music that begins or goes on, without effect where a piece is changed."""
USELESS = {
    "compose": (*FOR_REGIONS, "strength"),
    "continue": (*FOR_REGIONS, "strength", "metre", "pickup", "form"),
    "infill": (*NEW_MUSIC, "strength", "instruments"),
    "accompany": (*NEW_MUSIC, "strength", *FOR_REGIONS),
    "vary": (*NEW_MUSIC, "instruments"),
    "join": (*(n for n in NEW_MUSIC if n != "bars"), "strength", "instruments", *FOR_REGIONS),
}
"""Task -> controls that do nothing there."""


def heeded(request: Request, defaults: Mapping[str, Any]) -> Controls:
    """The controls of a request. ValueError for one that does nothing in this task; `defaults` that do nothing are left
    out.
    """
    task, controls = type(request.task).__name__.lower(), request.controls
    for name in USELESS[task]:
        value = getattr(controls, name)
        if value is None:
            continue
        if name not in defaults or value != defaults[name]:
            raise ValueError(f"{name} has no effect on the task {task}; leave it out")
        controls = replace(controls, **{name: None})
    if controls.scale_only and controls.key is None:
        raise ValueError("scale_only needs a key; say which, such as G major")
    if (
        controls.key is not None
        and not controls.scale_only
        and task in ("infill", "accompany", "vary", "join")
    ):
        raise ValueError(f"key has no effect on the task {task} without scale_only; leave it out")
    return controls


def instruments(controls: Controls) -> tuple[str, ...] | None:
    """The tracks that are asked for."""
    if controls.instruments is None:
        return None
    names = tuple(word.strip() for word in controls.instruments.split(",") if word.strip())
    if not names:
        raise ValueError("instruments needs one name at least, such as violin,cello")
    return names


def header_of(controls: Controls, bars: int, other: Header | None = None) -> Header:
    """The controls before the music, of so many bars; what is not said is as in `other`."""
    said = {name: getattr(controls, name) for name in IN_HEADER}
    if controls.tempo is not None:
        said["pace"] = PACES[class_of(controls.tempo, PACE_EDGES)]
    return replace(other or Header(), **{n: v for n, v in said.items() if v is not None}, bars=bars)


def form(controls: Controls) -> tuple[Section, ...] | None:
    """ "AABA" or "AA'BA": a letter that comes again is the same again, with ' a variation of it."""
    if controls.form is None:
        return None
    text = controls.form.strip()
    letters = re.findall(r"([A-Ha-h])(['’]?)", text)
    if not letters or "".join(a + b for a, b in letters) != text:
        raise ValueError(
            f"cannot read form {text!r}; write letters A … H such as AABA, with ' for a variation: AA'BA"
        )
    bars = controls.bars or SECTION * len(letters)
    if bars % len(letters):
        raise ValueError(f"{bars} bars cannot be divided into the {len(letters)} sections of form {text}")
    sections, known = [], set()
    for letter, mark in letters:
        label = letter.upper()
        if mark and label not in known:
            raise ValueError(f"form {text!r} varies section {label} before it was heard")
        kind = "new" if label not in known else "varied" if mark else "exact"
        known.add(label)
        sections.append(Section(label, bars // len(letters), kind))  # type: ignore[arg-type]
    return tuple(sections)


def of_piece(codec: Events, controls: Controls) -> EventConstraints:
    """What a new piece is asked to be."""
    plan = form(controls)
    bars = sum(s.bars for s in plan) if plan is not None else controls.bars or BARS
    pickup = Fraction(round((controls.pickup or 0) * codec.resolution), codec.resolution)
    if controls.pickup and not pickup:
        raise ValueError(
            f"a pick-up has 1/{codec.resolution} of a quarter note at least, got {controls.pickup}"
        )
    return replace(
        going_on(codec, controls),
        bars=bars,
        form=plan,
        metre=controls.metre or ("4/4" if pickup else None),
        pickup=pickup,
        ranges=COMPASS,
        header=header_of(controls, bars + bool(pickup)),
    )


def going_on(codec: Events, controls: Controls) -> EventConstraints:
    """What the bars behind a piece are asked to be."""
    asked: dict[str, Any] = {
        "bars": controls.bars or BARS,
        "key": None if controls.key is None else Key.parse(controls.key),
        "tempo": controls.tempo,
        "instruments": instruments(controls),
        "scale_only": bool(controls.scale_only),
    }
    return codec.constraints(**asked)


def in_region(controls: Controls) -> EventConstraints:
    """What the notes of a region are asked to be."""
    key = None if controls.key is None else Key.parse(controls.key)
    return EventConstraints(key=key, scale_only=bool(controls.scale_only))


def choice(controls: Controls) -> Choice:
    """How symbols are drawn."""
    warmth = 1.0 if controls.temperature is None else controls.temperature
    return Choice(
        temperature=warmth,
        top_k=controls.top_k or 0,
        top_p=controls.top_p or 1.0,
        min_p=controls.min_p or 0.0,
    )


def tracks_of(text: str | None, score: Score, sounding: Sequence[int]) -> list[int]:
    """ "alto,2" -> numbers of tracks from 0, by name, instrument or number from 1; all that sound without a text."""
    if text is None:
        return list(sounding)
    chosen: set[int] = set()
    names = [
        (t.name.strip().lower(), INSTRUMENTS[DRUMS if t.is_drum else t.program], str(i + 1))
        for i, t in enumerate(score.tracks)
    ]
    words = [word for w in text.split(",") if (word := w.strip().lower())]
    if not words:
        raise ValueError("only_tracks needs one track at least, by name or number")
    for word in words:
        found = {i for i, called in enumerate(names) if word in called}
        if not found:
            known = ", ".join(f"{number} {name or played}" for name, played, number in names)
            raise ValueError(f"there is no track {word!r} for only_tracks; the piece has {known}")
        if not found & set(sounding):
            raise ValueError(f"track {word!r} has no notes; accompany writes new tracks")
        chosen |= found & set(sounding)
    return sorted(chosen)
