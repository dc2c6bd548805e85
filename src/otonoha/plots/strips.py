"""Strips: a recording or a score as a narrow picture of few bytes, to stand in a list of hundreds.

    waveform      (2, COLUMNS) int8: least and largest sample of each column, the recording's own peak being 127
    spectrogram   (ROWS, COLUMNS) of 16 levels, two a byte: 72 dB below the loudest point … loudest; highest row first
    roll          (ROWS, COLUMNS) of 16 colours, two a byte: 0 nothing, 1 … 8 the tracks in turn, 9 drums; highest first

A recording of any length is heard block by block; of its spectrum only so many windows are looked at as the picture
can show. In base64 the three take 512, 5,120 and 5,120 bytes.
"""

from __future__ import annotations

import base64
from typing import Any, cast

import numpy as np
from scipy.fft import rfft
from symusic import Score

from otonoha.io.audio_marks import Marks
from otonoha.io.audio_scan import Facts, scan
from otonoha.io.audio_slices import Place, open_sound
from otonoha.music.score import notes, seconds
from otonoha.music.spectra import hann, power
from otonoha.plots.spectrogram import pool

COLUMNS, ROWS = 192, 40
HERTZ = (40.0, 16_000.0)
"""The same range for every recording, so that pictures can be compared."""
RANGE = 72.0
"""dB that are shown."""
LOUDEST = 1e6
"""Samples beyond are shown as this: their power is still a number."""
LONGEST_WINDOW = 4096
LEAST_PITCHES = 20
"""Semitones of a roll, at least."""
TRACK_COLOURS, DRUMS = 8, 9


