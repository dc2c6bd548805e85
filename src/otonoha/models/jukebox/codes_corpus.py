"""A corpus as codes: every recording is coded once, and what a codec has made of it is kept.

The cache folder holds a store (codes_store.py) for each codec, under its fingerprint; a recording is known by its
samples, so the same sound in another file, folder or corpus is not coded again. What cannot be coded is left out with
a reason, and the rest goes on. Axes: T codes of a level; a *position* is one code of the coarsest level.
"""

from __future__ import annotations

import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from otonoha.metrics.sound_codes import collapsed
from otonoha.models.jukebox.codes import FILLED
from otonoha.models.jukebox.codes_store import Layout, Store
from otonoha.music.piece import Piece
from otonoha.music.recording import Recording
from otonoha.tokens.base import Tokens, Vocab
from otonoha.train.log import clock

Told = Callable[[str, bool], None]
"""What a person hears: a line, and whether it is the last of its kind (else the next one takes its place)."""


class SoundCodec(Protocol):
    """What coding asks of a codec: streams level0, level1 … (N, codes of a position), and `filled`."""

    config: Any
    """With `rate` and `hops`."""

    @property
    def vocab(self) -> Vocab:
        """Its streams."""

    @property
    def fingerprint(self) -> str:
        """Changes when the meaning of a code changes."""

    def encode(self, music: Recording, *, progress: Callable[[int, int], None] | None = None) -> Tokens:
        """Sound -> Tokens; `progress` counts positions."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A recording as codes. `levels`: (T,) of every level, the finest first, mapped from the disk; `samples`: how long
    it is at the codec's rate. The last position may be silence in part.
    """

    piece: Piece
    levels: tuple[np.ndarray, ...]
    samples: int

    @property
    def id(self) -> str:
        """The piece's."""
        return self.piece.id

    @property
    def labels(self) -> Mapping[str, str]:
        """The piece's."""
        return self.piece.labels


