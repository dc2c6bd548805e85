"""Small synthetic music, and a toy training: what the tests of models, training and sampling are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from symusic import KeySignature, Score, TextMeta, TimeSignature
from torch import Tensor, nn

from otonoha.music.audio import Audio
from otonoha.music.piece import Piece
from otonoha.music.recording import Held
from otonoha.music.theory import Key
from otonoha.music.tracks import track_of
from otonoha.tokens.base import Tokens
from otonoha.train.loop import Training
from otonoha.train.objective import Objective

TPQ = 24
MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])


def tune(seed: int, *, bars: int = 8, metre=(4, 4), key: str = "C", pickup: int = 0) -> Score:
    """A melody in one key: quarter, half and eighth notes that fill `bars` bars (and a pick-up in quarters)."""
    rng = np.random.default_rng(seed)
    total = bars * metre[0] * 4 * TPQ // metre[1] + pickup * TPQ
    lengths: list[int] = []
    while sum(lengths) < total:
        lengths.append(min(int(rng.choice([12, 24, 24, 48])), total - sum(lengths)))
    degree = np.clip(np.cumsum(rng.integers(-2, 3, len(lengths))), -5, 9)
    pitch = 60 + Key.parse(key).tonic + MAJOR[degree % 7] + 12 * (degree // 7)
    score = frame(metre, key, pickup)
    score.tracks.append(track_of(np.cumsum(lengths) - lengths, np.array(lengths), pitch, name="melody"))
    return score


def chorale(seed: int, *, bars: int = 4, key: str = "G") -> Score:
    """Four voices of quarter notes."""
    rng = np.random.default_rng(seed)
    onset = np.arange(4 * bars) * TPQ
    score = frame((4, 4), key, 0)
    for name, middle in (("soprano", 70), ("alto", 65), ("tenor", 58), ("bass", 48)):
        steps = np.clip(np.cumsum(rng.integers(-2, 3, len(onset))), -5, 5)
        score.tracks.append(track_of(onset, np.full(len(onset), TPQ), middle + steps, name=name, program=52))
    return score


def hum(seed: int, *, bars: int = 8) -> Audio:
    """A little mono sound at 8 kHz, a quarter of a second a bar: a chord that changes, with some breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(2000) / 8000
    parts = []
    for _ in range(bars):
        pitches = 110 * 2 ** (rng.integers(0, 24, 3) / 12)
        parts.append(0.2 * np.sin(2 * np.pi * pitches[:, None] * t).sum(0) * np.exp(-4 * t))
    return Audio((np.concatenate(parts) + 0.003 * rng.standard_normal(2000 * bars))[None], 8000)


def sounds(n: int, *, split: str = "train", make=hum, **options) -> list[Piece]:
    """Pieces that are recordings."""
    first = 1000 if split != "train" else 0
    return [Piece(f"{split}-{i}", split, recording=Held(make(i + first, **options))) for i in range(n)]


def track_alone(score: Score, name: str) -> Score:
    """The score with one of its tracks only."""
    alone = score.copy()
    alone.tracks = [t for t in score.tracks if t.name == name]
    return alone


def frame(metre, key: str, pickup: int) -> Score:
    """An empty score with metre, key and pick-up."""
    score = Score(TPQ)
    score.time_signatures.append(TimeSignature(0, *metre))
    parsed = Key.parse(key)
    score.key_signatures.append(KeySignature(0, parsed.signature(), int(parsed.mode == "minor")))
    if pickup:
        score.markers.append(TextMeta(0, f"pickup:{pickup}"))
    return score


def pieces(n: int, *, split: str = "train", make=tune, styles=(), **options) -> list[Piece]:
    """Pieces made of synthetic scores; labels take turns through `styles`."""
    return [
        Piece(
            f"{split}-{i}",
            split,
            load_score=partial(make, i + (1000 if split != "train" else 0), **options),
            labels={"style": styles[i % len(styles)]} if styles else {},
        )
        for i in range(n)
    ]


def played(score: Score) -> list[list[tuple[int, int, int]]]:
    """Onset, length and pitch of every note of every track."""
    return [[(n.time, n.duration, n.pitch) for n in t.notes] for t in score.tracks]


def tokens_of(*lengths: int) -> list[Tokens]:
    """Token sequences of these lengths; the stream `x` counts through all positions of all of them."""
    edges = np.cumsum([0, *lengths])
    return [
        Tokens({"x": np.arange(a, b)}, np.arange(b - a) / 4, "toy")
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


# -- a toy training: learn y = x·w ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pairs:
    """x (B, 4) and y (B, 1)."""

    x: Tensor
    y: Tensor

    @property
    def targets(self) -> float:
        return float(len(self.x))

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: slice) -> Pairs:
        return Pairs(self.x[index], self.y[index])

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.x.to(device), self.y.to(device))


def pairs(seed: int, update: int, batch: int = 8) -> Pairs:
    """A batch that follows from (seed, update)."""
    x = torch.randn(batch, 4, generator=torch.Generator().manual_seed(1000 * seed + update))
    return Pairs(x, x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.1 * x[:, :1] ** 2)


def toy(*, dropout: float = 0.0, valid: bool = True, batch: int = 8, on_save=None, batches=None) -> Training:
    """A small network and everything the loop asks for."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)]
        networks = nn.ModuleDict({"net": nn.Sequential(*layers)})

    def loss(batch, context):
        value = ((networks["net"](batch.x) - batch.y) ** 2).mean()
        return value, {"twice": 2 * value}

    def validate():
        held = pairs(99, 0, 32)
        return {"loss": ((networks["net"](held.x) - held.y) ** 2).mean().item()}

    return Training(
        networks,
        [Objective("fit", networks.parameters(), loss)],
        batches or (lambda name, update: pairs(0, update, batch)),
        validate if valid else None,
        on_save=on_save,
    )


def weights(training: Training) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {n: t.detach().clone() for n, t in training.networks.state_dict().items()}


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Bit for bit?"""
    return a.keys() == b.keys() and all(torch.equal(t, b[n]) for n, t in a.items())
