"""Distillation: a chorale network learns from the chances that a teacher gave every note, besides the notes themselves.

The teacher speaks of the codec's symbols in the written key, with the voices in their usual order; its chances move
with the crop's transposition. Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network".
Axes: B crops, T frames, 4 voices, S symbols of the codec (0 rest, then low … high), P classes of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, stack

from otonoha.models.music_transformer.chorale_batches import FrameBatch


@dataclass(frozen=True)
class Teacher:
    """Somebody who has an opinion of the training pieces."""

    chances: Callable[[Sequence[np.ndarray]], list[np.ndarray]]
    """Pieces (T, 4) -> chances (T, 4, S) along each."""
    share: float
    """Of the loss that is taught; the rest is the negative log-likelihood of the notes."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a teacher's share of the loss lies above 0 and at most at 1, got {self.share}")


def taught_nats(logits: Tensor, batch: FrameBatch, margin: int) -> Tensor:
    """(B, T, 4) cross-entropy of the network against the teacher, 0 where no frame exists.

    `logits` (B, T, 4, P) reach `margin` semitones below and above the codec's range.
    """
    assert batch.taught is not None
    assert batch.shift is not None
    logs, chances = logits.float().log_softmax(-1), batch.taught.to(logits.device).float()
    pitches = chances.shape[-1] - 1
    surprise = [
        (c[..., 0] * x[..., 0]) + (c[..., 1:] * x[..., 1 + margin + s : 1 + margin + s + pitches]).sum(-1)
        for x, c, s in zip(logs, chances, batch.shift.tolist(), strict=True)
    ]
    return -stack(surprise) * batch.mask[..., None]
