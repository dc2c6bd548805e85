"""The design `jukebox`: levels that know nothing of each other, and codebooks that follow by moving averages.

    total = Σ_l reconstruction_l + spectral Σ_l spectral_l + multispectral Σ_l multispectral_l + commit Σ_l commit_l
    commit_l = mean (h - sg(k_z))²

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B clips, C channels, T samples, D width of the codes' vectors.
A loss never changes a codebook: it notes what it saw, and `after_step` moves the averages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from otonoha.models.vqvae.coding import in_use
from otonoha.models.vqvae.losses import Judge, measured
from otonoha.models.vqvae.network import Network, rows_of, straight_through, unrowed
from otonoha.nn.codebook import Averages, Seen, draw, joined, processes
from otonoha.train.objective import Context, Objective
from otonoha.train.schedules import FromZero

if TYPE_CHECKING:
    from otonoha.models.vqvae.config import Config
    from otonoha.models.vqvae.model import VQVAE

MEASURED_SECONDS = 600
"""Training sound that the normalisers are measured on, at most."""


@dataclass(frozen=True)
class Coded:
    """Clips that went through a level: `y` (B, C, T), what the codebook saw, squared distances (B T,) of the vectors
    to their codes, the commitment loss."""

    y: Tensor
    seen: Seen
    distance: Tensor
    commit: Tensor


class Jukebox:
    """What the design does for its model."""

    def __init__(self, model: VQVAE) -> None:
        self.model = model
        self._seen: dict[int, list[Seen]] = defaultdict(list)

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def network(self) -> Network:
        """The network of all levels."""
        return self.model.networks["vqvae"]  # type: ignore[return-value]

    def averages(self, level: int) -> Averages:
        """The moving averages of a level's codebook."""
        return self.model.networks["averages"][level]  # type: ignore[index]

    # -- what the model is made of ---------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """`vqvae` has the original's state dict; `averages` is what that lacks."""
        c = self.config
        books = (
            Averages(c.codes, c.embedding, decay=c.codebook_decay, threshold=c.revive)
            for _ in self.config.hops
        )
        return {"vqvae": Network(c), "averages": nn.ModuleList(books)}

    def restore(self) -> None:
        """Averages for codebooks that came without: as if the codes of a clip were spread evenly."""
        for level, hop in enumerate(self.config.hops):
            evenly = self.config.train.length // hop / self.config.codes
            self.averages(level).restore(self.network.codebook(level), evenly)

    @torch.no_grad()
    def start(self, batches: Callable[[int], Any]) -> None:
        """Before the first update: the codebooks are vectors of its batch."""
        self._seen.clear()
        c = self.config
        if all(self.averages(level).ready for level in range(len(c.hops))):
            return
        generator = torch.Generator().manual_seed(c.train.seed)
        x = batches(0).audio
        for level, _ in enumerate(c.hops):
            h = rows_of(self.network.encoders[level](x))
            chance = draw(len(h), c.codes, c.embedding, generator)
            self.averages(level).choose(self.network.codebook(level), h, chance)

    def measure(self, batches: Callable[[int], Any]) -> tuple[float, float, float]:
        """The normalisers of the training sound."""
        train, rate = self.config.train, self.config.rate
        count = max(1, int(MEASURED_SECONDS * rate / (train.length * train.batch)))
        return measured(batches(update).audio for update in range(min(count, train.steps)))

    # -- training --------------------------------------------------------------------------------------

    def objectives(self) -> list[Objective]:
        """One loss for all levels."""
        train = self.config.train
        own = (
            FromZero(train.warmup) if train.optimiser == "jukebox" and train.schedule == "constant" else None
        )
        return [Objective("reconstruction", self.network.parameters(), self.loss, schedule=own)]

    def loss(self, batch: Any, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean over the clips of a batch; what the codebooks should follow is kept for `after_step`."""
        levels = self.coded(batch.audio)
        for level, one in enumerate(levels):
            self._seen[level].append(one.seen)
        return self.judged(batch.audio, levels)

    def coded(self, x: Tensor) -> list[Coded]:
        """(B, C, T) there and back, by every level."""
        return [self._coded(x, level) for level, _ in enumerate(self.config.hops)]

    def _coded(self, x: Tensor, level: int) -> Coded:
        book = self.network.codebook(level)
        h = self.network.encoders[level](x)
        rows = rows_of(h)
        with torch.no_grad():
            z, distance = book.nearest(rows)
        vectors = book.vectors(z)
        y = self.network.decoders[level](straight_through(h, unrowed(vectors, h)))
        return Coded(y, Seen(rows.detach(), z), distance, ((rows - vectors) ** 2).mean())

    def judged(self, x: Tensor, levels: Sequence[Coded]) -> tuple[Tensor, dict[str, Any]]:
        """The total loss of clips, and its parts; those that are not named after a level are means over levels."""
        total = x.new_zeros(())
        figures: dict[str, Any] = {}
        every: dict[str, list[Tensor]] = defaultdict(list)
        for level, one in enumerate(levels):
            parts = self._compared(x, one.y)
            total = total + self._weighed({**parts, "commit": one.commit})
            figures |= {f"{name}/{level}": part.detach() for name, part in parts.items()}
            use = self.averages(level).figures(one.seen, one.distance)
            for name, value in {**use, "commit": one.commit}.items():
                every[name].append(value.detach())
        return total, figures | {name: torch.stack(values).mean() for name, values in every.items()}

    def _compared(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The parts of the loss that have a weight."""
        judge, c = Judge(self.config), self.config
        found = {"reconstruction": judge.reconstruction(x, y)}
        if c.spectral:
            found["spectral"] = judge.spectral(x, y)
        if c.multispectral:
            found["multispectral"] = judge.multispectral(x, y)
        return found

    def _weighed(self, parts: dict[str, Tensor]) -> Tensor:
        """Their sum."""
        c = self.config
        weights = {"spectral": c.spectral, "multispectral": c.multispectral, "commit": c.commit}
        return torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()

    def after_step(self, context: Context) -> None:
        """The codebooks follow what the batch showed."""
        c = self.config
        for level, parts in sorted(self._seen.items()):
            seen = joined(parts)
            chance = draw(len(seen.h) * processes(), c.codes, c.embedding, context.generator)
            self.averages(level).update(self.network.codebook(level), seen, chance)
        self._seen.clear()

    @torch.no_grad()
    def evaluate(self, clips: Sequence[Tensor]) -> dict[str, Any]:
        """Mean of the losses over batches of held-out clips (B, C, T); codes of each level and how they are used."""
        sums: dict[str, float] = defaultdict(float)
        codes: dict[int, list[Any]] = defaultdict(list)
        for x in clips:
            levels = self.coded(x)
            total, figures = self.judged(x, levels)
            figures["loss"] = total
            for level, one in enumerate(levels):
                share = Judge(self.config).convergence(x, one.y)
                figures[f"convergence_db/{level}"] = 20 * torch.log10(share.clamp(min=1e-6))
                codes[level].append(one.seen.z.cpu().numpy())
            for name, value in figures.items():
                sums[name] += float(value) / len(clips)
        return dict(sums) | in_use(codes, self.config.codes)

    # -- coding ----------------------------------------------------------------------------------------

    def codes(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> (B, T / hop) for every level."""
        return [self.network.codes(x, level) for level, _ in enumerate(self.config.hops)]

    def sound(self, codes: Sequence[Tensor], level: int, first: int = 0) -> Tensor:
        """(B, T / hop) of every level -> (B, C, T), from that level alone, the same wherever it stands."""
        return self.network.sound(codes[level], level)

    def heard(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The samples that the codes first … last of a level depend on."""
        return self.network.heard(level, first, last)

    def read(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The positions that the samples first … last depend on, when they are decoded from a level."""
        times = self.config.hops[-1] // self.config.hops[level]
        lo, hi = self.network.read(level, first, last)
        return lo // times, hi // times
