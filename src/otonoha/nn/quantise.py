"""Vectors of few dimensions as codes, in two ways, with a straight-through gradient.

    CosineCodes     the code whose direction is nearest; codes follow what they stand for by moving averages, and those
                    that nobody uses become vectors of the batch (Yu et al. 2022, arXiv 2110.04627; Kumar et al. 2023)
    FiniteScalars   every dimension is cut into a few steps; the code counts the cells (Mentzer et al. 2023, FSQ,
                    arXiv 2309.15505). A dimension goes through the normal distribution's function before, so that all
                    its steps are about equally likely

In both, vectors are freed of their moving mean and covariance first: without it a fresh network's vectors all lie in
one direction, and one code stands for everything. At a given state every vector is coded by itself. Where weights are
averaged over a training, so are the moments: those of the latest weights do not fit the averaged ones.
Nothing changes while vectors are quantised; `update` is for after a step, from what was noted.
Axes: M vectors, D dimensions, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

DEAD = 0.03
"""A code that is used less than this share of the mean use is replaced."""
NARROW = 1e-5
"""Smallest variance of a direction, as a share of the largest."""
ROWS = 8192
"""Vectors that are compared with all codes at once: bounds the memory."""


@dataclass(frozen=True)
class Quantised:
    """`vectors` (…, D) with the gradient of what was quantised, `codes` (…), `raw` (…, D) what `update` wants to see,
    `error` (…) how far off the codes are, squared, with a gradient.
    """

    vectors: Tensor
    codes: Tensor
    raw: Tensor
    error: Tensor


class Quantiser(nn.Module):
    """What both ways have in common: `mean` (D,) and `covariance` (D, D), the moving moments that vectors are freed of,
    and `whiten` (D, D), the root of the inverse of the latter.
    """

    ready: Tensor
    mean: Tensor
    covariance: Tensor
    whiten: Tensor

    def __init__(self, codes: int, width: int, decay: float) -> None:
        super().__init__()
        self.codes, self.width, self.decay = codes, width, decay
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("covariance", torch.eye(width))
        self.register_buffer("whiten", torch.eye(width))

    def forward(self, h: Tensor) -> Quantised:
        """(…, D) -> codes and their vectors; in float32, whatever the precision around."""
        with torch.autocast(h.device.type, enabled=False):
            smooth = self.shaped(h)
            codes = self.nearest(smooth.detach())
            vectors = self.vectors(codes)
            error = (smooth - vectors).square().sum(-1)
            return Quantised(smooth + (vectors - smooth).detach(), codes, h.float(), error)

    def freed(self, h: Tensor) -> Tensor:
        """(…, D), each dimension of mean 0 and variance 1, and uncorrelated, as long as the moments are right."""
        return (h.float() - self.mean) @ self.whiten

    def shaped(self, h: Tensor) -> Tensor:
        """(…, D) -> (…, D) where the codes' vectors live."""
        raise NotImplementedError

    def nearest(self, smooth: Tensor) -> Tensor:
        """Shaped (…, D) -> (…) codes."""
        raise NotImplementedError

    def vectors(self, codes: Tensor) -> Tensor:
        """(…) -> (…, D)."""
        raise NotImplementedError

    @torch.no_grad()
    def start(self, raw: Tensor, generator: torch.Generator) -> None:
        """The first state, from vectors (M, D) of the training sound; from then on it is `ready`."""
        self.mean.copy_(raw.float().mean(0))
        gone = raw.float() - self.mean
        self.covariance.copy_(gone.t() @ gone / len(raw))
        self.whiten.copy_(_inverse_root(self.covariance))
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, raw: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        """Follow what a batch showed: (M, D) and (M,). Several processes make one and the same update."""
        gone = raw.float() - self.mean
        many, sums, products = torch.tensor(len(raw)).to(gone), gone.sum(0), gone.t() @ gone
        for part in (many, sums, products):
            _added_up(part)
        self.covariance.lerp_(products / many, 1 - self.decay)
        self.whiten.copy_(_inverse_root(self.covariance))
        self.mean.add_(sums / many, alpha=1 - self.decay)


