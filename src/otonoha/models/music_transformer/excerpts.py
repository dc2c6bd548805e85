"""What design `events` learns from: excerpts of whole bars, in twelve keys, some with cells cut out, some masked.

Axes: B excerpts, T symbols. A batch is a pure function of (seed, update).

    causal    Begin controls Start bars                              every symbol behind Begin counts, but for blanks
    infill    … bars with Fill in some cells Sep {Fill content}      what stands behind Sep counts
    masked    causal, with notes hidden                              the hidden symbols count; they see both sides
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otonoha.models.music_transformer import standing
from otonoha.models.music_transformer.events_windows import excerpt, header_size, spans
from otonoha.models.music_transformer.home import at_home
from otonoha.tokens.base import Tokens
from otonoha.tokens.events import Events
from otonoha.tokens.events_header import attributes_of
from otonoha.tokens.events_read import tracks_of
from otonoha.tokens.events_vocab import ENSEMBLE, FORM, PAD, START

KEYS = range(-6, 6)
"""The twelve keys around the written one."""
CONTROLS = {
    "style": "Style",
    "key": "Key",
    "metre": "Metre",
    "pace": "Pace",
    "density": "Density",
    "register": "Register",
    "polyphony": "Polyphony",
    "bars": "Num",
}
"""Control -> family of its symbol: what is hidden now and then, each by itself."""
MEASURED = ("Density", "Register", "Polyphony")
"""Families of controls that are measured on the notes."""
BLANK = 0.5
"""In this share of the excerpts, hidden controls leave a blank, as they do for guidance; else they are left out."""
BY_BAR = 0.5
"""Share of the excerpts whose standing controls are measured bar by bar."""
FOR_CELLS = 0.8
"""Share of the length that an excerpt with cells cut out fills, for their marks need room."""
FROM_START = 0.3
"""Share of the excerpts that begin where their piece begins."""
STATE = 4
"""Symbols at most that an excerpt's first bar has more than in its piece: metre, key and tempo in force."""
HIDDEN = ("Pitch", "Drum", "Dur", "Vel")
"""Families of symbols that are masked and guessed."""


@dataclass(frozen=True, eq=False)
class EventBatch:
    """`streams` name -> (B, T) int64 symbols and contexts; `counts` (B, T) bool: the targets.

    In a masked batch `given` (B, T) is what the network sees in the place of each symbol; else None, and it
    sees the symbols before.
    """

    streams: dict[str, Tensor]
    counts: Tensor
    lengths: Tensor
    given: Tensor | None = None

    @property
    def targets(self) -> float:
        """Symbols that the loss averages over."""
        return max(1.0, float(self.counts.sum()))

    def __len__(self) -> int:
        return len(self.counts)

    def rows(self, index: slice) -> EventBatch:
        """Some of the excerpts."""
        given = None if self.given is None else self.given[index]
        streams = {n: s[index] for n, s in self.streams.items()}
        return EventBatch(streams, self.counts[index], self.lengths[index], given)

    def to(self, device: torch.device) -> EventBatch:
        """The same batch on a device."""
        given = None if self.given is None else self.given.to(device)
        streams = {n: s.to(device) for n, s in self.streams.items()}
        return EventBatch(streams, self.counts.to(device), self.lengths.to(device), given)


def collated(pieces: Sequence[Tokens], counts: Sequence[np.ndarray]) -> EventBatch:
    """Pad to the longest with zeros."""
    longest = max(map(len, pieces))
    names = pieces[0].streams.keys()
    streams = {n: np.zeros((len(pieces), longest), np.int64) for n in names}
    mask = np.zeros((len(pieces), longest), bool)
    for row, (tokens, counted) in enumerate(zip(pieces, counts, strict=True)):
        mask[row, : len(tokens)] = counted
        for name, values in tokens.streams.items():
            streams[name][row, : len(tokens)] = values
    lengths = torch.tensor([len(p) for p in pieces])
    return EventBatch({n: torch.from_numpy(s) for n, s in streams.items()}, torch.from_numpy(mask), lengths)


