"""Finished chorale runs put together: temperature, averages of chances, and weighted products.

Axes: M models, N notes (all voices of all frames of a split, in the order of the file), P = 47 symbols. What is fitted
(one temperature; one weight a model) is fitted on the validation pieces only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from _jsb_model import CODEC, is_stale, shelved
from otonoha.data.jsb import jsb_arrays
from otonoha.models.music_transformer.chorale_batches import Song
from otonoha.models.music_transformer.model import MusicTransformer


def targets(split: str) -> Tensor:
    """(N,) the symbols of all notes."""
    pitch = np.concatenate(jsb_arrays()[split]).ravel()
    return torch.from_numpy(np.where(pitch < 0, 0, pitch - CODEC.low + 1))


def lengths(split: str) -> list[int]:
    """Notes of each piece."""
    return [piece.size for piece in jsb_arrays()[split]]


def scores(place: Path, split: str) -> Tensor:
    """(N, P) log chances of every symbol; kept beside the run, until it is trained further."""
    kept = place / f"{split}.npy"
    if is_stale(kept):
        model = MusicTransformer.load(place)
        model.design.recall = shelved()
        songs = model.design.told([Song.of(piece) for piece in jsb_arrays()[split]])
        each = []
        for song in songs:
            ((batch, logits),) = model.design.scored([song])
            each.append(logits[0, : int(batch.mask.sum())].flatten(0, 1).log_softmax(-1))
        np.save(kept, torch.cat(each).numpy())
    return torch.from_numpy(np.load(kept, allow_pickle=False))


def warmed(place: Path) -> float:
    """The temperature of a finished run that fits the validation pieces; the model in the folder keeps it.

    `scores` stay as they were, without it.
    """
    model = MusicTransformer.load(place)
    temperature = round(1 / float(fitted([scores(place, "valid")])), 4)
    if model.config.chorale.temperature != temperature:
        model.config = replace(model.config, chorale=replace(model.config.chorale, temperature=temperature))
        model.save(place)
    return temperature


def nats(log_chances: Tensor, split: str) -> Tensor:
    """(N,) nats of every note."""
    return -log_chances.gather(1, targets(split)[:, None])[:, 0]


def average(members: Sequence[Tensor]) -> Tensor:
    """(N, P): the mean of the models' chances."""
    return torch.stack(list(members)).logsumexp(0) - np.log(len(members))


def product(members: Sequence[Tensor], weights: Tensor) -> Tensor:
    """(N, P): the normalised weighted product of the models' chances; one model: a temperature."""
    return sum(w * m for w, m in zip(weights, members, strict=True)).log_softmax(-1)


def fitted(members: Sequence[Tensor], split: str = "valid") -> Tensor:
    """(M,) the weights of the product that fit a split best."""
    weights = torch.full((len(members),), 1 / len(members), requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nats(product(members, weights), split).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()
