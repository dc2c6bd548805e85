"""A codebook that follows what it stands for, by moving averages, and revives the codes that nobody uses.

van den Oord et al. 2017 (VQ-VAE, appendix A.1), Razavi et al. 2019, Dhariwal et al. 2020 (random restarts).
Axes: N vectors, D width, K codes.

    z_i = argmin_j |h_i - k_j|²
    sum_j ← μ sum_j + (1-μ) Σ_{i: z_i = j} h_i       count_j ← μ count_j + (1-μ) |{i: z_i = j}|
    k_j = sum_j / count_j, or a random vector of the batch where count_j < threshold
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 256
"""Vectors that are compared with all codes at once: what they give stays near a core."""
NOISE = 0.01
"""Spread of what is added to vectors that are offered more than once, in units of 1/sqrt(D)."""


class Codebook(nn.Module):
    """`k` (K, D): one vector for every code. A buffer: no gradient moves it."""

    followed = ("k",)  # train.loop: the moving average of the weights takes it over as it is
    k: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros(codes, width))

    def nearest(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> (N,) codes, and their squared distances."""
        squares = (self.k**2).sum(1)
        found = [self._nearest(part, squares) for part in h.split(ROWS)]
        if not found:
            return h.new_zeros(0, dtype=torch.long), h.new_zeros(0)
        return torch.cat([z for z, _ in found]), torch.cat([d for _, d in found])

    def _nearest(self, h: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        best, z = torch.addmm(squares, h, self.k.t(), alpha=-2).min(1)  # without |h|², which all codes share
        return z, best + (h**2).sum(1)

    def vectors(self, z: Tensor) -> Tensor:
        """Codes of any shape -> their vectors (…, D)."""
        return F.embedding(z, self.k)


@dataclass(frozen=True)
class Seen:
    """What a batch showed of one codebook, for the update after the step. `h` (N, D), `z` (N,), neither with a
    gradient."""

    h: Tensor
    z: Tensor


def joined(parts: list[Seen]) -> Seen:
    """Parts of one batch as a whole."""
    return Seen(torch.cat([p.h for p in parts]), torch.cat([p.z for p in parts]))


@dataclass(frozen=True)
class Draw:
    """The chance in an update: `rows` (K,) of the offered vectors, `noise` (as these) where they are repeated."""

    rows: Tensor
    noise: Tensor | None = None


def draw(vectors: int, codes: int, width: int, generator: torch.Generator | None = None) -> Draw:
    """Random rows for so many codes out of so many vectors; the vectors are repeated where there are too few."""
    times = -(-codes // vectors)
    total = vectors * times
    noise = torch.randn(total, width, generator=generator) if times > 1 else None
    return Draw(torch.randperm(total, generator=generator)[:codes], noise)


def offered(h: Tensor, chance: Draw) -> Tensor:
    """(K, D): a vector of the batch for every code."""
    if chance.noise is not None:
        times = len(chance.noise) // len(h)
        h = h.repeat(times, 1) + chance.noise.to(h) * (NOISE / math.sqrt(h.shape[1]))
    return h[chance.rows.to(h.device)]


def processes() -> int:
    """How many processes train together; each holds an equal share of the vectors of a batch."""
    return dist.get_world_size() if dist.is_initialized() else 1


def offered_by_all(h: Tensor, chance: Draw) -> Tensor:
    """The same of the vectors of all processes in the order of their ranks; the chance is that of the first."""
    share = len(h)
    rows, noise = chance.rows.to(h.device), torch.zeros(len(chance.rows), h.shape[1]).to(h)
    if chance.noise is not None:
        noise = chance.noise.to(h)[rows] * (NOISE / math.sqrt(h.shape[1]))
    dist.broadcast(rows, 0)
    dist.broadcast(noise, 0)
    place = rows % (share * processes()) - share * dist.get_rank()
    mine = (place >= 0) & (place < share)
    found = torch.where(mine[:, None], h[place.clamp(0, share - 1)], 0.0)
    dist.all_reduce(found)
    return found + noise


class Averages(nn.Module):
    """The moving sums and counts of a codebook, saved with the training so that it resumes exactly.

    `k_sum` (K, D), `k_elem` (K,), `ready`: has the codebook been chosen?, `dk`: how far it moved in the last update
    (root of the mean square).
    """

    followed = ("k_sum", "k_elem", "ready", "dk")
    k_sum: Tensor
    k_elem: Tensor
    ready: Tensor
    dk: Tensor

    def __init__(self, codes: int, width: int, *, decay: float, threshold: float = 1.0) -> None:
        super().__init__()
        self.decay, self.threshold = decay, threshold
        self.register_buffer("k_sum", torch.zeros(codes, width))
        self.register_buffer("k_elem", torch.zeros(codes))
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("dk", torch.zeros(()))

    @torch.no_grad()
    def choose(self, book: Codebook, h: Tensor, chance: Draw) -> None:
        """The first codebook: vectors of the first batch."""
        book.k.copy_(offered(h, chance))
        self.restore(book, 1.0)

    @torch.no_grad()
    def restore(self, book: Codebook, count: float) -> None:
        """As if every code of a given codebook had been seen `count` times."""
        self.k_sum.copy_(book.k * count)
        self.k_elem.fill_(count)
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, book: Codebook, seen: Seen, chance: Draw) -> None:
        """Move the averages, then the codebook. Several processes make the update of one that holds the whole batch;
        the chance is then that of `draw` for all vectors."""
        sums = torch.zeros_like(self.k_sum).index_add_(0, seen.z, seen.h)
        counts = torch.bincount(seen.z, minlength=len(book.k)).to(self.k_elem)
        alone = processes() == 1
        fresh = offered(seen.h, chance) if alone else offered_by_all(seen.h, chance)
        if not alone:
            dist.all_reduce(sums)
            dist.all_reduce(counts)
        self.k_sum.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        self.k_elem.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        alive = self.alive[:, None]
        moved = torch.where(alive, self.k_sum / torch.where(alive, self.k_elem[:, None], 1.0), fresh)
        self.dk.copy_(((moved - book.k) ** 2).mean().sqrt())
        book.k.copy_(moved)

    @property
    def alive(self) -> Tensor:
        """(K,): which codes are in use."""
        return self.k_elem >= self.threshold

    def figures(self, seen: Seen, distance: Tensor) -> dict[str, Tensor]:
        """How the codebook fits a batch and is used: `fit` mean squared distance, `pn` spread of the vectors around
        their mean number, `entropy` of the codes in nats, `used` codes in this batch, `usage` codes in use on average,
        `dk` as above.
        """
        counts = torch.bincount(seen.z, minlength=len(self.k_elem)).to(seen.h)
        share = counts / counts.sum()
        return {
            "fit": distance.mean(),
            "pn": (seen.h - seen.h.mean()).pow(2).mean().sqrt(),
            "entropy": torch.special.entr(share).sum(),
            "used": (counts >= self.threshold).sum().float(),
            "usage": self.alive.sum().float(),
            "dk": self.dk.clone(),
        }
