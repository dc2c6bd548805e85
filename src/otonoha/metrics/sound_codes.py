"""What do a codec's codes cost, and does it use its codebook?

Codes are integers (T,) of one level, from 0 to below `size`; lists of such sequences are coded one after another,
as one archive of several recordings.

- *Use*: the share of the codebook that occurs. *Perplexity*: 2 to the power of the entropy of the codes, the number of
  codes that would carry as much if all were equally frequent.
- *Order 0*: bits of an ideal coder that knows how often each code occurs and nothing else: codes · entropy.
- *Order k*: bits of a real adaptive arithmetic coder that knows nothing beforehand and predicts each code from the
  k codes before it, blended with shorter contexts down to the uniform distribution over the codebook,

      p_j(x) = (n_j(x) + d_j · p_(j-1)(x)) / (n_j + d_j),      p_(-1)(x) = 1 / size

  with n_j codes and d_j different codes seen after this context of length j so far (Witten and Bell 1991,
  interpolated; where nothing was seen, p_j = p_(j-1)). A decoder sees the same counts, so that the file could be
  written: -Σ log2 p bits and at most two more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otonoha.metrics.shares import entropy, shares

MOST_ORDER = 8
FEW, MANY = 4, 256
"""A codec whose codes carry less than so many equally frequent ones is called collapsed; from so many codes on."""
ENOUGH = 1 << 20
"""Codes of a level that are counted for this, about; of more only every so many."""


def usage(codes: np.ndarray | Sequence[np.ndarray], size: int) -> dict[str, float]:
    """Use of one level's codebook: `use` (share of the codes that occur), `perplexity`, `entropy` (bits per code)."""
    counts = np.bincount(_joined(codes, size), minlength=size)
    bits = entropy(shares(counts)) + 0.0  # no -0.0
    return {"use": float((counts > 0).mean()), "perplexity": float(2**bits), "entropy": bits}


def collapsed(levels: Sequence[Sequence[np.ndarray]], sizes: Sequence[int]) -> str:
    """What to say of a codec that tells no sound from another; "" where it does.

    `levels`: the recordings as codes, level by level, the finest first. Few codes, or small codebooks, say nothing.
    """
    bad = []
    for level, (codes, size) in enumerate(zip(levels, sizes, strict=True)):
        many = sum(map(len, codes))
        if size < FEW**2 or many < MANY:
            continue
        every = -(-many // ENOUGH)
        told = usage([one[::every] for one in codes], size)
        if told["perplexity"] < FEW:
            bad.append(f"of {size:,} codes on level {level} it uses {round(told['use'] * size)}")
    if not bad:
        return ""
    return f"the codec tells hardly any sounds apart: {', '.join(bad)} (silence, or a codec that has to learn longer)"


def static_bits(codes: np.ndarray | Sequence[np.ndarray], size: int) -> float:
    """Bits of an ideal order-0 coder that is told the frequencies for nothing."""
    joined = _joined(codes, size)
    return len(joined) * entropy(shares(np.bincount(joined, minlength=size)))


def adaptive_bits(codes: np.ndarray | Sequence[np.ndarray], size: int, *, order: int = 1) -> float:
    """Bits of an adaptive arithmetic coder that looks `order` codes back (0-8)."""
    return float(code_lengths(codes, size, order=order).sum())


def code_lengths(codes: np.ndarray | Sequence[np.ndarray], size: int, *, order: int = 1) -> np.ndarray:
    """(T,) bits of each code in turn, contexts running on from one sequence into the next."""
    if not 0 <= order <= MOST_ORDER:
        raise ValueError(f"order must be 0 to {MOST_ORDER}, got {order}")
    joined = _joined(codes, size)
    likely = np.full(len(joined), 1.0 / size)
    context = np.zeros(len(joined), np.int64)  # the number of the context before each code
    for back in range(order + 1):
        if back:
            earlier = np.concatenate([np.full(min(back, len(joined)), size), joined[:-back]])
            context = _numbered(context * (size + 1) + earlier)
        with_code = _numbered(context * size + joined)
        seen, same = _seen_before(context), _seen_before(with_code)
        different = _running_total(context, same == 0)
        total = seen + different
        blended = (same + different * likely) / np.maximum(total, 1)
        likely = np.where(total > 0, blended, likely)
    return -np.log2(likely)


def _numbered(keys: np.ndarray) -> np.ndarray:
    """Equal keys get equal numbers below len(keys), so that longer contexts never overflow."""
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _seen_before(keys: np.ndarray) -> np.ndarray:
    """How often each element occurred before its place."""
    return _running_total(keys, np.ones(len(keys), bool))


def _running_total(groups: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """At each place: how many marks there are at earlier places of the same group."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    before = np.cumsum(marks[order]) - marks[order]
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    lengths = np.diff(starts, append=len(groups))
    result = np.empty(len(groups), np.int64)
    result[order] = before - np.repeat(before[starts], lengths)
    return result


def _joined(codes: np.ndarray | Sequence[np.ndarray], size: int) -> np.ndarray:
    """One (T,) int64 sequence; refuses codes that the codebook does not have."""
    if size < 1:
        raise ValueError(f"a codebook has at least 1 code, got {size}")
    parts = [np.asarray(c) for c in ([codes] if isinstance(codes, np.ndarray) else codes)]
    for part in parts:
        if part.ndim != 1 or not np.issubdtype(part.dtype, np.integer):
            raise ValueError(f"codes are (T,) integers of one level, got {part.dtype} of shape {part.shape}")
    joined = np.concatenate([np.zeros(0, np.int64), *(p.astype(np.int64) for p in parts)])
    if len(joined) and not (joined.min() >= 0 and joined.max() < size):
        raise ValueError(f"codes must lie in 0-{size - 1}, got {joined.min()} to {joined.max()}")
    return joined
