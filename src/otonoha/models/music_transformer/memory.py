"""The motif memory: where has this, or something like it, been heard before, and how did it go on?

At frame t every voice v is told what followed the places most like its own recent past, in the piece itself and in a
corpus of other pieces. A *candidate* u is a frame whose past, ending at u - 1, is compared with the past that ends
at t - 1; the voices that are already decided at t must agree with those at u, or count in its favour. Each of nine
*channels* has its own idea of likeness; it returns a distribution over the 26 motion classes of the voice (what
the candidates did, weighted by how alike they are), the best likeness and the sum of the weights. Candidates stand
at the same place of the quarter. Everything is causal: the channels read frames < t and decided voices, no more.

    own past (memory_past.py)          corpus (here), any transposition
    0  equal frames                    3  equal spacings linked by equal soprano steps
    1  leaky count of equal pitches    4  leaky likeness of steps and spacings
    2  own voice equal                 5  melody: soprano steps; other voices: distance to the soprano
    8  leaky likeness, transposed      6  leaky likeness of steps, spacings and degrees
                                       7  own degrees and steps

Each likeness is a recursion along diagonals (t, u) -> (t + 1, u + 1), so a `Walk` keeps one number per candidate and
channel and needs no history: a frame costs a handful of passes over the frames of its phase. Axes: M blocks of
four frames, of which the corpus is made; C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from otonoha.models.music_transformer.frames import (
    CLASSES,
    NO_DEGREE,
    REST,
    VOICES,
    frame_row,
    frames,
    lowest,
)
from otonoha.models.music_transformer.memory_past import Past, one_step, weigh

CHANNELS = 9
VERSION = "2"
"""Of the channels' definition; features on disk are kept under it."""
_NOTHING = -99
_FADE = np.array([[0.9], [0.88]], np.float32)
"""Of channels 4 and 6, from frame to frame."""
_LIKENESS = np.float32(0.15) * np.array(
    [
        [1.5, 0.5, 0.5, 1.0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [0.8, 0.3, 0.3, 0.6, 0.4, 0.4, 0.4, 0, 0, 0, 1.2, 0.6, 0.6, 1.2],
    ],
    np.float32,
)
"""What each equal entry of a table's row (steps, spacings, distances, degrees) is worth to them."""


class Corpus:
    """Pieces to remember: the tables of all their frames, sorted by phase (place in the quarter).

    `tables[p]` (14, M) int8 holds steps (4), spacings (3), distances to the soprano (3) and degrees (4) of the frames
    Q m + p, with Q = `quarter` frames a quarter. A piece fills whole blocks; what is left of its last block is no
    candidate. Pieces of known key have their tonic for `reference`.
    """

    def __init__(self, pieces: Sequence[np.ndarray], quarter: int = 4, reference: int | None = None) -> None:
        self.quarter, self.reference = quarter, reference
        rows, first, missing = [], [], []
        blocks = 0
        for piece in pieces:
            table = frames(piece, reference).rows()
            empty = -len(table) % quarter
            rows += [table, np.full((empty, table.shape[1]), _NOTHING, np.int8)]
            first.append(blocks)
            blocks += (len(table) + empty) // quarter
            missing += [quarter * blocks - 1 - i for i in range(empty)]
        columns = np.concatenate(rows) if rows else np.empty((0, 14), np.int8)
        self.tables = [np.ascontiguousarray(columns[p::quarter].T) for p in range(quarter)]
        self.steps = [table[:VOICES].clip(0).astype(np.intp) for table in self.tables]  # what bincount wants
        self.starts = np.array(first, np.int64)
        self.stops = np.append(self.starts[1:], blocks)
        gone = np.array(missing, np.int64)
        self.barred = [gone[gone % quarter == p] // quarter for p in range(quarter)]
        self.barred[0] = np.concatenate([self.barred[0], self.starts])  # a first frame follows nothing
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, piece: int | None) -> slice:
        """The blocks of a piece; none for None."""
        return slice(0, 0) if piece is None else slice(int(self.starts[piece]), int(self.stops[piece]))


class Walk:
    """A memory that follows one piece, frame by frame.

    `query(voice, decided)` asks what a voice may do in the coming frame, `advance(frame)` takes the frame in.
    `leave_out` is the number of a corpus piece that must not be found: the piece itself, while training.
    """

    def __init__(self, corpus: Corpus, leave_out: int | None = None) -> None:
        self.corpus, self.hidden = corpus, corpus.span(leave_out)
        self.past = Past(corpus.quarter)
        self.time = 0
        self.last = np.full(VOICES, REST, np.int16)
        self.reference = NO_DEGREE if corpus.reference is None else corpus.reference
        blocks = corpus.blocks
        self.chords = np.zeros(blocks, np.int16)  # channel 3
        self.like = np.zeros((2, blocks), np.float32)  # channels 4 and 6
        self.melody = np.zeros((VOICES, blocks), np.int16)  # channel 5
        self.degrees = np.zeros((VOICES, blocks), np.int16)  # channel 7
        self._agrees: dict[tuple[int, int], np.ndarray] = {}

    def advance(self, frame: np.ndarray) -> None:
        """Take in a complete frame (4,) of pitches."""
        frame = np.asarray(frame, np.int16)
        row = frame_row(self.last, frame, self.reference)
        if self.corpus.blocks:
            self._compare(row)
        self.past.advance(frame, row[:4], row[4:7])
        if self.reference == NO_DEGREE:
            self.reference = lowest(frame)
        self.last, self.time = frame, self.time + 1
        self._agrees = {}

    def _compare(self, row: np.ndarray) -> None:
        """Let all likenesses follow their diagonals by one frame."""
        phase = self.time % self.corpus.quarter
        equal = (self.corpus.tables[phase] == row[:, None]).view(np.int8)
        step, spacing, below, degree = equal[:4], equal[4:7], equal[7:10], equal[10:]
        soprano = step[0]
        self.chords = spacing.min(axis=0) * (1 + soprano * self.chords)
        self.like *= _FADE
        self.like += _LIKENESS @ equal.astype(np.float32)
        self.melody[0] = soprano * (1 + self.melody[0])
        self.melody[1:] = below * (1 + soprano * self.melody[1:])
        self.degrees = degree * step * (1 + self.degrees)
        if (
            phase == self.corpus.quarter - 1
        ):  # the next frame opens the next block; a piece begins without a past
            for state in (self.chords, self.like, self.melody, self.degrees):
                state[..., 1:] = state[..., :-1].copy()
                state[..., self.corpus.starts] = 0

    def query(self, voice: int, decided: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """(C, 26) distributions and (C, 2) best likeness and sum of weights for a voice of the coming frame.

        `decided` voice -> pitch (-1 rests) of those that are settled. A channel that finds nothing is zero.
        """
        shares, strength = np.zeros((CHANNELS, CLASSES), np.float32), np.zeros((CHANNELS, 2), np.float32)
        if self.time:
            self.past.query(voice, decided, shares, strength)
            if self.corpus.blocks:
                self._ask(voice, decided, shares, strength)
        return shares, strength

    def _ask(self, voice: int, decided: Mapping[int, int], shares: np.ndarray, strength: np.ndarray) -> None:
        """Fill in the channels of the corpus."""
        agrees = [self._agreement(w, pitch) for w, pitch in decided.items()]
        phase = self.time % self.corpus.quarter
        together = np.add.reduce(agrees) if agrees else np.zeros(self.corpus.blocks, np.int8)
        all_agree = together == len(agrees)
        led = self._agreement(0, decided[0]) if voice and 0 in decided else np.int8(1)
        bonus = together * np.float32(0.6)
        asked = (
            (3, (1 + self.chords) * all_agree - 1, math.log(1.6), 12),
            (4, self.like[0] + bonus, 3.0, 2.0),
            (5, (1 + self.melody[voice]) * led - 1, math.log(1.5), 16),
            (6, self.like[1] + bonus, 3.0, 2.0),
            (7, self.degrees[voice].copy(), math.log(1.5), 16),
        )
        for channel, score, rate, reach in asked:
            score[self.corpus.barred[phase]] = -1
            score[self.hidden] = -1
            weigh(score, self.corpus.steps[phase][voice], rate, reach, shares[channel], strength[channel])

    def _agreement(self, voice: int, pitch: int) -> np.ndarray:
        """(M,) int8: candidates that make the step that a decided voice makes."""
        found = self._agrees.get((voice, pitch))
        if found is None:
            step = one_step(int(self.last[voice]), pitch)
            found = (self.corpus.tables[self.time % self.corpus.quarter][voice] == step).view(np.int8)
            self._agrees[voice, pitch] = found
        return found


def remembered(
    corpus: Corpus, piece: np.ndarray, leave_out: int | None = None, order: Sequence[int] = range(VOICES)
) -> tuple[np.ndarray, np.ndarray]:
    """What the memory says all along a piece (T, 4): shares (T, 4, C, 26) float16 and strength (T, 4, C, 2)
    float32, every voice being asked about with those before it in `order` decided.
    """
    walk = Walk(corpus, leave_out)
    shares = np.zeros((len(piece), VOICES, CHANNELS, CLASSES), np.float16)
    strength = np.zeros((len(piece), VOICES, CHANNELS, 2), np.float32)
    for t, frame in enumerate(np.asarray(piece, np.int16)):
        for place, voice in enumerate(order):
            decided = {w: int(frame[w]) for w in order[:place]}
            shares[t, voice], strength[t, voice] = walk.query(voice, decided)
        walk.advance(frame)
    return shares, strength
