"""What a teacher says along the JSB training pieces: the mean of finished runs, kept beside the runs.

    python benchmarks/_jsb_teacher.py [name …]      # computes teachers, and prints how well each knows its pieces

The networks are in eval mode and a piece never finds itself in the memory; but the networks have learnt these pieces,
so their chances are sharper than on new ones (`benchmarks/jsb16.py` has those). A teacher may be softened: its
chances to the power of 1 / temperature, normalised.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from _jsb_model import RUNS, folder, is_stale, shelved
from otonoha.data.jsb import jsb_arrays
from otonoha.models.music_transformer.chorale_batches import Song, with_said
from otonoha.models.music_transformer.chorale_taught import Teacher
from otonoha.models.music_transformer.model import MusicTransformer

TAUGHT = ("ours, second round", "ours without memory")
TEACHERS: dict[str, list[tuple[str, int]]] = {
    "three": [("ours", seed) for seed in (0, 1, 2)],
    "nine": [(row, seed) for row in ("ours", *TAUGHT) for seed in (0, 1, 2)],
}
"""Name -> the runs (row, seed) whose chances are averaged."""


def opinion(place: Path) -> np.ndarray:
    """(N frames, 4, 47) float16: a finished run's chances along the training pieces; kept beside the run."""
    kept = place / "train.npy"
    if is_stale(kept):
        model = MusicTransformer.load(place)
        songs = [Song.of(piece) for piece in jsb_arrays()["train"]]
        if model.config.chorale.channels:
            told = shelved()(None, [s.pitch for s in songs], True)
            songs = [with_said(s, *said) for s, said in zip(songs, told, strict=True)]
        model.design._told = {s.pitch.tobytes(): s for s in songs}
        each = []
        for song in songs:
            ((batch, logits),) = model.design.scored([song])
            each.append(logits[0, : int(batch.mask.sum())].softmax(-1).half())
        np.save(kept, torch.cat(each).numpy())
    return np.load(kept, allow_pickle=False)


def teacher(name: str, temperature: float = 1.0) -> list[np.ndarray]:
    """(T, 4, 47) float16 chances of a teacher along each training piece; kept beside the runs."""
    kept = RUNS / f"teacher-{name}.npy"
    if not kept.exists():
        each = [opinion(folder(*member)) for member in TEACHERS[name]]
        np.save(kept, (sum(x.astype(np.float32) for x in each) / len(each)).astype(np.float16))
    found = softened(np.load(kept, allow_pickle=False), temperature)
    ends = np.cumsum([len(piece) for piece in jsb_arrays()["train"]])
    return np.split(found, ends[:-1])


def softened(chances: np.ndarray, temperature: float) -> np.ndarray:
    """Chances to the power of 1 / temperature, normalised."""
    if temperature == 1:
        return chances
    soft = chances.astype(np.float32) ** (1 / temperature)
    return (soft / soft.sum(-1, keepdims=True)).astype(np.float16)


def hired(name: str, share: float, temperature: float = 1.0) -> Teacher:
    """The teacher for a row; what it says is read when the training begins."""

    def chances(pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
        known = zip(jsb_arrays()["train"], teacher(name, temperature), strict=True)
        along = {piece.astype(np.int16).tobytes(): said for piece, said in known}
        return [along[np.asarray(piece, np.int16).tobytes()] for piece in pieces]

    return Teacher(chances, share)


def learnt(chances: Sequence[np.ndarray]) -> Tensor:
    """Mean nats of the training notes under a teacher."""
    pitch = np.concatenate(jsb_arrays()["train"])
    symbols = np.where(pitch < 0, 0, pitch - 35)[..., None]
    of_notes = np.take_along_axis(np.concatenate(chances).astype(np.float32), symbols, -1)
    return -torch.from_numpy(of_notes).clamp_min(1e-7).log().mean()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for called in sys.argv[1:] or TEACHERS:
        began = time.process_time()
        nats = float(learnt(teacher(called)))
        print(
            f"{called}: {nats:.4f} nats on the training pieces, {time.process_time() - began:.0f} CPU-seconds"
        )
