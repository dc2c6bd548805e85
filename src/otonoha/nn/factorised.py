"""Factorised attention: a long sequence is folded into rows, and a position looks along one direction only.

Child et al. 2019 (Sparse Transformer), Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B batch, T positions,
R rows, N positions of a row, H heads, C head width, S keys, D width, E inner width (all heads).

A sequence of `length` positions is read as R rows of N = length / R. What a position looks at, by the number that
the original gives it:

    0 dense         everything up to itself
    1 row           its own row up to itself
    2 column        its own place in every row, down to its own
    3 previous row  the whole row before its own; the first row looks at nothing and receives zeros
    4 summary       the last position of each earlier row, and one slot of zeros
    5 spread        the last `spread` positions of each earlier row, and as many slots of zeros
    6 cross         states of something else (lyrics), all of them
    7 prime         the first P positions (lyrics in front of the music), up to itself

Rows, columns and previous rows in turn let every position reach every earlier one within three layers, at
O(T (N + R)) instead of O(T²). This file has whole sequences, for training; nn/factorised_memory.py goes on position by
position and gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DENSE, ROW, COLUMN, PREVIOUS_ROW, SUMMARY, SPREAD, CROSS, PRIME = range(8)
SHOWN = (DENSE, CROSS, PRIME)
"""Functions whose weights can be recorded: those that may look at lyrics."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One attention function and the shape that it folds a sequence into."""

    function: int
    length: int
    """Positions of the longest sequence."""
    rows: int = 1
    """R; it divides `length`."""
    spread: int = 1
    """Positions of a row that function 5 sees."""
    prefix: int = 0
    """Positions of the lyrics that function 7 sees."""

    def __post_init__(self) -> None:
        if not DENSE <= self.function <= PRIME:
            raise ValueError(f"attention functions are {DENSE} … {PRIME}, got {self.function}")
        if self.rows < 1 or self.length < 1 or self.length % self.rows:
            raise ValueError(
                f"{self.length} positions cannot be folded into {self.rows} rows of equal length"
            )
        if not 1 <= self.spread <= self.row:
            raise ValueError(f"spread must be within 1 … {self.row} (a row), got {self.spread}")

    @property
    def row(self) -> int:
        """N: positions of a row."""
        return self.length // self.rows

    @property
    def summary(self) -> int:
        """Positions that a row shows to later rows."""
        return self.spread if self.function == SPREAD else 1

    @property
    def prime(self) -> int:
        """P: the prefix rounded up to whole `rows`, and one more group of them even when it fits.

        So 384 characters in 64 rows give 448, and the first 64 codes are seen as well. Released weights expect it.
        """
        return min(self.length, (self.prefix // self.rows + 1) * self.rows)


class Projection(nn.Module):
    """y = x w + b with w (in, out): the original's layout, and the fast one for single rows on a CPU."""

    def __init__(self, inside: int, outside: int, std: float) -> None:
        super().__init__()
        self.w = nn.Parameter(
            torch.empty(inside, outside).normal_(std=std) if std else torch.zeros(inside, outside)
        )
        self.b = nn.Parameter(torch.zeros(outside))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        return torch.addmm(self.b, x.reshape(-1, x.shape[-1]), self.w).view(*x.shape[:-1], -1)


class Norm(nn.LayerNorm):
    """LayerNorm in float32 at least, whatever x is; ε 1e-5."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, W) -> (…, W)."""
        if x.dtype in (torch.float32, torch.float64):
            return super().forward(x)
        y = F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return y.to(x.dtype)


class FactorisedAttention(nn.Module):
    """x (B, T, D) -> (B, T, D), by one attention function; cross attention also takes states (B, S, D)."""

    def __init__(self, fold: Fold, width: int, inner: int, heads: int, std: float = 0.02) -> None:
        super().__init__()
        if inner % heads:
            raise ValueError(f"attention of width {inner} cannot be split into {heads} heads")
        self.fold, self.heads = fold, heads
        cross = fold.function == CROSS
        self.c_attn = Projection(width, inner if cross else 3 * inner, std)
        if cross:
            self.c_enc_kv = Projection(width, 2 * inner, std)
        # zero: lyrics can be added to a trained prior, which then begins as it was
        self.c_proj = Projection(inner, width, 0.0 if cross else std)

    def forward(self, x: Tensor, states: Tensor | None = None, record: list[Tensor] | None = None) -> Tensor:
        """Whole sequences. `record` receives the weights (B, H, T, S) of functions 0, 6 and 7."""
        q, kv = self.split(x, states)
        if record is not None:
            record.append(weights(self.fold, q, self.keys(kv)[0]))
        return self.joined(whole(self.fold, q, *kv))

    def split(self, x: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, D) -> queries (B, H, T, C); keys and values (2, B, H, S, C)."""
        if self.fold.function == CROSS:
            return self.parted(self.c_attn(x), 1)[0], self.projected(states)
        qkv = self.parted(self.c_attn(x), 3)
        return qkv[0], qkv[1:]

    def projected(self, states: Tensor | None) -> Tensor:
        """Keys and values (2, B, H, S, C) of the states that cross attention looks at."""
        if states is None:
            raise ValueError("cross attention needs states to look at")
        return self.parted(self.c_enc_kv(states), 2)

    def parted(self, x: Tensor, parts: int) -> Tensor:
        """(B, T, parts · E) -> (parts, B, H, T, C)."""
        B, T, _ = x.shape
        return x.view(B, T, parts, self.heads, -1).permute(2, 0, 3, 1, 4)

    def keys(self, kv: Tensor) -> Tensor:
        """Those of keys and values (2, B, H, S, C) that the function can ever look at."""
        return kv[..., : self.fold.prime, :] if self.fold.function == PRIME else kv

    def joined(self, y: Tensor) -> Tensor:
        """(B, H, T, C) -> (B, T, D)."""
        return self.c_proj(y.transpose(1, 2).flatten(2))


# -- the functions: q, k, v (B, H, T, C) -> (B, H, T, C) ------------------------------------------------------


def whole(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of whole sequences from position 0 on, of any T up to `length`."""
    T, act = q.shape[2], FUNCTIONS[fold.function]
    missing = -T % fold.row if act in FOLDED else 0
    if missing:  # a row that is not full yet; nobody looks at what lies after him
        q, k, v = (F.pad(t, (0, 0, 0, missing)) for t in (q, k, v))
    return act(fold, q, k, v)[:, :, :T]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """softmax(q kᵀ / √C) v, fused. With `causal` query t sees the keys 0 … t."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


def dense(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Everything up to itself."""
    return attend(q, k, v, causal=True)


def row(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Rows side by side, as if they were pieces of a batch."""
    return unfolded(attend(*(folded(t, fold.row) for t in (q, k, v)), causal=True), len(q))


def column(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Columns side by side."""
    B, R = len(q), q.shape[2] // fold.row
    y = attend(*(columns(t, fold.row).flatten(0, 1) for t in (q, k, v)), causal=True)
    return y.view(fold.row, B, -1, R, q.shape[3]).permute(1, 2, 3, 0, 4).flatten(2, 3)


def previous_row(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every row looks at all of the one before. Before the first lie zeros, and their mean is zero."""
    k, v = (F.pad(t, (0, 0, fold.row, 0))[:, :, : -fold.row] for t in (k, v))
    return unfolded(attend(*(folded(t, fold.row) for t in (q, k, v))), len(q))


def spread(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The ends of rows up to itself, but none of the very last row; the zeros before them count in the softmax."""
    k, v = shown(fold, torch.stack([k, v]))
    place = ends(fold, q.device)[: k.shape[2]]
    return attend(q, k, v, torch.arange(q.shape[2], device=q.device)[:, None] >= place)


def cross(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All the states."""
    return attend(q, k, v)


def prime(fold: Fold, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The first P positions."""
    P = fold.prime
    return attend(q, k[:, :, :P], v[:, :, :P], causal=True)


FUNCTIONS: dict[int, Callable[[Fold, Tensor, Tensor, Tensor], Tensor]] = {
    DENSE: dense,
    ROW: row,
    COLUMN: column,
    PREVIOUS_ROW: previous_row,
    SUMMARY: spread,
    SPREAD: spread,
    CROSS: cross,
    PRIME: prime,
}
FOLDED = (row, column, previous_row, spread)
"""They need whole rows."""


def folded(x: Tensor, N: int) -> Tensor:
    """(B, H, R N, C) -> (B R, H, N, C)."""
    return x.unflatten(2, (-1, N)).transpose(1, 2).flatten(0, 1)


def unfolded(y: Tensor, B: int) -> Tensor:
    """Its inverse."""
    return y.unflatten(0, (B, -1)).transpose(1, 2).flatten(2, 3)


def columns(x: Tensor, N: int) -> Tensor:
    """(…, B, H, R N, C) -> (…, N, B, H, R, C)."""
    return x.unflatten(-2, (-1, N)).movedim(-2, -5)


def shown(fold: Fold, kv: Tensor) -> Tensor:
    """What rows show: (2, B, H, R N, C) -> (2, B, H, (1 + R) S, C), zeros first, without the very last row."""
    rows = kv.unflatten(-2, (-1, fold.row))[..., : fold.rows - 1, -fold.summary :, :]
    return F.pad(rows.flatten(-3, -2), (0, 0, fold.summary, 0))


def ends(fold: Fold, device: torch.device) -> Tensor:
    """(R S,) the positions behind the slots of `shown`; that of zeros is −1."""
    S, N = fold.summary, fold.row
    place = (
        torch.arange(N - S, N, device=device) + N * torch.arange(-1, fold.rows - 1, device=device)[:, None]
    )
    return place.clamp(min=-1).flatten()


def weights(fold: Fold, q: Tensor, k: Tensor, first: int = 0) -> Tensor:
    """The weights (B, H, T, S) written out, where the queries stand at `first` and after."""
    if fold.function not in SHOWN:
        raise ValueError(
            f"the weights of attention function {fold.function} cannot be recorded; those of {SHOWN} can"
        )
    score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if fold.function != CROSS:
        future = torch.ones(score.shape[-2:], dtype=torch.bool, device=q.device).triu(first + 1)
        score = score.masked_fill(future, -torch.inf)
    return score.float().softmax(-1)
