"""Recordings of any length as codes and back, cut into pieces without a trace of the cuts.

A *position* is one code of the coarsest level; a finer level has several codes for it, side by side. An output depends
on inputs so far away and no further (`nn.conv_stack.needs`), so a piece is computed with that much more on both sides
(the halo), which is then dropped. At the ends of the sound the networks see the same zeros as with the whole of it.
Axes: B, C channels, T samples, N positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from otonoha.metrics.sound_codes import usage
from otonoha.music.recording import Recording

CHUNK = 1 << 18
"""Samples that are coded at a time, without the halo."""


class Coder(Protocol):
    """What coding asks of a design. Codes are a list, (B, T / hop) for every level, the finest first."""

    def codes(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> codes; T is a multiple of the coarsest hop."""

    def sound(self, codes: Sequence[Tensor], level: int, first: int = 0) -> Tensor:
        """Codes -> (B, C, T), from a level (and what it builds upon); `first`: the place of their first position."""

    def heard(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The samples that the codes first … last of a level depend on."""

    def read(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The positions that the samples first … last depend on."""


@torch.inference_mode()
def encode(
    coder: Coder,
    recording: Recording,
    hops: Sequence[int],
    *,
    device: torch.device,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
    source: Recording | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Codes (N, hop of the coarsest / hop) of every level, and how many samples each position (N,) really holds.

    The recording has the rate and the channels of the model. Raises ValueError for samples that are no numbers;
    resampling spreads them, so the first is looked for in the `source`.
    """
    hop, frames = hops[-1], recording.frames
    N, many = -(-frames // hop), max(1, chunk // hop)
    codes = [np.zeros((N, hop // own), np.int32) for own in hops]
    for first in range(0, N, many):
        last = min(first + many, N)
        low, high = heard(coder, hops, first, last)
        start, stop = max(0, low // hop), min(N, high // hop + 1)
        x = _padded(recording, start * hop, stop * hop, source or recording).to(device)
        for all_of_level, z in zip(codes, coder.codes(x), strict=True):
            part = z[0].view(stop - start, -1)[first - start : last - start]
            all_of_level[first:last] = part.cpu().numpy()
        if progress is not None:
            progress(last, N)
    filled = np.minimum(frames - np.arange(N) * hop, hop).astype(np.int32)
    return codes, filled


def heard(coder: Coder, hops: Sequence[int], first: int, last: int) -> tuple[int, int]:
    """The samples that the codes of the positions first … last - 1 depend on, of all levels."""
    times = [hops[-1] // hop for hop in hops]
    found = [coder.heard(level, first * n, last * n - 1) for level, n in enumerate(times)]
    return min(low for low, _ in found), max(high for _, high in found)


def _padded(recording: Recording, start: int, stop: int, source: Recording) -> Tensor:
    """(1, C, stop - start) samples; zeros after the end."""
    found = recording.slice(start, stop)
    if not np.isfinite(found).all():
        at = source.first_bad()
        where = "" if at is None else f", the first at {at:.3f} s"
        raise ValueError(f"some samples are no numbers (NaN or infinite){where}")
    return torch.from_numpy(np.pad(found, ((0, 0), (0, stop - start - found.shape[1]))))[None]


@torch.inference_mode()
def decode(
    coder: Coder,
    codes: Sequence[np.ndarray],
    level: int,
    hops: Sequence[int],
    total: int,
    *,
    device: torch.device,
    chunk: int = CHUNK,
    at: int = 0,
    sound: Callable[[Sequence[Tensor], int, int], Tensor] | None = None,
) -> Iterator[np.ndarray]:
    """The `total` samples of codes (N, hop of the coarsest / hop), in pieces (C, n); `at`: the first one's position;
    `sound`: what is asked in place of the coder's own.
    """
    sound = sound or coder.sound
    hop, N = hops[-1], len(codes[level])
    for first in range(0, total, chunk):
        last = min(first + chunk, total)
        low, high = coder.read(level, first, last - 1)
        start, stop = max(0, low), min(N, high + 1)
        z = [torch.from_numpy(c[start:stop].reshape(1, -1).astype(np.int64)).to(device) for c in codes]
        y = sound(z, level, at + start)[0, :, first - start * hop : last - start * hop]
        yield y.float().cpu().numpy()


def in_use(codes: Mapping[int, Sequence[np.ndarray]], size: int) -> dict[str, float]:
    """How many codes of each level occur, and as if how many were used evenly."""
    found: dict[str, float] = {}
    for level, sequences in codes.items():
        told = usage(sequences, size)
        found |= {f"codes_used/{level}": told["use"] * size, f"perplexity/{level}": told["perplexity"]}
    return found


def checked(codes: Any, size: int, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Codes as (N, times) integers within 0 … size - 1; else ValueError."""
    found = np.asarray(codes)
    if not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, got {found.dtype}")
    if found.size != shape[0] * shape[1] or found.shape[:1] != shape[:1]:
        raise ValueError(
            f"{name} must have {shape[1]} codes for each of {shape[0]} positions, got {found.shape}"
        )
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < size:
        wrong = int(found.min()) if found.min() < 0 else int(found.max())
        raise ValueError(f"{name} holds the code {wrong}; codes are 0 … {size - 1}")
    return found.reshape(shape)