class Strips:
    """Fed with blocks (frames, channels) of a recording of so many frames; the strips at the end."""

    def __init__(self, frames: int, rate: int) -> None:
        self.frames, self.rate, self.at = max(frames, 1), rate, 0
        self.low, self.high = np.full(COLUMNS, np.inf), np.full(COLUMNS, -np.inf)
        self.window = int(np.clip(1 << round(np.log2(max(rate * 0.09, 64))), 64, LONGEST_WINDOW))
        self.hop = max(self.window // 4, self.frames // (2 * COLUMNS), 1)
        self.edges = np.geomspace(*HERTZ, ROWS + 1)
        self.left, self.skip = np.zeros(self.window // 2, np.float32), 0
        self.spectra: list[np.ndarray] = []

    def feed(self, block: np.ndarray, rate: int) -> None:
        """The next block."""
        mono = np.clip(block.mean(axis=1, dtype=np.float64), -LOUDEST, LOUDEST).astype(np.float32)
        column = np.minimum((self.at + np.arange(len(mono))) * COLUMNS // self.frames, COLUMNS - 1)
        first = np.flatnonzero(np.diff(column, prepend=-1))
        those = column[first]
        self.low[those] = np.minimum(self.low[those], np.minimum.reduceat(mono, first))
        self.high[those] = np.maximum(self.high[those], np.maximum.reduceat(mono, first))
        self.at += len(mono)
        self._look(mono)

    def _look(self, mono: np.ndarray) -> None:
        """The spectra of the windows that are complete."""
        self.left = np.concatenate([self.left, mono])
        count = (len(self.left) - self.skip - self.window) // self.hop + 1
        if count > 0:
            windows = np.lib.stride_tricks.sliding_window_view(self.left[self.skip :], self.window)[
                :: self.hop
            ]
            found = power(rfft(windows[:count] * hann(self.window), axis=-1))
            self.spectra.append(self._rows(found.T))
            self.skip += count * self.hop
        gone = min(self.skip, len(self.left))
        self.left, self.skip = self.left[gone:], self.skip - gone

    def _rows(self, found: np.ndarray) -> np.ndarray:
        """(bins, windows) -> (ROWS, windows)."""
        rows = pool(found, np.minimum(self.edges, self.rate / 2) * self.window / self.rate)
        return np.where(self.edges[:-1, None] < self.rate / 2, rows, 0.0)

    def waveform(self) -> np.ndarray:
        """See the head of the file."""
        heard = np.flatnonzero(np.isfinite(self.low))
        if not len(heard):
            return np.zeros((2, COLUMNS), np.int8)
        near = heard[np.clip(np.searchsorted(heard, np.arange(COLUMNS), side="right") - 1, 0, None)]
        both = np.stack([self.low[near], self.high[near]])  # of less than COLUMNS samples some show twice
        both[:, self.at * COLUMNS // self.frames + 1 :] = 0  # what a file that was cut short lacks
        return np.rint(both * (127 / max(float(np.abs(both).max()), 1e-9))).astype(np.int8)

    def spectrogram(self) -> np.ndarray:
        """(ROWS, COLUMNS) levels 0 … 15."""
        self._look(np.zeros(self.window // 2, np.float32))
        if not self.spectra:
            return np.zeros((ROWS, COLUMNS), np.uint8)
        lacking = max((self.frames - self.at) // self.hop, 0)
        every = np.pad(np.concatenate(self.spectra, axis=1), ((0, 0), (0, min(lacking, 2 * COLUMNS))))
        first = np.arange(COLUMNS) * every.shape[1] // COLUMNS
        columns = np.maximum.reduceat(every, first, axis=1)[::-1]
        loudest = float(columns.max())
        if not loudest:
            return np.zeros((ROWS, COLUMNS), np.uint8)
        decibels = 10 * np.log10(np.maximum(columns / loudest, 1e-12))
        return np.rint(np.clip(1 + decibels / RANGE, 0, 1) * 15).astype(np.uint8)


def heard(path: Any) -> tuple[Strips, Facts | None, str]:
    """A sound file -> its strips, its facts, and what is wrong with it ("" where nothing is; then there are facts).

    Of a silent recording there are strips all the same. Raises ValueError (one line) for what cannot be opened.
    """
    place = Place(path)
    sound, raw = open_sound(place)
    strips = Strips(sound.frames, sound.samplerate)
    sound.close()
    raw.close()
    try:
        return strips, scan(place, cast(Marks, strips)), ""
    except ValueError as error:
        return strips, None, str(error)


def roll(score: Score, length: float) -> np.ndarray:
    """(ROWS, COLUMNS) colours of the notes of a score in a picture of so many seconds."""
    cells = np.zeros((ROWS, COLUMNS), np.uint8)
    tracks = [(notes(track), track.is_drum) for track in score.tracks if len(track.notes)]
    if not tracks or length <= 0:
        return cells
    every = np.concatenate([found.pitch for found, _ in tracks])
    low, high = int(every.min()), int(every.max()) + 1
    spare = max(LEAST_PITCHES - (high - low), 2)
    low, high = low - spare // 2, high + (spare + 1) // 2
    for number, (found, drums) in enumerate(tracks):
        colour = DRUMS if drums else 1 + number % TRACK_COLOURS
        begin, end = (seconds(score, t) * (COLUMNS / length) for t in (found.onset, found.end))
        top = np.floor((high - 1 - found.pitch) * (ROWS / (high - low))).astype(int)
        bottom = np.maximum(np.floor((high - found.pitch) * (ROWS / (high - low))).astype(int), top + 1)
        first = np.clip(np.floor(begin).astype(int), 0, COLUMNS - 1)
        last = np.maximum(np.floor(end).astype(int), first + 1)
        for cell in zip(top, bottom, first, last):
            cells[cell[0] : cell[1], cell[2] : cell[3]] = colour
    return cells


def packed(picture: np.ndarray) -> str:
    """A strip as base64: int8 as it is, 16 levels two a byte, the first in the upper half."""
    if picture.dtype == np.int8:
        return base64.b64encode(picture.tobytes()).decode("ascii")
    pairs = picture.reshape(-1, 2)
    return base64.b64encode((pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8).tobytes()).decode("ascii")
