"""What a model may be asked to do, and what it answers. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from symusic import Score

from otonoha.tokens.base import Tokens


@dataclass(frozen=True)
class Compose:
    """Write a piece from nothing."""


@dataclass(frozen=True, eq=False)
class Continue:
    """Go on after a prompt: a Score; for models of sound a recording, or codes (Tokens)."""

    prompt: Any


@dataclass(frozen=True, eq=False)
class Upsample:
    """Write the finer levels of sound anew, under the coarser codes of a recording or of Tokens; from where to where,
    controls say.
    """

    prompt: Any


@dataclass(frozen=True, eq=False)
class Answer:
    """Write the phrase that answers a given one."""

    prompt: Score


@dataclass(frozen=True, eq=False)
class Accompany:
    """Write the other tracks to a given one."""

    prompt: Score


@dataclass(frozen=True, eq=False)
class Infill:
    """Write some bars of some tracks of a piece anew; all other notes stay as they are."""

    prompt: Score


@dataclass(frozen=True, eq=False)
class Vary:
    """Change some of the notes of a piece, in their rhythm."""

    prompt: Score


@dataclass(frozen=True, eq=False)
class Join:
    """Write the bars that lead from one piece to another; both stay as they are."""

    prompt: Score
    to: Score


@dataclass(frozen=True, eq=False)
class Harmonise:
    """Write the voices that are missing in a piece."""

    prompt: Score


@dataclass(frozen=True, eq=False)
class Request:
    """Everything that decides a result: the same request gives the same music."""

    model: str
    task: Any
    controls: Any
    seed: int
    index: int = 0


@dataclass(frozen=True, eq=False)
class Take:
    """One result: the music (a Score, or Audio), the tokens it was decoded from and the request."""

    music: Any
    tokens: Tokens
    request: Request
    traces: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model thought while it wrote (or reads) a piece of T events.

    `attention` (H, T, S): how much event t looked back at each of the S `attended` places; `probabilities`:
    stream -> (T, V) chances of every symbol just before the event; `pitches` (T, 128) those of MIDI pitches.
    """

    events: list[str]
    attended: list[str]
    attention: np.ndarray
    probabilities: dict[str, np.ndarray]
    pitches: np.ndarray
    tokens: Tokens
    music: Score


@dataclass(frozen=True, eq=False)
class Critique:
    """What a critic says of a piece of N bars: the higher a score, the more like real music.

    `bars` (N) are their names; `scores` (N) those of the phrases around each bar, NaN where none was judged;
    `real` (R) the scores of real phrases, to compare with.
    """

    bars: list[str]
    scores: np.ndarray
    real: np.ndarray
    tokens: Tokens
    music: Score


@dataclass(frozen=True)
class Progress:
    """How far a request is: positions written of about `total`."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Partial:
    """What is written so far of each piece, and how it sounds where that can be told already; of the sound, `since`
    seconds were told before.
    """

    tokens: list[Tokens]
    music: list[Any] = field(default_factory=list)
    since: float = 0.0


@dataclass(frozen=True, eq=False)
class Done:
    """The last event of a stream."""

    takes: list[Take]
