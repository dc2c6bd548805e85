"""Lyric alignment: when each word of a recording is sung, read from where a prior looks while it hears the codes.

    align(model, music, lyrics)       words with times, and what they were read from
    ranked(prior, recordings)         all heads by how monotone they are (alignment_path.py), the best first
    choose_head(prior, pieces)        the best one, kept with the weights

Dhariwal et al. 2020 (Jukebox) read one head that they had found by eye. Here the head is the most monotone one on
recordings that were given (or, if none were, on the recording itself); the path through its attention is exact, and
frames in which nothing sounds are left out of it. Axes: F frames, L characters of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from otonoha.models.jukebox import alignment_path as paths
from otonoha.models.jukebox.alignment_attention import layers_of
from otonoha.models.jukebox.alignment_song import Heard, heard, heard_piece, reader_of
from otonoha.models.jukebox.alignment_windows import FRAME, Looks, Progress, looks, seconds_of
from otonoha.models.jukebox.alignment_words import onset_errors, with_times
from otonoha.models.jukebox.system_config import Controls
from otonoha.music.piece import Piece
from otonoha.music.sung_text import SungText

PUBLISHED = {("v3", 12, 72): (63, 0), ("v2", 10, 79): (68, 2)}
"""(tables of names, pattern, layers) of the original's models with lyrics -> the layer and head they are read from."""
CARD = "alignment"
"""Where a model's card keeps its head."""
CELLS = 1 << 28
"""Numbers of attention that are held at once; frames are longer for a song that has more."""
PASSES = 2
"""Times that a recording is read whose text is longer than what a window sees."""
LATEST = 0.5
"""Seconds of lag at most: what is further off has not followed the words."""
LEANS = (paths.LEAN, 4.0, 16.0, 64.0)
"""What a head's path may lean towards an even reading, in nats a frame at the far end of the text."""
WEAK = 0.1
"""Nats a frame below which a head follows the words hardly better than chance."""


@dataclass(frozen=True)
class Head:
    """A head to read from. `score`: its monotonicity in nats a frame; `lag`: seconds by which words begin too late in
    it, and `lean`: how much its path leans towards an even reading, both measured where times were known.
    """

    layer: int
    head: int
    score: float = 0.0
    lag: float = 0.0
    lean: float = paths.LEAN


@dataclass(frozen=True, eq=False)
class Alignment:
    """`text`: the lyrics with the times of words and lines. `weights` (F, L): how frames of `frame` seconds look at the
    characters of `text.text`; `path` (F,): the character of each frame, −1 where nothing sounds. `choice`: the heads
    that were compared, the best first; empty if the head was known before.
    """

    text: SungText
    head: Head
    weights: np.ndarray
    path: np.ndarray
    frame: float
    choice: tuple[Head, ...] = ()

    @property
    def weak(self) -> bool:
        """Whether the head that was chosen follows the words hardly better than chance."""
        return bool(self.choice) and self.head.score < WEAK


def align(
    model: Any,
    music: Any,
    lyrics: SungText | str,
    *,
    level: int | None = None,
    head: Head | tuple[int, int] | None = None,
    progress: Progress | None = None,
    **said: Any,
) -> Alignment:
    """When the words of a recording are sung, by a prior or by a system (`level`: by which of its priors).

    `music`: Audio, Recording, Piece, Take, or codes (Tokens). `lyrics`: a text, LRC, or SungText; times in it are not
    used. `head`: (layer, head); else the one that is kept with the weights, else the most monotone one on this
    recording. `said`: artist, genre, song_seconds, offset. ValueError for a prior that reads no lyrics.
    """
    reader = reader_of(model, level)
    prior, case = reader.prior, heard(reader, music, lyrics, Controls(**said), progress)
    known = _given(prior, head) or kept(prior)
    choice = () if known else tuple(ranked(prior, [case]))
    return read(prior, case, known or choice[0], choice=choice, progress=progress)


def read(
    prior: Any, case: Heard, head: Head, *, choice: tuple[Head, ...] = (), progress: Progress | None = None
) -> Alignment:
    """The words of a recording, read from one head."""
    place, times = [(head.layer, head.head)], None
    at = np.asarray(case.asked.symbols.clock).astype(np.int64)
    for _ in range(PASSES if len(case.asked.ids) > prior.n_lyrics else 1):
        found = looks(prior, case.asked, place, times=times, frame=_frame(prior, case, 1), progress=progress)
        path, spans = _read(found, case, head.lean)
        times = np.maximum.accumulate(spans[at, 0])  # from now on windows are told what is sung in them
    text = with_times(case.text, np.maximum(spans - head.lag, 0.0))
    return Alignment(text, head, found.weights[0], path, found.frame, choice)


def _frame(prior: Any, case: Heard, heads: int) -> float:
    """Seconds: longer than usual where a long text and a long recording would fill the memory."""
    cells = heads * len(case.asked.ids) * seconds_of(prior, case.asked) / FRAME
    return FRAME * max(1.0, cells / CELLS)


