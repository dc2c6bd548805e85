"""The design `modern`: levels that build upon each other, spectra in and out, and a critic for the end of a training.

    total = w1 mel + w2 complex + w3 time + commit Σ_l commit_l + w4 (critic + w5 features)
    commit_l = mean over what was decoded  |h - sg(k_z)|²                                       (of cosine codes)

modern_network.py says how sound becomes codes, modern_losses.py and modern_critic.py what it is judged by. A loss
never changes a codebook: it notes what it saw, and `after_step` follows it. Axes: B clips, C channels, T samples,
M vectors, D width of the codes' vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from otonoha.models.vqvae.coding import in_use
from otonoha.models.vqvae.modern_critic import Critic, codec_loss, critic_loss, cut
from otonoha.models.vqvae.modern_losses import compared, si_sdr
from otonoha.models.vqvae.modern_network import Network
from otonoha.nn.istft import HISS_FRAMES
from otonoha.nn.quantise import CosineCodes, Quantised, Quantiser, perplexity
from otonoha.train.objective import Context, Objective

if TYPE_CHECKING:
    from otonoha.models.vqvae.config import Config
    from otonoha.models.vqvae.model import VQVAE

FIRST_VECTORS = 4
"""Vectors for each code that the first codebooks are taken from."""
FIRST_BATCHES = 32
"""Batches that are looked at for it, at most."""
COLLAPSED = 0.05
"""A level whose codes are used as if there were so few of them (a share) is said to collapse."""


class Modern:
    """What the design does for its model."""

    def __init__(self, model: VQVAE) -> None:
        self.model = model
        self._seen: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self._revived: dict[int, int] = {}

    @property
    def config(self) -> Config:
        """The model's config."""
        return self.model.config

    @property
    def network(self) -> Network:
        """Encoder, codes and decoder."""
        return self.model.networks["codec"]  # type: ignore[return-value]

    @property
    def critic(self) -> Critic:
        """Who tells recordings from decoded sound."""
        return self.model.networks["critic"]  # type: ignore[return-value]

    @property
    def books(self) -> list[Quantiser]:
        """The quantisers, the finest level first."""
        return list(self.network.books)  # type: ignore[arg-type]

    # -- what the model is made of ---------------------------------------------------------------------

    def build(self) -> dict[str, nn.Module]:
        """`codec`, and a `critic` where the config gives it a weight."""
        c = self.config
        return {"codec": Network(c)} | (
            {"critic": Critic(c.channels, c.critic_width)} if c.critic_weight else {}
        )

    def measure(self, batches: Callable[[int], Any]) -> None:
        """Nothing: no term of the loss depends on how loud the sound is."""

    @torch.no_grad()
    def start(self, batches: Callable[[int], Any]) -> None:
        """Before the first update: codebooks from vectors of the first batches, the coarsest first."""
        self._seen.clear()
        if all(bool(book.ready) for book in self.books):
            return
        generator = torch.Generator().manual_seed(self.config.train.seed)
        self.network.start(batches(0).audio)
        for level in reversed(range(len(self.books))):
            book, raw = self.books[level], []
            for update in range(FIRST_BATCHES):
                raw.append(self.network(batches(update).audio)[-1][level].raw.flatten(0, -2))
                if sum(map(len, raw)) >= FIRST_VECTORS * book.codes:
                    break
            book.start(torch.cat(raw), generator)

    # -- training --------------------------------------------------------------------------------------

    def objectives(self) -> list[Objective]:
        """The codec, and the critic from its first step on."""
        found = [Objective("codec", self.network.parameters(), self.loss)]
        if self.config.critic_weight:
            found.append(
                Objective(
                    "critic",
                    self.critic.parameters(),
                    self.critic_loss,
                    every=self.config.critic_every,
                    active=lambda step: step >= self.critic_from,
                    schedule=lambda step: 1.0,
                )
            )
        return found

    @property
    def critic_from(self) -> int:
        """The step at which the critic joins."""
        return round(self.config.critic_start * self.config.train.steps)

    def loss(self, batch: Any, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Mean over the clips of a batch; what the codebooks should follow is kept for `after_step`."""
        x, c = batch.audio, self.config
        kept = self._kept(len(x), context.generator).to(x.device)
        foreseen, noise, found = self.network(x, kept, _anywhere(len(x), context.generator))
        parts = compared(x, foreseen, noise, c.rate)
        total = self._weighed(parts)
        commits = [self._noted(level, one, kept) for level, one in enumerate(found)]
        if c.quantiser == "cosine":
            total = total + c.commit * torch.stack(commits).sum()
        if c.critic_weight and context.step >= self.critic_from:
            first, last = cut(x, c.critic_length, context.generator)
            with torch.no_grad():
                real = self.critic(x[..., first:last])
            y = foreseen if noise is None else foreseen + noise
            told = codec_loss(real, self.critic(y[..., first:last]))
            total = total + c.critic_weight * (told["critic"] + c.feature_weight * told["features"])
            parts |= told
        return total, {name: part.detach() for name, part in parts.items()} | self._use(found)

    def critic_loss(self, batch: Any, context: Context) -> tuple[Tensor, dict[str, Any]]:
        """Tell recordings from what the codec makes of them."""
        x = batch.audio
        with torch.no_grad():
            kept = self._kept(len(x), context.generator).to(x.device)
            foreseen, noise, _ = self.network(x, kept, _anywhere(len(x), context.generator))
            y = foreseen if noise is None else foreseen + noise
        first, last = cut(x, self.config.critic_length, context.generator)
        real, fake = self.critic(x[..., first:last]), self.critic(y[..., first:last])
        told = {"real": real[0].score.detach().mean(), "fake": fake[0].score.detach().mean()}
        return critic_loss(real, fake), told

    def _kept(self, clips: int, generator: torch.Generator) -> Tensor:
        """(B,): how many levels of each clip are decoded, counted from the coarsest."""
        levels = len(self.books)
        some = torch.randint(1, levels + 1, (clips,), generator=generator)
        return torch.where(torch.rand(clips, generator=generator) < self.config.level_drop, some, levels)

    def _noted(self, level: int, one: Quantised, kept: Tensor) -> Tensor:
        """How far the codes of a level are off, where it was decoded; its vectors are noted."""
        present = kept >= len(self.books) - level
        if not bool(present.any()):
            return one.error.sum() * 0
        raw, codes = one.raw[present].detach(), one.codes[present]
        self._seen[level].append((raw.flatten(0, -2), codes.flatten()))
        return one.error[present].mean()

    def _weighed(self, parts: dict[str, Tensor]) -> Tensor:
        c = self.config
        return (
            c.mel_weight * parts["mel"] + c.complex_weight * parts["complex"] + c.time_weight * parts["time"]
        )

    def _use(self, found: Sequence[Quantised]) -> dict[str, Tensor]:
        """As if how many codes of each level were in use, evenly; and how many were given up and replaced so far."""
        told = {}
        for level, (book, one) in enumerate(zip(self.books, found, strict=True)):
            told[f"perplexity/{level}"] = perplexity(
                torch.bincount(one.codes.flatten(), minlength=book.codes)
            )
            if isinstance(book, CosineCodes):
                told[f"revived/{level}"] = book.revived.float()
        return told

    def after_step(self, context: Context) -> None:
        """The codebooks follow what the batch showed."""
        for level, parts in sorted(self._seen.items()):
            raw, codes = (torch.cat(some) for some in zip(*parts, strict=True))
            self.books[level].update(raw, codes, context.generator)
        self._seen.clear()

    @torch.no_grad()
    def evaluate(self, clips: Sequence[Tensor]) -> dict[str, Any]:
        """Means over batches of held-out clips (B, C, T): parts of the loss, SI-SDR from each level, use of the codes.

        Where a critic is at work its opinion counts as well, and no figure could say which weights are best: then
        there is no "loss", and a training keeps its last (averaged) weights.
        """
        sums: dict[str, float] = defaultdict(float)
        heard: dict[int, list[Any]] = defaultdict(list)
        for x in clips:
            codes = self.network.codes(x)
            for level, z in enumerate(codes):
                foreseen, noise = self.network.parts(codes, level)
                parts = compared(x, foreseen, noise, self.config.rate)
                y = foreseen if noise is None else foreseen + noise
                parts = {"distance": self._weighed(parts), **parts, "si_sdr": si_sdr(x, y).mean()}
                for name, value in parts.items():
                    sums[f"{name}/{level}"] += float(value) / len(clips)
                heard[level].append(z.flatten().cpu().numpy())
        figures: dict[str, Any] = dict(sums) | in_use(heard, self.config.codes)
        if not self.config.critic_weight:
            figures["loss"] = figures["distance/0"]
        return figures | {"says": self._says(figures, [sum(map(len, z)) for z in heard.values()])}

    def _says(self, figures: dict[str, Any], heard: Sequence[int]) -> str:
        """What the person who waits is told: how near the sound is, and what the codes of so many positions do."""
        said = [f"SI-SDR {figures['si_sdr/0']:.1f} dB, mel {figures['mel/0']:.2f}"]
        for level, (book, n) in enumerate(zip(self.books, heard, strict=True)):
            like, most = figures[f"perplexity/{level}"], min(book.codes, n)
            said.append(f"level {level} as {like:.0f} of {book.codes} codes")
            if like < COLLAPSED * most:
                said[-1] += " (collapsing)"
            if isinstance(book, CosineCodes):
                now = int(book.revived)
                if now > self._revived.get(level, 0):
                    said[-1] += f" ({now - self._revived.get(level, 0)} unused ones replaced)"
                self._revived[level] = now
        return "; ".join(said)

    # -- coding ----------------------------------------------------------------------------------------

    def codes(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> (B, T / hop) for every level."""
        return self.network.codes(x)

    def sound(self, codes: Sequence[Tensor], level: int, first: int = 0, noise: float = 1.0) -> Tensor:
        """(B, T / hop) of every level -> (B, C, T), from that level and the coarser ones it builds upon; `first`: the
        place of their first position; `noise`: how much of its noise is added.
        """
        hops = self.config.hops
        for at in range(level, len(hops)):
            if codes[at].shape[1] * hops[at] != codes[-1].shape[1] * hops[-1]:
                raise ValueError(
                    f"level {level} builds upon the coarser ones: decoding it takes the codes of levels "
                    f"{level} … {len(hops) - 1}, all of the same sound"
                )
            if int(codes[at].min()) < 0 or int(codes[at].max()) >= self.config.codes:
                raise ValueError(f"codes of level {at} must be within 0 … {self.config.codes - 1}")
        return self.network.sound(codes, level, first, noise)

    def heard(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The samples that the codes first … last of a level depend on."""
        return self.network.heard(level, first, last)

    def read(self, level: int, first: int, last: int) -> tuple[int, int]:
        """The positions that the samples first … last depend on: the same for every level."""
        return self.network.read(first, last)


def _anywhere(clips: int, generator: torch.Generator) -> Tensor:
    """(B,): where in the noise each clip begins, so that none of it is learnt by heart."""
    return torch.randint(HISS_FRAMES, (clips,), generator=generator)
