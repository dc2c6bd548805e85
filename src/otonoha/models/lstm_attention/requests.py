"""From the controls that a person turns to the constraints of a codec, and from tokens to a finished score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from symusic import Score, Tempo, TextMeta

from otonoha.models.lstm_attention.config import Controls
from otonoha.music.markers import marker
from otonoha.music.theory import Key
from otonoha.music.time import tempo_map
from otonoha.music.voices import melody
from otonoha.sample.choose import Choice
from otonoha.tokens.base import Codec, Tokens
from otonoha.tokens.place import OTHER_METRE, UNKNOWN_KEY, bar_ticks, metre_index, metre_name

BARS = 16
"""Bars to write when nobody says how many."""
TEMPO = 100.0
_TONICS = {False: (0, 2, 7, 5, 10, 9, 3), True: (2, 9, 4, 7, 0, 11)}  # major, minor: up to three accidentals


@dataclass(frozen=True)
class Opening:
    """How a piece may begin: style, metre, pick-up in quarter notes, mode; `count` of it in the training data."""

    style: str
    metre: str
    pickup: float
    minor: bool
    count: int


def openings(sequences: Sequence[Tokens], styles: Sequence[str], resolution: int, most: int = 60) -> tuple:
    """The commonest openings of encoded pieces, as plain tuples for the config."""
    counted = Counter(o for t in sequences if (o := _opening(t, styles, resolution)) is not None)
    return tuple((*opening, count) for opening, count in counted.most_common(most))


def _opening(tokens: Tokens, styles: Sequence[str], resolution: int) -> tuple[str, str, float, bool] | None:
    first = {n: int(s[0]) for n, s in tokens.streams.items()}
    if first["metre"] == OTHER_METRE:
        return None  # a metre that the codec can read but not write
    metre, bar = metre_name(first["metre"]), bar_ticks(first["metre"], resolution)
    place = first["quarter"] * resolution + first["beat"]
    upbeat = (bar - place) % bar / resolution
    style = styles[first["style"]] if first.get("style", len(styles)) < len(styles) else ""
    return style, metre, upbeat, 12 <= first["key"] < UNKNOWN_KEY


def choose_opening(known: Sequence[tuple], controls: Controls, rng: np.random.Generator) -> dict[str, Any]:
    """metre, pickup and key where the controls leave them open, drawn as they are common in the training data."""
    fits = [o for o in (Opening(*k) for k in known) if _fits(o, controls)]
    if fits:
        weights = np.array([o.count for o in fits], float)
        chosen = fits[int(rng.choice(len(fits), p=weights / weights.sum()))]
    else:
        chosen = Opening("", controls.metre or "4/4", 0.0, bool(rng.random() < 0.3), 1)
    tonic = int(rng.choice(_TONICS[chosen.minor]))
    key = Key(tonic, "minor" if chosen.minor else "major")
    return {
        "style": controls.style or chosen.style or None,
        "metre": controls.metre or chosen.metre,
        "pickup": chosen.pickup if controls.pickup is None else controls.pickup,
        "key": controls.key or str(key),
    }


def _fits(opening: Opening, controls: Controls) -> bool:
    minor = None if controls.key is None else Key.parse(controls.key).mode == "minor"
    return (
        controls.style in (None, opening.style)
        and controls.metre in (None, opening.metre)
        and controls.pickup in (None, opening.pickup)
        and minor in (None, opening.minor)
    )


def constraints(codec: Any, controls: Controls, opening: dict[str, Any] | None) -> Any:
    """The constraints of the codec; without an opening (after a prompt) metre and pick-up stay as they are."""
    chosen = opening or {"key": controls.key, "metre": controls.metre, "pickup": controls.pickup or 0}
    return codec.constraints(
        bars=controls.bars or BARS,
        key=chosen["key"],
        metre=chosen["metre"],
        pickup=Fraction(chosen["pickup"]).limit_denominator(96),
        scale_only=bool(controls.scale_only),
        low=controls.low,
        high=controls.high,
        max_rest=controls.max_rest,
        on_the_line=controls.on_the_line,
    )


def limit(codec: Any, controls: Controls) -> int:
    """Positions after which writing stops whatever happens; what opens and closes the bars included."""
    return codec.most_positions((controls.bars or BARS) + 2)


def choices(controls: Controls, streams: Sequence[str]) -> dict[str, Choice]:
    """How each stream is drawn: the rhythm may have its own temperature, and is free to repeat itself."""
    pitch = 1.0 if controls.temperature is None else controls.temperature
    rhythm = pitch if controls.rhythm_temperature is None else controls.rhythm_temperature
    cut = Choice(top_k=controls.top_k or 0, top_p=controls.top_p or 1.0, min_p=controls.min_p or 0.0)
    tune = replace(cut, temperature=pitch, repetition=controls.repetition or 0.0)
    return {n: replace(cut, temperature=rhythm) if n == "duration" else tune for n in streams}


def decoded(codec: Codec, controls: Controls, prompt: Score | None, tokens: Tokens) -> Score:
    """The score, at the tempo and with the instrument that were asked for, else with those of the prompt."""
    score = codec.decode(tokens).copy()
    tempos = (
        []
        if prompt is None or controls.tempo
        else [(t * score.tpq // prompt.tpq, q) for t, q in tempo_map(prompt)]
    )
    score.tempos = [Tempo(t, qpm=q) for t, q in tempos or [(0, controls.tempo or TEMPO)]]
    if prompt is not None and len(score.tracks) == 1:
        _dress(score, melody(prompt))
    for track in score.tracks:
        track.program = track.program if controls.program is None else controls.program
    return score


def _dress(score: Score, given: Score) -> None:
    """Give a continuation the name, instrument, words and titles of the melody that it continues."""
    track, source = score.tracks[0], given.tracks[0]
    track.name, track.program = source.name or track.name, source.program
    track.lyrics = [TextMeta(t.time * score.tpq // given.tpq, t.text) for t in source.lyrics]
    for name in ("title", "composer"):
        for tick, value in marker(given, name):
            score.markers.append(TextMeta(tick, f"{name}:{value}"))


def check(controls: Controls) -> None:
    """Raise ValueError for a key or metre that cannot be read or a control that does nothing here."""
    if controls.notes is not None:
        raise ValueError("notes has no effect on this model; bars says how long the piece gets")
    if controls.key is not None:
        Key.parse(controls.key)
    if controls.metre is not None:
        metre_index(controls.metre)
