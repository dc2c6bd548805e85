"""Which windows write which codes: pure functions of lengths. Torch-free.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). A prior sees `n_ctx` codes; longer pieces are written in windows
that hop. All places are counted in codes of the level from the beginning of the piece, labels in samples. Windows of
a level that is conditioned on a coarser one begin at multiples of `ratio`, so that they begin together with an upper
code. Where the original refuses (less than one context, ends that are no multiple of the ratio, parts of a piece), a
window is simply shorter, and so are the upper codes that it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A level: codes that it sees, samples of a code, codes of an upper code (0 at the top)."""

    n_ctx: int
    hop: int
    ratio: int = 0

    def __post_init__(self) -> None:
        if self.n_ctx < 1 or self.hop < 1 or self.ratio < 0 or (self.ratio and self.n_ctx % self.ratio):
            raise ValueError(f"a window must be a multiple of the codes of an upper code, got {self}")

    @property
    def step(self) -> int:
        """Windows begin at multiples of it."""
        return self.ratio or 1

    def up(self, place: int) -> int:
        """The first place from here on where a window may begin."""
        return -(-place // self.step) * self.step

    def down(self, place: int) -> int:
        """The last place up to here where a window may begin."""
        return place // self.step * self.step


@dataclass(frozen=True)
class Window:
    """`given` known codes from `start` on, then `new` ones are written; the first `drop` of them are not kept."""

    start: int
    given: int
    new: int
    drop: int = 0

    @property
    def first(self) -> int:
        """The first place that is kept."""
        return self.start + self.given + self.drop

    @property
    def stop(self) -> int:
        """One after the last place."""
        return self.start + self.given + self.new

    def offset(self, shape: Shape, base: int = 0) -> int:
        """Where the label says it is, in samples, if the piece begins `base` samples into the song."""
        return base + self.start * shape.hop

    def upper(self, shape: Shape, available: int) -> tuple[int, int] | None:
        """The upper codes that it sees, of those up to `available`; None at the top."""
        if not shape.ratio:
            return None
        first = self.start // shape.ratio
        return first, min(first + shape.n_ctx // shape.ratio, available)


def hop_of(shape: Shape, fraction: float) -> int:
    """Codes from one window to the next: the fraction of a window, in whole upper codes."""
    if not 0 < fraction <= 1:
        raise ValueError(f"hop must be above 0 and at most 1 (a share of the window), got {fraction}")
    return max(shape.step, shape.down(int(fraction * shape.n_ctx)))


def window_starts(shape: Shape, total: int, hop: int, anchor: int = 0) -> list[int]:
    """Where windows begin on the way from `anchor` to `total`; the last is pulled back so as to end there."""
    last = shape.up(total - shape.n_ctx)
    return [*range(anchor, last, hop), max(anchor, last)] if total > anchor else []


def plan(shape: Shape, first: int, last: int, *, total: int, hop: int, history: int = 0) -> list[Window]:
    """The windows that write the codes first … last - 1 of a piece of `total`, one after the other.

    `history` codes right before `first` are known. The windows lie as if all from there to the end of the piece were
    to be written, so that writing a piece part by part uses the same windows as writing it at once.
    """
    if not 0 <= history <= first <= last <= total:
        raise ValueError(f"cannot write codes {first} … {last} of {total} after {history} known ones")
    anchor = shape.up(first - history)
    if anchor > first:
        raise ValueError(
            f"codes of this level are written from multiples of {shape.ratio} on; {first} is none, "
            "and no known codes lead up to it"
        )
    windows, cursor = [], first
    for start in window_starts(shape, total, hop, anchor):
        stop = min(start + shape.n_ctx, last)
        if stop > cursor:
            windows.append(Window(start, cursor - start, stop - cursor))
            cursor = stop
    return windows


def at_the_end(shape: Shape, known: int, new: int) -> Window:
    """One window that adds `new` codes to `known` ones, with as many of those before it as it can see."""
    if not 0 < new <= shape.n_ctx:
        raise ValueError(f"one window adds 1 … {shape.n_ctx} codes, not {new}")
    start = shape.up(max(0, known + new - shape.n_ctx))
    return Window(start, known - start, new)


def side_by_side(shape: Shape, first: int, last: int, *, total: int) -> list[Window]:
    """Windows that write first … last - 1 without knowing of each other: all can be written at once.

    One begins where the other ends. One that would reach beyond the piece is pulled back, and only its last codes
    are kept.
    """
    begin, windows = shape.down(first), []
    for start in range(begin, last, shape.n_ctx):
        early = max(begin, min(start, shape.up(total - shape.n_ctx)))
        stop = min(start + shape.n_ctx, last)
        windows.append(Window(early, 0, stop - early, max(start, first) - early))
    return windows


def repairs(shape: Shape, written: Sequence[Window], *, history: int = 0, length: int = 0) -> list[Window]:
    """Windows that write the codes after every seam anew, now knowing what comes before it.

    Each is given the half window before the seam and writes `length` codes after it (at most, and unless given, the
    other half). The codes given to one are written anew by no other, so these too can be written at once. Before the
    first of `written` there are `history` known codes.
    """
    half = shape.down(shape.n_ctx // 2)
    most = min(length or half, shape.n_ctx - half)
    ends = [shape.up(later.first - half) for later in written[1:]]
    found = []
    for i, (window, end) in enumerate(zip(written, [*ends, written[-1].stop])):
        seam = window.first
        start = shape.up(max(0, seam - (half if i else min(half, history))))
        if start < seam:
            found.append(Window(start, seam - start, min(most, end - seam, window.stop - seam)))
    return found


def chunks(lengths: Sequence[int], size: int) -> int:
    """How many training chunks of `size` there are in songs of these lengths, joined."""
    short = [i for i, length in enumerate(lengths) if length < size]
    if short or size < 1:
        raise ValueError(
            f"training chunks of {size} samples do not fit into song {short[0]}, which has {lengths[short[0]]}"
            if short
            else f"training chunks must hold samples, got a size of {size}"
        )
    return sum(lengths) // size


def chunk(index: int, lengths: Sequence[int], size: int, shift: int = 0) -> tuple[int, int]:
    """The song that a training chunk is cut from, and the place in it.

    The songs are thought joined, the chunk begins at index·size + shift. The song is that of the chunk's middle; a
    chunk that would reach over an edge of it is moved inwards, by half its size at most.
    """
    if not -size // 2 <= shift <= size // 2:
        raise ValueError(f"a chunk of {size} is shifted by at most half its size, not by {shift}")
    begin = index * size + shift
    middle, song = begin + size // 2, 0
    while song < len(lengths) - 1 and middle >= lengths[song]:
        begin, middle = begin - lengths[song], middle - lengths[song]
        song += 1
    if begin < 0:
        return song, min(lengths[song] - size, begin + size // 2)
    if begin > lengths[song] - size:
        return song, max(0, begin - size // 2)
    return song, begin
