"""Where a piece is written anew by design `events`, and how what was written comes into the given score.

Only the notes that were asked for come from the network: the score is the given one with these notes exchanged, so
all others stay as they were, to the tick. A note belongs to the bar in which the codec's grid puts its onset.
Axes: T symbols, N notes, B bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from symusic import Score, Track

from otonoha.models.music_transformer import events_ask as ask
from otonoha.models.music_transformer.config import Controls
from otonoha.models.music_transformer.exchange import columns_of, exchanged
from otonoha.music.theory import Key
from otonoha.music.time import last_tick
from otonoha.music.tracks import Notes, notes
from otonoha.sample.controls import bars_of
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events, Header
from otonoha.tokens.events_bars import nearest_tick, ticks
from otonoha.tokens.events_header import attributes_of
from otonoha.tokens.events_instruments import DRUMS, INSTRUMENTS, instrument
from otonoha.tokens.events_read import Frame, body_of, frame_of
from otonoha.tokens.events_repeats import expand
from otonoha.tokens.events_write import MAX_TRACKS

CHANGES = ("time_signatures", "tempos", "key_signatures")
OF_ALL = ("density", "register", "polyphony")
"""Controls that speak of all tracks together: what they are once more tracks have joined, nobody knows."""


@dataclass(frozen=True, eq=False)
class Place:
    """A score (new tracks included), its tokens, and the cells in them that are written anew. `homes`: of every track
    of the tokens its number in the score.
    """

    score: Score
    tokens: Tokens
    bars: list[int]
    tracks: list[int]
    homes: list[int]

    def put(self, codec: Events, row: Tokens) -> Score:
        """The score with the notes of `row` in these cells in the place of its own."""
        result, found = self.score.copy(), codec.decode(row)
        lines = bar_lines(codec, row)
        for track in self.tracks:
            mine, new = result.tracks[self.homes[track]], notes(found.tracks[track])
            keep = ~self.holds(ticks(columns_of(mine).onset, result.tpq, codec.resolution), lines)
            inside = self.holds(new.onset, lines)
            onset, end = (ticks(t[inside], codec.resolution, result.tpq) for t in (new.onset, new.end))
            come = Notes(onset, np.maximum(end - onset, 1), new.pitch[inside], new.velocity[inside])
            result.tracks[self.homes[track]] = exchanged(mine, keep, come)
        return result

    def go_on(self, codec: Events, row: Tokens) -> Score:
        """The score with the bars behind it, whose changes of metre, key and tempo come along."""
        result, found = self.put(codec, row), codec.decode(row)
        begin = int(bar_lines(codec, row)[self.bars[0]])
        for name in CHANGES:
            for event in getattr(found, name):
                if event.time >= begin:
                    moved = event.copy()
                    moved.time = nearest_tick(event.time, codec.resolution, result.tpq)
                    getattr(result, name).append(moved)
        return result

    def holds(self, onset: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """(N,) bool: onsets in ticks of the codec that lie in one of the bars."""
        return np.isin(np.searchsorted(lines, onset, side="right") - 1, self.bars)


def frame_in(codec: Events, tokens: Tokens) -> Frame:
    """The bars of a piece, repeats written out."""
    event = expand(codec.event(tokens), codec.layout)[0]
    return frame_of(event[body_of(event) :], codec.layout)


def bar_lines(codec: Events, tokens: Tokens) -> np.ndarray:
    """(B,) where the bars begin, in ticks of the codec."""
    return frame_in(codec, tokens).start


def within(codec: Events, score: Score, *, until: Score | None = None) -> Score:
    """A copy of a score whose changes of metre, key and tempo end with its notes, or with those of `until`."""
    result = score.copy()
    end = nearest_tick(last_tick(until or score), score.tpq, codec.resolution)
    for name in CHANGES:
        found = getattr(score, name)
        heard = [e for e in found if not e.time or nearest_tick(e.time, score.tpq, codec.resolution) < end]
        setattr(result, name, heard)
    return result


def damped(codec: Events, score: Score) -> Score:
    """A copy of a score in which no note rings beyond the bar in which the last one begins."""
    result, frame = score.copy(), frame_in(codec, codec.encode(score))
    last = max(int(columns_of(track).onset.max(initial=0)) for track in score.tracks)
    lines = np.append(frame.start, frame.end)
    line = int(np.searchsorted(lines, nearest_tick(last, score.tpq, codec.resolution), side="right"))
    end = nearest_tick(int(lines[min(line, len(lines) - 1)]), codec.resolution, score.tpq)
    for note in (note for track in result.tracks for note in track.notes if note.end > end):
        note.duration = end - note.time
    return result


def sounding(score: Score) -> list[int]:
    """The tracks with notes. ValueError where there are none."""
    found = [i for i, track in enumerate(score.tracks) if len(track.notes)]
    if not found:
        raise ValueError("the prompt has no notes")
    return found


def behind(codec: Events, prompt: Score, controls: Controls) -> Place:
    """The bars behind the one in which the last note of a piece begins; its own changes of metre, key, tempo end there.
    Where notes ring into the next bar, nothing else waits for them: the network reads the piece without that.
    """
    homes, heard = sounding(prompt), damped(codec, prompt)
    score, heard = within(codec, prompt, until=heard), within(codec, heard)
    tokens = read(codec, heard)
    old, new = len(bar_lines(codec, tokens)), controls.bars or ask.BARS
    tokens = codec.with_header(tokens, ask.header_of(controls, old + new, codec.header(tokens)))
    return Place(score, tokens, list(range(old, old + new)), list(range(len(homes))), homes)


def region_of(codec: Events, prompt: Score, controls: Controls) -> Place:
    """The cells that are named; all that are not restricted."""
    score, homes = prompt.copy(), sounding(prompt)
    tokens = read(codec, score)
    bars = bars_of(controls.only_bars, len(bar_lines(codec, tokens)))
    named = ask.tracks_of(controls.only_tracks, score, homes)
    return Place(score, tokens, bars, [homes.index(i) for i in named], homes)


def beside(codec: Events, prompt: Score, controls: Controls) -> Place:
    """New tracks along a piece."""
    names = ask.instruments(controls)
    if names is None:
        raise ValueError("an accompaniment needs instruments: say which tracks join, such as piano,bass")
    score, homes = prompt.copy(), sounding(prompt)
    if len(homes) + len(names) > MAX_TRACKS:
        raise ValueError(
            f"{len(homes)} tracks and {len(names)} more are too many: at most {MAX_TRACKS} can be written"
        )
    tokens = codec.with_tracks(codec.drop(read(codec, score), *OF_ALL), names)
    old, called = len(homes), {track.name for track in score.tracks}
    for program in map(instrument, names):
        name, number = INSTRUMENTS[program], 2
        while name in called:
            name, number = f"{INSTRUMENTS[program]} {number}", number + 1
        called.add(name)
        homes.append(len(score.tracks))
        score.tracks.append(Track(name, 0 if program == DRUMS else program, program == DRUMS))
    bars = list(range(len(bar_lines(codec, tokens))))
    return Place(score, tokens, bars, list(range(old, len(homes))), homes)


def read(codec: Events, score: Score, style: str | None = None) -> Tokens:
    """A score behind the controls that fit it."""
    found = attributes_of(score)
    bars = len(bar_lines(codec, codec.encode(score)))  # a note may end a little behind the last bar line
    key = _key(found.key, found.sounding_key)
    return codec.encode(score, Header.of(found, style=style, key=key, bars=bars))


def _key(stated: str | None, heard: str | None) -> str | None:
    """The key that is stated; of the two that share its signature, the one that is heard (files often say major)."""
    if stated is None or heard is None:
        return stated
    same = Key.parse(stated).signature() == Key.parse(heard).signature()
    return heard if same else stated
