"""Variations: some pitches of a piece hidden and guessed from both sides; rhythm and loudness are those of the score.

Axes: N notes of the score, T symbols, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from symusic import Score

from otonoha.models.music_transformer import events_ask as ask
from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.events_place import Place, read
from otonoha.models.music_transformer.events_windows import header_size
from otonoha.models.music_transformer.exchange import columns_of, repitched
from otonoha.sample.choose import draw, probabilities
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_asked import EventConstraints
from otonoha.tokens.events_bars import ticks
from otonoha.tokens.events_instruments import DRUMS
from otonoha.tokens.events_read import body_of, frame_of, notes_of, tracks_of

if TYPE_CHECKING:
    from otonoha.models.music_transformer.events import EventsDesign

ROUNDS = 8
"""Rounds in which hidden notes are guessed: a part of them each, knowing those of the rounds before."""
STRENGTH = 0.5
"""Share of notes that a variation changes, when nothing is said."""


@dataclass(frozen=True, eq=False)
class Sounds:
    """The notes of a score's sounding tracks, one track after the other: (N,) `track` of the tokens, `onset` and `end`
    in ticks of the score, `pitch`, and the index `at` of the symbol of each (-1: the grid has no room for it).
    """

    track: np.ndarray
    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    at: np.ndarray

    @classmethod
    def of(cls, codec: Events, place: Place) -> Sounds:
        """All notes of a place."""
        event = codec.event(place.tokens)
        begin = body_of(event)
        frame = frame_of(event[begin:], codec.layout)
        found = notes_of(event[begin:], codec.layout, frame, tracks_of(event, codec.layout))
        keys = zip(found.track.tolist(), found.onset.tolist(), found.pitch.tolist())
        symbol = dict(zip(keys, (found.index + begin).tolist()))
        each = [columns_of(place.score.tracks[home]) for home in place.homes]
        track = np.repeat(np.arange(len(each)), [len(c) for c in each])
        onset, end, pitch = (np.concatenate([getattr(c, n) for c in each]) for n in ("onset", "end", "pitch"))
        grid = ticks(onset, place.score.tpq, codec.resolution)
        at = [symbol.get(key, -1) for key in zip(track.tolist(), grid.tolist(), pitch.tolist())]
        return cls(track, onset, np.maximum(end, onset + 1), pitch.copy(), np.array(at))

    def beside(self, mine: np.ndarray, *, strokes: bool) -> np.ndarray:
        """(N,) bool: the other notes of the track that sound while one of `mine` does; strokes: that begin with it."""
        index = np.flatnonzero(mine)
        found = np.zeros(len(mine), bool)
        for i in index.tolist():
            if strokes:
                found |= (self.track == self.track[i]) & (self.onset == self.onset[i])
            else:
                together = (self.onset < self.end[i]) & (self.end > self.onset[i])
                found |= (self.track == self.track[i]) & together
        return found & ~mine


def varied(
    design: EventsDesign,
    place: Place,
    controls: Controls,
    dice: np.random.Generator,
    *,
    ranges: Mapping[str | int, tuple[int, int]] | None = None,
) -> tuple[Score, Tokens]:
    """The score of a place with a share of its pitches changed, one note at least; and its tokens. `ranges`: lowest and
    highest pitch by instrument, as of EventConstraints.
    """
    if not design.config.masked:
        raise ValueError(
            "this model has not learnt to guess masked notes (masked 0), so it cannot vary; infill can"
        )
    strength = STRENGTH if controls.strength is None else controls.strength
    if not strength:
        raise ValueError("strength 0 changes nothing; give a share of the notes above 0, up to 1")
    codec, choice = design.codec, ask.choice(controls)
    allowed = _allowed(codec, place, replace(ask.in_region(controls), ranges=ranges or {}))
    event, sounds, at = codec.event(place.tokens).copy(), Sounds.of(codec, place), notes_in(codec, place)
    if not len(at):
        raise ValueError("there is no note to vary in these bars and tracks")
    chosen = dice.permutation(at)[: max(1, round(strength * len(at)))]
    hidden = np.zeros(len(event), bool)
    hidden[chosen] = True
    for part in np.array_split(chosen, min(ROUNDS, len(chosen))):
        logits = _looked_at(design, place.tokens, event, hidden, part)
        for symbol, row in zip(part.tolist(), logits):
            (track,) = sounds.track[sounds.at == symbol]
            mask = allowed[track] & _free_for(codec, symbol, event, sounds, hidden)
            if not mask.any():
                raise ValueError("no pitch of the key is left for one of the notes; leave out scale_only")
            (event[symbol],) = draw(probabilities(row[None], choice, mask[None]), dice.random(1))
            sounds.pitch[sounds.at == symbol] = codec.layout.value[event[symbol]]
            hidden[symbol] = False
    pitches = {
        home: sounds.pitch[sounds.track == t] for t, home in enumerate(place.homes) if t in place.tracks
    }
    score = repitched(place.score, pitches)
    return score, read(codec, score)


def _allowed(codec: Events, place: Place, asked: EventConstraints) -> list[np.ndarray]:
    """(V,) bool for every track: pitches and drums that may be written."""
    allowed = []
    for home in place.homes:
        track, mask = place.score.tracks[home], codec.layout.among("Drum")
        mask[codec.layout.ids("Pitch")] = asked.pitches(DRUMS if track.is_drum else track.program)
        allowed.append(mask)
    return allowed


def _free_for(
    codec: Events, symbol: int, event: np.ndarray, sounds: Sounds, hidden: np.ndarray
) -> np.ndarray:
    """(V,) bool: what the note at `symbol` may become: another pitch (or stroke) than it has, and than the notes beside
    it have that are not hidden.
    """
    strokes = codec.layout.ids("Drum")
    family = strokes if event[symbol] in strokes else codec.layout.ids("Pitch")
    near = sounds.beside(sounds.at == symbol, strokes=family is strokes)
    unsettled = (sounds.at >= 0) & hidden[sounds.at]
    mask = np.zeros(codec.layout.size, bool)
    mask[family.start : family.stop] = True
    mask[event[symbol]] = False
    mask[family.start + sounds.pitch[near & ~unsettled]] = False
    return mask


def _looked_at(
    design: EventsDesign, tokens: Tokens, event: np.ndarray, hidden: np.ndarray, part: np.ndarray
) -> np.ndarray:
    """(n, V) logits of hidden symbols, each seen from the middle of as much as the network can see at once, behind the
    controls.
    """
    head = min(header_size(design.codec, tokens), design.network.shape.context // 2)
    size = design.network.shape.context - head
    streams = {**tokens.streams, "event": event}
    logits: np.ndarray = np.zeros((len(part), design.codec.layout.size))
    blocks = (part - head) // (size // 2)
    for block in np.unique(blocks).tolist():
        mine = np.flatnonzero(blocks == block)
        first = head + max(0, min(block * (size // 2) - size // 4, len(event) - head - size))
        seen = np.append(np.arange(head), np.arange(first, min(first + size, len(event))))
        found = design.guesses({n: s[seen] for n, s in streams.items()}, hidden[seen])
        logits[mine] = found[part[mine] - first + head]
    return logits


def notes_in(codec: Events, place: Place) -> np.ndarray:
    """(n,) where in the tokens the notes of the place stand."""
    cells, event = codec.cells(place.tokens), codec.event(place.tokens)
    kinds = [codec.layout.names.index(name) for name in ("Pitch", "Drum")]
    inside: np.ndarray = np.zeros(len(event), bool)
    for bar, track, start, stop in zip(cells.bar, cells.track, cells.start, cells.stop):
        inside[start:stop] |= bar in place.bars and track in place.tracks
    return np.flatnonzero(inside & np.isin(codec.layout.kind[event], kinds))
