"""Who goes where: train, valid or test, by piece, the same on every machine.

The first 32 bits of SHA-256 of `split-v1:` + group, modulo 10: 0 is valid, 1 is test, the rest train.
Pieces of one group (near-duplicates) stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from otonoha.music.piece import SPLITS

DEFAULT_SHARES = (0.8, 0.1, 0.1)


def check_shares(shares: Sequence[float]) -> None:
    """Raise ValueError unless the shares are three numbers >= 0 that add up to 1."""
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"split is three shares train, valid, test that add up to 1, got {tuple(shares)}")


def place(group: str, *, seed: int = 0) -> float:
    """A number in [0, 1) that decides where a group goes; its first decimal is the hash modulo 10."""
    key = f"split-v1:{group}" if seed == 0 else f"split-v1:{seed}:{group}"
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    tens, ones = divmod(number, 10)
    return (ones + tens / (2**32 // 10 + 1)) / 10


def split_of(group: str, *, seed: int = 0, shares: Sequence[float] = DEFAULT_SHARES) -> str:
    """The split of a group: valid comes first on the line from 0 to 1, then test, then train."""
    at, (_, valid, test) = place(group, seed=seed), shares
    return "valid" if at < valid else "test" if at < valid + test else "train"


def assign(
    groups: Sequence[str], *, seed: int = 0, shares: Sequence[float] = DEFAULT_SHARES
) -> tuple[list[str], list[int]]:
    """The split of each piece, and the numbers of those moved so that no needed split is empty.

    From two pieces on, train and valid are never empty (unless a share of 0 asks for it): a group moves over
    from the split that can best spare one. Where all pieces are one group, they are for training, but for
    the last of several, which goes to valid for want of anything better.
    """
    check_shares(shares)
    splits = {g: split_of(g, seed=seed, shares=shares) for g in groups}
    before = [splits[g] for g in groups]
    for wanted in [s for s, share in zip(SPLITS[:2], shares) if share > 0]:
        if len(splits) > 1 and wanted not in splits.values():
            splits[_spare(splits, seed)] = wanted
    after = [splits[g] for g in groups]
    if len(splits) == 1 and shares[0] > 0:
        after = ["train"] * len(groups)
        if shares[1] > 0 and len(groups) > 1:
            after[-1] = "valid"
    return after, [i for i, (a, b) in enumerate(zip(before, after)) if a != b]


def _spare(splits: dict[str, str], seed: int) -> str:
    """The group to give away: the lowest place of the split with most groups beyond its need."""
    beyond = {s: list(splits.values()).count(s) - (s != "test") for s in SPLITS}
    giver = max(SPLITS, key=lambda s: beyond[s])
    return min((g for g, s in splits.items() if s == giver), key=lambda g: (place(g, seed=seed), g))