def _read(found: Looks, case: Heard, lean: float) -> tuple[np.ndarray, np.ndarray]:
    """(F,) the character of each frame, and (L, 2) when each character is sung."""
    frames = case.sounding(found.weights.shape[1], found.frame)
    most = paths.most_steps(len(frames), case.asked.length, found.frame)
    gains = paths.gains(found.weights[:, frames], found.seen[frames])
    own = paths.best_paths(gains, most, lean)[0][0]
    path = np.full(found.weights.shape[1], -1, np.int64)
    path[frames] = own
    return path, paths.spans(own, frames, case.asked.length, found.frame)


def even(case: Heard, frames: int, seconds: float) -> SungText:
    """The words of a recording spread evenly over the frames in which it sounds: what one knows without listening."""
    there = case.sounding(frames, seconds)
    path = paths.even_path(len(there), case.asked.length)
    return with_times(case.text, paths.spans(path, there, case.asked.length, seconds))


# -- which head ------------------------------------------------------------------------------------------


def heads_of(prior: Any) -> list[tuple[int, int]]:
    """All heads that look at lyrics: (layer, head)."""
    found = [(layer, head) for layer in layers_of(prior) for head in range(prior.config.heads)]
    if not found:
        raise ValueError(f"no layer of the prior of level {prior.level} looks at lyrics")
    return found


def ranked(prior: Any, cases: Sequence[Heard]) -> list[Head]:
    """All heads by their monotonicity on recordings, the best first: the mean over all frames in which they sound."""
    heads = heads_of(prior)
    total, frames = np.zeros(len(heads)), 0
    for case in cases:
        found = looks(prior, case.asked, heads, frame=_frame(prior, case, len(heads)))
        there = case.sounding(found.weights.shape[1], found.frame)
        most = paths.most_steps(len(there), case.asked.length, found.frame)
        for number, weights in enumerate(found.weights):
            gains = paths.gains(weights[there], found.seen[there])
            total[number] += len(there) * paths.monotonicity(gains[None], most)[0]
        frames += len(there)
    scores = total / max(1, frames)
    order = np.argsort(-scores, kind="stable")
    return [Head(heads[i][0], heads[i][1], float(scores[i])) for i in order]


def choose_head(prior: Any, pieces: Sequence[Piece]) -> Head:
    """The most monotone head on recordings with lyrics, kept in the prior's card from now on (save it afterwards).

    Where the recordings know when their words are sung and the head follows them, its lag and lean are measured too.
    """
    reader = reader_of(prior)
    cases = [heard_piece(reader, piece) for piece in pieces if piece.recording is not None]
    if not cases:
        raise ValueError(
            f"a head is chosen on recordings with lyrics; there are none among {len(pieces)} pieces"
        )
    head = ranked(prior, cases)[0]
    if head.score >= WEAK:
        head = measured(prior, [case for case in cases if case.text.timed], head)
    prior.card = {**prior.card, CARD: asdict(head)}
    return head


def measured(prior: Any, cases: Sequence[Heard], head: Head) -> Head:
    """A head with its lean, one of LEANS with which the median word is least off, and its lag: the median of how much
    too late words begin. Cases know when their words are sung; without any the head stays as it is.
    """
    found: list[tuple[float, Head]] = []
    for lean in LEANS if cases else ():
        own = replace(head, lean=lean, lag=0.0)
        late = np.concatenate([onset_errors(read(prior, case, own).text, case.text) for case in cases])
        own = replace(own, lag=lag_of(late))
        found.append((float(np.median(np.abs(late - own.lag))), own))
    return min(found, key=lambda pair: pair[0])[1] if found else head


def lag_of(late: np.ndarray) -> float:
    """The lag of a head, by whose path words begin so much too late."""
    return round(float(np.clip(np.median(late), -LATEST, LATEST)), 4)


def kept(prior: Any) -> Head | None:
    """The head that is kept with the weights, or that is known of the original's models."""
    told = prior.card.get(CARD)
    if told is not None:
        try:
            return _checked(prior, Head(**told))
        except TypeError:
            raise ValueError(f"the card of this prior names no head to read from: {told!r}") from None
    config = prior.config
    version = "own" if config.labels is None else config.labels.version
    found = PUBLISHED.get((version, config.pattern, config.layers))
    return None if found is None else Head(*found)


def _given(prior: Any, head: Head | tuple[int, int] | None) -> Head | None:
    if head is None:
        return None
    return _checked(prior, head if isinstance(head, Head) else Head(*head))


def _checked(prior: Any, head: Head) -> Head:
    if (head.layer, head.head) not in heads_of(prior):
        layers = ", ".join(map(str, layers_of(prior)))
        raise ValueError(
            f"layer {head.layer}, head {head.head} does not look at lyrics; layers {layers} do, with heads 0 … "
            f"{prior.config.heads - 1}"
        )
    return head
