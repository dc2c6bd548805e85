"""What factorised attention remembers while a sequence is written, in buffers that never move or grow.

Axes as in nn/factorised.py: B batch, H heads, R rows, N positions of a row, C head width, n new positions.

Each function remembers exactly what later positions can look at, laid out so that a step reads one piece of memory:

    row           (2, B, H, N, C)         one row, written over in place
    column        (2, N, B, H, R, C)      each column in one piece
    previous row  (2 rows, 2, B, H, N, C) the row before and the present one, by turns
    summary       (2, B, H, R S, C)       zeros, then the ends of all rows but the last
    dense         (2, B, H, length, C)    prime the same with P; cross (2, B, H, S, C), projected once

(The leading 2 are keys and values.) A step so costs O(N + R) at any place. The original appends every key to a growing
list and looks at 1/N of it in a column, which makes its step O(T). `read` takes any number of positions: those from 0
on as one whole sequence, later ones row by row.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from otonoha.nn import factorised as f
from otonoha.nn.factorised import Fold, attend


@dataclass(frozen=True)
class Span:
    """Where a step at one position writes its key and what it looks at, in numbers from the beginning of `kv`.

    All for the first head of the first row; `pitch` leads to the next head (and from the last to the next row).
    """

    write: int
    """Where the key goes; −1: nowhere."""
    read: int
    """The first key it looks at."""
    keys: int
    """How many keys it looks at."""
    pitch: int
    values: int
    """From a key to its value."""


class Memory:
    """The memory of one layer: keys and values of the positions before `at`."""

    kv: Tensor
    by_row = True
    """Whether positions of different rows have to be read one row after the other."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    def read(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """The positions at, at + 1 …: queries (B, H, n, C), keys and values (2, B, H, n, C) -> (B, H, n, C).

        All before `at` has been read; reading a place again writes over it.
        """
        n = q.shape[2]
        if at + n > self.fold.length:
            raise ValueError(
                f"position {at + n - 1} lies outside of the {self.fold.length} there is room for"
            )
        if at == 0 and n > 1:
            self.fill(kv)
            return f.whole(self.fold, q, kv[0], kv[1])
        if not self.by_row or at % self.fold.row + n <= self.fold.row:
            return self.within(at, q, kv)
        cuts = list(self._rows(at, n))
        return torch.cat([self.within(at + a, q[:, :, a:b], kv[..., a:b, :]) for a, b in cuts], 2)

    def _rows(self, at: int, n: int) -> Iterator[tuple[int, int]]:
        """Where the rows of the positions at … at + n − 1 begin and end, counted from `at`."""
        begin = 0
        while begin < n:
            end = min(n, begin + self.fold.row - (at + begin) % self.fold.row)
            yield begin, end
            begin = end

    def fill(self, kv: Tensor) -> None:
        """Remember the positions from 0 on."""
        raise NotImplementedError

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """`read` for positions of one row."""
        raise NotImplementedError

    def span(self, at: int) -> Span:
        """A step at `at` in numbers, for whoever does it elsewhere (in C). Here for one buffer with slots in a row."""
        slot, keys = self.slots(at)
        strides = self.kv.stride()
        return Span(-1 if slot is None else slot * strides[-2], 0, keys, strides[-3], strides[0])

    def slots(self, at: int) -> tuple[int | None, int]:
        """The slot that a step at `at` fills, if any, and how many from 0 on it looks at."""
        raise NotImplementedError

    def seen(self, until: int) -> Tensor:
        """The keys (B, H, S, C) of functions whose weights are recorded, once `until` positions are read."""
        return self.kv[0, :, :, :until]


class Row(Memory):
    """One row, written over by the next."""

    def __init__(self, fold: Fold, like: Tensor, batch: int, heads: int, width: int) -> None:
        super().__init__(fold)
        self.kv = like.new_zeros(2, batch, heads, fold.row, width)

    def fill(self, kv: Tensor) -> None:
        """Of several rows the last counts."""
        last = kv[..., (kv.shape[3] - 1) // self.fold.row * self.fold.row :, :]
        self.kv[..., : last.shape[3], :] = last

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """Its row so far."""
        place = at % self.fold.row
        end = place + q.shape[2]
        self.kv[..., place:end, :] = kv
        k, v = self.kv[..., :end, :]
        return attend(q, k, v, _past(q, place))

    def slots(self, at: int) -> tuple[int | None, int]:
        """Its place."""
        return at % self.fold.row, at % self.fold.row + 1


class Column(Memory):
    """A buffer for each column."""

    def __init__(self, fold: Fold, like: Tensor, batch: int, heads: int, width: int) -> None:
        super().__init__(fold)
        self.kv = like.new_zeros(2, fold.row, batch, heads, fold.rows, width)

    def fill(self, kv: Tensor) -> None:
        """A row that is not full is filled with zeros, which its own positions write over later."""
        padded = torch.nn.functional.pad(kv, (0, 0, 0, -kv.shape[3] % self.fold.row))
        by_column = f.columns(padded, self.fold.row)
        self.kv[..., : by_column.shape[4], :] = by_column

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """n positions of a row look at n columns."""
        row, place = divmod(at, self.fold.row)
        B, H, n, C = q.shape
        mine = self.kv[:, place : place + n]
        mine[..., row, :] = kv.movedim(3, 1)
        k, v = mine[..., : row + 1, :].flatten(1, 2)
        y = attend(q.permute(2, 0, 1, 3).reshape(n * B, H, 1, C), k, v)
        return y.view(n, B, H, C).permute(1, 2, 0, 3)

    def span(self, at: int) -> Span:
        """The buffer of a column."""
        row, place = divmod(at, self.fold.row)
        values, column, _, pitch, slot, _ = self.kv.stride()
        return Span(place * column + row * slot, place * column, row + 1, pitch, values)


class PreviousRow(Memory):
    """Two rows by turns."""

    def __init__(self, fold: Fold, like: Tensor, batch: int, heads: int, width: int) -> None:
        super().__init__(fold)
        self.kv = like.new_zeros(2, 2, batch, heads, fold.row, width)

    def fill(self, kv: Tensor) -> None:
        """The last two rows count."""
        N, T = self.fold.row, kv.shape[3]
        last = (T - 1) // N
        for row in range(max(0, last - 1), last + 1):
            part = kv[..., row * N : (row + 1) * N, :]
            self.kv[row % 2, ..., : part.shape[3], :] = part

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """The other row, whole; the first row has none."""
        row, place = divmod(at, self.fold.row)
        self.kv[row % 2, ..., place : place + q.shape[2], :] = kv
        if row == 0:
            return torch.zeros_like(q)
        k, v = self.kv[(row - 1) % 2]
        return attend(q, k, v)

    def span(self, at: int) -> Span:
        """Written here, read there."""
        row, place = divmod(at, self.fold.row)
        turn, values, _, pitch, slot, _ = self.kv.stride()
        keys = self.fold.row if row else 0
        return Span(row % 2 * turn + place * slot, (row - 1) % 2 * turn, keys, pitch, values)


class Spread(Memory):
    """The ends of rows; summary is the spread of one."""

    by_row = False

    def __init__(self, fold: Fold, like: Tensor, batch: int, heads: int, width: int) -> None:
        super().__init__(fold)
        self.kv = like.new_zeros(2, batch, heads, fold.rows * fold.summary, width)
        self.ends = f.ends(fold, like.device)
        self.filled = self.ends.tolist()

    def fill(self, kv: Tensor) -> None:
        """A row that is not full is filled with zeros, which its own positions write over later."""
        padded = torch.nn.functional.pad(kv, (0, 0, 0, -kv.shape[3] % self.fold.row))
        ends = f.shown(self.fold, padded)
        self.kv[..., : ends.shape[3], :] = ends

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """Zeros and the ends up to its own place."""
        last = at + q.shape[2] - 1
        begin, end = bisect_left(self.filled, at), bisect_right(self.filled, last)
        for slot in range(begin, end):
            self.kv[..., slot, :] = kv[..., self.filled[slot] - at, :]
        k, v = self.kv[..., :end, :]
        if begin == end or at == last:
            return attend(q, k, v)
        return attend(q, k, v, torch.arange(at, last + 1, device=q.device)[:, None] >= self.ends[:end])

    def slots(self, at: int) -> tuple[int | None, int]:
        """The last one, if it stands at the end of a row."""
        end = bisect_right(self.filled, at)
        return (end - 1 if self.filled[end - 1] == at else None), end


class Dense(Memory):
    """Everything so far; or, of a prefix, its P positions."""

    by_row = False

    def __init__(self, fold: Fold, like: Tensor, batch: int, heads: int, width: int) -> None:
        super().__init__(fold)
        self.capacity = fold.prime if fold.function == f.PRIME else fold.length
        self.kv = like.new_zeros(2, batch, heads, self.capacity, width)

    def fill(self, kv: Tensor) -> None:
        """From the beginning."""
        end = min(kv.shape[3], self.capacity)
        self.kv[..., :end, :] = kv[..., :end, :]

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """All slots that are filled."""
        end = min(at + q.shape[2], self.capacity)
        if at < end:
            self.kv[..., at:end, :] = kv[..., : end - at, :]
        k, v = self.kv[..., :end, :]
        return attend(q, k, v, _past(q, at, end))

    def slots(self, at: int) -> tuple[int | None, int]:
        """The next one, as long as there is one."""
        return (at if at < self.capacity else None), min(at + 1, self.capacity)


class Cross(Memory):
    """Keys and values of the states, projected once."""

    by_row = False

    def __init__(self, fold: Fold, kv: Tensor) -> None:
        super().__init__(fold)
        self.kv = kv.contiguous()

    def fill(self, kv: Tensor) -> None:
        """They are here already."""

    def within(self, at: int, q: Tensor, kv: Tensor) -> Tensor:
        """All of them."""
        return attend(q, self.kv[0], self.kv[1])

    def slots(self, at: int) -> tuple[int | None, int]:
        """All of them."""
        return None, self.kv.shape[3]

    def seen(self, until: int) -> Tensor:
        """All of them."""
        return self.kv[0]


MEMORIES: dict[int, type] = {
    f.DENSE: Dense,
    f.ROW: Row,
    f.COLUMN: Column,
    f.PREVIOUS_ROW: PreviousRow,
    f.SUMMARY: Spread,
    f.SPREAD: Spread,
    f.PRIME: Dense,
}


def memory_of(layer: f.FactorisedAttention, batch: int, states: Tensor | None = None) -> Memory:
    """An empty memory for a layer; that of cross attention holds the states (B, S, D) already."""
    if layer.fold.function == f.CROSS:
        return Cross(layer.fold, layer.projected(states))
    like = layer.c_attn.w.detach()
    return MEMORIES[layer.fold.function](
        layer.fold, like, batch, layer.heads, layer.c_proj.w.shape[0] // layer.heads
    )


def read(
    layer: f.FactorisedAttention, x: Tensor, memory: Memory, at: int, record: list[Tensor] | None = None
) -> Tensor:
    """The layer at the positions at, at + 1 …: x (B, n, D) -> (B, n, D). `record` receives weights (B, H, n, S)."""
    if layer.fold.function == f.CROSS:
        q, kv = layer.parted(layer.c_attn(x), 1)[0], memory.kv
    else:
        qkv = layer.parted(layer.c_attn(x), 3)
        q, kv = qkv[0], qkv[1:]
    y = memory.read(at, q, kv)
    if record is not None:
        record.append(f.weights(layer.fold, q, memory.seen(at + x.shape[1]), at))
    return layer.joined(y)


def _past(q: Tensor, place: int, keys: int | None = None) -> Tensor | None:
    """Queries at `place` and after, over keys from 0 on: who sees whom (n, S); None where all see all."""
    n = q.shape[2]
    slots = place + n if keys is None else keys
    if n == 1 or slots <= place:
        return None
    return torch.ones(n, slots, dtype=torch.bool, device=q.device).tril(place)
