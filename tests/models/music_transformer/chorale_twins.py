"""Slow twins of the chorale network that more than one test holds it against. Axes: B pieces, T frames, P symbols."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from otonoha.models.music_transformer.chorale_network import ChoraleNetwork
from otonoha.models.music_transformer.chorale_write import ChoraleStep

LOWEST = 36


def assert_writes_as_it_reads(
    net: ChoraleNetwork, pitches: np.ndarray, reading: Tensor, *, begin: int
) -> None:
    """Written frame by frame behind the first `begin` of them, pitches (B, T, 4) are as likely as when the whole pieces
    are read: `reading` (B, T, 4, P).
    """
    step = ChoraleStep(net)
    state = step.read(step.start(len(pitches)), pitches[:, :begin])
    for t in range(begin, pitches.shape[1]):
        state, drawn = step.place(state, {}), []
        for k in range(4):
            said = step.logits(state, k, drawn)
            torch.testing.assert_close(
                said, reading[:, t, k], atol=2e-3, rtol=1e-5, msg=lambda m, at=(t, k): f"{at}: {m}"
            )
            now = pitches[:, t, k]
            drawn.append(torch.from_numpy(np.where(now < 0, 0, now - LOWEST + 1)))
        state = step.advance(state, drawn)
