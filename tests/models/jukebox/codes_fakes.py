"""A codec of sound with plain rules, and sound whose codes say where they come from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held
from otonoha.tokens.base import Stream, Tokens, Vocab

RATE = 1000


class FakeCodec:
    """Code t of a level is (sample at its first frame · 1000 + level) mod its size: a ramp counts upwards."""

    def __init__(self, hops=(2, 4, 8), sizes=(50, 40, 30), rate=RATE, name="fake-1"):
        self.config = SimpleNamespace(rate=rate, hops=tuple(hops))
        self.sizes, self.fingerprint = tuple(sizes), name
        self.encoded = []

    @property
    def vocab(self):
        hops = self.config.hops
        streams = [Stream(f"level{i}", s, width=hops[-1] // hops[i]) for i, s in enumerate(self.sizes)]
        return Vocab((*reversed(streams), Stream("filled", hops[-1] + 1, "context")))

    def codes(self, recording):
        """(T,) of every level, and how full each position is."""
        recording = recording.at(self.config.rate, 1)
        top = self.config.hops[-1]
        many = -(-recording.frames // top)
        x = np.zeros(many * top)
        x[: recording.frames] = recording.slice()[0]
        if np.isnan(x).any():
            raise ValueError("some samples are\nno numbers")
        whole = np.rint(x * 1000).astype(np.int64)
        levels = [
            (whole[::hop] + i) % size for i, (hop, size) in enumerate(zip(self.config.hops, self.sizes))
        ]
        return levels, np.minimum(recording.frames - np.arange(many) * top, top)

    def encode(self, music, *, progress=None):
        self.encoded.append(music)
        levels, filled = self.codes(music)
        many, streams = len(filled), {"filled": filled}
        for i, codes in enumerate(levels):
            side = codes.reshape(many, -1)
            streams[f"level{i}"] = side[:, 0] if side.shape[1] == 1 else side
        for done in range(1, many + 1):
            if progress is not None:
                progress(done, many)
        return Tokens(streams, np.arange(many) * self.config.hops[-1] / self.config.rate, self.fingerprint)


def piece(name: str, frames: int, *, start: float = 0.0, split: str = "train", rate: int = RATE, **labels):
    """A ramp: frame n is (start + n) / 1000."""
    ramp = ((start + np.arange(frames)) / 1000).astype(np.float32)
    return Piece(name, split, recording=Held(Audio(ramp[None], rate)), labels=labels)


PIECES = [piece(f"p{n}", 50 + 31 * n, start=7.0 * n, artist=f"a{n}") for n in range(6)]