class Excerpts:
    """Endless batches."""

    def __init__(
        self,
        sequences: Sequence[Tokens],
        codec: Events,
        *,
        batch: int,
        length: int,
        seed: int = 0,
        transpose: bool = True,
        infill: float = 0.0,
        masked: float = 0.0,
        control_dropout: float = 0.0,
        home: bool = False,
        standing: bool = False,
    ) -> None:
        if not sequences:
            raise ValueError("there is nothing to learn from: no piece holds any token")
        self.own = list(sequences)
        self.pieces = [at_home(t, codec) for t in sequences] if home else self.own
        self.codec, self.batch, self.length, self.seed = codec, batch, length, seed
        self.home, self.transpose, self.infill, self.masked = home, transpose and not home, infill, masked
        self.control_dropout, self.standing = control_dropout, standing
        self.spans = [spans(codec, t) for t in self.pieces]
        sizes = np.array([len(t) for t in self.pieces], float)
        self.weights = sizes / sizes.sum()

    def __call__(self, update: int) -> EventBatch:
        """The batch of this update."""
        rng = np.random.default_rng([self.seed, 1, update])
        hides = rng.random() < self.masked
        rows = [self._excerpt(rng, cut=not hides) for _ in range(self.batch)]
        batch = collated([t for t, _ in rows], [c for _, c in rows])
        return self.hidden(batch, rng) if hides else batch

    def _excerpt(self, rng: np.random.Generator, *, cut: bool) -> tuple[Tokens, np.ndarray]:
        piece = int(rng.choice(len(self.pieces), p=self.weights))
        cut = cut and rng.random() < self.infill
        first, last = self.bars(piece, rng, int(self.length * FOR_CELLS) if cut else self.length)
        whole = self._moved(self.pieces[piece], rng)
        sounding = excerpt(self.codec, self.own[piece] if self.home else whole, first, last)
        tokens = self._measured(excerpt(self.codec, self._hushed(whole, rng), first, last), sounding)
        if cut:
            context, content = self._region(tokens, last - first, rng)
            filled = self.codec.infill(context, content)
            if len(filled) <= self.length:
                return self._told(filled, None, rng), np.arange(len(filled)) >= len(context)
        tokens = self._told(tokens, sounding, rng).slice(0, self.length)
        counts = self.codec.event(tokens) != PAD
        counts[0] = False  # Begin is given
        return tokens, counts

    def _moved(self, tokens: Tokens, rng: np.random.Generator) -> Tokens:
        """The piece in another key."""
        if not self.transpose:
            return tokens
        shift = int(rng.choice([s for s in self.codec.transpositions(tokens) if s in KEYS]))
        return self.codec.transpose(tokens, shift) if shift else tokens

    def bars(self, piece: int, rng: np.random.Generator, length: int) -> tuple[int, int]:
        """First and last bar (behind) of an excerpt: as many bars as fit into `length`, one at least."""
        starts, stops = self.spans[piece]
        room = length - int(starts[0])
        enough = int(
            np.searchsorted(starts, stops[-1] - room // 2, side="right")
        )  # half of the room is filled
        first = 0 if rng.random() < FROM_START else int(rng.integers(max(1, enough)))
        fits = int(np.searchsorted(stops - starts[first], room - STATE * bool(first), side="right"))
        return first, max(first + 1, min(fits, len(starts)))

    def _hushed(self, tokens: Tokens, rng: np.random.Generator) -> Tokens:
        """Some controls left out, or blank, the form as a whole. The bars that remain are counted to the end of the
        whole piece."""
        silent = [family for family in CONTROLS.values() if rng.random() < self.control_dropout]
        event = self.codec.event(tokens)
        gone = self.codec.layout.among(*silent)[event]
        gone[form_span(event)] = rng.random() < self.control_dropout
        gone[header_size(self.codec, tokens) :] = False
        if rng.random() < BLANK:
            return self.codec.tokens(np.where(gone, PAD, event))
        return self.codec.tokens(event[~gone])

    def _measured(self, tokens: Tokens, sounding: Tokens) -> Tokens:
        """The excerpt with what its header says of the notes measured on its own bars, in their own key: a request is
        about the bars that are written, and what a long piece is like on the whole says little of a few of its bars."""
        event, layout, score = self.codec.event(tokens).copy(), self.codec.layout, self.codec.decode(sounding)
        if not any(len(track.notes) for track in score.tracks):
            return tokens
        found = attributes_of(score)
        head = event[: header_size(self.codec, tokens)]
        for family, value in zip(MEASURED, (found.density, found.register, found.polyphony), strict=True):
            if value is not None:
                head[layout.among(family)[head]] = layout.base[family] + value
        return self.codec.tokens(event)

    def _told(self, tokens: Tokens, sounding: Tokens | None, rng: np.random.Generator) -> Tokens:
        """With its standing controls: now of the whole excerpt, now bar by bar, now none of them."""
        if not self.standing:
            return tokens
        event, layout = self.codec.event(tokens), self.codec.layout
        streams = standing.throughout(event, layout)
        if sounding is not None and rng.random() < BY_BAR:
            streams = standing.bar_by_bar(event, layout, self.codec.decode(sounding))
        if rng.random() < self.control_dropout:
            streams = {name: np.zeros_like(stream) for name, stream in streams.items()}
        return standing.beside(tokens, streams)

    def _region(self, tokens: Tokens, bars: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Some bars of some tracks."""
        tracks = tracks_of(self.codec.event(tokens), self.codec.layout) or [0]
        size = int(rng.integers(1, bars + 1))
        first = int(rng.integers(bars - size + 1))
        count = int(rng.integers(1, len(tracks) + 1))
        chosen = sorted(rng.choice(len(tracks), count, replace=False).tolist())
        return self.codec.with_region(tokens, bars=range(first, first + size), tracks=chosen)

    def hidden(self, batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        """Notes masked: of each excerpt a share between none and all."""
        event = batch.streams["event"]
        kinds = torch.from_numpy(self.codec.layout.among(*HIDDEN))[event]
        share = torch.from_numpy(rng.random((len(event), 1)))
        counts = kinds & (torch.from_numpy(rng.random(event.shape)) < share) & batch.counts
        given = event.masked_fill(counts, PAD)
        return EventBatch(batch.streams, counts, batch.lengths, given)


def form_span(event: np.ndarray) -> slice:
    """Where the header tells the form."""
    begin = np.flatnonzero(event == FORM)
    if not len(begin):
        return slice(0, 0)
    return slice(int(begin[0]), int(np.flatnonzero((event == ENSEMBLE) | (event == START))[0]))


def in_turn(sequences: Sequence[Tokens], codec: Events, length: int) -> list[tuple[Tokens, np.ndarray]]:
    """Every piece cut into excerpts of whole bars one behind the other, each with its controls; what counts begins
    with the music. A bar that is longer than `length` is cut.
    """
    found = []
    for tokens in sequences:
        starts, stops = spans(codec, tokens)
        first, head = 0, int(starts[0])
        while first < len(starts):
            room = length - head - STATE * bool(first)
            fits = int(np.searchsorted(stops - starts[first], room, side="right"))
            last = max(first + 1, min(fits, len(starts)))
            part = excerpt(codec, tokens, first, last).slice(0, length)
            found.append((part, np.arange(len(part)) >= header_size(codec, part)))
            first = last
    return found