@dataclass(frozen=True, eq=False)
class CodedCorpus:
    """What became of the pieces. `skipped`: (id, reason); `made`: how many recordings were coded just now."""

    layout: Layout
    pieces: tuple[Coded, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    made: int = 0

    @property
    def seconds(self) -> float:
        """How much sound there is."""
        return sum(piece.samples for piece in self.pieces) / self.layout.rate


def layout_of(codec: SoundCodec) -> Layout:
    """The levels of a codec of sound."""
    config, vocab = codec.config, codec.vocab
    sizes = tuple(vocab[f"level{i}"].size for i, _ in enumerate(config.hops))
    return Layout(codec.fingerprint, config.rate, tuple(config.hops), sizes)


def store_folder(fingerprint: str) -> Path:
    """Where the codes of a codec are kept: below OTONOHA_CACHE, else below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    usual = (Path(base) if base else Path.home() / ".cache") / "otonoha"
    own = os.environ.get("OTONOHA_CACHE")
    return (Path(own).expanduser() if own else usual) / "codes" / re.sub(r"[^A-Za-z0-9_.-]", "_", fingerprint)


def coded(
    codec: SoundCodec, pieces: Sequence[Piece], *, folder: Path | None = None, told: Told | None = None
) -> CodedCorpus:
    """The codes of pieces, made where they are not kept already.

    May be interrupted at any moment, and goes on with the next call; of several processes one makes the codes and the
    others wait. `folder` is the store's, if not the usual one. `told` hears how it goes. Where the folder cannot be
    written, codes stay in memory, with a warning; OSError when the disk is full.
    """
    layout = layout_of(codec)
    run = _Coding(codec, layout, told or (lambda line, last: None))
    keys = run.keys(pieces)
    store = Store(store_folder(layout.codec) if folder is None else folder, layout)
    wanted = {key: piece for piece, key in zip(pieces, keys) if key is not None}
    missing = {key: piece for key, piece in wanted.items() if key not in store}
    held: dict[str, tuple[list[np.ndarray], int]] = {}
    if missing and not store.writable():
        warnings.warn(f"{store.folder} cannot be written: the codes stay in memory", stacklevel=2)
        run.all(missing, lambda key, levels, samples: held.update({key: (levels, samples)}))
    elif missing:
        with store.writing(lambda: run.told("another process is coding; waiting for it", True)) as writer:
            left = {key: piece for key, piece in missing.items() if key not in store}
            run.all(left, writer.add)
    found = []
    for piece, key in zip(pieces, keys):
        if key in held:
            levels, samples = held[key]
            found.append(Coded(piece, tuple(z.reshape(-1) for z in levels), samples))
        elif key is not None and key in store:
            found.append(Coded(piece, store.levels(key), store.entries[key].samples))
    if warning := collapsed(
        [[one.levels[i] for one in found] for i, _ in enumerate(layout.hops)], layout.sizes
    ):
        run.told(warning, True)
    return CodedCorpus(layout, tuple(found), tuple(run.skipped), run.made)


class _Coding:
    """One go at coding: what was left out, how far it is."""

    def __init__(self, codec: SoundCodec, layout: Layout, told: Told) -> None:
        self.codec, self.layout, self.told = codec, layout, told
        self.skipped: list[tuple[str, str]] = []
        self.made = 0

    def keys(self, pieces: Iterable[Piece]) -> list[str | None]:
        """What each recording is known by; None for a piece that has none that can be read."""
        found: list[str | None] = []
        for piece in pieces:
            try:
                recording = piece.sound()
                if recording.seconds * self.layout.rate < 1:
                    raise ValueError("it holds no sound")
                found.append(recording.signature())
            except (ValueError, OSError) as error:
                self._skip(piece, error)
                found.append(None)
        return found

    def all(self, pieces: Mapping[str, Piece], add: Callable[[str, list[np.ndarray], int], None]) -> None:
        """Code them one after the other."""
        pace = _Pace(self.told, [piece.sound().seconds for piece in pieces.values()])
        for key, piece in pieces.items():
            try:
                tokens = self.codec.encode(piece.sound(), progress=pace.within)
                levels, samples = self._levels(tokens)
            except (ValueError, OSError) as error:
                self._skip(piece, error)
            else:
                add(key, levels, samples)
                self.made += 1
            pace.next()
        pace.close(self.made, len(pieces) - self.made)

    def _levels(self, tokens: Tokens) -> tuple[list[np.ndarray], int]:
        layout = self.layout
        if tokens.codec != layout.codec:
            raise ValueError(f"the codec says it is {layout.codec!r}, its tokens say {tokens.codec!r}")
        levels = [
            np.asarray(tokens.streams[f"level{i}"]).reshape(len(tokens), width).astype(layout.dtype)
            for i, width in enumerate(layout.widths)
        ]
        filled = tokens.streams.get(FILLED)
        return levels, len(tokens) * layout.top if filled is None else int(np.sum(filled))

    def _skip(self, piece: Piece, error: Exception) -> None:
        self.skipped.append((piece.id, " ".join(str(error).split()) or type(error).__name__))


class _Pace:
    """How far coding is, how fast it goes, how long it will take."""

    EVERY = 0.5

    def __init__(self, told: Told, seconds: Sequence[float]) -> None:
        self.told, self.lengths, self.total = told, list(seconds), sum(seconds)
        self.number, self.before, self.part = 0, 0.0, 0.0
        self.began = self.shown = time.monotonic()

    def within(self, done: int, of: int) -> None:
        """So many positions of the recording at hand are coded."""
        self.part = done / max(1, of)
        if time.monotonic() - self.shown > self.EVERY:
            self.shown = time.monotonic()
            self.told(self.line(), False)

    def next(self) -> None:
        """On to the next recording."""
        self.before, self.number, self.part = self.before + self.lengths[self.number], self.number + 1, 0.0
        if self.number < len(self.lengths):
            self.within(0, 1)

    def line(self) -> str:
        """Where it is."""
        at = self.before + (self.part * self.lengths[self.number] if self.number < len(self.lengths) else 0)
        speed = at / max(time.monotonic() - self.began, 1e-9)
        left = clock((self.total - at) / speed) if speed > 0 else "?"
        return (
            f"coding: {self.number}/{len(self.lengths)} recordings, {clock(at)} of {clock(self.total)}, "
            f"{speed:.1f} x real time, {left} left"
        )

    def close(self, made: int, failed: int) -> None:
        """The last line."""
        if self.lengths:
            wall = time.monotonic() - self.began
            lost = f", {failed} could not be" if failed else ""
            self.told(f"{made} recordings coded ({clock(self.total)} of sound in {clock(wall)}){lost}", True)


def teller(*, quiet: bool = False) -> Told:
    """Lines for the person who waits, on stderr: in place on a terminal, else every ten seconds."""
    stream, shown = sys.stderr, [0.0]
    terminal = stream.isatty()

    def told(line: str, last: bool) -> None:
        if quiet or not (last or terminal or time.monotonic() - shown[0] > 10):
            return
        shown[0] = time.monotonic()
        stream.write((f"\r\x1b[K{line}" if terminal else line) + ("\n" if last or not terminal else ""))
        stream.flush()

    return told
