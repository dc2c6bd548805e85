"""What a prior is told beside the codes before: artist and genres, timing, the codes of the coarser level.

Dhariwal et al. 2020 (Jukebox, arXiv 2005.00341). Axes: B batch, T codes of a window, U upper codes, W width, K ids.

    start        E_artist[a] + Σ E_genre[g]                               takes the place of the code before the first
    timing t     E_total[bin(total)] + E_abs[bin(p_t)] + E_rel[bin(p_t / total)]     p_t = offset + length · t / T
    upper codes  LayerNorm(Conv, (ResidualStack, ConvTransposed)ᵏ (E[z above]))      up to the rate of this level
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from otonoha.models.jukebox.config import Conditioner, Labels
from otonoha.nn.conv_stack import ResidualStack, run, up
from otonoha.nn.factorised import Norm


@dataclass(frozen=True, eq=False)
class Condition:
    """What a window is told: `start` (B, W), `added` (B, T, W) at every position, `states` (B, S, W) of lyrics that
    cross attention looks at, `characters` (B, S) of lyrics that stand in front of the codes. None: nothing.
    """

    start: Tensor | None = None
    added: Tensor | None = None
    states: Tensor | None = None
    characters: Tensor | None = None

    def of(self, batch: int) -> Condition:
        """The same for `batch` rows; a condition of one row serves all."""
        parts = [getattr(self, f.name) for f in fields(self)]
        for part in parts:
            if part is not None and len(part) not in (1, batch):
                raise ValueError(f"a condition of {len(part)} rows does not fit {batch} pieces")
        return Condition(*(p if p is None else p.expand(batch, *p.shape[1:]) for p in parts))

    def slice(self, start: int, stop: int) -> Tensor | None:
        """(B, n, W): what is added at these positions."""
        return None if self.added is None else self.added[:, start:stop]

    def at(self, place: int) -> Tensor | None:
        """(B, W): what is added at one position."""
        return None if self.added is None else self.added[:, place]


class Table(nn.Module):
    """Vectors by number."""

    def __init__(self, rows: int, width: int, std: float) -> None:
        super().__init__()
        self.emb = nn.Embedding(rows, width)
        nn.init.normal_(self.emb.weight, std=std)

    def forward(self, ids: Tensor) -> Tensor:
        """(…) -> (…, W)."""
        return self.emb(ids)


class Times(Table):
    """Vectors of spans of time, `low` … `high` cut into equal bins."""

    def __init__(self, bins: int, low: float, high: float, width: int, std: float) -> None:
        super().__init__(bins, width, std)
        self.bins, self.low, self.high = bins, low, high

    def bin(self, value: Tensor) -> Tensor:
        """The bin of a time. What lies outside goes to the nearest bin; the original stops with an assertion."""
        share = (value - self.low) / (self.high - self.low)
        return (self.bins * share).floor().long().clamp(0, self.bins - 1)


class LabelConditioner(nn.Module):
    """Label rows [total, offset, length (samples), artist, genres padded with −1] as vectors."""

    def __init__(self, labels: Labels, width: int, rate: int, std: float) -> None:
        super().__init__()
        self.bow_genre_emb = Table(labels.genres, width, std)
        self.artist_emb = Table(labels.artists, width, std)
        if labels.time_bins:
            shortest, longest, bins = labels.shortest * rate, labels.longest * rate, labels.time_bins
            self.total_length_emb = Times(bins, shortest, longest, width, std)
            self.absolute_pos_emb = Times(bins, 0.0, longest, width, std)
            self.relative_pos_emb = Times(bins, 0.0, 1.0, width, std)

    def start(self, labels: Tensor) -> Tensor:
        """(B, 4 + K) -> (B, W)."""
        genres = labels[:, 4:]
        known = (genres >= 0).unsqueeze(-1)
        return self.artist_emb(labels[:, 3]) + (self.bow_genre_emb(genres.clamp(min=0)) * known).sum(1)

    def blend(self, artists: Tensor, artist_weights: Tensor, genres: Tensor, genre_weights: Tensor) -> Tensor:
        """A start vector (B, W) between several artists and genres: ids (B, K) and their weights (B, K)."""
        return _weighted(self.artist_emb, artists, artist_weights) + _weighted(
            self.bow_genre_emb, genres, genre_weights
        )

    def bins(self, labels: Tensor, codes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the three tables at each of `codes` positions: total (B, 1), absolute and relative (B, T)."""
        total, offset, length = labels[:, :3].float().unsqueeze(-1).unbind(1)
        share = torch.arange(codes, device=labels.device, dtype=torch.float32) / codes
        place = offset + length * share
        return (
            self.total_length_emb.bin(total),
            self.absolute_pos_emb.bin(place),
            self.relative_pos_emb.bin(place / total),
        )

    def timing(self, labels: Tensor, codes: int) -> Tensor:
        """(B, 4 + K) -> (B, T, W)."""
        total, absolute, relative = self.bins(labels, codes)
        return (
            self.total_length_emb(total) + self.absolute_pos_emb(absolute) + self.relative_pos_emb(relative)
        )


def _weighted(table: Table, ids: Tensor, weights: Tensor) -> Tensor:
    return (table(ids) * weights.unsqueeze(-1)).sum(1)


class Rise(nn.Module):
    """Convolutions from the rate of the upper codes to that of these: (B, W, U) -> (B, W, T).

    Unlike in the autoencoder's decoders the widest dilation comes last.
    """

    def __init__(self, conditioner: Conditioner, width: int, ratio: int) -> None:
        super().__init__()
        c, steps = conditioner, conditioner.steps(ratio)
        parts: list[nn.Module] = []
        for step in range(steps):
            stack = ResidualStack(
                c.width,
                c.depth,
                growth=c.dilation_growth,
                cycle=c.dilation_cycle or None,
                hidden=c.hidden,
                scale=c.depth**-0.5 if c.residual_scale else 1.0,
            )
            last = up(c.width, width if step == steps - 1 else c.width, c.stride)
            parts.append(nn.Sequential(stack, last))
        self.model = nn.Sequential(nn.Conv1d(width, c.width, 3, padding=1), *parts)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return run([self.model], x)


class UpperConditioner(nn.Module):
    """Codes of the next coarser level (B, U) -> (B, T, W), T = ratio · U."""

    def __init__(self, conditioner: Conditioner, codes: int, width: int, ratio: int, std: float) -> None:
        super().__init__()
        self.x_emb = nn.Embedding(codes, width)
        nn.init.normal_(self.x_emb.weight, std=std)
        self.cond = Rise(conditioner, width, ratio)
        self.ln = Norm(width)

    def forward(self, upper: Tensor) -> Tensor:
        """As the class says."""
        return self.ln(self.cond(self.x_emb(upper).transpose(1, 2)).transpose(1, 2))
