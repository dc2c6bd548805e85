"""Config and Controls of a system: a codec and the priors of its levels as one model. Torch-free.

A system is assembled from models that are trained already, so its Config only says which they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otonoha.sample.choose import Choice
from otonoha.sample.controls import control

USUAL_SECONDS = 10.0
"""What is written where nobody says how much."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the parts are. `levels` the coarsest first, `parts` their fingerprints."""

    codec: str = ""
    """Fingerprint of the codec."""
    rate: int = 44100
    """Samples per second."""
    hops: tuple[int, ...] = (8, 32, 128)
    """Samples for a code of every level, the finest first."""
    levels: tuple[int, ...] = ()
    """The levels that are written, the coarsest first."""
    parts: tuple[str, ...] = ()
    """Fingerprints of their priors."""

    def __post_init__(self) -> None:
        for name in ("hops", "levels", "parts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        top = len(self.hops) - 1
        if not self.levels or self.levels != tuple(range(top, top - len(self.levels), -1)):
            raise ValueError(
                f"a system has the priors of some levels from the coarsest ({top}) down, got {list(self.levels)}"
            )
        if len(self.parts) != len(self.levels):
            raise ValueError(f"{len(self.levels)} levels need as many parts, got {len(self.parts)}")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a person can turn."""

    seconds: float | None = control(0.001, 86_400)
    """Seconds to write (after the prompt, if there is one); when unset up to the last of the notes, or 10."""
    artist: str | None = control()
    """Who plays: a name, or a mix that changes over time, as in "ana:0.7, bo:0.3 @0; bo @20" (weights, and seconds)."""
    genre: str | None = control()
    """The style: a name, or a mix as of artists."""
    lyrics: str | None = control()
    """The words that are sung (on the command line also the name of a .txt or .lrc file); those of an LRC text are told
    when they are sung."""
    notes: str | None = control()
    """The notes that are played: a score (on the command line a file: MIDI, MusicXML, ABC), or begin, end (seconds) and
    pitch of each, as in "0 0.5 60, 0.5 1 64" (design modern)."""
    song_seconds: float | None = control(0.001, 86_400)
    """How long the whole song is told to be, of which this may be a part."""
    offset: float | None = control(0, 86_400)
    """Where in that song (its words, its notes) the piece is told to begin, in seconds."""
    guidance: float | None = control(0, 10)
    """How strictly all that is told is followed: 1 as learnt, more more strictly (design modern)."""
    temperature: float | None = control(0, 5)
    """Of codes: below 1 plainer, above 1 more adventurous."""
    temperatures: str | None = control()
    """The same level by level, the coarsest first, as in "0.98,0.99,0.99"."""
    top_k: int | None = control(0, 65_536)
    """Only the so many likeliest codes."""
    top_p: float | None = control(0.01, 1)
    """Only the likeliest codes that together have this probability."""
    hop: str | None = control()
    """From one window to the next, as a share of the window: one for all levels or one each, the coarsest first, as in
    "0.125,0.5,0.5"."""
    parallel: bool | None = control()
    """Write all windows of the finer levels at once and their seams anew: quicker where many fit side by side."""
    rows: int | None = control(1, 65_536)
    """With parallel: the most windows that are computed together."""
    steps: int | None = control(1, 1024)
    """Steps in which a window is written by masked priors (design modern): more are better and slower; 8 when unset."""
    noise: float | None = control(0, 100)
    """How much chance decides, at first, which codes such a step keeps: 0 the surest; 1 when unset."""
    level: int | None = control(0, 7)
    """The finest level to write, from which the sound is made: 0 is the finest, others are quicker and rougher."""
    keep: float | None = control(0, 86_400, tasks=("continue",))
    """Seconds of the prompt to keep (continue); all of it when unset."""
    from_level: int | None = control(1, 7, tasks=("upsample",))
    """The level whose codes stay while finer ones are written anew (upsample); the finest that codes have, or the
    coarsest."""
    begin: float | None = control(0, 86_400, tasks=("upsample",))
    """Where the part to write anew begins, in seconds (upsample)."""
    end: float | None = control(0, 86_400, tasks=("upsample",))
    """Where it ends."""


def per_level(text: str, levels: Sequence[int], what: str, low: float, high: float) -> dict[int, float]:
    """ "0.5" or "0.125,0.5,0.5" -> a number for every level; `levels` the coarsest first."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or len(found) not in (1, len(levels)) or not all(low <= x <= high for x in found):
        one = "one number" if len(levels) == 1 else f"one number or {len(levels)}, the coarsest level first,"
        raise ValueError(f"{what} must be {one} within {low:g} … {high:g} with commas between, got {text!r}")
    return dict(zip(levels, found * (len(levels) // len(found))))


class Said:
    """The controls of a request, and which of them somebody asked for: a default of the checkpoint need not apply."""

    def __init__(self, controls: Controls, defaults: Mapping[str, Any]) -> None:
        self.controls, self.defaults = controls, defaults

    def __getattr__(self, name: str) -> Any:
        return getattr(self.controls, name)

    def insisted(self, name: str) -> bool:
        """Whether it was set, to something else than the checkpoint's default."""
        value = getattr(self.controls, name)
        return value is not None and value != self.defaults.get(name)

    def refuse(self, names: Sequence[str], why: str) -> None:
        """ValueError for the first of these controls that was asked for."""
        for name in names:
            if self.insisted(name):
                raise ValueError(f"{name} has no effect {why}")

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Those of these controls that have a value."""
        values = {name: getattr(self.controls, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def choices(self, levels: Sequence[int]) -> dict[int, Choice]:
        """How the codes of every level are chosen."""
        both = self.insisted("temperature") and self.insisted("temperatures")
        if both:
            raise ValueError("temperature and temperatures contradict each other; leave out one of them")
        warmth: dict[int, float] = dict.fromkeys(levels, 0.99)
        by_level = self.temperatures is not None and not self.insisted("temperature")
        if by_level:
            warmth = per_level(self.temperatures, levels, "temperatures", 0, 5)
        elif self.temperature is not None:
            warmth = dict.fromkeys(levels, self.temperature)
        cut: dict[str, Any] = {"top_k": self.top_k or 0, "top_p": 1.0 if self.top_p is None else self.top_p}
        return {level: Choice(temperature=warmth[level], **cut) for level in levels}
