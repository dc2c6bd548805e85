"""Several codes for one moment, written by one prior: the delay pattern. Torch-free, but tensors pass as well.

Copet et al. 2023 (MusicGen, arXiv 2306.05284). A position of a codec has K codes: those of the coarsest level, then of
the finer ones, in the order of time. Stream k is moved `delays[k]` steps to the right:

    position       0  1  2  3              step    0  1  2  3  4  5
    stream 0       a0 a1 a2 a3             0       a0 a1 a2 a3 .  .
    stream 1       b0 b1 b2 b3     ->      1       .  b0 b1 b2 b3 .
    stream 2       c0 c1 c2 c3             2       .  .  c0 c1 c2 c3

so that a prior which writes all codes of a step at once knows a0 when it writes b0, and both when it writes c0. Where
no code stands (.) stands `pad`, an id behind the largest code. N positions need N + max(delays) steps.
Axes: B pieces, N positions, S steps, K streams, T codes of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

A = TypeVar("A")
"""numpy.ndarray or torch.Tensor."""


def delayed(codes: A, delays: Sequence[int], pad: int) -> A:
    """(…, N, K) -> (…, N + max(delays), K); the inverse of `undelayed`."""
    source: Any = codes
    many = _checked(source.shape, delays)
    shape = (*source.shape[:-2], many + max(delays), len(delays))
    moved = _full(source, shape, pad)
    for stream, delay in enumerate(delays):
        moved[..., delay : delay + many, stream] = source[..., stream]
    return moved


def undelayed(steps: A, delays: Sequence[int]) -> A:
    """(…, S, K) -> (…, S - max(delays), K): the positions of which all codes are there."""
    source: Any = steps
    many = _checked(source.shape, delays) - max(delays)
    if many < 0:
        raise ValueError(f"{source.shape[-2]} steps are fewer than the longest delay, {max(delays)}")
    codes = _full(source, (*source.shape[:-2], many, len(delays)), 0)
    for stream, delay in enumerate(delays):
        codes[..., stream] = source[..., delay : delay + many, stream]
    return codes


def window(codes: np.ndarray, delays: Sequence[int], pad: int, start: int, stop: int) -> np.ndarray:
    """(N, K) -> steps `start` … `stop` - 1 of the delayed whole, `pad` beyond it; only what is needed is looked at."""
    many = _checked(codes.shape, delays)
    steps = np.full((stop - start, len(delays)), pad, np.int64)
    for stream, delay in enumerate(delays):
        first, last = max(start - delay, 0), min(stop - delay, many)
        if first < last:
            steps[first + delay - start : last + delay - start, stream] = codes[first:last, stream]
    return steps


@dataclass(frozen=True)
class Delays:
    """How the levels of a codec become streams. `widths`: codes of each level for a position, the finest first."""

    widths: tuple[int, ...]
    sizes: tuple[int, ...]
    """Codes of each level, the finest first."""
    steps: tuple[int, ...] = ()
    """The delay of each stream; unless given 0, 1, 2 …: every code knows all that come before it in its position."""

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.sizes) or min(*self.widths, *self.sizes) < 1:
            raise ValueError(f"every level needs a width and a size above 0, got {self.widths}, {self.sizes}")
        object.__setattr__(self, "steps", tuple(self.steps) or tuple(range(self.streams)))
        if len(self.steps) != self.streams or min(self.steps) != 0:
            raise ValueError(
                f"{self.streams} streams need as many delays, from 0 on; got {self.steps or 'none'}"
            )

    @property
    def streams(self) -> int:
        """K."""
        return sum(self.widths)

    @property
    def levels(self) -> tuple[int, ...]:
        """The level of each stream."""
        return tuple(level for level in range(len(self.widths))[::-1] for _ in range(self.widths[level]))

    @property
    def pad(self) -> int:
        """The id that stands where no code does."""
        return max(self.sizes)

    @property
    def longest(self) -> int:
        """Steps that a piece needs beyond its positions."""
        return max(self.steps)

    def side_by_side(self, levels: Sequence[A]) -> A:
        """(…, T) of every level, the finest first -> (…, N, K)."""
        found: list[Any] = [
            _unfolded(codes, width, f"level {level}")
            for level, (codes, width) in enumerate(zip(levels, self.widths, strict=True))
        ][::-1]
        if len({codes.shape[:-1] for codes in found}) != 1:
            raise ValueError(f"these levels are not of the same sound: {[c.shape for c in found[::-1]]}")
        if isinstance(found[0], np.ndarray):
            return np.concatenate(found, axis=-1)  # type: ignore[return-value]
        import torch

        return torch.cat(found, dim=-1)  # type: ignore[return-value]

    def apart(self, codes: A) -> tuple[A, ...]:
        """(…, N, K) -> (…, T) of every level, the finest first; the inverse of `side_by_side`."""
        source: Any = codes
        ends = np.cumsum(self.widths[::-1])[::-1]
        return tuple(
            source[..., int(end) - width : int(end)].reshape(*source.shape[:-2], -1)
            for end, width in zip(ends, self.widths)
        )


def _unfolded(codes: Any, width: int, what: str) -> Any:
    """(…, T) -> (…, N, width)."""
    if codes.shape[-1] % width:
        raise ValueError(f"{what} has {codes.shape[-1]} codes, not a multiple of {width}")
    return codes.reshape(*codes.shape[:-1], codes.shape[-1] // width, width)


def _checked(shape: Sequence[int], delays: Sequence[int]) -> int:
    """The number of positions or steps."""
    if len(shape) < 2 or shape[-1] != len(delays) or not delays or min(delays) < 0:
        raise ValueError(
            f"codes must be (…, positions, {len(delays)}), a delay of 0 or more each; got {tuple(shape)}"
        )
    return int(shape[-2])


def _full(like: Any, shape: Sequence[int], value: int) -> Any:
    if isinstance(like, np.ndarray):
        return np.full(shape, value, like.dtype)
    return like.new_full(tuple(shape), value)