class CosineCodes(Quantiser):
    """`k` (K, D): directions. `total`, `count`: their moving sums. `revived`: codes replaced so far."""

    followed = ("k", "total", "count", "revived")  # train.loop: averaged weights take these over as they are
    k: Tensor
    total: Tensor
    count: Tensor
    revived: Tensor

    def __init__(self, codes: int, width: int, *, decay: float = 0.99) -> None:
        super().__init__(codes, width, decay)
        first = F.normalize(torch.randn(codes, width), dim=1)
        self.register_buffer("k", first)
        self.register_buffer("total", first.clone())
        self.register_buffer("count", torch.ones(codes))
        self.register_buffer("revived", torch.zeros((), dtype=torch.long))

    def shaped(self, h: Tensor) -> Tensor:
        """Of length 1."""
        return F.normalize(self.freed(h), dim=-1)

    def nearest(self, smooth: Tensor) -> Tensor:
        """The largest product."""
        parts = smooth.reshape(-1, self.width).split(ROWS)
        return torch.cat([(part @ self.k.t()).argmax(1) for part in parts]).view(smooth.shape[:-1])

    def vectors(self, codes: Tensor) -> Tensor:
        """As Quantiser."""
        return F.embedding(codes, self.k)

    @torch.no_grad()
    def start(self, raw: Tensor, generator: torch.Generator) -> None:
        """As Quantiser; the codes are random ones of the vectors."""
        super().start(raw, generator)
        self.k.copy_(_some(self.shaped(raw), self.codes, generator))
        self.total.copy_(self.k)
        self.count.fill_(1.0)

    @torch.no_grad()
    def update(self, raw: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        """As Quantiser; a code is the direction of the moving sum of what it stands for."""
        rows = self.shaped(raw)
        super().update(raw, codes, generator)
        sums = torch.zeros_like(self.total).index_add_(0, codes, rows)
        counts = torch.bincount(codes, minlength=self.codes).to(self.count)
        fresh = _some(rows, self.codes, generator)
        _added_up(sums)
        _added_up(counts)
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.broadcast(fresh, 0)
        self.total.lerp_(sums, 1 - self.decay)
        self.count.lerp_(counts, 1 - self.decay)
        mean = self.count.mean()
        dead = self.count < DEAD * mean
        self.count.copy_(torch.where(dead, mean, self.count))
        self.total.copy_(torch.where(dead[:, None], fresh * mean, self.total))
        self.k.copy_(F.normalize(self.total, dim=1))
        self.revived += dead.sum()


class FiniteScalars(Quantiser):
    """`steps` (D,) per dimension, K their product; the first dimension counts slowest."""

    steps: Tensor
    sizes: Tensor

    def __init__(self, steps: Sequence[int], *, decay: float = 0.99) -> None:
        super().__init__(math.prod(steps), len(steps), decay)
        sizes = torch.tensor([math.prod(steps[i + 1 :]) for i in range(len(steps))])
        self.register_buffer("steps", torch.tensor(list(steps)), persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)

    def shaped(self, h: Tensor) -> Tensor:
        """Within -1 … 1: the share of a normal distribution that lies below, less the share above."""
        return torch.erf(self.freed(h) * math.sqrt(0.5))

    def nearest(self, smooth: Tensor) -> Tensor:
        """The cell."""
        digits = ((smooth + 1) / 2 * self.steps).long().minimum(self.steps - 1)
        return (digits * self.sizes).sum(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """The middle of the cell."""
        digits = codes[..., None] // self.sizes % self.steps
        return (2 * digits + 1) / self.steps - 1


def _inverse_root(covariance: Tensor) -> Tensor:
    """The symmetric root of the inverse; directions in which there is next to nothing are not blown up."""
    values, directions = torch.linalg.eigh(covariance.double().cpu())  # far too small for an accelerator
    values = values.clamp(min=max(NARROW * float(values[-1]), 1e-12))
    return ((directions * values.rsqrt()) @ directions.t()).to(covariance)


def _added_up(sums: Tensor) -> None:
    """Over all processes."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)


def _some(rows: Tensor, many: int, generator: torch.Generator) -> Tensor:
    """Random ones of the rows (M, D), again and again where there are too few."""
    order = [torch.randperm(len(rows), generator=generator) for _ in range(-(-many // len(rows)))]
    return rows.detach().float()[torch.cat(order)[:many].to(rows.device)].contiguous()


def perplexity(counts: Tensor) -> Tensor:
    """(K,) how often each code occurred -> as if how many codes were used evenly."""
    share = counts.double() / counts.sum().clamp(min=1)
    return torch.special.entr(share).sum().exp().float()
